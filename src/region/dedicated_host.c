/* AllocateHosts, DescribeHosts, ModifyHosts, ReleaseHosts. */
#include "region/dedicated_host.h"
#include "region/describe.h"
#include "region/instance.h"
#include "region/instance_type.h"
#include "region/region.h"
#include "region/tag.h"
#include "region/tenancy.h"

#include <string.h>

static const char *const filters[] = {"instance-type", "HostProperties.InstanceType", NULL};

enum { QUANTITY_MAX = 100, THREADS_PER_CORE = 2, SOCKETS = 2 };

/* ---- showing ---- */

static void instances_on(struct request *r, struct value *doc, const char *host)
{
	struct value *list = value_open(doc, "Instances");
	struct query *q = query_text(
	        database_query(r->cloud->db,
	                       "SELECT instance, account FROM machine WHERE host = $1 ORDER BY instance"),
	        host);

	list->count = 0;
	while (query_row(q)) {
		struct value *item = value_append(list);

		value_set_string(item, "InstanceId", query_column_text(q, 0));
		value_set_string(item, "OwnerId", query_column_text(q, 1));
	}
	query_end(q);
	for (unsigned i = 0; i < list->count; i++) {
		const char *id = value_string(value_item(list, i), "InstanceId");
		struct resource *instance = resource_find(r, &instance_kind, id);

		if (instance)
			value_set_string(value_item(list, i), "InstanceType",
			                 value_string(instance->doc, "InstanceType"));
	}
}

static void show_capacity(struct value *capacity, const struct instance_type *t,
                          const struct dedicated_stand *s)
{
	struct value *item = value_append(value_open(capacity, "AvailableInstanceCapacity"));
	s64 total = min(s->vcpus / t->vcpus, s->memory / t->memory_mib);
	s64 left = min(s->free_vcpus / t->vcpus, s->free_memory / t->memory_mib);

	value_set_string(item, "InstanceType", t->name);
	value_set_integer(item, "TotalCapacity", total);
	value_set_integer(item, "AvailableCapacity", left);
}

static bool of_family(const struct instance_type *t, const char *family)
{
	size_t length = strcspn(t->name, ".");

	return !(t->flags & TYPE_METAL) && strlen(family) == length && !strncmp(t->name, family, length);
}

/* Who is on it and what is left of it. */
static void show(struct request *r, struct value *doc)
{
	const struct value *p = value_get(doc, "HostProperties");
	const char *only = value_string(p, "InstanceType"), *family = value_string(p, "InstanceFamily");
	struct value *capacity = value_open(doc, "AvailableCapacity");
	struct dedicated_stand s = {0};
	bool there = dedicated_host_stand(r, value_string(doc, "HostId"), &s);

	value_set_string(doc, "State", there ? "available" : "under-assessment");
	instances_on(r, doc, s.host);
	value_open(capacity, "AvailableInstanceCapacity")->count = 0;
	value_set_integer(capacity, "AvailableVCpus", s.free_vcpus);
	for (unsigned i = 0; i < instance_type_count; i++) {
		const struct instance_type *t = &instance_types[i];

		if (only ? !strcmp(only, t->name)
		         : of_family(t, family) && t->vcpus <= s.vcpus && t->memory_mib <= s.memory)
			show_capacity(capacity, t, &s);
	}
}

RESOURCE_KIND(dedicated_host_kind) = {
        .name = "dedicated-host",
        .prefix = "h-",
        .shape = "Host",
        .id = "HostId",
        .noun = "HostID",
        .filters = filters,
        .show = show,
};

ACTION(ec2, DescribeHosts)
{
	static const struct describe d = {.kind = &dedicated_host_kind, .list = "Hosts", .ids = "HostIds"};

	return describe_run(r, &d);
}

/* ---- allocating ---- */

/* The type, or the smallest of the family: what at least has to fit. NULL with a fault. */
static const struct instance_type *type_for(struct request *r)
{
	const char *name = value_string(r->in, "InstanceType"),
	           *family = value_string(r->in, "InstanceFamily");
	const struct instance_type *found = name ? instance_type_find(name) : NULL;

	if (name && family) {
		request_fail(r, "InvalidParameterCombination",
		             "InstanceType and InstanceFamily cannot be used together");
		return NULL;
	}
	for (unsigned i = 0; family && i < instance_type_count; i++)
		if (of_family(&instance_types[i], family) &&
		    (!found || instance_types[i].vcpus < found->vcpus))
			found = &instance_types[i];
	if (!name && !family)
		request_fail(r, "MissingParameter",
		             "The request must contain the parameter instanceType or instanceFamily");
	else if (!found)
		request_fail(r, "InvalidParameterValue", "Invalid value '%.64s' for %s.",
		             name ? name : family, name ? "instanceType" : "instanceFamily");
	else if (found->flags & TYPE_METAL)
		request_fail(r, "Unsupported", "Bare metal (%s) is not offered here yet", name);
	else
		return found;
	return NULL;
}

static void set_type(struct request *r, struct value *doc, const struct instance_type *t)
{
	bool one = value_get(r->in, "InstanceType") != NULL;
	struct value *p = value_open(doc, "HostProperties");

	value_set_string(p, "InstanceType", one ? t->name : NULL);
	value_set_string(p, "InstanceFamily", arena_text(r->arena, t->name, strcspn(t->name, ".")));
	value_set_string(doc, "AllowsMultipleInstanceTypes", one ? "off" : "on");
}

