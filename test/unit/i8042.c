#include "machine/i8042.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static unsigned resets;

static void reset(void *ctx)
{
	resets++;
}

static void setup(struct i8042 *k)
{
	resets = 0;
	i8042_init(k, reset, NULL);
}

static u8 ask(struct i8042 *k, u8 command)
{
	i8042_write(k, 0x64, command);
	assert_int_equal(i8042_read(k, 0x64) & 1, 1);
	u8 v = i8042_read(k, 0x60);
	assert_int_equal(i8042_read(k, 0x64) & 1, 0);
	return v;
}

static void reset_commands(void **state)
{
	struct i8042 k;

	setup(&k);
	i8042_write(&k, 0x64, 0xfe);
	assert_int_equal(resets, 1);
	i8042_write(&k, 0x64, 0xff); /* pulses no line */
	assert_int_equal(resets, 1);
	i8042_write(&k, 0x64, 0xf0);
	assert_int_equal(resets, 2);
	i8042_write(&k, 0x64, 0xd1);
	i8042_write(&k, 0x60, 0xdf);
	assert_int_equal(resets, 2);
	i8042_write(&k, 0x64, 0xd1);
	i8042_write(&k, 0x60, 0xde);
	assert_int_equal(resets, 3);
	i8042_write(&k, 0x92, 2);
	assert_int_equal(resets, 3);
	i8042_write(&k, 0x92, 3);
	assert_int_equal(resets, 4);
}

static void controller_answers_and_nothing_is_plugged_in(void **state)
{
	struct i8042 k;

	setup(&k);
	assert_int_equal(i8042_read(&k, 0x64) & 3, 0); /* input buffer is always free */
	assert_int_equal(ask(&k, 0xaa), 0x55);
	assert_int_not_equal(ask(&k, 0xab), 0);
	assert_int_not_equal(ask(&k, 0xa9), 0);
	i8042_write(&k, 0x64, 0x60);
	i8042_write(&k, 0x60, 0x45);
	assert_int_equal(ask(&k, 0x20), 0x45);
	i8042_write(&k, 0x60, 0xff); /* keyboard reset: no answer */
	assert_int_equal(i8042_read(&k, 0x64) & 1, 0);
}

static void a20_reads_back(void **state)
{
	struct i8042 k;

	setup(&k);
	assert_int_equal(i8042_read(&k, 0x92), 2);
	i8042_write(&k, 0x92, 0);
	assert_int_equal(ask(&k, 0xd0) & 2, 0);
	i8042_write(&k, 0x64, 0xdf);
	assert_int_equal(i8042_read(&k, 0x92), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(reset_commands),
	        cmocka_unit_test(controller_answers_and_nothing_is_plugged_in),
	        cmocka_unit_test(a20_reads_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
