/* RunInstances. */
#include "model/json.h"
#include "model/scalar.h"
#include "region/capacity_reservation.h"
#include "region/image.h"
#include "region/instance.h"
#include "region/instance_credit.h"
#include "region/instance_metadata.h"
#include "region/instance_network.h"
#include "region/instance_profile.h"
#include "region/instance_type.h"
#include "region/instance_volume.h"
#include "region/key_pair.h"
#include "region/launch_template.h"
#include "region/placement.h"
#include "region/placement_group.h"
#include "region/region.h"
#include "region/schedule.h"
#include "region/tag.h"
#include "region/tally.h"
#include "region/tenancy.h"
#include "region/usage.h"
#include "region/vpc.h"

#include <string.h>

enum { LAUNCH_MAX = 1000, USER_DATA_MAX = 16 << 10, TOKEN_MAX = 64 };

struct launch {
	const struct instance_type *type;
	struct resource *image;
	struct image_source source;
	const char *key, *zone;
	const char *reservation;
	struct schedule_wish wish; /* its tenancy */
	const char *credits;       /* NULL: the type has none */
	s64 cores, threads;        /* of each core */
	struct placement_use use;
	struct value *attributes, *metadata;
	struct instance_profile profile;
	struct instance_network network;
	struct instance_volumes volumes;
};

static int check_counts(struct request *r, s64 *least, s64 *most)
{
	const char *token = value_string(r->in, "ClientToken");

	*least = value_integer(r->in, "MinCount", 1);
	*most = value_integer(r->in, "MaxCount", 1);
	if (token && strlen(token) > TOKEN_MAX)
		return request_fail(r, "InvalidParameterValue",
		                    "Value (%.64s…) for parameter clientToken is invalid: it has more than "
		                    "%d characters",
		                    token, TOKEN_MAX);
	if (*least < 1 || *most < 1)
		return request_fail(r, "InvalidParameterValue",
		                    "Value (%lld) for parameter %s is invalid. Minimum of 1 is required.",
		                    (long long)(*least < 1 ? *least : *most),
		                    *least < 1 ? "minCount" : "maxCount");
	if (*least > *most)
		return request_fail(
		        r, "InvalidParameterValue",
		        "Value (%lld) for parameter minCount is invalid. It is larger than maxCount "
		        "(%lld)",
		        (long long)*least, (long long)*most);
	if (*most > LAUNCH_MAX)
		return request_fail(r, "InstanceLimitExceeded", "At most %d instances can be started at once",
		                    LAUNCH_MAX);
	return 0;
}

static int check_type(struct request *r, struct launch *l)
{
	const char *name = value_string(r->in, "InstanceType");

	/* EC2's default, m1.small, is of another age. */
	l->type = instance_type_find(name ? name : "t2.micro");
	if (!l->type)
		return request_fail(r, "InvalidParameterValue", "Invalid value '%.64s' for InstanceType.",
		                    name);
	if (l->type->flags & TYPE_METAL)
		return request_fail(r, "Unsupported", "Bare metal (%s) is not offered here yet", name);
	return 0;
}

/* Fewer cores than the type has, or one thread on each, for software that is licensed by them. */
static int check_cpu(struct request *r, struct launch *l)
{
	const struct value *cpu = value_get(r->in, "CpuOptions");
	s64 cores = l->type->vcpus / l->type->threads_per_core, threads = l->type->threads_per_core;

	l->cores = value_integer(cpu, "CoreCount", cores);
	l->threads = value_integer(cpu, "ThreadsPerCore", threads);
	if (cpu && (!value_get(cpu, "CoreCount") || !value_get(cpu, "ThreadsPerCore")))
		return request_fail(r, "MissingParameter",
		                    "CpuOptions must have both CoreCount and ThreadsPerCore");
	if (l->cores < 1 || l->cores > cores || l->threads < 1 || l->threads > threads)
		return request_fail(r, "InvalidParameterValue",
		                    "CpuOptions for %s: 1 to %lld cores, 1 to %lld threads on each",
		                    l->type->name, (long long)cores, (long long)threads);
	return instance_credit_read(r, l->type, &l->credits);
}

static int check_key(struct request *r, struct launch *l)
{
	l->key = value_string(r->in, "KeyName");
	if (l->key && !key_pair_named(r, l->key))
		return request_fail(r, "InvalidKeyPair.NotFound", "The key pair '%s' does not exist", l->key);
	return 0;
}

