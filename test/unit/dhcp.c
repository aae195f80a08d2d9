/* DHCP for IPv4: the exchanges of RFC 2131, and what is none of the server's business. */
#include "net/dhcp.h"
#include "net/wire.h"

#include "net_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { DISCOVER = 1, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM };
enum { OWN = 0x0a000005, ROUTER = 0x0a000001, OTHER = 0x0a000007, EVERYBODY = 0xffffffff };

struct message {
	u8 bytes[600];
	size_t length;
};

static void message_begin(struct message *m, u8 type)
{
	memset(m, 0, sizeof(*m));
	memcpy(m->bytes, "\1\1\6\0xid!", 8);
	memcpy(m->bytes + 28, "\2\0\0\0\0\5", 6);
	memcpy(m->bytes + 236, "\x63\x82\x53\x63\x35\1", 6);
	m->bytes[242] = type;
	m->length = 243;
}

static void message_option(struct message *m, u8 code, u32 value)
{
	m->bytes[m->length] = code;
	m->bytes[m->length + 1] = 4;
	wire_put32(m->bytes + m->length + 2, value);
	m->length += 6;
}

/* The type of the answer, 0 if there is none. */
static u8 ask(const struct config *c, struct message *m, struct dhcp_answer *a)
{
	m->bytes[m->length] = 255;
	dhcp_answer(c, config_interface(c, "eni1"), m->bytes, m->length + 1, a);
	return a->length ? a->bytes[242] : 0;
}

/* An option of an answer: its length, -1 if it is not there. */
static int option(const struct dhcp_answer *a, u8 code, const u8 **data)
{
	for (size_t at = 240; at < a->length && a->bytes[at] != 255;
	     at += a->bytes[at] ? 2u + a->bytes[at + 1] : 1)
		if (a->bytes[at] == code) {
			*data = a->bytes + at + 2;
			return a->bytes[at + 1];
		}
	return -1;
}

static void has(const struct dhcp_answer *a, u8 code, const void *data, size_t length)
{
	const u8 *found;

	assert_int_equal(option(a, code, &found), length);
	assert_memory_equal(found, data, length);
}

static void discover_is_offered(void **state)
{
	struct config *c = net_fixture_new();
	struct dhcp_answer a;
	struct message m;
	const u8 *data;

	message_begin(&m, DISCOVER);
	assert_int_equal(ask(c, &m, &a), OFFER);
	assert_memory_equal(a.bytes + 4, "xid!", 4);
	assert_int_equal(wire_get32(a.bytes + 16), OWN);
	assert_true(a.to.bits == OWN && a.from.bits == ROUTER);
	has(&a, 1, "\xff\xff\xf0\0", 4);
	has(&a, 3, "\x0a\0\0\1", 4);
	has(&a, 6, "\x0a\0\0\2\x0a\0\0\x09", 8);
	has(&a, 12, "ip-10-0-0-5", 11);
	has(&a, 15, "example.org", 11);
	has(&a, 26, "\x23\x29", 2);
	has(&a, 42, "\xa9\xfe\xa9\x7b", 4);
	has(&a, 44, "\x0a\0\0\x08", 4);
	has(&a, 46, "\2", 1);
	has(&a, 51, "\0\0\x0e\x10", 4);
	has(&a, 54, "\x0a\0\0\1", 4);
	assert_int_equal(option(&a, 121, &data), -1);
	/* One that cannot hear what is sent to its address says so. */
	m.bytes[10] = 0x80;
	ask(c, &m, &a);
	assert_true(a.to.bits == EVERYBODY);
	config_free(c);
}

