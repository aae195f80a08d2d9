/* Which addresses of a block are taken. */
#include "region/address_space.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct place {
	char folder[64];
	struct cloud cloud;
	struct arena arena;
	struct fault fault;
	struct request request;
};

static int begin(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	struct cloud_options options = {.data = p->folder};
	struct error e;

	strcpy(p->folder, "/tmp/insula-unit-XXXXXX");
	if (!mkdtemp(p->folder) || cloud_open(&p->cloud, &options, &e) < 0)
		return -1;
	arena_init(&p->arena);
	p->request = (struct request){.cloud = &p->cloud,
	                              .arena = &p->arena,
	                              .model = &model_ec2,
	                              .fault = &p->fault,
	                              .account = "123456789012",
	                              .region = "us-east-1"};
	database_begin(p->cloud.db);
	*state = p;
	return 0;
}

static int end(void **state)
{
	struct place *p = *state;
	char command[128];
	struct error e;
	int result = database_commit(p->cloud.db, &e);

	cloud_close(&p->cloud);
	arena_release(&p->arena);
	snprintf(command, sizeof(command), "rm -rf '%s'", p->folder);
	if (system(command) != 0)
		result = -1;
	free(p);
	return result;
}

static struct ip at(const char *text)
{
	struct ip a;

	assert_int_equal(ip_parse(&a, text), 0);
	return a;
}

static struct cidr block(const char *text)
{
	struct cidr c;

	assert_int_equal(cidr_parse(&c, text), 0);
	return c;
}

static void in_turn(void **state)
{
	struct place *p = *state;
	struct request *r = &p->request;
	struct ip first = at("10.0.0.4"), last = at("10.0.0.14"), a;

	for (unsigned i = 0; i < 11; i++) {
		assert_true(address_take_any(r, "s", first, last, "eni", &a));
		assert_true(a.bits == first.bits + i);
	}
	assert_false(address_take_any(r, "s", first, last, "eni", &a));
	assert_int_equal(address_used(r, "s"), 11);
	address_give_back(r, "s", at("10.0.0.6"));
	address_give_back(r, "s", at("10.0.0.6"));
	assert_int_equal(address_used(r, "s"), 10);
	assert_true(address_take_any(r, "s", first, last, "eni", &a));
	assert_true(ip_equal(a, at("10.0.0.6")));
	/* one that was just given back is not the next */
	address_give_back(r, "s", at("10.0.0.5"));
	address_give_back(r, "s", at("10.0.0.9"));
	assert_true(address_take_any(r, "s", first, last, "eni", &a));
	assert_true(ip_equal(a, at("10.0.0.9")));
	assert_true(address_take_any(r, "s", first, last, "eni", &a));
	assert_true(ip_equal(a, at("10.0.0.5")));
	address_space_delete(r, "s");
	assert_int_equal(address_used(r, "s"), 0);
	assert_null(address_holder(r, "s", at("10.0.0.9")));
}

static void by_name(void **state)
{
	struct place *p = *state;
	struct request *r = &p->request;

	assert_true(address_take(r, "s", at("10.0.0.7"), "eni-1"));
	assert_false(address_take(r, "s", at("10.0.0.7"), "eni-2"));
	assert_true(address_take(r, "t", at("10.0.0.7"), "eni-2"));
	assert_string_equal(address_holder(r, "s", at("10.0.0.7")), "eni-1");
	assert_string_equal(address_holder(r, "t", at("10.0.0.7")), "eni-2");
	assert_null(address_holder(r, "s", at("10.0.0.8")));
}

static void blocks(void **state)
{
	struct place *p = *state;
	struct request *r = &p->request;

	assert_true(address_take(r, "s", at("10.0.0.31"), "eni-1"));
	assert_true(address_any_taken(r, "s", block("10.0.0.16/28")));
	assert_false(address_any_taken(r, "s", block("10.0.0.32/28")));
	assert_false(address_take_block(r, "s", block("10.0.0.16/28"), "eni-2"));
	assert_true(address_take_block(r, "s", block("10.0.0.32/28"), "eni-2"));
	assert_int_equal(address_used(r, "s"), 17);
	assert_false(address_take(r, "s", at("10.0.0.40"), "eni-3"));
	address_give_back_block(r, "s", block("10.0.0.32/28"));
	assert_int_equal(address_used(r, "s"), 1);
	assert_true(address_take(r, "s", at("10.0.0.40"), "eni-3"));
	assert_false(address_take_block(r, "s", block("10.0.0.0/23"), "eni-2"));
}

/* 32.1.13.184 and 2001:db8:: begin with the same digits. */
static void families(void **state)
{
	struct place *p = *state;
	struct request *r = &p->request;
	struct ip a;

	assert_true(address_take(r, "s", at("2001:db8::1"), "six"));
	assert_false(address_any_taken(r, "s", block("32.1.13.176/28")));
	assert_int_equal(address_used(r, "s"), 0);
	assert_true(address_take(r, "s", at("32.1.13.184"), "four"));
	assert_true(address_take(r, "s", at("32.1.13.185"), "four"));
	assert_true(address_take_any(r, "s", at("32.1.13.184"), at("32.1.13.190"), "four", &a));
	assert_true(ip_equal(a, at("32.1.13.186")));
	address_give_back_block(r, "s", block("32.1.13.176/28"));
	assert_string_equal(address_holder(r, "s", at("2001:db8::1")), "six");
}

static void at_random(void **state)
{
	struct place *p = *state;
	struct request *r = &p->request;
	struct cidr c = block("2001:db8:0:7::/64");
	struct ip a, b;

	assert_true(address_take_random(r, "s", c, "six", &a));
	assert_true(address_take_random(r, "s", c, "six", &b));
	assert_true(cidr_contains(c, a) && cidr_contains(c, b) && !ip_equal(a, b));
	assert_string_equal(address_holder(r, "s", a), "six");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(in_turn, begin, end),
	        cmocka_unit_test_setup_teardown(by_name, begin, end),
	        cmocka_unit_test_setup_teardown(blocks, begin, end),
	        cmocka_unit_test_setup_teardown(families, begin, end),
	        cmocka_unit_test_setup_teardown(at_random, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