static int check_partition(struct request *r, const struct value *placement, struct schedule_wish *wish)
{
	wish->partition = value_integer(placement, "PartitionNumber", 0);
	if (placement && value_get(placement, "PartitionNumber") && !wish->partitions)
		return request_fail(
		        r, "InvalidParameterCombination",
		        "PartitionNumber is for placement groups with the strategy 'partition' only");
	if (placement && value_get(placement, "PartitionNumber") &&
	    (wish->partition < 1 || wish->partition > wish->partitions))
		return request_fail(r, "InvalidParameterValue",
		                    "Value (%lld) for parameter PartitionNumber is invalid: 1 to %lld",
		                    (long long)wish->partition, (long long)wish->partitions);
	return 0;
}

/* Some tools send an empty text for none. */
static const char *given(const struct value *v, const char *name)
{
	const char *text = value_string(v, name);

	return text && *text ? text : NULL;
}

static int check_placement(struct request *r, struct launch *l)
{
	const struct value *placement = value_get(r->in, "Placement");
	const char *name = given(placement, "GroupName"), *id = given(placement, "GroupId");
	struct resource *group = NULL;

	l->zone = given(placement, "AvailabilityZone");
	if (l->zone && !region_has_zone(r->region, l->zone))
		return request_fail(r, "InvalidParameterValue", "Invalid availability zone: [%.64s]",
		                    l->zone);
	if (tenancy_read(r, placement, &l->wish) < 0)
		return -1;
	if (name && *name && id && *id)
		return request_fail(r, "InvalidParameterCombination",
		                    "The parameters GroupName and GroupId cannot be used together");
	if (id && *id)
		group = resource_get(r, &placement_group_kind, id);
	else if (name && *name)
		group = placement_group_named(r, name);
	if (!group && ((id && *id) || (name && *name)))
		return -1;
	placement_group_wish(group, &l->wish);
	return check_partition(r, placement, &l->wish);
}

/* What this region cannot do yet is refused, not forgotten. */
static int check_unsupported(struct request *r)
{
	static const char *const names[] = {"InstanceMarketOptions",
	                                    "LicenseSpecifications",
	                                    "ElasticGpuSpecification",
	                                    "ElasticInferenceAccelerators",
	                                    "KernelId",
	                                    "RamdiskId"};
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (value_get(r->in, names[i]) &&
		    (value_get(r->in, names[i])->kind != VALUE_LIST || value_get(r->in, names[i])->count))
			return request_fail(r, "UnsupportedOperation", "%s is not offered here yet",
			                    names[i]);
	if (value_boolean(value_get(r->in, "HibernationOptions"), "Configured", false))
		return request_fail(r, "UnsupportedHibernationConfiguration",
		                    "Hibernation is not offered here yet");
	if (value_boolean(value_get(r->in, "EnclaveOptions"), "Enabled", false))
		return request_fail(r, "UnsupportedOperation", "Enclaves are not offered here yet");
	return 0;
}

static void set_boolean(struct value *attributes, const char *name, bool value)
{
	value_set_boolean(value_open(attributes, name), "Value", value);
}

static int make_attributes(struct request *r, struct launch *l)
{
	static const struct resource_kind kind = {.shape = "InstanceAttribute"},
	                                  metadata_kind = {.shape = "InstanceMetadataOptionsResponse"};
	size_t length;
	const struct value *data = value_get(r->in, "UserData");
	const char *behaviour = value_string(r->in, "InstanceInitiatedShutdownBehavior");

	l->attributes = value_new(r->arena, r->model, resource_shape(r->model, &kind));
	set_boolean(l->attributes, "DisableApiTermination",
	            value_boolean(r->in, "DisableApiTermination", false));
	set_boolean(l->attributes, "DisableApiStop", value_boolean(r->in, "DisableApiStop", false));
	set_boolean(l->attributes, "EbsOptimized", value_boolean(r->in, "EbsOptimized", false));
	set_boolean(l->attributes, "SourceDestCheck", true);
	value_set_string(value_open(l->attributes, "InstanceInitiatedShutdownBehavior"), "Value",
	                 behaviour ? behaviour : "stop");
	value_set_string(value_open(l->attributes, "InstanceType"), "Value", l->type->name);
	l->metadata = value_new(r->arena, r->model, resource_shape(r->model, &metadata_kind));
	if (instance_metadata_read(r, value_get(r->in, "MetadataOptions"), l->metadata) < 0)
		return -1;
	if (data) {
		if (!base64_parse(r->arena, data->text, data->count, &length))
			return request_fail(r, "InvalidParameterValue",
			                    "Invalid BASE64 encoding of user data.");
		if (length > USER_DATA_MAX)
			return request_fail(r, "InvalidParameterValue", "User data is limited to %d bytes",
			                    USER_DATA_MAX);
		value_set_string(value_open(l->attributes, "UserData"), "Value", data->text);
	}
	return 0;
}

