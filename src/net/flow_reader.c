#include "net/flow_reader.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/netlink.h"
#include "net/wire.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { COPY = 128 /* bytes of a packet */, BATCH = 16 };

/* ---- messages ---- */

static bool is_message(const struct nlmsghdr *m, unsigned subsystem, unsigned type)
{
	return m->nlmsg_type == (subsystem << 8 | type) &&
	       m->nlmsg_len >= NLMSG_LENGTH(sizeof(struct nfgenmsg));
}

/* "A eni-…" */
static bool read_prefix(struct flow *f, const struct nlattr *a)
{
	const char *text = a ? netlink_data(a) : NULL;
	size_t length = a ? strnlen(text, netlink_size(a)) : 0;

	if (length < 3 || length - 2 >= FLOW_ID || text[1] != ' ' || (text[0] != 'A' && text[0] != 'R'))
		return false;
	f->refused = text[0] == 'R';
	memcpy(f->interface, text + 2, length - 2);
	f->interface[length - 2] = 0;
	return true;
}

bool flow_read_log(struct flow *f, const struct nlmsghdr *m, u64 *bytes)
{
	const struct nlattr *a[NFULA_MAX + 1] = {0};

	*f = (struct flow){0};
	if (!is_message(m, NFNL_SUBSYS_ULOG, NFULNL_MSG_PACKET))
		return false;
	netlink_attributes(m, sizeof(struct nfgenmsg), a, NFULA_MAX);
	return a[NFULA_PAYLOAD] && read_prefix(f, a[NFULA_PREFIX]) &&
	       flow_read_packet(f, netlink_data(a[NFULA_PAYLOAD]), netlink_size(a[NFULA_PAYLOAD]), bytes);
}

static bool read_address(struct ip *to, const struct nlattr *v4, const struct nlattr *v6)
{
	if (v4 && netlink_size(v4) >= 4)
		*to = wire_ip4(netlink_data(v4));
	else if (v6 && netlink_size(v6) >= 16)
		*to = wire_ip6(netlink_data(v6));
	else
		return false;
	return true;
}

static u16 read_port(const struct nlattr *a)
{
	return a && netlink_size(a) >= 2 ? wire_get16(netlink_data(a)) : 0;
}

static bool read_tuple(struct flow *f, const struct nlattr *tuple)
{
	const struct nlattr *parts[CTA_TUPLE_MAX + 1] = {0}, *ip[CTA_IP_MAX + 1] = {0},
	                                           *proto[CTA_PROTO_MAX + 1] = {0};

	*f = (struct flow){0};
	if (!tuple)
		return false;
	netlink_nested(tuple, parts, CTA_TUPLE_MAX);
	netlink_nested(parts[CTA_TUPLE_IP], ip, CTA_IP_MAX);
	netlink_nested(parts[CTA_TUPLE_PROTO], proto, CTA_PROTO_MAX);
	if (!read_address(&f->from, ip[CTA_IP_V4_SRC], ip[CTA_IP_V6_SRC]) ||
	    !read_address(&f->to, ip[CTA_IP_V4_DST], ip[CTA_IP_V6_DST]) || !proto[CTA_PROTO_NUM] ||
	    netlink_size(proto[CTA_PROTO_NUM]) < 1)
		return false;
	f->protocol = *(const u8 *)netlink_data(proto[CTA_PROTO_NUM]);
	f->from_port = read_port(proto[CTA_PROTO_SRC_PORT]);
	f->to_port = read_port(proto[CTA_PROTO_DST_PORT]);
	return true;
}

static u64 read_64(const struct nlattr *a)
{
	u64 v = 0;

	if (a && netlink_size(a) >= sizeof(v))
		memcpy(&v, netlink_data(a), sizeof(v));
	return be64toh(v);
}

static void read_counters(const struct nlattr *in, u64 *packets, u64 *bytes)
{
	const struct nlattr *a[CTA_COUNTERS_MAX + 1] = {0};

	netlink_nested(in, a, CTA_COUNTERS_MAX);
	*packets = read_64(a[CTA_COUNTERS_PACKETS]);
	*bytes = read_64(a[CTA_COUNTERS_BYTES]);
}

