/*
 * DescribeInstanceAttribute, ModifyInstanceAttribute, ResetInstanceAttribute.
 *
 * What Instance does not show lies in the machine's row; source/destination check and security groups are
 * those of the instance's one interface.
 */
#include "model/scalar.h"
#include "region/instance.h"
#include "region/instance_type.h"
#include "region/network_interface.h"
#include "region/schedule.h"
#include "region/security_group.h"
#include "region/tally.h"
#include "region/tenancy.h"
#include "region/volume.h"

#include <string.h>

enum { USER_DATA_MAX = 16 << 10 };

static struct machine *machine_of(struct request *r, struct resource **instance)
{
	struct machine *m;

	*instance = resource_of(r, &instance_kind, "InstanceId");
	if (!*instance)
		return NULL;
	m = machine_find(r, (*instance)->id);
	if (!m)
		request_fail(r, "InvalidInstanceID.NotFound", "The instance ID '%s' does not exist",
		             (*instance)->id);
	return m;
}

/* ---- describe ---- */

static void copy(struct request *r, const char *to, const struct value *from, const char *name)
{
	const struct value *v = value_get(from, name);

	if (v)
		value_put(r->out, to, value_copy(r->arena, v));
	else
		value_open(r->out, to);
}

ACTION(ec2, DescribeInstanceAttribute)
{
	static const struct {
		const char *attribute, *member;
	} kept[] = {{"instanceType", "InstanceType"},
	            {"userData", "UserData"},
	            {"disableApiTermination", "DisableApiTermination"},
	            {"disableApiStop", "DisableApiStop"},
	            {"instanceInitiatedShutdownBehavior", "InstanceInitiatedShutdownBehavior"},
	            {"ebsOptimized", "EbsOptimized"},
	            {"kernel", "KernelId"},
	            {"ramdisk", "RamdiskId"},
	            {"sriovNetSupport", "SriovNetSupport"}};
	const char *attribute = value_string(r->in, "Attribute");
	struct resource *instance;
	struct machine *m = machine_of(r, &instance);

	if (!m)
		return -1;
	value_set_string(r->out, "InstanceId", instance->id);
	for (unsigned i = 0; i < ARRAY_SIZE(kept); i++)
		if (!strcmp(attribute, kept[i].attribute))
			copy(r, kept[i].member, m->attributes, kept[i].member);
	if (!strcmp(attribute, "disableApiStop") && !value_get(m->attributes, "DisableApiStop"))
		value_set_boolean(value_open(r->out, "DisableApiStop"), "Value", false);
	else if (!strcmp(attribute, "rootDeviceName"))
		value_set_string(value_open(r->out, "RootDeviceName"), "Value",
		                 value_string(instance->doc, "RootDeviceName"));
	else if (!strcmp(attribute, "blockDeviceMapping"))
		copy(r, "BlockDeviceMappings", instance->doc, "BlockDeviceMappings");
	else if (!strcmp(attribute, "productCodes"))
		copy(r, "ProductCodes", instance->doc, "ProductCodes");
	else if (!strcmp(attribute, "groupSet"))
		copy(r, "Groups", instance->doc, "SecurityGroups");
	else if (!strcmp(attribute, "enclaveOptions"))
		copy(r, "EnclaveOptions", instance->doc, "EnclaveOptions");
	else if (!strcmp(attribute, "sourceDestCheck"))
		value_set_boolean(value_open(r->out, "SourceDestCheck"), "Value",
		                  value_boolean(instance->doc, "SourceDestCheck", true));
	else if (!strcmp(attribute, "enaSupport"))
		value_set_boolean(value_open(r->out, "EnaSupport"), "Value",
		                  value_boolean(instance->doc, "EnaSupport", false));
	return 0;
}

/* ---- modify ---- */

struct change {
	struct request *r;
	struct resource *instance;
	struct machine *m;
	struct value *attributes; /* to be stored */
	const char *text;         /* the new value; NULL for lists and user data in bytes */
};

static int need_stopped(struct change *c)
{
	if (instance_state_of(c->instance->doc) == INSTANCE_STOPPED)
		return 0;
	return request_fail(c->r, "IncorrectInstanceState",
	                    "The instance '%s' is not in the 'stopped' state.", c->instance->id);
}

