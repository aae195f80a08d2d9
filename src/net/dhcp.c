#include "net/dhcp.h"
#include "base/log.h"
#include "net/wire.h"

#include <stdio.h>

/* Offsets of RFC 2131's figure 1. */
enum {
	OP,
	HTYPE,
	HLEN,
	HOPS,
	XID,
	SECS = 8,
	FLAGS = 10,
	CIADDR = 12,
	YIADDR = 16,
	SIADDR = 20,
	GIADDR = 24,
	CHADDR = 28,
	SNAME = 44,
	FILE_NAME = 108,
	COOKIE = 236,
	OPTIONS = 240
};
enum { DISCOVER = 1, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM };
enum {
	PAD = 0,
	MASK = 1,
	ROUTERS = 3,
	SERVERS = 6,
	HOST_NAME = 12,
	DOMAIN = 15,
	MTU = 26,
	BROADCAST = 28,
	NTP = 42,
	NETBIOS = 44,
	NETBIOS_TYPE = 46,
	WANTED_ADDRESS = 50,
	LEASE = 51,
	OVERLOAD = 52,
	TYPE = 53,
	SERVER = 54,
	LARGEST = 57,
	RENEWAL = 58,
	REBINDING = 59,
	CLIENT = 61,
	END = 255,
};
static const u32 cookie = 0x63825363, everybody = 0xffffffff;
enum { BROADCAST_FLAG = 0x8000, MTU_BYTES = 9001, SMALLEST = 300, SMALLEST_MAX = 576, HEADERS = 28 };

struct message {
	u8 type;
	u32 wanted, server; /* 0: not said */
	u16 largest;
	const u8 *client;
	u8 client_length;
};

static void read_option(struct message *m, u8 code, const u8 *data, u8 length)
{
	if (code == TYPE && length == 1)
		m->type = data[0];
	else if (code == WANTED_ADDRESS && length == 4)
		m->wanted = wire_get32(data);
	else if (code == SERVER && length == 4)
		m->server = wire_get32(data);
	else if (code == LARGEST && length == 2)
		m->largest = wire_get16(data);
	else if (code == CLIENT && length) {
		m->client = data;
		m->client_length = length;
	}
}

/* -1: it does not end as it should. */
static int read_options(struct message *m, const u8 *at, size_t length, u8 *overload)
{
	for (size_t i = 0; i < length;) {
		u8 code = at[i++], size;

		if (code == PAD)
			continue;
		if (code == END)
			return 0;
		if (i >= length || length - i - 1 < at[i])
			return -1;
		size = at[i++];
		if (code == OVERLOAD && size == 1 && overload)
			*overload = at[i] & 3;
		read_option(m, code, at + i, size);
		i += size;
	}
	return 0;
}

static int read_message(struct message *m, const u8 *in, size_t length)
{
	u8 overload = 0;

	*m = (struct message){.largest = SMALLEST_MAX};
	if (length < OPTIONS || in[OP] != 1 || in[HTYPE] != 1 || in[HLEN] != 6 ||
	    wire_get32(in + COOKIE) != cookie)
		return -1;
	if (read_options(m, in + OPTIONS, length - OPTIONS, &overload) < 0 ||
	    ((overload & 1) && read_options(m, in + FILE_NAME, 128, NULL) < 0) ||
	    ((overload & 2) && read_options(m, in + SNAME, 64, NULL) < 0))
		return -1;
	return 0;
}

/* ---- options of an answer ---- */

static void option(struct wire *w, u8 code, const void *data, size_t length)
{
	size_t before = w->length;

	if (!length || length > 255)
		return;
	wire_8(w, code);
	wire_8(w, (u8)length);
	wire_bytes(w, data, length);
	if (!w->full)
		return;
	/* Something shorter may still fit. */
	w->length = before;
	w->full = false;
}

static void option_8(struct wire *w, u8 code, u8 v)
{
	option(w, code, &v, 1);
}

static void option_32(struct wire *w, u8 code, u32 v)
{
	u8 bytes[4];

	wire_put32(bytes, v);
	option(w, code, bytes, 4);
}

/* Addresses of IPv4 among texts. */
static void option_list(struct wire *w, u8 code, const struct config *c, const char *const *list,
                        unsigned count)
{
	u8 bytes[4 * 16];
	size_t length = 0;

	for (unsigned i = 0; i < count && length < sizeof(bytes); i++) {
		struct ip a;

		if (!strcmp(list[i], "AmazonProvidedDNS") ? !config_resolver(c, &a)
		                                          : ip_parse(&a, list[i]) < 0 || a.v6)
			continue;
		wire_put32(bytes + length, (u32)a.bits);
		length += 4;
	}
	option(w, code, bytes, length);
}

