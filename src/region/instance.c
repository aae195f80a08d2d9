#include "region/instance.h"
#include "region/instance_network.h"
#include "region/instance_profile.h"
#include "region/instance_volume.h"
#include "model/json.h"
#include "model/scalar.h"
#include "region/describe.h"
#include "region/filter.h"
#include "region/link.h"
#include "region/schedule.h"
#include "region/tally.h"
#include "region/termination.h"
#include "region/usage.h"

#include <string.h>

static const char *const filters[] = {"instance-state-name",
                                      "State.Name",
                                      "instance-state-code",
                                      "State.Code",
                                      "availability-zone",
                                      "Placement.AvailabilityZone",
                                      "tenancy",
                                      "Placement.Tenancy",
                                      "placement-group-name",
                                      "Placement.GroupName",
                                      "placement-partition-number",
                                      "Placement.PartitionNumber",
                                      "affinity",
                                      "Placement.Affinity",
                                      "host-id",
                                      "Placement.HostId",
                                      "ip-address",
                                      "PublicIpAddress",
                                      "dns-name",
                                      "PublicDnsName",
                                      "monitoring-state",
                                      "Monitoring.State",
                                      "reason",
                                      "StateTransitionReason",
                                      "state-reason-code",
                                      "StateReason.Code",
                                      "launch-index",
                                      "AmiLaunchIndex",
                                      "group-id",
                                      "SecurityGroups.GroupId",
                                      "group-name",
                                      "SecurityGroups.GroupName",
                                      "instance.group-id",
                                      "SecurityGroups.GroupId",
                                      "instance.group-name",
                                      "SecurityGroups.GroupName",
                                      "block-device-mapping.volume-id",
                                      "BlockDeviceMappings.Ebs.VolumeId",
                                      "metadata-options.http-tokens",
                                      "MetadataOptions.HttpTokens",
                                      "network-interface.addresses.private-ip-address",
                                      "NetworkInterfaces.PrivateIpAddresses.PrivateIpAddress",
                                      "network-interface.addresses.primary",
                                      "NetworkInterfaces.PrivateIpAddresses.Primary",
                                      "network-interface.addresses.association.public-ip",
                                      "NetworkInterfaces.PrivateIpAddresses.Association.PublicIp",
                                      "network-interface.addresses.association.ip-owner-id",
                                      "NetworkInterfaces.PrivateIpAddresses.Association.IpOwnerId",
                                      "network-interface.group-id",
                                      "NetworkInterfaces.Groups.GroupId",
                                      "network-interface.group-name",
                                      "NetworkInterfaces.Groups.GroupName",
                                      "network-interface.availability-zone",
                                      "Placement.AvailabilityZone",
                                      "block-device-mapping.attach-time",
                                      "BlockDeviceMappings.Ebs.AttachTime",
                                      "block-device-mapping.delete-on-termination",
                                      "BlockDeviceMappings.Ebs.DeleteOnTermination",
                                      "block-device-mapping.status",
                                      "BlockDeviceMappings.Ebs.Status",
                                      "product-code",
                                      "ProductCodes.ProductCodeId",
                                      "product-code.type",
                                      "ProductCodes.ProductCodeType",
                                      "state-reason-message",
                                      "StateReason.Message",
                                      "network-interface.attachment.instance-id",
                                      "InstanceId",
                                      NULL};

/* What an instance's document does not say. */
static const char *const derived[] = {"owner-id",
                                      "requester-id",
                                      "reservation-id",
                                      "network-interface.association.allocation-id",
                                      "network-interface.association.association-id",
                                      "network-interface.attachment.instance-owner-id",
                                      "network-interface.requester-id",
                                      "network-interface.requester-managed",
                                      NULL};

static const char **one_text(struct request *r, const char *text)
{
	const char **list = arena_alloc(r->arena, 2 * sizeof(*list));

	list[0] = text;
	list[1] = NULL;
	return list;
}

/* Elastic IPs of its interfaces: their ids, or those of their associations. */
static const char **addresses_of(struct request *r, const struct value *doc, bool association)
{
	const struct value *list = value_get(doc, "NetworkInterfaces");
	const char **out = arena_alloc(r->arena, (value_count(list) + 1) * sizeof(*out));
	unsigned count = 0;

	for (unsigned i = 0; i < value_count(list); i++) {
		const char *interface = value_string(value_item(list, i), "NetworkInterfaceId");
		const char *address = interface ? link_source(r, interface, "interface") : NULL;

		if (address && association)
			address = link_target(r, address, "association");
		if (address)
			out[count++] = address;
	}
	out[count] = NULL;
	return out;
}

