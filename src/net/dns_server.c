#include "net/dns_server.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/resolver.h"
#include "net/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { BATCH = 32 /* packets in a row, before others have their turn */, STREAMS = 512 };

/* May this guest ask, at this address? */
static bool find_guest(struct dns_server *s, int device, struct ip peer, struct ip local, struct guest *guest)
{
	const struct config *c = s->guests->config;

	return c->plan.dns && guest_find(s->guests, device, guest) && config_is_resolver(c, local) &&
	       config_has_address(guest->interface, peer);
}

/* ---- queries that wait ---- */

/* Sends the answer, which the client may change its mind about. */
static void answer(struct dns_waiting *w, u8 *bytes, size_t length)
{
	struct stream *stream;
	u8 head[2];

	wire_put16(bytes, w->query.id);
	if (w->fd >= 0) {
		datagram_send(w->fd, &w->from, bytes, dns_truncate(&w->query, bytes, length));
		return;
	}
	stream = stream_find(w->server, w->stream);
	if (!stream)
		return;
	wire_put16(head, (u16)length);
	stream_send(stream, head, 2);
	stream_send(stream, bytes, length);
	stream_resume(stream);
}

static void leave(struct dns_server *s, struct dns_waiting *w, u8 *bytes, size_t length)
{
	struct link *link = links_find(&s->guests->links, w->from.device);

	w->busy = false;
	if (link && link->queries)
		link->queries--;
	answer(w, bytes, length);
}

static void leave_failed(struct dns_server *s, struct dns_waiting *w)
{
	u8 bytes[DNS_HEADER + DNS_NAME_MAX + 4 + 11];

	leave(s, w, bytes, dns_refuse(&w->query, w->question, DNS_SERVFAIL, bytes));
}

static void resolver_event(void *ctx, u32 events)
{
	static u8 bytes[sizeof(struct resolver_head) + DNS_MESSAGE_MAX];
	struct dns_server *s = ctx;
	struct resolver_head head;
	struct dns_waiting *w;
	ssize_t n = recv(s->resolver.fd, bytes, sizeof(bytes), 0);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		/* Whoever sees to it that there is this process starts both anew. */
		log_error("the resolver has ended");
		_exit(1);
	}
	if (n < (ssize_t)sizeof(head))
		return;
	memcpy(&head, bytes, sizeof(head));
	w = &s->waiting[head.job % DNS_WAITING];
	if (!w->busy || w->serial != head.job / DNS_WAITING)
		return;
	if (n < (ssize_t)sizeof(head) + DNS_HEADER)
		leave_failed(s, w);
	else
		leave(s, w, bytes + sizeof(head), (size_t)n - sizeof(head));
}

static void sweep(void *ctx)
{
	struct dns_server *s = ctx;
	u64 now = clock_monotonic_ns();
	bool more = false;

	for (struct dns_waiting *w = s->waiting; w < s->waiting + DNS_WAITING; w++)
		if (w->busy && now > w->deadline_ns)
			leave_failed(s, w);
		else
			more |= w->busy;
	if (more)
		loop_timer_arm(&s->timer, now + 500000000);
}

/* A place for a query of the guest, which is then asked of the resolver; NULL: there is none. */
static struct dns_waiting *wait_for(struct dns_server *s, const struct guest *guest,
                                    const struct dns_query *q, const u8 *in, size_t length, bool tcp)
{
	struct dns_waiting *w = s->waiting;
	struct resolver_head head = {.tcp = tcp};
	struct iovec parts[] = {{&head, sizeof(head)}, {(void *)in, length}};

	while (w < s->waiting + DNS_WAITING && w->busy)
		w++;
	if (w == s->waiting + DNS_WAITING || guest->link->queries >= GUEST_QUERIES)
		return NULL;
	w->serial = (w->serial + 1) % (UINT32_MAX / DNS_WAITING);
	head.job = w->serial * DNS_WAITING + (u32)(w - s->waiting);
	if (writev(s->resolver.fd, parts, 2) < 0)
		return NULL;
	w->busy = true;
	w->query = *q;
	w->fd = -1;
	w->from = (struct datagram){.device = guest->link->index};
	memcpy(w->question, in, q->question_end);
	w->deadline_ns = clock_monotonic_ns() + DNS_WAIT_S * 1000000000ULL;
	guest->link->queries++;
	if (!s->timer.slot)
		loop_timer_arm(&s->timer, clock_monotonic_ns() + 500000000);
	return w;
}

/* ---- UDP ---- */

