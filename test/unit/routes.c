/* Route tables as routes of the kernel: where each leads, and by way of what. */
#include "net/lookup.h"
#include "net/routes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { LO = 1, TAP = 2, CHECKED = 3, UPLINK = 4, PEERING = 5 };

static const char base[] =
        "{\"vpc\": \"vpc-1\", \"internet\": true, \"egress_only\": true, \"cidrs\": [\"10.0.0.0/16\"],"
        " \"cidrs6\": [\"2600::/56\"],"
        " \"subnets\": [{\"id\": \"subnet-1\", \"cidr\": \"10.0.1.0/24\", \"table\": \"rtb-1\"},"
        "  {\"id\": \"subnet-2\", \"cidr\": \"10.0.2.0/24\", \"table\": \"rtb-2\"}],"
        " \"interfaces\": [{\"id\": \"eni-1\", \"tap\": \"eni1\", \"mac\": \"02:00:00:00:00:01\","
        "   \"subnet\": \"subnet-1\", \"addresses\": [\"10.0.1.5\"], \"prefixes\": [\"10.0.1.64/28\"]},"
        "  {\"id\": \"eni-2\", \"tap\": \"eni2\", \"mac\": \"02:00:00:00:00:02\", \"subnet\": \"subnet-2\","
        "   \"addresses\": [\"10.0.2.5\"], \"addresses6\": [\"2600::5\"], \"check\": true}],"
        " \"nats\": [{\"id\": \"nat-1\", \"subnet\": \"subnet-1\", \"private\": \"10.0.1.9\", \"public\": "
        "\"198.18.0.1\"}],"
        " \"peerings\": [{\"id\": \"pcx-1\", \"vpc\": \"vpc-2\", \"cidrs\": [\"10.9.0.0/16\"]}],"
        " \"tables\": [{\"id\": \"rtb-1\", \"routes\": [%s]}, {\"id\": \"rtb-2\", \"routes\": [%s]}]}";

struct context {
	struct arena arena;
	struct plan plan;
	struct fib fib;
};

#define R(to, kind, target) "{\"to\": \"" to "\", \"kind\": \"" kind "\", \"target\": \"" target "\"}"

/* The routes of rtb-1 and rtb-2. */
static void plan(struct context *c, const char *first, const char *second)
{
	struct link all[] = {{.index = LO, .name = "lo"},
	                     {.index = TAP, .name = "eni1"},
	                     {.index = CHECKED, .name = "eni2"},
	                     {.index = UPLINK, .name = "up0"},
	                     {.index = PEERING, .name = "pcx1"}};
	struct link_list links = {all, ARRAY_SIZE(all), 0};
	struct error e;
	json_t *json;

	memset(c, 0, sizeof(*c));
	arena_init(&c->arena);
	json = json_loads(arena_printf(&c->arena, base, first, second), 0, NULL);
	assert_non_null(json);
	assert_int_equal(plan_read(&c->plan, json, &c->arena, &e), 0);
	json_decref(json);
	c->fib.arena = &c->arena;
	routes_plan(&c->fib, &c->plan, &links);
}

/* The route to exactly this block; NULL: there is none. There are not two. */
static const struct fib_item *route(const struct context *c, u32 table, const char *to)
{
	const struct fib_item *found = NULL;
	struct cidr block = lookup_block(to);
	u8 bytes[16];

	fib_bytes(bytes, block.first);
	for (unsigned i = 0; i < c->fib.count; i++) {
		const struct fib_item *f = &c->fib.items[i];

		if (f->kind != FIB_ROUTE || f->table != table || f->v6 != block.first.v6 ||
		    f->length != block.length || memcmp(f->to, bytes, 16))
			continue;
		assert_null(found);
		found = f;
	}
	return found;
}

static void leads(const struct context *c, const char *table, const char *to, u32 link, u32 realm)
{
	const struct fib_item *f = route(c, lookup_table_number(table), to);

	if (!f)
		fail_msg("%s has no route to %s", table, to);
	assert_int_equal(f->link, link);
	assert_int_equal(f->realm, realm);
	assert_int_equal(f->blackhole, !link);
}

