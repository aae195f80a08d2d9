/* DescribeAccountAttributes. */
#include "region/vpc.h"

#include <string.h>

static void add(struct value *list, const struct value *wanted, const char *name, const char *text)
{
	struct value *item;

	if (value_count(wanted) && !value_has_string(wanted, name))
		return;
	item = value_append(list);
	value_set_string(item, "AttributeName", name);
	item = value_append(value_open(item, "AttributeValues"));
	value_set_string(item, "AttributeValue", text);
}

ACTION(ec2, DescribeAccountAttributes)
{
	const struct value *wanted = value_get(r->in, "AttributeNames");
	struct value *list = value_open(r->out, "AccountAttributes");
	const struct resource *vpc = vpc_default(r);

	add(list, wanted, "supported-platforms", "VPC");
	add(list, wanted, "default-vpc", vpc ? vpc->id : "none");
	/* Limits of this region: address.c, security_group.c. */
	add(list, wanted, "vpc-max-security-groups-per-interface", "16");
	add(list, wanted, "vpc-max-elastic-ips", "5000");
	add(list, wanted, "max-elastic-ips", "5000");
	return 0;
}