static void fill(struct request *r, const struct launch *l, struct value *doc, unsigned index,
                 const struct schedule_place *place)
{
	const char *recovery = value_string(value_get(r->in, "MaintenanceOptions"), "AutoRecovery");
	struct value *part;

	value_set_integer(doc, "AmiLaunchIndex", index);
	value_set_string(doc, "ImageId", l->image->id);
	value_set_string(doc, "InstanceType", l->type->name);
	value_set_string(doc, "KeyName", l->key);
	value_set_time(doc, "LaunchTime", r->now_ms);
	value_set_time(doc, "UsageOperationUpdateTime", r->now_ms);
	value_set_string(value_open(doc, "Monitoring"), "State",
	                 value_boolean(value_get(r->in, "Monitoring"), "Enabled", false) ? "enabled"
	                                                                                 : "disabled");
	part = value_open(doc, "Placement");
	value_set_string(part, "AvailabilityZone", place->zone);
	value_set_string(part, "GroupName", l->wish.group);
	if (place->partition)
		value_set_integer(part, "PartitionNumber", place->partition);
	tenancy_show(part, &l->wish, place);
	value_set_string(doc, "PrivateDnsName", "");
	value_set_string(doc, "PublicDnsName", "");
	value_open(doc, "ProductCodes");
	value_set_string(doc, "Architecture", "x86_64");
	value_open(doc, "BlockDeviceMappings");
	value_set_string(doc, "ClientToken", value_string(r->in, "ClientToken"));
	value_set_boolean(doc, "EbsOptimized", value_boolean(r->in, "EbsOptimized", false));
	value_set_boolean(doc, "EnaSupport", true);
	value_set_string(doc, "Hypervisor", "xen");
	value_open(doc, "NetworkInterfaces");
	value_set_string(doc, "RootDeviceName", value_string(l->image->doc, "RootDeviceName"));
	value_set_string(doc, "RootDeviceType", "ebs");
	value_open(doc, "SecurityGroups");
	value_set_string(doc, "VirtualizationType", "hvm");
	value_set_string(doc, "PlatformDetails", "Linux/UNIX");
	value_set_string(doc, "UsageOperation", "RunInstances");
	part = value_open(doc, "CpuOptions");
	value_set_integer(part, "CoreCount", l->cores);
	value_set_integer(part, "ThreadsPerCore", l->threads);
	capacity_show(doc, &l->wish, place);
	value_set_boolean(value_open(doc, "HibernationOptions"), "Configured", false);
	value_set_boolean(value_open(doc, "EnclaveOptions"), "Enabled", false);
	value_put(doc, "MetadataOptions", value_copy(r->arena, l->metadata));
	value_set_string(value_open(doc, "MaintenanceOptions"), "AutoRecovery",
	                 recovery ? recovery : "default");
}

static void insert_machine(struct request *r, const struct launch *l, const char *instance,
                           const struct schedule_place *place)
{
	struct query *q = database_query(
	        r->cloud->db, "INSERT INTO machine VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'running', "
	                      "$9, 0, $10, $11, $12, $13, $14, $15)");
	struct buffer b = {0};

	json_write(&b, l->attributes);
	query_text(query_text(query_text(query_text(q, instance), r->account), r->region), place->host);
	query_integer(query_integer(q, l->cores * l->threads), l->type->memory_mib);
	query_text(query_text(q, l->reservation), l->wish.group);
	query_text(q, place->simulated ? "running" : "pending");
	query_text(q, buffer_str(&b));
	query_text(query_text(q, l->source.kernel), l->source.initrd);
	query_text(query_text(q, l->source.disk), l->source.cmdline);
	query_run(query_integer(q, place->partition));
	buffer_release(&b);
	r->cloud->wake = true;
}

