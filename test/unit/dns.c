/* DNS: which names are whose, what is answered of them, and which answers are taken. */
#include "net/dns.h"
#include "net/resolver.h"
#include "net/wire.h"

#include "net_fixture.h"

#include <stdio.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { A = 1, NS = 2, SOA = 6, PTR = 12, MX = 15, AAAA = 28, AXFR = 252, ANY = 255 };

static struct config *config;
static u8 in[1024], out[DNS_MESSAGE_MAX];
static size_t in_length, out_length;
static struct dns_query query;

static int open_config(void **state)
{
	config = net_fixture_new();
	return 0;
}

static int close_config(void **state)
{
	config_free(config);
	return 0;
}

static void write_query(const char *name, u16 type)
{
	struct dns_name n;

	assert_int_equal(dns_name_parse(&n, name), 0);
	memcpy(in, "\x12\x34\1\0\0\1\0\0\0\0\0\0", 12);
	memcpy(in + 12, n.bytes, n.length);
	wire_put16(in + 12 + n.length, type);
	wire_put16(in + 14 + n.length, 1);
	in_length = 16u + n.length;
}

static enum dns_verdict ask(void)
{
	out_length = 0;
	return dns_answer(&config->zone, in, in_length, false, &query, out, &out_length);
}

/* Answered with this code, and so many answers and authorities. */
static void answers(const char *name, u16 type, unsigned rcode, unsigned count, unsigned authorities)
{
	write_query(name, type);
	assert_int_equal(ask(), DNS_ANSWER);
	assert_memory_equal(out, "\x12\x34", 2);
	assert_int_equal(wire_get16(out + 2), 0x8180 | rcode);
	assert_int_equal(wire_get16(out + 6), count);
	assert_int_equal(wire_get16(out + 8), authorities);
	assert_memory_equal(in + 12, out + 12, in_length - 12);
}

static bool ends_with(const void *bytes, size_t length)
{
	return out_length >= length && !memcmp(out + out_length - length, bytes, length);
}

static void names(void **state)
{
	answers("i-1.eu-west-1.compute.internal", A, 0, 1, 0);
	assert_true(ends_with("\0\4\x0a\0\0\5", 6));
	answers("i-1.eu-west-1.compute.internal", AAAA, 0, 1, 0);
	assert_true(ends_with("\0\x10\x20\1\x0d\xb8\0\0\0\1\0\0\0\0\0\0\0\5", 18));
	answers("i-1.eu-west-1.compute.internal", ANY, 0, 2, 0);
	answers("i-1.eu-west-1.compute.internal", MX, 0, 0, 1);
	answers("instance-data.eu-west-1.compute.internal", A, 0, 1, 0);
	answers("none.eu-west-1.compute.internal", A, 3, 0, 1);
	answers("eu-west-1.compute.internal", A, 0, 0, 1);
	answers("eu-west-1.compute.internal", SOA, 0, 1, 0);
	answers("ec2-198-18-0-1.eu-west-1.compute.amazonaws.com", A, 0, 1, 0);
	answers("ec2-198-18-0-1.eu-west-1.compute.amazonaws.com", AAAA, 0, 0, 0);
}

static void case_is_kept(void **state)
{
	write_query("i-1.eu-west-1.compute.internal", A);
	in[13] = 'I';
	assert_int_equal(ask(), DNS_ANSWER);
	assert_int_equal(wire_get16(out + 6), 1);
	assert_int_equal(out[13], 'I');
}

static void reverse(void **state)
{
	answers("5.0.0.10.in-addr.arpa", PTR, 0, 1, 0);
	assert_true(ends_with("\x0bip-10-0-0-5\x09"
	                      "eu-west-1\7compute\x08internal\0",
	                      40));
	answers("9.0.0.10.in-addr.arpa", PTR, 3, 0, 1);
	answers("0.0.10.in-addr.arpa", PTR, 0, 0, 1);
	answers("0.10.in-addr.arpa", SOA, 0, 1, 0);
	answers("1.17.9.10.in-addr.arpa", PTR, 3, 0, 1);
	answers("5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", PTR, 0, 1, 0);
	answers("6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", PTR, 3, 0, 1);
	answers("254.169.254.169.in-addr.arpa", PTR, 0, 1, 0);
}

static void others_are_forwarded(void **state)
{
	static const char *const names_[] = {"example.com",
	                                     "internal",
	                                     "compute.internal",
	                                     "eu-west-1.compute.internal.example.com",
	                                     "xeu-west-1.compute.internal",
	                                     "1.1.10.in-addr.arpa",
	                                     "10.in-addr.arpa",
	                                     "5.00.0.10.in-addr.arpa",
	                                     "256.0.0.10.in-addr.arpa",
	                                     "in-addr.arpa",
	                                     "1.2.3.4.5.in-addr.arpa",
	                                     ""};

	for (size_t i = 0; i < ARRAY_SIZE(names_); i++) {
		write_query(names_[i], A);
		assert_int_equal(ask(), DNS_FORWARD);
		assert_int_equal(query.question_end, in_length);
	}
}

static void refuses(unsigned rcode)
{
	assert_int_equal(ask(), DNS_ANSWER);
	assert_int_equal(out[3] & 15, rcode);
	assert_int_equal(wire_get16(out + 6), 0);
}

