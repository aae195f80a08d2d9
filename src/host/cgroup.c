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

/* The group that the caller moves to: one that has controllers for its children may hold no process itself
 * (version 2). */
#define OWN_LEAF "/insula-serve"

struct cgroup_limits cgroup_limits_of(unsigned vcpus, u64 memory_mib)
{
	return (struct cgroup_limits){
	        .weight = vcpus < 1     ? 100
	                  : vcpus > 100 ? 10000
	                                : 100 * vcpus,
	        .quota_us = (u64)vcpus * CGROUP_PERIOD_US + CGROUP_PERIOD_US / 2,
	        .memory_bytes = (memory_mib + memory_mib / 16 + 256 + 128 * (u64)vcpus) * MiB,
	        .tasks = vcpus + 64,
	};
}

/* ---- files ---- */

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

	*buf = 0;
	while (file && !found && fgets(buf, (int)size, file))
		found = !strncmp(buf, start, strlen(start));
	if (file)
		fclose(file);
	buf[strcspn(buf, "\n")] = 0;
	return found;
}

/* Words are parted by any of these. */
static bool has_word(const char *text, const char *word, const char *parted)
{
	size_t length = strlen(word);

	for (const char *at = text; (at = strstr(at, word)); at++)
		if ((at == text || strchr(parted, at[-1])) && (!at[length] || strchr(parted, at[length])))
			return true;
	return false;
}

static int make_folder(const char *path, struct error *e)
{
	return mkdir(path, 0755) < 0 && errno != EEXIST ? error_set(e, errno, "create %s", path) : 0;
}

/* ---- where they are ---- */

/* The folder that a hierarchy is mounted at: of that type, and, if it is said, with that controller. */
static bool find_mount(const char *root, const char *type, const char *controller, char *buf, size_t size)
{
	char path[PATH_MAX];
	struct mntent *m;
	FILE *mounts;

	snprintf(path, sizeof(path), "%s/proc/self/mounts", root);
	*buf = 0;
	mounts = setmntent(path, "re");
	while (mounts && !*buf && (m = getmntent(mounts)))
		if (!strcmp(m->mnt_type, type) && (!controller || has_word(m->mnt_opts, controller, ",")))
			snprintf(buf, size, "%s%s", root, m->mnt_dir);
	if (mounts)
		endmntent(mounts);
	return *buf;
}

/* The caller's group in the hierarchy with that controller; "": in version 2. Lines are
 * "ID:CONTROLLERS:PATH".
 */
static bool find_own(const char *root, const char *controller, char *buf, size_t size)
{
	char path[PATH_MAX], line[PATH_MAX];
	bool found = false;
	FILE *file;

	snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
	file = fopen(path, "re");
	while (file && !found && fgets(line, sizeof(line), file)) {
		char *names = strchr(line, ':'), *own = names ? strchr(names + 1, ':') : NULL;

		if (!own)
			continue;
		*own++ = 0;
		own[strcspn(own, "\n")] = 0;
		found = *controller ? has_word(names + 1, controller, ",") : !names[1];
		if (found)
			snprintf(buf, size, "%s", own);
	}
	if (file)
		fclose(file);
	return found;
}

/* Version 2: the group below which ours are made is the caller's, without the leaf that it is in after a
 * restart. */
static int find_unified(const char *root, char *base, size_t size, struct error *e)
{
	char mount[PATH_MAX], line[PATH_MAX], path[2 * PATH_MAX], own[PATH_MAX];
	size_t length;

	if (!find_mount(root, "cgroup2", NULL, mount, sizeof(mount)))
		return error_set(e, 0, "cgroup v2 is not mounted");
	if (!find_own(root, "", own, sizeof(own)))
		return error_set(e, 0, "this process is in no cgroup v2");
	length = strlen(own);
	if (length >= strlen(OWN_LEAF) && !strcmp(own + length - strlen(OWN_LEAF), OWN_LEAF))
		own[length - strlen(OWN_LEAF)] = 0;
	if (snprintf(base, size, "%s%s", mount, strcmp(own, "/") ? own : "") >= (int)size)
		return error_set(e, ENAMETOOLONG, "open %s%s", mount, own);
	snprintf(path, sizeof(path), "%s/cgroup.controllers", base);
	if (access(path, R_OK) < 0)
		return error_set(e, errno, "read %s", path);
	first_line(path, "", line, sizeof(line));
	if (!has_word(line, "cpu", " ") || !has_word(line, "memory", " ") || !has_word(line, "pids", " "))
		return error_set(e, 0, "%s has not the controllers cpu, memory and pids", base);
	if (access(base, W_OK) < 0)
		return error_set(e, errno, "write to %s", base);
	return 0;
}

/* Version 1: "cpu=FOLDER:memory=FOLDER:pids=FOLDER". */
static int find_legacy(const char *root, char *base, size_t size, struct error *e)
{
	static const char *const names[] = {"cpu", "memory", "pids"};
	char mount[PATH_MAX], own[PATH_MAX], folder[2 * PATH_MAX];
	size_t at = 0;

	*base = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		bool needed = i == 0, there = find_mount(root, "cgroup", names[i], mount, sizeof(mount)) &&
		                              find_own(root, names[i], own, sizeof(own));

		if (!there && needed)
			return error_set(e, 0, "cgroup v1 has no controller cpu");
		if (!there || (!needed && strcmp(own, "/")))
			continue;
		snprintf(folder, sizeof(folder), "%s%s", mount, strcmp(own, "/") ? own : "");
		if (access(folder, W_OK) < 0 && needed)
			return error_set(e, errno, "write to %s", folder);
		if (access(folder, W_OK) < 0)
			continue;
		at += (size_t)snprintf(base + at, at < size ? size - at : 0, "%s%s=%s", at ? ":" : "",
		                       names[i], folder);
		if (at >= size)
			return error_set(e, ENAMETOOLONG, "open %s", folder);
	}
	return 0;
}

