#include "region/capacity_reservation.h"
#include "region/capacity_slot.h"
#include "region/describe.h"
#include "region/instance.h"
#include "region/instance_type.h"
#include "region/region.h"
#include "region/tag.h"
#include "region/tenancy.h"
#include "region/termination.h"

#include <string.h>

static void show(struct request *r, struct value *doc)
{
	if (!strcmp(value_string(doc, "State"), "active"))
		value_set_integer(doc, "AvailableInstanceCount",
		                  capacity_slots(r, value_string(doc, "CapacityReservationId"), false));
}

RESOURCE_KIND(capacity_reservation_kind) = {
        .name = "capacity-reservation",
        .prefix = "cr-",
        .shape = "CapacityReservation",
        .id = "CapacityReservationId",
        .noun = "CapacityReservationId",
        .indexed = {"InstanceType", "AvailabilityZone"},
        .state = "State",
        .show = show,
};

/* ---- an instance's place ---- */

static int check_named(struct request *r, const struct schedule_wish *w)
{
	struct resource *named = resource_get(r, &capacity_reservation_kind, w->reservation);
	const char *zone = named ? value_string(named->doc, "AvailabilityZone") : NULL;

	if (!named)
		return -1;
	if (strcmp(named->state, "active"))
		return request_fail(r, "InvalidCapacityReservationState",
		                    "The Capacity Reservation '%s' is %s", named->id, named->state);
	if (strcmp(value_string(named->doc, "InstanceType"), w->type) || (w->zone && strcmp(zone, w->zone)))
		return request_fail(r, "InvalidParameterCombination",
		                    "The Capacity Reservation '%s' is for instances of the type %s in the "
		                    "zone %s",
		                    named->id, value_string(named->doc, "InstanceType"), zone);
	if (tenancy_is_own(w) || *w->group)
		return request_fail(
		        r, "InvalidParameterCombination",
		        "The Capacity Reservation '%s' is not for placement groups, nor for hosts "
		        "of one account",
		        named->id);
	return 0;
}

int capacity_enter(struct request *r, const struct schedule_wish *w, struct schedule_place *place)
{
	if (!w->instance || w->unreserved)
		return 0;
	if (w->reservation && check_named(r, w) < 0)
		return -1;
	if (tenancy_is_own(w) || *w->group)
		return 0;
	if (capacity_slot_enter(r, w, place))
		return 1;
	return w->reservation ? request_fail(r, "ReservationCapacityExceeded",
	                                     "The Capacity Reservation '%s' does not have enough "
	                                     "available instance capacity to fulfill your request.",
	                                     w->reservation)
	                      : 0;
}

int capacity_read(struct request *r, const struct value *spec, struct schedule_wish *w)
{
	const char *preference = spec ? value_string(spec, "CapacityReservationPreference") : NULL;
	const struct value *target = spec ? value_get(spec, "CapacityReservationTarget") : NULL;

	if (target && preference)
		return request_fail(r, "InvalidParameterCombination",
		                    "CapacityReservationPreference and CapacityReservationTarget cannot be "
		                    "used together");
	if (target && value_get(target, "CapacityReservationResourceGroupArn"))
		return request_fail(r, "UnsupportedOperation", "There are no resource groups here");
	w->reservation = target ? value_string(target, "CapacityReservationId") : NULL;
	w->unreserved = preference && !strcmp(preference, "none");
	if (target && !w->reservation)
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter capacityReservationId");
	return w->reservation && !resource_get(r, &capacity_reservation_kind, w->reservation) ? -1 : 0;
}

void capacity_of_instance(const struct value *doc, struct schedule_wish *w)
{
	const struct value *spec = value_get(doc, "CapacityReservationSpecification");
	const struct value *target = spec ? value_get(spec, "CapacityReservationTarget") : NULL;
	const char *preference = spec ? value_string(spec, "CapacityReservationPreference") : NULL;

	w->reservation = target ? value_string(target, "CapacityReservationId") : NULL;
	w->unreserved = preference && !strcmp(preference, "none");
}

void capacity_show(struct value *doc, const struct schedule_wish *w, const struct schedule_place *place)
{
	struct value *spec;

	value_remove(doc, "CapacityReservationSpecification");
	spec = value_open(doc, "CapacityReservationSpecification");
	if (w->reservation)
		value_set_string(value_open(spec, "CapacityReservationTarget"), "CapacityReservationId",
		                 w->reservation);
	else
		value_set_string(spec, "CapacityReservationPreference", w->unreserved ? "none" : "open");
	value_set_string(doc, "CapacityReservationId",
	                 place && *place->reservation ? place->reservation : NULL);
}

