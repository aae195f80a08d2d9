/* insula up: `insula serve` in the background. */
#include "base/error.h"
#include "base/types.h"
#include "cli/client.h"
#include "cli/place.h"
#include "cli/verbs.h"
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

/* *endpoint: where. */
static bool answers(const char *data, char endpoint[256])
{
	struct client c;
	struct error e;
	json_t *answer;

	if (client_open_data(&c, data, &e) < 0)
		return false;
	memcpy(endpoint, c.endpoint, 256);
	answer = client_call(&c, &e, "DescribeAvailabilityZones", NULL);
	client_close(&c);
	json_decref(answer);
	return answer != NULL;
}

/* What serve has said since its log was so long: why it did not start. */
static void show_log(const char *path, off_t from)
{
	FILE *log = fopen(path, "re");
	char line[1024];

	if (log && fseeko(log, from, SEEK_SET) == 0)
		for (unsigned i = 0; i < 5 && fgets(line, sizeof(line), log); i++)
			fputs(line, stderr);
	if (log)
		fclose(log);
}

static void report(const char *data, const char *endpoint, bool was_up)
{
	char place[4096];
	bool usual = !strcmp(data, place_default(place, sizeof(place)));

	printf("the region is up at %s (process %d, log %s/serve.log)\n", endpoint, cloud_server(data), data);
	if (!was_up)
		printf("eval \"$(insula env%s%s)\" points AWS's tools at it\n", usual ? "" : " --data ",
		       usual ? "" : data);
}

int up_main(int argc, char **argv)
{
	const struct timespec pause = {.tv_nsec = 50 * 1000 * 1000};
	char place[4096], log[4200], endpoint[256];
	const char *data = data_of(argc, argv, place, sizeof(place));
	char **serve;
	int fd, null;
	off_t from;
	pid_t pid;

	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")))
		return puts("usage: insula up [OPTION]...   (those of `insula serve`)") < 0;
	if (answers(data, endpoint)) {
		report(data, endpoint, true);
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
	from = lseek(fd, 0, SEEK_END);
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
		if (answers(data, endpoint)) {
			report(data, endpoint, false);
			return 0;
		}
		nanosleep(&pause, NULL);
	}
	show_log(log, from);
	fprintf(stderr, "insula up: the region did not start (log: %s)\n", log);
	return 1;
}
