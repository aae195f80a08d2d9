#include "region/agent.h"
#include "base/clock.h"
#include "base/log.h"
#include "host/cgroup.h"
#include "host/firmware.h"
#include "host/hosted.h"
#include "region/capacity_reservation.h"
#include "region/cpu_credit.h"
#include "region/host_health.h"
#include "region/instance.h"
#include "region/instance_user_network.h"
#include "region/instance_volume.h"
#include "region/network_agent.h"
#include "region/network_interface.h"
#include "region/network_plug.h"
#include "region/root_volume.h"
#include "region/schedule.h"
#include "region/termination.h"
#include "region/volume.h"
#include "region/volume_plug.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *agent_folder(const struct cloud *c, char *buf, size_t size, const char *instance)
{
	snprintf(buf, size, "%s/instances/%s", c->data, instance);
	return buf;
}

struct step {
	struct agent *agent;
	struct request *r;
	struct machine *m;
	struct resource *instance;
	char dir[4200];
	struct hosted_state state;
};

static bool ended(const struct step *s)
{
	return s->state.status != HOSTED_RUNNING;
}

/* ---- ways to end ---- */

/* Its usage ends when the machine did, which may have been while nobody looked. */
static void meter_end(struct step *s)
{
	struct usage_mark at;

	if (s->state.status == HOSTED_ENDED) {
		at = (struct usage_mark){.wall_ms = s->state.at_ms, .up_ms = s->state.at_up_ms};
		if (s->state.at_up_ms)
			usage_end(s->r, s->m->instance, &at);
	} else if (s->state.status == HOSTED_LOST && !s->agent->begun && s->agent->last_beat.wall_ms) {
		usage_end(s->r, s->m->instance, &s->agent->last_beat);
	}
}

/* ---- control group, CPU credits ---- */

/* "": there is none. */
static void group_of(const struct step *s, char buf[CGROUP_PATH])
{
	struct error e;

	*buf = 0;
	if (s->agent->cgroup && cgroup_child(s->agent->cgroup, s->m->instance, buf, CGROUP_PATH, &e) < 0)
		log_warn("%s", e.text);
}

static void throttle(struct step *s, const struct cpu_credit_order *order)
{
	char group[CGROUP_PATH];
	struct error e;

	group_of(s, group);
	if (*group && cgroup_set_quota(group, (u64)order->quota_us, &e) == 0) {
		if (order->spent)
			log_info("%s: its CPU credits are spent, it has its baseline: %lld%% of a CPU",
			         s->m->instance, (long long)(order->quota_us * 100 / CGROUP_PERIOD_US));
	} else if (order->spent) {
		log_warn("%s: its CPU credits are spent, but it is not throttled: %s", s->m->instance,
		         *group ? e.text : s->agent->no_cgroup);
	}
}

static void settle(struct step *s)
{
	struct cpu_credit_order order = {
	        .period_us = CGROUP_PERIOD_US,
	        .full_us = (s64)cgroup_limits_of((unsigned)s->m->vcpus, (u64)s->m->memory).quota_us};
	struct usage_mark now;

	usage_now(s->agent->cloud, s->r->now_ms, &now);
	if (cpu_credit_settle(s->r, s->instance, s->state.run, hosted_cpu_us(&s->state), &now, &order) &&
	    order.quota_us && s->state.status == HOSTED_RUNNING)
		throttle(s, &order);
}

static void settle_end(struct step *s, bool gone)
{
	struct usage_mark at = {.wall_ms = s->state.at_ms, .up_ms = s->state.at_up_ms};

	if (!at.up_ms)
		usage_now(s->agent->cloud, s->r->now_ms, &at);
	cpu_credit_end(s->r, s->instance, s->state.run, hosted_cpu_us(&s->state), &at, gone);
}

