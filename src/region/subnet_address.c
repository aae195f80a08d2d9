/* Addresses and prefixes of a subnet: which may be had, and by whom they are. */
#include "region/address_space.h"
#include "region/subnet.h"
#include "region/subnet_cidr_reservation.h"

#include <stdlib.h>
#include <string.h>

enum { PREFIX_IPV4 = 28, PREFIX_IPV6 = 80 };

static const char *prefix_space(struct request *r, const char *subnet)
{
	return arena_printf(r->arena, "%s/80", subnet);
}

/* The first address of the /80 that has a. */
static struct ip prefix_of(struct ip a)
{
	a.bits &= ~(((ip_bits)1 << (128 - PREFIX_IPV6)) - 1);
	return a;
}

/* What instances may have: all but the first four and the last. */
static bool usable(struct cidr c, struct ip a)
{
	struct ip last = cidr_last(c);

	return cidr_contains(c, a) && a.bits >= c.first.bits + SUBNET_RESERVED_FIRST && a.bits < last.bits;
}

static int by_first(const void *a, const void *b)
{
	const struct cidr *x = a, *y = b;

	return x->first.bits < y->first.bits ? -1 : x->first.bits > y->first.bits;
}

/* Reserved blocks of IPv4, in order; what is not asked for by name stays out of them. */
static unsigned reservations(struct request *r, const struct resource *subnet, struct cidr **out)
{
	struct resource **list = resource_list(r, &subnet_cidr_reservation_kind, subnet->id);
	unsigned count = 0;

	for (struct resource **p = list; *p; p++)
		count++;
	*out = arena_alloc(r->arena, (count + 1) * sizeof(struct cidr));
	count = 0;
	for (; *list; list++) {
		struct cidr c;

		if (cidr_parse(&c, value_string((*list)->doc, "Cidr")) == 0 && !c.first.v6)
			(*out)[count++] = c;
	}
	if (count)
		qsort(*out, count, sizeof(struct cidr), by_first);
	return count;
}

static const char *take_any(struct request *r, const struct resource *subnet, struct cidr block,
                            const char *holder)
{
	struct ip first = cidr_nth(block, SUBNET_RESERVED_FIRST), last = cidr_last(block), a;
	struct cidr *reserved;
	unsigned count = reservations(r, subnet, &reserved);

	last.bits--;
	for (unsigned i = 0; i <= count; i++) {
		struct ip end = last;

		if (i < count)
			end.bits = min(end.bits, reserved[i].first.bits - 1);
		if (first.bits <= end.bits && address_take_any(r, subnet->id, first, end, holder, &a))
			return ip_text(r->arena, a);
		if (i < count)
			first.bits = max(first.bits, cidr_last(reserved[i]).bits + 1);
	}
	request_fail(r, "InsufficientFreeAddressesInSubnet",
	             "There are not enough free addresses in subnet '%s' to satisfy the requested number of "
	             "instances.",
	             subnet->id);
	return NULL;
}

const char *subnet_take_address(struct request *r, const struct resource *subnet, const char *wanted,
                                const char *holder)
{
	const char *text = value_string(subnet->doc, "CidrBlock");
	struct cidr block;
	struct ip a;

	if (!text || cidr_parse(&block, text) < 0) {
		request_fail(r, "InvalidParameterCombination", "The subnet '%s' has no IPv4 addresses",
		             subnet->id);
		return NULL;
	}
	if (!wanted)
		return take_any(r, subnet, block, holder);
	if (ip_parse(&a, wanted) < 0 || a.v6) {
		request_fail(r, "InvalidParameterValue",
		             "Value (%.64s) for parameter privateIpAddress is invalid. Invalid IPv4 address.",
		             wanted);
		return NULL;
	}
	if (!cidr_contains(block, a)) {
		request_fail(r, "InvalidParameterValue",
		             "Address %s does not fall within the subnet's address range", wanted);
		return NULL;
	}
	if (!usable(block, a)) {
		request_fail(r, "InvalidParameterValue", "Address %s is in subnet's reserved address range",
		             wanted);
		return NULL;
	}
	if (!address_take(r, subnet->id, a, holder)) {
		request_fail(r, "InvalidIPAddress.InUse", "Address %s is in use.", wanted);
		return NULL;
	}
	return ip_text(r->arena, a);
}

