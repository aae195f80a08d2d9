#include "net/stream.h"
#include "base/clock.h"
#include "net/wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 128, READ_SIZE = 16 << 10, SWEEP_MS = 500 };

int stream_listen(bool v6, u16 port, struct error *e)
{
	struct sockaddr_in6 at6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;

	if (fd < 0)
		return error_set(e, errno, "a socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	/* So that a connection can say which device it came in on. */
	if (v6) {
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
		setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one));
	} else {
		setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one));
	}
	if ((v6 ? bind(fd, (struct sockaddr *)&at6, sizeof(at6))
	        : bind(fd, (struct sockaddr *)&at, sizeof(at))) < 0 ||
	    listen(fd, BACKLOG) < 0) {
		error_set(e, errno, "port %u of TCP", port);
		close(fd);
		return -1;
	}
	return fd;
}

/* ---- which client it is ---- */

static struct ip address_of(const void *sockaddr)
{
	const struct sockaddr_in6 *v6 = sockaddr;
	const struct sockaddr_in *v4 = sockaddr;

	return v4->sin_family == AF_INET6 ? wire_ip6(v6->sin6_addr.s6_addr)
	                                  : wire_ip4((const u8 *)&v4->sin_addr);
}

/* The device of the packet that opened it: the kernel keeps it with the connection. */
static int device_of(int fd, bool v6)
{
	_Alignas(struct cmsghdr) char control[512];
	socklen_t length = sizeof(control);
	struct msghdr m = {.msg_control = control};

	if (getsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_2292PKTOPTIONS : IP_PKTOPTIONS, control,
	               &length) < 0)
		return 0;
	m.msg_controllen = length;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (!v6 && c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
			return ((const struct in_pktinfo *)(const void *)CMSG_DATA(c))->ipi_ifindex;
		if (v6 && c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)
			return (int)((const struct in6_pktinfo *)(const void *)CMSG_DATA(c))->ipi6_ifindex;
	}
	return 0;
}

/* ---- one client ---- */

static void stream_close(struct stream *s)
{
	struct stream_server *v = s->server;

	if (v->closed)
		v->closed(s);
	loop_remove(v->loop, &s->fd);
	close(s->fd.fd);
	if (s->before)
		s->before->next = s->next;
	else
		v->first = s->next;
	if (s->next)
		s->next->before = s->before;
	v->count--;
	buffer_release(&s->in);
	buffer_release(&s->out);
	free(s);
}

static void drop_front(struct buffer *b, size_t length)
{
	memmove(b->bytes, b->bytes + length, b->length - length);
	b->length -= length;
	b->bytes[b->length] = 0;
}

