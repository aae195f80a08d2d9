/*
 * DescribeInstanceStatus. The checks look at the world: the system's, whether the machine's keeper lives (or
 * its simulated host is up); the instance's, whether its console has said something since it was launched.
 */
#include "host/hosted.h"
#include "region/agent.h"
#include "region/describe.h"
#include "region/filter.h"
#include "region/instance.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char *const filters[] = {"instance-state-code",
                                      "InstanceState.Code",
                                      "instance-state-name",
                                      "InstanceState.Name",
                                      "instance-status.status",
                                      "InstanceStatus.Status",
                                      "instance-status.reachability",
                                      "InstanceStatus.Details.Status",
                                      "system-status.status",
                                      "SystemStatus.Status",
                                      "system-status.reachability",
                                      "SystemStatus.Details.Status",
                                      "event.code",
                                      "Events.Code",
                                      "event.description",
                                      "Events.Description",
                                      "event.instance-event-id",
                                      "Events.InstanceEventId",
                                      "event.not-after",
                                      "Events.NotAfter",
                                      "event.not-before",
                                      "Events.NotBefore",
                                      "event.not-before-deadline",
                                      "Events.NotBeforeDeadline",
                                      NULL};

static const struct resource_kind status_kind = {.name = "instance",
                                                 .prefix = "i-",
                                                 .shape = "InstanceStatus",
                                                 .id = "InstanceId",
                                                 .filters = filters};

static bool host_up(struct request *r, const char *host)
{
	struct query *q =
	        query_text(database_query(r->cloud->db, "SELECT state FROM host WHERE id = $1"), host);
	bool up = query_row(q) && !strcmp(query_column_text(q, 0), "up");

	query_end(q);
	return up;
}

/* Has the serial line's log been written to since then? A log that was put aside had something in it. */
static bool console_spoke(const char *dir, s64 since_ms)
{
	char path[4300];
	struct stat st, old;

	snprintf(path, sizeof(path), "%s/console.log", dir);
	if (stat(path, &st) < 0 || st.st_mtim.tv_sec * 1000LL + st.st_mtim.tv_nsec / 1000000 < since_ms)
		return false;
	snprintf(path, sizeof(path), "%s/console.log.1", dir);
	return st.st_size > 0 || stat(path, &old) == 0;
}

enum check { CHECK_NONE, CHECK_INITIALIZING, CHECK_OK, CHECK_FAILED };

static void write_check(struct value *v, enum check check)
{
	static const char *const summary[] = {"not-applicable", "initializing", "ok", "impaired"},
	                         *const status[] = {"", "initializing", "passed", "failed"};
	struct value *detail;

	value_set_string(v, "Status", summary[check]);
	if (check == CHECK_NONE)
		return;
	detail = value_append(value_open(v, "Details"));
	value_set_string(detail, "Name", "reachability");
	value_set_string(detail, "Status", status[check]);
}

static void look(struct request *r, const struct resource *instance, enum check *system, enum check *guest)
{
	const struct value *launched = value_get(instance->doc, "LaunchTime");
	struct machine *m = machine_find(r, instance->id);
	struct hosted_state state;
	struct error e;
	char dir[4200];

	if (m && m->simulated) {
		*system = *guest = host_up(r, m->host) ? CHECK_OK : CHECK_FAILED;
		return;
	}
	agent_folder(r->cloud, dir, sizeof(dir), instance->id);
	if (!m || hosted_state(dir, &state, &e) < 0 || state.status != HOSTED_RUNNING) {
		*system = *guest = CHECK_FAILED;
		return;
	}
	*system = CHECK_OK;
	*guest = console_spoke(dir, launched ? launched->integer : 0) ? CHECK_OK : CHECK_INITIALIZING;
}

static struct value *status_of(struct request *r, const struct resource *instance)
{
	struct value *v = value_new(r->arena, r->model, resource_shape(r->model, &status_kind));
	enum instance_state state = instance_state_of(instance->doc);
	enum check system = CHECK_NONE, guest = CHECK_NONE;

	if (state == INSTANCE_RUNNING)
		look(r, instance, &system, &guest);
	value_set_string(v, "AvailabilityZone", value_path(instance->doc, "Placement.AvailabilityZone"));
	value_set_string(v, "InstanceId", instance->id);
	instance_state_write(value_open(v, "InstanceState"), state);
	write_check(value_open(v, "InstanceStatus"), guest);
	write_check(value_open(v, "SystemStatus"), system);
	return v;
}

struct listing {
	struct request *request;
	const struct filter *filter;
	struct value *list, *status; /* status: of the one that matches */
	bool all;
};

static bool match(void *ctx, struct resource *instance)
{
	struct listing *l = ctx;

	if (!l->all && instance_state_of(instance->doc) != INSTANCE_RUNNING)
		return false;
	if (!instance_is_shown(l->request, instance))
		return false;
	l->status = status_of(l->request, instance);
	return filter_match(l->filter, l->status);
}

static void add(void *ctx, struct resource *instance)
{
	struct listing *l = ctx;

	value_append_value(l->list, l->status);
}

ACTION(ec2, DescribeInstanceStatus)
{
	struct listing l = {.request = r,
	                    .list = value_open(r->out, "InstanceStatuses"),
	                    .all = value_boolean(r->in, "IncludeAllInstances", false)};
	const struct describe_each each = {.kind = &instance_kind,
	                                   .ids = "InstanceIds",
	                                   .ids_alone = "instancesSet",
	                                   .match = match,
	                                   .add = add,
	                                   .ctx = &l};
	struct filter *filter;

	if (filter_read(r, &status_kind, &filter) < 0)
		return -1;
	l.filter = filter;
	return describe_each(r, &each);
}
