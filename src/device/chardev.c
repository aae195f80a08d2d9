/*
 * Theory of operation: watches are one-shot. A descriptor is armed only while somebody waits for it, so a
 * pipe that hung up or a reader that stopped costs nothing. Input is read eagerly into a small buffer (the
 * filter must see it); when that is full a pipe or socket is left alone until there is room, and a terminal
 * goes on being read with the surplus dropped, as a terminal's own queue does, so that the escape key always
 * gets through.
 */
#include "device/chardev.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define INPUT_SIZE 4096u

/* How an output descriptor is written to without blocking. */
enum out_kind {
	OUT_NONBLOCK, /* O_NONBLOCK on a description of our own */
	OUT_SOCKET,   /* MSG_DONTWAIT */
	OUT_PLAIN,    /* regular file: never blocks for long */
	OUT_POLLED,   /* blocking mode shared with others: poll, then write little */
};

struct chardev {
	struct loop *loop;
	pthread_mutex_t lock; /* all below */
	const char *name;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct loop_fd in, out, listen; /* fd -1: absent */
	bool own_in, own_out;
	enum out_kind out_kind;
	bool in_tty, in_regular, in_paused, in_watched, out_watched;
	bool want_read, want_write;
	bool warned;
	struct chardev_client client;
	size_t (*filter)(void *ctx, u8 *buf, size_t len);
	void *filter_ctx;
	u8 input[INPUT_SIZE];
	size_t input_start, input_count;
};

#define WATCH_IN  (EPOLLIN | EPOLLONESHOT)
#define WATCH_OUT (EPOLLOUT | EPOLLONESHOT)

static void chardev_close_in(struct chardev *c)
{
	if (c->in.fd < 0)
		return;
	if (c->in_watched)
		loop_remove(c->loop, &c->in);
	if (c->own_in)
		close(c->in.fd);
	c->in.fd = -1;
	c->in_watched = false;
}

static void chardev_close_out(struct chardev *c)
{
	if (c->out.fd < 0)
		return;
	if (c->out_watched)
		loop_remove(c->loop, &c->out);
	if (c->own_out)
		close(c->out.fd);
	c->out.fd = -1;
	c->out_watched = false;
}

/* The socket's client has gone: the next one may come. */
static void chardev_disconnect(struct chardev *c)
{
	chardev_close_in(c);
	chardev_close_out(c);
	if (c->listen.fd >= 0)
		loop_modify(c->loop, &c->listen, WATCH_IN);
}

/* ---- output ---- */

static void chardev_arm_out(struct chardev *c)
{
	struct error e;

	c->want_write = true;
	if (c->out_watched)
		loop_modify(c->loop, &c->out, WATCH_OUT);
	else if (loop_add(c->loop, &c->out, &e) == 0)
		c->out_watched = true;
}