static void become(struct step *s, enum instance_state state, const char *reason, const char *code,
                   const char *message)
{
	bool gone = state == INSTANCE_TERMINATED;
	const char *name = instance_state_name(state);
	char group[CGROUP_PATH];
	struct error e;

	group_of(s, group);
	cgroup_remove(group);
	if (gone && hosted_remove(s->dir, &e) < 0) {
		if (e.code == EAGAIN) /* in the next round */
			return;
		log_warn("%s", e.text);
	}
	if (gone)
		value_set_time(s->instance->doc, "UsageOperationUpdateTime", s->r->now_ms);
	meter_end(s);
	settle_end(s, gone);
	if (gone)
		root_volume_give_up(s->r, s->m->instance);
	else
		root_volume_exchange(s->r, s->instance);
	instance_enter(s->r, s->instance, state, reason, code, message);
	machine_set(s->r, s->m->instance, name, name, 0);
}

/* As asked for: the reasons are there already. */
static void reach(struct step *s, enum instance_state state)
{
	const struct value *why = value_get(s->instance->doc, "StateReason");
	const char *reason = value_string(s->instance->doc, "StateTransitionReason");

	become(s, state, reason ? arena_strdup(s->r->arena, reason) : "",
	       why ? arena_strdup(s->r->arena, value_string(why, "Code")) : NULL,
	       why ? arena_strdup(s->r->arena, value_string(why, "Message")) : NULL);
}

/* It ended, and nobody had asked for it. */
static void ended_alone(struct step *s)
{
	const char *behaviour =
	        value_string(value_get(s->m->attributes, "InstanceInitiatedShutdownBehavior"), "Value");

	if (s->state.status == HOSTED_ENDED && !s->state.by_signal && s->state.code == 0) {
		become(s,
		       behaviour && !strcmp(behaviour, "terminate") ? INSTANCE_TERMINATED : INSTANCE_STOPPED,
		       "", "Client.InstanceInitiatedShutdown",
		       "Client.InstanceInitiatedShutdown: Instance initiated shutdown");
		return;
	}
	log_warn("%s: its machine ended (%s %d)", s->m->instance,
	         s->state.status == HOSTED_LOST ? "lost"
	         : s->state.by_signal           ? "signal"
	                                        : "status",
	         s->state.code);
	become(s, INSTANCE_STOPPED, "Server.InternalError", "Server.InternalError",
	       arena_printf(s->r->arena, "Server.InternalError: the machine ended by %s %d",
	                    s->state.by_signal ? "signal" : "status", s->state.code));
}

/* ---- start ---- */

enum { TAPS_MAX = 64 };

/* Its interfaces; where there are none, it has no network. */
static unsigned describe_taps(struct step *s, const char **taps, const char **netns)
{
	struct resource **list = network_interface_list(s->r, s->m->instance);
	unsigned count = 0;

	for (; s->agent->network && list[count] && count < TAPS_MAX; count++) {
		taps[count] = network_plug_option(s->r, list[count],
		                                  value_string(s->instance->doc, "InstanceType"));
		*netns = value_string(list[count]->doc, "VpcId");
	}
	if (s->agent->network)
		network_plug_started(s->r, s->m->instance, list);
	return count;
}

/* What the firmware's tables say, by which guests know that they are on EC2: a UUID that begins with ec2. */
static const char *describe_board(const struct step *s)
{
	const char *type = value_string(s->instance->doc, "InstanceType"),
	           *digits = s->m->instance + strlen("i-");

	if (strlen(digits) != 17 || !type)
		return NULL;
	return arena_printf(s->r->arena, "uuid=ec2%.5s-%.4s-%.4s-%.4s-%.12s,product=%s,asset=%s", digits,
	                    digits + 5, digits + 9, digits + 13, digits + 1, type, s->m->instance);
}

