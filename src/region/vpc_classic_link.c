/* ClassicLink, for tools that ask for it with each VPC: there is no EC2-Classic to link to. */
#include "region/describe.h"
#include "region/vpc.h"

static const struct resource_kind shown = {.name = "vpc", .shape = "VpcClassicLink"};
static const struct resource_kind dns_shown = {.name = "vpc", .shape = "ClassicLinkDnsSupport"};

/* fn: shows a VPC. -1 with r->fault. */
static int each_vpc(struct request *r, const struct value *ids,
                    void (*fn)(struct request *, struct resource *))
{
	struct resource **list;

	for (unsigned i = 0; i < value_count(ids); i++) {
		struct resource *vpc = resource_get(r, &vpc_kind, value_item(ids, i)->text);

		if (!vpc)
			return -1;
		fn(r, vpc);
	}
	if (!value_count(ids))
		for (list = resource_list(r, &vpc_kind, NULL); *list; list++)
			fn(r, *list);
	return 0;
}

static void show_link(struct request *r, struct resource *vpc)
{
	struct value *v = value_new(r->arena, r->model, resource_shape(r->model, &shown));

	value_set_string(v, "VpcId", vpc->id);
	value_set_boolean(v, "ClassicLinkEnabled", false);
	value_append_value(value_open(r->out, "Vpcs"), v);
}

static void show_dns(struct request *r, struct resource *vpc)
{
	struct value *v = value_new(r->arena, r->model, resource_shape(r->model, &dns_shown));

	value_set_string(v, "VpcId", vpc->id);
	value_set_boolean(v, "ClassicLinkDnsSupported", false);
	value_append_value(value_open(r->out, "Vpcs"), v);
}

ACTION(ec2, DescribeVpcClassicLink)
{
	return each_vpc(r, value_get(r->in, "VpcIds"), show_link);
}

ACTION(ec2, DescribeVpcClassicLinkDnsSupport)
{
	return each_vpc(r, value_get(r->in, "VpcIds"), show_dns);
}