static ssize_t chardev_write_some(struct chardev *c, const u8 *buf, size_t len)
{
	struct pollfd p = {.fd = c->out.fd, .events = POLLOUT};

	switch (c->out_kind) {
	case OUT_SOCKET:
		return send(c->out.fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	case OUT_POLLED:
		if (poll(&p, 1, 0) == 1 && !(p.revents & POLLOUT) && (p.revents & (POLLERR | POLLHUP))) {
			errno = EPIPE;
			return -1;
		}
		if (!(p.revents & POLLOUT)) {
			errno = EAGAIN;
			return -1;
		}
		return write(c->out.fd, buf, min(len, (size_t)64));
	default:
		return write(c->out.fd, buf, len);
	}
}

size_t chardev_write(struct chardev *c, const void *buf, size_t len)
{
	const u8 *p = buf;
	size_t done = 0;

	pthread_mutex_lock(&c->lock);
	while (done < len && c->out.fd >= 0) {
		ssize_t n = chardev_write_some(c, p + done, len - done);

		if (n > 0) {
			done += (size_t)n;
		} else if (n < 0 && errno == EINTR) {
			continue;
		} else if (n < 0 && errno != EAGAIN) {
			if (c->listen.fd >= 0) {
				chardev_disconnect(c);
			} else {
				if (!c->warned)
					log_warn("%s: %s: output is lost", c->name, strerror(errno));
				c->warned = true;
				if (errno != ENOSPC && errno != EDQUOT)
					chardev_close_out(c);
				else
					done = len; /* there may be room for what comes later */
			}
		} else {
			chardev_arm_out(c);
			break;
		}
	}
	if (c->out.fd < 0)
		done = len;
	pthread_mutex_unlock(&c->lock);
	return done;
}

static void chardev_out_event(void *ctx, u32 events)
{
	struct chardev *c = ctx;

	pthread_mutex_lock(&c->lock);
	bool call = c->want_write;
	struct chardev_client client = c->client;
	c->want_write = false;
	pthread_mutex_unlock(&c->lock);
	if (call && client.writable)
		client.writable(client.ctx);
}

bool chardev_wait(struct chardev *c, int timeout_ms)
{
	pthread_mutex_lock(&c->lock);
	struct pollfd p = {.fd = c->out.fd < 0 ? -1 : fcntl(c->out.fd, F_DUPFD_CLOEXEC, 0),
	                   .events = POLLOUT};
	pthread_mutex_unlock(&c->lock);

	if (p.fd < 0)
		return true; /* nobody there: output vanishes */
	int n = poll(&p, 1, timeout_ms);
	close(p.fd);
	return n > 0;
}

/* ---- input ---- */

static void chardev_arm_in(struct chardev *c)
{
	struct error e;

	if (c->in.fd < 0)
		return;
	if (c->in_watched) {
		loop_modify(c->loop, &c->in, WATCH_IN);
	} else if (loop_add(c->loop, &c->in, &e) == 0) {
		c->in_watched = true;
	} else if (e.code == EPERM) {
		c->in_regular = true; /* a regular file: read on demand */
	}
}

static void chardev_in_event(void *ctx, u32 events)
{
	struct chardev *c = ctx;
	u8 buf[INPUT_SIZE];

	pthread_mutex_lock(&c->lock);
	size_t room = c->in_tty ? sizeof(buf) : INPUT_SIZE - c->input_count;
	struct pollfd p = {.fd = c->in.fd, .events = POLLIN};

	if (c->in.fd < 0) {
		pthread_mutex_unlock(&c->lock);
		return;
	}
	if (!room) {
		c->in_paused = true;
		pthread_mutex_unlock(&c->lock);
		return;
	}
	/* Standard input may be in blocking mode and shared: be sure that something is there. */
	ssize_t n = poll(&p, 1, 0) == 1 ? read(c->in.fd, buf, room) : -2;

	if (n == 0 || (n == -1 && errno != EINTR && errno != EAGAIN)) {
		bool wrote = c->want_write;
		struct chardev_client client = c->client;

		if (c->listen.fd >= 0) {
			chardev_disconnect(c);
			c->want_write = false;
		} else {
			chardev_close_in(c);
			wrote = false;
		}
		pthread_mutex_unlock(&c->lock);
		if (wrote && client.writable)
			client.writable(client.ctx);
		return;
	}
	size_t len = n > 0 ? (size_t)n : 0;

	if (len && c->filter) {
		/* The filter may stop the loop or ask for anything: not under our lock. */
		size_t (*filter)(void *, u8 *, size_t) = c->filter;
		void *filter_ctx = c->filter_ctx;

		pthread_mutex_unlock(&c->lock);
		len = filter(filter_ctx, buf, len);
		pthread_mutex_lock(&c->lock);
	}
	len = min(len, (size_t)INPUT_SIZE - c->input_count);
	for (size_t i = 0; i < len; i++)
		c->input[(c->input_start + c->input_count++) % INPUT_SIZE] = buf[i];
	chardev_arm_in(c);
	bool call = c->want_read && c->input_count;
	struct chardev_client client = c->client;
	if (call)
		c->want_read = false;
	pthread_mutex_unlock(&c->lock);
	if (call && client.readable)
		client.readable(client.ctx);
}

size_t chardev_read(struct chardev *c, void *buf, size_t len)
{
	u8 *p = buf;
	size_t done = 0;

	pthread_mutex_lock(&c->lock);
	while (done < len && c->input_count) {
		p[done++] = c->input[c->input_start];
		c->input_start = (c->input_start + 1) % INPUT_SIZE;
		c->input_count--;
	}
	if (done < len && c->in_regular && c->in.fd >= 0) {
		ssize_t n = read(c->in.fd, p + done, len - done);

		if (n > 0)
			done += (size_t)n;
		else
			chardev_close_in(c);
	}
	if (done && c->in_paused) {
		c->in_paused = false;
		chardev_arm_in(c);
	}
	if (done < len)
		c->want_read = true;
	pthread_mutex_unlock(&c->lock);
	return done;
}

/* ---- opening ---- */

static void chardev_accept(void *ctx, u32 events)
{
	struct chardev *c = ctx;
	int fd = accept4(c->listen.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int fd2 = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);

	pthread_mutex_lock(&c->lock);
	if (fd2 < 0 || c->in.fd >= 0) {
		if (fd >= 0)
			close(fd);
		if (fd2 >= 0)
			close(fd2);
		loop_modify(c->loop, &c->listen, WATCH_IN);
	} else {
		/* Two descriptors, since epoll keeps one registration for each. */
		c->in.fd = fd;
		c->out.fd = fd2;
		c->out_kind = OUT_SOCKET;
		c->own_in = c->own_out = true;
		chardev_arm_in(c);
	}
	pthread_mutex_unlock(&c->lock);
}

static int chardev_listen(struct chardev *c, const char *path, struct error *e)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	if (!*path || strlen(path) >= sizeof(a.sun_path))
		return error_set(e, ENAMETOOLONG, "serial socket '%s'", path);
	strcpy(a.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_set(e, errno, "serial socket '%s'", path);

	int rc = bind(fd, (struct sockaddr *)&a, sizeof(a));
	if (rc < 0 && errno == EADDRINUSE) {
		/* Left over from a process that died? Then nobody answers. */
		int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		bool stale = probe >= 0 && connect(probe, (struct sockaddr *)&a, sizeof(a)) < 0 &&
		             errno == ECONNREFUSED;

		if (probe >= 0)
			close(probe);
		struct stat st;
		if (stale && lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) && unlink(path) == 0)
			rc = bind(fd, (struct sockaddr *)&a, sizeof(a));
		else
			errno = EADDRINUSE;
	}
	if (rc < 0 || listen(fd, 4) < 0) {
		error_set(e, errno, "serial socket '%s'", path);
		close(fd);
		return -1;
	}
	strcpy(c->path, path);
	c->listen.fd = fd;
	c->listen.events = WATCH_IN;
	if (loop_add(c->loop, &c->listen, e) < 0)
		return -1;
	return 0;
}

