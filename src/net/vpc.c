#include "net/vpc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/process.h"
#include "net/control.h"
#include "net/datagram.h"
#include "net/dhcp.h"
#include "net/dhcp6.h"
#include "net/dns_server.h"
#include "net/flow_reader.h"
#include "net/imds_server.h"
#include "net/jail.h"
#include "net/ntp.h"
#include "net/resolver.h"
#include "net/router.h"
#include "net/service.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <unistd.h>

enum { BATCH = 32, SOLICITATION = 133 };

struct vpc {
	struct loop loop;
	struct guests guests;
	struct loop_fd links, dhcp, dhcp6, router, ntp[2];
	struct loop_timer advertise;
	struct dns_server dns;
	struct imds_server imds;
	struct control control;
	struct flow_reader flows;
};

/* ---- packets ---- */

static bool next_packet(struct vpc *v, int fd, struct datagram *d, u8 *bytes, size_t room, size_t *length,
                        struct guest *guest, bool *known)
{
	ssize_t n = datagram_receive(fd, d, bytes, room);

	if (n < 0)
		return false;
	*length = (size_t)n;
	*known = guest_find(&v->guests, d->device, guest) && guest_may_send(guest);
	return true;
}

static void dhcp_event(void *ctx, u32 events)
{
	struct vpc *v = ctx;
	struct dhcp_answer a;
	struct datagram d;
	struct guest guest;
	size_t length;
	u8 in[1500];
	bool known;

	for (unsigned i = 0;
	     i < BATCH && next_packet(v, v->dhcp.fd, &d, in, sizeof(in), &length, &guest, &known); i++) {
		if (!known)
			continue;
		dhcp_answer(v->guests.config, guest.interface, in, length, &a);
		if (!a.length)
			continue;
		d = (struct datagram){
		        .device = d.device, .peer = a.to, .local = a.from, .port = DHCP_CLIENT_PORT};
		if (datagram_send(v->dhcp.fd, &d, a.bytes, a.length) == 0)
			continue;
		/* Its address is not known to the kernel yet. */
		d.peer.bits = 0xffffffff;
		if (datagram_send(v->dhcp.fd, &d, a.bytes, a.length) < 0)
			log_guest("%s: DHCP: %s", guest.interface->plan->id, strerror(errno));
	}
}

static void dhcp6_event(void *ctx, u32 events)
{
	struct vpc *v = ctx;
	struct datagram d;
	struct guest guest;
	size_t length;
	u8 in[1500], out[DHCP6_MAX];
	bool known;

	for (unsigned i = 0;
	     i < BATCH && next_packet(v, v->dhcp6.fd, &d, in, sizeof(in), &length, &guest, &known); i++) {
		length = known ? dhcp6_answer(v->guests.config, guest.interface, in, length, out) : 0;
		if (length && datagram_send(v->dhcp6.fd, &d, out, length) < 0)
			log_guest("%s: DHCPv6: %s", guest.interface->plan->id, strerror(errno));
	}
}

static void ntp_event(struct vpc *v, int fd)
{
	struct timex state = {0};
	struct ntp_clock clock;
	struct datagram d;
	struct guest guest;
	size_t length;
	u8 in[256], out[NTP_PACKET];
	bool known;
	int leap = adjtimex(&state);

	clock = (struct ntp_clock){.error_us = (u64)state.maxerror,
	                           .leap = leap == TIME_INS   ? 1
	                                   : leap == TIME_DEL ? 2
	                                                      : 0};
	for (unsigned i = 0; i < BATCH && next_packet(v, fd, &d, in, sizeof(in), &length, &guest, &known);
	     i++)
		if (known && config_has_address(guest.interface, d.peer) &&
		    ntp_answer(&clock, in, length, d.received_ns, clock_realtime_ns(), out))
			datagram_send(fd, &d, out, sizeof(out));
}

static void ntp4_event(void *ctx, u32 events)
{
	struct vpc *v = ctx;

	ntp_event(v, v->ntp[0].fd);
}

