/*
 * DescribeInstanceStatus. The checks look at the world: the system's, whether the host answers and the
 * machine's keeper lives; the instance's, whether the guest came up, as its console tells
 * (host/guest_watch.h): impaired when it panics or has not come up in time, insufficient-data when it says
 * nothing at all.
 */
#include "host/hosted.h"
#include "region/agent.h"
#include "region/describe.h"
#include "region/filter.h"
#include "region/host_health.h"
#include "region/instance.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* How long a guest may take to come up. */
enum { GRACE_MS = 10 * 60 * 1000 };

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

enum check { CHECK_NONE, CHECK_INITIALIZING, CHECK_OK, CHECK_FAILED, CHECK_UNKNOWN };

struct checks {
	enum check system, guest;
	s64 system_since_ms, guest_since_ms; /* FAILED: since when; 0: not known */
	const char *host;                    /* that is lost, or NULL */
	s64 lost_ms;
};

static void write_check(struct value *v, enum check check, s64 since_ms)
{
	static const char *const summary[] = {"not-applicable", "initializing", "ok", "impaired",
	                                      "insufficient-data"},
	                         *const status[] = {"", "initializing", "passed", "failed",
	                                            "insufficient-data"};
	struct value *detail;

	value_set_string(v, "Status", summary[check]);
	if (check == CHECK_NONE)
		return;
	detail = value_append(value_open(v, "Details"));
	value_set_string(detail, "Name", "reachability");
	value_set_string(detail, "Status", status[check]);
	if (check == CHECK_FAILED && since_ms)
		value_set_time(detail, "ImpairedSince", since_ms);
}

static void look_simulated(struct request *r, const struct machine *m, struct checks *c)
{
	struct host_health health = host_health(r, m->host);

	c->system = c->guest = health.up ? CHECK_OK : CHECK_FAILED;
	c->system_since_ms = c->guest_since_ms = c->lost_ms = health.lost_ms;
	c->host = health.up ? NULL : m->host;
}

/* A guest that has said nothing of itself has some minutes for it. */
static void look_guest(struct request *r, const char *dir, s64 launched_ms, struct checks *c)
{
	struct hosted_guest guest;

	hosted_guest(dir, &guest);
	if (guest.state == GUEST_UP) {
		c->guest = CHECK_OK;
	} else if (guest.state == GUEST_FAILED) {
		c->guest = CHECK_FAILED;
		c->guest_since_ms = guest.at_ms;
	} else if (r->now_ms < launched_ms + GRACE_MS) {
		c->guest = CHECK_INITIALIZING;
	} else if (console_spoke(dir, launched_ms)) {
		c->guest = CHECK_FAILED;
		c->guest_since_ms = launched_ms + GRACE_MS;
	} else {
		c->guest = CHECK_UNKNOWN;
	}
}

static void look(struct request *r, const struct resource *instance, struct checks *c)
{
	const struct value *launched = value_get(instance->doc, "LaunchTime");
	struct machine *m = machine_find(r, instance->id);
	struct hosted_state state;
	struct error e;
	char dir[4200];

	if (m && m->simulated) {
		look_simulated(r, m, c);
		return;
	}
	agent_folder(r->cloud, dir, sizeof(dir), instance->id);
	if (!m || hosted_state(dir, &state, &e) < 0 || state.status != HOSTED_RUNNING) {
		c->system = c->guest = CHECK_FAILED;
		c->system_since_ms = c->guest_since_ms =
		        m && state.status == HOSTED_ENDED ? state.at_ms : r->now_ms;
		return;
	}
	c->system = CHECK_OK;
	look_guest(r, dir, launched ? launched->integer : 0, c);
}

/* What is to be done about a lost host, as EC2 says it of hardware that fails. */
static void write_event(struct value *v, struct request *r, const struct resource *instance,
                        const struct checks *c)
{
	struct value *event = value_append(value_open(v, "Events"));

	value_set_string(event, "InstanceEventId",
	                 arena_printf(r->arena, "instance-event-%s", instance->id + strlen("i-")));
	value_set_string(event, "Code", "instance-retirement");
	value_set_string(
	        event, "Description",
	        arena_printf(r->arena,
	                     "The host %s does not answer; stop and start the instance to move it to "
	                     "another",
	                     c->host));
	value_set_time(event, "NotBefore", c->lost_ms);
}

static struct value *status_of(struct request *r, const struct resource *instance)
{
	struct value *v = value_new(r->arena, r->model, resource_shape(r->model, &status_kind));
	enum instance_state state = instance_state_of(instance->doc);
	struct checks checks = {0};

	if (state == INSTANCE_RUNNING)
		look(r, instance, &checks);
	value_set_string(v, "AvailabilityZone", value_path(instance->doc, "Placement.AvailabilityZone"));
	value_set_string(v, "InstanceId", instance->id);
	instance_state_write(value_open(v, "InstanceState"), state);
	write_check(value_open(v, "InstanceStatus"), checks.guest, checks.guest_since_ms);
	write_check(value_open(v, "SystemStatus"), checks.system, checks.system_since_ms);
	if (checks.host && checks.lost_ms)
		write_event(v, r, instance, &checks);
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
