#include "region/network_agent.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/datapath.h"
#include "region/link.h"
#include "region/metadata.h"
#include "region/network_change.h"
#include "region/network_plug.h"
#include "region/network_worker.h"
#include "region/vpc_plan.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* An interface of the last plan, and the first generation that had it without a break. */
struct known {
	char id[32], instance[40];
	s64 since;
};

struct network {
	char id[64];
	char *text;       /* the last configuration, but for its generation; NULL: none yet */
	char *shared;     /* what metadata says of the VPC */
	json_t *metadata; /* of instances, as texts, until something of them changes */
	struct known *interfaces;
	unsigned interfaces_count;
	struct known
	        *changed; /* that came or went with the last generations, to be plugged when they are true */
	unsigned changed_count;
	s64 generation, renew_ms; /* renew: when all metadata is to be made anew, 0: never */
	u64 retry_ns;             /* after a failure, 0: none */
	bool dirty, again;        /* again: apply it, even if nothing has changed */
	bool leaving;
	struct network_job *job; /* the worker's */
	struct network *next;
};

struct network_agent {
	struct cloud *cloud;
	char owner[PATH_MAX];
	struct network *networks;
	struct network_worker *worker;
	struct network_plug *plug;
	struct metadata_maker *metadata;
	bool begun;
	u64 next_watch_ns;
	char why[512];
};

enum { RETRY_MS = 2000, WATCH_MS = 2000 };

/* ---- which there are ---- */

static struct network *find(const struct network_agent *n, const char *id)
{
	struct network *net = n->networks;

	while (net && strcmp(net->id, id))
		net = net->next;
	return net;
}

static struct network *add(struct network_agent *n, const char *id)
{
	struct network *net = find(n, id);

	if (net || !(net = calloc(1, sizeof(*net))))
		return net;
	net->job = network_worker_add(n->worker, id);
	if (!net->job) {
		free(net);
		return NULL;
	}
	snprintf(net->id, sizeof(net->id), "%s", id);
	net->metadata = json_object();
	net->next = n->networks;
	n->networks = net;
	return net;
}

static void drop(struct network *net)
{
	network_worker_drop(net->job);
	free(net->text);
	free(net->shared);
	json_decref(net->metadata);
	free(net->interfaces);
	free(net->changed);
	free(net);
}

static void mark(struct network_agent *n, const char *id, bool again)
{
	struct network *net = find(n, id);

	if (net) {
		net->dirty = true;
		net->again |= again;
	}
}

/* Those that a VPC is peered with know of its blocks and groups. */
static void mark_peers(struct network_agent *n, struct request *r, const char *id, bool again)
{
	for (const char **peerings = link_sources(r, id, "peer"); *peerings; peerings++)
		for (const char **of = link_targets(r, *peerings, "peer"); *of; of++)
			if (strcmp(*of, id))
				mark(n, *of, again);
}

static void mark_all(struct network_agent *n, struct request *r)
{
	for (struct network *net = n->networks; net; net = net->next)
		net->dirty = true;
	for (const char **ids = vpc_plan_list(r); *ids; ids++)
		if (add(n, *ids))
			mark(n, *ids, false);
}

/* What an earlier process has left: its VPCs on the host, and its folders. */
static void adopt(struct network_agent *n, struct request *r)
{
	char path[PATH_MAX + 8];
	struct dirent *entry;
	const char **ids;
	unsigned count;
	struct error e;
	DIR *folder;

	if (datapath_list(n->owner, r->arena, &ids, &count, &e) < 0)
		log_warn("%s", e.text);
	else
		for (unsigned i = 0; i < count; i++)
			add(n, ids[i]);
	snprintf(path, sizeof(path), "%s/vpcs", n->owner);
	folder = opendir(path);
	while (folder && (entry = readdir(folder)))
		if (!strncmp(entry->d_name, "vpc-", 4))
			add(n, entry->d_name);
	if (folder)
		closedir(folder);
	mark_all(n, r);
}

