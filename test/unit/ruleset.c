/* Rules as texts: what changed, as commands for nft, in an order that it takes. */
#include "net/ruleset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define TABLE "inet t"

static struct arena arena;

static void begin(struct ruleset *r)
{
	*r = (struct ruleset){.arena = &arena};
}

/* A map of two, and the chains that it leads to. */
static void example(struct ruleset *r, const char *second, const char *rule)
{
	struct unit *u;

	begin(r);
	u = ruleset_unit(r, UNIT_CHAIN, TABLE, "base", "{ type filter hook forward priority 0; }");
	unit_line(r, u, "iifname vmap @to");
	u = ruleset_unit(r, UNIT_MAP, TABLE, "to", "{ type ifname : verdict; }");
	unit_line(r, u, "\"b\" : goto %s", second);
	unit_line(r, u, "\"a\" : goto one");
	u = ruleset_unit(r, UNIT_CHAIN, TABLE, "one", "");
	unit_line(r, u, "%s", rule);
	ruleset_unit(r, UNIT_CHAIN, TABLE, second, "");
}

static const char *between(const struct ruleset *before, const struct ruleset *after)
{
	return ruleset_script(before, before ? ruleset_write(before, &arena) : NULL, after,
	                      ruleset_write(after, &arena), &arena);
}

/* Each of the texts is there, behind the one before. */
static void in_order(const char *script, const char *const *texts)
{
	const char *at = script;

	for (; *texts; texts++) {
		at = strstr(at, *texts);
		if (!at)
			fail_msg("'%s' is not where it belongs in:\n%s", *texts, script);
	}
}

static void whole(void **state)
{
	struct ruleset r;

	example(&r, "two", "accept");
	in_order(between(NULL, &r),
	         (const char *[]){
	                 "add table inet t\ndelete table inet t\nadd table inet t\nadd chain inet t state_",
	                 "add chain inet t base { type filter hook forward priority 0; }\n",
	                 "add chain inet t one", "add map inet t to { type ifname : verdict; }\n",
	                 "add chain inet t two", "add rule inet t base iifname vmap @to\n",
	                 "add rule inet t one accept\n",
	                 "add element inet t to { \"a\" : goto one, \"b\" : goto two }\n", NULL});
}

static void nothing(void **state)
{
	struct ruleset a, b;
	const char *script;

	example(&a, "two", "accept");
	example(&b, "two", "accept");
	script = between(&a, &b);
	assert_null(strstr(script, "rule"));
	assert_null(strstr(script, "element"));
	in_order(script, (const char *[]){"delete chain inet t state_", "add chain inet t state_", NULL});
}

static void changes(void **state)
{
	struct ruleset a, b;
	const char *script;

	example(&a, "two", "accept");
	example(&b, "three", "drop");
	script = between(&a, &b);
	in_order(script, (const char *[]){"add chain inet t three", "flush chain inet t two\n",
	                                  "delete element inet t to { \"b\" }\n",
	                                  "add element inet t to { \"b\" : goto three }\n",
	                                  "delete chain inet t two\n", NULL});
	in_order(script, (const char *[]){"flush chain inet t one\n", "add rule inet t one drop\n", NULL});
	assert_null(strstr(script, "base"));
	assert_null(strstr(script, "\"a\""));
}

/* Rules behind those that are there, and no stamps: nothing goes, so nobody waits for it. */
static void additions(void **state)
{
	struct ruleset a, b;
	const char *script;

	example(&a, "two", "accept");
	example(&b, "two", "accept");
	unit_line(&b, b.units[2], "counter");
	unit_line(&b, b.units[1], "\"c\" : goto one");
	script = ruleset_script(&a, NULL, &b, NULL, &arena);
	assert_string_equal(script, "add table inet t\nadd rule inet t one counter\nadd element inet t to { "
	                            "\"c\" : goto one }\n");
}

static void declarations(void **state)
{
	struct ruleset a, b;

	example(&a, "two", "accept");
	example(&b, "two", "accept");
	b.units[1]->declaration = "{ type ifname : verdict; size 5; }";
	in_order(between(&a, &b),
	         (const char *[]){"delete table inet t\n", "add rule inet t one accept\n", NULL});
}

static void gone_sets(void **state)
{
	struct ruleset a, b;
	struct unit *u;

	example(&a, "two", "ip saddr @s accept");
	u = ruleset_unit(&a, UNIT_SET, TABLE, "s", "{ type ipv4_addr; }");
	unit_line(&a, u, "10.0.0.1");
	unit_line(&a, u, "10.0.0.1");
	example(&b, "two", "drop");
	in_order(between(&a, &b),
	         (const char *[]){"flush chain inet t one\n", "delete element inet t s { 10.0.0.1 }\n",
	                          "add rule inet t one drop\n", "delete set inet t s\n", NULL});
}

static void there_and_back(void **state)
{
	struct ruleset a, b;
	const char *text;

	example(&a, "two", "accept");
	text = ruleset_write(&a, &arena);
	begin(&b);
	ruleset_read(&b, text);
	assert_int_equal(b.count, a.count);
	assert_string_equal(ruleset_write(&b, &arena), text);
	assert_string_equal(ruleset_find(&b, TABLE, "to")->lines[1], "\"a\" : goto one");
	assert_null(ruleset_find(&b, TABLE, "three"));
	begin(&b);
	ruleset_read(&b, "\tnobody's\nx\ty\nc\tinet t\tname\t\n\trule\nunfinished");
	assert_int_equal(b.count, 1);
	assert_int_equal(b.units[0]->count, 1);
}

static int setup(void **state)
{
	arena_init(&arena);
	return 0;
}

static int teardown(void **state)
{
	arena_release(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(whole),          cmocka_unit_test(nothing),      cmocka_unit_test(changes),
	        cmocka_unit_test(additions),      cmocka_unit_test(declarations), cmocka_unit_test(gone_sets),
	        cmocka_unit_test(there_and_back),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
