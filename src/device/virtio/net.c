/*
 * virtio-net on a tap (Virtual I/O Device 1.2 §5.1): one queue pair and a control queue.
 *
 * Theory of operation.  Transmission happens within the notification, on the vCPU's thread: one writev(2) a
 * frame, from the guest's buffers.  If the tap is full, the frame is given back to the queue and the loop
 * waits for EPOLLOUT.
 *
 * Reception happens on the loop's thread: one readv(2) a frame, into the guest's buffers.  How long the next
 * frame is cannot be known before, so receive buffers are collected ("staged") up to the longest possible
 * frame and stay collected for the next one; what no guest buffer has room for ends in a spare buffer of
 * ours.  A frame that did not fit is kept there and delivered when the driver has added buffers; meanwhile
 * the tap is not read.
 *
 * Rates.  A direction whose limiter says wait stands still until its time, by one timer for both: frames stay
 * in the driver's queue, or in the tap's.  None is dropped here.
 */
#include "device/virtio/limiter.h"
#include "device/virtio/net_stream.h"
#include "device/virtio/pci.h"
#include "device/virtio/tap.h"
#include "device/virtio/virtio.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define F_CSUM                BIT(0)
#define F_GUEST_CSUM          BIT(1)
#define F_CTRL_GUEST_OFFLOADS BIT(2)
#define F_MTU                 BIT(3)
#define F_MAC                 BIT(5)
#define F_GUEST_TSO4          BIT(7)
#define F_GUEST_TSO6          BIT(8)
#define F_GUEST_ECN           BIT(9)
#define F_HOST_TSO4           BIT(11)
#define F_HOST_TSO6           BIT(12)
#define F_HOST_ECN            BIT(13)
#define F_MRG_RXBUF           BIT(15)
#define F_STATUS              BIT(16)
#define F_CTRL_VQ             BIT(17)
#define F_CTRL_RX             BIT(18)
#define F_CTRL_MAC_ADDR       BIT(23)

#define F_GUEST_OFFLOADS (F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6 | F_GUEST_ECN)

enum { RX, TX, CTRL, QUEUES };

#define HEADER      12u
#define NUM_BUFFERS 10u /* its offset in the header */
#define FRAME_MAX   (HEADER + 14u + 4u + 65535u)
#define FRAME_SMALL (HEADER + 14u + 4u + 9000u) /* without segmentation offload */

#define STAGE_SEGMENTS 768u /* iovecs; at most IOV_MAX - 1 */
#define STAGE_CHAINS   VIRTQ_MAX_SIZE
#define RX_BUDGET      64 /* frames before the loop may look at others */

struct net_config {
	u8 mac[6];
	u16 status, max_pairs, mtu;
} __attribute__((packed));

/* A receive buffer taken from the queue. */
struct net_buffer {
	u16 head;
	u16 segments;
	u32 len;
};

struct virtio_net {
	struct virtio_device dev;
	struct loop *loop;
	struct loop_fd tap;
	struct net_stream *stream; /* what is behind `tap` if that is none */
	char name[128];
	u8 mac[6];    /* at power-on */
	u64 offloads; /* F_GUEST_… in force */
	bool tx_waiting;
	bool gone; /* the other end: nothing is looked at any more */

	struct limiter rx_limiter, tx_limiter;
	u64 rx_until, tx_until; /* a direction that stands still until then; 0: it does not */
	struct loop_timer refill;

	/* Staged receive buffers; their iovecs and addresses in one row. */
	struct net_buffer buffer[STAGE_CHAINS];
	unsigned buffers, segments;
	u64 room; /* bytes */
	struct iovec iov[STAGE_SEGMENTS + 1];
	u64 gpa[STAGE_SEGMENTS];
	bool rx_paused; /* no buffers: wait for the driver */
	u8 *spare;      /* FRAME_MAX */
	u32 pending;    /* length of a frame in spare that waits for buffers */

	struct virtq_chain chain;
};

/* ---- the tap's events ---- */