static int read_boolean(struct change *c, bool *value)
{
	if (c->text && !strcasecmp(c->text, "true"))
		*value = true;
	else if (c->text && !strcasecmp(c->text, "false"))
		*value = false;
	else
		return request_fail(c->r, "InvalidParameterValue",
		                    "Value (%.64s) for parameter value is invalid. Expecting true or false.",
		                    c->text ? c->text : "");
	return 0;
}

static int set_boolean(struct change *c, const char *member)
{
	bool value;

	if (read_boolean(c, &value) < 0)
		return -1;
	value_set_boolean(value_open(c->attributes, member), "Value", value);
	machine_set_attributes(c->r, c->instance->id, c->attributes);
	return 0;
}

static int set_ebs_optimized(struct change *c)
{
	bool value;

	if (need_stopped(c) < 0 || read_boolean(c, &value) < 0 || set_boolean(c, "EbsOptimized") < 0)
		return -1;
	value_set_boolean(c->instance->doc, "EbsOptimized", value);
	resource_save(c->r, c->instance);
	return 0;
}

static int set_shutdown_behaviour(struct change *c)
{
	if (!c->text || (strcmp(c->text, "stop") && strcmp(c->text, "terminate")))
		return request_fail(c->r, "InvalidParameterValue",
		                    "Value (%.64s) for parameter instanceInitiatedShutdownBehavior is "
		                    "invalid. Expecting stop or terminate.",
		                    c->text ? c->text : "");
	value_set_string(value_open(c->attributes, "InstanceInitiatedShutdownBehavior"), "Value", c->text);
	machine_set_attributes(c->r, c->instance->id, c->attributes);
	return 0;
}

/* Is there a host that could take it? Room is taken when it starts, not now. */
static int check_room(struct change *c, const struct instance_type *type)
{
	struct schedule_wish wish = {.zone = value_path(c->instance->doc, "Placement.AvailabilityZone"),
	                             .vcpus = type->vcpus,
	                             .memory_mib = type->memory_mib,
	                             .group = "",
	                             .strategy = ""};
	struct schedule_place place;
	struct query *q;

	tenancy_of_instance(c->instance->doc, &wish);
	wish.type = type->name;
	if (schedule_enter(c->r, &wish, &place) < 0)
		return -1;
	q = database_query(c->r->cloud->db,
	                   "UPDATE machine SET vcpus = $1, memory = $2, host = $3 WHERE instance = $4");
	query_text(query_integer(query_integer(q, type->vcpus), type->memory_mib), place.host);
	query_run(query_text(q, c->instance->id));
	schedule_leave(c->r, c->instance->id);
	return 0;
}

static int set_type(struct change *c)
{
	const struct instance_type *type = c->text ? instance_type_find(c->text) : NULL;
	struct resource **interfaces = network_interface_list(c->r, c->instance->id);
	struct value *cpu;
	unsigned count = 0;

	if (need_stopped(c) < 0)
		return -1;
	if (!type)
		return request_fail(c->r, "InvalidInstanceAttributeValue",
		                    "The instance type '%.64s' is not valid.", c->text ? c->text : "");
	if (type->flags & TYPE_METAL)
		return request_fail(c->r, "Unsupported", "Bare metal (%s) is not offered here yet",
		                    type->name);
	while (interfaces[count])
		count++;
	if (count > type->interfaces)
		return request_fail(c->r, "AttachmentLimitExceeded",
		                    "The instance '%s' has %u network interfaces, %s has room for %u",
		                    c->instance->id, count, type->name, type->interfaces);
	if (check_room(c, type) < 0)
		return -1;
	value_set_string(value_open(c->attributes, "InstanceType"), "Value", type->name);
	machine_set_attributes(c->r, c->instance->id, c->attributes);
	value_set_string(c->instance->doc, "InstanceType", type->name);
	cpu = value_open(c->instance->doc, "CpuOptions");
	value_set_integer(cpu, "CoreCount", type->vcpus / type->threads_per_core);
	value_set_integer(cpu, "ThreadsPerCore", type->threads_per_core);
	tally_enter(c->r, c->instance, instance_state_of(c->instance->doc));
	resource_save(c->r, c->instance);
	return 0;
}

