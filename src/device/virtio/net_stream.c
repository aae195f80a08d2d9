/*
 * Between the stream and the device there is a pair of sockets that keep frames apart. What one side cannot
 * take at once stays in a buffer of a frame, and the other side is not read meanwhile.
 */
#include "device/virtio/net_stream.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	HEADER = 12, /* struct virtio_net_hdr_v1 */
	LENGTH = 4,
	BATCH = 64, /* frames before the loop may look at others */
};

struct net_stream {
	struct loop *loop;
	struct loop_fd stream, device;
	u8 in[LENGTH + NET_STREAM_FRAME]; /* of the stream, from the start of a frame */
	size_t in_length;
	u8 out[HEADER + NET_STREAM_FRAME]; /* a frame of the device's; LENGTH of them before the frame */
	size_t out_from, out_to;           /* what the stream has not taken */
};

static size_t frame_length(const u8 *p)
{
	return (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
}

static bool frame_is_whole(const struct net_stream *s)
{
	return s->in_length >= LENGTH && s->in_length >= LENGTH + frame_length(s->in);
}

static void watch(struct net_stream *s)
{
	bool sends = s->out_from < s->out_to, delivers = frame_is_whole(s);

	loop_modify(s->loop, &s->stream, (delivers ? 0 : EPOLLIN) | (sends ? EPOLLOUT : 0));
	loop_modify(s->loop, &s->device, (sends ? 0 : EPOLLIN) | (delivers ? EPOLLOUT : 0));
}

static void end(struct net_stream *s, const char *why)
{
	log_warn("the network's other end: %s", why);
	loop_remove(s->loop, &s->stream);
	loop_remove(s->loop, &s->device);
}

/* ---- to the device ---- */

/* False: the device takes no more now. */
static bool deliver(struct net_stream *s)
{
	static u8 header[HEADER];
	size_t length = frame_length(s->in);
	struct iovec parts[] = {{header, HEADER}, {s->in + LENGTH, length}};
	const struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

	if (sendmsg(s->device.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EAGAIN)
		return false;
	s->in_length -= LENGTH + length;
	memmove(s->in, s->in + LENGTH + length, s->in_length);
	return true;
}

/* -1: the connection has ended. */
static int receive(struct net_stream *s)
{
	ssize_t n;

	for (unsigned i = 0; i < BATCH; i++) {
		while (frame_is_whole(s))
			if (!deliver(s))
				return 0;
		n = recv(s->stream.fd, s->in + s->in_length, sizeof(s->in) - s->in_length, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n <= 0) {
			end(s, n ? strerror(errno) : "it has gone");
			return -1;
		}
		s->in_length += (size_t)n;
		if (s->in_length >= LENGTH && frame_length(s->in) > NET_STREAM_FRAME) {
			end(s, "sent what is no frame");
			return -1;
		}
	}
	return 0;
}

/* ---- to the stream ---- */

/* False: it takes no more now, or has ended. */
static bool drain(struct net_stream *s)
{
	while (s->out_from < s->out_to) {
		ssize_t n = send(s->stream.fd, s->out + s->out_from, s->out_to - s->out_from,
		                 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0)
			return false;
		s->out_from += (size_t)n;
	}
	return true;
}

static void transmit(struct net_stream *s)
{
	for (unsigned i = 0; i < BATCH && drain(s); i++) {
		ssize_t n = recv(s->device.fd, s->out, sizeof(s->out), MSG_DONTWAIT);
		size_t length;
		u8 *p;

		if (n < 0)
			return;
		if (n <= HEADER) /* the device's frames have a header */
			continue;
		length = (size_t)n - HEADER;
		s->out_from = HEADER - LENGTH;
		s->out_to = (size_t)n;
		p = s->out + s->out_from;
		p[0] = (u8)(length >> 24);
		p[1] = (u8)(length >> 16);
		p[2] = (u8)(length >> 8);
		p[3] = (u8)length;
	}
}

/* ---- events ---- */

static void event(void *ctx, u32 events)
{
	struct net_stream *s = ctx;

	(void)events;
	if (receive(s) < 0)
		return;
	transmit(s);
	watch(s);
}

struct net_stream *net_stream_adopt(int socket, struct loop *loop, int *fd, struct error *e)
{
	struct net_stream *s = calloc(1, sizeof(*s));
	int pair[2] = {-1, -1};

	if (!s || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		error_set(e, errno, "make a network");
		goto fail;
	}
	s->loop = loop;
	s->stream = (struct loop_fd){.fd = socket, .events = EPOLLIN, .fn = event, .ctx = s};
	s->device = (struct loop_fd){.fd = pair[0], .events = EPOLLIN, .fn = event, .ctx = s};
	if (loop_add(loop, &s->stream, e) < 0)
		goto fail;
	if (loop_add(loop, &s->device, e) < 0) {
		loop_remove(loop, &s->stream);
		goto fail;
	}
	*fd = pair[1];
	return s;
fail:
	for (unsigned i = 0; i < 2; i++)
		if (pair[i] >= 0)
			close(pair[i]);
	close(socket);
	free(s);
	return NULL;
}

struct net_stream *net_stream_new(const char *path, struct loop *loop, int *fd, struct error *e)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(at.sun_path)) {
		error_set(e, ENAMETOOLONG, "%.80s…", path);
		goto fail;
	}
	strcpy(at.sun_path, path);
	if (s < 0 || connect(s, (struct sockaddr *)&at, sizeof(at)) < 0) {
		error_set(e, errno, "connect to %s", path);
		goto fail;
	}
	return net_stream_adopt(s, loop, fd, e);
fail:
	if (s >= 0)
		close(s);
	return NULL;
}

void net_stream_free(struct net_stream *s)
{
	if (!s)
		return;
	loop_remove(s->loop, &s->stream);
	loop_remove(s->loop, &s->device);
	close(s->stream.fd);
	close(s->device.fd);
	free(s);
}
