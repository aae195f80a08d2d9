#include "host/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PERIOD_US = 100000 };

/* The group that the caller moves to: one that has controllers for its children may hold no process itself.
 */
#define OWN_LEAF "/insula-serve"

struct cgroup_limits cgroup_limits_of(unsigned vcpus, u64 memory_mib)
{
	return (struct cgroup_limits){
	        .weight = vcpus < 1     ? 100
	                  : vcpus > 100 ? 10000
	                                : 100 * vcpus,
	        .quota_us = (u64)vcpus * PERIOD_US + PERIOD_US / 2,
	        .memory_bytes = (memory_mib + memory_mib / 16 + 256 + 128 * (u64)vcpus) * MiB,
	        .tasks = vcpus + 64,
	};
}

static int __attribute__((format(printf, 4, 5)))
put(const char *folder, const char *file, struct error *e, const char *format, ...)
{
	char path[PATH_MAX], text[128];
	va_list args;
	int fd, n, result = 0;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (snprintf(path, sizeof(path), "%s/%s", folder, file) >= (int)sizeof(path))
		return error_set(e, ENAMETOOLONG, "write %s", file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set(e, errno, "open %s", path);
	if (write(fd, text, (size_t)n) != n)
		result = error_set(e, errno, "write `%s` to %s", text, path);
	close(fd);
	return result;
}

static bool first_line(const char *path, const char *start, char *buf, size_t size)
{
	FILE *file = fopen(path, "re");
	bool found = false;

	while (file && !found && fgets(buf, (int)size, file))
		found = !strncmp(buf, start, strlen(start));
	if (file)
		fclose(file);
	buf[strcspn(buf, "\n")] = 0;
	return found;
}

static bool has_word(const char *text, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = text; (at = strstr(at, word)); at++)
		if ((at == text || at[-1] == ' ') && (!at[length] || at[length] == ' '))
			return true;
	return false;
}

/* The group below which ours are made: the caller's, without the leaf that it is in after a restart. */
static int find_base(char *base, size_t size, struct error *e)
{
	char mount[PATH_MAX] = "", line[PATH_MAX], path[2 * PATH_MAX], *own = line + strlen("0::");
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent *m;
	size_t length;

	while (mounts && !*mount && (m = getmntent(mounts)))
		if (!strcmp(m->mnt_type, "cgroup2"))
			snprintf(mount, sizeof(mount), "%s", m->mnt_dir);
	if (mounts)
		endmntent(mounts);
	if (!*mount)
		return error_set(e, 0, "cgroup v2 is not mounted");
	if (!first_line("/proc/self/cgroup", "0::", line, sizeof(line)))
		return error_set(e, 0, "this process is in no cgroup v2");
	length = strlen(own);
	if (length >= strlen(OWN_LEAF) && !strcmp(own + length - strlen(OWN_LEAF), OWN_LEAF))
		own[length - strlen(OWN_LEAF)] = 0;
	if (snprintf(base, size, "%s%s", mount, strcmp(own, "/") ? own : "") >= (int)size)
		return error_set(e, ENAMETOOLONG, "open %s%s", mount, own);
	snprintf(path, sizeof(path), "%s/cgroup.controllers", base);
	if (!first_line(path, "", line, sizeof(line)))
		return error_set(e, errno, "read %s", path);
	if (!has_word(line, "cpu") || !has_word(line, "memory") || !has_word(line, "pids"))
		return error_set(e, 0, "%s has not the controllers cpu, memory and pids", base);
	if (access(base, W_OK) < 0)
		return error_set(e, errno, "write to %s", base);
	return 0;
}

int cgroup_probe(struct error *e)
{
	char base[PATH_MAX];

	return find_base(base, sizeof(base), e);
}

static int make_folder(const char *path, struct error *e)
{
	return mkdir(path, 0755) < 0 && errno != EEXIST ? error_set(e, errno, "create %s", path) : 0;
}

/* A group with processes in it gives no controllers to others, but for the root of all: then the caller
 * moves. */
static int give_controllers(const char *base, struct error *e)
{
	static const char all[] = "+cpu +memory +pids";
	char leaf[PATH_MAX + 32];

	if (put(base, "cgroup.subtree_control", e, "%s", all) == 0)
		return 0;
	if (e->code != EBUSY)
		return -1;
	snprintf(leaf, sizeof(leaf), "%s" OWN_LEAF, base);
	return make_folder(leaf, e) < 0 || cgroup_join(leaf, e) < 0 ||
	                       put(base, "cgroup.subtree_control", e, "%s", all) < 0
	               ? -1
	               : 0;
}

int cgroup_setup(char *buf, size_t size, struct error *e)
{
	char base[PATH_MAX];

	if (find_base(base, sizeof(base), e) < 0)
		return -1;
	if (snprintf(buf, size, "%s/insula", base) >= (int)size)
		return error_set(e, ENAMETOOLONG, "create %s/insula", base);
	return give_controllers(base, e) < 0 || make_folder(buf, e) < 0 || give_controllers(buf, e) < 0 ? -1
	                                                                                                : 0;
}

int cgroup_limit(const char *path, const struct cgroup_limits *l, struct error *e)
{
	return put(path, "cpu.weight", e, "%u", l->weight) < 0 ||
	                       put(path, "cpu.max", e, "%llu %d", (unsigned long long)l->quota_us,
	                           PERIOD_US) < 0 ||
	                       put(path, "memory.max", e, "%llu", (unsigned long long)l->memory_bytes) < 0 ||
	                       put(path, "pids.max", e, "%u", l->tasks) < 0
	               ? -1
	               : 0;
}

int cgroup_make(const char *parent, const char *name, const struct cgroup_limits *limits, struct error *e)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", parent, name) >= (int)sizeof(path))
		return error_set(e, ENAMETOOLONG, "create %s/%s", parent, name);
	return make_folder(path, e) < 0 ? -1 : cgroup_limit(path, limits, e);
}

int cgroup_join(const char *path, struct error *e)
{
	return put(path, "cgroup.procs", e, "0");
}

void cgroup_remove(const char *parent, const char *name)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", parent, name) < (int)sizeof(path))
		rmdir(path);
}
