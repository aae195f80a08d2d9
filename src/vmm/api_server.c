#include "vmm/api_server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define IN_MAX (HTTP_MAX_HEAD + HTTP_MAX_BODY)

struct client {
	struct api_server *server; /* NULL: a free place */
	struct loop_fd fd;
	u8 *in; /* IN_MAX bytes */
	size_t in_len;
	char *out; /* the response being sent, or NULL */
	size_t out_len, out_sent;
	bool close;     /* after the response */
	bool continued; /* "100 Continue" was sent for the request at hand */
};

struct api_server {
	struct loop *loop;
	struct api api;
	char *path;
	struct stat created; /* the socket file, as we made it */
	struct loop_fd listen;
	struct client client[API_MAX_CLIENTS];
	unsigned clients;
};

static void client_drop(struct client *c)
{
	struct api_server *s = c->server;

	loop_remove(s->loop, &c->fd);
	close(c->fd.fd);
	free(c->in);
	free(c->out);
	memset(c, 0, sizeof(*c));
	if (s->clients-- == API_MAX_CLIENTS)
		loop_modify(s->loop, &s->listen, EPOLLIN);
}

/* Sends what is left of the response. False: the client is gone. */
static bool client_send(struct client *c)
{
	while (c->out) {
		ssize_t n = send(c->fd.fd, c->out + c->out_sent, c->out_len - c->out_sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			/* Until this is out, nothing more is read. */
			if (c->fd.events != EPOLLOUT)
				loop_modify(c->server->loop, &c->fd, EPOLLOUT);
			return true;
		}
		if (n < 0) {
			client_drop(c);
			return false;
		}
		c->out_sent += (size_t)n;
		if (c->out_sent < c->out_len)
			continue;
		free(c->out);
		c->out = NULL;
		if (c->close) {
			client_drop(c);
			return false;
		}
		if (c->fd.events != EPOLLIN)
			loop_modify(c->server->loop, &c->fd, EPOLLIN);
	}
	return true;
}

static bool client_respond(struct client *c, const struct api_response *r)
{
	const char *body = r->body ? r->body : "";
	char length[64] = "";
	int n;

	/* A 204 has no length (RFC 9110 §8.6). */
	if (r->status != 204)
		snprintf(length, sizeof(length), "Content-Length: %zu\r\n", strlen(body));
	n = asprintf(&c->out,
	             "HTTP/1.1 %d %s\r\nServer: Insula\r\nConnection: %s\r\nContent-Type: "
	             "application/json\r\n%s\r\n%s",
	             r->status, http_reason(r->status), c->close ? "close" : "keep-alive", length, body);
	if (n < 0) {
		c->out = NULL;
		client_drop(c);
		return false;
	}
	c->out_len = (size_t)n;
	c->out_sent = 0;
	return client_send(c);
}

static bool client_refuse(struct client *c, int status, const char *text)
{
	struct api_response r = {0};

	c->close = true;
	api_fault(&r, "%s", text);
	r.status = status;

	bool alive = client_respond(c, &r);

	api_response_release(&r);
	return alive;
}

static bool client_continue(struct client *c)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";

	if (c->continued)
		return true;
	c->continued = true;
	/* The socket's buffer is empty then: a client that waits for this has read what was before. */
	if (send(c->fd.fd, text, sizeof(text) - 1, MSG_NOSIGNAL) != (ssize_t)sizeof(text) - 1) {
		client_drop(c);
		return false;
	}
	return true;
}

/* Serves all complete requests in the buffer, one response after the other. */
static void client_serve(struct client *c)
{
	while (!c->out && c->in_len) {
		struct http_request request;
		struct api_response response;

		switch (http_parse(c->in, c->in_len, &request)) {
		case HTTP_MORE:
			return;
		case HTTP_CONTINUE:
			client_continue(c);
			return;
		case HTTP_BAD:
			client_refuse(c, 400, "not an HTTP/1.1 request with a Content-Length");
			return;
		case HTTP_TOO_LARGE:
			client_refuse(c, 413, "the request is too large");
			return;
		case HTTP_OK:
			break;
		}
		c->close = !request.keep_alive;
		c->continued = false;
		api_handle(&c->server->api, &request, &response);
		memmove(c->in, c->in + request.length, c->in_len - request.length);
		c->in_len -= request.length;

		bool alive = client_respond(c, &response);

		api_response_release(&response);
		if (!alive)
			return;
	}
}

