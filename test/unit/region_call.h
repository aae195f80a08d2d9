/* API actions, and machines of this host, in a test's region (region_fixture.h). Include it once. */
#pragma once

#include "region_fixture.h"

#include "api/form.h"
#include "api/query.h"
#include "region/instance.h"
#include "region/network_interface.h"
#include "region/schedule.h"

/* Does an action, with the parameters of a query string. */
static struct value *call(struct fixture *f, const char *name, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
static struct value *call(struct fixture *f, const char *name, const char *format, ...)
{
	const struct action *action = action_find("ec2", name);
	struct form form = {0};
	struct request *r = &f->r;
	char text[4096];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	f->fault = (struct fault){0};
	assert_non_null(action);
	assert_int_equal(form_parse(&form, r->arena, text, strlen(text)), 0);
	r->action = model_action_find(r->model, name);
	r->in = query_parse(r->arena, r->model, r->action, &form, r->fault);
	assert_non_null(r->in);
	r->out = r->action->output == MODEL_NONE ? NULL : value_new(r->arena, r->model, r->action->output);
	if (action->fn(r) < 0)
		fail_msg("%s: %s: %s", name, f->fault.code, f->fault.message);
	return r->out;
}

static const char *id_of(struct fixture *f, const char *action, const char *path, const char *format, ...)
        __attribute__((format(printf, 4, 5)));
static const char *id_of(struct fixture *f, const char *action, const char *path, const char *format, ...)
{
	char text[4096];
	const char *id;
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	id = value_path(call(f, action, "%s", text), path);
	assert_non_null(id);
	return id;
}

/* A machine of this host, in a state, with an interface in a subnet. */
static const char *machine(struct fixture *f, const char *subnet, const char *group, const char *status,
                           const char **interface)
{
	struct request *r = &f->r;
	struct resource *instance = resource_new(r, &instance_kind);
	struct query *q = database_query(
	        r->cloud->db, "INSERT INTO machine VALUES ($1, $2, $3, $4, 1, 64, 'r-1', '', 'running', "
	                      "$5, 0, '{}', '', '', '', '', 0)");

	instance_state_write(value_open(instance->doc, "State"), INSTANCE_RUNNING);
	value_set_string(instance->doc, "InstanceType", "t3.micro");
	resource_insert(r, instance);
	query_text(query_text(query_text(query_text(q, instance->id), r->account), r->region), HOST_LOCAL);
	query_run(query_text(q, status));
	*interface = id_of(f, "CreateNetworkInterface", "NetworkInterface.NetworkInterfaceId",
	                   "SubnetId=%s&SecurityGroupId.1=%s", subnet, group);
	network_interface_attach(r, resource_find(r, &network_interface_kind, *interface), instance->id, 0, 0,
	                         true);
	return instance->id;
}