static int set_user_data(struct change *c)
{
	const struct value *bytes = value_get(value_get(c->r->in, "UserData"), "Value");
	const char *text = c->text;
	struct buffer b = {0};
	size_t length = 0;

	if (need_stopped(c) < 0)
		return -1;
	if (!text) {
		base64_write(&b, bytes ? bytes->text : "", value_count(bytes));
		text = arena_strdup(c->r->arena, buffer_str(&b));
		buffer_release(&b);
	}
	if (!base64_parse(c->r->arena, text, strlen(text), &length))
		return request_fail(c->r, "InvalidParameterValue", "Invalid BASE64 encoding of user data");
	if (length > USER_DATA_MAX)
		return request_fail(c->r, "InvalidParameterValue", "User data is limited to %d bytes",
		                    USER_DATA_MAX);
	if (length)
		value_set_string(value_open(c->attributes, "UserData"), "Value", text);
	else
		value_remove(c->attributes, "UserData");
	machine_set_attributes(c->r, c->instance->id, c->attributes);
	return 0;
}

/* The only one; with more, each is changed by itself. */
static struct resource *interface_of(struct change *c)
{
	struct resource **list = network_interface_list(c->r, c->instance->id);

	if (list[0] && !list[1])
		return list[0];
	if (list[0])
		request_fail(c->r, "InvalidInstanceID",
		             "There are multiple interfaces attached to instance '%s'. Please specify an "
		             "interface ID for the operation instead.",
		             c->instance->id);
	else
		request_fail(c->r, "IncorrectInstanceState",
		             "The instance '%s' has no network interface in its state.", c->instance->id);
	return NULL;
}

static int set_source_check(struct change *c)
{
	struct resource *interface = interface_of(c);
	bool value;

	if (!interface || read_boolean(c, &value) < 0)
		return -1;
	value_set_boolean(interface->doc, "SourceDestCheck", value);
	network_interface_save(c->r, interface);
	return 0;
}

static int set_groups(struct change *c)
{
	struct resource *interface = interface_of(c), **groups;
	const struct value *ids = value_get(c->r->in, "Groups");

	if (!interface)
		return -1;
	if (!value_count(ids))
		return request_fail(c->r, "MissingParameter",
		                    "The request must contain the parameter groupId");
	groups = security_group_check(c->r, value_string(interface->doc, "VpcId"), ids);
	if (!groups)
		return -1;
	network_interface_set_groups(c->r, interface, groups);
	return 0;
}

static int set_mappings(struct change *c)
{
	const struct value *wanted = value_get(c->r->in, "BlockDeviceMappings");
	struct value *list = value_open(c->instance->doc, "BlockDeviceMappings");

	if (!value_count(wanted))
		return request_fail(c->r, "MissingParameter",
		                    "The request must contain the parameter blockDeviceMapping");
	for (unsigned i = 0; i < value_count(wanted); i++) {
		const char *name = value_string(value_item(wanted, i), "DeviceName");
		const struct value *ebs = value_get(value_item(wanted, i), "Ebs");
		struct value *device = NULL;

		for (unsigned k = 0; k < list->count && !device; k++)
			if (name && !strcmp(value_string(value_item(list, k), "DeviceName"), name))
				device = value_item(list, k);
		if (!device)
			return request_fail(c->r, "InvalidInstanceAttributeValue",
			                    "No device is currently mapped at %.64s", name ? name : "");
		if (value_get(ebs, "DeleteOnTermination"))
			volume_set_delete_on_termination(c->r, c->instance, device,
			                                 value_boolean(ebs, "DeleteOnTermination", false));
	}
	resource_save(c->r, c->instance);
	return 0;
}

static int set_termination_protection(struct change *c)
{
	return set_boolean(c, "DisableApiTermination");
}

static int set_stop_protection(struct change *c)
{
	return set_boolean(c, "DisableApiStop");
}

