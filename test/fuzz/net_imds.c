/*
 * The metadata service as a guest reaches it: bytes of a connection, to the parser and the tree behind it, of
 * an instance that must show a token, of one whose service is off, and of one that may ask for anything.
 *
 * Who has no token is told nothing; nobody can guess one.
 */
#include "net/imds.h"

#include "../unit/net_fixture.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static void check(const struct metadata *m, const struct web_request *r, const struct buffer *out, u8 hops)
{
	const char *text = buffer_str(out);
	bool good = !strncmp(text, "HTTP/1.1 200 OK\r\n", 17), put = !strcmp(r->method, "PUT");

	if (strncmp(text, "HTTP/1.1 ", 9) || !strstr(text, "\r\n\r\n"))
		abort();
	if (good && (!m->endpoint || (m->tokens_required && !put)))
		abort();
	if (put && good && (hops != m->hops || r->forwarded))
		abort();
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static const u8 secret[IMDS_SECRET];
	static struct config *c;
	struct imds s = {.since = 1, .now = 1, .secret = secret};
	struct web_request r;
	size_t at = 0;

	if (!c)
		c = net_fixture_new();
	while (at < size && web_parse(data + at, size - at, &r) == WEB_OK) {
		if (r.head + r.body > size - at || !r.head)
			abort();
		at += r.head + r.body;
		for (unsigned i = 0; i < c->metadata_count; i++) {
			struct buffer out = {0};
			u8 hops;

			s.instance = &c->metadata[i];
			imds_answer(&s, &r, &out, &hops);
			check(s.instance, &r, &out, hops);
			buffer_release(&out);
		}
	}
	return 0;
}