static void ntp6_event(void *ctx, u32 events)
{
	struct vpc *v = ctx;

	ntp_event(v, v->ntp[1].fd);
}

/* ---- router advertisements ---- */

static const struct ip all_nodes = {true, (ip_bits)0xff02ULL << 112 | 1};

static void advertise_to(struct vpc *v, struct link *l, struct ip peer)
{
	struct datagram d = {.device = l->index, .peer = peer, .local = {true, 0}};
	u8 bytes[ROUTER_ADVERTISEMENT];

	router_advertisement(bytes);
	datagram_send(v->router.fd, &d, bytes, sizeof(bytes));
}

static bool has_ipv6(const struct vpc *v, const struct link *l)
{
	const struct config_interface *i = config_interface(v->guests.config, l->name);

	return i && i->v6_count;
}

static void router_event(void *ctx, u32 events)
{
	struct vpc *v = ctx;
	struct datagram d;
	struct guest guest;
	size_t length;
	u8 in[1500];
	bool known;

	for (unsigned i = 0;
	     i < BATCH && next_packet(v, v->router.fd, &d, in, sizeof(in), &length, &guest, &known); i++)
		if (known && guest.interface->v6_count && router_is_solicitation(in, length, d.hops))
			advertise_to(v, guest.link, d.peer.bits ? d.peer : all_nodes);
}

/* All links whose time has come. */
static void advertise(void *ctx)
{
	struct vpc *v = ctx;
	u64 now = clock_monotonic_ns(), every = ROUTER_EVERY_S * 1000000000ULL;

	for (unsigned i = 0; i < v->guests.links.count; i++) {
		struct link *l = v->guests.links.list[i];

		if (!l->up || !has_ipv6(v, l) || (l->advertised_ns && now - l->advertised_ns < every))
			continue;
		l->advertised_ns = now;
		advertise_to(v, l, all_nodes);
	}
	loop_timer_arm(&v->advertise, now + every / 8);
}

static void join(int fd, int device, u16 low, u16 high)
{
	struct ipv6_mreq group = {.ipv6mr_interface = (unsigned)device};
	u8 *at = group.ipv6mr_multiaddr.s6_addr;

	at[0] = 0xff;
	at[1] = 0x02;
	at[13] = (u8)high;
	at[15] = (u8)low;
	setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &group, sizeof(group));
}

static void link_changed(void *ctx, struct link *l)
{
	struct vpc *v = ctx;

	if (!config_interface(v->guests.config, l->name))
		return;
	if (!l->joined) {
		join(v->router.fd, l->index, 2, 0); /* ff02::2 */
		join(v->dhcp6.fd, l->index, 2, 1);  /* ff02::1:2 */
		l->joined = true;
	}
	if (l->up && has_ipv6(v, l)) {
		l->advertised_ns = clock_monotonic_ns();
		advertise_to(v, l, all_nodes);
	}
}

static void links_event(void *ctx, u32 events)
{
	struct vpc *v = ctx;

	links_read(&v->guests.links);
}

static void config_changed(void *ctx)
{
	struct vpc *v = ctx;

	for (unsigned i = 0; i < v->guests.links.count; i++)
		if (!v->guests.links.list[i]->joined)
			link_changed(v, v->guests.links.list[i]);
	advertise(v);
}

/* ---- start ---- */

static int watch(struct vpc *v, struct loop_fd *f, void (*fn)(void *ctx, u32 events), struct error *e)
{
	f->events = EPOLLIN;
	f->fn = fn;
	f->ctx = v;
	return loop_add(&v->loop, f, e);
}

