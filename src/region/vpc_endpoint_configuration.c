/* Configurations of endpoint services, and whom they allow. */
#include "region/describe.h"
#include "region/link.h"
#include "region/tag.h"
#include "region/vpc_endpoint.h"
#include "region/vpc_endpoint_service.h"

#include <ctype.h>
#include <string.h>

enum { BALANCERS_MAX = 50, PRINCIPALS_MAX = 1000 };

static const char *const filters[] = {"service-state", "ServiceState", NULL};

RESOURCE_KIND(vpc_endpoint_configuration_kind) = {
        .name = "vpc-endpoint-service",
        .prefix = "vpce-svc-",
        .shape = "ServiceConfiguration",
        .id = "ServiceId",
        .noun = "VpcEndpointServiceId",
        .filters = filters,
};

RESOURCE_KIND(vpc_endpoint_permission_kind) = {
        .name = "vpc-endpoint-service-permission",
        .prefix = "vpce-svc-perm-",
        .shape = "AllowedPrincipal",
        .id = "ServicePermissionId",
        .noun = "VpcEndpointServicePermissionId",
};

static struct resource *service_of(struct request *r)
{
	return resource_of(r, &vpc_endpoint_configuration_kind, "ServiceId");
}

/* ---- who may connect ---- */

/* "*", "arn:aws:iam::ACCOUNT:root" and others of that account. */
static bool speaks_for(const char *principal, const char *account)
{
	static const char head[] = "arn:aws:iam::";

	return !strcmp(principal, "*") || (!strncmp(principal, head, strlen(head)) &&
	                                   !strncmp(principal + strlen(head), account, strlen(account)));
}

static bool may_connect(struct request *r, struct request *owner, const char *service)
{
	struct resource **list;

	if (!strcmp(owner->account, r->account))
		return true;
	list = resource_list(owner, &vpc_endpoint_permission_kind, service);
	for (unsigned i = 0; list[i]; i++)
		if (speaks_for(value_string(list[i]->doc, "Principal"), r->account))
			return true;
	return false;
}

struct resource *vpc_endpoint_service_named(struct request *r, const char *name)
{
	const char *head = arena_printf(r->arena, "com.amazonaws.vpce.%s.", r->region);
	struct request owner = *r;
	struct query *q;
	bool found;

	if (strncmp(name, head, strlen(head)))
		return NULL;
	name += strlen(head);
	q = database_query(r->cloud->db, "SELECT account FROM resource WHERE id = $1 AND kind = "
	                                 "'vpc-endpoint-service' AND region = $2");
	found = query_row(query_text(query_text(q, name), r->region));
	if (found)
		owner.account = arena_strdup(r->arena, query_column_text(q, 0));
	query_end(q);
	return found && may_connect(r, &owner, name)
	               ? resource_find(&owner, &vpc_endpoint_configuration_kind, name)
	               : NULL;
}

void vpc_endpoint_service_connect(struct request *r, struct resource *endpoint,
                                  const struct resource *service)
{
	const char *state =
	        value_boolean(service->doc, "AcceptanceRequired", true) ? "pendingAcceptance" : "available";

	link_add(r, endpoint->id, "endpoint-service", service->id);
	endpoint->state = state;
	value_set_string(endpoint->doc, "State", state);
}

/* ---- what a configuration has ---- */

/* arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/net/NAME/ID */
static int check_balancers(struct request *r, const struct value *list, const char *type)
{
	const char *head = arena_printf(r->arena, "arn:aws:elasticloadbalancing:%s:%s:loadbalancer/%s/",
	                                r->region, r->account, type);

	for (unsigned i = 0; i < value_count(list); i++)
		if (strncmp(value_item(list, i)->text, head, strlen(head)) ||
		    strlen(value_item(list, i)->text) > strlen(head) + 80)
			return request_fail(r, "InvalidParameter",
			                    "The load balancer '%.200s' is not valid: expecting %s…",
			                    value_item(list, i)->text, head);
	return 0;
}

static int check_types(struct request *r, const struct value *list)
{
	for (unsigned i = 0; i < value_count(list); i++)
		if (strcmp(value_item(list, i)->text, "ipv4") && strcmp(value_item(list, i)->text, "ipv6"))
			return request_fail(r, "InvalidParameter",
			                    "Value (%.64s) for parameter supportedIpAddressTypes is invalid",
			                    value_item(list, i)->text);
	return 0;
}

