#include "net/dns.h"
#include "net/wire.h"

enum {
	FLAG_QR = 0x8000,
	OPCODE = 0x7800,
	FLAG_TC = 0x0200,
	FLAG_RD = 0x0100,
	FLAG_RA = 0x0080,
	FLAG_CD = 0x0010
};
enum {
	TYPE_A = 1,
	TYPE_NS = 2,
	TYPE_SOA = 6,
	TYPE_PTR = 12,
	TYPE_AAAA = 28,
	TYPE_OPT = 41,
	TYPE_AXFR = 252,
	TYPE_ANY = 255
};
enum { CLASS_IN = 1, CLASS_ANY = 255, TTL = 60, POINTER = 0xc000 };

/* ---- the query ---- */

/* A record behind the question: its offset's end, 0 if there is none. Names there may be pointers, which are
 * not followed. */
static size_t skip_record(const u8 *in, size_t length, size_t at, u16 *type, size_t *fields)
{
	while (at < length && in[at] && in[at] < 64)
		at += in[at] + 1u;
	if (at >= length || (in[at] && in[at] < 192))
		return 0;
	at += in[at] ? 2 : 1;
	if (at + 10 > length)
		return 0;
	*type = wire_get16(in + at);
	*fields = at + 2;
	at += 10 + (size_t)wire_get16(in + at + 8);
	return at > length ? 0 : at;
}

/* Returns an rcode. */
static unsigned read_query(struct dns_query *q, const u8 *in, size_t length)
{
	unsigned extra = wire_get16(in + 10);
	size_t at, fields;
	u16 type;

	if (q->flags & OPCODE)
		return DNS_NOTIMP;
	if (wire_get16(in + 4) != 1 || wire_get16(in + 6) || wire_get16(in + 8) || extra > 4)
		return DNS_FORMERR;
	at = dns_name_read(&q->name, in, length, DNS_HEADER);
	if (!at || at + 4 > length)
		return DNS_FORMERR;
	q->type = wire_get16(in + at);
	q->class = wire_get16(in + at + 2);
	at += 4;
	q->question_end = at;
	for (; extra; extra--) {
		at = skip_record(in, length, at, &type, &fields);
		if (!at || (type == TYPE_OPT && (q->edns || in[fields - 3])))
			return DNS_FORMERR;
		if (type != TYPE_OPT)
			continue;
		q->edns = true;
		q->dnssec_ok = in[fields + 4] & 0x80;
		q->room = wire_get16(in + fields);
		q->room = max(q->room, (u16)DNS_UDP_MAX);
		q->room = min(q->room, (u16)DNS_EDNS_MAX);
		if (in[fields + 3])
			return DNS_BADVERS;
	}
	return at == length ? DNS_NOERROR : DNS_FORMERR;
}

/* ---- the answer ---- */

struct answer {
	struct wire w;
	const struct dns_query *q;
	u16 answers, authorities;
};

static void begin(struct answer *a, const struct dns_query *q, const u8 *in, u8 *out, size_t room)
{
	*a = (struct answer){.w = {.bytes = out, .room = room - (q->edns ? 11 : 0)}, .q = q};
	wire_reserve(&a->w, DNS_HEADER);
	/* As it was asked, to the letter: resolvers check the case of letters. */
	if (q->question_end)
		wire_bytes(&a->w, in + DNS_HEADER, q->question_end - DNS_HEADER);
}

static size_t finish(struct answer *a, unsigned rcode)
{
	const struct dns_query *q = a->q;
	u8 *h = a->w.bytes;

	wire_put16(h, q->id);
	wire_put16(h + 2, (u16)(FLAG_QR | FLAG_RA | (q->flags & (OPCODE | FLAG_RD | FLAG_CD)) |
	                        (a->w.full ? FLAG_TC : 0) | (rcode & 15)));
	wire_put16(h + 4, q->question_end ? 1 : 0);
	wire_put16(h + 6, a->answers);
	wire_put16(h + 8, a->authorities);
	wire_put16(h + 10, q->edns ? 1 : 0);
	if (q->edns) {
		a->w.room += 11;
		a->w.full = false;
		wire_8(&a->w, 0);
		wire_16(&a->w, TYPE_OPT);
		wire_16(&a->w, DNS_EDNS_MAX);
		wire_8(&a->w, (u8)(rcode >> 4));
		wire_8(&a->w, 0);
		wire_16(&a->w, q->dnssec_ok ? 0x8000 : 0);
		wire_16(&a->w, 0);
	}
	return a->w.length;
}

/* A record's head, of the name at an offset of the question's; its data's length is set by record_end(). */
static size_t record_begin_at(struct answer *a, size_t name, u16 type)
{
	wire_16(&a->w, (u16)(POINTER | (DNS_HEADER + name)));
	wire_16(&a->w, type);
	wire_16(&a->w, CLASS_IN);
	wire_32(&a->w, TTL);
	wire_16(&a->w, 0);
	return a->w.length;
}

/* A record that does not fit is taken back whole. */
static void record_done(struct answer *a, size_t before, size_t data, u16 *count)
{
	if (a->w.full) {
		a->w.length = before;
		return;
	}
	wire_put16(a->w.bytes + data - 2, (u16)(a->w.length - data));
	++*count;
}

static void put_address(struct answer *a, struct ip address)
{
	size_t before = a->w.length, data = record_begin_at(a, 0, address.v6 ? TYPE_AAAA : TYPE_A);

	wire_address(&a->w, address);
	record_done(a, before, data, &a->answers);
}