static int launch_one(struct request *r, struct launch *l, unsigned index, struct value *list)
{
	struct schedule_wish wish = l->wish;
	static const char *const others[] = {"volume", "network-interface", "spot-instances-request",
	                                     "elastic-gpu", NULL};
	struct schedule_place place;
	struct resource *instance;

	wish.zone = l->network.zone;
	wish.vcpus = l->cores * l->threads;
	wish.memory_mib = l->type->memory_mib;
	wish.type = l->type->name;
	wish.use = &l->use;
	instance = resource_new(r, &instance_kind);
	wish.instance = instance->id;
	if (schedule_enter(r, &wish, &place) < 0)
		return -1;
	fill(r, l, instance->doc, index, &place);
	if (tag_specifications(r, instance, others) < 0 ||
	    instance_metadata_check_tags(r, instance->doc) < 0 ||
	    instance_network_create(r, &l->network, instance, place.zone) < 0 ||
	    instance_volumes_create(r, &l->volumes, instance, place.zone) < 0)
		return -1;
	instance_state_write(value_open(instance->doc, "State"), INSTANCE_PENDING);
	value_set_string(instance->doc, "StateTransitionReason", "");
	instance->parent = l->reservation;
	instance->state = "pending";
	insert_machine(r, l, instance->id, &place);
	instance_credit_set(r, instance->id, l->credits);
	if (l->profile.arn)
		instance_profile_associate(r, instance, &l->profile);
	value_append_value(list, value_copy(r->arena, instance->doc));
	if (place.simulated) {
		instance_state_write(value_open(instance->doc, "State"), INSTANCE_RUNNING);
		instance->state = "running";
		usage_enter(r, instance, INSTANCE_RUNNING);
	}
	instance_say(r, instance->id, NULL, instance->state, NULL);
	tally_enter(r, instance, instance_state_of(instance->doc));
	resource_insert(r, instance);
	return 0;
}

/* A VPC may be for instances of tenancy "dedicated" only. */
static void share_vpc_tenancy(struct request *r, struct launch *l)
{
	const char *id = l->network.subnet ? value_string(l->network.subnet->doc, "VpcId") : NULL;
	struct resource *vpc = id ? resource_find(r, &vpc_kind, id) : NULL;

	if (vpc && !tenancy_is_own(&l->wish) &&
	    !strcmp(value_string(vpc->doc, "InstanceTenancy"), "dedicated"))
		l->wish.tenancy = "dedicated";
}

ACTION(ec2, RunInstances)
{
	const char *image;
	struct launch l = {0};
	struct value *list;
	s64 least, most;
	char digits[18];

	if (launch_template_apply(r) < 0 || check_counts(r, &least, &most) < 0 || check_unsupported(r) < 0)
		return -1;
	image = value_string(r->in, "ImageId");
	if (!image)
		return request_fail(r, "MissingParameter", "The request must contain the parameter ImageId");
	l.image = image_get(r, image, &l.source);
	if (!l.image && image_is_secret(r, image))
		return request_fail(r, "AuthFailure", "Not authorized for images: [%s]", image);
	if (l.image && strcmp(value_string(l.image->doc, "State"), "available"))
		return request_fail(r, "InvalidAMIID.Unavailable", "The image ID '%s' is not available",
		                    image);
	if (!l.image || check_type(r, &l) < 0 || check_cpu(r, &l) < 0 || check_key(r, &l) < 0 ||
	    capacity_read(r, value_get(r->in, "CapacityReservationSpecification"), &l.wish) < 0 ||
	    instance_profile_read(r, value_get(r->in, "IamInstanceProfile"), &l.profile) < 0 ||
	    check_placement(r, &l) < 0 || make_attributes(r, &l) < 0 ||
	    instance_network_read(r, l.zone, most, &l.network) < 0 ||
	    instance_volumes_read(r, l.image, &l.source, &l.volumes) < 0)
		return -1;
	share_vpc_tenancy(r, &l);
	cloud_random_hex(digits, 17);
	l.reservation = arena_printf(r->arena, "r-%s", digits);
	value_set_string(r->out, "ReservationId", l.reservation);
	value_set_string(r->out, "OwnerId", r->account);
	value_open(r->out, "Groups");
	list = value_open(r->out, "Instances");
	for (s64 i = 0; i < most; i++) {
		if (launch_one(r, &l, (unsigned)i, list) == 0)
			continue;
		/* As many as there can be, if that is enough. */
		if ((strncmp(r->fault->code, "Insufficient", strlen("Insufficient")) &&
		     strcmp(r->fault->code, "ReservationCapacityExceeded")) ||
		    i < least)
			return -1;
		r->fault->status = 0;
		break;
	}
	return 0;
}
