/*
 * Reserved instances: a price for a time, and nothing is paid here. Offerings are made of the table of
 * instance types, all at no price; what is bought is a record, which reserves no capacity (for that,
 * capacity_reservation.h). Ids are UUIDs, as EC2 has them; an offering's follows from what it offers.
 */
#include "region/describe.h"
#include "region/filter.h"
#include "region/instance_type.h"
#include "region/tag.h"

#include <stdio.h>
#include <string.h>

enum { YEAR_S = 365 * 86400, COUNT_MAX = 100, UUID_LENGTH = 36 };

static const char *const classes[] = {"standard", "convertible"};
static const char *const payments[] = {"No Upfront", "Partial Upfront", "All Upfront"};
static const s64 durations[] = {YEAR_S, 3LL * YEAR_S};

static const struct resource_kind offering_kind = {.name = "reserved-instances-offering",
                                                   .shape = "ReservedInstancesOffering"};

/* Nothing begins so: ids of it are not looked for by their prefix. */
RESOURCE_KIND(reserved_instances_kind) = {
        .name = "reserved-instances",
        .prefix = "reserved-instances:",
        .shape = "ReservedInstances",
        .id = "ReservedInstancesId",
        .noun = "ReservedInstancesId",
};

/* ---- offerings ---- */

struct offering {
	const struct instance_type *type;
	const char *class, *payment, *zone; /* zone NULL: the region */
	s64 duration_s;
	char id[UUID_LENGTH + 1];
};

/* As FNV-1a has it, twice, from two beginnings. */
static u64 hash(const char *text, u64 value)
{
	for (; *text; text++)
		value = (value ^ (u8)*text) * 1099511628211ULL;
	return value;
}

static void name_offering(struct request *r, struct offering *o)
{
	const char *text = arena_printf(r->arena, "%s/%s/%s/%s/%s/%lld", r->region, o->type->name, o->class,
	                                o->payment, o->zone ? o->zone : "", (long long)o->duration_s);
	u64 high = hash(text, 14695981039346656037ULL), low = hash(text, high);

	snprintf(o->id, sizeof(o->id), "%08x-%04x-%04x-%04x-%012llx", (unsigned)(high >> 32),
	         (unsigned)(high >> 16) & 0xffff, (unsigned)high & 0xffff, (unsigned)(low >> 48),
	         (unsigned long long)(low & 0xffffffffffffULL));
}

enum { KINDS_OF_TYPE = ARRAY_SIZE(classes) * ARRAY_SIZE(payments) * ARRAY_SIZE(durations) };

/* The i-th of a zone, or of the region. False: there are no more. */
static bool offering_at(struct request *r, unsigned i, const char *zone, struct offering *o)
{
	unsigned kind = i % KINDS_OF_TYPE;

	if (i / KINDS_OF_TYPE >= instance_type_count)
		return false;
	*o = (struct offering){.type = &instance_types[i / KINDS_OF_TYPE],
	                       .class = classes[kind % ARRAY_SIZE(classes)],
	                       .payment = payments[kind / ARRAY_SIZE(classes) % ARRAY_SIZE(payments)],
	                       .duration_s = durations[kind / ARRAY_SIZE(classes) / ARRAY_SIZE(payments)],
	                       .zone = zone};
	name_offering(r, o);
	return true;
}

/* What offerings and what was bought have in common. */
static void show(struct value *v, const struct offering *o)
{
	value_set_string(v, "AvailabilityZone", o->zone);
	value_set_integer(v, "Duration", o->duration_s);
	value_set_double(v, "FixedPrice", 0);
	value_set_double(v, "UsagePrice", 0);
	value_set_string(v, "InstanceType", o->type->name);
	value_set_string(v, "ProductDescription", "Linux/UNIX");
	value_set_string(v, "CurrencyCode", "USD");
	value_set_string(v, "InstanceTenancy", "default");
	value_set_string(v, "OfferingClass", o->class);
	value_set_string(v, "OfferingType", o->payment);
	value_set_string(v, "Scope", o->zone ? "Availability Zone" : "Region");
	value_open(v, "RecurringCharges");
}