static int allocate_one(struct request *r, const struct instance_type *t)
{
	const char *zone = value_string(r->in, "AvailabilityZone");
	const char *automatic = value_string(r->in, "AutoPlacement"),
	           *recovery = value_string(r->in, "HostRecovery");
	struct resource *host = resource_new(r, &dedicated_host_kind);
	char letter = zone[strlen(zone) - 1];
	struct dedicated_stand s;
	struct value *p;

	if (!dedicated_host_take(r, host->id, letter, t->vcpus, t->memory_mib, &s))
		return request_fail(
		        r, "InsufficientHostCapacity",
		        "There is not enough capacity to fulfill your Dedicated Host request in %s.", zone);
	set_type(r, host->doc, t);
	p = value_open(host->doc, "HostProperties");
	value_set_integer(p, "TotalVCpus", s.vcpus);
	value_set_integer(p, "Cores", s.vcpus / THREADS_PER_CORE);
	value_set_integer(p, "Sockets", SOCKETS);
	value_set_string(host->doc, "AutoPlacement", automatic ? automatic : "on");
	value_set_string(host->doc, "HostRecovery", recovery ? recovery : "off");
	value_set_string(host->doc, "AvailabilityZone", zone);
	value_set_string(host->doc, "AvailabilityZoneId", region_zone_id(r->arena, r->region, letter));
	value_set_string(host->doc, "ClientToken", value_string(r->in, "ClientToken"));
	value_set_time(host->doc, "AllocationTime", r->now_ms);
	value_set_boolean(host->doc, "MemberOfServiceLinkedResourceGroup", false);
	if (tag_specifications(r, host, NULL) < 0)
		return -1;
	resource_insert(r, host);
	value_append_string(value_open(r->out, "HostIds"), host->id);
	return 0;
}

ACTION(ec2, AllocateHosts)
{
	const char *zone = value_string(r->in, "AvailabilityZone");
	s64 quantity = value_integer(r->in, "Quantity", 1);
	const struct instance_type *t = type_for(r);

	if (!t)
		return -1;
	if (!region_has_zone(r->region, zone))
		return request_fail(r, "InvalidParameterValue", "Invalid availability zone: [%.64s]", zone);
	if (value_get(r->in, "OutpostArn"))
		return request_fail(r, "UnsupportedOperation", "There are no Outposts here");
	if (quantity < 1)
		return request_fail(
		        r, "InvalidParameterValue",
		        "Value (%lld) for parameter quantity is invalid. Minimum of 1 is required.",
		        (long long)quantity);
	if (quantity > QUANTITY_MAX)
		return request_fail(r, "HostLimitExceeded", "At most %d hosts can be allocated at once",
		                    QUANTITY_MAX);
	for (s64 i = 0; i < quantity; i++)
		if (allocate_one(r, t) < 0)
			return -1;
	return 0;
}

/* ---- modifying, releasing ---- */

/* All of the request's hosts; NULL with a fault. */
static struct resource **hosts_of(struct request *r)
{
	const struct value *ids = value_get(r->in, "HostIds");
	struct resource **list = arena_alloc(r->arena, (value_count(ids) + 1) * sizeof(struct resource *));

	if (!value_count(ids)) {
		request_fail(r, "MissingParameter", "The request must contain the parameter hostId");
		return NULL;
	}
	for (unsigned i = 0; i < ids->count; i++) {
		list[i] = resource_get(r, &dedicated_host_kind, value_item(ids, i)->text);
		if (!list[i])
			return NULL;
	}
	return list;
}

static void unsuccessful(struct request *r, const char *host, const char *code, const char *message)
{
	struct value *item = value_append(value_open(r->out, "Unsuccessful")), *error;

	value_set_string(item, "ResourceId", host);
	error = value_open(item, "Error");
	value_set_string(error, "Code", code);
	value_set_string(error, "Message", message);
}

ACTION(ec2, ModifyHosts)
{
	static const char *const texts[] = {"AutoPlacement", "HostRecovery"};
	bool typed = value_get(r->in, "InstanceType") || value_get(r->in, "InstanceFamily");
	const struct instance_type *t = typed ? type_for(r) : NULL;
	struct resource **list = typed && !t ? NULL : hosts_of(r);

	if (!list)
		return -1;
	value_open(r->out, "Unsuccessful");
	for (unsigned i = 0; list[i]; i++) {
		if (typed && value_count(value_get(list[i]->doc, "Instances"))) {
			unsuccessful(r, list[i]->id, "Client.InvalidHost.Occupied",
			             "The types that a Dedicated Host takes cannot be changed while it has "
			             "instances.");
			continue;
		}
		if (typed)
			set_type(r, list[i]->doc, t);
		for (unsigned k = 0; k < ARRAY_SIZE(texts); k++)
			if (value_get(r->in, texts[k]))
				value_set_string(list[i]->doc, texts[k], value_string(r->in, texts[k]));
		resource_save(r, list[i]);
		value_append_string(value_open(r->out, "Successful"), list[i]->id);
	}
	return 0;
}

ACTION(ec2, ReleaseHosts)
{
	struct resource **list = hosts_of(r);

	if (!list)
		return -1;
	value_open(r->out, "Unsuccessful");
	for (unsigned i = 0; list[i]; i++) {
		if (!dedicated_host_give_back(r, list[i]->id)) {
			unsuccessful(r, list[i]->id, "Client.InvalidHost.Occupied",
			             "Dedicated host cannot be released as it is occupied.");
			continue;
		}
		resource_delete(r, list[i]);
		value_append_string(value_open(r->out, "Successful"), list[i]->id);
	}
	return 0;
}