static void net_watch(struct virtio_net *n)
{
	u32 events = (virtio_running(&n->dev) && n->dev.queue[RX].enabled && !n->rx_paused && !n->rx_until
	                      ? EPOLLIN
	                      : 0) |
	             (n->tx_waiting ? EPOLLOUT : 0);

	if (events != n->tap.events && !n->gone)
		loop_modify(n->loop, &n->tap, events);
}

static void net_gone(struct virtio_net *n)
{
	/* Level-triggered for ever, so stop looking. */
	log_warn("%s '%s' has gone", n->stream ? "socket" : "tap", n->name);
	loop_remove(n->loop, &n->tap);
	n->gone = true;
}

/* ---- rates ---- */

static void net_arm(struct virtio_net *n)
{
	u64 rx = n->rx_until ? n->rx_until : ~0ULL, tx = n->tx_until ? n->tx_until : ~0ULL;

	if (n->rx_until || n->tx_until)
		loop_timer_arm(&n->refill, min(rx, tx));
}

/* True: a direction may go on; else it is woken when it may. */
static bool net_may(struct virtio_net *n, struct limiter *l, u64 *until)
{
	if (!limiter_limits(l))
		return true;
	*until = limiter_wait(l, clock_monotonic_ns());
	if (!*until)
		return true;
	net_arm(n);
	return false;
}

/* ---- receive ---- */

static bool net_mergeable(const struct virtio_net *n)
{
	return n->dev.features & F_MRG_RXBUF;
}

static u32 net_frame_max(const struct virtio_net *n)
{
	return n->offloads & (F_GUEST_TSO4 | F_GUEST_TSO6) ? FRAME_MAX : FRAME_SMALL;
}

/* Takes buffers until the longest frame fits, or one buffer if frames are not spread. False: more is not
 * possible, whatever the driver adds. */
static bool net_stage(struct virtio_net *n)
{
	struct virtq *q = &n->dev.queue[RX];
	struct virtq_chain *c = &n->chain;
	u32 want = net_mergeable(n) ? max(net_frame_max(n), n->pending) : 1;

	while (n->room < want) {
		if (n->buffers == STAGE_CHAINS)
			return false;
		if (virtq_pop(q, c) <= 0) {
			virtio_check(&n->dev, q);
			return true;
		}
		if (n->segments + c->in_count > STAGE_SEGMENTS) {
			virtq_unpop(q, 1);
			return false;
		}
		if (c->out_count || c->in_len < HEADER) {
			q->broken = true;
			virtio_check(&n->dev, q);
			return true;
		}
		n->buffer[n->buffers++] = (struct net_buffer){
		        .head = c->head, .segments = (u16)c->in_count, .len = (u32)c->in_len};
		memcpy(n->iov + n->segments, c->iov, c->in_count * sizeof(c->iov[0]));
		memcpy(n->gpa + n->segments, c->gpa, c->in_count * sizeof(c->gpa[0]));
		n->segments += c->in_count;
		n->room += c->in_len;
	}
	return n->buffers < STAGE_CHAINS;
}

static void net_unstage(struct virtio_net *n, unsigned buffers, unsigned segments)
{
	for (unsigned i = 0; i < buffers; i++)
		n->room -= n->buffer[i].len;
	memmove(n->buffer, n->buffer + buffers, (n->buffers - buffers) * sizeof(n->buffer[0]));
	memmove(n->iov, n->iov + segments, (n->segments - segments) * sizeof(n->iov[0]));
	memmove(n->gpa, n->gpa + segments, (n->segments - segments) * sizeof(n->gpa[0]));
	n->buffers -= buffers;
	n->segments -= segments;
}

/* Bytes a frame may have with what is staged, and the iovecs for them. */
static u64 net_room(const struct virtio_net *n, unsigned *segments)
{
	if (net_mergeable(n) || !n->buffers) {
		*segments = n->segments;
		return n->room;
	}
	*segments = n->buffer[0].segments;
	return n->buffer[0].len;
}