static int ipv6_block(struct request *r, const struct resource *subnet, struct cidr *block)
{
	const char *text = subnet_ipv6_block(subnet);

	if (!text || cidr_parse(block, text) < 0)
		return request_fail(r, "InvalidParameterCombination",
		                    "The subnet '%s' does not have an IPv6 CIDR block associated with it",
		                    subnet->id);
	return 0;
}

const char *subnet_take_ipv6(struct request *r, const struct resource *subnet, const char *wanted,
                             const char *holder)
{
	const char *prefixes = prefix_space(r, subnet->id);
	struct cidr block;
	struct ip a;

	if (ipv6_block(r, subnet, &block) < 0)
		return NULL;
	if (!wanted) {
		for (unsigned i = 0; i < 64; i++) {
			if (!address_take_random(r, subnet->id, block, holder, &a))
				break;
			if (!address_holder(r, prefixes, prefix_of(a)))
				return ip_text(r->arena, a);
			address_give_back(r, subnet->id, a);
		}
		request_fail(r, "InsufficientFreeAddressesInSubnet",
		             "There is no free IPv6 address in the subnet '%s'", subnet->id);
		return NULL;
	}
	if (ip_parse(&a, wanted) < 0 || !a.v6) {
		request_fail(r, "InvalidParameterValue", "Invalid IPv6 address: %.64s", wanted);
		return NULL;
	}
	if (!usable(block, a)) {
		request_fail(r, "InvalidParameterValue",
		             "Address %s does not fall within the subnet's usable address range", wanted);
		return NULL;
	}
	if (address_holder(r, prefixes, prefix_of(a)) || !address_take(r, subnet->id, a, holder)) {
		request_fail(r, "InvalidIPAddress.InUse", "Address %s is in use.", wanted);
		return NULL;
	}
	return ip_text(r->arena, a);
}

static bool take_block(struct request *r, const struct resource *subnet, struct cidr c, const char *holder)
{
	if (!c.first.v6)
		return address_take_block(r, subnet->id, c, holder);
	return !address_any_taken(r, subnet->id, c) &&
	       address_take(r, prefix_space(r, subnet->id), c.first, holder);
}

const char *subnet_take_prefix(struct request *r, const struct resource *subnet, bool v6, const char *wanted,
                               const char *holder)
{
	unsigned length = v6 ? PREFIX_IPV6 : PREFIX_IPV4;
	const char *text = value_string(subnet->doc, "CidrBlock");
	struct cidr block, c;
	ip_bits parts;

	if (v6 ? ipv6_block(r, subnet, &block) < 0 : !text || cidr_parse(&block, text) < 0) {
		if (!v6)
			request_fail(r, "InvalidParameterCombination",
			             "The subnet '%s' has no IPv4 addresses", subnet->id);
		return NULL;
	}
	if (wanted) {
		if (cidr_parse(&c, wanted) < 0 || c.first.v6 != v6 || c.length != length ||
		    !cidr_covers(block, c) || !usable(block, c.first) || !usable(block, cidr_last(c))) {
			request_fail(r, "InvalidParameterValue",
			             "Value (%.64s) is not a prefix of /%u within the subnet '%s'", wanted,
			             length, subnet->id);
			return NULL;
		}
		if (!take_block(r, subnet, c, holder)) {
			request_fail(r, "InvalidIPAddress.InUse", "Prefix %s is in use.", wanted);
			return NULL;
		}
		return cidr_text(r->arena, c);
	}
	/* the first and the last part have the subnet's own addresses */
	parts = block.length < length ? (ip_bits)1 << (length - block.length) : 0;
	for (ip_bits n = 1; n + 1 < parts; n++) {
		c = cidr_part(block, length, n);
		if (take_block(r, subnet, c, holder))
			return cidr_text(r->arena, c);
		if (database_failed(r->cloud->db))
			break;
	}
	request_fail(r, "InsufficientCidrBlocks", "The subnet '%s' has no free block of /%u", subnet->id,
	             length);
	return NULL;
}

void subnet_give_back(struct request *r, const char *subnet, const char *text)
{
	struct cidr c;
	struct ip a;

	if (ip_parse(&a, text) == 0)
		address_give_back(r, subnet, a);
	else if (cidr_parse(&c, text) == 0 && c.first.v6)
		address_give_back(r, prefix_space(r, subnet), c.first);
	else if (cidr_parse(&c, text) == 0)
		address_give_back_block(r, subnet, c);
}
