/* Connections of VPC endpoints to endpoint services of one's own, and who is told of them. */
#include "region/describe.h"
#include "region/filter.h"
#include "region/link.h"
#include "region/tag.h"
#include "region/vpc_endpoint.h"
#include "region/vpc_endpoint_service.h"

#include <string.h>

/* ---- connections ---- */

static const char *const filters[] = {"ip-address-type", "IpAddressType", NULL};
static const struct resource_kind shown_kind = {
        .name = "vpc-endpoint-connection", .shape = "VpcEndpointConnection", .filters = filters};

/* An endpoint of any account that leads to the service. */
static struct resource *endpoint_of(struct request *r, const char *id, struct request *owner)
{
	struct query *q =
	        query_text(database_query(r->cloud->db, "SELECT account FROM resource WHERE id = $1"), id);
	bool found = query_row(q);

	*owner = *r;
	if (found)
		owner->account = arena_strdup(r->arena, query_column_text(q, 0));
	query_end(q);
	return found ? resource_find(owner, &vpc_endpoint_kind, id) : NULL;
}

static struct value *show(struct request *r, const struct resource *service, const struct resource *endpoint,
                          const char *owner)
{
	static const char *const same[] = {"NetworkLoadBalancerArns", "GatewayLoadBalancerArns"};
	struct value *v = value_new(r->arena, r->model, resource_shape(r->model, &shown_kind));

	value_set_string(v, "ServiceId", service->id);
	value_set_string(v, "VpcEndpointId", endpoint->id);
	value_set_string(v, "VpcEndpointOwner", owner);
	value_set_string(v, "VpcEndpointState", value_string(endpoint->doc, "State"));
	value_set_time(v, "CreationTimestamp", endpoint->created_ms);
	for (unsigned i = 0; i < ARRAY_SIZE(same); i++)
		if (value_count(value_get(service->doc, same[i])))
			value_put(v, same[i], value_copy(r->arena, value_get(service->doc, same[i])));
	value_set_string(v, "IpAddressType", "ipv4");
	value_set_string(v, "VpcEndpointConnectionId",
	                 arena_printf(r->arena, "vpce-con-%s", endpoint->id + strlen("vpce-")));
	return v;
}

ACTION(ec2, DescribeVpcEndpointConnections)
{
	struct value *list = value_open(r->out, "VpcEndpointConnections");
	struct resource **services;
	struct filter *filter;
	unsigned most;
	s64 after, at = 0;

	if (filter_read(r, &shown_kind, &filter) < 0 || describe_page(r, &most, &after) < 0)
		return -1;
	services = resource_list(r, &vpc_endpoint_configuration_kind, NULL);
	for (; *services; services++) {
		for (const char **ids = link_sources(r, (*services)->id, "endpoint-service"); *ids; ids++) {
			struct request owner;
			struct resource *endpoint = endpoint_of(r, *ids, &owner);
			struct value *v = endpoint ? show(r, *services, endpoint, owner.account) : NULL;

			if (!v || !filter_match(filter, v) || ++at <= after)
				continue;
			if (most && list->count == most) {
				describe_next(r, at - 1);
				return 0;
			}
			value_append_value(list, v);
		}
	}
	return 0;
}

static void unsuccessful(struct request *r, const char *id, const char *code, const char *message)
{
	struct value *v = value_append(value_open(r->out, "Unsuccessful"));

	value_set_string(v, "ResourceId", id);
	value_set_string(value_open(v, "Error"), "Code", code);
	value_set_string(value_open(v, "Error"), "Message", message);
}

/* Of those that lead to the service, each by itself. */
static int change(struct request *r, const char *to, const char *const *from)
{
	struct resource *service = resource_of(r, &vpc_endpoint_configuration_kind, "ServiceId");
	const struct value *ids = value_get(r->in, "VpcEndpointIds");

	if (!service)
		return -1;
	value_open(r->out, "Unsuccessful");
	for (unsigned i = 0; i < value_count(ids); i++) {
		const char *id = value_item(ids, i)->text, *leads = link_target(r, id, "endpoint-service");
		struct request owner;
		struct resource *endpoint =
		        leads && !strcmp(leads, service->id) ? endpoint_of(r, id, &owner) : NULL;
		const char *const *is = from;

		while (endpoint && *is && strcmp(*is, endpoint->state))
			is++;
		if (!resource_id_valid(vpc_endpoint_kind.prefix, id))
			return resource_get(r, &vpc_endpoint_kind, id) ? 0 : -1;
		if (!endpoint)
			return request_fail(r, "InvalidVpcEndpointId.NotFound",
			                    "The VPC endpoint '%s' does not lead to this service", id);
		if (!*is) {
			unsuccessful(r, id, "InvalidState", "The connection is in another state");
			continue;
		}
		endpoint->state = to;
		value_set_string(endpoint->doc, "State", to);
		resource_save(&owner, endpoint);
	}
	return 0;
}