/* ---- rows ---- */

/* What instances look for (capacity_slot.c), and when it ends. */
static void store_row(struct request *r, const struct resource *reservation)
{
	const struct value *doc = reservation->doc, *ends = value_get(doc, "EndDate");
	struct query *q = database_query(
	        r->cloud->db, "INSERT INTO capacity_reservation VALUES ($1, $2, $3, $4, $5, $6, $7) "
	                      "ON CONFLICT (id) DO UPDATE SET ends = $7");

	query_text(query_text(query_text(q, reservation->id), r->account), r->region);
	query_text(query_text(q, value_string(doc, "AvailabilityZone")), value_string(doc, "InstanceType"));
	query_integer(q, !strcmp(value_string(doc, "InstanceMatchCriteria"), "open"));
	query_run(query_integer(q, ends ? ends->integer : 0));
}

/* Instances in it go on, in room of their own. */
static void end(struct request *r, struct resource *reservation, const char *state)
{
	struct query *q = query_text(
	        database_query(r->cloud->db, "SELECT instance FROM capacity_slot WHERE reservation = $1 AND "
	                                     "instance <> ''"),
	        reservation->id);
	const char *inside[CAPACITY_SLOTS_MAX];
	unsigned count = 0;

	while (count < CAPACITY_SLOTS_MAX && query_row(q))
		inside[count++] = arena_strdup(r->arena, query_column_text(q, 0));
	query_end(q);
	for (unsigned i = 0; i < count; i++) {
		struct resource *instance = resource_find(r, &instance_kind, inside[i]);

		if (!instance)
			continue;
		value_remove(instance->doc, "CapacityReservationId");
		resource_save(r, instance);
	}
	capacity_slots_drop(r, reservation->id, CAPACITY_SLOTS_MAX);
	query_run(query_text(database_query(r->cloud->db, "DELETE FROM capacity_slot WHERE reservation = $1"),
	                     reservation->id));
	query_run(query_text(database_query(r->cloud->db, "DELETE FROM capacity_reservation WHERE id = $1"),
	                     reservation->id));
	value_set_string(reservation->doc, "State", state);
	value_set_integer(reservation->doc, "AvailableInstanceCount", 0);
	reservation->state = state;
	resource_save(r, reservation);
	termination_note(r, reservation->id);
}

void capacity_expire(struct request *r)
{
	enum { SOME = 32 };
	struct request owners[SOME];
	const char *ids[SOME];
	struct query *q = query_integer(
	        database_query(r->cloud->db, "SELECT id, account, region FROM capacity_reservation "
	                                     "WHERE ends > 0 AND ends <= $1 ORDER BY ends LIMIT 32"),
	        r->now_ms);
	unsigned count = 0;

	for (; count < SOME && query_row(q); count++) {
		ids[count] = arena_strdup(r->arena, query_column_text(q, 0));
		owners[count] = *r;
		owners[count].account = arena_strdup(r->arena, query_column_text(q, 1));
		owners[count].region = arena_strdup(r->arena, query_column_text(q, 2));
	}
	query_end(q);
	for (unsigned i = 0; i < count; i++) {
		struct resource *reservation = resource_find(&owners[i], &capacity_reservation_kind, ids[i]);

		if (reservation)
			end(&owners[i], reservation, "expired");
	}
}

/* ---- actions ---- */

static int check_count(struct request *r, s64 count)
{
	if (count >= 1 && count <= CAPACITY_SLOTS_MAX)
		return 0;
	return request_fail(r, "InvalidParameterValue",
	                    "Value (%lld) for parameter instanceCount is invalid: 1 to %d", (long long)count,
	                    CAPACITY_SLOTS_MAX);
}

/* EndDate and EndDateType; what is not said stays. */
static int read_end(struct request *r, struct value *doc)
{
	const struct value *date = value_get(r->in, "EndDate");
	const char *type = value_string(r->in, "EndDateType");

	if (!type && !date)
		return 0;
	if (!type)
		type = "limited";
	if (!strcmp(type, "limited") != !!date)
		return request_fail(r, "InvalidParameterCombination",
		                    "EndDate is needed for, and only for, the EndDateType 'limited'");
	if (date && date->integer <= r->now_ms)
		return request_fail(r, "InvalidParameterValue", "The EndDate must be in the future");
	value_set_string(doc, "EndDateType", type);
	value_remove(doc, "EndDate");
	if (date)
		value_set_time(doc, "EndDate", date->integer);
	return 0;
}