static int open_sockets(struct vpc *v, struct error *e)
{
	if (links_open(&v->guests.links, e) < 0 ||
	    (v->dhcp.fd = datagram_open(false, DHCP_SERVER_PORT, e)) < 0 ||
	    (v->dhcp6.fd = datagram_open(true, DHCP6_SERVER_PORT, e)) < 0 ||
	    (v->router.fd = datagram_open_icmp6(SOLICITATION, e)) < 0 ||
	    (v->ntp[0].fd = datagram_open(false, NTP_PORT, e)) < 0 ||
	    (v->ntp[1].fd = datagram_open(true, NTP_PORT, e)) < 0)
		return -1;
	v->links.fd = v->guests.links.fd;
	v->guests.links.changed = link_changed;
	v->guests.links.ctx = v;
	v->control.guests = &v->guests;
	v->control.changed = config_changed;
	v->control.ctx = v;
	return dns_server_open(&v->dns, e) < 0 || imds_server_open(&v->imds, e) < 0 ? -1 : 0;
}

static int start(struct vpc *v, int resolver, struct error *e)
{
	if (loop_init(&v->loop, e) < 0 || loop_timer_init(&v->loop, &v->advertise, advertise, v, e) < 0 ||
	    watch(v, &v->links, links_event, e) < 0 || watch(v, &v->dhcp, dhcp_event, e) < 0 ||
	    watch(v, &v->dhcp6, dhcp6_event, e) < 0 || watch(v, &v->router, router_event, e) < 0 ||
	    watch(v, &v->ntp[0], ntp4_event, e) < 0 || watch(v, &v->ntp[1], ntp6_event, e) < 0 ||
	    dns_server_start(&v->dns, &v->loop, &v->guests, resolver, e) < 0 ||
	    imds_server_start(&v->imds, &v->loop, &v->guests, e) < 0 ||
	    control_start(&v->control, &v->loop, e) < 0 ||
	    flow_reader_start(&v->flows, &v->loop, &v->guests, e) < 0 || links_ask(&v->guests.links, e) < 0)
		return -1;
	loop_timer_arm(&v->advertise, clock_monotonic_ns() + ROUTER_EVERY_S * 1000000000ULL / 8);
	return 0;
}

/* The lock of the folder: inherited, or taken now. */
static int take_lock(int dir, bool started, const char *path, struct error *e)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = started ? VPC_SERVICE_LOCK : openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || fcntl(fd, F_OFD_SETLK, &whole) < 0)
		return error_set(e, fd >= 0 && errno == EACCES ? EAGAIN : errno, "lock %s", path);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	unlinkat(dir, "vpc.pid", 0);
	return 0;
}

static int write_pid(int dir, struct error *e)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "%d %llu\n", getpid(),
	                 (unsigned long long)process_start_time(getpid()));
	int fd = openat(dir, "vpc.pid.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), status = 0;

	if (fd < 0 || write(fd, text, (size_t)n) != n || renameat(dir, "vpc.pid.new", dir, "vpc.pid") < 0)
		status = error_set(e, errno, "write vpc.pid");
	if (fd >= 0)
		close(fd);
	return status;
}

static int read_config(struct vpc *v, int dir, struct error *e)
{
	int fd = openat(dir, "config.json", O_RDONLY | O_CLOEXEC), status;
	struct buffer b = {0};
	ssize_t n = 0;

	if (fd < 0)
		return error_set(e, errno, "open config.json");
	while (b.length <= CONFIG_MAX && (n = read(fd, buffer_reserve(&b, 1 << 16), 1 << 16)) > 0)
		b.length += (size_t)n;
	if (n < 0)
		status = error_set(e, errno, "read config.json");
	else if (b.length > CONFIG_MAX)
		status = error_set(e, EFBIG, "config.json");
	else if ((status = control_take(&v->guests, buffer_str(&b), b.length, e)) < 0)
		error_prefix(e, "config.json");
	close(fd);
	buffer_release(&b);
	return status;
}

