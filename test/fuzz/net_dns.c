/* DNS: a guest's queries, what the resolver takes for answers, and resolv.conf. */
#include "net/dns.h"
#include "net/resolver.h"
#include "net/wire.h"

#include "../unit/net_fixture.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static void query(const struct config *c, const u8 *data, size_t size, bool tcp)
{
	static u8 out[DNS_MESSAGE_MAX];
	struct dns_query q;
	size_t length = 0;
	enum dns_verdict verdict = dns_answer(&c->zone, data, size, tcp, &q, out, &length);

	if (verdict == DNS_FORWARD) {
		if (q.question_end < DNS_HEADER + 5 || q.question_end > size)
			abort();
		length = dns_refuse(&q, data, DNS_SERVFAIL, out);
		if (!dns_is_answer(data, size, out, length))
			abort();
	}
	if (verdict == DNS_DROP)
		return;
	if (length < DNS_HEADER || (!tcp && length > q.room) || memcmp(out, data, 2) || !(out[2] & 0x80))
		abort();
	if (dns_truncate(&q, out, length) > q.room)
		abort();
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static struct config *c;
	char servers[RESOLVER_SERVERS][48], text[4096];
	size_t half = size / 2;

	if (!c)
		c = net_fixture_new();
	query(c, data, size, false);
	query(c, data, size, true);
	dns_is_answer(data, half, data + half, size - half);
	if (size < sizeof(text)) {
		memcpy(text, data, size);
		text[size] = 0;
		if (resolver_read(text, servers) > RESOLVER_SERVERS)
			abort();
	}
	return 0;
}