static bool is(struct request *r, const char *member, const char *text)
{
	const char *wanted = value_string(r->in, member);

	return !wanted || !strcmp(wanted, text);
}

static bool wanted_offering(struct request *r, const struct offering *o)
{
	const struct value *ids = value_get(r->in, "ReservedInstancesOfferingIds");

	return (!value_count(ids) || value_has_string(ids, o->id)) && is(r, "InstanceType", o->type->name) &&
	       is(r, "OfferingClass", o->class) && is(r, "OfferingType", o->payment) &&
	       is(r, "InstanceTenancy", "default") && is(r, "ProductDescription", "Linux/UNIX") &&
	       o->duration_s >= value_integer(r->in, "MinDuration", 0) &&
	       o->duration_s <= value_integer(r->in, "MaxDuration", INT64_MAX);
}

ACTION(ec2, DescribeReservedInstancesOfferings)
{
	struct value *list = value_open(r->out, "ReservedInstancesOfferings");
	const char *zone = value_string(r->in, "AvailabilityZone"),
	           *type = value_string(r->in, "InstanceType");
	struct filter *filter;
	struct offering o;
	unsigned most;
	s64 after;

	if (zone && !region_has_zone(r->region, zone))
		return request_fail(r, "InvalidParameterValue", "Invalid availability zone: [%.64s]", zone);
	if (type && !instance_type_find(type))
		return request_fail(r, "InvalidParameterValue", "Invalid value '%.64s' for InstanceType.",
		                    type);
	if (filter_read(r, &offering_kind, &filter) < 0 || describe_page(r, &most, &after) < 0)
		return -1;
	for (unsigned i = (unsigned)min(after, (s64)1 << 30); offering_at(r, i, zone, &o); i++) {
		struct arena_mark mark = arena_mark(r->arena);
		struct value *v;

		if (!wanted_offering(r, &o))
			continue;
		v = value_new(r->arena, r->model, resource_shape(r->model, &offering_kind));
		value_set_string(v, "ReservedInstancesOfferingId", o.id);
		show(v, &o);
		value_set_boolean(v, "Marketplace", false);
		value_open(v, "PricingDetails");
		if (!filter_match(filter, v)) {
			arena_rewind(r->arena, mark);
			continue;
		}
		if (most && list->count == most) {
			describe_next(r, i);
			return 0;
		}
		value_append_value(list, v);
	}
	return 0;
}

static bool find_offering(struct request *r, const char *id, struct offering *o)
{
	for (char letter = 'a' - 1; letter < 'a' + REGION_ZONES; letter++) {
		const char *zone = letter < 'a' ? NULL : arena_printf(r->arena, "%s%c", r->region, letter);

		for (unsigned i = 0; offering_at(r, i, zone, o); i++)
			if (!strcmp(o->id, id))
				return true;
	}
	return false;
}

/* ---- what was bought ---- */

ACTION(ec2, PurchaseReservedInstancesOffering)
{
	const char *id = value_string(r->in, "ReservedInstancesOfferingId");
	const struct value *at = value_get(r->in, "PurchaseTime");
	s64 count = value_integer(r->in, "InstanceCount", 0), begin = at ? at->integer : r->now_ms;
	struct resource *bought;
	struct offering o;
	char digits[33];

	if (!find_offering(r, id, &o))
		return request_fail(r, "InvalidReservedInstancesOfferingId",
		                    "The Reserved Instances offering '%.100s' does not exist", id);
	if (count < 1 || count > COUNT_MAX)
		return request_fail(r, "InvalidParameterValue",
		                    "Value (%lld) for parameter instanceCount is invalid: 1 to %d",
		                    (long long)count, COUNT_MAX);
	if (begin < r->now_ms)
		return request_fail(r, "InvalidParameterValue", "The purchase time must be in the future");
	bought = resource_new(r, &reserved_instances_kind);
	cloud_random_hex(digits, 32);
	bought->id = arena_printf(r->arena, "%.8s-%.4s-%.4s-%.4s-%.12s", digits, digits + 8, digits + 12,
	                          digits + 16, digits + 20);
	value_set_string(bought->doc, "ReservedInstancesId", bought->id);
	show(bought->doc, &o);
	value_set_integer(bought->doc, "InstanceCount", count);
	value_set_time(bought->doc, "Start", begin);
	value_set_time(bought->doc, "End", begin + o.duration_s * 1000);
	value_set_string(bought->doc, "State", "active");
	resource_insert(r, bought);
	value_set_string(r->out, "ReservedInstancesId", bought->id);
	return 0;
}

