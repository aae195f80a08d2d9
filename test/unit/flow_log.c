/* Flow logs: packets that are read, flows that are counted, and lines. */
#include "net/flow_log.h"
#include "net/wire.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void write_packet(u8 bytes[48], u8 protocol)
{
	memset(bytes, 0, 48);
	bytes[0] = 0x46; /* with an option */
	wire_put16(bytes + 2, 500);
	bytes[9] = protocol;
	wire_put32(bytes + 12, 0x0a000005);
	wire_put32(bytes + 16, 0x0a000006);
	wire_put16(bytes + 24, 1000);
	wire_put16(bytes + 26, 2000);
}

static void packets(void **state)
{
	struct flow f = {0};
	u8 in[48];
	u64 bytes;

	write_packet(in, 17);
	assert_true(flow_read_packet(&f, in, sizeof(in), &bytes));
	assert_true(f.protocol == 17 && f.from.bits == 0x0a000005 && f.to.bits == 0x0a000006 && bytes == 500);
	assert_true(f.from_port == 1000 && f.to_port == 2000);
	wire_put16(in + 6, 0x2001); /* a later fragment */
	assert_true(flow_read_packet(&f, in, sizeof(in), &bytes));
	assert_true(f.from_port == 0 && f.to_port == 0);
	write_packet(in, 1);
	assert_true(flow_read_packet(&f, in, sizeof(in), &bytes));
	assert_true(f.protocol == 1 && f.from_port == 0);
	write_packet(in, 6);
	assert_true(flow_read_packet(&f, in, 27, &bytes)); /* cut within the ports */
	assert_true(f.from_port == 0);
	assert_false(flow_read_packet(&f, in, 19, &bytes));
	in[0] = 0x4f; /* longer than there is */
	assert_true(flow_read_packet(&f, in, sizeof(in), &bytes));
	assert_true(f.from_port == 0);
	in[0] = 0x60;
	in[6] = 6;
	wire_put16(in + 4, 100);
	wire_put16(in + 42, 443);
	assert_true(flow_read_packet(&f, in, 44, &bytes));
	assert_true(f.from.v6 && f.to_port == 443 && bytes == 140);
	assert_false(flow_read_packet(&f, in, 39, &bytes));
	in[0] = 0;
	assert_false(flow_read_packet(&f, in, sizeof(in), &bytes));
}

static struct plan_interface interfaces[] = {{.id = "eni-1", .log = true, .log_only = ""},
                                             {.id = "eni-2", .log = true, .log_only = "REJECT"},
                                             {.id = "eni-3", .log_only = ""}};
static const struct config config = {
        .plan = {.account = "123456789012", .interfaces = interfaces, .interfaces_count = 3}};

static void minute(void **state)
{
	struct flow f = {"eni-1", {false, 0x0a000005}, {false, 0x0a000006}, 1000, 22, 6, false}, g = f;
	struct flow_log log = {.since = 60};
	struct buffer out = {0};

	g.refused = true;
	flow_log_add(&log, &f, 1, 60, 61);
	flow_log_add(&log, &g, 1, 40, 62);
	flow_log_add(&log, &f, 10, 600, 63);
	strcpy(f.interface, "eni-2"); /* accepted, which its log does not want */
	flow_log_add(&log, &f, 1, 60, 64);
	flow_log_write(&log, &config, 120, &out);
	assert_int_equal(log.count, 0);
	assert_non_null(strstr(buffer_str(&out),
	                       "2 123456789012 eni-1 10.0.0.5 10.0.0.6 1000 22 6 11 660 61 63 ACCEPT OK\n"));
	assert_non_null(strstr(buffer_str(&out),
	                       "2 123456789012 eni-1 10.0.0.5 10.0.0.6 1000 22 6 1 40 62 62 REJECT OK\n"));
	assert_non_null(strstr(buffer_str(&out), "2 123456789012 eni-2 - - - - - - - 60 120 - NODATA\n"));
	assert_null(strstr(buffer_str(&out), "eni-3"));
	buffer_clear(&out);
	flow_log_write(&log, &config, 180, &out);
	assert_string_equal(buffer_str(&out), "2 123456789012 eni-1 - - - - - - - 120 180 - NODATA\n"
	                                      "2 123456789012 eni-2 - - - - - - - 120 180 - NODATA\n");
	buffer_release(&out);
	flow_log_release(&log);
}

static void too_many(void **state)
{
	struct flow f = {"eni-1", {true, 1}, {true, 2}, 0, 0, 17, false};
	struct flow_log log = {0};
	struct buffer out = {0};
	unsigned lines = 0;

	for (unsigned i = 0; i < FLOW_LOG_MAX + 10; i++) {
		f.from.bits = (ip_bits)i << 64 | i;
		flow_log_add(&log, &f, 1, 60, 1);
		flow_log_add(&log, &f, 1, 60, 1);
	}
	assert_int_equal(log.count, FLOW_LOG_MAX);
	flow_log_write(&log, &config, 60, &out);
	for (const char *p = buffer_str(&out); *p; p = strchr(p, '\n') + 1)
		lines++;
	assert_int_equal(lines, FLOW_LOG_MAX + 2);
	assert_non_null(strstr(buffer_str(&out), "eni-1 - - - - - - - 0 60 - SKIPDATA\n"));
	buffer_release(&out);
	flow_log_release(&log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(packets),
	        cmocka_unit_test(minute),
	        cmocka_unit_test(too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