static void put_pointer(struct answer *a, const struct dns_name *to)
{
	size_t before = a->w.length, data = record_begin_at(a, 0, TYPE_PTR);

	wire_bytes(&a->w, to->bytes, to->length);
	record_done(a, before, data, &a->answers);
}

static void put_server(struct answer *a, size_t apex)
{
	wire_bytes(&a->w, "\3ns0", 4);
	wire_16(&a->w, (u16)(POINTER | (DNS_HEADER + apex)));
}

static void put_authority(struct answer *a, const struct dns_zone *z, size_t apex, u16 *count)
{
	size_t before = a->w.length, data = record_begin_at(a, apex, TYPE_SOA);

	put_server(a, apex);
	wire_bytes(&a->w, "\12hostmaster", 11);
	wire_16(&a->w, (u16)(POINTER | (DNS_HEADER + apex)));
	wire_32(&a->w, z->serial);
	wire_32(&a->w, 3600);
	wire_32(&a->w, 3600);
	wire_32(&a->w, 3600);
	wire_32(&a->w, TTL); /* how long it may be remembered that there is nothing */
	record_done(a, before, data, count);
}

/* What the zone has of the name. */
static void put_found(struct answer *a, const struct dns_zone *z, size_t apex, bool *exists)
{
	const struct dns_query *q = a->q;
	const struct dns_entry **found;
	struct cidr c;
	unsigned count;

	found = dns_zone_name(z, &q->name, &count);
	*exists |= found != NULL;
	for (unsigned i = 0; found && i < count; i++)
		if (q->type == TYPE_ANY || q->type == (found[i]->address.v6 ? TYPE_AAAA : TYPE_A))
			put_address(a, found[i]->address);
	if (dns_name_block(&q->name, &c) && c.length == ip_width(c.first)) {
		found = dns_zone_address(z, c.first, &count);
		*exists |= found != NULL;
		for (unsigned i = 0; found && i < count; i++)
			if (q->type == TYPE_PTR || q->type == TYPE_ANY)
				put_pointer(a, &found[i]->name);
	}
	if (apex == 0 && *exists && (q->type == TYPE_SOA || q->type == TYPE_ANY))
		put_authority(a, z, apex, &a->answers);
	if (apex == 0 && *exists && (q->type == TYPE_NS || q->type == TYPE_ANY)) {
		size_t before = a->w.length, data = record_begin_at(a, apex, TYPE_NS);

		put_server(a, apex);
		record_done(a, before, data, &a->answers);
	}
}

size_t dns_refuse(const struct dns_query *q, const u8 *in, unsigned rcode, u8 *out)
{
	struct answer a;

	begin(&a, q, in, out, DNS_HEADER + DNS_NAME_MAX + 4 + 11);
	return finish(&a, rcode);
}

enum dns_verdict dns_answer(const struct dns_zone *z, const u8 *in, size_t length, bool tcp,
                            struct dns_query *q, u8 *out, size_t *out_length)
{
	struct answer a;
	bool owned, exists, known;
	unsigned rcode, count;
	struct cidr c;
	size_t apex = SIZE_MAX;

	*q = (struct dns_query){.room = DNS_UDP_MAX};
	if (length < DNS_HEADER || length > DNS_QUERY_MAX)
		return DNS_DROP;
	q->id = wire_get16(in);
	q->flags = wire_get16(in + 2);
	if (q->flags & FLAG_QR)
		return DNS_DROP;
	rcode = read_query(q, in, length);
	if (!rcode && (q->class != CLASS_IN && q->class != CLASS_ANY))
		rcode = DNS_REFUSED;
	if (!rcode && q->type > TYPE_AXFR - 2 && q->type < TYPE_ANY) /* zone transfers and mailboxes */
		rcode = DNS_REFUSED;
	if (rcode) {
		*out_length = dns_refuse(q, in, rcode, out);
		return DNS_ANSWER;
	}
	owned = dns_zone_owns(z, &q->name, &apex, &exists);
	known = dns_zone_name(z, &q->name, &count) ||
	        (dns_name_block(&q->name, &c) && c.length == ip_width(c.first) &&
	         dns_zone_address(z, c.first, &count));
	if (!owned && !known)
		return DNS_FORWARD;
	begin(&a, q, in, out, tcp ? DNS_MESSAGE_MAX : q->room);
	put_found(&a, z, owned ? apex : SIZE_MAX, &exists);
	if (!a.answers && !a.w.full && owned && apex)
		put_authority(&a, z, apex, &a.authorities);
	else if (!a.answers && !a.w.full && owned)
		put_authority(&a, z, 0, &a.authorities);
	*out_length = finish(&a, exists ? DNS_NOERROR : DNS_NXDOMAIN);
	return DNS_ANSWER;
}

bool dns_is_answer(const u8 *query, size_t query_length, const u8 *in, size_t length)
{
	struct dns_name asked, answered;
	size_t end, other;

	if (length < DNS_HEADER || query_length < DNS_HEADER || memcmp(query, in, 2) || !(in[2] & 0x80) ||
	    (in[2] & 0x78) != (query[2] & 0x78) || wire_get16(in + 4) != 1)
		return false;
	end = dns_name_read(&asked, query, query_length, DNS_HEADER);
	other = dns_name_read(&answered, in, length, DNS_HEADER);
	return end && end == other && end + 4 <= query_length && end + 4 <= length &&
	       !dns_name_compare(&asked, &answered) && !memcmp(query + end, in + end, 4);
}

size_t dns_truncate(const struct dns_query *q, u8 *answer, size_t length)
{
	if (length <= q->room)
		return length;
	answer[2] |= FLAG_TC >> 8;
	wire_put16(answer + 4, 1);
	memset(answer + 6, 0, 6);
	return q->question_end;
}