ACTION(ec2, AcceptVpcEndpointConnections)
{
	return change(r, "available", (const char *const[]){"pendingAcceptance", "rejected", NULL});
}

ACTION(ec2, RejectVpcEndpointConnections)
{
	return change(r, "rejected", (const char *const[]){"pendingAcceptance", "available", NULL});
}

/* ---- notifications ---- */

RESOURCE_KIND(connection_notification_kind) = {
        .name = "vpc-endpoint-connection-notification",
        .prefix = "vpce-nfn-",
        .shape = "ConnectionNotification",
        .id = "ConnectionNotificationId",
        .noun = "ConnectionNotificationId",
        .malformed = "InvalidConnectionNotification",
        .not_found = "InvalidConnectionNotification",
};

/* What is said of ConnectionNotificationArn and ConnectionEvents. */
static int read_notification(struct request *r, struct value *doc)
{
	static const char *const known[] = {"Accept", "Connect", "Delete", "Reject"};
	const struct value *events = value_get(r->in, "ConnectionEvents");
	const char *arn = value_string(r->in, "ConnectionNotificationArn"), *head = "arn:aws:sns:";
	unsigned k;

	if (arn && (strncmp(arn, head, strlen(head)) || strlen(arn) > 400))
		return request_fail(r, "InvalidParameter", "The topic '%.200s' is not an ARN of SNS", arn);
	if (arn)
		value_set_string(doc, "ConnectionNotificationArn", arn);
	if (!value_count(events))
		return 0;
	value_remove(doc, "ConnectionEvents");
	for (unsigned i = 0; i < events->count; i++) {
		const char *event = value_item(events, i)->text;

		for (k = 0; k < ARRAY_SIZE(known) && strcmp(known[k], event);)
			k++;
		if (k == ARRAY_SIZE(known))
			return request_fail(r, "InvalidParameter",
			                    "Value (%.64s) for parameter connectionEvents is invalid", event);
		if (!value_has_string(value_open(doc, "ConnectionEvents"), event))
			value_append_string(value_open(doc, "ConnectionEvents"), event);
	}
	return 0;
}

ACTION(ec2, CreateVpcEndpointConnectionNotification)
{
	bool service = value_get(r->in, "ServiceId"), endpoint = value_get(r->in, "VpcEndpointId");
	struct resource *n;

	if (service == endpoint)
		return request_fail(r, service ? "InvalidParameterCombination" : "MissingParameter",
		                    "Either ServiceId or VpcEndpointId must be specified");
	if (!(service ? resource_of(r, &vpc_endpoint_configuration_kind, "ServiceId")
	              : resource_of(r, &vpc_endpoint_kind, "VpcEndpointId")))
		return -1;
	n = resource_new(r, &connection_notification_kind);
	value_set_string(n->doc, "ServiceId", value_string(r->in, "ServiceId"));
	value_set_string(n->doc, "VpcEndpointId", value_string(r->in, "VpcEndpointId"));
	value_set_string(n->doc, "ConnectionNotificationType", "Topic");
	value_set_string(n->doc, "ConnectionNotificationState", "Enabled");
	if (read_notification(r, n->doc) < 0)
		return -1;
	resource_insert(r, n);
	value_put(r->out, "ConnectionNotification", n->doc);
	value_set_string(r->out, "ClientToken", value_string(r->in, "ClientToken"));
	return 0;
}

ACTION(ec2, ModifyVpcEndpointConnectionNotification)
{
	struct resource *n = resource_of(r, &connection_notification_kind, "ConnectionNotificationId");

	if (!n || read_notification(r, n->doc) < 0)
		return -1;
	resource_save(r, n);
	value_set_boolean(r->out, "ReturnValue", true);
	return 0;
}

ACTION(ec2, DeleteVpcEndpointConnectionNotifications)
{
	const struct value *ids = value_get(r->in, "ConnectionNotificationIds");

	value_open(r->out, "Unsuccessful");
	for (unsigned i = 0; i < value_count(ids); i++) {
		struct resource *n = resource_get(r, &connection_notification_kind, value_item(ids, i)->text);

		if (n) {
			resource_delete(r, n);
			continue;
		}
		unsuccessful(r, value_item(ids, i)->text, r->fault->code, r->fault->message);
		r->fault->status = 0;
	}
	return 0;
}

static bool wanted(struct request *r, const struct resource *n)
{
	const char *id = value_string(r->in, "ConnectionNotificationId");

	return !id || !strcmp(id, n->id);
}

ACTION(ec2, DescribeVpcEndpointConnectionNotifications)
{
	static const struct describe d = {
	        .kind = &connection_notification_kind, .list = "ConnectionNotificationSet", .accept = wanted};

	if (value_get(r->in, "ConnectionNotificationId") &&
	    !resource_of(r, &connection_notification_kind, "ConnectionNotificationId"))
		return -1;
	return describe_run(r, &d);
}
