/* Transactions of two processes on one database. */
#include "region_fixture.h"

#include <pthread.h>
#include <time.h>

static void *write_too(void *ctx)
{
	struct cloud *c = ctx;
	struct error e;

	database_begin(c->db);
	cloud_set(c, "theirs", "1");
	return database_commit(c->db, &e) < 0 ? NULL : c;
}

/* Whoever has read may write: the other one waits. */
static void test_reads_then_writes(void **state)
{
	const struct timespec pause = {.tv_nsec = 100 * 1000 * 1000};
	struct fixture *f = *state;
	struct cloud other;
	struct error e;
	pthread_t thread;
	void *done;

	assert_int_equal(database_commit(f->cloud.db, &e), 0);
	assert_int_equal(cloud_open(&other, &(struct cloud_options){.data = f->data}, &e), 0);
	database_begin(f->cloud.db);
	assert_null(cloud_setting(&f->cloud, "theirs"));
	assert_int_equal(pthread_create(&thread, NULL, write_too, &other), 0);
	nanosleep(&pause, NULL); /* if it does not wait, it has written by now */
	cloud_set(&f->cloud, "ours", "1");
	assert_int_equal(database_commit(f->cloud.db, &e), 0);
	assert_int_equal(pthread_join(thread, &done), 0);
	assert_ptr_equal(done, &other);
	cloud_close(&other);
	database_begin(f->cloud.db);
	assert_string_equal(cloud_setting(&f->cloud, "theirs"), "1");
	assert_string_equal(cloud_setting(&f->cloud, "ours"), "1");
}

/* Whoever opens it to look does not wait for who writes, once it is set up. */
static void test_opens_beside_a_writer(void **state)
{
	struct fixture *f = *state;
	struct cloud other;
	struct error e;

	cloud_set(&f->cloud, "ours", "1");
	assert_int_equal(cloud_open(&other, &(struct cloud_options){.data = f->data}, &e), 0);
	assert_string_equal(other.account, f->cloud.account);
	assert_null(cloud_setting(&other, "ours"));
	cloud_close(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_reads_then_writes, fixture_setup, fixture_teardown),
	        cmocka_unit_test_setup_teardown(test_opens_beside_a_writer, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