static void take_datagram(struct dns_server *s, int fd, const struct datagram *d, const u8 *in, size_t length)
{
	static u8 out[DNS_MESSAGE_MAX];
	struct dns_waiting *w;
	struct dns_query q;
	struct guest guest;
	size_t out_length;

	if (!find_guest(s, d->device, d->peer, d->local, &guest) || !guest_may_send(&guest))
		return;
	switch (dns_answer(&s->guests->config->zone, in, length, false, &q, out, &out_length)) {
	case DNS_ANSWER:
		datagram_send(fd, d, out, out_length);
		break;
	case DNS_FORWARD:
		w = wait_for(s, &guest, &q, in, length, false);
		if (w) {
			w->fd = fd;
			w->from = *d;
		} else {
			datagram_send(fd, d, out, dns_refuse(&q, in, DNS_SERVFAIL, out));
		}
		break;
	case DNS_DROP:
		break;
	}
}

static void udp_event(struct dns_server *s, int fd)
{
	u8 in[DNS_QUERY_MAX + 1];
	struct datagram d;

	for (unsigned i = 0; i < BATCH; i++) {
		ssize_t n = datagram_receive(fd, &d, in, sizeof(in));

		if (n < 0)
			break;
		take_datagram(s, fd, &d, in, (size_t)n);
	}
}

static void udp4_event(void *ctx, u32 events)
{
	struct dns_server *s = ctx;

	udp_event(s, s->udp[0].fd);
}

static void udp6_event(void *ctx, u32 events)
{
	struct dns_server *s = ctx;

	udp_event(s, s->udp[1].fd);
}

/* ---- TCP ---- */

static bool tcp_opened(struct stream *t)
{
	struct dns_server *s = t->server->ctx;
	struct guest guest;

	if (!find_guest(s, t->device, t->peer, t->local, &guest) || guest.link->streams >= GUEST_STREAMS)
		return false;
	guest.link->streams++;
	return true;
}

static void tcp_closed(struct stream *t)
{
	struct dns_server *s = t->server->ctx;
	struct link *link = links_find(&s->guests->links, t->device);

	if (link && link->streams)
		link->streams--;
}

static size_t tcp_taken(struct stream *t)
{
	static u8 out[2 + DNS_MESSAGE_MAX];
	struct dns_server *s = t->server->ctx;
	const u8 *in = (const u8 *)t->in.bytes;
	size_t length = t->in.length < 2 ? 0 : wire_get16(in), out_length;
	struct dns_waiting *w;
	struct dns_query q;
	struct guest guest;

	if (t->in.length < 2 || (length <= DNS_QUERY_MAX && t->in.length - 2 < length))
		return 0;
	in += 2;
	/* The configuration may be another by now. */
	if (length > DNS_QUERY_MAX || !find_guest(s, t->device, t->peer, t->local, &guest) ||
	    !guest_may_send(&guest)) {
		stream_end(t);
		return t->in.length;
	}
	switch (dns_answer(&s->guests->config->zone, in, length, true, &q, out + 2, &out_length)) {
	case DNS_ANSWER:
		break;
	case DNS_FORWARD:
		w = wait_for(s, &guest, &q, in, length, true);
		if (w) {
			w->server = t->server;
			w->stream = t->id;
			t->waiting = true;
			return length + 2;
		}
		out_length = dns_refuse(&q, in, DNS_SERVFAIL, out + 2);
		break;
	case DNS_DROP:
		stream_end(t);
		return length + 2;
	}
	wire_put16(out, (u16)out_length);
	stream_send(t, out, out_length + 2);
	return length + 2;
}

/* ---- start ---- */

int dns_server_open(struct dns_server *s, struct error *e)
{
	for (unsigned i = 0; i < 2; i++) {
		s->udp[i].fd = datagram_open(i, DNS_PORT, e);
		s->tcp[i].fd.fd = s->udp[i].fd < 0 ? -1 : stream_listen(i, DNS_PORT, e);
		if (s->tcp[i].fd.fd < 0)
			return -1;
	}
	return 0;
}

int dns_server_start(struct dns_server *s, struct loop *l, struct guests *g, int resolver, struct error *e)
{
	s->loop = l;
	s->guests = g;
	s->resolver = (struct loop_fd){.fd = resolver, .events = EPOLLIN, .fn = resolver_event, .ctx = s};
	if (loop_timer_init(l, &s->timer, sweep, s, e) < 0 || loop_add(l, &s->resolver, e) < 0)
		return -1;
	for (unsigned i = 0; i < 2; i++) {
		struct stream_server *tcp = &s->tcp[i];
		int fd = tcp->fd.fd;

		s->udp[i].events = EPOLLIN;
		s->udp[i].fn = i ? udp6_event : udp4_event;
		s->udp[i].ctx = s;
		*tcp = (struct stream_server){.internet = true,
		                              .in_max = 2 + DNS_QUERY_MAX + (16 << 10),
		                              .most = STREAMS,
		                              .idle_ns = 10000000000,
		                              .request_ns = 12000000000,
		                              .opened = tcp_opened,
		                              .taken = tcp_taken,
		                              .closed = tcp_closed,
		                              .ctx = s};
		if (loop_add(l, &s->udp[i], e) < 0 || stream_server_start(tcp, l, fd, e) < 0)
			return -1;
	}
	return 0;
}