bool flow_read_end(struct flow f[2], const struct nlmsghdr *m, u64 packets[2], u64 bytes[2])
{
	const struct nlattr *a[CTA_MAX + 1] = {0};

	if (!is_message(m, NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE))
		return false;
	netlink_attributes(m, sizeof(struct nfgenmsg), a, CTA_MAX);
	read_counters(a[CTA_COUNTERS_ORIG], &packets[0], &bytes[0]);
	read_counters(a[CTA_COUNTERS_REPLY], &packets[1], &bytes[1]);
	return read_tuple(&f[0], a[CTA_TUPLE_ORIG]) && read_tuple(&f[1], a[CTA_TUPLE_REPLY]);
}

/* ---- first packets ---- */

static u64 key_of(const struct flow *f)
{
	u64 key = 0;
	u8 bytes[FLOW_ID + 16 + 16 + 5] = {0};
	size_t n = strlen(f->interface);

	memcpy(bytes, f->interface, n);
	wire_of_ip(bytes + FLOW_ID, f->from);
	wire_of_ip(bytes + FLOW_ID + 16, f->to);
	wire_put16(bytes + FLOW_ID + 32, f->from_port);
	wire_put16(bytes + FLOW_ID + 34, f->to_port);
	bytes[FLOW_ID + 36] = f->protocol;
	for (n = 0; n < sizeof(bytes); n++)
		key = (key ^ bytes[n]) * 0x100000001b3ULL;
	return key | 1;
}

static struct flow_first *first_of(struct flow_reader *r, u64 key)
{
	return &r->firsts[(key >> 20) % FLOW_FIRST_MAX];
}

/* ---- counting ---- */

static void passed(struct flow_reader *r, const struct flow *f, u64 bytes, s64 now)
{
	u64 key = key_of(f);

	flow_log_add(&r->log, f, 1, bytes, now);
	if (!f->refused)
		*first_of(r, key) = (struct flow_first){key, (u32)bytes};
}

/* One direction of a connection that has ended, as the interface saw it. */
static void ended(struct flow_reader *r, struct flow f, const char *interface, u64 packets, u64 bytes,
                  s64 now)
{
	struct flow_first *first;
	u64 key;

	strncpy(f.interface, interface, FLOW_ID - 1);
	key = key_of(&f);
	first = first_of(r, key);
	if (first->key == key) {
		first->key = 0;
		packets -= packets > 0;
		bytes -= first->bytes < bytes ? first->bytes : bytes;
	}
	if (packets)
		flow_log_add(&r->log, &f, packets, bytes, now);
}

/* The interface that has a log and this address. */
static const char *logged(const struct flow_reader *r, struct ip a)
{
	const struct config *c = r->guests->config;

	for (unsigned i = 0; i < c->interfaces_count; i++)
		if (c->interfaces[i].plan->log && config_has_address(&c->interfaces[i], a))
			return c->interfaces[i].plan->id;
	return NULL;
}

static struct flow back(const struct flow *f)
{
	struct flow b = *f;

	b.from = f->to;
	b.to = f->from;
	b.from_port = f->to_port;
	b.to_port = f->from_port;
	return b;
}

static void take_end(struct flow_reader *r, const struct nlmsghdr *m, s64 now)
{
	struct flow f[2];
	u64 packets[2], bytes[2];
	const char *id;

	if (!flow_read_end(f, m, packets, bytes))
		return;
	/* Each end sees its own addresses: those of the tuple that begins with it. */
	id = logged(r, f[0].from);
	if (id) {
		ended(r, f[0], id, packets[0], bytes[0], now);
		ended(r, back(&f[0]), id, packets[1], bytes[1], now);
	}
	id = logged(r, f[1].from);
	if (id) {
		ended(r, back(&f[1]), id, packets[0], bytes[0], now);
		ended(r, f[1], id, packets[1], bytes[1], now);
	}
}

static void read_messages(struct flow_reader *r, int fd)
{
	static _Alignas(struct nlmsghdr) u8 bytes[1 << 17];
	s64 now = time(NULL);

	for (unsigned i = 0; i < BATCH; i++) {
		ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
		size_t left = n > 0 ? (size_t)n : 0;

		if (n < 0 && errno == ENOBUFS)
			r->log.lost = true;
		else if (n <= 0)
			return;
		for (u8 *at = bytes; left >= sizeof(struct nlmsghdr);) {
			const struct nlmsghdr *m = (const struct nlmsghdr *)(const void *)at;
			size_t step = NLMSG_ALIGN(m->nlmsg_len);
			struct flow f;
			u64 size;

			if (m->nlmsg_len < sizeof(*m) || m->nlmsg_len > left)
				break;
			if (flow_read_log(&f, m, &size))
				passed(r, &f, size, now);
			else
				take_end(r, m, now);
			step = min(step, left);
			at += step;
			left -= step;
		}
	}
}

