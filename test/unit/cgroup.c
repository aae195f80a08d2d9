/* What machines are limited to; a folder of plain files stands in for a control group. */
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

static void test_files(void **state)
{
	const struct cgroup_limits l = cgroup_limits_of(2, 1024);
	char parent[64] = "/tmp/insula-cgroup-XXXXXX", path[128];
	struct error e;

	assert_non_null(mkdtemp(parent));
	/* A group that has not these files is no group: said, with its name. */
	assert_int_equal(cgroup_make(parent, "i-1", &l, &e), -1);
	assert_non_null(strstr(e.text, "i-1/cpu.weight"));
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "%s/i-1/%s", parent, files[i]);
		close(open(path, O_WRONLY | O_CREAT, 0600));
	}
	assert_int_equal(cgroup_make(parent, "i-1", &l, &e), 0);
	is(parent, "cpu.weight", "200");
	is(parent, "cpu.max", "250000 100000");
	is(parent, "memory.max", "1677721600");
	is(parent, "pids.max", "66");
	snprintf(path, sizeof(path), "%s/i-1", parent);
	assert_int_equal(cgroup_join(path, &e), 0);
	is(parent, "cgroup.procs", "0");
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "%s/i-1/%s", parent, files[i]);
		unlink(path);
	}
	cgroup_remove(parent, "i-1");
	cgroup_remove(parent, "i-2"); /* there is none */
	assert_int_equal(rmdir(parent), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_limits),
	        cmocka_unit_test(test_files),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