static void look_for_changes(struct network_agent *n, struct request *r)
{
	char id[64];

	while (network_change_next_instance(n->cloud->changes, id))
		for (struct network *net = n->networks; net; net = net->next) {
			if (*id)
				json_object_del(net->metadata, id);
			else
				json_object_clear(net->metadata);
		}
	while (network_change_next(n->cloud->changes, id)) {
		if (!*id) {
			mark_all(n, r);
			continue;
		}
		if (vpc_plan_wanted(r, id))
			add(n, id);
		mark(n, id, false);
		mark_peers(n, r, id, false);
	}
}

/* ---- plans ---- */

/* The account and region of a VPC; false: there is none. */
static bool whose(struct request *r, const char *id)
{
	struct query *q = query_text(database_query(r->cloud->db, "SELECT account, region FROM resource "
	                                                          "WHERE id = $1 AND kind = 'vpc'"),
	                             id);
	bool found = query_row(q);

	if (found) {
		r->account = arena_strdup(r->arena, query_column_text(q, 0));
		r->region = arena_strdup(r->arena, query_column_text(q, 1));
	}
	query_end(q);
	return found;
}

static s64 since(const struct network *net, const char *interface)
{
	for (unsigned i = 0; i < net->interfaces_count; i++)
		if (!strcmp(net->interfaces[i].id, interface))
			return net->interfaces[i].since;
	return 0;
}

/* An instance that has got or lost an interface. */
static void note_change(struct network *net, const struct known *k)
{
	struct known *more = realloc(net->changed, (net->changed_count + 1) * sizeof(*more));

	if (!more)
		return;
	net->changed = more;
	net->changed[net->changed_count++] = *k;
}

static void remember(struct network *net, const struct plan *p)
{
	struct known *list = calloc(p->interfaces_count + 1, sizeof(*list));

	for (unsigned i = 0; list && i < p->interfaces_count; i++) {
		s64 had = since(net, p->interfaces[i].id);

		snprintf(list[i].id, sizeof(list[i].id), "%s", p->interfaces[i].id);
		snprintf(list[i].instance, sizeof(list[i].instance), "%s", p->interfaces[i].instance);
		list[i].since = had ? had : p->generation;
		if (!had)
			note_change(net, &list[i]);
	}
	for (unsigned i = 0; i < net->interfaces_count; i++) {
		unsigned k = 0;

		while (k < p->interfaces_count && strcmp(p->interfaces[k].id, net->interfaces[i].id))
			k++;
		if (k == p->interfaces_count)
			note_change(net, &net->interfaces[i]);
	}
	free(net->interfaces);
	net->interfaces = list;
	net->interfaces_count = list ? p->interfaces_count : 0;
}

static void leave(struct network *net)
{
	free(net->text);
	free(net->interfaces);
	net->text = NULL;
	net->interfaces = NULL;
	net->interfaces_count = 0;
	net->renew_ms = 0;
	json_object_clear(net->metadata);
	net->leaving = true;
	network_worker_remove(net->job);
}

/* Of the plan what metadata says as well. */
static char *shared_of(const struct plan *p)
{
	struct buffer b = {0};

	buffer_printf(&b, "%d %s", p->dns_names, p->dhcp.domain);
	for (unsigned i = 0; i < p->cidrs_count; i++)
		buffer_printf(&b, " %s", p->cidrs[i]);
	for (unsigned i = 0; i < p->cidrs6_count; i++)
		buffer_printf(&b, " %s", p->cidrs6[i]);
	for (unsigned i = 0; i < p->subnets_count; i++)
		buffer_printf(&b, " %s %s %s", p->subnets[i].id, p->subnets[i].cidr, p->subnets[i].cidr6);
	return b.bytes;
}

/* The metadata of an instance, as text. NULL: there is none. */
static const char *metadata_of(struct network_agent *n, struct request *r, struct network *net,
                               const struct plan *p, const char *instance)
{
	const char *kept = json_string_value(json_object_get(net->metadata, instance));
	json_t *made;
	char *text;

	if (kept)
		return kept;
	made = metadata_make(n->metadata, r, p, instance, &net->renew_ms);
	text = made ? json_dumps(made, JSON_COMPACT) : NULL;
	json_decref(made);
	if (text)
		json_object_set_new(net->metadata, instance, json_string(text));
	free(text);
	return json_string_value(json_object_get(net->metadata, instance));
}

