/* What the serial line says of a guest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "host/guest_watch.h"

#include <string.h>

static enum guest_state after(struct guest_watch *w, const char *text)
{
	guest_watch_feed(w, text, strlen(text));
	return w->state;
}

static void test_states(void **state)
{
	struct guest_watch w = {0};

	assert_int_equal(after(&w, "[    0.0] hello\r\n"), GUEST_STARTING);
	assert_int_equal(after(&w, "Debian GNU/Linux 12 ip-10-0-0-1 ttyS0\r\n\r\nip-10-0-0-1 login: "),
	                 GUEST_UP);
	assert_int_equal(after(&w, "[   99.1] Kernel panic - not syncing: Fatal exception\r\n"),
	                 GUEST_FAILED);
	assert_int_equal(after(&w, "[    0.0] Linux version 6.1.0\r\n"), GUEST_STARTING);
	assert_int_equal(after(&w, "INSULA-INIT-REACHED uptime=1\r\n"), GUEST_UP);
	assert_int_equal(after(&w, "You are in emergency mode.\r\n"), GUEST_FAILED);
}

/* However the bytes come, the last word decides. */
static void test_pieces(void **state)
{
	static const char text[] = "Linux version 6\r\nKernel panic - not syncing: x\r\nLinux version 6\r\n"
	                           "[ OK ] Reached target multi-user.target - Multi-User System.\r\n";

	for (size_t piece = 1; piece < sizeof(text); piece++) {
		struct guest_watch w = {0};

		for (size_t at = 0; at < sizeof(text) - 1; at += piece)
			guest_watch_feed(&w, text + at, min(piece, sizeof(text) - 1 - at));
		assert_int_equal(w.state, GUEST_UP);
	}
}

static void test_changes(void **state)
{
	struct guest_watch w = {0};

	assert_true(guest_watch_feed(&w, "x login: ", 9));
	assert_false(guest_watch_feed(&w, "y login: ", 9));
	assert_false(guest_watch_feed(&w, "", 0));
	assert_false(guest_watch_feed(&w, "login:", 6));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_states),
	        cmocka_unit_test(test_pieces),
	        cmocka_unit_test(test_changes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
