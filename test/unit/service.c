/* The process `insula vpc` from outside: started, told, asked for and ended, in a namespace of this test's
 * own, with this program in the place of `insula`. Needs root. */
#include "net/service.h"
#include "net/vpc.h"

#include "net_fixture.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static char folder[64];

static int make_folder(void **state)
{
	struct error e;

	snprintf(folder, sizeof(folder), "/tmp/insula-service-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	return vpc_service_config(folder, net_fixture, sizeof(net_fixture) - 1, &e);
}

static int end_folder(void **state)
{
	struct error e;

	return vpc_service_end(folder, &e) < 0 || vpc_service_remove(folder, &e) < 0 ||
	                       access(folder, F_OK) == 0
	               ? -1
	               : 0;
}

static int pid_of(void)
{
	char path[128];
	FILE *file;
	int pid = 0;

	snprintf(path, sizeof(path), "%s/vpc.pid", folder);
	file = fopen(path, "r");
	if (file) {
		assert_int_equal(fscanf(file, "%d", &pid), 1);
		fclose(file);
	}
	return pid;
}

static void life(void **state)
{
	struct error e = {0};
	int pid;

	assert_false(vpc_service_running(folder));
	assert_int_equal(vpc_service_end(folder, &e), 0);
	if (vpc_service_start(folder, NULL, &e) < 0)
		fail_msg("%s", e.text);
	assert_true(vpc_service_running(folder));
	pid = pid_of();
	assert_true(pid > 0 && kill(pid, 0) == 0);
	assert_int_equal(vpc_service_start(folder, NULL, &e), 0);
	assert_int_equal(pid_of(), pid);
	assert_int_equal(vpc_service_remove(folder, &e), -1);
	assert_int_equal(vpc_service_end(folder, &e), 0);
	assert_false(vpc_service_running(folder));
}

static void killed_and_again(void **state)
{
	struct error e = {0};
	int pid;

	assert_int_equal(vpc_service_start(folder, NULL, &e), 0);
	pid = pid_of();
	assert_int_equal(kill(pid, SIGKILL), 0);
	while (vpc_service_running(folder))
		usleep(1000);
	/* Its sockets may be there for a moment longer: of the resolver there are none in here. */
	assert_int_equal(vpc_service_start(folder, NULL, &e), 0);
	assert_int_not_equal(pid_of(), pid);
}

static size_t file_size(void)
{
	struct stat st;
	char path[128];

	snprintf(path, sizeof(path), "%s/config.json", folder);
	return stat(path, &st) < 0 ? 0 : (size_t)st.st_size;
}

static void configurations(void **state)
{
	static const char small[] = "{\"plan\": {\"vpc\": \"vpc-1\", \"generation\": 8}}";
	struct error e = {0};

	assert_int_equal(vpc_service_start(folder, NULL, &e), 0);
	assert_int_equal(file_size(), sizeof(net_fixture) - 1);
	assert_int_equal(vpc_service_config(folder, small, sizeof(small) - 1, &e), 0);
	assert_int_equal(file_size(), sizeof(small) - 1);
	assert_int_equal(vpc_service_config(folder, "{}", 2, &e), -1);
	assert_string_equal(e.text, "the plan is not an object");
	assert_int_equal(file_size(), sizeof(small) - 1);
	assert_int_equal(vpc_service_config(folder, net_fixture, sizeof(net_fixture) - 1, &e), 0);
	assert_int_equal(file_size(), sizeof(net_fixture) - 1);
}

static void bad_beginnings(void **state)
{
	struct error e = {0};

	assert_int_equal(vpc_service_start(folder, "insula-no-such-namespace", &e), -1);
	assert_non_null(strstr(e.text, "insula-no-such-namespace: No such file"));
	assert_int_equal(vpc_service_config(folder, "{", 1, &e), 0); /* for the next start, which will say */
	assert_int_equal(vpc_service_start(folder, NULL, &e), -1);
	assert_non_null(strstr(e.text, "config.json: line 1"));
	assert_int_equal(vpc_service_start("/nonexistent", NULL, &e), -1);
	assert_int_equal(vpc_service_end("/nonexistent", &e), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(life, make_folder, end_folder),
	        cmocka_unit_test_setup_teardown(killed_and_again, make_folder, end_folder),
	        cmocka_unit_test_setup_teardown(configurations, make_folder, end_folder),
	        cmocka_unit_test_setup_teardown(bad_beginnings, make_folder, end_folder),
	};

	if (argc > 1 && !strcmp(argv[1], "vpc"))
		return vpc_main(argc - 1, argv + 1);
	if (geteuid() || unshare(CLONE_NEWNET) < 0)
		return 77; /* skipped */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
