/* What machines are limited to, in both versions of control groups; folders of plain files stand in for them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "host/cgroup.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const files[] = {"cpu.weight", "cpu.max", "memory.max", "pids.max", "cgroup.procs"};

static void test_limits(void **state)
{
	struct cgroup_limits one = cgroup_limits_of(1, 512), many = cgroup_limits_of(192, 393216);

	assert_int_equal(one.weight, 100);
	assert_int_equal(one.quota_us, 150000);
	assert_int_equal(one.memory_bytes, (512 + 32 + 256 + 128) * MiB);
	assert_int_equal(many.weight, 10000); /* the most that there is */
	assert_int_equal(many.quota_us, 19250000);
	assert_true(many.tasks > 192);
}

static void is(const char *parent, const char *file, const char *wanted)
{
	char path[128], text[64] = "";
	int fd;

	snprintf(path, sizeof(path), "%s/i-1/%s", parent, file);
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0 && read(fd, text, sizeof(text) - 1) >= 0);
	close(fd);
	assert_string_equal(text, wanted);
}

static void make_file(const char *folder, const char *name, const char *text)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static void make_folders(const char *root, const char *path)
{
	char command[256];

	snprintf(command, sizeof(command), "mkdir -p %s%s", root, path);
	assert_int_equal(system(command), 0);
}

static int setup(void **state)
{
	static char root[64];

	strcpy(root, "/tmp/insula-cgroup-XXXXXX");
	*state = mkdtemp(root);
	make_folders(root, "/proc/self");
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", (char *)*state);
	return system(command);
}

static void system_has(const char *root, const char *mounts, const char *own)
{
	char folder[128];

	snprintf(folder, sizeof(folder), "%s/proc/self", root);
	make_file(folder, "mounts", mounts);
	make_file(folder, "cgroup", own);
}

static void test_unified(void **state)
{
	const struct cgroup_limits l = cgroup_limits_of(2, 1024);
	char parent[CGROUP_PATH], group[CGROUP_PATH], folder[256], *root = *state;
	struct error e;

	system_has(root, "cgroup2 /cg cgroup2 rw 0 0\n", "0::/service\n");
	make_folders(root, "/cg/service");
	snprintf(folder, sizeof(folder), "%s/cg/service", root);
	make_file(folder, "cgroup.controllers", "cpuset cpu io memory\n");
	assert_int_equal(cgroup_probe(root, &e), -1); /* pids is missing, and there is no version 1 */
	assert_non_null(strstr(e.text, "controllers"));
	assert_non_null(strstr(e.text, "v1"));
	make_file(folder, "cgroup.controllers", "cpuset cpu io memory pids\n");
	make_file(folder, "cgroup.subtree_control", "");
	make_folders(root, "/cg/service/insula/i-1");
	make_file(strcat(folder, "/insula"), "cgroup.subtree_control", "");
	assert_int_equal(cgroup_probe(root, &e), 0);
	assert_int_equal(cgroup_setup(root, parent, sizeof(parent), &e), 0);
	assert_string_equal(parent, folder);
	assert_int_equal(cgroup_child(parent, "i-1", group, sizeof(group), &e), 0);
	/* A group that has not these files is no group: said, with its name. */
	assert_int_equal(cgroup_make(group, &l, &e), -1);
	assert_non_null(strstr(e.text, "i-1/cpu.weight"));
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++)
		make_file(group, files[i], "");
	assert_int_equal(cgroup_make(group, &l, &e), 0);
	is(parent, "cpu.weight", "200");
	is(parent, "cpu.max", "250000 100000");
	is(parent, "memory.max", "1677721600");
	is(parent, "pids.max", "66");
	make_file(group, "cpu.max", "");
	assert_int_equal(cgroup_set_quota(group, 10000, &e), 0);
	is(parent, "cpu.max", "10000 100000");
	assert_int_equal(cgroup_join(group, &e), 0);
	is(parent, "cgroup.procs", "0");
	cgroup_remove(group); /* somebody is in it */
	is(parent, "pids.max", "66");
	assert_int_equal(cgroup_child(parent, "i-2", group, 4, &e), -1);
}

/* As systemd mounts both: version 2 without controllers, each of version 1 for itself. */
static void test_legacy(void **state)
{
	static const char *const cpu_files[] = {"cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us",
	                                        "cgroup.procs"};
	static const char *const pids_files[] = {"pids.max", "cgroup.procs"};
	const struct cgroup_limits l = cgroup_limits_of(2, 1024);
	char parent[CGROUP_PATH], group[CGROUP_PATH], cpu[128], pids[128], folder[160], *root = *state;
	struct error e;

	system_has(root,
	           "cgroup /cg/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\ncgroup /cg/pids cgroup rw,pids 0 0\n"
	           "cgroup /cg/memory cgroup rw,memory 0 0\ncgroup2 /cg/unified cgroup2 rw 0 0\n",
	           "4:cpu,cpuacct:/own\n3:memory:/somebody/else\n2:pids:/\n0::/\n");
	make_folders(root, "/cg/unified");
	make_folders(root, "/cg/cpu,cpuacct/own/insula/i-1");
	make_folders(root, "/cg/pids/insula/i-1");
	make_folders(root, "/cg/memory/somebody/else");
	snprintf(folder, sizeof(folder), "%s/cg/unified", root);
	make_file(folder, "cgroup.controllers", "hugetlb\n");
	snprintf(cpu, sizeof(cpu), "%s/cg/cpu,cpuacct/own/insula", root);
	snprintf(pids, sizeof(pids), "%s/cg/pids/insula", root);
	snprintf(folder, sizeof(folder), "%s/i-1", cpu);
	for (unsigned i = 0; i < ARRAY_SIZE(cpu_files); i++)
		make_file(folder, cpu_files[i], "");
	snprintf(folder, sizeof(folder), "%s/i-1", pids);
	for (unsigned i = 0; i < ARRAY_SIZE(pids_files); i++)
		make_file(folder, pids_files[i], "");
	if (cgroup_setup(root, parent, sizeof(parent), &e) < 0 ||
	    cgroup_child(parent, "i-1", group, sizeof(group), &e) < 0 || cgroup_make(group, &l, &e) < 0)
		fail_msg("%s", e.text);
	is(cpu, "cpu.shares", "2048");
	is(cpu, "cpu.cfs_period_us", "100000");
	is(cpu, "cpu.cfs_quota_us", "250000");
	is(pids, "pids.max", "66");
	assert_int_equal(cgroup_set_quota(group, 123456, &e), 0);
	is(cpu, "cpu.cfs_quota_us", "123456");
	assert_int_equal(cgroup_join(group, &e), 0);
	is(cpu, "cgroup.procs", "0");
	is(pids, "cgroup.procs", "0");
	/* What memory the caller may take is another's to say. */
	snprintf(folder, sizeof(folder), "%s/cg/memory/somebody/else/insula", root);
	assert_int_equal(access(folder, F_OK), -1);
	/* A whole of none is no error. */
	assert_int_equal(cgroup_make("", &l, &e), 0);
	cgroup_remove("");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_limits),
	        cmocka_unit_test_setup_teardown(test_unified, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_legacy, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
