#include "net/dhcp6.h"
#include "net/dns_name.h"
#include "net/wire.h"

enum {
	SOLICIT = 1,
	ADVERTISE,
	REQUEST,
	CONFIRM,
	RENEW,
	REBIND,
	REPLY,
	RELEASE,
	DECLINE,
	INFORMATION_REQUEST = 11,
};
enum {
	CLIENTID = 1,
	SERVERID = 2,
	IA_NA = 3,
	IA_TA = 4,
	IAADDR = 5,
	ORO = 6,
	STATUS_CODE = 13,
	RAPID_COMMIT = 14,
	DNS_SERVERS = 23,
	DOMAIN_LIST = 24,
	IA_PD = 25,
	NTP_SERVER = 56,
};
enum { SUCCESS, NO_ADDRS = 2, NOT_ON_LINK = 4, NO_PREFIX = 6 };
enum { NTP_SUBOPTION = 1, HEAD = 4, IDENTITY_MAX = 130, ASSOCIATIONS = 8 };

/* DUID-LL of what all interfaces are connected to. */
static const u8 server_id[] = {0, 3, 0, 1, 6, 0, 0, 0, 0, 1};

struct option {
	u16 code, length;
	const u8 *data;
};

struct message {
	u8 type;
	struct option client, server, oro; /* data NULL: not there */
	bool rapid;
	struct option associations[ASSOCIATIONS]; /* IA_NA, IA_TA, IA_PD */
	unsigned association_count;
};

/* The option at *at, which is moved behind it. 1; 0: there is none left; -1: it is cut. */
static int next_option(const u8 *in, size_t length, size_t *at, struct option *o)
{
	if (*at == length)
		return 0;
	if (length - *at < 4 || length - *at - 4 < wire_get16(in + *at + 2))
		return -1;
	*o = (struct option){wire_get16(in + *at), wire_get16(in + *at + 2), in + *at + 4};
	*at += 4u + o->length;
	return 1;
}

static int read_message(struct message *m, const u8 *in, size_t length)
{
	struct option o;
	size_t at = HEAD;
	int more;

	*m = (struct message){0};
	if (length < HEAD)
		return -1;
	m->type = in[0];
	while ((more = next_option(in, length, &at, &o)) > 0) {
		if (o.code == CLIENTID)
			m->client = o;
		else if (o.code == SERVERID)
			m->server = o;
		else if (o.code == ORO)
			m->oro = o;
		else if (o.code == RAPID_COMMIT)
			m->rapid = true;
		else if ((o.code == IA_NA || o.code == IA_TA || o.code == IA_PD) &&
		         m->association_count < ASSOCIATIONS)
			m->associations[m->association_count++] = o;
	}
	return more < 0 || m->client.length > IDENTITY_MAX ? -1 : 0;
}

/* RFC 8415 §16: which identities a message must have. */
static bool is_acceptable(const struct message *m)
{
	bool ours = m->server.data && m->server.length == sizeof(server_id) &&
	            !memcmp(m->server.data, server_id, sizeof(server_id));

	switch (m->type) {
	case SOLICIT:
	case CONFIRM:
	case REBIND:
		return m->client.length && !m->server.data;
	case REQUEST:
	case RENEW:
	case RELEASE:
	case DECLINE:
		return m->client.length && ours;
	case INFORMATION_REQUEST:
		return (!m->server.data || ours) && !m->association_count;
	default:
		return false;
	}
}

/* ---- writing ---- */

/* The length is put in by option_end(). */
static size_t option_begin(struct wire *w, u16 code)
{
	wire_16(w, code);
	wire_16(w, 0);
	return w->length;
}

static void option_end(struct wire *w, size_t data)
{
	if (!w->full)
		wire_put16(w->bytes + data - 2, (u16)(w->length - data));
}

static void put_bytes(struct wire *w, u16 code, const void *bytes, size_t length)
{
	size_t data = option_begin(w, code);

	wire_bytes(w, bytes, length);
	option_end(w, data);
}

static void put_status(struct wire *w, u16 status)
{
	size_t data = option_begin(w, STATUS_CODE);

	wire_16(w, status);
	option_end(w, data);
}

static void put_address(struct wire *w, struct ip a, bool valid)
{
	size_t data = option_begin(w, IAADDR);

	wire_address(w, a);
	wire_32(w, valid ? DHCP6_PREFERRED_S : 0);
	wire_32(w, valid ? DHCP6_VALID_S : 0);
	option_end(w, data);
}

/* Addresses of an association, as its client has them: calls fn for each. */
static void each_address(const struct option *ia, size_t head, void (*fn)(void *ctx, struct ip a), void *ctx)
{
	struct option o;
	size_t at = head;

	if (ia->length < head)
		return;
	while (next_option(ia->data, ia->length, &at, &o) > 0)
		if (o.code == IAADDR && o.length >= 24)
			fn(ctx, wire_ip6(o.data));
}

struct given {
	const struct config_interface *i;
	struct wire *w;
	bool others; /* the client has one that is not the interface's */
	bool any;
};

static void take_back(void *ctx, struct ip a)
{
	struct given *g = ctx;

	if (!config_has_address(g->i, a))
		put_address(g->w, a, false);
}

static void look_at(void *ctx, struct ip a)
{
	struct given *g = ctx;

	g->any = true;
	g->others |= !config_has_address(g->i, a);
}