/* All machines have paravirtual network interfaces, which is what EnaSupport promises. */
static int set_ena(struct change *c)
{
	bool value;

	if (need_stopped(c) < 0 || read_boolean(c, &value) < 0)
		return -1;
	if (!value)
		return request_fail(c->r, "InvalidParameterValue", "Enhanced networking cannot be disabled");
	return 0;
}

static int refuse(struct change *c)
{
	return request_fail(
	        c->r, "UnsupportedOperation",
	        "The kernel, RAM disk, root device name, product codes, enclave options and SR-IOV "
	        "support of an instance cannot be modified");
}

static const struct {
	const char *attribute, *member;
	int (*fn)(struct change *c);
	bool by_value; /* has a text form, for Attribute and Value */
} changes[] = {
        {"instanceType", "InstanceType", set_type, true},
        {"userData", "UserData", set_user_data, true},
        {"disableApiTermination", "DisableApiTermination", set_termination_protection, true},
        {"disableApiStop", "DisableApiStop", set_stop_protection, true},
        {"instanceInitiatedShutdownBehavior", "InstanceInitiatedShutdownBehavior", set_shutdown_behaviour,
         true},
        {"ebsOptimized", "EbsOptimized", set_ebs_optimized, true},
        {"sourceDestCheck", "SourceDestCheck", set_source_check, true},
        {"enaSupport", "EnaSupport", set_ena, true},
        {"groupSet", "Groups", set_groups, false},
        {"blockDeviceMapping", "BlockDeviceMappings", set_mappings, false},
        {"kernel", "Kernel", refuse, true},
        {"ramdisk", "Ramdisk", refuse, true},
        {"sriovNetSupport", "SriovNetSupport", refuse, true},
        {"rootDeviceName", NULL, refuse, true},
        {"productCodes", NULL, refuse, true},
        {"enclaveOptions", NULL, refuse, true},
};

static const char *value_text(const struct value *v)
{
	const struct value *value = v->kind == VALUE_STRUCTURE ? value_get(v, "Value") : NULL;

	if (!value)
		return NULL;
	if (value->kind == VALUE_BOOLEAN)
		return value->boolean ? "true" : "false";
	return value->kind == VALUE_STRING ? value->text : NULL;
}

ACTION(ec2, ModifyInstanceAttribute)
{
	const char *attribute = value_string(r->in, "Attribute"), *text = value_string(r->in, "Value");
	struct change c = {.r = r};
	unsigned which = 0, count = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(changes); i++) {
		const struct value *v = changes[i].member ? value_get(r->in, changes[i].member) : NULL;
		bool named = attribute && !strcmp(attribute, changes[i].attribute);

		if (!v && !named)
			continue;
		which = i;
		count++;
		c.text = v ? value_text(v) : text;
		if (!v && changes[i].by_value && !text)
			return request_fail(r, "MissingParameter",
			                    "The request must contain the parameter value");
	}
	if (count != 1)
		return request_fail(r, "InvalidParameterCombination",
		                    count ? "Fields for multiple attribute types specified"
		                          : "No attributes specified.");
	c.m = machine_of(r, &c.instance);
	if (!c.m)
		return -1;
	if (instance_state_of(c.instance->doc) == INSTANCE_TERMINATED)
		return request_fail(r, "IncorrectInstanceState",
		                    "The instance '%s' is terminated and cannot be modified.",
		                    c.instance->id);
	c.attributes = value_copy(r->arena, c.m->attributes);
	return changes[which].fn(&c);
}

ACTION(ec2, ResetInstanceAttribute)
{
	const char *attribute = value_string(r->in, "Attribute");
	struct change c = {.r = r, .text = "true"};

	c.m = machine_of(r, &c.instance);
	if (!c.m)
		return -1;
	if (!strcmp(attribute, "sourceDestCheck"))
		return set_source_check(&c);
	if (!strcmp(attribute, "kernel") || !strcmp(attribute, "ramdisk"))
		return refuse(&c);
	return request_fail(r, "InvalidParameterValue",
	                    "Value (%s) for parameter attribute is invalid. Expecting kernel, ramdisk or "
	                    "sourceDestCheck.",
	                    attribute);
}
