#include "net/lookup.h"

#include <stdio.h>
#include <string.h>

#define FIND(list)                                             \
	do {                                                   \
		for (unsigned i = 0; i < p->list##_count; i++) \
			if (!strcmp(p->list[i].id, id))        \
				return &p->list[i];            \
		return NULL;                                   \
	} while (0)

const struct plan_subnet *lookup_subnet(const struct plan *p, const char *id)
{
	FIND(subnets);
}

const struct plan_table *lookup_table(const struct plan *p, const char *id)
{
	FIND(tables);
}

const struct plan_acl *lookup_acl(const struct plan *p, const char *id)
{
	FIND(acls);
}

const struct plan_group *lookup_group(const struct plan *p, const char *id)
{
	FIND(groups);
}

const struct plan_interface *lookup_interface(const struct plan *p, const char *id)
{
	FIND(interfaces);
}

struct cidr lookup_block(const char *text)
{
	struct cidr c = {0};

	cidr_parse(&c, text);
	return c;
}

struct ip lookup_ip(const char *text)
{
	struct ip a = {0};

	ip_parse(&a, text);
	return a;
}

struct cidr lookup_host(const char *address)
{
	struct ip a = lookup_ip(address);

	return (struct cidr){a, (u8)ip_width(a)};
}

void lookup_mac(u8 out[6], const char *text)
{
	unsigned b[6] = {0};

	sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]);
	for (int i = 0; i < 6; i++)
		out[i] = (u8)b[i];
}

struct ip lookup_nth(const char *cidr, unsigned n)
{
	return cidr_nth(lookup_block(cidr), n);
}

struct cidr lookup_hop(const u8 mac[6])
{
	const u8 low[8] = {mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]};
	struct cidr c = {{true, 0xfe80}, 128};

	c.first.bits <<= 112;
	for (int i = 0; i < 8; i++)
		c.first.bits |= (ip_bits)low[i] << 8 * (7 - i);
	return c;
}

static u32 hash(const char *text)
{
	u32 h = 0x811c9dc5;

	for (; *text; text++)
		h = (h ^ (u8)*text) * 0x01000193;
	return h ^ h >> 15;
}

u32 lookup_table_number(const char *table)
{
	return 0x10000000 | (hash(table) & 0x0ffffffe);
}

u32 lookup_realm(const struct plan *p, const struct plan_nat *nat)
{
	u32 realm = REALM_FIRST_NAT + hash(nat->id) % 0xff00;

	/* Two of one number: the later one goes on. There are few. */
	for (const struct plan_nat *other = p->nats; other < nat; other++)
		if (lookup_realm(p, other) == realm) {
			realm = realm == 0xffff ? REALM_FIRST_NAT : realm + 1;
			other = p->nats - 1;
		}
	return realm;
}
