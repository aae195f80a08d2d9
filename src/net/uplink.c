#include "net/uplink.h"
#include "net/command.h"
#include "net/datapath.h"
#include "net/fib.h"
#include "net/link.h"
#include "net/lookup.h"
#include "net/namespace.h"
#include "net/rules.h"
#include "net/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file here says that it was us who let an interface forward: "COOKIE-NAME", of the host's
 * namespace and the interface. */
#define FORWARDING "/run/insula/forwarding"

enum { PATH = 256 };

bool uplink_wanted(const struct plan *p)
{
	return p->internet || p->egress_only;
}

/* Opens n, to be closed, and looks for the host's end; *link NULL: it is not there. */
static int look(struct netlink *n, const char *vpc, struct arena *a, struct link **link, struct error *e)
{
	char name[PLAN_TAP];
	struct link_list links = {0};

	plan_uplink_name(name, vpc);
	if (netlink_open(n, NETLINK_ROUTE, e) < 0)
		return -1;
	if (link_look(n, a, &links, name, e) < 0) {
		netlink_close(n);
		return -1;
	}
	*link = link_find(&links, name);
	return 0;
}

int uplink_exists(const char *vpc, struct arena *a, bool *exists, struct error *e)
{
	struct link *link;
	struct netlink n;

	*exists = false;
	if (look(&n, vpc, a, &link, e) < 0)
		return -1;
	*exists = link != NULL;
	netlink_close(&n);
	return 0;
}

/* ---- forwarding ---- */

static void marker(char out[PATH], const char *device)
{
	snprintf(out, PATH, FORWARDING "/%llu-%s", (unsigned long long)namespace_cookie(), device);
}

struct outside {
	u32 link, metric;
};

static void look_for_default(const struct nlmsghdr *m, void *arg)
{
	const struct nlattr *a[RTA_MAX + 1];
	const struct rtmsg *b = NLMSG_DATA(m);
	struct outside *o = arg;

	netlink_attributes(m, sizeof(*b), a, RTA_MAX);
	if (b->rtm_dst_len || b->rtm_type != RTN_UNICAST ||
	    netlink_get32(a[RTA_TABLE], b->rtm_table) != RT_TABLE_MAIN || !a[RTA_OIF] ||
	    (o->link && netlink_get32(a[RTA_PRIORITY], 0) >= o->metric))
		return;
	o->link = netlink_get32(a[RTA_OIF], 0);
	o->metric = netlink_get32(a[RTA_PRIORITY], 0);
}

/* The device of the host's default route, "": there is none. */
static int find_outside(struct netlink *n, char name[IF_NAMESIZE], struct error *e)
{
	struct rtmsg all = {.rtm_family = AF_INET};
	struct netlink_request r;
	struct outside o = {0};

	*name = 0;
	netlink_begin(&r, RTM_GETROUTE, 0, &all, sizeof(all));
	if (netlink_dump(n, &r, look_for_default, &o, e) < 0)
		return -1;
	if (o.link && !if_indextoname(o.link, name))
		*name = 0;
	return 0;
}

static void set(const char *format, const char *device, const char *value)
{
	char path[PATH];
	struct error e;

	snprintf(path, sizeof(path), format, device);
	namespace_set(path, value, &e); /* older kernels do not have all of them */
}

static bool forwards(const char *device)
{
	char path[PATH];

	snprintf(path, sizeof(path), "ipv4/conf/%s/forwarding", device);
	return namespace_get(path, 1);
}

/* True: the device forwards because of us. */
static bool let_forward(const char *device)
{
	char path[PATH];
	int fd;

	marker(path, device);
	if (!forwards(device)) {
		mkdir(FORWARDING, 0700);
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		if (fd >= 0)
			close(fd);
		set("ipv4/conf/%s/forwarding", device, "1");
		set("ipv6/conf/%s/force_forwarding", device, "1");
	}
	return access(path, F_OK) == 0 && !namespace_get("ipv4/ip_forward", 0);
}

int uplink_restore(struct error *e)
{
	DIR *folder = opendir(FORWARDING);
	char prefix[PATH], path[2 * PATH];
	struct dirent *d;
	size_t length;

	if (!folder)
		return errno == ENOENT ? 0 : error_set(e, errno, FORWARDING);
	marker(prefix, "");
	length = strlen(prefix) - strlen(FORWARDING "/");
	while ((d = readdir(folder))) {
		if (strncmp(d->d_name, prefix + strlen(FORWARDING "/"), length))
			continue;
		/* Whoever has made a router of the host since then wants it to forward. */
		if (!namespace_get("ipv4/ip_forward", 0)) {
			set("ipv4/conf/%s/forwarding", d->d_name + length, "0");
			set("ipv6/conf/%s/force_forwarding", d->d_name + length, "0");
		}
		snprintf(path, sizeof(path), FORWARDING "/%s", d->d_name);
		unlink(path);
	}
	closedir(folder);
	rmdir(FORWARDING);
	return 0;
}