static const char *reservation_of(struct request *r, const char *id)
{
	struct query *q =
	        query_text(database_query(r->cloud->db, "SELECT parent FROM resource WHERE id = $1"), id);
	const char *parent = query_row(q) ? arena_strdup(r->arena, query_column_text(q, 0)) : NULL;

	query_end(q);
	return parent;
}

static const char **derive(struct request *r, const struct value *doc, const char *filter)
{
	bool wired = value_count(value_get(doc, "NetworkInterfaces")) != 0;

	if (!strcmp(filter, "owner-id"))
		return one_text(r, r->account);
	if (!strcmp(filter, "reservation-id"))
		return one_text(r, reservation_of(r, value_string(doc, "InstanceId")));
	if (!strcmp(filter, "network-interface.association.allocation-id"))
		return addresses_of(r, doc, false);
	if (!strcmp(filter, "network-interface.association.association-id"))
		return addresses_of(r, doc, true);
	if (wired && !strcmp(filter, "network-interface.attachment.instance-owner-id"))
		return one_text(r, r->account);
	if (wired && !strcmp(filter, "network-interface.requester-managed"))
		return one_text(r, "false");
	return NULL; /* nobody else requests any */
}

RESOURCE_KIND(instance_kind) = {
        .name = "instance",
        .prefix = "i-",
        .shape = "Instance",
        .id = "InstanceId",
        .noun = "InstanceID",
        .filters = filters,
        .derived = derived,
        .derive = derive,
        .parent_filter = "reservation-id",
        .indexed = {"VpcId", "SubnetId", "InstanceType"},
        .state = "State.Name",
};

/* ---- states ---- */

const char *instance_state_name(enum instance_state state)
{
	switch (state) {
	case INSTANCE_PENDING:
		return "pending";
	case INSTANCE_RUNNING:
		return "running";
	case INSTANCE_SHUTTING_DOWN:
		return "shutting-down";
	case INSTANCE_TERMINATED:
		return "terminated";
	case INSTANCE_STOPPING:
		return "stopping";
	case INSTANCE_STOPPED:
		return "stopped";
	}
	return "";
}

enum instance_state instance_state_of(const struct value *doc)
{
	return (enum instance_state)value_integer(value_get(doc, "State"), "Code", 0);
}

void instance_state_write(struct value *v, enum instance_state state)
{
	value_set_integer(v, "Code", state);
	value_set_string(v, "Name", instance_state_name(state));
}

void instance_say(struct request *r, const char *id, const char *from, const char *to, const char *code)
{
	struct record line;

	if (!record_begin(&line, LOG_INFO, "state"))
		return;
	record_text(&line, "kind", "instance");
	record_text(&line, "id", id);
	record_text(&line, "account", r->account);
	record_text(&line, "region", r->region);
	record_text(&line, "from", from);
	record_text(&line, "to", to);
	record_text(&line, "code", code);
	record_text(&line, "request_id", r->id);
	database_say(r->cloud->db, &line);
}

void instance_enter(struct request *r, struct resource *instance, enum instance_state state,
                    const char *transition, const char *code, const char *message)
{
	struct value *doc = instance->doc, *reason;
	enum instance_state before = instance_state_of(doc);

	instance_state_write(value_open(doc, "State"), state);
	instance->state = instance_state_name(state);
	value_set_string(doc, "StateTransitionReason", transition ? transition : "");
	value_remove(doc, "StateReason");
	if (code) {
		reason = value_open(doc, "StateReason");
		value_set_string(reason, "Code", code);
		value_set_string(reason, "Message", message);
	}
	if (state == INSTANCE_STOPPED || state == INSTANCE_TERMINATED) {
		schedule_leave(r, instance->id);
		value_remove(doc, "CapacityReservationId");
	}
	instance_say(r, instance->id, instance_state_name(before), instance_state_name(state), code);
	usage_enter(r, instance, state);
	tally_enter(r, instance, state);
	instance_network_enter(r, instance);
	if (state == INSTANCE_TERMINATED) {
		instance_volumes_leave(r, instance);
		instance_profile_leave(r, instance);
		termination_note(r, instance->id);
	}
	resource_save(r, instance);
}

/* ---- machine rows ---- */

