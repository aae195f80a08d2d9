/* insula doctor: what this machine offers a region, what is missing, and how to get it. */
#include "base/error.h"
#include "base/types.h"
#include "cli/client.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "host/cgroup.h"
#include "host/firmware.h"
#include "region/cloud.h"
#include "region/network_agent.h"

#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

static const char usage[] = "usage: insula doctor [--json] [--data DIR]\n\n"
                            "Says what this machine offers, what is missing, and how to get it.\n";

/* What is looked at goes to the terminal at once, or into a document. */
static void say(json_t *list, bool good, const char *what, const char *otherwise)
{
	if (list)
		json_array_append_new(list, json_pack("{s:s, s:b, s:s}", "What", what, "Good", good,
		                                      "Otherwise", good ? "" : otherwise));
	else
		printf("%s %s%s%s\n", good ? "yes" : "no ", what, good ? "" : " - ", good ? "" : otherwise);
}

static bool has_program(const char *name)
{
	static const char *const places[] = {"/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/bin"};
	char path[256];

	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		snprintf(path, sizeof(path), "%s/%s", places[i], name);
		if (access(path, X_OK) == 0)
			return true;
	}
	return false;
}

static void programs(json_t *list)
{
	static const struct {
		const char *program, *what, *otherwise;
	} all[] = {
	        {"mmdebstrap", "mmdebstrap (builds images)", "apt-get install mmdebstrap"},
	        {"mke2fs", "mke2fs (builds images)", "apt-get install e2fsprogs"},
	        {"qemu-img", "qemu-img (imports qcow2, vmdk, vhd, vhdx)", "apt-get install qemu-utils"},
	        {"nft", "nft", "apt-get install nftables"},
	        {"aws", "aws, the command", "apt-get install awscli"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
		say(list, has_program(all[i].program), all[i].what, all[i].otherwise);
}

/* Room for machines, and for their disks. */
static void room(json_t *list, const char *data)
{
	char what[160], place[4096];
	struct statvfs disk;
	struct sysinfo memory;
	u64 free_bytes;

	if (sysinfo(&memory) == 0) {
		free_bytes = ((u64)memory.freeram + memory.bufferram) * memory.mem_unit;
		snprintf(what, sizeof(what), "memory: %llu MiB unused, %ld CPUs",
		         (unsigned long long)(free_bytes / MiB), sysconf(_SC_NPROCESSORS_ONLN));
		say(list, free_bytes >= 128 * MiB, what, "a micro.64m instance needs some 80 MiB");
	}
	/* Of the folder, or of what it will be made in. */
	snprintf(place, sizeof(place), "%s", data);
	while (statvfs(place, &disk) < 0 && strrchr(place, '/'))
		*strrchr(place, '/') = 0;
	if (statvfs(*place ? place : "/", &disk) == 0) {
		free_bytes = (u64)disk.f_bavail * disk.f_frsize;
		snprintf(what, sizeof(what), "disk: %llu MiB free for %.100s",
		         (unsigned long long)(free_bytes / MiB), data);
		say(list, free_bytes >= 1 * GiB, what, "debian-12 needs some 600 MiB, its instances more");
	}
}

static void region(json_t *list, const char *data)
{
	int pid = cloud_server(data);
	char what[200];

	if (pid)
		snprintf(what, sizeof(what), "a region is up at %.150s (process %d)", data, pid);
	else
		snprintf(what, sizeof(what), "a region is up at %.150s", data);
	say(list, pid, what, "insula up");
}

int doctor_main(int argc, char **argv)
{
	const char *data = NULL;
	bool json = false, limits;
	const struct verb_option options[] = {{"data", &data, NULL}, {"json", NULL, &json}, {0}};
	int status = options_read(argc, argv, options, usage, 0, 0);
	struct error e = {0}, why = {0};
	json_t *list;

	if (status >= 0)
		return status;
	list = json ? json_array() : NULL;
	say(list, access("/dev/kvm", R_OK | W_OK) == 0,
	    "/dev/kvm can be opened (machines run on the soft engine all the same)",
	    "machines run on the soft engine, which needs nothing");
	limits = cgroup_probe("", &e) == 0;
	if (!limits)
		error_prefix(&e, "instances run without limits, and t types whose CPU credits are spent are "
		                 "not throttled");
	say(list, limits, "control groups (v2 or v1) limit what instances take, and throttle t types",
	    e.text);
	say(list, access("/proc/self/ns/net", F_OK) == 0, "network namespaces", "the kernel has none");
	say(list, access("/dev/net/tun", R_OK | W_OK) == 0, "/dev/net/tun can be opened",
	    "run as root, load `tun`");
	say(list, geteuid() == 0, "root: images can be built, limits and networks set up",
	    "an ordinary user: images are imported, not built");
	say(list, network_possible(&why) == 0, "VPC networking: instances have interfaces", why.text);
	programs(list);
	say(list, firmware_find(NULL, &e), "SeaBIOS (boots imported disks by their own boot loader)",
	    "apt-get install seabios");
	room(list, data);
	region(list, data);
	if (list) {
		client_print(list);
		json_decref(list);
	}
	return fflush(stdout) ? 1 : 0;
}
