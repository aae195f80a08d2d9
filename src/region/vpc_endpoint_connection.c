/* Connections to endpoint services of one's own. Those need a load balancer, so that there are none: their
 * lists are empty, and an id that is asked for does not exist. */
#include "region/describe.h"

static int none(struct request *r, const char *list)
{
	unsigned most;
	s64 after;

	value_open(r->out, list);
	return describe_page(r, &most, &after);
}

static int no_service(struct request *r, const char *id)
{
	return request_fail(r, "InvalidVpcEndpointServiceId.NotFound",
	                    "The VpcEndpointService Id '%.100s' does not exist", id);
}

ACTION(ec2, DescribeVpcEndpointServiceConfigurations)
{
	const struct value *ids = value_get(r->in, "ServiceIds");

	if (value_count(ids))
		return no_service(r, value_item(ids, 0)->text);
	return none(r, "ServiceConfigurations");
}

ACTION(ec2, DescribeVpcEndpointConnections)
{
	return none(r, "VpcEndpointConnections");
}

ACTION(ec2, DescribeVpcEndpointConnectionNotifications)
{
	const char *id = value_string(r->in, "ConnectionNotificationId");

	if (id)
		return request_fail(r, "InvalidConnectionNotification",
		                    "The connection notification '%.100s' does not exist", id);
	return none(r, "ConnectionNotificationSet");
}

ACTION(ec2, DescribeVpcEndpointServicePermissions)
{
	return no_service(r, value_string(r->in, "ServiceId"));
}

ACTION(ec2, AcceptVpcEndpointConnections)
{
	return no_service(r, value_string(r->in, "ServiceId"));
}

ACTION(ec2, RejectVpcEndpointConnections)
{
	return no_service(r, value_string(r->in, "ServiceId"));
}

ACTION(ec2, ModifyVpcEndpointServiceConfiguration)
{
	return no_service(r, value_string(r->in, "ServiceId"));
}

ACTION(ec2, ModifyVpcEndpointServicePermissions)
{
	return no_service(r, value_string(r->in, "ServiceId"));
}
