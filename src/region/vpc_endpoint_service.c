/* The services that VPC endpoints lead to. Endpoint services of one's own need a load balancer. */
#include "region/describe.h"
#include "region/filter.h"
#include "region/vpc_endpoint.h"

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

ACTION(ec2, DescribeVpcEndpointServices)
{
	const struct value *names = value_get(r->in, "ServiceNames");
	struct value *out = value_open(r->out, "ServiceDetails"), *all = value_open(r->out, "ServiceNames");
	struct filter *wanted;
	unsigned most;
	s64 after, at = 0;

	if (filter_read(r, &detail_kind, &wanted) < 0 || describe_page(r, &most, &after) < 0)
		return -1;
	for (unsigned i = 0; i < value_count(names); i++)
		if (!vpc_service_find(r, value_item(names, i)->text))
			return request_fail(r, "InvalidServiceName",
			                    "The Vpc Endpoint Service '%.200s' does not exist",
			                    value_item(names, i)->text);
	for (unsigned i = 0; i < ARRAY_SIZE(services); i++) {
		for (unsigned gateway = 0; gateway < 2; gateway++) {
			const char *name = full_name(r, &services[i]);
			struct value *v;

			if (!(gateway ? services[i].gateway : services[i].interface) ||
			    (value_count(names) && !value_has_string(names, name)))
				continue;
			v = detail(r, &services[i], gateway);
			if (!filter_match(wanted, v) || ++at <= after)
				continue;
			if (most && out->count == most) {
				describe_next(r, at - 1);
				return 0;
			}
			value_append_value(out, v);
			if (!value_has_string(all, name))
				value_append_string(all, name);
		}
	}
	return 0;
}