static int write_machine(struct step *s, struct error *e)
{
	const char **ids = instance_volume_ids(s->r, s->instance);
	struct hosted_disk disks[INSTANCE_VOLUMES_MAX];
	struct hosted_spec spec = {.cpus = (unsigned)s->m->vcpus,
	                           .memory_mib = (unsigned)s->m->memory,
	                           .kernel = *s->m->kernel ? s->m->kernel : NULL,
	                           .initrd = *s->m->initrd ? s->m->initrd : NULL,
	                           .cmdline = *s->m->cmdline ? s->m->cmdline : NULL,
	                           .accel = s->agent->accel,
	                           .engine = s->agent->engine,
	                           .disks = disks};
	struct user_network user;
	const char *taps[TAPS_MAX];
	char parent[4200];

	if (!spec.kernel && !ids[0])
		return error_set(e, 0, "there is nothing to boot: no kernel, and no disk");
	if (!spec.kernel && !(spec.firmware = firmware_find(s->agent->firmware, e)))
		return -1;
	for (; ids[spec.disk_count] && spec.disk_count < ARRAY_SIZE(disks); spec.disk_count++)
		disks[spec.disk_count] = (struct hosted_disk){
		        .path = arena_printf(s->r->arena, VOLUME_PATH, ids[spec.disk_count]),
		        .id = arena_printf(s->r->arena, VOLUME_SERIAL,
		                           ids[spec.disk_count] + strlen("vol-"))};
	if (!s->agent->network && geteuid() != 0 && user_network_possible() &&
	    instance_user_network(s->r, s->instance, &user)) {
		spec.user = &user;
		spec.cmdline = instance_user_cmdline(s->r, s->instance, spec.cmdline);
	}
	spec.smbios = describe_board(s);
	spec.tap_count = describe_taps(s, taps, &spec.netns);
	spec.taps = taps;
	snprintf(parent, sizeof(parent), "%s/instances", s->agent->cloud->data);
	if (mkdir(parent, 0700) < 0 && errno != EEXIST)
		return error_set(e, errno, "create %s", parent);
	return hosted_write(s->dir, &spec, e);
}

/* Its share of the host. Where no group can be made it runs without, and the log says so. */
static int limit_machine(struct step *s, struct error *e)
{
	const struct cgroup_limits limits = cgroup_limits_of((unsigned)s->m->vcpus, (u64)s->m->memory);
	char group[CGROUP_PATH];
	struct error why;

	group_of(s, group);
	if (cgroup_make(group, &limits, &why) < 0) {
		log_warn("%s: runs without limits: %s", s->m->instance, why.text);
		*group = 0;
	}
	return hosted_set_cgroup(s->dir, group, e);
}

/* A first launch that fails leaves nothing; what was stopped is stopped again, with its volumes. */
static void start_failed(struct step *s, const char *why)
{
	const struct value *at = value_get(s->instance->doc, "LaunchTime");
	bool again = (at && at->integer > s->instance->created_ms) ||
	             instance_state_of(s->instance->doc) != INSTANCE_PENDING; /* a reboot */

	log_error("%s: %s", s->m->instance, why);
	become(s, again ? INSTANCE_STOPPED : INSTANCE_TERMINATED, "Server.InternalError",
	       "Server.InternalError", arena_printf(s->r->arena, "Server.InternalError: %s", why));
}

/* Are the files of its volumes there? -1: one cannot be had. */
static int volumes_ready(struct step *s, const char **which)
{
	const char **ids = instance_volume_ids(s->r, s->instance);
	int ready = 1;

	for (unsigned i = 0; ids[i]; i++) {
		enum block_file_state state = block_file_state(s->r, ids[i]);

		*which = ids[i];
		if (state == BLOCK_FILE_NONE || state == BLOCK_FILE_FAILED)
			return -1;
		ready &= state == BLOCK_FILE_READY;
	}
	return ready;
}

/* Are its interfaces there? -1: one cannot be made, and why. */
static int network_ready(struct step *s, const char **why)
{
	struct resource **list = s->agent->network ? network_interface_list(s->r, s->m->instance) : NULL;
	int ready = 1, one;

	for (; list && *list && ready > 0; list++) {
		one = network_agent_ready(s->agent->network, value_string((*list)->doc, "VpcId"), (*list)->id,
		                          why);
		ready = min(ready, one);
	}
	return ready;
}

