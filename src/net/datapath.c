/*
 * Theory of operation. A plan is compared with what is there, and the differences are made: interfaces, then
 * addresses and routes (all read from the kernel each time), while the rules are one transaction of nft
 * against the texts that were loaded last. Rules come first, so that nothing is reachable before it is
 * guarded, and what has been taken from the plan ends at once; while nft is at work what there is is read.
 * Then interfaces that the plan does not have go, and new ones come, which are started when all of their
 * parameters are set: one that is down is not ready. Connections of addresses that have gone are forgotten
 * last. Each step looks at what there is, so it does not matter where a former run ended.
 *
 * Who works within the namespace is a thread made for it (namespace.h).
 */
#include "net/datapath.h"
#include "net/conntrack.h"
#include "net/link.h"
#include "net/lookup.h"
#include "net/namespace.h"
#include "net/routes.h"
#include "net/rules.h"
#include "net/state.h"
#include "net/uplink.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TAP_MTU = 9001, UPLINK_MTU = 1500, PEERING_MTU = 8500 };

/* Both ends of a pair have the same one: no neighbours are asked for. */
static const u8 pair_mac[6] = {6, 0, 0, 0, 0, 2};

struct work {
	const struct plan *plan;
	struct arena arena;
	int host; /* the host's namespace */
	bool uplink;
	struct ruleset before, after;
	char *before_text, *after_text; /* before: NULL if nothing is known to be loaded */
	u32 generation;                 /* of what is loaded */
	bool loaded;                    /* that was in this run */
	struct netlink netlink;
	struct link_list links;
	struct fib there;
	bool restarted; /* a link that was there; its routes may have gone */
	struct datapath_result *result;
	struct error *error;
};

/* ---- parameters ---- */

static int namespace_parameters(struct error *e)
{
	static const char *const parameters[][2] = {
	        {"ipv4/conf/all/send_redirects", "0"},      {"ipv4/conf/default/send_redirects", "0"},
	        {"ipv4/conf/all/accept_redirects", "0"},    {"ipv4/conf/default/accept_redirects", "0"},
	        {"ipv4/conf/all/accept_source_route", "0"}, {"ipv4/conf/default/accept_source_route", "0"},
	        {"ipv4/conf/all/rp_filter", "0"},           {"ipv4/conf/default/rp_filter", "0"},
	        {"ipv6/conf/default/accept_ra", "0"},       {"ipv6/conf/default/accept_redirects", "0"},
	        {"ipv6/conf/default/accept_dad", "0"},      {"ipv6/conf/default/addr_gen_mode", "1"},
	};

	/* Each of these two sets others, too. */
	if (namespace_get("ipv4/ip_forward", 0) != 1 && namespace_set("ipv4/ip_forward", "1", e) < 0)
		return -1;
	if (namespace_get("ipv6/conf/all/forwarding", 0) != 1 &&
	    namespace_set("ipv6/conf/all/forwarding", "1", e) < 0)
		return -1;
	for (unsigned i = 0; i < ARRAY_SIZE(parameters); i++)
		if (namespace_set(parameters[i][0], parameters[i][1], e) < 0)
			return -1;
	return 0;
}

