#include "net/resolver.h"
#include "base/buffer.h"
#include "base/cidr.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "net/dns.h"
#include "net/jail.h"
#include "net/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <netinet/in.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct server {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} at;
	socklen_t length;
};

struct job {
	struct resolver *resolver;
	struct loop_fd fd; /* fd.fd < 0: none */
	struct loop_timer timer;
	bool busy, connected;
	struct resolver_head head;
	unsigned tries;
	u8 query[2 + DNS_QUERY_MAX]; /* behind its length, as TCP has it */
	size_t length, sent;
	struct buffer in; /* of TCP */
};

struct resolver {
	struct loop loop;
	struct loop_fd owner;
	struct server servers[RESOLVER_SERVERS];
	unsigned server_count;
	struct job jobs[RESOLVER_JOBS];
};

static void ask(struct job *j);

/* ---- the end of a job ---- */

static void hang_up(struct job *j)
{
	if (j->fd.fd >= 0) {
		loop_remove(&j->resolver->loop, &j->fd);
		close(j->fd.fd);
		j->fd.fd = -1;
	}
	loop_timer_disarm(&j->timer);
	buffer_release(&j->in);
}

static void tell(struct resolver *r, const struct resolver_head *head, const u8 *bytes, size_t length)
{
	struct iovec parts[] = {{(void *)head, sizeof(*head)}, {(void *)bytes, length}};

	/* An owner that does not listen hears nothing: it gives up by itself. */
	(void)!writev(r->owner.fd, parts, 2);
}

static void finish(struct job *j, const u8 *bytes, size_t length)
{
	hang_up(j);
	tell(j->resolver, &j->head, bytes, length);
	j->busy = false;
}

static void try_again(struct job *j)
{
	hang_up(j);
	if (++j->tries < (j->head.tcp ? 2 : RESOLVER_TRIES))
		ask(j);
	else
		finish(j, NULL, 0);
}

static void answered(struct job *j, const u8 *bytes, size_t length)
{
	unsigned rcode = length >= DNS_HEADER ? bytes[3] & 15 : 0;

	if (!dns_is_answer(j->query + 2, j->length, bytes, length))
		return; /* whoever guesses does not end the wait */
	/* One that cannot is no better than one that is not there, as long as there are others. */
	if ((rcode == DNS_SERVFAIL || rcode == DNS_NOTIMP || rcode == DNS_REFUSED) &&
	    j->tries + 1 < j->resolver->server_count)
		try_again(j);
	else
		finish(j, bytes, length);
}

/* ---- sockets ---- */

static void timed_out(void *ctx)
{
	try_again(ctx);
}

static void udp_event(struct job *j)
{
	static u8 bytes[DNS_MESSAGE_MAX];
	ssize_t n = recv(j->fd.fd, bytes, sizeof(bytes), 0);

	if (n > 0)
		answered(j, bytes, (size_t)n);
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		try_again(j);
}

static void tcp_event(struct job *j, u32 events)
{
	size_t whole = j->length + 2;
	ssize_t n;

	if ((events & EPOLLOUT) && j->sent < whole) {
		n = send(j->fd.fd, j->query + j->sent, whole - j->sent, MSG_NOSIGNAL);
		if (n > 0)
			j->sent += (size_t)n;
		if (j->sent == whole)
			loop_modify(&j->resolver->loop, &j->fd, EPOLLIN);
		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			try_again(j);
			return;
		}
	}
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	n = recv(j->fd.fd, buffer_reserve(&j->in, 4096), 4096, 0);
	if (n > 0)
		j->in.length += (size_t)n;
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		try_again(j);
	} else if (j->in.length >= 2) {
		size_t length = wire_get16((u8 *)j->in.bytes);
		struct buffer answer = j->in;

		if (j->in.length - 2 < length)
			return;
		j->in = (struct buffer){0};
		answered(j, (u8 *)answer.bytes + 2, length);
		if (j->busy && j->fd.fd >= 0 && !j->in.length) /* not the answer, and there is no other */
			loop_timer_arm(&j->timer, clock_monotonic_ns());
		buffer_release(&answer);
	}
}

static void job_event(void *ctx, u32 events)
{
	struct job *j = ctx;

	if (j->head.tcp)
		tcp_event(j, events);
	else
		udp_event(j);
}