/* A frame of len bytes lies in the staged buffers: returns as many as it fills to the driver. */
static void net_received(struct virtio_net *n, u32 len)
{
	struct virtq *q = &n->dev.queue[RX];
	unsigned used = 0, segment = 0, all;
	u16 count;

	for (u32 left = len; left; used++)
		left -= min(left, n->buffer[used].len);
	count = (u16)used;
	net_room(n, &all);
	iov_write(n->iov, all, NUM_BUFFERS, &count, sizeof(count));
	for (unsigned i = 0; i < used; i++) {
		u32 part = min(len, n->buffer[i].len), left = part;

		for (unsigned k = 0; k < n->buffer[i].segments; k++, segment++) {
			u32 m = min(left, (u32)n->iov[segment].iov_len);

			memory_written(n->dev.mem, n->gpa[segment], m);
			left -= m;
		}
		virtq_stage(q, n->buffer[i].head, part);
		len -= part;
	}
	/* The driver expects all buffers of a frame when it sees the first. */
	virtq_publish(q);
	net_unstage(n, used, segment);
}

/* A frame that did not fit: the guest's part joins the rest in the spare buffer. */
static void net_keep(struct virtio_net *n, u32 len, u32 room, unsigned segments)
{
	u32 rest = min(len, FRAME_MAX) - room;

	memmove(n->spare + room, n->spare, rest);
	iov_read(n->iov, segments, 0, n->spare, room);
	n->pending = room + rest;
}

/* False: it needs more buffers. */
static bool net_deliver_pending(struct virtio_net *n, bool can_grow)
{
	unsigned segments;
	u64 room = net_room(n, &segments);

	if (n->pending > room) {
		if (can_grow)
			return false;
		n->pending = 0; /* it will never fit */
		return true;
	}
	iov_write(n->iov, segments, 0, n->spare, n->pending);
	u32 len = n->pending;
	n->pending = 0;
	net_received(n, len);
	return true;
}

/* One frame. False: nothing more to do now. */
static bool net_receive_one(struct virtio_net *n)
{
	unsigned segments;

	bool can_grow = net_stage(n);
	if (!virtio_running(&n->dev))
		return false;
	if (n->pending) {
		n->rx_paused = !net_deliver_pending(n, can_grow);
		return !n->rx_paused;
	}
	if (!net_may(n, &n->rx_limiter, &n->rx_until))
		return false;
	u64 room = net_room(n, &segments);
	if (room < HEADER) {
		n->rx_paused = true;
		return false;
	}
	/* The entry behind the last is ours: what it holds belongs to the next buffer. */
	struct iovec saved = n->iov[segments];
	n->iov[segments] = (struct iovec){n->spare, FRAME_MAX};
	ssize_t got = readv(n->tap.fd, n->iov, (int)segments + 1);
	n->iov[segments] = saved;

	if (got < 0)
		return errno == EINTR;
	u32 len = (u32)got;
	if (len <= HEADER)
		return true;
	limiter_take(&n->rx_limiter, len - HEADER);
	if (len <= room)
		net_received(n, len);
	else if (net_mergeable(n) && room < FRAME_MAX)
		net_keep(n, len, (u32)room, segments);
	return true;
}

static void net_receive(struct virtio_net *n)
{
	struct virtq *q = &n->dev.queue[RX];

	if (!virtio_running(&n->dev) || !q->enabled || n->gone)
		return;
	n->rx_paused = false;
	for (int i = 0; i < RX_BUDGET && net_receive_one(n); i++)
		;
	/* Out of buffers: asked for a notification, unless some have come meanwhile. */
	if (n->rx_paused && virtq_await(q)) {
		n->rx_paused = false;
		if (n->pending)
			virtio_later(&n->dev, RX);
	}
	virtio_interrupt(&n->dev, q);
}

/* ---- transmit ---- */

