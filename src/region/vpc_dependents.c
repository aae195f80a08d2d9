#include "region/vpc_dependents.h"
#include "region/egress_only_internet_gateway.h"
#include "region/internet_gateway.h"
#include "region/nat_gateway.h"
#include "region/network_acl.h"
#include "region/route_table.h"
#include "region/security_group.h"
#include "region/security_group_rule.h"
#include "region/subnet.h"
#include "region/vpc_endpoint.h"
#include "region/vpc_peering.h"

/* Kinds that live in a VPC, and how many of each it has from the start. */
static const struct {
	const struct resource_kind *kind;
	unsigned own;
} kinds[] = {{&subnet_kind, 0},      {&internet_gateway_kind, 0}, {&egress_only_internet_gateway_kind, 0},
             {&nat_gateway_kind, 0}, {&vpc_endpoint_kind, 0},     {&security_group_kind, 1},
             {&network_acl_kind, 1}, {&route_table_kind, 1}};

bool vpc_has_dependents(struct request *r, const char *vpc)
{
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
		if (resource_count(r, kinds[i].kind, vpc) > kinds[i].own)
			return true;
	return false;
}

void vpc_dependents_delete(struct request *r, const char *vpc)
{
	vpc_peering_vpc_gone(r, vpc);
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		for (struct resource **list = resource_list(r, kinds[i].kind, vpc); *list; list++) {
			struct resource **rules = resource_list(r, &security_group_rule_kind, (*list)->id);

			for (; *rules; rules++)
				resource_delete(r, *rules);
			resource_delete(r, *list);
		}
	}
}
