/* ClassicLink, for tools that ask for it with each VPC: there is no EC2-Classic to link to. */
#include "region/describe.h"
#include "region/vpc.h"

static const struct resource_kind shown = {.name = "vpc", .shape = "VpcClassicLink"};
static const struct resource_kind dns_shown = {.name = "vpc", .shape = "ClassicLinkDnsSupport"};

static bool all(void *ctx, struct resource *vpc)
{
	return true;
}

static void show_link(void *ctx, struct resource *vpc)
{
	struct request *r = ctx;
	struct value *v = value_new(r->arena, r->model, resource_shape(r->model, &shown));

	value_set_string(v, "VpcId", vpc->id);
	value_set_boolean(v, "ClassicLinkEnabled", false);
	value_append_value(value_open(r->out, "Vpcs"), v);
}

static void show_dns(void *ctx, struct resource *vpc)
{
	struct request *r = ctx;
	struct value *v = value_new(r->arena, r->model, resource_shape(r->model, &dns_shown));

	value_set_string(v, "VpcId", vpc->id);
	value_set_boolean(v, "ClassicLinkDnsSupported", false);
	value_append_value(value_open(r->out, "Vpcs"), v);
}

ACTION(ec2, DescribeVpcClassicLink)
{
	return describe_each(
	        r, &(struct describe_each){
	                   .kind = &vpc_kind, .ids = "VpcIds", .match = all, .add = show_link, .ctx = r});
}

ACTION(ec2, DescribeVpcClassicLinkDnsSupport)
{
	return describe_each(
	        r, &(struct describe_each){
	                   .kind = &vpc_kind, .ids = "VpcIds", .match = all, .add = show_dns, .ctx = r});
}
