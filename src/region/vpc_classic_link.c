/* ClassicLink, for tools that ask for it with each VPC: there is no EC2-Classic to link to. */
#include "region/describe.h"
#include "region/filter.h"
#include "region/instance.h"
#include "region/security_group.h"
#include "region/tag.h"
#include "region/vpc.h"

static const char *const filters[] = {"is-classic-link-enabled", "ClassicLinkEnabled", NULL};
static const struct resource_kind shown = {.name = "vpc", .shape = "VpcClassicLink", .filters = filters};
static const struct resource_kind dns_shown = {.name = "vpc", .shape = "ClassicLinkDnsSupport"};

struct listing {
	struct request *request;
	const struct filter *filter;
	struct value *shown;
};

static bool show_link(void *ctx, struct resource *vpc)
{
	struct listing *l = ctx;
	struct request *r = l->request;

	l->shown = value_new(r->arena, r->model, resource_shape(r->model, &shown));
	value_set_string(l->shown, "VpcId", vpc->id);
	value_set_boolean(l->shown, "ClassicLinkEnabled", false);
	if (tag_list(vpc->doc))
		value_put(l->shown, "Tags", value_copy(r->arena, tag_list(vpc->doc)));
	return filter_match(l->filter, l->shown);
}

static void add_link(void *ctx, struct resource *vpc)
{
	struct listing *l = ctx;

	value_append_value(value_open(l->request->out, "Vpcs"), l->shown);
}

static bool show_dns(void *ctx, struct resource *vpc)
{
	struct listing *l = ctx;
	struct request *r = l->request;

	l->shown = value_new(r->arena, r->model, resource_shape(r->model, &dns_shown));
	value_set_string(l->shown, "VpcId", vpc->id);
	value_set_boolean(l->shown, "ClassicLinkDnsSupported", false);
	return true;
}

ACTION(ec2, DescribeVpcClassicLink)
{
	struct listing l = {.request = r};
	struct filter *filter;

	value_open(r->out, "Vpcs");
	if (filter_read(r, &shown, &filter) < 0)
		return -1;
	l.filter = filter;
	return describe_each(
	        r,
	        &(struct describe_each){
	                .kind = &vpc_kind, .ids = "VpcIds", .match = show_link, .add = add_link, .ctx = &l});
}

ACTION(ec2, DescribeVpcClassicLinkDnsSupport)
{
	struct listing l = {.request = r};

	value_open(r->out, "Vpcs");
	return describe_each(
	        r,
	        &(struct describe_each){
	                .kind = &vpc_kind, .ids = "VpcIds", .match = show_dns, .add = add_link, .ctx = &l});
}

/* ---- what there is not any more ---- */

static int retired(struct request *r)
{
	return request_fail(
	        r, "UnsupportedOperation",
	        "The functionality you requested is not available: EC2-Classic, which ClassicLink "
	        "linked VPCs to, is retired");
}

static int retired_of_vpc(struct request *r)
{
	return resource_of(r, &vpc_kind, "VpcId") ? retired(r) : -1;
}

static int retired_of_instance(struct request *r)
{
	return resource_of(r, &instance_kind, "InstanceId") ? retired_of_vpc(r) : -1;
}

ACTION(ec2, AttachClassicLinkVpc)
{
	const struct value *groups = value_get(r->in, "Groups");

	if (!resource_of(r, &instance_kind, "InstanceId") || !resource_of(r, &vpc_kind, "VpcId"))
		return -1;
	for (unsigned i = 0; i < value_count(groups); i++)
		if (!resource_get(r, &security_group_kind, value_item(groups, i)->text))
			return -1;
	return retired(r);
}

ACTION(ec2, DetachClassicLinkVpc)
{
	return retired_of_instance(r);
}

ACTION(ec2, EnableVpcClassicLink)
{
	return retired_of_vpc(r);
}

ACTION(ec2, DisableVpcClassicLink)
{
	return retired_of_vpc(r);
}

ACTION(ec2, EnableVpcClassicLinkDnsSupport)
{
	return retired_of_vpc(r);
}

ACTION(ec2, DisableVpcClassicLinkDnsSupport)
{
	return retired_of_vpc(r);
}

static bool none(void *ctx, struct resource *instance)
{
	return false;
}

ACTION(ec2, DescribeClassicLinkInstances)
{
	value_open(r->out, "Instances");
	return describe_each(
	        r, &(struct describe_each){.kind = &instance_kind, .ids = "InstanceIds", .match = none});
}