static void packets_event(void *ctx, u32 events)
{
	struct flow_reader *r = ctx;

	read_messages(r, r->packets.fd);
}

static void events_event(void *ctx, u32 events)
{
	struct flow_reader *r = ctx;

	read_messages(r, r->events.fd);
}

/* ---- the file ---- */

static void write_minute(void *ctx)
{
	struct flow_reader *r = ctx;
	struct buffer out = {0};

	flow_log_write(&r->log, r->guests->config, time(NULL), &out);
	if (lseek(r->file, 0, SEEK_END) > FLOW_LOG_SIZE && ftruncate(r->file, 0) < 0)
		buffer_clear(&out);
	for (size_t sent = 0; sent < out.length;) {
		ssize_t n = write(r->file, out.bytes + sent, out.length - sent);

		if (n <= 0)
			break; /* a full disk loses lines */
		sent += (size_t)n;
	}
	buffer_release(&out);
	loop_timer_arm(&r->timer, clock_monotonic_ns() + r->every_s * 1000000000ULL);
}

/* ---- start ---- */

/* Asks the packet log for the group's packets: the only thing that needs a capability. */
static int bind_group(int fd, struct error *e)
{
	struct netlink n = {.fd = fd};
	struct nfgenmsg body = {
	        .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = htons(FLOW_GROUP)};
	struct nfulnl_msg_config_cmd bind = {NFULNL_CFG_CMD_BIND};
	struct nfulnl_msg_config_mode mode = {.copy_range = htonl(COPY), .copy_mode = NFULNL_COPY_PACKET};
	struct netlink_request r;

	netlink_begin(&r, NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG, NLM_F_ACK, &body, sizeof(body));
	netlink_put(&r, NFULA_CFG_CMD, &bind, sizeof(bind));
	if (netlink_ask(&n, &r, e) < 0)
		return -1;
	netlink_begin(&r, NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG, NLM_F_ACK, &body, sizeof(body));
	netlink_put(&r, NFULA_CFG_MODE, &mode, sizeof(mode));
	return netlink_ask(&n, &r, e);
}

static int open_netlink(int *fd, unsigned groups, struct error *e)
{
	struct sockaddr_nl at = {.nl_family = AF_NETLINK, .nl_groups = groups};
	int room = 4 << 20;

	*fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	if (*fd < 0 || bind(*fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return error_set(e, errno, "netlink of netfilter");
	setsockopt(*fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	return 0;
}

int flow_reader_open(struct flow_reader *r, int dir, struct error *e)
{
	struct error why;

	r->packets.fd = r->events.fd = -1;
	r->file = openat(dir, "flow.log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (r->file < 0)
		return error_set(e, errno, "open flow.log");
	if (open_netlink(&r->packets.fd, 0, e) < 0 ||
	    open_netlink(&r->events.fd, 1u << (NFNLGRP_CONNTRACK_DESTROY - 1), e) < 0)
		return -1;
	/* A kernel without the packet log has everything else. */
	if (bind_group(r->packets.fd, &why) < 0)
		log_warn("no flow logs: %s", why.text);
	fcntl(r->packets.fd, F_SETFL, O_NONBLOCK);
	fcntl(r->events.fd, F_SETFL, O_NONBLOCK);
	return 0;
}

int flow_reader_start(struct flow_reader *r, struct loop *l, struct guests *g, struct error *e)
{
	r->guests = g;
	r->log.since = time(NULL);
	r->firsts = calloc(FLOW_FIRST_MAX, sizeof(*r->firsts));
	if (!r->firsts)
		return error_set(e, ENOMEM, "flow logs");
	r->packets.events = r->events.events = EPOLLIN;
	r->packets.ctx = r->events.ctx = r;
	r->packets.fn = packets_event;
	r->events.fn = events_event;
	if (loop_add(l, &r->packets, e) < 0 || loop_add(l, &r->events, e) < 0 ||
	    loop_timer_init(l, &r->timer, write_minute, r, e) < 0)
		return -1;
	loop_timer_arm(&r->timer, clock_monotonic_ns() + r->every_s * 1000000000ULL);
	return 0;
}