/* The zone, by its name or its id; NULL with a fault. */
static const char *read_zone(struct request *r)
{
	const char *name = value_string(r->in, "AvailabilityZone"),
	           *id = value_string(r->in, "AvailabilityZoneId");

	if (!name == !id) {
		request_fail(r, name ? "InvalidParameterCombination" : "MissingParameter",
		             "Either AvailabilityZone or AvailabilityZoneId must be specified");
		return NULL;
	}
	for (char letter = 'a'; id && letter < 'a' + REGION_ZONES; letter++)
		if (!strcmp(region_zone_id(r->arena, r->region, letter), id))
			name = arena_printf(r->arena, "%s%c", r->region, letter);
	if (!name || !region_has_zone(r->region, name)) {
		request_fail(r, "InvalidParameterValue", "Invalid availability zone: [%.64s]",
		             name ? name : id);
		return NULL;
	}
	return name;
}

static int check_offered(struct request *r, const struct instance_type *type)
{
	const char *platform = value_string(r->in, "InstancePlatform"),
	           *tenancy = value_string(r->in, "Tenancy");

	if (!type)
		return request_fail(r, "InvalidParameterValue", "Invalid value '%.64s' for InstanceType.",
		                    value_string(r->in, "InstanceType"));
	if (type->flags & TYPE_METAL)
		return request_fail(r, "Unsupported", "Bare metal (%s) is not offered here yet", type->name);
	if (strcmp(platform, "Linux/UNIX"))
		return request_fail(r, "UnsupportedOperation",
		                    "Machines here are of the platform Linux/UNIX");
	if (tenancy && strcmp(tenancy, "default"))
		return request_fail(r, "UnsupportedOperation",
		                    "Capacity is not reserved on hosts of one account here: allocate hosts");
	if (value_get(r->in, "OutpostArn") || value_get(r->in, "PlacementGroupArn"))
		return request_fail(r, "UnsupportedOperation",
		                    "Capacity is reserved neither on Outposts nor in placement groups here");
	return 0;
}

static void wish_of(const struct instance_type *type, const char *zone, struct schedule_wish *w)
{
	*w = (struct schedule_wish){.zone = zone,
	                            .vcpus = type->vcpus,
	                            .memory_mib = type->memory_mib,
	                            .group = "",
	                            .strategy = "",
	                            .type = type->name};
}

static void fill(struct request *r, struct resource *c, const struct instance_type *type, const char *zone,
                 s64 count)
{
	const char *match = value_string(r->in, "InstanceMatchCriteria");
	struct value *doc = c->doc;

	value_set_string(doc, "CapacityReservationArn",
	                 arena_printf(r->arena, "arn:aws:ec2:%s:%s:capacity-reservation/%s", r->region,
	                              r->account, c->id));
	value_set_string(doc, "AvailabilityZone", zone);
	value_set_string(doc, "AvailabilityZoneId",
	                 region_zone_id(r->arena, r->region, zone[strlen(zone) - 1]));
	value_set_string(doc, "InstanceType", type->name);
	value_set_string(doc, "InstancePlatform", value_string(r->in, "InstancePlatform"));
	value_set_string(doc, "Tenancy", "default");
	value_set_integer(doc, "TotalInstanceCount", count);
	value_set_integer(doc, "AvailableInstanceCount", count);
	value_set_boolean(doc, "EbsOptimized", value_boolean(r->in, "EbsOptimized", false));
	value_set_boolean(doc, "EphemeralStorage", value_boolean(r->in, "EphemeralStorage", false));
	value_set_string(doc, "State", "active");
	value_set_time(doc, "StartDate", r->now_ms);
	value_set_time(doc, "CreateDate", r->now_ms);
	value_set_string(doc, "InstanceMatchCriteria", match ? match : "open");
	c->state = "active";
}

