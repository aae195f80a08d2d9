#include "net/flow_log.h"
#include "net/wire.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 2 * FLOW_LOG_MAX };

struct flow_entry {
	struct flow flow; /* no interface: the slot is free */
	u64 packets, bytes;
	s64 first, last;
};

/* ---- packets ---- */

static void read_ports(struct flow *f, const u8 *in, size_t length)
{
	if ((f->protocol == IPPROTO_TCP || f->protocol == IPPROTO_UDP || f->protocol == IPPROTO_SCTP) &&
	    length >= 4) {
		f->from_port = wire_get16(in);
		f->to_port = wire_get16(in + 2);
	}
}

bool flow_read_packet(struct flow *f, const u8 *in, size_t length, u64 *bytes)
{
	f->from_port = f->to_port = 0;
	if (length >= 20 && in[0] >> 4 == 4) {
		size_t head = (in[0] & 15u) * 4;

		f->protocol = in[9];
		f->from = wire_ip4(in + 12);
		f->to = wire_ip4(in + 16);
		*bytes = wire_get16(in + 2);
		/* A later fragment has no ports. */
		if (head >= 20 && head <= length && !(wire_get16(in + 6) & 0x1fff))
			read_ports(f, in + head, length - head);
		return true;
	}
	if (length >= 40 && in[0] >> 4 == 6) {
		f->protocol = in[6];
		f->from = wire_ip6(in + 8);
		f->to = wire_ip6(in + 24);
		*bytes = 40u + wire_get16(in + 4);
		read_ports(f, in + 40, length - 40);
		return true;
	}
	return false;
}

/* ---- the table ---- */

static u64 mix(u64 hash, u64 v)
{
	hash = (hash ^ v) * 0x9e3779b97f4a7c15ULL;
	return hash ^ hash >> 29;
}

static u64 hash_of(const struct flow *f)
{
	u64 hash = (u64)f->refused << 8 | f->protocol;

	for (size_t i = 0; f->interface[i]; i++)
		hash = hash * 31 + (u8)f->interface[i];
	hash = mix(hash, (u64)f->from.bits);
	hash = mix(hash, (u64)(f->from.bits >> 64));
	hash = mix(hash, (u64)f->to.bits);
	hash = mix(hash, (u64)(f->to.bits >> 64));
	return mix(hash, (u64)f->from_port << 16 | f->to_port);
}

static bool same(const struct flow *a, const struct flow *b)
{
	return !strcmp(a->interface, b->interface) && ip_equal(a->from, b->from) && ip_equal(a->to, b->to) &&
	       a->from_port == b->from_port && a->to_port == b->to_port && a->protocol == b->protocol &&
	       a->refused == b->refused;
}

void flow_log_add(struct flow_log *l, const struct flow *f, u64 packets, u64 bytes, s64 now)
{
	struct flow_entry *e;
	u64 at = hash_of(f);

	if (!l->entries)
		l->entries = calloc(SLOTS, sizeof(*l->entries));
	if (!l->entries)
		abort();
	for (;; at++) {
		e = &l->entries[at % SLOTS];
		if (!*e->flow.interface || same(&e->flow, f))
			break;
	}
	if (!*e->flow.interface) {
		if (l->count == FLOW_LOG_MAX) {
			l->lost = true;
			return;
		}
		l->count++;
		*e = (struct flow_entry){.flow = *f, .first = now};
	}
	e->packets += packets;
	e->bytes += bytes;
	e->last = now;
}

static void write_entry(const struct flow_entry *e, const char *account, struct buffer *out)
{
	const struct flow *f = &e->flow;
	char from[IP_TEXT], to[IP_TEXT];

	ip_write(from, f->from);
	ip_write(to, f->to);
	buffer_printf(out, "2 %s %s %s %s %u %u %u %llu %llu %lld %lld %s OK\n", account, f->interface, from,
	              to, f->from_port, f->to_port, f->protocol, (unsigned long long)e->packets,
	              (unsigned long long)e->bytes, (long long)e->first, (long long)e->last,
	              f->refused ? "REJECT" : "ACCEPT");
}

/* Does the interface's log tell of it? */
static bool is_wanted(const struct plan_interface *p, const struct flow *f)
{
	return !*p->log_only || f->refused == !strcmp(p->log_only, "REJECT");
}

static bool has_entries(const struct flow_log *l, const struct plan_interface *p)
{
	for (unsigned i = 0; l->count && i < SLOTS; i++)
		if (!strcmp(l->entries[i].flow.interface, p->id) && is_wanted(p, &l->entries[i].flow))
			return true;
	return false;
}

static const struct plan_interface *interface_of(const struct plan *p, const struct flow *f)
{
	for (unsigned i = 0; i < p->interfaces_count; i++)
		if (!strcmp(p->interfaces[i].id, f->interface))
			return &p->interfaces[i];
	return NULL;
}

void flow_log_write(struct flow_log *l, const struct config *c, s64 now, struct buffer *out)
{
	const char *account = *c->plan.account ? c->plan.account : "-";

	for (unsigned i = 0; l->count && i < SLOTS; i++) {
		const struct flow *f = &l->entries[i].flow;
		const struct plan_interface *p = *f->interface ? interface_of(&c->plan, f) : NULL;

		if (*f->interface && (!p || is_wanted(p, f)))
			write_entry(&l->entries[i], account, out);
	}
	for (unsigned i = 0; i < c->plan.interfaces_count; i++) {
		const struct plan_interface *p = &c->plan.interfaces[i];

		if (p->log && (l->lost || !has_entries(l, p)))
			buffer_printf(out, "2 %s %s - - - - - - - %lld %lld - %s\n", account, p->id,
			              (long long)l->since, (long long)now, l->lost ? "SKIPDATA" : "NODATA");
	}
	if (l->count)
		memset(l->entries, 0, SLOTS * sizeof(*l->entries));
	l->count = 0;
	l->lost = false;
	l->since = now;
}

void flow_log_release(struct flow_log *l)
{
	free(l->entries);
	*l = (struct flow_log){0};
}
