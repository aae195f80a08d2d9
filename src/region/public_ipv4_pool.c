/* Pools of public IPv4 addresses of one's own. Their addresses come from IPAM, which is not here: pools are
 * records, and stay empty. */
#include "region/describe.h"
#include "region/tag.h"

RESOURCE_KIND(public_ipv4_pool_kind) = {
        .name = "ipv4pool-ec2",
        .prefix = "ipv4pool-ec2-",
        .shape = "PublicIpv4Pool",
        .id = "PoolId",
        .noun = "PublicIpv4PoolID",
};

ACTION(ec2, CreatePublicIpv4Pool)
{
	struct resource *pool = resource_new(r, &public_ipv4_pool_kind);

	value_set_string(pool->doc, "Description", "");
	value_open(pool->doc, "PoolAddressRanges");
	value_set_integer(pool->doc, "TotalAddressCount", 0);
	value_set_integer(pool->doc, "TotalAvailableAddressCount", 0);
	value_set_string(pool->doc, "NetworkBorderGroup", r->region);
	if (tag_specifications(r, pool, NULL) < 0)
		return -1;
	resource_insert(r, pool);
	value_set_string(r->out, "PoolId", pool->id);
	return 0;
}

ACTION(ec2, DeletePublicIpv4Pool)
{
	struct resource *pool = resource_of(r, &public_ipv4_pool_kind, "PoolId");

	if (!pool)
		return -1;
	resource_delete(r, pool);
	value_set_boolean(r->out, "ReturnValue", true);
	return 0;
}

ACTION(ec2, DescribePublicIpv4Pools)
{
	static const struct describe d = {
	        .kind = &public_ipv4_pool_kind, .list = "PublicIpv4Pools", .ids = "PoolIds"};

	return describe_run(r, &d);
}

ACTION(ec2, ProvisionPublicIpv4PoolCidr)
{
	if (!resource_of(r, &public_ipv4_pool_kind, "PoolId"))
		return -1;
	return request_fail(r, "InvalidIpamPoolId.NotFound",
	                    "The IPAM pool '%.100s' does not exist: there is no IPAM here",
	                    value_string(r->in, "IpamPoolId"));
}

ACTION(ec2, DeprovisionPublicIpv4PoolCidr)
{
	struct resource *pool = resource_of(r, &public_ipv4_pool_kind, "PoolId");

	if (!pool)
		return -1;
	return request_fail(r, "InvalidParameterValue", "The pool '%s' has not the CIDR block %.64s",
	                    pool->id, value_string(r->in, "Cidr"));
}