static int check_dns_name(struct request *r, const char *name)
{
	bool valid = !name || (strchr(name, '.') && *name != '.' && strlen(name) <= 253);

	for (const char *p = name; valid && p && *p; p++)
		valid = isalnum((unsigned char)*p) || strchr("-.*", *p);
	return valid ? 0
	             : request_fail(r, "InvalidParameter",
	                            "Value (%.64s) for parameter privateDnsName is invalid", name);
}

/* Its owner shows that the domain is theirs, by a record of it. */
static void set_dns_name(struct request *r, struct value *doc, const char *name)
{
	struct value *v;
	char hex[25];

	if (!name)
		return;
	value_set_string(doc, "PrivateDnsName", name);
	value_remove(doc, "PrivateDnsNameConfiguration");
	v = value_open(doc, "PrivateDnsNameConfiguration");
	cloud_random_hex(hex, 20);
	value_set_string(v, "State", "pendingVerification");
	value_set_string(v, "Type", "TXT");
	value_set_string(v, "Value", arena_printf(r->arena, "vpce:%s", hex));
	cloud_random_hex(hex, 10);
	value_set_string(v, "Name", arena_printf(r->arena, "_%s", hex));
}

static void add_texts(struct value *to, const struct value *from)
{
	for (unsigned i = 0; i < value_count(from); i++)
		if (!value_has_string(to, value_item(from, i)->text))
			value_append_string(to, value_item(from, i)->text);
}

static void remove_texts(struct value *of, const struct value *these)
{
	for (unsigned i = value_count(of); i-- > 0;)
		if (value_has_string(these, value_item(of, i)->text))
			value_delete_item(of, i);
}

/* One kind of load balancers, and of them some. */
static int check_whole(struct request *r, const struct value *doc)
{
	unsigned network = value_count(value_get(doc, "NetworkLoadBalancerArns")),
	         gateway = value_count(value_get(doc, "GatewayLoadBalancerArns"));

	if (!network == !gateway)
		return request_fail(r, network ? "InvalidParameterCombination" : "MissingParameter",
		                    "A service has either network load balancers or gateway load balancers");
	if (network + gateway > BALANCERS_MAX)
		return request_fail(r, "InvalidParameter", "A service has at most %d load balancers",
		                    BALANCERS_MAX);
	if (!value_count(value_get(doc, "SupportedIpAddressTypes")))
		return request_fail(r, "InvalidParameter", "A service has at least one type of IP address");
	return 0;
}

static void describe_service(struct request *r, struct resource *service)
{
	struct value *doc = service->doc;
	bool gateway = value_count(value_get(doc, "GatewayLoadBalancerArns")) != 0;

	value_set_string(value_append(value_open(doc, "ServiceType")), "ServiceType",
	                 gateway ? "GatewayLoadBalancer" : "Interface");
	value_set_string(doc, "ServiceName",
	                 arena_printf(r->arena, "com.amazonaws.vpce.%s.%s", r->region, service->id));
	value_set_string(doc, "ServiceState", "Available");
	for (char letter = 'a'; letter < 'a' + REGION_ZONES; letter++)
		value_append_string(value_open(doc, "AvailabilityZones"),
		                    arena_printf(r->arena, "%s%c", r->region, letter));
	value_set_boolean(doc, "ManagesVpcEndpoints", false);
	if (!gateway)
		value_append_string(
		        value_open(doc, "BaseEndpointDnsNames"),
		        arena_printf(r->arena, "%s.%s.vpce.amazonaws.com", service->id, r->region));
}

/* ---- configurations ---- */

ACTION(ec2, CreateVpcEndpointServiceConfiguration)
{
	const struct value *network = value_get(r->in, "NetworkLoadBalancerArns"),
	                   *gateway = value_get(r->in, "GatewayLoadBalancerArns"),
	                   *types = value_get(r->in, "SupportedIpAddressTypes");
	const char *dns = value_string(r->in, "PrivateDnsName");
	struct resource *service;
	struct value *doc;

	if (check_balancers(r, network, "net") < 0 || check_balancers(r, gateway, "gwy") < 0 ||
	    check_types(r, types) < 0 || check_dns_name(r, dns) < 0)
		return -1;
	service = resource_new(r, &vpc_endpoint_configuration_kind);
	doc = service->doc;
	value_set_boolean(doc, "AcceptanceRequired", value_boolean(r->in, "AcceptanceRequired", true));
	if (value_count(network))
		add_texts(value_open(doc, "NetworkLoadBalancerArns"), network);
	if (value_count(gateway))
		add_texts(value_open(doc, "GatewayLoadBalancerArns"), gateway);
	add_texts(value_open(doc, "SupportedIpAddressTypes"), types);
	if (!value_count(types))
		value_append_string(value_open(doc, "SupportedIpAddressTypes"), "ipv4");
	if (check_whole(r, doc) < 0)
		return -1;
	describe_service(r, service);
	set_dns_name(r, doc, dns);
	if (tag_specifications(r, service, NULL) < 0)
		return -1;
	resource_insert(r, service);
	value_put(r->out, "ServiceConfiguration", doc);
	value_set_string(r->out, "ClientToken", value_string(r->in, "ClientToken"));
	return 0;
}