static void ask(struct job *j)
{
	struct resolver *r = j->resolver;
	const struct server *s = &r->servers[j->tries % r->server_count];
	bool tcp = j->head.tcp;
	int type = (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
	struct error e;

	if (getrandom(j->query + 2, 2, 0) != 2)
		abort();
	j->sent = 0;
	loop_timer_arm(&j->timer,
	               clock_monotonic_ns() + (tcp ? RESOLVER_TCP_MS : RESOLVER_UDP_MS) * 1000000ULL);
	j->fd = (struct loop_fd){.fd = socket(s->at.any.sa_family, type, 0),
	                         .events = tcp ? EPOLLOUT : EPOLLIN,
	                         .fn = job_event,
	                         .ctx = j};
	if (j->fd.fd < 0)
		return; /* the timer tries again */
	/* The kernel takes a port at random. */
	if ((connect(j->fd.fd, &s->at.any, s->length) < 0 && errno != EINPROGRESS) ||
	    (!tcp && send(j->fd.fd, j->query + 2, j->length, MSG_NOSIGNAL) < 0) ||
	    loop_add(&r->loop, &j->fd, &e) < 0) {
		close(j->fd.fd);
		j->fd.fd = -1;
	}
}

static void owner_event(void *ctx, u32 events)
{
	static u8 bytes[sizeof(struct resolver_head) + DNS_QUERY_MAX];
	struct resolver *r = ctx;
	struct resolver_head head;
	ssize_t n = recv(r->owner.fd, bytes, sizeof(bytes), 0);
	struct job *j = r->jobs;

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		_exit(0);
	if (n < (ssize_t)sizeof(head) + DNS_HEADER)
		return;
	memcpy(&head, bytes, sizeof(head));
	while (j < r->jobs + RESOLVER_JOBS && j->busy)
		j++;
	if (j == r->jobs + RESOLVER_JOBS) {
		tell(r, &head, NULL, 0);
		return;
	}
	j->busy = true;
	j->head = head;
	j->tries = 0;
	j->length = (size_t)n - sizeof(head);
	wire_put16(j->query, (u16)j->length);
	memcpy(j->query + 2, bytes + sizeof(head), j->length);
	ask(j);
}

/* ---- start ---- */

unsigned resolver_read(const char *text, char servers[RESOLVER_SERVERS][48])
{
	unsigned count = 0;

	while (*text && count < RESOLVER_SERVERS) {
		size_t line = strcspn(text, "\n"), word = strspn(text, " \t");

		if (!strncmp(text + word, "nameserver", 10) && word + 10 < line) {
			const char *at = text + word + 10, *end = text + line;
			size_t skip = strspn(at, " \t"), length;

			at += skip;
			length = at < end ? strcspn(at, " \t\r\n#;") : 0;
			if (skip && length && length < 48) {
				memcpy(servers[count], at, length);
				servers[count++][length] = 0;
			}
		}
		text += line;
		text += *text == '\n';
	}
	return count;
}

static void add_server(struct resolver *r, const char *text)
{
	const char *zone = strchr(text, '%');
	struct server *s = &r->servers[r->server_count];
	char plain[48];
	struct ip a;

	snprintf(plain, sizeof(plain), "%.*s", zone ? (int)(zone - text) : 47, text);
	if (ip_parse(&a, plain) < 0)
		return;
	memset(s, 0, sizeof(*s));
	if (a.v6) {
		s->at.v6.sin6_family = AF_INET6;
		s->at.v6.sin6_port = htons(53);
		s->at.v6.sin6_scope_id = zone ? if_nametoindex(zone + 1) : 0;
		wire_of_ip(s->at.v6.sin6_addr.s6_addr, a);
		s->length = sizeof(s->at.v6);
	} else {
		s->at.v4.sin_family = AF_INET;
		s->at.v4.sin_port = htons(53);
		s->at.v4.sin_addr.s_addr = htonl((u32)a.bits);
		s->length = sizeof(s->at.v4);
	}
	r->server_count++;
}

static void read_servers(struct resolver *r, const char *path)
{
	char text[8192], servers[RESOLVER_SERVERS][48];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	unsigned count;

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = 0;
	count = resolver_read(text, servers);
	for (unsigned i = 0; i < count; i++)
		add_server(r, servers[i]);
	if (!r->server_count)
		add_server(r, "127.0.0.1"); /* resolv.conf(5) */
}

static int serve(struct resolver *r, int fd, u32 user, int root, struct error *e)
{
	if (loop_init(&r->loop, e) < 0)
		return -1;
	for (unsigned i = 0; i < RESOLVER_JOBS; i++) {
		r->jobs[i].resolver = r;
		r->jobs[i].fd.fd = -1;
		if (loop_timer_init(&r->loop, &r->jobs[i].timer, timed_out, &r->jobs[i], e) < 0)
			return -1;
	}
	r->owner = (struct loop_fd){.fd = fd, .events = EPOLLIN, .fn = owner_event, .ctx = r};
	if (loop_add(&r->loop, &r->owner, e) < 0 || jail_enter(JAIL_RESOLVER, user, root, e) < 0)
		return -1;
	return loop_run(&r->loop, e);
}

/* Keeps nothing open but its standard descriptors and two more, which become 3 and 4. */
static void keep_two(int a, int b)
{
	a = fcntl(a, F_DUPFD_CLOEXEC, 64);
	b = fcntl(b, F_DUPFD_CLOEXEC, 64);
	dup2(a, 3);
	dup2(b, 4);
	syscall(SYS_close_range, 5, ~0u, 0);
}

int resolver_start(const char *resolv_conf, u32 user, int root, struct error *e)
{
	struct resolver *r = calloc(1, sizeof(*r));
	pid_t pid;
	int pair[2];

	if (!r || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		free(r);
		return error_set(e, errno, "the resolver");
	}
	read_servers(r, resolv_conf);
	pid = fork();
	if (pid == 0) {
		keep_two(pair[1], root);
		if (serve(r, 3, user, 4, e) < 0)
			log_error("%s", e->text);
		_exit(1);
	}
	free(r);
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return error_set(e, errno, "the resolver");
	}
	return pair[0];
}