/* ---- addresses, routes and rules ---- */

static void public_route(struct fib *f, const char *address, u32 link, struct ip from)
{
	struct fib_item *i = fib_add(f, FIB_ROUTE, lookup_host(address));

	i->table = FIB_MAIN;
	i->link = link;
	fib_bytes(i->source, from);
}

static int addresses_and_routes(struct netlink *n, const struct plan *p, u32 link, struct arena *a,
                                struct error *e)
{
	struct ip host = lookup_ip(p->host);
	struct fib f = {.arena = a}, there = f;

	if (*p->host)
		fib_add(&f, FIB_ADDRESS, lookup_host(p->host))->link = link;
	fib_add(&f, FIB_ADDRESS, lookup_host(DATAPATH_HOST6))->link = link;
	for (unsigned i = 0; i < p->interfaces_count; i++)
		for (unsigned k = 0; k < p->interfaces[i].publics_count; k++)
			if (!lookup_is_v6(p->interfaces[i].publics[k].address))
				public_route(&f, p->interfaces[i].publics[k].address, link, host);
	for (unsigned i = 0; i < p->nats_count; i++)
		if (*p->nats[i].public)
			public_route(&f, p->nats[i].public, link, host);
	for (unsigned i = 0; i < p->cidrs6_count; i++) {
		struct fib_item *r = fib_add(&f, FIB_ROUTE, lookup_block(p->cidrs6[i]));

		r->table = FIB_MAIN;
		r->link = link;
		fib_bytes(r->source, lookup_ip(DATAPATH_HOST6));
	}
	return fib_read(n, &there, link, e) < 0 ? -1 : fib_apply(n, &f, &there, NULL, e);
}

static int rules(const struct plan *p, const char *outside, struct arena *a, struct error *e)
{
	struct ruleset after = {.arena = a};
	struct ruleset_change change;
	char *text = state_read(p->vpc, "host", a), *next;

	rules_host(&after, p->vpc, outside);
	next = ruleset_write(&after, a);
	/* Written first: where the file is not, there is no table. */
	if ((!text || strcmp(text, next)) && state_write(p->vpc, "host", next, e) < 0)
		return -1;
	return ruleset_begin(&change, text, &after, next, NULL, a, e) < 0 ? -1 : ruleset_end(&change, e);
}

static int remove_rules(const char *vpc, struct arena *a, struct error *e)
{
	static const char *const argv[] = {"nft", "-f", "-", NULL};
	struct ruleset there = {.arena = a};
	char *script;

	if (!state_read(vpc, "host", a))
		return 0;
	rules_host(&there, vpc, NULL);
	script = arena_printf(a, "add table %s\ndelete table %s\n", there.units[0]->table,
	                      there.units[0]->table);
	if (command_run(argv, script, strlen(script), NULL, e) < 0)
		return -1;
	state_drop(vpc, "host");
	return 0;
}

static int apply(struct netlink *n, const struct plan *p, struct arena *a, struct error *e)
{
	char name[PLAN_TAP], outside[IF_NAMESIZE];
	struct link_list links = {0};
	struct link *link;
	bool ours;

	plan_uplink_name(name, p->vpc);
	if (link_look(n, a, &links, name, e) < 0 || find_outside(n, outside, e) < 0)
		return -1;
	link = link_find(&links, name);
	if (!link)
		return error_set(e, ENODEV, "interface '%s'", name);
	set("ipv4/conf/%s/forwarding", name, "1");
	set("ipv4/conf/%s/send_redirects", name, "0");
	set("ipv4/conf/%s/accept_redirects", name, "0");
	set("ipv6/conf/%s/accept_ra", name, "0");
	set("ipv6/conf/%s/addr_gen_mode", name, "1");
	set("ipv6/conf/%s/force_forwarding", name, "1");
	if (!link->up && link_start(n, link->index, NULL, 0, e) < 0)
		return -1;
	ours = *outside && let_forward(outside);
	/* Hidden before anything is routed. */
	if (rules(p, ours ? outside : NULL, a, e) < 0)
		return -1;
	return addresses_and_routes(n, p, link->index, a, e);
}

int uplink_apply(const struct plan *p, struct arena *a, struct error *e)
{
	struct netlink n;
	int status;

	if (!uplink_wanted(p))
		return uplink_remove(p->vpc, a, e);
	if (netlink_open(&n, NETLINK_ROUTE, e) < 0)
		return -1;
	status = apply(&n, p, a, e);
	netlink_close(&n);
	return status < 0 ? error_prefix(e, "the host's side of %s", p->vpc) : 0;
}

int uplink_remove(const char *vpc, struct arena *a, struct error *e)
{
	struct link *link;
	struct netlink n;
	int status;

	if (look(&n, vpc, a, &link, e) < 0)
		return -1;
	status = link ? link_delete(&n, link->index, e) : 0;
	netlink_close(&n);
	return status < 0 ? -1 : remove_rules(vpc, a, e);
}