/* Forgets what was made of the metadata, if it is about to be wrong. */
static void refresh_metadata(struct request *r, struct network *net, const struct plan *p)
{
	char *shared = shared_of(p);

	if (!net->shared || strcmp(shared, net->shared) || (net->renew_ms && r->now_ms >= net->renew_ms)) {
		json_object_clear(net->metadata);
		net->renew_ms = 0;
	}
	free(net->shared);
	net->shared = shared;
}

#define GENERATION "{\"generation\":"

/* The configuration (net/config.h), its plan's generation first:
 * "{"plan":{"generation":N,…},"instances":{…}}". From malloc(); NULL: no memory. */
static char *configuration(struct network_agent *n, struct request *r, struct network *net,
                           const struct plan *p, const char *const *instances)
{
	json_t *plan = plan_write(p), *first = json_object();
	struct buffer b = {0};
	char *text;

	json_object_set_new(first, "generation", json_integer(0));
	json_object_del(plan, "generation");
	json_object_update(first, plan);
	text = json_dumps(first, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(first);
	json_decref(plan);
	if (!text)
		return NULL;
	buffer_text(&b, "{\"plan\":");
	buffer_text(&b, text);
	free(text);
	buffer_text(&b, ",\"instances\":{");
	for (unsigned i = 0; instances[i]; i++) {
		const char *of = metadata_of(n, r, net, p, instances[i]);

		buffer_printf(&b, "%s\"%s\":", i ? "," : "", instances[i]);
		buffer_text(&b, of ? of : "{}");
	}
	buffer_text(&b, "}}");
	return b.bytes;
}

/* With its generation in it. */
static char *numbered(const char *text, s64 generation)
{
	const char *at = strstr(text, GENERATION) + strlen(GENERATION);
	struct buffer b = {0};

	buffer_append(&b, text, (size_t)(at - text));
	buffer_integer(&b, generation);
	buffer_text(&b, at + 1);
	return b.bytes;
}

/* Makes the plan anew, and has it applied if it is another one. */
static void renew(struct network_agent *n, struct request *r, struct network *net)
{
	bool again = net->again, is_new = !net->text;
	const char *const *instances;
	struct plan p;
	char *text;

	net->dirty = net->again = false;
	net->retry_ns = 0;
	if (!whose(r, net->id) || !vpc_plan_wanted(r, net->id) ||
	    vpc_plan_make(r, net->id, &p, &instances) < 0 || !p.interfaces_count) {
		if (!net->leaving || again)
			leave(net);
		mark_peers(n, r, net->id, true);
		return;
	}
	net->leaving = false;
	refresh_metadata(r, net, &p);
	text = configuration(n, r, net, &p, instances);
	if (text && (again || !net->text || strcmp(text, net->text))) {
		net->generation = p.generation = max(net->generation + 1, r->now_ms);
		remember(net, &p);
		network_worker_apply(net->job, numbered(text, p.generation), p.generation);
		free(net->text);
		net->text = text;
		text = NULL;
	}
	free(text);
	if (is_new)
		mark_peers(n, r, net->id, true);
}

/* ---- rounds ---- */

/* Changes that come while a plan is being applied wait, and make one plan. */
static bool is_due(const struct network *net)
{
	struct network_result result;

	if (!net->dirty)
		return false;
	network_worker_look(net->job, &result);
	return !result.busy;
}

static void look_at_results(struct network_agent *n, struct request *r)
{
	struct network_result result;

	for (struct network **p = &n->networks, *net; (net = *p);) {
		network_worker_look(net->job, &result);
		if (network_worker_peers(net->job))
			mark_peers(n, r, net->id, true);
		if (net->changed_count && result.applied >= net->generation) {
			for (unsigned i = 0; i < net->changed_count; i++)
				network_plug_note(n->plug, net->changed[i].instance);
			net->changed_count = 0;
		}
		if (result.failed && !net->retry_ns && !net->dirty) {
			net->retry_ns = clock_monotonic_ns() + RETRY_MS * 1000000ULL;
		} else if (net->retry_ns && clock_monotonic_ns() >= net->retry_ns) {
			net->dirty = net->again = true;
		}
		if (net->leaving && result.gone && !net->dirty) {
			*p = net->next;
			drop(net);
			continue;
		}
		p = &net->next;
	}
}

void network_agent_run(struct network_agent *n, struct request *r)
{
	u64 now = clock_monotonic_ns();
	bool watch = now >= n->next_watch_ns, more = true;

	if (!n->begun)
		adopt(n, r);
	n->begun = true;
	look_for_changes(n, r);
	look_at_results(n, r);
	if (watch)
		n->next_watch_ns = now + WATCH_MS * 1000000ULL;
	for (struct network *net = n->networks; net; net = net->next) {
		if (net->renew_ms && r->now_ms >= net->renew_ms)
			net->dirty = true;
		if (watch && net->text)
			network_worker_watch(net->job);
	}
	/* Each may mark its peers, each of which does so at most once. */
	for (unsigned turn = 0; more && turn < 3; turn++) {
		more = false;
		for (struct network *net = n->networks; net; net = net->next)
			if (is_due(net)) {
				renew(n, r, net);
				more = true;
			}
	}
	network_plug_run(n->plug, r);
}

int network_agent_ready(struct network_agent *n, const char *vpc, const char *interface, const char **why)
{
	struct network *net = find(n, vpc);
	struct network_result result;
	s64 first = net ? since(net, interface) : 0;

	if (!first)
		return 0;
	network_worker_look(net->job, &result);
	if (result.applied >= first)
		return 1;
	if (!result.failed || result.failed_generation < first)
		return 0;
	snprintf(n->why, sizeof(n->why), "%s", result.why);
	*why = n->why;
	return -1;
}

/* ---- life ---- */

/* A container may have all rights but this one. */
static bool has_namespaces(void)
{
	int status = 1;
	pid_t pid = fork();

	if (pid == 0)
		_exit(unshare(CLONE_NEWNET) < 0);
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

int network_possible(struct error *e)
{
	static const char *const places[] = {"/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"};
	unsigned i = 0;

	if (geteuid() != 0)
		return error_set(e, 0, "only root can make networks");
	while (i < ARRAY_SIZE(places) && access(places[i], X_OK) < 0)
		i++;
	if (i == ARRAY_SIZE(places))
		return error_set(e, 0, "there is no nft (Debian's package nftables)");
	if (access("/dev/net/tun", R_OK | W_OK) < 0)
		return error_set(e, errno, "/dev/net/tun");
	return has_namespaces() ? 0 : error_set(e, 0, "network namespaces cannot be made here");
}

struct network_agent *network_agent_new(struct cloud *c, void (*done)(void *ctx), void *ctx, struct error *e)
{
	struct network_agent *n;

	if (network_possible(e) < 0)
		return NULL;
	n = calloc(1, sizeof(*n));
	if (!n || !realpath(c->data, n->owner) || !(n->metadata = metadata_maker_new(n->owner, e)) ||
	    !(n->plug = network_plug_new(c, done, ctx)) ||
	    !(n->worker = network_worker_new(n->owner, done, ctx, e)) ||
	    !(c->changes = network_changes_new())) {
		if (!n || !n->metadata || n->worker)
			error_set(e, errno, "networks");
		network_agent_free(n);
		return NULL;
	}
	n->cloud = c;
	return n;
}

void network_agent_free(struct network_agent *n)
{
	if (!n)
		return;
	network_worker_end(n->worker);
	while (n->networks) {
		struct network *net = n->networks;

		n->networks = net->next;
		drop(net);
	}
	network_worker_free(n->worker);
	network_plug_free(n->plug);
	metadata_maker_free(n->metadata);
	if (n->cloud) {
		network_changes_free(n->cloud->changes);
		n->cloud->changes = NULL;
	}
	free(n);
}
