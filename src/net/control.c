#include "net/control.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { CLIENTS = 8 };

int control_open(struct control *c, int dir, struct error *e)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t mask;
	int status;

	/* Through /proc: a path in a data folder may be longer than a socket's address. */
	snprintf(at.sun_path, sizeof(at.sun_path), "/proc/self/fd/%d/vpc.sock", dir);
	unlinkat(dir, "vpc.sock", 0);
	mask = umask(0177);
	status = fd < 0 ? -1 : bind(fd, (struct sockaddr *)&at, sizeof(at));
	umask(mask);
	if (status < 0 || listen(fd, CLIENTS) < 0) {
		error_set(e, errno, "vpc.sock");
		if (fd >= 0)
			close(fd);
		return -1;
	}
	c->server.fd.fd = fd;
	return 0;
}

int control_take(struct guests *g, const char *bytes, size_t length, struct error *e)
{
	struct config *config = config_parse(bytes, length, e);

	if (!config)
		return -1;
	if (g->config && strcmp(g->config->plan.vpc, config->plan.vpc)) {
		error_set(e, 0, "the plan is of %s, not of %s", config->plan.vpc, g->config->plan.vpc);
		config_free(config);
		return -1;
	}
	config_free(g->config);
	g->config = config;
	return 0;
}

static size_t taken(struct stream *s)
{
	struct control *c = s->server->ctx;
	const u8 *in = (const u8 *)s->in.bytes;
	char line[sizeof(struct error) + 32];
	struct error e = {0};
	size_t length;

	if (s->in.length < 4)
		return 0;
	length = in[0] | (size_t)in[1] << 8 | (size_t)in[2] << 16 | (size_t)in[3] << 24;
	if (length > CONFIG_MAX) {
		snprintf(line, sizeof(line), "error a configuration of %zu bytes is too large\n", length);
		stream_send(s, line, strlen(line));
		stream_end(s);
		return s->in.length;
	}
	if (s->in.length - 4 < length)
		return 0;
	if (control_take(c->guests, (const char *)in + 4, length, &e) == 0) {
		snprintf(line, sizeof(line), "ok %lld\n", (long long)c->guests->config->plan.generation);
		c->changed(c->ctx);
	} else {
		log_warn("a configuration was refused: %s", e.text);
		snprintf(line, sizeof(line), "error %s\n", e.text);
	}
	stream_send(s, line, strlen(line));
	return length + 4;
}

int control_start(struct control *c, struct loop *l, struct error *e)
{
	int fd = c->server.fd.fd;

	c->server = (struct stream_server){.in_max = 4 + CONFIG_MAX + (16 << 10),
	                                   .most = CLIENTS,
	                                   .idle_ns = 60000000000,
	                                   .request_ns = 10000000000,
	                                   .taken = taken,
	                                   .ctx = c};
	return stream_server_start(&c->server, l, fd, e);
}
