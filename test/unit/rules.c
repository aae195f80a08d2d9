/* Rules of groups and ACLs as nftables texts. */
#include "net/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct arena arena;

static void protocols(void **state)
{
	static const struct {
		bool v6;
		s64 protocol, from, to, type, code;
		const char *text;
	} rows[] = {
	        {false, -1, -1, -1, -1, -1, ""},
	        {false, 6, 22, 22, -1, -1, "tcp dport 22 "},
	        {true, 17, 5000, 5010, -1, -1, "udp dport 5000-5010 "},
	        {false, 6, 0, 65535, -1, -1, "meta l4proto tcp "},
	        {false, 17, -1, -1, -1, -1, "meta l4proto udp "},
	        {false, 1, -1, -1, 8, -1, "icmp type 8 "},
	        {false, 1, -1, -1, 3, 4, "icmp type 3 icmp code 4 "},
	        {false, 1, -1, -1, -1, -1, "meta l4proto icmp "},
	        {true, 58, -1, -1, 128, -1, "icmpv6 type 128 "},
	        {true, 58, -1, -1, -1, -1, "meta l4proto icmpv6 "},
	        {false, 58, -1, -1, 128, -1, "meta l4proto 58 "}, /* which IPv4 does not have */
	        {false, 50, -1, -1, -1, -1, "meta l4proto 50 "},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		assert_string_equal(rules_protocol(&arena, rows[i].v6, rows[i].protocol, rows[i].from,
		                                   rows[i].to, rows[i].type, rows[i].code),
		                    rows[i].text);
	assert_string_equal(rules_block(&arena, "saddr", "10.0.0.0/8"), "ip saddr 10.0.0.0/8 ");
	assert_string_equal(rules_block(&arena, "daddr", "fd00::/8"), "ip6 daddr fd00::/8 ");
	assert_string_equal(rules_block(&arena, "saddr", "0.0.0.0/0"), "meta nfproto ipv4 ");
	assert_string_equal(rules_block(&arena, "saddr", "::/0"), "meta nfproto ipv6 ");
	assert_string_equal(rules_block(&arena, "saddr", "10.0.0.0/10"), "ip saddr 10.0.0.0/10 ");
}

static void build(struct ruleset *set, const char *text)
{
	json_t *json = json_loads(text, 0, NULL);
	struct plan p = {0};
	struct error e;

	assert_non_null(json);
	assert_int_equal(plan_read(&p, json, &arena, &e), 0);
	json_decref(json);
	*set = (struct ruleset){.arena = &arena};
	rules_build(set, &p);
}

static void chain_is(const struct ruleset *set, const char *name, const char *const *lines)
{
	const struct unit *u = ruleset_find(set, RULES_VPC, name);
	unsigned i = 0;

	if (!u)
		fail_msg("there is no '%s'", name);
	for (; lines[i] && i < u->count; i++)
		assert_string_equal(u->lines[i], lines[i]);
	assert_null(lines[i]);
	assert_int_equal(u->count, i);
}

#define RULE(egress, protocol, port, peer)                                                       \
	"{\"egress\": " egress ", \"protocol\": " protocol ", \"from\": " port ", \"to\": " port \
	", \"icmp_type\": -1,"                                                                   \
	" \"icmp_code\": -1, " peer "}"

/* Two interfaces: sg-1 lets all out and in what it says, sg-2 lets out to a block. */
static const char groups[] =
        "{\"vpc\": \"vpc-1\", \"groups\": ["
        "{\"id\": \"sg-1\", \"members\": [\"10.0.0.5\", \"fd00::5\"], \"rules\": [" RULE("true", "-1", "-1", "\"cidr\": \"0.0.0.0/0\"") "," RULE(
                "false", "6", "80",
                "\"cidr\": \"0.0.0.0/0\"") "," RULE("false", "6", "22",
                                                    "\"group\": \"sg-2\"") "," RULE("false", "17", "53",
                                                                                    "\"prefixes\": "
                                                                                    "[\"10.1.0.0/16\", "
                                                                                    "\"10.2.0.0/16\", "
                                                                                    "\"fd01::/64\"]") "]},"
                                                                                                      "{\"id"
                                                                                                      "\": "
                                                                                                      "\"sg-"
                                                                                                      "2\", "
                                                                                                      "\"memb"
                                                                                                      "ers\":"
                                                                                                      " ["
                                                                                                      "\"10."
                                                                                                      "0.0."
                                                                                                      "6\"], "
                                                                                                      "\"rule"
                                                                                                      "s\": "
                                                                                                      "[" RULE(
                                                                                                              "true",
                                                                                                              "6",
                                                                                                              "443",
                                                                                                              "\"cidr\": \"10.0.0.0/8\"") "]}],"
                                                                                                                                          "\"interfaces\": [{\"id\": \"eni-1\", \"tap\": \"eni1\", \"mac\": \"02:00:00:00:00:01\", \"groups\": [\"sg-1\"]},"
                                                                                                                                          "{\"id\": \"eni-2\", \"tap\": \"eni2\", \"mac\": \"02:00:00:00:00:02\", \"groups\": [\"sg-2\"]},"
                                                                                                                                          "{\"id\": \"eni-3\", \"tap\": \"eni3\", \"mac\": \"02:00:00:00:00:03\", \"groups\": [\"sg-2\"]}]}";

static void group_rules(void **state)
{
	const struct unit *ingress;
	struct ruleset set;

	build(&set, groups);
	chain_is(&set, "out_sg-1",
	         (const char *[]){"meta nfproto ipv4 counter goto tracked_from comment \"sg-1 0\"", NULL});
	chain_is(&set, "in_sg-1",
	         (const char *[]){
	                 "meta nfproto ipv4 tcp dport 80 counter goto tracked_to comment \"sg-1 1\"",
	                 "ip saddr @members4_sg-2 tcp dport 22 counter goto tracked_to comment \"sg-1 2\"",
	                 "ip6 saddr @members6_sg-2 tcp dport 22 counter goto tracked_to comment \"sg-1 2\"",
	                 "ip saddr { 10.1.0.0/16, 10.2.0.0/16 } udp dport 53 counter goto tracked_to "
	                 "comment \"sg-1 3\"",
	                 "ip6 saddr { fd01::/64 } udp dport 53 counter goto tracked_to comment \"sg-1 3\"",
	                 NULL});
	/* What everybody may do is not tracked, where answers may go to everybody. */
	chain_is(&set, "open_in_sg-1",
	         (const char *[]){"meta nfproto ipv4 tcp dport 80 counter goto accepted comment \"sg-1 1\"",
	                          NULL});
	chain_is(&set, "out_sg-2",
	         (const char *[]){
	                 "ip daddr 10.0.0.0/8 tcp dport 443 counter goto tracked_from comment \"sg-2 0\"",
	                 NULL});
	chain_is(&set, "in_sg-2", (const char *[]){NULL});
	chain_is(&set, "members4_sg-1", (const char *[]){"10.0.0.5", NULL});
	chain_is(&set, "members6_sg-1", (const char *[]){"fd00::5", NULL});
	ingress = ruleset_find(&set, RULES_VPC, "ingress");
	assert_non_null(ingress);
	/* Those with the same groups share a chain, the others do not. */
	assert_string_equal(strchr(ingress->lines[1], ':'), strchr(ingress->lines[2], ':'));
	assert_string_not_equal(strchr(ingress->lines[0], ':'), strchr(ingress->lines[1], ':'));
	chain_is(&set, strstr(ingress->lines[0], "groups_in_"),
	         (const char *[]){"meta nfproto ipv4 meta l4proto { tcp, udp } jump open_in_sg-1",
	                          "jump in_sg-1", "goto refused_to", NULL});
	chain_is(&set, strstr(ingress->lines[1], "groups_in_"),
	         (const char *[]){"jump in_sg-2", "goto refused_to", NULL});
}

static const char acls[] =
        "{\"vpc\": \"vpc-1\", \"subnets\": [{\"id\": \"subnet-1\", \"acl\": \"acl-1\"},"
        " {\"id\": \"subnet-2\", \"acl\": \"acl-2\"}], \"acls\": [{\"id\": \"acl-1\", \"entries\": ["
        "{\"allow\": true, \"cidr\": \"0.0.0.0/0\", \"protocol\": -1},"
        "{\"allow\": true, \"egress\": true, \"cidr\": \"10.0.0.0/8\", \"protocol\": 6, \"from\": 80, "
        "\"to\": 80},"
        "{\"allow\": false, \"egress\": true, \"cidr\": \"0.0.0.0/0\", \"protocol\": -1}]},"
        " {\"id\": \"acl-2\", \"entries\": [{\"allow\": true, \"cidr\": \"0.0.0.0/0\", \"protocol\": -1},"
        "{\"allow\": true, \"egress\": true, \"cidr\": \"0.0.0.0/0\", \"protocol\": -1}]}],"
        "\"interfaces\": [{\"id\": \"eni-1\", \"tap\": \"eni1\", \"mac\": \"02:00:00:00:00:01\", \"subnet\": "
        "\"subnet-1\"},"
        "{\"id\": \"eni-2\", \"tap\": \"eni2\", \"mac\": \"02:00:00:00:00:02\", \"subnet\": \"subnet-2\"}]}";

static void acl_rules(void **state)
{
	struct ruleset set;

	build(&set, acls);
	chain_is(&set, "acl_out_acl-1",
	         (const char *[]){"ip daddr 10.0.0.0/8 tcp dport 80 return",
	                          "meta nfproto ipv4 goto refused_from", "goto refused_from", NULL});
	chain_is(&set, "leaves_subnet-1",
	         (const char *[]){"oifname @taps_subnet-1 return", "goto acl_out_acl-1", NULL});
	chain_is(&set, "acl_from", (const char *[]){"\"eni1\" : jump leaves_subnet-1", NULL});
	/* What lets everything through costs nothing. */
	chain_is(&set, "acl_to", (const char *[]){NULL});
	assert_null(ruleset_find(&set, RULES_VPC, "acl_in_acl-1"));
	assert_null(ruleset_find(&set, RULES_VPC, "acl_out_acl-2"));
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
	        cmocka_unit_test(protocols),
	        cmocka_unit_test(group_rules),
	        cmocka_unit_test(acl_rules),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
