/* Formats of ids (EC2 User Guide, "Resource IDs"): all are long, since the time to choose is over. */
#include "region/action.h"

#include <string.h>

static const char *const resources[] = {"bundle",
                                        "conversion-task",
                                        "customer-gateway",
                                        "dhcp-options",
                                        "elastic-ip-allocation",
                                        "elastic-ip-association",
                                        "export-task",
                                        "flow-log",
                                        "image",
                                        "import-task",
                                        "instance",
                                        "internet-gateway",
                                        "network-acl",
                                        "network-acl-association",
                                        "network-interface",
                                        "network-interface-attachment",
                                        "prefix-list",
                                        "reservation",
                                        "route-table",
                                        "route-table-association",
                                        "security-group",
                                        "snapshot",
                                        "subnet",
                                        "subnet-cidr-block-association",
                                        "volume",
                                        "vpc",
                                        "vpc-cidr-block-association",
                                        "vpc-endpoint",
                                        "vpc-peering-connection",
                                        "vpn-connection",
                                        "vpn-gateway"};

static int check_resource(struct request *r, const char *name, bool all)
{
	if (!name || (all && (!strcmp(name, "all-current") || !strcmp(name, "all"))))
		return 0;
	for (unsigned i = 0; i < ARRAY_SIZE(resources); i++)
		if (!strcmp(resources[i], name))
			return 0;
	return request_fail(r, "InvalidParameterValue", "Value (%.64s) for parameter resource is invalid",
	                    name);
}

static int list(struct request *r, const char *only)
{
	struct value *statuses = value_open(r->out, "Statuses");

	if (check_resource(r, only, false) < 0)
		return -1;
	for (unsigned i = 0; i < ARRAY_SIZE(resources); i++) {
		struct value *v;

		if (only && strcmp(only, resources[i]))
			continue;
		v = value_append(statuses);
		value_set_string(v, "Resource", resources[i]);
		value_set_boolean(v, "UseLongIds", true);
	}
	return 0;
}

static int check_principal(struct request *r)
{
	const char *arn = value_string(r->in, "PrincipalArn");
	const char *head = "arn:aws:iam::", *at = arn + strlen(head);

	if (!strcmp(arn, "all") ||
	    (!strncmp(arn, head, strlen(head)) && strspn(at, "0123456789") == 12 && at[12] == ':' && at[13]))
		return 0;
	return request_fail(r, "InvalidParameterValue",
	                    "Value (%.100s) for parameter principalArn is invalid", arn);
}

static int modify(struct request *r)
{
	if (check_resource(r, value_string(r->in, "Resource"), true) < 0)
		return -1;
	if (!value_boolean(r->in, "UseLongIds", true))
		return request_fail(r, "InvalidParameterValue",
		                    "Value (false) for parameter useLongIds is invalid: all ids are long");
	return 0;
}

ACTION(ec2, DescribeIdFormat)
{
	return list(r, value_string(r->in, "Resource"));
}

ACTION(ec2, DescribeIdentityIdFormat)
{
	return check_principal(r) < 0 ? -1 : list(r, value_string(r->in, "Resource"));
}

ACTION(ec2, DescribeAggregateIdFormat)
{
	value_set_boolean(r->out, "UseLongIdsAggregated", true);
	return list(r, NULL);
}

/* Nobody has chosen otherwise. */
ACTION(ec2, DescribePrincipalIdFormat)
{
	const struct value *names = value_get(r->in, "Resources");

	for (unsigned i = 0; i < value_count(names); i++)
		if (check_resource(r, value_item(names, i)->text, false) < 0)
			return -1;
	value_open(r->out, "Principals");
	return 0;
}

ACTION(ec2, ModifyIdFormat)
{
	return modify(r);
}

ACTION(ec2, ModifyIdentityIdFormat)
{
	return check_principal(r) < 0 ? -1 : modify(r);
}