/* There once rules ask for connections. */
static int connection_parameters(struct error *e)
{
	static const char *const parameters[][2] = {
	        {"netfilter/nf_conntrack_acct", "1"},
	        /* A flow is known by its addresses and ports; its window is the guests' business. */
	        {"netfilter/nf_conntrack_tcp_be_liberal", "1"},
	        {"netfilter/nf_conntrack_udp_timeout_stream", "180"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(parameters); i++)
		if (namespace_set(parameters[i][0], parameters[i][1], e) < 0)
			return -1;
	return 0;
}

/* Of an interface that is down. The host answers ARP for everybody else, at once. */
static int interface_parameters(const char *name, bool tap, struct error *e)
{
	static const struct {
		const char *path, *value;
		bool tap;
	} parameters[] = {
	        {"ipv4/conf/%s/forwarding", "1", false},       {"ipv4/conf/%s/rp_filter", "0", false},
	        {"ipv4/conf/%s/send_redirects", "0", false},   {"ipv4/conf/%s/accept_redirects", "0", false},
	        {"ipv4/conf/%s/proxy_arp", "1", true},         {"ipv4/neigh/%s/proxy_delay", "0", true},
	        {"ipv6/conf/%s/forwarding", "1", false},       {"ipv6/conf/%s/accept_ra", "0", false},
	        {"ipv6/conf/%s/accept_redirects", "0", false}, {"ipv6/conf/%s/addr_gen_mode", "1", false},
	        {"ipv6/conf/%s/accept_dad", "0", false},
	};
	char path[96];

	for (unsigned i = 0; i < ARRAY_SIZE(parameters); i++) {
		if (parameters[i].tap && !tap)
			continue;
		snprintf(path, sizeof(path), parameters[i].path, name);
		if (namespace_set(path, parameters[i].value, e) < 0)
			return -1;
	}
	return 0;
}

/* ---- interfaces ---- */

static bool is_wanted(const struct work *w, const char *name)
{
	char peering[PLAN_TAP];

	if (!strcmp(name, "up0"))
		return uplink_wanted(w->plan) && w->uplink;
	if (!strncmp(name, "eni", 3)) {
		for (unsigned i = 0; i < w->plan->interfaces_count; i++)
			if (!strcmp(w->plan->interfaces[i].tap, name))
				return true;
		return false;
	}
	if (strncmp(name, "pcx", 3))
		return true;
	for (unsigned i = 0; i < w->plan->peerings_count; i++) {
		plan_peering_name(peering, w->plan->peerings[i].id);
		if (!strcmp(peering, name))
			return true;
	}
	return false;
}

static int remove_links(struct work *w)
{
	for (unsigned i = 0; i < w->links.count; i++) {
		struct link *l = &w->links.all[i];

		if (is_wanted(w, l->name))
			continue;
		if (link_delete(&w->netlink, l->index, w->error) < 0)
			return -1;
		w->result->peers |= !strncmp(l->name, "pcx", 3);
		*l->name = 0;
	}
	return 0;
}

static int make_peering(struct work *w, const struct plan_peering *p)
{
	char name[PLAN_TAP];
	int there, status;

	plan_peering_name(name, p->id);
	/* A peer that has no machine here has no namespace here: the route leads nowhere. */
	if (link_find(&w->links, name) || !namespace_exists(p->vpc))
		return 0;
	there = namespace_open(p->vpc, w->error);
	if (there < 0)
		return -1;
	status = link_make_veth(&w->netlink, name, name, there, pair_mac, PEERING_MTU, w->error);
	close(there);
	w->result->peers = true;
	return status < 0 ? -1 : link_look(&w->netlink, &w->arena, &w->links, name, w->error);
}

static int make_links(struct work *w)
{
	char name[PLAN_TAP];

	for (unsigned i = 0; i < w->plan->interfaces_count; i++) {
		if (link_find(&w->links, w->plan->interfaces[i].tap))
			continue;
		if (link_make_tap(w->plan->interfaces[i].tap, w->error) < 0 ||
		    link_look(&w->netlink, &w->arena, &w->links, w->plan->interfaces[i].tap, w->error) < 0)
			return -1;
	}
	for (unsigned i = 0; i < w->plan->peerings_count; i++)
		if (make_peering(w, &w->plan->peerings[i]) < 0)
			return -1;
	plan_uplink_name(name, w->plan->vpc);
	if (!uplink_wanted(w->plan) || link_find(&w->links, "up0"))
		return 0;
	if (link_make_veth(&w->netlink, "up0", name, w->host, pair_mac, UPLINK_MTU, w->error) < 0)
		return -1;
	return link_look(&w->netlink, &w->arena, &w->links, "up0", w->error);
}

static int start_links(struct work *w)
{
	for (unsigned i = 0; i < w->links.count; i++) {
		const struct link *l = &w->links.all[i];
		bool tap = !strncmp(l->name, "eni", 3),
		     pair = !strcmp(l->name, "up0") || !strncmp(l->name, "pcx", 3);

		if (!strcmp(l->name, "lo") && !l->up &&
		    link_start(&w->netlink, l->index, NULL, 0, w->error) < 0)
			return -1;
		if ((!tap && !pair) ||
		    (l->up && (!tap || (l->mtu == TAP_MTU && !memcmp(l->mac, routes_mac, sizeof(l->mac))))))
			continue;
		if (interface_parameters(l->name, tap, w->error) < 0 ||
		    link_start(&w->netlink, l->index, tap ? routes_mac : NULL, tap ? TAP_MTU : 0, w->error) <
		            0)
			return -1;
		w->restarted |= l->up;
	}
	return 0;
}

/* ---- connections of addresses that have gone ---- */

struct forgotten {
	struct arena *arena;
	struct ip *all;
	unsigned count, room;
};

static void forget(struct forgotten *f, struct ip a)
{
	if (f->count == f->room) {
		struct ip *more = arena_alloc(f->arena, (f->room = f->room * 2 + 16) * sizeof(*more));

		if (f->count)
			memcpy(more, f->all, f->count * sizeof(*more));
		f->all = more;
	}
	f->all[f->count++] = a;
}

static bool has_line(const struct unit *u, const char *line)
{
	for (unsigned i = 0; u && i < u->count; i++)
		if (!strcmp(u->lines[i], line))
			return true;
	return false;
}

/* Public addresses that lead elsewhere than before. */
static void forget_publics(struct forgotten *f, const struct work *w)
{
	static const char *const maps[] = {"to_private", "publics"};

	for (unsigned m = 0; m < ARRAY_SIZE(maps); m++) {
		const struct unit *old = ruleset_find(&w->before, RULES_VPC, maps[m]),
		                  *new = ruleset_find(&w->after, RULES_VPC, maps[m]);

		for (unsigned i = 0; old && i < old->count; i++) {
			const char *line = old->lines[i];
			struct ip address;

			if (!has_line(new, line) &&
			    ip_parse(&address, arena_text(f->arena, line, strcspn(line, " "))) == 0)
				forget(f, address);
		}
	}
}

static void forget_interfaces(struct forgotten *f, const struct fib *gone)
{
	for (unsigned i = 0; i < gone->count; i++) {
		const struct fib_item *r = &gone->items[i];
		struct ip a = {.v6 = r->v6};

		if (r->kind != FIB_ROUTE || r->table != FIB_MAIN || r->length != (r->v6 ? 128 : 32))
			continue;
		for (unsigned k = 0; k < (r->v6 ? 16U : 4U); k++)
			a.bits = a.bits << 8 | r->to[k];
		forget(f, a);
	}
}

/* An interface that goes takes its routes along, before they could be seen to go; the rules knew its
 * addresses. */
static void forget_sources(struct forgotten *f, const struct work *w)
{
	static const char *const sets[] = {"source4", "source6"};

	for (unsigned m = 0; m < ARRAY_SIZE(sets); m++) {
		const struct unit *old = ruleset_find(&w->before, RULES_VPC, sets[m]),
		                  *new = ruleset_find(&w->after, RULES_VPC, sets[m]);

		for (unsigned i = 0; old && i < old->count; i++) {
			const char *address = strstr(old->lines[i], " . ");
			struct ip a;

			if (address && !has_line(new, old->lines[i]) && ip_parse(&a, address + 3) == 0)
				forget(f, a);
		}
	}
}

/* ---- all of it ---- */

/* The file of what is loaded: the generation of the rules (ruleset.h), which is known in the end, and their
 * texts. */
#define GENERATION "%10u\n"

static int look_around(struct work *w)
{
	const char *rules = "";

	if (w->loaded)
		rules = arena_printf(&w->arena, GENERATION "%s", 0U, w->after_text);
	if (w->loaded && state_prepare(w->plan->vpc, "rules", rules, w->error) < 0)
		return -1;
	return link_list(&w->netlink, &w->arena, &w->links, w->error) < 0
	               ? -1
	               : fib_read(&w->netlink, &w->there, 0, w->error);
}

/* The rules come into force, while others look around. */
static int load_rules(struct work *w)
{
	struct ruleset_change change;
	struct error unused;
	int looked;

	if (ruleset_begin(&change, w->before_text, &w->after, w->after_text, &w->generation, &w->arena,
	                  w->error) < 0)
		return -1;
	w->loaded = change.running;
	looked = look_around(w);
	return ruleset_end(&change, looked < 0 ? &unused : w->error) < 0 ? -1 : looked;
}

static int work_within(void *arg)
{
	struct work *w = arg;
	struct fib wanted = {.arena = &w->arena}, gone = wanted;
	struct forgotten f = {.arena = &w->arena};

	w->there = wanted;
	if (namespace_parameters(w->error) < 0 || load_rules(w) < 0 || connection_parameters(w->error) < 0 ||
	    remove_links(w) < 0 || make_links(w) < 0 || start_links(w) < 0)
		return -1;
	if (w->restarted) {
		w->there.count = 0;
		if (fib_read(&w->netlink, &w->there, 0, w->error) < 0)
			return -1;
	}
	routes_plan(&wanted, w->plan, &w->links);
	if (fib_apply(&w->netlink, &wanted, &w->there, &gone, w->error) < 0)
		return -1;
	forget_publics(&f, w);
	forget_sources(&f, w);
	forget_interfaces(&f, &gone);
	return conntrack_forget(f.all, f.count, w->error);
}

static int within(void *arg)
{
	struct work *w = arg;
	int status;

	if (netlink_open(&w->netlink, NETLINK_ROUTE, w->error) < 0)
		return -1;
	status = work_within(w);
	netlink_close(&w->netlink);
	return status;
}

static void read_loaded(struct work *w)
{
	char *text = state_read(w->plan->vpc, "rules", &w->arena), *end;

	if (!text)
		return;
	w->generation = (u32)strtoul(text, &end, 10);
	if (*end == '\n')
		w->before_text = end + 1;
}

/* With the lock, and the host's namespace. */
static int apply(struct work *w, const char *owner)
{
	const struct plan *p = w->plan;
	struct error *e = w->error;

	if (state_claim(p->vpc, owner, e) < 0 || namespace_make(p->vpc, &w->result->made, e) < 0 ||
	    uplink_exists(p->vpc, &w->arena, &w->uplink, e) < 0)
		return -1;
	/* The pair's other end went with a namespace that somebody took away. */
	if (w->result->made && w->uplink) {
		if (uplink_remove(p->vpc, &w->arena, e) < 0)
			return -1;
		w->uplink = false;
	}
	w->before.arena = w->after.arena = &w->arena;
	rules_build(&w->after, p);
	w->after_text = ruleset_write(&w->after, &w->arena);
	if (!w->result->made)
		read_loaded(w);
	if (w->before_text && strcmp(w->before_text, w->after_text))
		ruleset_read(&w->before, w->before_text);
	if (namespace_call(p->vpc, within, w, e) < 0 || uplink_apply(p, &w->arena, e) < 0)
		return -1;
	if (!w->loaded)
		return 0;
	return state_commit(p->vpc, "rules", arena_printf(&w->arena, GENERATION, w->generation), e);
}

int datapath_apply(const struct plan *p, const char *owner, struct datapath_result *result, struct error *e)
{
	struct datapath_result unused;
	struct work w = {.plan = p, .result = result ? result : &unused, .error = e};
	int lock = state_lock(e), status = -1;

	*w.result = (struct datapath_result){0};
	if (lock < 0)
		return -1;
	arena_init(&w.arena);
	w.host = namespace_open(NULL, e);
	if (w.host >= 0) {
		status = apply(&w, owner);
		close(w.host);
	}
	arena_release(&w.arena);
	close(lock);
	return status < 0 ? error_prefix(e, "%s", p->vpc) : 0;
}

/* Each goes now, not when the last process in the namespace has ended. */
static int remove_all_links(void *arg)
{
	struct error *e = arg;
	struct netlink n;
	struct link_list links;
	struct arena a;
	int status;

	if (netlink_open(&n, NETLINK_ROUTE, e) < 0)
		return -1;
	arena_init(&a);
	status = link_list(&n, &a, &links, e);
	for (unsigned i = 0; status == 0 && i < links.count; i++)
		if (strcmp(links.all[i].name, "lo"))
			status = link_delete(&n, links.all[i].index, e);
	arena_release(&a);
	netlink_close(&n);
	return status;
}

static int remove_vpc(const char *vpc, struct arena *a, struct error *e)
{
	const char **left;
	unsigned count;

	if (namespace_exists(vpc) && namespace_call(vpc, remove_all_links, e, e) < 0)
		return -1;
	if (uplink_remove(vpc, a, e) < 0 || namespace_remove(vpc, e) < 0 || state_remove(vpc, e) < 0 ||
	    state_list(NULL, a, &left, &count, e) < 0)
		return -1;
	return count ? 0 : uplink_restore(e);
}

int datapath_remove(const char *vpc, struct error *e)
{
	struct arena a;
	int lock = state_lock(e), status;

	if (lock < 0)
		return -1;
	arena_init(&a);
	status = remove_vpc(vpc, &a, e);
	arena_release(&a);
	close(lock);
	return status < 0 ? error_prefix(e, "%s", vpc) : 0;
}

bool datapath_exists(const char *vpc)
{
	return namespace_exists(vpc);
}

int datapath_list(const char *owner, struct arena *a, const char ***vpcs, unsigned *count, struct error *e)
{
	return state_list(owner, a, vpcs, count, e);
}