#define MACHINE_COLUMNS                                                                                     \
	"m.instance, m.account, m.region, m.host, m.reservation, m.placement_group, m.wanted, m.status, "   \
	"m.vcpus, m.memory, m.deadline, m.attributes, m.kernel, m.initrd, m.disk, m.cmdline, h.simulated, " \
	"m.partition "

static struct machine *read_machine(struct request *r, struct query *q)
{
	static const struct resource_kind attribute_kind = {.shape = "InstanceAttribute"};
	struct machine *m = arena_alloc(r->arena, sizeof(*m));
	const char **texts[] = {&m->instance,    &m->account, &m->region, &m->host,
	                        &m->reservation, &m->group,   &m->wanted, &m->status};

	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++)
		*texts[i] = arena_strdup(r->arena, query_column_text(q, i));
	m->vcpus = query_column_integer(q, 8);
	m->memory = query_column_integer(q, 9);
	m->deadline = query_column_integer(q, 10);
	m->attributes = json_parse(r->arena, &model_ec2, resource_shape(&model_ec2, &attribute_kind),
	                           query_column_text(q, 11), query_column_length(q, 11));
	m->kernel = arena_strdup(r->arena, query_column_text(q, 12));
	m->initrd = arena_strdup(r->arena, query_column_text(q, 13));
	m->disk = arena_strdup(r->arena, query_column_text(q, 14));
	m->cmdline = arena_strdup(r->arena, query_column_text(q, 15));
	m->simulated = query_column_integer(q, 16);
	m->partition = query_column_integer(q, 17);
	return m;
}

struct machine *machine_find(struct request *r, const char *instance)
{
	struct query *q = query_text(
	        database_query(r->cloud->db,
	                       "SELECT " MACHINE_COLUMNS
	                       "FROM machine m LEFT JOIN host h ON h.id = m.host WHERE m.instance = $1"),
	        instance);
	struct machine *m = query_row(q) ? read_machine(r, q) : NULL;

	query_end(q);
	return m;
}

void machine_set(struct request *r, const char *instance, const char *wanted, const char *status,
                 s64 deadline)
{
	struct query *q = database_query(
	        r->cloud->db,
	        "UPDATE machine SET wanted = $1, status = $2, deadline = $3 WHERE instance = $4");

	query_integer(query_text(query_text(q, wanted), status), deadline);
	query_run(query_text(q, instance));
	r->cloud->wake = true;
}

void machine_set_attributes(struct request *r, const char *instance, const struct value *attributes)
{
	struct query *q =
	        database_query(r->cloud->db, "UPDATE machine SET attributes = $1 WHERE instance = $2");
	struct buffer b = {0};

	json_write(&b, attributes);
	query_run(query_text(query_text(q, buffer_str(&b)), instance));
	buffer_release(&b);
}

/* ---- describe ---- */

bool instance_is_shown(const struct request *r, const struct resource *res)
{
	s64 at;

	if (instance_state_of(res->doc) != INSTANCE_TERMINATED)
		return true;
	at = value_integer(res->doc, "UsageOperationUpdateTime", 0);
	return r->now_ms - at < TERMINATION_SHOWN_MS;
}

struct listing {
	struct request *request;
	const struct filter *filter;
	struct value *reservations;
};

static bool match(void *ctx, struct resource *res)
{
	struct listing *l = ctx;

	return instance_is_shown(l->request, res) && filter_match(l->filter, res->doc);
}

static void add(void *ctx, struct resource *res)
{
	struct listing *l = ctx;
	struct value *list = l->reservations, *reservation = NULL;
	const char *id = res->parent;

	/* Those of one launch follow each other. */
	if (list->count && !strcmp(value_string(value_item(list, list->count - 1), "ReservationId"), id))
		reservation = value_item(list, list->count - 1);
	if (!reservation) {
		reservation = value_append(list);
		value_set_string(reservation, "ReservationId", id);
		value_set_string(reservation, "OwnerId", l->request->account);
		value_open(reservation, "Groups");
	}
	value_append_value(value_open(reservation, "Instances"), res->doc);
}

ACTION(ec2, DescribeInstances)
{
	struct listing l = {.request = r, .reservations = value_open(r->out, "Reservations")};
	struct describe_each each = {.kind = &instance_kind,
	                             .ids = "InstanceIds",
	                             .ids_alone = "instancesSet",
	                             .match = match,
	                             .add = add,
	                             .ctx = &l};
	struct filter *filter;

	if (filter_read(r, &instance_kind, &filter) < 0)
		return -1;
	l.filter = each.filters = filter;
	return describe_each(r, &each);
}
