/* Time: a client's query and its answer (RFC 5905). */
#include "net/ntp.h"
#include "net/wire.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void client_is_answered(void **state)
{
	const struct ntp_clock clock = {.error_us = 250000, .leap = 1};
	u8 in[NTP_PACKET] = {4 << 3 | 3}, out[NTP_PACKET];

	memcpy(in + 40, "sent by.", 8);
	assert_true(ntp_answer(&clock, in, sizeof(in), 1500000000, 2000000000, out));
	assert_int_equal(out[0], 1 << 6 | 4 << 3 | 4);
	assert_in_range(out[1], 1, 15);
	assert_int_equal(wire_get32(out + 8), 0x4000);
	assert_memory_equal(out + 24, "sent by.", 8);
	assert_int_equal(wire_get32(out + 32), 2208988801);
	assert_int_equal(wire_get32(out + 36), 0x80000000);
	assert_int_equal(wire_get32(out + 40), 2208988802);
	assert_int_equal(wire_get32(out + 44), 0);
}

static void era_after_2036(void **state)
{
	const struct ntp_clock clock = {0};
	u8 in[NTP_PACKET] = {4 << 3 | 3}, out[NTP_PACKET];

	assert_true(ntp_answer(&clock, in, sizeof(in), 2085978496000000000, 2085978497000000000, out));
	assert_int_equal(wire_get32(out + 32), 0);
	assert_int_equal(wire_get32(out + 40), 1);
}

static void others_are_not(void **state)
{
	const struct ntp_clock clock = {0};
	u8 in[NTP_PACKET] = {0}, out[NTP_PACKET];

	for (unsigned first = 0; first < 256; first++) {
		unsigned version = first >> 3 & 7;

		in[0] = (u8)first;
		assert_int_equal(ntp_answer(&clock, in, sizeof(in), 1, 2, out),
		                 (first & 7) == 3 && version >= 1 && version <= 4);
		assert_false(ntp_answer(&clock, in, sizeof(in) - 1, 1, 2, out));
	}
	assert_false(ntp_answer(&clock, in, 0, 1, 2, out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(client_is_answered),
	        cmocka_unit_test(era_after_2036),
	        cmocka_unit_test(others_are_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