struct listing {
	struct request *request;
	const struct filter *filter;
	struct value *list;
	unsigned found; /* of the request's ids */
};

/* Its state is told by the time. */
static bool visit(void *ctx, struct resource *bought)
{
	struct listing *l = ctx;
	struct request *r = l->request;
	const struct value *ids = value_get(r->in, "ReservedInstancesIds");
	s64 start = value_get(bought->doc, "Start")->integer, end = value_get(bought->doc, "End")->integer;

	if (value_count(ids) && !value_has_string(ids, bought->id))
		return true;
	l->found++;
	value_set_string(bought->doc, "State",
	                 r->now_ms < start  ? "queued"
	                 : r->now_ms >= end ? "retired"
	                                    : "active");
	if (is(r, "OfferingClass", value_string(bought->doc, "OfferingClass")) &&
	    is(r, "OfferingType", value_string(bought->doc, "OfferingType")) &&
	    filter_match(l->filter, bought->doc))
		value_append_value(l->list, value_copy(r->arena, bought->doc));
	return true;
}

ACTION(ec2, DescribeReservedInstances)
{
	const struct value *ids = value_get(r->in, "ReservedInstancesIds");
	struct listing l = {.request = r, .list = value_open(r->out, "ReservedInstances")};
	struct filter *filter;

	if (filter_read(r, &reserved_instances_kind, &filter) < 0)
		return -1;
	l.filter = filter;
	resource_each(r, &reserved_instances_kind, NULL, 0, visit, &l);
	for (unsigned i = 0; l.found < value_count(ids) && i < ids->count; i++)
		if (!resource_find(r, &reserved_instances_kind, value_item(ids, i)->text))
			return request_fail(r, "InvalidReservedInstancesId",
			                    "The Reserved Instances '%.100s' do not exist",
			                    value_item(ids, i)->text);
	return 0;
}

/* Those that have not begun may be taken back. */
ACTION(ec2, DeleteQueuedReservedInstances)
{
	const struct value *ids = value_get(r->in, "ReservedInstancesIds");

	value_open(r->out, "SuccessfulQueuedPurchaseDeletions");
	value_open(r->out, "FailedQueuedPurchaseDeletions");
	for (unsigned i = 0; i < value_count(ids); i++) {
		const char *id = value_item(ids, i)->text;
		struct resource *bought = resource_find(r, &reserved_instances_kind, id);
		bool queued = bought && value_get(bought->doc, "Start")->integer > r->now_ms;
		struct value *v = value_append(value_open(r->out, queued ? "SuccessfulQueuedPurchaseDeletions"
		                                                         : "FailedQueuedPurchaseDeletions"));

		value_set_string(v, "ReservedInstancesId", id);
		if (queued) {
			resource_delete(r, bought);
			continue;
		}
		value_set_string(value_open(v, "Error"), "Code",
		                 bought ? "reserved-instances-not-in-queued-state"
		                        : "reserved-instances-id-invalid");
		value_set_string(value_open(v, "Error"), "Message",
		                 bought ? "The purchase is not queued" : "There are none of this id");
	}
	return 0;
}