static void put_lease(struct wire *w)
{
	option_32(w, LEASE, DHCP_LEASE_S);
	option_32(w, RENEWAL, DHCP_LEASE_S / 2);
	option_32(w, REBINDING, DHCP_LEASE_S / 8 * 7);
}

/* What a subnet and its options set say, what matters most first. */
static void put_network(struct wire *w, const struct config *c, const struct config_interface *i)
{
	const struct plan_dhcp *d = &c->plan.dhcp;
	u8 mtu[2];

	wire_put16(mtu, MTU_BYTES);
	option_32(w, MASK, i->block.length ? ~0u << (32 - i->block.length) : 0);
	option_32(w, ROUTERS, (u32)cidr_nth(i->block, 1).bits);
	option_list(w, SERVERS, c, d->dns, d->dns_count);
	option(w, HOST_NAME, i->plan->name, strlen(i->plan->name));
	option(w, DOMAIN, d->domain, strlen(d->domain));
	option(w, MTU, mtu, 2);
	option_32(w, BROADCAST, (u32)cidr_last(i->block).bits);
	option_list(w, NTP, c, d->ntp, d->ntp_count);
	option_list(w, NETBIOS, c, d->netbios, d->netbios_count);
	if (d->netbios_type)
		option_8(w, NETBIOS_TYPE, (u8)d->netbios_type);
}

/* ---- what is answered ---- */

static bool is_ours(const struct config_interface *i, u32 address)
{
	struct ip a = {false, address};

	return address && config_has_address(i, a);
}

/* The type of the answer, 0: none. RFC 2131 §4.3, table 4. */
static u8 decide(const struct config_interface *i, const u8 *in, const struct message *m)
{
	u32 router = (u32)cidr_nth(i->block, 1).bits, own = (u32)i->addresses[0].bits;
	u32 has = wire_get32(in + CIADDR);

	if (m->server && m->server != router)
		return 0;
	switch (m->type) {
	case DISCOVER:
		return OFFER;
	case REQUEST:
		return (m->wanted ? m->wanted : has) == own ? ACK : NAK;
	case INFORM:
		return is_ours(i, has) ? ACK : 0;
	case DECLINE:
		log_guest("%s: its guest says that its address is another's", i->plan->id);
		return 0;
	default:
		return 0;
	}
}

void dhcp_answer(const struct config *c, const struct config_interface *i, const u8 *in, size_t length,
                 struct dhcp_answer *a)
{
	struct wire w = {.bytes = a->bytes};
	struct message m;
	u32 router, own;
	bool broadcast;
	u8 type;

	a->length = 0;
	if (!i->v4_count || !i->block.length || read_message(&m, in, length) < 0 ||
	    memcmp(in + CHADDR, i->mac, 6) || wire_get32(in + GIADDR))
		return;
	type = decide(i, in, &m);
	if (!type)
		return;
	router = (u32)cidr_nth(i->block, 1).bits;
	own = (u32)i->addresses[0].bits;
	w.room = m.largest < SMALLEST_MAX ? SMALLEST_MAX : min(m.largest, (u16)DHCP_MAX);
	w.room -= HEADERS + 1;

	memset(wire_reserve(&w, OPTIONS), 0, OPTIONS);
	a->bytes[OP] = 2;
	a->bytes[HTYPE] = 1;
	a->bytes[HLEN] = 6;
	memcpy(a->bytes + XID, in + XID, 4);
	memcpy(a->bytes + FLAGS, in + FLAGS, 2);
	memcpy(a->bytes + CHADDR, in + CHADDR, 16);
	wire_put32(a->bytes + COOKIE, cookie);
	if (type != NAK)
		memcpy(a->bytes + CIADDR, in + CIADDR, 4);
	if (type != NAK && m.type != INFORM)
		wire_put32(a->bytes + YIADDR, own);

	option_8(&w, TYPE, type);
	option_32(&w, SERVER, router);
	option(&w, CLIENT, m.client, m.client_length); /* RFC 6842 */
	if (type != NAK && m.type != INFORM)
		put_lease(&w);
	if (type != NAK)
		put_network(&w, c, i);
	w.room++;
	wire_8(&w, END);
	/* Some clients take nothing shorter than BOOTP's answers. */
	while (w.length < SMALLEST)
		wire_8(&w, PAD);

	/* RFC 2131 §4.1 */
	broadcast = type == NAK || (wire_get16(in + FLAGS) & BROADCAST_FLAG);
	a->from = (struct ip){false, router};
	a->to = (struct ip){false, everybody};
	if (type != NAK && is_ours(i, wire_get32(in + CIADDR)))
		a->to.bits = wire_get32(in + CIADDR);
	else if (!broadcast)
		a->to.bits = own;
	a->length = w.length;
}