static void start(struct step *s)
{
	const char *volume, *why;
	struct usage_mark now;
	struct error e;
	int ready;

	if (s->state.status == HOSTED_RUNNING) {
		usage_now(s->agent->cloud, s->r->now_ms, &now);
		cpu_credit_begin(s->r, s->instance, &now);
		instance_enter(s->r, s->instance, INSTANCE_RUNNING, "", NULL, NULL);
		machine_set(s->r, s->m->instance, "running", "running", 0);
		return;
	}
	/* Started before, and not there: it failed at once. */
	if (s->m->deadline && (s->state.status == HOSTED_ENDED || s->state.status == HOSTED_LOST)) {
		start_failed(s, "Internal error on launch");
		return;
	}
	if (s->m->deadline && s->r->now_ms < s->m->deadline)
		return;
	ready = volumes_ready(s, &volume);
	if (ready < 0) {
		start_failed(s, arena_printf(s->r->arena, "the volume %s has no file", volume));
		return;
	}
	if (!ready)
		return;
	ready = network_ready(s, &why);
	if (ready < 0)
		start_failed(s, arena_printf(s->r->arena, "its network: %s", why));
	if (ready <= 0)
		return;
	if (s->m->deadline || write_machine(s, &e) < 0 || limit_machine(s, &e) < 0 ||
	    hosted_start(s->dir, &e) < 0) {
		if (!s->m->deadline && e.code == EAGAIN) /* the last run's keeper; in the next round */
			return;
		if (s->m->deadline)
			error_set(&e, 0, "its keeper did not start");
		start_failed(s, e.text);
		return;
	}
	machine_set(s->r, s->m->instance, "running", "pending", s->r->now_ms + 60 * 1000);
}

/* ---- stop ---- */

/* The VMM may take its time to answer. */
static void *press(void *dir)
{
	struct error e;

	if (hosted_press_power(dir, &e) < 0)
		log_warn("%s", e.text);
	free(dir);
	return NULL;
}

/* At once, and then every AGENT_PRESS_MS before the deadline. */
static bool press_is_due(const struct step *s)
{
	s64 before = (s->m->deadline - s->agent->looked_ms) / AGENT_PRESS_MS;

	return strcmp(s->m->status, "stopping") || before != (s->m->deadline - s->r->now_ms) / AGENT_PRESS_MS;
}

static void press_power(struct step *s)
{
	pthread_t thread;
	char *dir;

	if (!press_is_due(s))
		return;
	machine_set(s->r, s->m->instance, s->m->wanted, "stopping", s->m->deadline);
	dir = strdup(s->dir);
	if (dir && pthread_create(&thread, NULL, press, dir) == 0)
		pthread_detach(thread);
	else
		free(dir);
}

static void kill_now(struct step *s)
{
	struct error e;

	if (hosted_kill(s->dir, &e) < 0)
		log_error("%s: %s", s->m->instance, e.text);
}

/* ---- rounds ---- */

static void one(struct step *s)
{
	const char *wanted = s->m->wanted, *status = s->m->status;
	bool late = s->m->deadline && s->r->now_ms > s->m->deadline;

	if (!strcmp(wanted, "running") && !strcmp(status, "pending")) {
		start(s);
	} else if (!strcmp(wanted, "running")) {
		if (ended(s))
			ended_alone(s);
		else if (s->agent->settle)
			settle(s);
	} else if (!strcmp(wanted, "terminated")) {
		if (ended(s))
			reach(s, INSTANCE_TERMINATED);
		else
			kill_now(s);
	} else if (!strcmp(wanted, "stopped")) {
		if (ended(s))
			reach(s, INSTANCE_STOPPED);
		else if (late || !strcmp(status, "killing"))
			kill_now(s);
		else
			press_power(s);
	} else if (!strcmp(wanted, "rebooted")) {
		if (ended(s)) {
			settle(s);
			root_volume_exchange(s->r, s->instance);
			machine_set(s->r, s->m->instance, "running", "pending", 0);
		} else if (late)
			kill_now(s);
		else
			press_power(s);
	}
}