/* Sends what it can. False: the client is gone. */
static bool flush(struct stream *s)
{
	while (s->sent < s->out.length) {
		ssize_t n = send(s->fd.fd, s->out.bytes + s->sent, s->out.length - s->sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		s->sent += (size_t)n;
	}
	buffer_release(&s->out);
	s->sent = 0;
	return true;
}

/* Requests that are there, one at a time: the next is taken when the answer of the last has gone. False: it
 * is to be closed. */
static bool advance(struct stream *s)
{
	struct stream_server *v = s->server;
	bool took = false;
	size_t n;

	for (;;) {
		if (!flush(s))
			return false;
		if (s->out.length || s->waiting)
			break;
		if (s->ending)
			return false;
		n = s->in.length ? v->taken(s) : 0;
		if (!n && !s->out.length && !s->ending)
			break;
		took = true;
		drop_front(&s->in, n < s->in.length ? n : s->in.length);
	}
	if (took)
		s->deadline_ns =
		        clock_monotonic_ns() + (s->in.length || s->out.length ? v->request_ns : v->idle_ns);
	loop_modify(v->loop, &s->fd, s->out.length ? EPOLLOUT : s->waiting ? 0 : EPOLLIN);
	return s->in.length <= v->in_max;
}

static void stream_event(void *ctx, u32 events)
{
	struct stream *s = ctx;
	struct stream_server *v = s->server;
	bool first = !s->in.length;
	ssize_t n = 1;

	if (events & EPOLLIN) {
		n = recv(s->fd.fd, buffer_reserve(&s->in, READ_SIZE), READ_SIZE, 0);
		if (n > 0)
			s->in.length += (size_t)n;
		else if (n < 0 && (errno == EAGAIN || errno == EINTR))
			n = 1;
		if (n > 0 && first)
			s->deadline_ns = clock_monotonic_ns() + v->request_ns;
	} else if (events & (EPOLLERR | EPOLLHUP)) {
		n = 0;
	}
	if (n <= 0 || !advance(s))
		stream_close(s);
}

static void server_event(void *ctx, u32 events)
{
	struct stream_server *v = ctx;
	static u64 last_id;
	struct sockaddr_storage peer = {0}, local = {0};
	socklen_t length = sizeof(peer), local_length = sizeof(local);
	int fd = accept4(v->fd.fd, (struct sockaddr *)&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct stream *s;
	struct error e;

	if (fd < 0)
		return;
	s = v->count < v->most ? calloc(1, sizeof(*s)) : NULL;
	if (!s) {
		close(fd);
		return;
	}
	s->server = v;
	s->id = ++last_id;
	s->fd = (struct loop_fd){.fd = fd, .events = EPOLLIN, .fn = stream_event, .ctx = s};
	s->deadline_ns = clock_monotonic_ns() + v->request_ns;
	if (v->internet) {
		getsockname(fd, (struct sockaddr *)&local, &local_length);
		s->peer = address_of(&peer);
		s->local = address_of(&local);
		s->device = device_of(fd, s->peer.v6);
	}
	if ((v->opened && !v->opened(s)) || loop_add(v->loop, &s->fd, &e) < 0) {
		close(fd);
		free(s);
		return;
	}
	s->next = v->first;
	if (s->next)
		s->next->before = s;
	v->first = s;
	v->count++;
	if (!v->timer.slot)
		loop_timer_arm(&v->timer, clock_monotonic_ns() + SWEEP_MS * 1000000ULL);
}

static void sweep(void *ctx)
{
	struct stream_server *v = ctx;
	u64 now = clock_monotonic_ns();

	for (struct stream *s = v->first, *next; s; s = next) {
		next = s->next;
		if (now > s->deadline_ns)
			stream_close(s);
	}
	if (v->first)
		loop_timer_arm(&v->timer, now + SWEEP_MS * 1000000ULL);
}

int stream_server_start(struct stream_server *v, struct loop *l, int fd, struct error *e)
{
	v->loop = l;
	v->fd = (struct loop_fd){.fd = fd, .events = EPOLLIN, .fn = server_event, .ctx = v};
	if (loop_timer_init(l, &v->timer, sweep, v, e) < 0)
		return -1;
	return loop_add(l, &v->fd, e);
}

void stream_send(struct stream *s, const void *bytes, size_t length)
{
	buffer_append(&s->out, bytes, length);
}

void stream_end(struct stream *s)
{
	s->ending = true;
}

void stream_resume(struct stream *s)
{
	s->waiting = false;
	s->deadline_ns = clock_monotonic_ns() + s->server->request_ns;
	if (!advance(s))
		stream_close(s);
}

struct stream *stream_find(const struct stream_server *v, u64 id)
{
	for (struct stream *s = v->first; s; s = s->next)
		if (s->id == id)
			return s;
	return NULL;
}

void stream_set_hops(struct stream *s, u8 hops)
{
	int value = hops;

	if (s->peer.v6)
		setsockopt(s->fd.fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &value, sizeof(value));
	else
		setsockopt(s->fd.fd, IPPROTO_IP, IP_TTL, &value, sizeof(value));
}
