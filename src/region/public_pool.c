#include "region/public_pool.h"

#include <string.h>

#define SPACE      "public"
#define SPACE_IPV6 "public-ipv6"

static struct cidr pool(struct request *r, const char *setting, const char *otherwise)
{
	const char *text = cloud_setting(r->cloud, setting);
	struct cidr c;

	if (!text || cidr_parse(&c, text) < 0)
		cidr_parse(&c, otherwise);
	return c;
}

struct cidr public_pool(struct request *r)
{
	return pool(r, "public-pool", PUBLIC_POOL);
}

struct cidr public_pool_ipv6(struct request *r)
{
	return pool(r, "public-pool-ipv6", PUBLIC_POOL_IPV6);
}

const char *public_host_address(struct request *r)
{
	struct ip last = cidr_last(public_pool(r));

	last.bits--;
	return ip_text(r->arena, last);
}

const char *public_address_take(struct request *r, const char *holder, const char *wanted)
{
	struct cidr c = public_pool(r);
	struct ip first = cidr_nth(c, 1), last = cidr_last(c), a;

	last.bits -= 2; /* broadcast, and the host */
	if (wanted) {
		if (ip_parse(&a, wanted) < 0 || !cidr_contains(c, a) || a.bits < first.bits ||
		    a.bits > last.bits || !address_take(r, SPACE, a, holder)) {
			request_fail(r, "InvalidAddress.NotFound", "Address '%.64s' not found.", wanted);
			return NULL;
		}
		return ip_text(r->arena, a);
	}
	if (!address_take_any(r, SPACE, first, last, holder, &a)) {
		request_fail(r, "InsufficientAddressCapacity",
		             "There are not enough free public addresses in the pool");
		return NULL;
	}
	return ip_text(r->arena, a);
}

void public_address_give_back(struct request *r, const char *address)
{
	struct ip a;

	if (ip_parse(&a, address) == 0)
		address_give_back(r, SPACE, a);
}

const char *public_block_take(struct request *r, const char *holder)
{
	struct cidr c = public_pool_ipv6(r), block;

	for (ip_bits n = 0; c.length <= 56 && n < (ip_bits)1 << (56 - c.length); n++) {
		block = cidr_part(c, 56, n);
		if (address_take(r, SPACE_IPV6, block.first, holder))
			return cidr_text(r->arena, block);
		if (database_failed(r->cloud->db))
			break;
	}
	request_fail(r, "InsufficientAddressCapacity", "There is no free IPv6 block in the pool");
	return NULL;
}

void public_block_give_back(struct request *r, const char *block)
{
	struct cidr c;

	if (cidr_parse(&c, block) == 0)
		address_give_back(r, SPACE_IPV6, c.first);
}

const char *public_dns_name(struct request *r, const char *address)
{
	char *name = strcmp(r->region, "us-east-1")
	                     ? arena_printf(r->arena, "ec2-%s.%s.compute.amazonaws.com", address, r->region)
	                     : arena_printf(r->arena, "ec2-%s.compute-1.amazonaws.com", address);

	for (char *p = name + 4; p < name + 4 + strlen(address); p++)
		if (*p == '.')
			*p = '-';
	return name;
}