static size_t ia_head(const struct option *ia)
{
	return ia->code == IA_TA ? 4 : 12;
}

/* An association's answer: *first has the addresses. */
static void put_association(struct wire *w, const struct config_interface *i, const struct message *m,
                            const struct option *ia, bool *first)
{
	bool held = m->type == RENEW || m->type == REBIND;
	struct given g = {.i = i, .w = w};
	size_t data;

	if (ia->length < ia_head(ia))
		return;
	data = option_begin(w, ia->code);
	wire_bytes(w, ia->data, 4);
	if (ia->code != IA_TA) {
		wire_32(w, DHCP6_PREFERRED_S / 2);
		wire_32(w, DHCP6_PREFERRED_S / 5 * 4);
	}
	if (ia->code == IA_NA && *first && i->v6_count) {
		for (unsigned n = 0; n < i->v6_count; n++)
			put_address(w, i->addresses[i->v4_count + n], true);
		if (held)
			each_address(ia, ia_head(ia), take_back, &g);
		*first = false;
	} else {
		put_status(w, ia->code == IA_PD ? NO_PREFIX : NO_ADDRS);
	}
	option_end(w, data);
}

static bool is_wanted(const struct message *m, u16 code)
{
	for (unsigned n = 0; n + 1 < m->oro.length; n += 2)
		if (wire_get16(m->oro.data + n) == code)
			return true;
	return false;
}

/* The addresses of IPv6 among texts, one behind the other. */
static void put_list(struct wire *w, const char *const *list, unsigned count)
{
	static const struct ip own = {true, (ip_bits)0xfd000ec200000000ULL << 64 | 0x253};

	for (unsigned n = 0; n < count && n < 8; n++) {
		struct ip a = own;

		if (!strcmp(list[n], "AmazonProvidedDNS") || (ip_parse(&a, list[n]) == 0 && a.v6))
			wire_address(w, a);
	}
}

static void put_domains(struct wire *w, const char *domains)
{
	while (*domains) {
		size_t length = strcspn(domains, " ");
		struct dns_name name;
		char one[256];

		if (length && length < sizeof(one)) {
			memcpy(one, domains, length);
			one[length] = 0;
			if (dns_name_parse(&name, one) == 0 && name.length > 1)
				wire_bytes(w, name.bytes, name.length);
		}
		domains += length;
		domains += *domains == ' ';
	}
}

/* An option without anything in it is none. */
static void option_close(struct wire *w, size_t data)
{
	if (!w->full && w->length == data)
		w->length = data - 4;
	else
		option_end(w, data);
}

static void put_network(struct wire *w, const struct config *c, const struct message *m)
{
	const struct plan_dhcp *d = &c->plan.dhcp;
	size_t data = option_begin(w, DNS_SERVERS);

	put_list(w, d->dns, d->dns_count);
	option_close(w, data);
	data = option_begin(w, DOMAIN_LIST);
	put_domains(w, d->domain);
	option_close(w, data);
	if (!is_wanted(m, NTP_SERVER))
		return;
	for (unsigned n = 0; n < d->ntp_count && n < 8; n++) {
		struct ip a;

		if (ip_parse(&a, d->ntp[n]) < 0 || !a.v6)
			continue;
		data = option_begin(w, NTP_SERVER);
		wire_16(w, NTP_SUBOPTION);
		wire_16(w, 16);
		wire_address(w, a);
		option_end(w, data);
	}
}

/* RFC 8415 §18.3.3. False: the client says nothing that could be confirmed. */
static bool put_confirmation(struct wire *w, const struct config_interface *i, const struct message *m)
{
	struct given g = {.i = i};

	for (unsigned n = 0; n < m->association_count; n++)
		if (m->associations[n].code != IA_PD)
			each_address(&m->associations[n], ia_head(&m->associations[n]), look_at, &g);
	put_status(w, g.others ? NOT_ON_LINK : SUCCESS);
	return g.any;
}

size_t dhcp6_answer(const struct config *c, const struct config_interface *i, const u8 *in, size_t length,
                    u8 *out)
{
	struct wire w = {.bytes = out, .room = DHCP6_MAX};
	bool first = true;
	struct message m;
	u8 head[HEAD];

	if (!i->v6_count || read_message(&m, in, length) < 0 || !is_acceptable(&m))
		return 0;
	memcpy(head, in, HEAD);
	head[0] = m.type == SOLICIT && !m.rapid ? ADVERTISE : REPLY;
	wire_bytes(&w, head, HEAD);
	if (m.client.length)
		put_bytes(&w, CLIENTID, m.client.data, m.client.length);
	put_bytes(&w, SERVERID, server_id, sizeof(server_id));
	if (m.type == SOLICIT && m.rapid)
		put_bytes(&w, RAPID_COMMIT, NULL, 0);
	if (m.type == CONFIRM)
		return put_confirmation(&w, i, &m) ? w.length : 0;
	if (m.type == RELEASE || m.type == DECLINE) {
		put_status(&w, SUCCESS);
		return w.length;
	}
	put_network(&w, c, &m);
	for (unsigned n = 0; n < m.association_count; n++)
		put_association(&w, i, &m, &m.associations[n], &first);
	return w.full ? 0 : w.length;
}