ACTION(ec2, ModifyVpcEndpointServiceConfiguration)
{
	static const struct {
		const char *member, *add, *remove;
	} lists[] = {
	        {"NetworkLoadBalancerArns", "AddNetworkLoadBalancerArns", "RemoveNetworkLoadBalancerArns"},
	        {"GatewayLoadBalancerArns", "AddGatewayLoadBalancerArns", "RemoveGatewayLoadBalancerArns"},
	        {"SupportedIpAddressTypes", "AddSupportedIpAddressTypes", "RemoveSupportedIpAddressTypes"}};
	struct resource *service = service_of(r);
	const char *dns = value_string(r->in, "PrivateDnsName");
	bool remove_dns = value_boolean(r->in, "RemovePrivateDnsName", false);

	if (!service || check_balancers(r, value_get(r->in, "AddNetworkLoadBalancerArns"), "net") < 0 ||
	    check_balancers(r, value_get(r->in, "AddGatewayLoadBalancerArns"), "gwy") < 0 ||
	    check_types(r, value_get(r->in, "AddSupportedIpAddressTypes")) < 0 || check_dns_name(r, dns) < 0)
		return -1;
	if (dns && remove_dns)
		return request_fail(r, "InvalidParameterCombination",
		                    "PrivateDnsName and RemovePrivateDnsName cannot be used together");
	for (unsigned i = 0; i < ARRAY_SIZE(lists); i++) {
		if (value_count(value_get(r->in, lists[i].add)))
			add_texts(value_open(service->doc, lists[i].member), value_get(r->in, lists[i].add));
		remove_texts(value_get(service->doc, lists[i].member), value_get(r->in, lists[i].remove));
	}
	if (check_whole(r, service->doc) < 0)
		return -1;
	if (value_get(r->in, "AcceptanceRequired"))
		value_set_boolean(service->doc, "AcceptanceRequired",
		                  value_boolean(r->in, "AcceptanceRequired", true));
	set_dns_name(r, service->doc, dns);
	if (remove_dns) {
		value_remove(service->doc, "PrivateDnsName");
		value_remove(service->doc, "PrivateDnsNameConfiguration");
	}
	resource_save(r, service);
	value_set_boolean(r->out, "Return", true);
	return 0;
}

ACTION(ec2, DescribeVpcEndpointServiceConfigurations)
{
	static const struct describe d = {.kind = &vpc_endpoint_configuration_kind,
	                                  .list = "ServiceConfigurations",
	                                  .ids = "ServiceIds"};

	return describe_run(r, &d);
}

static void unsuccessful(struct request *r, const char *id)
{
	struct value *v = value_append(value_open(r->out, "Unsuccessful"));

	value_set_string(v, "ResourceId", id);
	value_set_string(value_open(v, "Error"), "Code", r->fault->code);
	value_set_string(value_open(v, "Error"), "Message", r->fault->message);
	r->fault->status = 0;
}

static int delete_service(struct request *r, const char *id)
{
	struct resource *service = resource_get(r, &vpc_endpoint_configuration_kind, id), **list;

	if (!service)
		return -1;
	for (const char **ends = link_sources(r, id, "endpoint-service"); *ends; ends++) {
		struct query *q = query_text(
		        database_query(r->cloud->db, "SELECT 1 FROM resource WHERE id = $1 AND state IN "
		                                     "('available', 'pendingAcceptance')"),
		        *ends);
		bool connected = query_row(q);

		query_end(q);
		if (connected)
			return request_fail(r, "ExistingVpcEndpointConnections",
			                    "Service %s has existing active VPC Endpoint connections!", id);
	}
	list = resource_list(r, &vpc_endpoint_permission_kind, id);
	for (unsigned i = 0; list[i]; i++)
		resource_delete(r, list[i]);
	resource_delete(r, service);
	return 0;
}