static void requests(void **state)
{
	struct config *c = net_fixture_new();
	struct dhcp_answer a;
	struct message m;

	/* Selecting. */
	message_begin(&m, REQUEST);
	message_option(&m, 54, ROUTER);
	message_option(&m, 50, OWN);
	assert_int_equal(ask(c, &m, &a), ACK);
	/* It has taken another server. */
	message_begin(&m, REQUEST);
	message_option(&m, 54, OTHER);
	message_option(&m, 50, OWN);
	assert_int_equal(ask(c, &m, &a), 0);
	/* After a boot, with an address from elsewhere. */
	message_begin(&m, REQUEST);
	message_option(&m, 50, OTHER);
	assert_int_equal(ask(c, &m, &a), NAK);
	assert_true(a.to.bits == EVERYBODY);
	assert_int_equal(wire_get32(a.bytes + 16), 0);
	/* Renewing. */
	message_begin(&m, REQUEST);
	wire_put32(m.bytes + 12, OWN);
	assert_int_equal(ask(c, &m, &a), ACK);
	assert_true(a.to.bits == OWN);
	config_free(c);
}

static void inform_gets_no_lease(void **state)
{
	struct config *c = net_fixture_new();
	struct dhcp_answer a;
	struct message m;
	const u8 *data;

	message_begin(&m, INFORM);
	wire_put32(m.bytes + 12, 0x0a000006);
	assert_int_equal(ask(c, &m, &a), ACK);
	assert_true(a.to.bits == 0x0a000006);
	assert_int_equal(wire_get32(a.bytes + 16), 0);
	assert_int_equal(option(&a, 51, &data), -1);
	has(&a, 15, "example.org", 11);
	wire_put32(m.bytes + 12, OTHER);
	assert_int_equal(ask(c, &m, &a), 0);
	config_free(c);
}

static void others_get_nothing(void **state)
{
	struct config *c = net_fixture_new();
	struct dhcp_answer a;
	struct message m;

	message_begin(&m, DISCOVER);
	m.bytes[33]++; /* MAC */
	assert_int_equal(ask(c, &m, &a), 0);
	message_begin(&m, DISCOVER);
	m.bytes[24] = 10; /* by way of a relay */
	assert_int_equal(ask(c, &m, &a), 0);
	message_begin(&m, DISCOVER);
	m.bytes[236]++;
	assert_int_equal(ask(c, &m, &a), 0);
	for (u8 type = 0; type < 16; type++) {
		message_begin(&m, type);
		if (type != DISCOVER && type != REQUEST)
			assert_int_equal(ask(c, &m, &a), 0);
	}
	/* Cut within an option. */
	message_begin(&m, DISCOVER);
	dhcp_answer(c, config_interface(c, "eni1"), m.bytes, 242, &a);
	assert_int_equal(a.length, 0);
	config_free(c);
}

static void options_beyond_the_end(void **state)
{
	struct config *c = net_fixture_new();
	struct dhcp_answer a;
	struct message m;

	/* The type in the field of the boot file's name. */
	message_begin(&m, 0);
	memcpy(m.bytes + 240, "\x34\1\1\xff", 4);
	memcpy(m.bytes + 108, "\x35\1\1\xff", 4);
	dhcp_answer(c, config_interface(c, "eni1"), m.bytes, 244, &a);
	assert_int_equal(a.bytes[242], OFFER);
	/* Whoever takes 576 bytes gets no more, with a name that is not his fault. */
	c->plan.dhcp.domain =
	        "a123456789a123456789a123456789a123456789a123456789a123456789a123456789a123456789a123456789"
	        "a123456789a123456789a123456789a123456789a123456789a123456789a123456789a123456789a123456789"
	        "a123456789a123456789a123456789a123456789a123456789a123456789";
	message_begin(&m, DISCOVER);
	assert_int_equal(ask(c, &m, &a), OFFER);
	assert_in_range(a.length, 300, 576 - 28);
	has(&a, 3, "\x0a\0\0\1", 4);
	config_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(discover_is_offered),    cmocka_unit_test(requests),
	        cmocka_unit_test(inform_gets_no_lease),   cmocka_unit_test(others_get_nothing),
	        cmocka_unit_test(options_beyond_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