static void kinds(void **state)
{
	struct context c;

	plan(&c,
	     R("0.0.0.0/0", "internet", "igw-1") "," R("::/0", "egress-only", "eigw-1") "," R(
	             "192.0.2.0/24", "interface",
	             "eni-1") "," R("192.0.3.0/24", "interface",
	                            "eni-2") "," R("192.0.4.0/24", "blackhole",
	                                           "") "," R("10.9.0.0/16", "peering",
	                                                     "pcx-1") "," R("10.8.0.0/16", "peering",
	                                                                    "pcx-0") "," R("192.0.5.0/24",
	                                                                                   "egress-only",
	                                                                                   "eigw-1"),
	     "");
	leads(&c, "rtb-1", "0.0.0.0/0", UPLINK, REALM_INTERNET);
	leads(&c, "rtb-1", "::/0", UPLINK, 0);
	leads(&c, "rtb-1", "192.0.2.0/24", TAP, 0);
	leads(&c, "rtb-1", "192.0.3.0/24", 0, 0); /* it would not take it */
	leads(&c, "rtb-1", "192.0.4.0/24", 0, 0);
	leads(&c, "rtb-1", "10.9.0.0/16", PEERING, 0);
	leads(&c, "rtb-1", "10.8.0.0/16", 0, 0);  /* no such interface */
	leads(&c, "rtb-1", "192.0.5.0/24", 0, 0); /* for IPv6 only */
	leads(&c, "rtb-1", "10.0.0.0/16", 0, 0);
	leads(&c, "rtb-2", "2600::/56", 0, 0);
	arena_release(&c.arena);
}

static void interfaces(void **state)
{
	const struct fib_item *f;
	struct context c;
	u8 mac[6], hop[16];

	plan(&c, "", "");
	f = route(&c, FIB_MAIN, "10.0.1.5/32");
	lookup_mac(mac, "02:00:00:00:00:01");
	fib_bytes(hop, lookup_hop(mac).first);
	assert_non_null(f);
	assert_int_equal(f->link, TAP);
	assert_memory_equal(f->via, hop, 16);
	assert_memory_equal(f->source, "\12\0\1\1", 4); /* the subnet's router */
	assert_int_equal(route(&c, FIB_MAIN, "10.0.1.64/28")->link, TAP);
	assert_int_equal(route(&c, FIB_MAIN, "2600::5/128")->link, CHECKED);
	assert_null(route(&c, FIB_MAIN, "0.0.0.0/0")); /* it would end each lookup */
	arena_release(&c.arena);
}

/* A NAT gateway sends on what it gets by the routes of its own subnet. */
static void nat_gateways(void **state)
{
	struct context c;
	u32 nat;

	plan(&c,
	     R("0.0.0.0/0", "internet", "igw-1") "," R("203.0.113.0/24", "blackhole", "") "," R(
	             "198.51.100.0/24", "internet", "igw-1") "," R("192.0.2.0/24", "nat", "nat-1"),
	     R("0.0.0.0/0", "nat", "nat-1") "," R("198.51.100.0/24", "blackhole",
	                                          "") "," R("203.0.113.128/25", "internet", "igw-1"));
	nat = lookup_realm(&c.plan, &c.plan.nats[0]);
	leads(&c, "rtb-2", "0.0.0.0/0", UPLINK, nat);
	leads(&c, "rtb-2", "203.0.113.0/24", 0, 0);
	leads(&c, "rtb-2", "198.51.100.0/24", 0, 0);                    /* its own route counts */
	leads(&c, "rtb-2", "203.0.113.128/25", UPLINK, REALM_INTERNET); /* and a more specific one */
	leads(&c, "rtb-2", "192.0.2.0/24", 0, 0);                       /* no gateway behind a gateway */
	arena_release(&c.arena);
	/* By IPv6 nothing is translated. */
	plan(&c, R("::/0", "internet", "igw-1"), R("64:ff9b::/96", "nat", "nat-1"));
	leads(&c, "rtb-2", "64:ff9b::/96", 0, 0);
	arena_release(&c.arena);
	/* A gateway that is not there, or whose subnet leads nowhere. */
	plan(&c, "", R("0.0.0.0/0", "nat", "nat-1") "," R("192.0.2.0/24", "nat", "nat-2"));
	leads(&c, "rtb-2", "0.0.0.0/0", 0, 0);
	leads(&c, "rtb-2", "192.0.2.0/24", 0, 0);
	arena_release(&c.arena);
}

/* Routes to blocks of the VPC are asked before the interfaces' own. */
static void appliances(void **state)
{
	struct context c;
	bool before = false;

	plan(&c, "", R("10.0.1.0/24", "interface", "eni-1"));
	assert_null(route(&c, lookup_table_number("rtb-2"), "10.0.1.0/24"));
	assert_int_equal(route(&c, lookup_table_number("rtb-2") + 1, "10.0.1.0/24")->link, TAP);
	for (unsigned i = 0; i < c.fib.count; i++)
		if (c.fib.items[i].kind == FIB_RULE &&
		    c.fib.items[i].table == lookup_table_number("rtb-2") + 1) {
			assert_true(c.fib.items[i].priority < 100);
			assert_string_equal(c.fib.items[i].in, "eni2");
			before = true;
		}
	assert_true(before);
	arena_release(&c.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(kinds),
	        cmocka_unit_test(interfaces),
	        cmocka_unit_test(nat_gateways),
	        cmocka_unit_test(appliances),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