ACTION(ec2, DeleteVpcEndpointServiceConfigurations)
{
	const struct value *ids = value_get(r->in, "ServiceIds");

	value_open(r->out, "Unsuccessful");
	for (unsigned i = 0; i < value_count(ids); i++)
		if (delete_service(r, value_item(ids, i)->text) < 0)
			unsuccessful(r, value_item(ids, i)->text);
	return 0;
}

ACTION(ec2, ModifyVpcEndpointServicePayerResponsibility)
{
	struct resource *service = service_of(r);

	if (!service)
		return -1;
	value_set_string(service->doc, "PayerResponsibility", value_string(r->in, "PayerResponsibility"));
	resource_save(r, service);
	value_set_boolean(r->out, "ReturnValue", true);
	return 0;
}

ACTION(ec2, StartVpcEndpointServicePrivateDnsVerification)
{
	struct resource *service = service_of(r);

	if (!service)
		return -1;
	if (!value_get(service->doc, "PrivateDnsName"))
		return request_fail(r, "InvalidParameter", "The service '%s' has no private DNS name",
		                    service->id);
	return request_fail(r, "UnsupportedOperation", "Records of public domains are not looked up here");
}

/* ---- permissions ---- */

static const char *principal_type(const char *text)
{
	static const char head[] = "arn:aws:iam::";

	if (!strcmp(text, "*"))
		return "All";
	if (strncmp(text, head, strlen(head)) || strspn(text + strlen(head), "0123456789") != 12 ||
	    strlen(text) > 300)
		return NULL;
	text += strlen(head) + 12;
	return !strcmp(text, ":root")                   ? "Account"
	       : !strncmp(text, ":user/", 6) && text[6] ? "User"
	       : !strncmp(text, ":role/", 6) && text[6] ? "Role"
	                                                : NULL;
}

static struct resource *permission_of(struct resource **list, const char *principal)
{
	for (; *list; list++)
		if (!strcmp(value_string((*list)->doc, "Principal"), principal))
			return *list;
	return NULL;
}

static int allow(struct request *r, const struct resource *service, const char *principal)
{
	const char *type = principal_type(principal);
	struct resource *permission;

	if (!type)
		return request_fail(r, "InvalidPrincipal", "The principal '%.200s' is not valid", principal);
	permission = resource_new(r, &vpc_endpoint_permission_kind);
	permission->parent = service->id;
	value_set_string(permission->doc, "PrincipalType", type);
	value_set_string(permission->doc, "Principal", principal);
	value_set_string(permission->doc, "ServiceId", service->id);
	resource_insert(r, permission);
	value_set_string(value_append(value_open(r->out, "AddedPrincipals")), "Principal", principal);
	permission->doc = value_item(value_get(r->out, "AddedPrincipals"),
	                             value_count(value_get(r->out, "AddedPrincipals")) - 1);
	value_set_string(permission->doc, "PrincipalType", type);
	value_set_string(permission->doc, "ServicePermissionId", permission->id);
	value_set_string(permission->doc, "ServiceId", service->id);
	return 0;
}

ACTION(ec2, ModifyVpcEndpointServicePermissions)
{
	const struct value *added = value_get(r->in, "AddAllowedPrincipals"),
	                   *removed = value_get(r->in, "RemoveAllowedPrincipals");
	struct resource *service = service_of(r), **list, *known;

	if (!service)
		return -1;
	list = resource_list(r, &vpc_endpoint_permission_kind, service->id);
	if (value_count(added) > PRINCIPALS_MAX)
		return request_fail(r, "InvalidParameter", "A service allows at most %d principals",
		                    PRINCIPALS_MAX);
	for (unsigned i = 0; i < value_count(added); i++)
		if (!permission_of(list, value_item(added, i)->text) &&
		    allow(r, service, value_item(added, i)->text) < 0)
			return -1;
	for (unsigned i = 0; i < value_count(removed); i++)
		if ((known = permission_of(list, value_item(removed, i)->text)))
			resource_delete(r, known);
	value_set_boolean(r->out, "ReturnValue", true);
	return 0;
}

static bool of_service(struct request *r, const struct resource *permission)
{
	return !strcmp(permission->parent, value_string(r->in, "ServiceId"));
}

ACTION(ec2, DescribeVpcEndpointServicePermissions)
{
	static const struct describe d = {
	        .kind = &vpc_endpoint_permission_kind, .list = "AllowedPrincipals", .accept = of_service};

	return service_of(r) ? describe_run(r, &d) : -1;
}