static int find_base(const char *root, char *base, size_t size, struct error *e)
{
	struct error first, second;

	if (find_unified(root, base, size, &first) == 0 || find_legacy(root, base, size, &second) == 0)
		return 0;
	return error_set(e, 0, "%.240s; %.240s", first.text, second.text);
}

int cgroup_probe(const char *root, struct error *e)
{
	char base[CGROUP_PATH];

	return find_base(root, base, sizeof(base), e);
}

/* ---- the folders of a group ---- */

struct folder {
	const char *controller; /* of version 1; NULL: version 2 */
	char path[PATH_MAX];
};

/* The next folder of a group, from *at on. */
static bool next_folder(const char **at, struct folder *f)
{
	static const char *const names[] = {"cpu", "memory", "pids"};
	size_t length = strcspn(*at, ":");

	f->controller = NULL;
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		size_t n = strlen(names[i]);

		if (!strncmp(*at, names[i], n) && (*at)[n] == '=') {
			f->controller = names[i];
			*at += n + 1;
			length -= n + 1;
			break;
		}
	}
	snprintf(f->path, sizeof(f->path), "%.*s", (int)length, *at);
	*at += length;
	*at += **at == ':';
	return length > 0;
}

int cgroup_child(const char *parent, const char *name, char *buf, size_t size, struct error *e)
{
	struct folder f;
	size_t at = 0;

	*buf = 0;
	while (next_folder(&parent, &f)) {
		at += (size_t)snprintf(buf + at, size - at, "%s%s%s%s/%s", at ? ":" : "",
		                       f.controller ? f.controller : "", f.controller ? "=" : "", f.path,
		                       name);
		if (at >= size)
			return error_set(e, ENAMETOOLONG, "create %s/%s", f.path, name);
	}
	return 0;
}

/* A group of version 2 with processes in it gives no controllers to others, but for the root of all: then the
 * caller moves. */
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

int cgroup_setup(const char *root, char *buf, size_t size, struct error *e)
{
	char base[CGROUP_PATH];
	const char *at = buf;
	struct folder f;

	if (find_base(root, base, sizeof(base), e) < 0 || cgroup_child(base, "insula", buf, size, e) < 0 ||
	    (*base == '/' && give_controllers(base, e) < 0))
		return -1;
	while (next_folder(&at, &f))
		if (make_folder(f.path, e) < 0 || (!f.controller && give_controllers(f.path, e) < 0))
			return -1;
	return 0;
}

/* ---- limits ---- */

static int put_quota(const struct folder *f, u64 quota_us, struct error *e)
{
	const unsigned long long quota = quota_us;

	if (!f->controller)
		return put(f->path, "cpu.max", e, "%llu %d", quota, CGROUP_PERIOD_US);
	if (strcmp(f->controller, "cpu") != 0)
		return 0;
	return put(f->path, "cpu.cfs_period_us", e, "%d", CGROUP_PERIOD_US) < 0
	               ? -1
	               : put(f->path, "cpu.cfs_quota_us", e, "%llu", quota);
}

static int put_weight(const struct folder *f, unsigned weight, struct error *e)
{
	if (!f->controller)
		return put(f->path, "cpu.weight", e, "%u", weight);
	/* Of 100 here, of 1024 there. */
	return strcmp(f->controller, "cpu") ? 0 : put(f->path, "cpu.shares", e, "%u", weight * 1024 / 100);
}

static int put_memory(const struct folder *f, u64 bytes, struct error *e)
{
	if (f->controller && strcmp(f->controller, "memory") != 0)
		return 0;
	return put(f->path, f->controller ? "memory.limit_in_bytes" : "memory.max", e, "%llu",
	           (unsigned long long)bytes);
}

static int put_tasks(const struct folder *f, unsigned tasks, struct error *e)
{
	return f->controller && strcmp(f->controller, "pids") ? 0 : put(f->path, "pids.max", e, "%u", tasks);
}

int cgroup_make(const char *group, const struct cgroup_limits *l, struct error *e)
{
	struct folder f;

	while (next_folder(&group, &f))
		if (make_folder(f.path, e) < 0 || put_weight(&f, l->weight, e) < 0 ||
		    put_quota(&f, l->quota_us, e) < 0 || put_memory(&f, l->memory_bytes, e) < 0 ||
		    put_tasks(&f, l->tasks, e) < 0)
			return -1;
	return 0;
}

int cgroup_set_quota(const char *group, u64 quota_us, struct error *e)
{
	struct folder f;

	while (next_folder(&group, &f))
		if (put_quota(&f, quota_us, e) < 0)
			return -1;
	return 0;
}

int cgroup_join(const char *group, struct error *e)
{
	struct folder f;

	while (next_folder(&group, &f))
		if (put(f.path, "cgroup.procs", e, "0") < 0)
			return -1;
	return 0;
}

void cgroup_remove(const char *group)
{
	struct folder f;

	while (next_folder(&group, &f))
		rmdir(f.path);
}