static void net_transmit(struct virtio_net *n)
{
	struct virtq *q = &n->dev.queue[TX];
	struct virtq_chain *c = &n->chain;
	unsigned budget = VIRTIO_BUDGET;

	n->tx_waiting = false;
	if (!q->enabled || !virtio_running(&n->dev))
		return;
	do {
		for (;;) {
			if (!net_may(n, &n->tx_limiter, &n->tx_until))
				goto out;
			if (!budget || virtq_pop(q, c) <= 0)
				break;
			budget--;
			/* Not a frame: the tap says EINVAL and it is dropped, as on a wire. */
			ssize_t rc = c->out_count ? writev(n->tap.fd, c->iov, (int)c->out_count) : 0;

			if (rc < 0 && errno == EAGAIN && !n->gone) {
				n->tx_waiting = true;
				virtq_unpop(q, 1);
				goto out;
			}
			limiter_take(&n->tx_limiter, c->out_len > HEADER ? c->out_len - HEADER : 0);
			virtq_push(q, c->head, 0);
		}
	} while (virtio_check(&n->dev, q) && budget && virtq_await(q));
	if (!budget)
		virtio_later(&n->dev, TX);
out:
	virtio_interrupt(&n->dev, q);
}

static void net_refilled(void *ctx)
{
	struct virtio_net *n = ctx;
	bool tx, rx;

	pthread_mutex_lock(&n->dev.pci.lock);
	u64 now = clock_monotonic_ns();
	tx = n->tx_until && n->tx_until <= now;
	rx = n->rx_until && n->rx_until <= now;
	if (tx) {
		n->tx_until = 0;
		if (!n->tx_waiting)
			net_transmit(n);
	}
	if (rx) {
		n->rx_until = 0;
		net_receive(n);
	}
	net_arm(n);
	net_watch(n);
	pthread_mutex_unlock(&n->dev.pci.lock);
}

static void net_tap_event(void *ctx, u32 events)
{
	struct virtio_net *n = ctx;

	pthread_mutex_lock(&n->dev.pci.lock);
	if (events & (EPOLLERR | EPOLLHUP)) {
		net_gone(n);
	} else {
		if (events & EPOLLOUT)
			net_transmit(n);
		if (events & EPOLLIN)
			net_receive(n);
		net_watch(n);
	}
	pthread_mutex_unlock(&n->dev.pci.lock);
}

/* ---- control queue (§5.1.6.5) ---- */

enum { CTRL_OK, CTRL_ERR };
enum { CLASS_RX = 0, CLASS_MAC = 1, CLASS_OFFLOADS = 5 };
enum { MAC_TABLE_SET = 0, MAC_ADDR_SET = 1 };

static void net_apply_offloads(struct virtio_net *n)
{
	unsigned f = 0;

	if (n->stream)
		return;
	if (n->offloads & F_GUEST_CSUM) {
		f |= TUN_F_CSUM;
		f |= n->offloads & F_GUEST_TSO4 ? TUN_F_TSO4 : 0;
		f |= n->offloads & F_GUEST_TSO6 ? TUN_F_TSO6 : 0;
		f |= f & (TUN_F_TSO4 | TUN_F_TSO6) && n->offloads & F_GUEST_ECN ? TUN_F_TSO_ECN : 0;
	}
	/* EBADFD: the interface was deleted. */
	if (tap_set_offload(n->tap.fd, f) < 0 && errno != EBADFD)
		log_warn("tap '%s': offload 0x%x: %s", n->name, f, strerror(errno));
}