ACTION(ec2, CreateCapacityReservation)
{
	const struct instance_type *type = instance_type_find(value_string(r->in, "InstanceType"));
	s64 count = value_integer(r->in, "InstanceCount", 0);
	struct schedule_wish wish;
	struct resource *c;
	const char *zone;

	if (check_offered(r, type) < 0 || check_count(r, count) < 0)
		return -1;
	zone = read_zone(r);
	if (!zone)
		return -1;
	c = resource_new(r, &capacity_reservation_kind);
	fill(r, c, type, zone, count);
	value_set_string(c->doc, "EndDateType", "unlimited");
	wish_of(type, zone, &wish);
	if (read_end(r, c->doc) < 0 || tag_specifications(r, c, NULL) < 0 ||
	    capacity_slots_add(r, c->id, &wish, count) < 0)
		return -1;
	resource_insert(r, c);
	store_row(r, c);
	value_put(r->out, "CapacityReservation", c->doc);
	return 0;
}

/* One that has not ended. */
static struct resource *active(struct request *r)
{
	struct resource *c = resource_of(r, &capacity_reservation_kind, "CapacityReservationId");

	if (c && strcmp(c->state, "active")) {
		request_fail(r, "InvalidCapacityReservationState", "The Capacity Reservation '%s' is %s",
		             c->id, c->state);
		return NULL;
	}
	return c;
}

static int resize(struct request *r, struct resource *c, s64 count)
{
	s64 total = value_integer(c->doc, "TotalInstanceCount", 0), used = capacity_slots(r, c->id, true);
	struct schedule_wish wish;

	if (check_count(r, count) < 0)
		return -1;
	if (count < used)
		return request_fail(r, "InvalidParameterValue",
		                    "The Capacity Reservation '%s' has %lld instances in it", c->id,
		                    (long long)used);
	wish_of(instance_type_find(value_string(c->doc, "InstanceType")),
	        value_string(c->doc, "AvailabilityZone"), &wish);
	if (count > total && capacity_slots_add(r, c->id, &wish, count - total) < 0)
		return -1;
	if (count < total)
		capacity_slots_drop(r, c->id, total - count);
	value_set_integer(c->doc, "TotalInstanceCount", count);
	return 0;
}

ACTION(ec2, ModifyCapacityReservation)
{
	struct resource *c = active(r);

	if (!c)
		return -1;
	if (value_get(r->in, "InstanceCount") && resize(r, c, value_integer(r->in, "InstanceCount", 0)) < 0)
		return -1;
	if (read_end(r, c->doc) < 0)
		return -1;
	resource_save(r, c);
	store_row(r, c);
	value_set_boolean(r->out, "Return", true);
	return 0;
}

ACTION(ec2, CancelCapacityReservation)
{
	struct resource *c = active(r);

	if (!c)
		return -1;
	end(r, c, "cancelled");
	value_set_boolean(r->out, "Return", true);
	return 0;
}

ACTION(ec2, DescribeCapacityReservations)
{
	static const struct describe d = {.kind = &capacity_reservation_kind,
	                                  .list = "CapacityReservations",
	                                  .ids = "CapacityReservationIds"};

	return describe_run(r, &d);
}

ACTION(ec2, GetCapacityReservationUsage)
{
	static const char *const same[] = {"CapacityReservationId", "InstanceType", "State"};
	static const char *const counts[] = {"TotalInstanceCount", "AvailableInstanceCount"};
	struct resource *c = resource_of(r, &capacity_reservation_kind, "CapacityReservationId");
	struct value *list = value_open(r->out, "InstanceUsages"), *use;
	unsigned most;
	s64 after, used;

	if (!c || describe_page(r, &most, &after) < 0)
		return -1;
	for (unsigned i = 0; i < ARRAY_SIZE(same); i++)
		value_set_string(r->out, same[i], value_string(c->doc, same[i]));
	for (unsigned i = 0; i < ARRAY_SIZE(counts); i++)
		value_set_integer(r->out, counts[i], value_integer(c->doc, counts[i], 0));
	used = capacity_slots(r, c->id, true);
	if (used && !after) {
		use = value_append(list);
		value_set_string(use, "AccountId", r->account);
		value_set_integer(use, "UsedInstanceCount", used);
	}
	return 0;
}

/* There are no resource groups here. */
ACTION(ec2, GetGroupsForCapacityReservation)
{
	unsigned most;
	s64 after;

	if (!resource_of(r, &capacity_reservation_kind, "CapacityReservationId") ||
	    describe_page(r, &most, &after) < 0)
		return -1;
	value_open(r->out, "CapacityReservationGroups");
	return 0;
}