static void chardev_set_out(struct chardev *c, int fd, bool own)
{
	struct stat st;

	c->out.fd = fd;
	c->own_out = own;
	if (fstat(fd, &st) < 0)
		st.st_mode = S_IFREG;
	if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))
		c->out_kind = OUT_PLAIN;
	else if (S_ISSOCK(st.st_mode))
		c->out_kind = OUT_SOCKET;
	else
		c->out_kind = own ? OUT_NONBLOCK : OUT_POLLED;
}

static void chardev_open_stdio(struct chardev *c)
{
	struct stat st;

	c->in.fd = STDIN_FILENO;
	c->in_tty = isatty(STDIN_FILENO);
	chardev_set_out(c, STDOUT_FILENO, false);
	/*
	 * O_NONBLOCK belongs to the open file description, which other processes share. A terminal or a pipe
	 * can be opened anew; where that is not allowed, polling must do.
	 */
	if (c->out_kind == OUT_POLLED && fstat(STDOUT_FILENO, &st) == 0) {
		int fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

		if (fd >= 0)
			chardev_set_out(c, fd, true);
	}
}

static int chardev_open_file(struct chardev *c, const char *path, struct error *e)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666);

	if (fd < 0)
		return error_set(e, errno, "serial file '%s'", path);
	chardev_set_out(c, fd, true);
	return 0;
}

struct chardev *chardev_new(const char *spec, struct loop *loop, struct error *e)
{
	struct chardev *c = calloc(1, sizeof(*c));
	int rc = 0;

	if (!c) {
		error_set(e, ENOMEM, "serial");
		return NULL;
	}
	c->loop = loop;
	c->name = "serial output";
	pthread_mutex_init(&c->lock, NULL);
	c->in = (struct loop_fd){.fd = -1, .events = WATCH_IN, .fn = chardev_in_event, .ctx = c};
	c->out = (struct loop_fd){.fd = -1, .events = WATCH_OUT, .fn = chardev_out_event, .ctx = c};
	c->listen = (struct loop_fd){.fd = -1, .events = WATCH_IN, .fn = chardev_accept, .ctx = c};
	if (!strcmp(spec, "stdio"))
		chardev_open_stdio(c);
	else if (!strncmp(spec, "file:", 5) && spec[5])
		rc = chardev_open_file(c, spec + 5, e);
	else if (!strncmp(spec, "unix:", 5) && spec[5])
		rc = chardev_listen(c, spec + 5, e);
	else if (strcmp(spec, "none"))
		rc = error_set(e, 0, "serial '%s': neither stdio, none, file:PATH nor unix:PATH", spec);
	if (rc < 0) {
		chardev_free(c);
		return NULL;
	}
	pthread_mutex_lock(&c->lock);
	chardev_arm_in(c);
	pthread_mutex_unlock(&c->lock);
	return c;
}

void chardev_free(struct chardev *c)
{
	if (!c)
		return;
	chardev_close_in(c);
	chardev_close_out(c);
	if (c->listen.fd >= 0) {
		loop_remove(c->loop, &c->listen);
		close(c->listen.fd);
		unlink(c->path);
	}
	pthread_mutex_destroy(&c->lock);
	free(c);
}

void chardev_attach(struct chardev *c, const struct chardev_client *client)
{
	pthread_mutex_lock(&c->lock);
	c->client = client ? *client : (struct chardev_client){0};
	pthread_mutex_unlock(&c->lock);
}

void chardev_set_filter(struct chardev *c, size_t (*filter)(void *ctx, u8 *buf, size_t len), void *ctx)
{
	pthread_mutex_lock(&c->lock);
	c->filter = filter;
	c->filter_ctx = ctx;
	pthread_mutex_unlock(&c->lock);
}