static u8 net_control(struct virtio_net *n, const struct virtq_chain *c)
{
	struct {
		u8 class, command;
	} h;
	u64 offloads;
	u8 mac[6];

	if (iov_read(c->iov, c->out_count, 0, &h, sizeof(h)) != sizeof(h))
		return CTRL_ERR;
	switch (h.class) {
	case CLASS_RX:
		/* The tap belongs to this guest alone: everything on it is received in any mode, which the
		 * standard allows of a filter. */
		return n->dev.features & F_CTRL_RX && h.command <= 5 && c->out_len == 3 ? CTRL_OK : CTRL_ERR;
	case CLASS_MAC:
		if (h.command == MAC_TABLE_SET && n->dev.features & F_CTRL_RX)
			return c->out_len >= 10 ? CTRL_OK : CTRL_ERR;
		if (h.command == MAC_ADDR_SET && n->dev.features & F_CTRL_MAC_ADDR && c->out_len == 8) {
			iov_read(c->iov, c->out_count, 2, mac, sizeof(mac));
			memcpy(n->dev.config, mac, sizeof(mac));
			return CTRL_OK;
		}
		return CTRL_ERR;
	case CLASS_OFFLOADS:
		if (!(n->dev.features & F_CTRL_GUEST_OFFLOADS) || h.command != 0 || c->out_len != 10)
			return CTRL_ERR;
		iov_read(c->iov, c->out_count, 2, &offloads, sizeof(offloads));
		if (offloads & ~(n->dev.features & F_GUEST_OFFLOADS))
			return CTRL_ERR;
		n->offloads = offloads;
		net_apply_offloads(n);
		return CTRL_OK;
	default:
		return CTRL_ERR;
	}
}

static void net_control_queue(struct virtio_net *n)
{
	struct virtq *q = &n->dev.queue[CTRL];
	struct virtq_chain *c = &n->chain;
	unsigned budget = VIRTIO_BUDGET;

	do {
		while (budget && virtq_pop(q, c) > 0) {
			budget--;
			u8 ack = net_control(n, c);
			size_t k = iov_write(c->iov + c->out_count, c->in_count, 0, &ack, 1);

			virtq_written(q, c, k);
			virtq_push(q, c->head, (u32)k);
		}
	} while (virtio_check(&n->dev, q) && budget && virtq_await(q));
	if (!budget)
		virtio_later(&n->dev, CTRL);
	virtio_interrupt(&n->dev, q);
}

/* ---- the device ---- */

static void net_kick(void *ctx, unsigned q)
{
	struct virtio_net *n = ctx;

	if (q == TX && !n->tx_waiting && !n->tx_until)
		net_transmit(n);
	else if (q == RX && n->pending)
		net_receive(n); /* the tap may have nothing more to wake us with */
	else if (q == RX)
		n->rx_paused = false; /* the loop goes on */
	else if (q == CTRL)
		net_control_queue(n);
	net_watch(n);
}

static void net_forget_rx(struct virtio_net *n)
{
	n->buffers = n->segments = 0;
	n->room = n->pending = 0;
	n->rx_paused = false;
}

static void net_queue_reset(void *ctx, unsigned q)
{
	struct virtio_net *n = ctx;

	n->dev.queue[q].enabled = false;
	if (q == RX)
		net_forget_rx(n);
	else if (q == TX)
		n->tx_waiting = false;
	net_watch(n);
}

static void net_reset(void *ctx)
{
	struct virtio_net *n = ctx;

	net_forget_rx(n);
	n->tx_waiting = false;
	n->offloads = 0;
	net_apply_offloads(n);
	memcpy(n->dev.config, n->mac, 6);
	net_watch(n);
}

static void net_negotiated(void *ctx)
{
	struct virtio_net *n = ctx;

	n->offloads = n->dev.features & F_GUEST_OFFLOADS;
	net_apply_offloads(n);
}

static const struct virtio_ops net_ops = {
        .kick = net_kick, .reset = net_reset, .queue_reset = net_queue_reset, .negotiated = net_negotiated};