static int open_root(int dir, struct error *e)
{
	int fd;

	if (mkdirat(dir, "root", 0555) < 0 && errno != EEXIST)
		return error_set(e, errno, "create root");
	fd = openat(dir, "root", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? error_set(e, errno, "open root") : fd;
}

static int enter(const char *netns, struct error *e)
{
	char path[300];
	int fd, status;

	if (!netns)
		return 0;
	if (strchr(netns, '/') || snprintf(path, sizeof(path), "/run/netns/%s", netns) >= (int)sizeof(path))
		return error_set(e, 0, "'%s' is not the name of a namespace", netns);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	status = fd < 0 ? -1 : setns(fd, CLONE_NEWNET);
	if (status < 0)
		error_set(e, errno, "enter %s", path);
	if (fd >= 0)
		close(fd);
	return status;
}

struct options {
	const char *dir, *netns, *resolv_conf;
	unsigned flow_interval;
	bool started;
};

static int begin(struct vpc *v, const struct options *o, struct error *e)
{
	int dir = open(o->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), root, resolver;
	u32 user;

	if (dir < 0)
		return error_set(e, errno, "open %s", o->dir);
	if (take_lock(dir, o->started, o->dir, e) < 0 || read_config(v, dir, e) < 0)
		return -1;
	user = jail_user(v->guests.config->plan.vpc);
	root = open_root(dir, e);
	resolver = root < 0 ? -1 : resolver_start(o->resolv_conf, user, root, e);
	if (resolver < 0 || enter(o->netns, e) < 0 || open_sockets(v, e) < 0 ||
	    control_open(&v->control, dir, e) < 0 || flow_reader_open(&v->flows, dir, e) < 0 ||
	    write_pid(dir, e) < 0)
		return -1;
	close(dir);
	v->flows.every_s = o->flow_interval;
	imds_prepare();
	return start(v, resolver, e) < 0 || jail_enter(JAIL_SERVICES, user, root, e) < 0 ? -1 : 0;
}

static void tell_ready(bool started, const char *text)
{
	if (!started)
		return;
	(void)!write(VPC_SERVICE_READY, text, strlen(text));
	(void)!write(VPC_SERVICE_READY, "\n", 1);
}

static int usage(FILE *to)
{
	fputs("usage: insula vpc [OPTION]... DIR\n\n"
	      "Serves the VPC whose configuration is DIR/config.json: DHCP, DNS, time, metadata.\n"
	      "  --netns NAME        in this network namespace\n"
	      "  --resolv-conf FILE  who is asked for other names (/etc/resolv.conf)\n"
	      "  --flow-log-interval SECONDS\n"
	      "                      how often flow.log is written (60)\n",
	      to);
	return to == stderr ? 2 : 0;
}

int vpc_main(int argc, char **argv)
{
	static const struct option longs[] = {
	        {"netns", required_argument, NULL, 'n'},
	        {"resolv-conf", required_argument, NULL, 'r'},
	        {"flow-log-interval", required_argument, NULL, 'f'},
	        {"started", no_argument, NULL, 's'},
	        {"help", no_argument, NULL, 'h'},
	        {0},
	};
	struct options o = {.resolv_conf = "/etc/resolv.conf", .flow_interval = FLOW_LOG_EVERY_S};
	struct error e = {0};
	struct vpc *v;
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'n')
			o.netns = optarg;
		else if (c == 'r')
			o.resolv_conf = optarg;
		else if (c == 'f' && atoi(optarg) > 0)
			o.flow_interval = (unsigned)atoi(optarg);
		else if (c == 's')
			o.started = true;
		else
			return c == 'h' ? usage(stdout) : 2;
	}
	if (optind + 1 != argc)
		return usage(stderr);
	o.dir = argv[optind];
	if (o.started)
		fcntl(VPC_SERVICE_READY, F_SETFD, FD_CLOEXEC);
	signal(SIGPIPE, SIG_IGN);
	v = calloc(1, sizeof(*v));
	if (!v || begin(v, &o, &e) < 0) {
		log_error("%s", v ? e.text : "no memory");
		tell_ready(o.started, v ? e.text : "no memory");
		return 1;
	}
	tell_ready(o.started, "ok");
	if (o.started)
		close(VPC_SERVICE_READY);
	if (loop_run(&v->loop, &e) < 0)
		log_error("%s", e.text);
	return 1;
}
