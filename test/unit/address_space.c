/* Which addresses of a block are taken. */
#include "region_fixture.h"

#include "region/address_space.h"

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
	struct fixture *p = *state;
	struct request *r = &p->r;
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
	struct fixture *p = *state;
	struct request *r = &p->r;

	assert_true(address_take(r, "s", at("10.0.0.7"), "eni-1"));
	assert_false(address_take(r, "s", at("10.0.0.7"), "eni-2"));
	assert_true(address_take(r, "t", at("10.0.0.7"), "eni-2"));
	assert_string_equal(address_holder(r, "s", at("10.0.0.7")), "eni-1");
	assert_string_equal(address_holder(r, "t", at("10.0.0.7")), "eni-2");
	assert_null(address_holder(r, "s", at("10.0.0.8")));
}

static void blocks(void **state)
{
	struct fixture *p = *state;
	struct request *r = &p->r;

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
	struct fixture *p = *state;
	struct request *r = &p->r;
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
	struct fixture *p = *state;
	struct request *r = &p->r;
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
	        cmocka_unit_test_setup_teardown(in_turn, fixture_setup, fixture_teardown),
	        cmocka_unit_test_setup_teardown(by_name, fixture_setup, fixture_teardown),
	        cmocka_unit_test_setup_teardown(blocks, fixture_setup, fixture_teardown),
	        cmocka_unit_test_setup_teardown(families, fixture_setup, fixture_teardown),
	        cmocka_unit_test_setup_teardown(at_random, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