static void bad_queries(void **state)
{
	write_query("example.com", AXFR);
	refuses(DNS_REFUSED);
	write_query("example.com", A);
	in[in_length - 1] = 3; /* CHAOS */
	refuses(DNS_REFUSED);
	write_query("example.com", A);
	in[2] |= 5 << 3; /* an update */
	refuses(DNS_NOTIMP);
	write_query("example.com", A);
	in[5] = 2;
	refuses(DNS_FORMERR);
	write_query("example.com", A);
	in[12] = 0xc0; /* a pointer */
	refuses(DNS_FORMERR);
	write_query("example.com", A);
	in[in_length++] = 0; /* something behind it */
	refuses(DNS_FORMERR);
	write_query("example.com", A);
	for (in_length--; in_length >= DNS_HEADER; in_length--)
		refuses(DNS_FORMERR);
	assert_int_equal(ask(), DNS_DROP);
	write_query("example.com", A);
	in[2] |= 0x80; /* an answer */
	assert_int_equal(ask(), DNS_DROP);
}

static void extensions(void **state)
{
	static const u8 opt[] = {0, 0, 41, 0x10, 0, 0, 0, 0x80, 0, 0, 0};

	write_query("i-1.eu-west-1.compute.internal", A);
	memcpy(in + in_length, opt, sizeof(opt));
	in_length += sizeof(opt);
	in[11] = 1;
	assert_int_equal(ask(), DNS_ANSWER);
	assert_int_equal(query.room, 4096);
	assert_int_equal(wire_get16(out + 10), 1);
	assert_true(ends_with(opt, sizeof(opt)));
	in[in_length - 5] = 1; /* version */
	assert_int_equal(ask(), DNS_ANSWER);
	assert_int_equal(out[out_length - 6], 1);
	in[in_length - 5] = 0;
	memcpy(in + in_length, opt, sizeof(opt)); /* twice */
	in_length += sizeof(opt);
	in[11] = 2;
	refuses(DNS_FORMERR);
}

static void many_addresses_are_cut(void **state)
{
	struct plan p = {.vpc = "vpc-1", .region = "us-east-1", .names_count = 60};
	struct plan_name list[60];
	struct dns_zone zone;
	struct arena arena;
	struct error e;
	char text[60][16];

	arena_init(&arena);
	for (unsigned i = 0; i < 60; i++) {
		snprintf(text[i], sizeof(text[i]), "10.0.0.%u", i);
		list[i] = (struct plan_name){.name = "many.ec2.internal", .address = text[i]};
	}
	p.names = list;
	assert_int_equal(dns_zone_make(&zone, &p, NULL, 0, &arena, &e), 0);
	write_query("many.ec2.internal", A);
	assert_int_equal(dns_answer(&zone, in, in_length, false, &query, out, &out_length), DNS_ANSWER);
	assert_true(out_length <= 512 && (out[2] & 2));
	assert_int_equal(wire_get16(out + 6), (out_length - in_length) / 16);
	assert_int_equal(dns_answer(&zone, in, in_length, true, &query, out, &out_length), DNS_ANSWER);
	assert_int_equal(wire_get16(out + 6), 60);
	assert_false(out[2] & 2);
	/* One that came from elsewhere. */
	assert_int_equal(dns_truncate(&query, out, out_length), in_length);
	assert_true(out[2] & 2);
	assert_int_equal(wire_get16(out + 6), 0);
	arena_release(&arena);
}

static void which_answers_are_taken(void **state)
{
	u8 answer[512];

	write_query("Example.com", A);
	memcpy(answer, in, in_length);
	answer[2] |= 0x80;
	assert_true(dns_is_answer(in, in_length, answer, in_length));
	answer[13] ^= 0x20;
	assert_true(dns_is_answer(in, in_length, answer, in_length));
	for (size_t i = 0; i < in_length; i++) {
		if (i == 3 || (i >= 6 && i < 12)) /* what an answer is free to say */
			continue;
		answer[i] ^= 1;
		if (i != 2) /* "recursion desired" */
			assert_false(dns_is_answer(in, in_length, answer, in_length));
		answer[i] ^= 1;
	}
	assert_false(dns_is_answer(in, in_length, in, in_length));
	assert_false(dns_is_answer(in, in_length, answer, in_length - 1));
}

static void resolv_conf(void **state)
{
	char servers[RESOLVER_SERVERS][48];

	assert_int_equal(
	        resolver_read(
	                "# nameserver 9.9.9.9\nsearch x\n nameserver\t192.0.2.1 # ours\nnameservers 1.1.1.1\n"
	                "nameserver\nnameserver fe80::1%eth0\nnameserver 2001:db8::1\r\nnameserver 192.0.2.4",
	                servers),
	        3);
	assert_string_equal(servers[0], "192.0.2.1");
	assert_string_equal(servers[1], "fe80::1%eth0");
	assert_string_equal(servers[2], "2001:db8::1");
	assert_int_equal(resolver_read("nameserver 1.1.1.1", servers), 1);
	assert_int_equal(resolver_read("", servers), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(names),
	        cmocka_unit_test(case_is_kept),
	        cmocka_unit_test(reverse),
	        cmocka_unit_test(others_are_forwarded),
	        cmocka_unit_test(bad_queries),
	        cmocka_unit_test(extensions),
	        cmocka_unit_test(many_addresses_are_cut),
	        cmocka_unit_test(which_answers_are_taken),
	        cmocka_unit_test(resolv_conf),
	};

	return cmocka_run_group_tests(tests, open_config, close_config);
}