static void on_client(void *ctx, u32 events)
{
	struct client *c = ctx;

	if (events & EPOLLOUT) {
		if (client_send(c) && !c->out)
			client_serve(c);
		return;
	}
	/* The parser takes or refuses any IN_MAX bytes, so there always is room. */
	ssize_t n = recv(c->fd.fd, c->in + c->in_len, IN_MAX - c->in_len, 0);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		client_drop(c);
		return;
	}
	c->in_len += (size_t)n;
	client_serve(c);
}

static void on_connection(void *ctx, u32 events)
{
	struct api_server *s = ctx;
	int fd = accept4(s->listen.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *c = s->client;
	struct error e;

	if (fd < 0)
		return;
	while (c->server)
		c++;
	*c = (struct client){.fd = {.fd = fd, .events = EPOLLIN, .fn = on_client, .ctx = c},
	                     .in = malloc(IN_MAX)};
	if (!c->in || loop_add(s->loop, &c->fd, &e)) {
		free(c->in);
		memset(c, 0, sizeof(*c));
		close(fd);
		return;
	}
	c->server = s;
	if (++s->clients == API_MAX_CLIENTS)
		loop_modify(s->loop, &s->listen, 0);
}

/* Whether the socket file at addr is left over from a process that is gone. */
static bool is_stale(const struct sockaddr_un *addr)
{
	struct stat st;

	if (lstat(addr->sun_path, &st) || !S_ISSOCK(st.st_mode))
		return false;

	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool refused =
	        fd >= 0 && connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) && errno == ECONNREFUSED;

	if (fd >= 0)
		close(fd);
	return refused;
}

static int listen_at(struct api_server *s, struct error *e)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(s->path) >= sizeof(addr.sun_path))
		return error_set(e, ENAMETOOLONG, "%s", s->path);
	strcpy(addr.sun_path, s->path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_set(e, errno, "%s", s->path);
	s->listen.fd = fd;
	if (is_stale(&addr))
		unlink(addr.sun_path);

	mode_t mask = umask(0177);
	int r = bind(fd, (struct sockaddr *)&addr, sizeof(addr));
	int code = errno;

	umask(mask);
	if (r)
		return error_set(e, code, "%s", s->path);
	if (lstat(s->path, &s->created) || listen(fd, 16))
		return error_set(e, errno, "%s", s->path);
	return 0;
}

struct api_server *api_server_new(const char *path, const struct api *api, struct loop *loop, struct error *e)
{
	struct api_server *s = calloc(1, sizeof(*s));

	if (s)
		s->path = strdup(path);
	if (!s || !s->path) {
		free(s);
		error_set(e, ENOMEM, "%s", path);
		return NULL;
	}
	s->loop = loop;
	s->api = *api;
	s->listen = (struct loop_fd){.fd = -1, .events = EPOLLIN, .fn = on_connection, .ctx = s};
	if (listen_at(s, e) || loop_add(loop, &s->listen, e)) {
		api_server_free(s);
		return NULL;
	}
	return s;
}

void api_server_free(struct api_server *s)
{
	struct stat st;

	if (!s)
		return;
	for (unsigned i = 0; i < API_MAX_CLIENTS; i++)
		if (s->client[i].server)
			client_drop(&s->client[i]);
	if (s->listen.fd >= 0) {
		loop_remove(s->loop, &s->listen);
		close(s->listen.fd);
	}
	/* Only what we made: another process may have put its own there since. */
	if (s->created.st_ino && !lstat(s->path, &st) && st.st_ino == s->created.st_ino &&
	    st.st_dev == s->created.st_dev)
		unlink(s->path);
	free(s->path);
	free(s);
}