static void step_machine(struct agent *a, struct request *r, const char *instance)
{
	struct step s = {.agent = a, .r = r};
	struct error e;

	s.m = machine_find(r, instance);
	if (!s.m)
		return;
	r->account = s.m->account;
	r->region = s.m->region;
	s.instance = resource_find(r, &instance_kind, instance);
	if (!s.instance)
		return;
	agent_folder(a->cloud, s.dir, sizeof(s.dir), instance);
	if (hosted_state(s.dir, &s.state, &e) < 0) {
		log_warn("%s", e.text);
		return;
	}
	if (s.state.status != HOSTED_STARTING)
		one(&s);
}

/* What is done every few seconds, while machines run, and every hour. */
static void housekeeping(struct agent *a, struct request *r, bool machines)
{
	const s64 now_ms = r->now_ms;
	u64 now = clock_monotonic_ns();
	struct usage_mark at;

	if (machines && now >= a->next_beat_ns) {
		usage_now(a->cloud, now_ms, &at);
		usage_beat(a->cloud, &at);
		a->next_beat_ns = now + USAGE_BEAT_MS * 1000000ULL;
	}
	if (now >= a->next_purge_ns && !termination_purge(r))
		a->next_purge_ns = now + USAGE_BEAT_MS * 1000000ULL;
	if (a->keep_usage_days && now >= a->next_hour_ns) {
		usage_forget(a->cloud, now_ms - a->keep_usage_days * 86400000LL);
		a->next_hour_ns = now + 3600 * 1000000000ULL;
	}
}

void agent_run(struct agent *a)
{
	struct cloud *c = a->cloud;
	struct fault fault = {0};
	struct arena arena;
	struct request r = {.cloud = c,
	                    .arena = &arena,
	                    .model = &model_ec2,
	                    .fault = &fault,
	                    .now_ms = cloud_now_ms(),
	                    .id = "agent"};
	const char **list = NULL;
	size_t count = 0, room = 0;
	u64 begun_ns = clock_monotonic_ns();
	struct query *q;
	struct error e;

	arena_init(&arena);
	c->wake = false;
	database_begin(c->db);
	if (!a->begun)
		usage_last_beat(c, &a->last_beat);
	q = query_text(database_query(c->db, "SELECT instance FROM machine WHERE host = $1 AND status NOT IN "
	                                     "('stopped', 'terminated') UNION SELECT instance FROM machine "
	                                     "WHERE wanted = 'terminated' AND status <> 'terminated'"),
	               HOST_LOCAL);
	while (query_row(q)) {
		if (count == room) {
			const char **more =
			        arena_alloc(&arena, (room = room ? 2 * room : 64) * sizeof(*more));

			if (count)
				memcpy(more, list, count * sizeof(*more));
			list = more;
		}
		list[count++] = arena_strdup(&arena, query_column_text(q, 0));
	}
	block_file_run(&r, &a->jobs);
	root_volume_run(&r);
	a->settle = begun_ns >= a->next_beat_ns;
	for (size_t i = 0; i < count; i++)
		step_machine(a, &r, list[i]);
	if (a->plug)
		volume_plug_run(a->plug, &r);
	if (a->network)
		network_agent_run(a->network, &r);
	host_watch(&r, a->host_timeout_ms);
	capacity_expire(&r);
	housekeeping(a, &r, count > 0);
	if (database_commit(c->db, &e) < 0)
		log_error("agent: %s", e.text);
	else
		a->begun = true;
	a->looked_ms = r.now_ms;
	arena_release(&arena);
	a->round_ns = clock_monotonic_ns();
	histogram_add(&a->rounds, a->round_ns - begun_ns);
}
