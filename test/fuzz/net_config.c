/* A configuration of a VPC's services, as the control socket and config.json have it: what is taken can be
 * used, what is not is refused in one line. */
#include "net/dhcp.h"
#include "net/dhcp6.h"
#include "net/dns.h"
#include "net/imds.h"

#include "../unit/net_fixture.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);
size_t LLVMFuzzerMutate(u8 *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(u8 *data, size_t size, size_t max, unsigned seed);

/* Half of what is tried is a good one with a word changed: bytes alone hardly ever are JSON. */
size_t LLVMFuzzerCustomMutator(u8 *data, size_t size, size_t max, unsigned seed)
{
	size_t whole = sizeof(net_fixture) - 1, at = seed % whole, span = seed / 7 % 24;

	if (seed % 2 || max < whole)
		return LLVMFuzzerMutate(data, size, max);
	if (seed % 4) { /* else on top of earlier changes */
		memcpy(data, net_fixture, whole);
		size = whole;
	}
	if (at + span > size)
		return LLVMFuzzerMutate(data, size, max);
	LLVMFuzzerMutate(data + at, span ? span : 1, span ? span : 1);
	return size;
}

static void use(const struct config *c)
{
	static const u8 solicit[] = {1, 1,  2, 3, 0, 1, 0, 4, 0, 3, 0, 1, 0, 3,
	                             0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0};
	static const u8 query[] = "\0\1\1\0\0\1\0\0\0\0\0\0\1"
	                          "5\1"
	                          "0\1"
	                          "0\2"
	                          "10\7in-addr\4arpa\0\0\14\0\1";
	static u8 out[DNS_MESSAGE_MAX];
	u8 discover[300] = {1, 1, 6};
	struct dns_query q;
	struct dhcp_answer a;
	size_t length;
	struct ip resolver;

	memcpy(discover + 236, "\x63\x82\x53\x63\x35\1\1\xff", 8);
	for (unsigned i = 0; i < c->interfaces_count; i++) {
		memcpy(discover + 28, c->interfaces[i].mac, 6);
		dhcp_answer(c, &c->interfaces[i], discover, sizeof(discover), &a);
		dhcp6_answer(c, &c->interfaces[i], solicit, sizeof(solicit), out);
		if (config_interface(c, c->interfaces[i].plan->tap) != &c->interfaces[i])
			abort();
	}
	dns_answer(&c->zone, query, sizeof(query) - 1, false, &q, out, &length);
	if (config_resolver(c, &resolver) && !config_is_resolver(c, resolver))
		abort();
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct error e = {0};
	struct config *c = config_parse((const char *)data, size, &e);

	if (c)
		use(c);
	else if (!*e.text || strchr(e.text, '\n'))
		abort();
	config_free(c);
	return 0;
}
