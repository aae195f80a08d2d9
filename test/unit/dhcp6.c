/* DHCP for IPv6: the messages of RFC 8415, and which identities they must have. */
#include "net/dhcp6.h"
#include "net/router.h"
#include "net/wire.h"

#include "net_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const u8 client[] = {0, 1, 0, 10, 0, 3, 0, 1, 2, 0, 0, 0, 0, 5};
static const u8 server[] = {0, 2, 0, 10, 0, 3, 0, 1, 6, 0, 0, 0, 0, 1};
static const u8 ia[] = {0, 3, 0, 12, 'I', 'A', 'I', 'D', 0, 0, 0, 0, 0, 0, 0, 0};
static const u8 address[] = {0, 5, 0, 24, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5};
static const u8 second[] = {0, 5, 0, 24, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 6};
static u8 out[DHCP6_MAX];
static size_t length;

struct part {
	const void *bytes;
	size_t length;
};
#define PART(a) ((struct part){a, sizeof(a)})

/* The type of the answer; 0: none. */
static u8 ask(u8 type, const struct part *parts, size_t count)
{
	struct config *c = net_fixture_new();
	u8 in[600] = {type, 1, 2, 3};
	size_t n = 4;

	for (size_t i = 0; i < count; i++) {
		memcpy(in + n, parts[i].bytes, parts[i].length);
		n += parts[i].length;
	}
	length = dhcp6_answer(c, config_interface(c, "eni1"), in, n, out);
	config_free(c);
	return length ? out[0] : 0;
}
#define ASK(type, ...) \
	ask(type, (struct part[]){__VA_ARGS__}, sizeof((struct part[]){__VA_ARGS__}) / sizeof(struct part))

static bool has(const void *bytes, size_t size)
{
	return memmem(out, length, bytes, size) != NULL;
}

static void solicit_is_advertised(void **state)
{
	assert_int_equal(ASK(1, PART(client), PART(ia)), 2);
	assert_memory_equal(out + 1, "\1\2\3", 3);
	assert_true(has(client, sizeof(client)) && has(server, sizeof(server)));
	assert_true(has(address, sizeof(address)) && has(second, sizeof(second)));
	assert_true(has("\0\x17\0\x20\xfd\0\x0e\xc2\0\0\0\0\0\0\0\0\0\0\2\x53\x20\1\x0d\xb8", 24));
	assert_true(has("\0\x18\0\x0d\7example\3org\0", 17));
	assert_false(has("\0\x38", 2)); /* NTP, which it did not ask for */
	ASK(1, PART(client), PART(ia), {"\0\6\0\2\0\x38", 6});
	assert_true(has("\0\x38\0\x14\0\1\0\x10\xfd\0", 10));
}

static void rapid_commit(void **state)
{
	assert_int_equal(ASK(1, PART(client), PART(ia), {"\0\x0e\0\0", 4}), 7);
	assert_true(has("\0\x0e\0\0", 4) && has(address, sizeof(address)));
}

static void identities(void **state)
{
	static const u8 other[] = {0, 2, 0, 10, 0, 3, 0, 1, 6, 0, 0, 0, 0, 2};

	for (u8 type = 0; type < 16; type++) {
		bool to_one = type == 3 || type == 5 || type == 8 || type == 9,
		     to_all = type == 1 || type == 6;

		assert_int_equal(ASK(type, PART(client), PART(server), PART(ia)), to_one ? 7 : 0);
		assert_int_equal(ASK(type, PART(client), PART(other), PART(ia)), 0);
		assert_int_equal(ASK(type, PART(client), PART(ia)), to_all ? (type == 1 ? 2 : 7) : 0);
		assert_int_equal(ASK(type, PART(server), PART(ia)), 0);
	}
	assert_int_equal(ASK(11, {"", 0}), 7);
	assert_int_equal(ASK(11, PART(ia)), 0);
}

static void others_are_taken_back(void **state)
{
	u8 has_another[] = {0, 3, 0, 40, 'I', 'A',  'I', 'D',  0,    0, 0, 0, 0, 0, 0,
	                    0, 0, 5, 0,  24,  0x20, 1,   0x0d, 0xb8, 0, 0, 0, 9, 0, 0,
	                    0, 0, 0, 0,  0,   9,    0,   0,    0,    1, 0, 0, 0, 1};
	u8 nothing[28] = {0};

	memcpy(nothing, has_another + 16, 20);
	assert_int_equal(ASK(5, PART(client), PART(server), PART(has_another)), 7);
	assert_true(has(nothing, sizeof(nothing)) && has(address, sizeof(address)));
	/* It is not on the link, either. */
	assert_int_equal(ASK(4, PART(client), PART(has_another)), 7);
	assert_true(has("\0\x0d\0\2\0\4", 6));
	memcpy(has_another + 16, address, sizeof(address));
	assert_int_equal(ASK(4, PART(client), PART(has_another)), 7);
	assert_true(has("\0\x0d\0\2\0\0", 6));
	assert_int_equal(ASK(4, PART(client), PART(ia)), 0);
}

static void one_association_has_them(void **state)
{
	static const u8 more[] = {0, 3, 0, 12, 'M', 'O', 'R', 'E', 0, 0, 0, 0, 0, 0, 0, 0};
	static const u8 prefix[] = {0, 25, 0, 12, 'P', 'R', 'E', 'F', 0, 0, 0, 0, 0, 0, 0, 0};

	ASK(3, PART(client), PART(server), PART(ia), PART(more), PART(prefix));
	assert_true(has("MORE\0\0\0\x46\0\0\0\x70\0\x0d\0\2\0\2", 18));
	assert_true(has("PREF\0\0\0\x46\0\0\0\x70\0\x0d\0\2\0\6", 18));
}

static void cut_messages(void **state)
{
	struct config *c = net_fixture_new();
	u8 in[4 + sizeof(client) + sizeof(ia)] = {1, 1, 2, 3};

	memcpy(in + 4, client, sizeof(client));
	memcpy(in + 4 + sizeof(client), ia, sizeof(ia));
	for (size_t n = 0; n < sizeof(in); n++) {
		bool whole = n == 4 + sizeof(client);

		assert_true((dhcp6_answer(c, config_interface(c, "eni1"), in, n, out) != 0) == whole);
	}
	config_free(c);
}

static void advertisement(void **state)
{
	u8 ra[ROUTER_ADVERTISEMENT];

	router_advertisement(ra);
	assert_memory_equal(ra, "\x86\0\0\0\x40\xc0\x07\x08", 8);
	assert_memory_equal(ra + 16, "\1\1\6\0\0\0\0\1\5\1\0\0\0\0\x23\x29", 16);
	assert_true(router_is_solicitation((const u8 *)"\x85\0\0\0\0\0\0\0", 8, 255));
	assert_false(router_is_solicitation((const u8 *)"\x85\0\0\0\0\0\0\0", 8, 254));
	assert_false(router_is_solicitation((const u8 *)"\x85\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0", 16, 255));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(solicit_is_advertised),
	        cmocka_unit_test(rapid_commit),
	        cmocka_unit_test(identities),
	        cmocka_unit_test(others_are_taken_back),
	        cmocka_unit_test(one_association_has_them),
	        cmocka_unit_test(cut_messages),
	        cmocka_unit_test(advertisement),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
