/* insula up: `insula serve` in the background. insula doctor: what this machine offers. */
#include "base/error.h"
#include "base/types.h"
#include "cli/client.h"
#include "cli/place.h"
#include "cli/verbs.h"
#include "host/cgroup.h"
#include "region/cloud.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* --data of serve's own options. */
static const char *data_of(int argc, char **argv, char *buf, size_t size)
{
	for (int i = 1; i < argc; i++) {
		if (!strncmp(argv[i], "--data=", 7))
			return argv[i] + 7;
		if (!strcmp(argv[i], "--data") && i + 1 < argc)
			return argv[i + 1];
	}
	return place_default(buf, size);
}

static bool answers(const char *data)
{
	struct client c;
	struct error e;
	json_t *answer;

	if (client_open_data(&c, data, &e) < 0)
		return false;
	answer = client_call(&c, &e, "DescribeAvailabilityZones", NULL);
	client_close(&c);
	json_decref(answer);
	return answer != NULL;
}

int up_main(int argc, char **argv)
{
	const struct timespec pause = {.tv_nsec = 50 * 1000 * 1000};
	char place[4096], log[4200];
	const char *data = data_of(argc, argv, place, sizeof(place));
	char **serve;
	int fd, null;
	pid_t pid;

	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")))
		return puts("usage: insula up [OPTION]...   (those of `insula serve`)") < 0;
	if (answers(data)) {
		puts("the region is up");
		return 0;
	}
	serve = calloc((size_t)argc + 2, sizeof(*serve));
	if (!serve) {
		fputs("insula up: no memory\n", stderr);
		return 1;
	}
	snprintf(log, sizeof(log), "%s/serve.log", data);
	mkdir(data, 0700);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0) {
		fprintf(stderr, "insula up: open %s: %s\n", log, strerror(errno));
		return 1;
	}
	serve[0] = "insula";
	serve[1] = "serve";
	memcpy(serve + 2, argv + 1, (size_t)argc * sizeof(*serve)); /* and the NULL */
	pid = fork();
	if (pid == 0) {
		null = open("/dev/null", O_RDONLY | O_CLOEXEC);
		setsid();
		dup2(null, 0);
		dup2(fd, 1);
		dup2(fd, 2);
		execv("/proc/self/exe", serve);
		_exit(127);
	}
	for (unsigned i = 0; pid > 0 && i < 200 && kill(pid, 0) == 0; i++) {
		if (answers(data)) {
			printf("the region is up (process %d, log %s)\n", pid, log);
			puts("eval \"$(insula env)\" points AWS's tools at it");
			return 0;
		}
		nanosleep(&pause, NULL);
	}
	fprintf(stderr, "insula up: the region did not start; see %s\n", log);
	return 1;
}

/* ---- doctor ---- */

static void say(bool good, const char *what, const char *otherwise)
{
	printf("%s %s%s%s\n", good ? "yes" : "no ", what, good ? "" : " - ", good ? "" : otherwise);
}

static bool has_program(const char *name)
{
	static const char *const places[] = {"/usr/sbin", "/usr/bin", "/sbin", "/bin"};
	char path[256];

	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		snprintf(path, sizeof(path), "%s/%s", places[i], name);
		if (access(path, X_OK) == 0)
			return true;
	}
	return false;
}

int doctor_main(int argc, char **argv)
{
	struct error e = {0};
	bool limits;

	say(access("/dev/kvm", R_OK | W_OK) == 0,
	    "/dev/kvm can be opened (machines run on the soft engine all the same)",
	    "machines run on the soft engine, which needs nothing");
	limits = cgroup_probe("", &e) == 0;
	if (!limits)
		error_prefix(&e, "instances run without limits, and t types whose CPU credits are spent are "
		                 "not throttled");
	say(limits, "control groups (v2 or v1) limit what instances take, and throttle t types", e.text);
	say(access("/proc/self/ns/net", F_OK) == 0, "network namespaces", "the kernel has none");
	say(access("/dev/net/tun", R_OK | W_OK) == 0, "/dev/net/tun can be opened",
	    "run as root, load `tun`");
	say(has_program("nft"), "nft", "apt-get install nftables");
	say(has_program("mmdebstrap"), "mmdebstrap (builds images)", "apt-get install mmdebstrap");
	say(has_program("qemu-img"), "qemu-img (imports qcow2, vmdk, vhd, vhdx)",
	    "apt-get install qemu-utils");
	say(has_program("aws"), "aws, the command", "apt-get install awscli");
	say(has_program("mke2fs"), "mke2fs (builds images)", "apt-get install e2fsprogs");
	return fflush(stdout) ? 1 : 0;
}