static void net_describe(struct virtio_net *n, const struct virtio_net_config *config)
{
	u64 h = disk_hash(n->name, 0x6d6163);
	unsigned mtu = n->stream ? 0 : tap_mtu(config->tap);
	struct net_config c = {.status = 1, .max_pairs = 1, .mtu = (u16)min(mtu, 65535u)};

	memcpy(c.mac, config->has_mac ? config->mac : (const u8 *)&h, 6);
	if (!config->has_mac)
		c.mac[0] = 0x02; /* locally administered, unicast */
	memcpy(n->mac, c.mac, 6);
	memcpy(n->dev.config, &c, sizeof(c));
	n->dev.config_size = sizeof(c);
	n->dev.offered = F_MAC | F_MRG_RXBUF | F_STATUS | F_CTRL_VQ | F_CTRL_RX | F_CTRL_MAC_ADDR;
	if (!n->stream)
		n->dev.offered |= F_CSUM | F_GUEST_CSUM | F_CTRL_GUEST_OFFLOADS | F_GUEST_TSO4 |
		                  F_GUEST_TSO6 | F_GUEST_ECN | F_HOST_TSO4 | F_HOST_TSO6 | F_HOST_ECN;
	if (c.mtu >= 68)
		n->dev.offered |= F_MTU;
	n->dev.pci.name = "virtio-net";
	n->dev.ops = &net_ops;
	n->dev.ctx = n;
	n->dev.type = VIRTIO_TYPE_NET;
	n->dev.class_code = 0x020000;
	n->dev.queue_count = QUEUES;
}

/* The other end of the wire. */
static int net_open(struct virtio_net *n, const struct virtio_net_config *config, struct error *e)
{
	n->tap = (struct loop_fd){.fd = config->tap_fd, .fn = net_tap_event, .ctx = n};
	if (config->stream)
		n->stream = net_stream_new(config->stream, n->loop, &n->tap.fd, e);
	else if (n->tap.fd < 0)
		n->tap.fd = tap_open(config->tap, e);
	else if (tap_adopt(n->tap.fd, config->tap, e) < 0)
		return -1;
	return n->tap.fd < 0 ? -1 : 0;
}

static void net_release(struct virtio_net *n)
{
	loop_timer_release(&n->refill);
	net_stream_free(n->stream);
	if (n->tap.fd >= 0)
		close(n->tap.fd);
	free(n->spare);
	free(n);
}

struct virtio_net *virtio_net_new(const struct virtio_net_config *config, struct pci_host *pci,
                                  struct memory *mem, struct loop *loop, struct error *e)
{
	struct virtio_net *n = calloc(1, sizeof(*n));

	if (n)
		n->spare = malloc(FRAME_MAX);
	if (!n || !n->spare) {
		free(n);
		error_set(e, ENOMEM, "network '%s'", config->tap);
		return NULL;
	}
	n->loop = loop;
	n->dev.mem = mem;
	n->dev.loop = loop;
	snprintf(n->name, sizeof(n->name), "%s", config->tap);
	limiter_init(&n->rx_limiter, &config->rx, clock_monotonic_ns());
	limiter_init(&n->tx_limiter, &config->tx, clock_monotonic_ns());
	if (net_open(n, config, e) < 0)
		goto fail;
	net_describe(n, config);
	if (loop_timer_init(loop, &n->refill, net_refilled, n, e) < 0 || loop_add(loop, &n->tap, e) < 0)
		goto fail_named;
	if (virtio_add(&n->dev, pci, config->slot, e) < 0) {
		loop_remove(loop, &n->tap);
		goto fail_named;
	}
	return n;
fail_named:
	error_prefix(e, "network '%s'", config->tap);
fail:
	net_release(n);
	return NULL;
}

void virtio_net_free(struct virtio_net *n)
{
	if (!n)
		return;
	virtio_remove(&n->dev);
	if (!n->gone)
		loop_remove(n->loop, &n->tap);
	net_release(n);
}

unsigned virtio_net_slot(const struct virtio_net *n)
{
	return n->dev.pci.slot;
}

void virtio_net_limit(struct virtio_net *n, const struct limiter_config *rx, const struct limiter_config *tx)
{
	u64 now = clock_monotonic_ns();

	pthread_mutex_lock(&n->dev.pci.lock);
	if (rx)
		limiter_init(&n->rx_limiter, rx, now);
	if (tx)
		limiter_init(&n->tx_limiter, tx, now);
	/* Who stands still looks again, by the new rates. */
	n->rx_until = n->rx_until ? now : 0;
	n->tx_until = n->tx_until ? now : 0;
	net_arm(n);
	pthread_mutex_unlock(&n->dev.pci.lock);
}
