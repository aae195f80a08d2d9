/*
 * Connections of clients: a listening socket, and what has come in and not gone out yet of each client.
 * Loop's thread.
 *
 * A client that is slow, silent or one too many is closed: what it can make the process hold is `in_max`
 * bytes, one answer, and one of `most` places.
 */
#pragma once

#include "base/buffer.h"
#include "base/cidr.h"
#include "base/loop.h"

struct stream_server;

struct stream {
	struct stream_server *server;
	struct stream *next, *before;
	struct loop_fd fd;
	u64 id;     /* never that of another */
	int device; /* that it came in on; 0: none */
	struct ip peer, local;
	struct buffer in, out;
	size_t sent;     /* of out */
	u64 deadline_ns; /* to be closed then */
	bool waiting;    /* for an answer that comes later: nothing is read */
	bool ending;     /* to be closed when all is sent */
};

struct stream_server {
	struct loop *loop;
	struct loop_fd fd;
	bool internet; /* not a Unix socket */
	size_t in_max;
	unsigned most, count;
	u64 idle_ns, request_ns; /* how long it may be silent, and take for a request */
	struct stream *first;
	struct loop_timer timer;
	/* May it stay? */
	bool (*opened)(struct stream *s);
	/* Takes a request from the front of `in`: returns how many bytes it has taken, 0 if there is not a
	 * whole one. */
	size_t (*taken)(struct stream *s);
	void (*closed)(struct stream *s);
	void *ctx;
};

/* A listening socket of TCP, for all addresses. */
int stream_listen(bool v6, u16 port, struct error *e);
/* fd: listening, not blocking; owned by the server from now on. The other members have been set. */
int stream_server_start(struct stream_server *v, struct loop *l, int fd, struct error *e);

/* To be sent; all of it is in memory until it is. */
void stream_send(struct stream *s, const void *bytes, size_t length);
/* From now on nothing is taken; closed when all is sent. */
void stream_end(struct stream *s);
/* The answer that it waited for is there, and was sent: the next request. */
void stream_resume(struct stream *s);
struct stream *stream_find(const struct stream_server *v, u64 id);
/* The TTL or hop limit of what is sent from now on. */
void stream_set_hops(struct stream *s, u8 hops);
