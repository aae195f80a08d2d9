/* The services that VPC endpoints lead to: those of the region, and endpoint services of one's own. */
#include "region/describe.h"
#include "region/filter.h"
#include "region/vpc_endpoint.h"
#include "region/vpc_endpoint_service.h"

#include <string.h>

static const struct vpc_service services[] = {{"autoscaling", false, true},
                                              {"dynamodb", true, false},
                                              {"ec2", false, true},
                                              {"ec2messages", false, true},
                                              {"ecr.api", false, true},
                                              {"ecr.dkr", false, true},
                                              {"ecs", false, true},
                                              {"ecs-agent", false, true},
                                              {"ecs-telemetry", false, true},
                                              {"eks", false, true},
                                              {"elasticloadbalancing", false, true},
                                              {"kms", false, true},
                                              {"lambda", false, true},
                                              {"logs", false, true},
                                              {"monitoring", false, true},
                                              {"s3", true, true},
                                              {"secretsmanager", false, true},
                                              {"ssm", false, true},
                                              {"ssmmessages", false, true},
                                              {"sts", false, true}};

static const char *full_name(struct request *r, const struct vpc_service *s)
{
	return arena_printf(r->arena, "com.amazonaws.%s.%s", r->region, s->name);
}

const struct vpc_service *vpc_service_find(struct request *r, const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(services); i++)
		if (!strcmp(name, full_name(r, &services[i])))
			return &services[i];
	return NULL;
}

static const char *const filters[] = {"service-type", "ServiceType.ServiceType", NULL};
static const struct resource_kind detail_kind = {
        .name = "vpc-endpoint-service", .shape = "ServiceDetail", .filters = filters};

/* S3 is two: by gateway, and by interface. */
static struct value *detail(struct request *r, const struct vpc_service *s, bool gateway)
{
	struct value *v = value_new(r->arena, r->model, resource_shape(r->model, &detail_kind));

	value_set_string(v, "ServiceName", full_name(r, s));
	value_set_string(v, "ServiceId", arena_printf(r->arena, "vpce-svc-%017x", (unsigned)(s - services)));
	value_set_string(value_append(value_open(v, "ServiceType")), "ServiceType",
	                 gateway ? "Gateway" : "Interface");
	for (char letter = 'a'; letter < 'a' + REGION_ZONES; letter++)
		value_append_string(value_open(v, "AvailabilityZones"),
		                    arena_printf(r->arena, "%s%c", r->region, letter));
	value_set_string(v, "Owner", "amazon");
	value_append_string(
	        value_open(v, "BaseEndpointDnsNames"),
	        arena_printf(r->arena, "%s.%s%s.amazonaws.com", s->name, r->region, gateway ? "" : ".vpce"));
	if (!gateway)
		value_set_string(v, "PrivateDnsName",
		                 arena_printf(r->arena, "%s.%s.amazonaws.com", s->name, r->region));
	value_set_boolean(v, "VpcEndpointPolicySupported", true);
	value_set_boolean(v, "AcceptanceRequired", false);
	value_set_boolean(v, "ManagesVpcEndpoints", false);
	value_append_string(value_open(v, "SupportedIpAddressTypes"), "ipv4");
	return v;
}

/* One of the caller's own. */
static struct value *own_detail(struct request *r, const struct resource *service)
{
	static const char *const texts[] = {"ServiceName", "ServiceId", "PrivateDnsName"};
	static const char *const lists[] = {"ServiceType", "AvailabilityZones", "BaseEndpointDnsNames",
	                                    "SupportedIpAddressTypes", "Tags"};
	struct value *v = value_new(r->arena, r->model, resource_shape(r->model, &detail_kind));

	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++)
		value_set_string(v, texts[i], value_string(service->doc, texts[i]));
	for (unsigned i = 0; i < ARRAY_SIZE(lists); i++)
		if (value_get(service->doc, lists[i]))
			value_put(v, lists[i], value_copy(r->arena, value_get(service->doc, lists[i])));
	value_set_string(v, "Owner", r->account);
	value_set_boolean(v, "VpcEndpointPolicySupported", false);
	value_set_boolean(v, "AcceptanceRequired", value_boolean(service->doc, "AcceptanceRequired", true));
	value_set_boolean(v, "ManagesVpcEndpoints", false);
	return v;
}

/* All that there are, the region's first; NULL at the end. */
static struct value **all_details(struct request *r)
{
	struct resource **own = resource_list(r, &vpc_endpoint_configuration_kind, NULL);
	unsigned count = 0, room = 2 * ARRAY_SIZE(services) + 1;
	struct value **list;

	for (unsigned i = 0; own[i]; i++)
		room++;
	list = arena_alloc(r->arena, room * sizeof(struct value *));
	for (unsigned i = 0; i < ARRAY_SIZE(services); i++) {
		if (services[i].interface)
			list[count++] = detail(r, &services[i], false);
		if (services[i].gateway)
			list[count++] = detail(r, &services[i], true);
	}
	for (unsigned i = 0; own[i]; i++)
		list[count++] = own_detail(r, own[i]);
	list[count] = NULL;
	return list;
}

ACTION(ec2, DescribeVpcEndpointServices)
{
	const struct value *names = value_get(r->in, "ServiceNames");
	struct value *out = value_open(r->out, "ServiceDetails"), *all = value_open(r->out, "ServiceNames");
	struct value **list;
	struct filter *wanted;
	unsigned most;
	s64 after, at = 0;

	if (filter_read(r, &detail_kind, &wanted) < 0 || describe_page(r, &most, &after) < 0)
		return -1;
	for (unsigned i = 0; i < value_count(names); i++)
		if (!vpc_service_find(r, value_item(names, i)->text) &&
		    !vpc_endpoint_service_named(r, value_item(names, i)->text))
			return request_fail(r, "InvalidServiceName",
			                    "The Vpc Endpoint Service '%.200s' does not exist",
			                    value_item(names, i)->text);
	for (list = all_details(r); *list; list++) {
		const char *name = value_string(*list, "ServiceName");

		if ((value_count(names) && !value_has_string(names, name)) || !filter_match(wanted, *list) ||
		    ++at <= after)
			continue;
		if (most && out->count == most) {
			describe_next(r, at - 1);
			break;
		}
		value_append_value(out, *list);
		if (!value_has_string(all, name))
			value_append_string(all, name);
	}
	return 0;
}
