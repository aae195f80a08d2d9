#include "api/server.h"
#include "api/metrics.h"
#include "api/refusal.h"
#include "base/clock.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

enum { BATCH = 256 };

/* A request that waits for its batch. */
struct waiting {
	struct evhttp_request *request;
	u64 since_ns;
	struct arena arena;
	struct http_answer answer;
};

struct server {
	struct front *front;
	struct event_base *base;
	struct evhttp *http;
	struct event *batch, *term, *interrupt, *hang_up, *every, *waker;
	int wake;              /* an eventfd, -1: none */
	struct timeval period; /* from the end of one round to the next */
	void (*every_fn)(void *ctx);
	void *every_ctx;
	SSL_CTX *tls;
	unsigned port;
	enum server_metrics metrics;
	unsigned count;
	struct waiting waiting[BATCH];
};

static const char *method_name(enum evhttp_cmd_type type)
{
	switch (type) {
	case EVHTTP_REQ_GET:
		return "GET";
	case EVHTTP_REQ_POST:
		return "POST";
	case EVHTTP_REQ_PUT:
		return "PUT";
	case EVHTTP_REQ_DELETE:
		return "DELETE";
	case EVHTTP_REQ_OPTIONS:
		return "OPTIONS";
	default:
		return "?";
	}
}

/* NULL, or why it is not taken. */
static const char *read_request(struct waiting *w, struct http_request *out)
{
	const char *uri = evhttp_request_get_uri(w->request), *question = strchr(uri, '?');
	struct evbuffer *body = evhttp_request_get_input_buffer(w->request);
	const char *length = NULL;
	struct evkeyval *header;
	char *peer;
	ev_uint16_t port;

	*out = (struct http_request){.arena = &w->arena,
	                             .method = method_name(evhttp_request_get_command(w->request))};
	out->path = arena_text(&w->arena, uri, question ? (size_t)(question - uri) : strlen(uri));
	out->query = question ? question + 1 : "";
	for (header = evhttp_request_get_input_headers(w->request)->tqh_first; header;
	     header = header->next.tqe_next) {
		if (out->header_count == HTTP_HEADERS_MAX)
			return "The request has too many headers";
		/* The library took the first; whoever passed this on may have taken another. */
		if (!strcasecmp(header->key, "content-length") && length && strcmp(length, header->value))
			return "The request has more than one length";
		if (!strcasecmp(header->key, "content-length"))
			length = header->value;
		out->headers[out->header_count++] = (struct http_header){header->key, header->value};
	}
	out->body_length = evbuffer_get_length(body);
	out->body = out->body_length ? (const char *)evbuffer_pullup(body, -1) : "";
	evhttp_connection_get_peer(evhttp_request_get_connection(w->request), &peer, &port);
	out->peer = peer;
	return NULL;
}

static void send_answer(struct waiting *w)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(w->request);
	struct evbuffer *out = evhttp_request_get_output_buffer(w->request);

	evhttp_add_header(headers, "Content-Type", w->answer.content_type);
	evhttp_add_header(headers, "Server", "insula");
	evbuffer_add(out, buffer_str(&w->answer.body), w->answer.body.length);
	evhttp_send_reply(w->request, w->answer.status, NULL, NULL);
	arena_clear(&w->arena);
	w->request = NULL;
}

static void run_batch(evutil_socket_t fd, short what, void *ctx)
{
	struct server *s = ctx;
	struct http_request request;
	struct error e;

	(void)fd, (void)what;
	if (!s->count)
		return;
	front_begin(s->front);
	for (unsigned i = 0; i < s->count; i++) {
		struct waiting *w = &s->waiting[i];

		const char *why = read_request(w, &request);

		if (why) {
			front_malformed(&w->answer, why);
			evhttp_add_header(evhttp_request_get_output_headers(w->request), "Connection",
			                  "close");
		} else {
			front_handle(s->front, &request, &w->answer);
		}
	}
	if (front_commit(s->front, &e) < 0) {
		log_error("%s", e.text);
		for (unsigned i = 0; i < s->count; i++)
			front_unavailable(&s->waiting[i].answer);
	}
	for (unsigned i = 0; i < s->count; i++) {
		struct waiting *w = &s->waiting[i];

		front_answered(s->front, &w->answer, clock_monotonic_ns() - w->since_ns);
		send_answer(w);
	}
	s->count = 0;
	if (s->every && s->front->cloud->wake)
		event_active(s->every, EV_TIMEOUT, 0);
}

static void received(struct evhttp_request *request, void *ctx)
{
	struct server *s = ctx;

	if (s->count == BATCH)
		run_batch(-1, 0, s);
	s->waiting[s->count].since_ns = clock_monotonic_ns();
	s->waiting[s->count++].request = request;
	if (s->count == 1)
		event_active(s->batch, EV_TIMEOUT, 0);
}

/* ---- /metrics ---- */

static bool from_loopback(struct evhttp_request *request)
{
	struct evkeyvalq *headers = evhttp_request_get_input_headers(request);
	const struct sockaddr *peer = evhttp_connection_get_addr(evhttp_request_get_connection(request));
	static const u8 mapped[12] = {[10] = 0xff, [11] = 0xff};

	if (evhttp_find_header(headers, "X-Forwarded-For") || evhttp_find_header(headers, "Forwarded") ||
	    !peer)
		return false;
	if (peer->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)peer)->sin_addr.s_addr) >> 24 == 127;
	if (peer->sa_family == AF_INET6) {
		const struct in6_addr *a = &((const struct sockaddr_in6 *)peer)->sin6_addr;

		return IN6_IS_ADDR_LOOPBACK(a) || (!memcmp(a, mapped, 12) && a->s6_addr[12] == 127);
	}
	return false;
}

static void metrics(struct evhttp_request *request, void *ctx)
{
	struct server *s = ctx;
	struct buffer text = {0};

	if (evhttp_request_get_command(request) != EVHTTP_REQ_GET) {
		evhttp_send_error(request, HTTP_BADMETHOD, NULL);
		return;
	}
	if (s->metrics == METRICS_OFF || (s->metrics == METRICS_LOOPBACK && !from_loopback(request))) {
		evhttp_send_error(request, 403, "Forbidden");
		return;
	}
	metrics_write(s->front, &text);
	evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", METRICS_TYPE);
	evbuffer_add(evhttp_request_get_output_buffer(request), buffer_str(&text), text.length);
	evhttp_send_reply(request, HTTP_OK, NULL, NULL);
	buffer_release(&text);
}

static void hang_up(evutil_socket_t signal_number, short what, void *ctx)
{
	struct error e;

	(void)signal_number, (void)what, (void)ctx;
	if (log_reopen(&e) < 0)
		log_error("%s", e.text);
}

static void stop(evutil_socket_t signal_number, short what, void *ctx)
{
	struct server *s = ctx;

	(void)signal_number, (void)what;
	event_base_loopexit(s->base, NULL);
}

static struct bufferevent *new_connection(struct event_base *base, void *ctx)
{
	struct server *s = ctx;
	struct bufferevent *b =
	        s->tls ? bufferevent_openssl_socket_new(base, -1, SSL_new(s->tls), BUFFEREVENT_SSL_ACCEPTING,
	                                                BEV_OPT_CLOSE_ON_FREE)
	               : bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);

	if (b)
		refusal_watch(b, s->front);
	return b;
}

static int start_tls(struct server *s, const struct server_options *o, struct error *e)
{
	char text[256];

	s->tls = SSL_CTX_new(TLS_server_method());
	if (!s->tls)
		return error_set(e, 0, "TLS cannot be set up");
	SSL_CTX_set_min_proto_version(s->tls, TLS1_2_VERSION);
	if (SSL_CTX_use_certificate_chain_file(s->tls, o->certificate) != 1) {
		ERR_error_string_n(ERR_get_error(), text, sizeof(text));
		return error_set(e, 0, "certificate %s: %s", o->certificate, text);
	}
	if (SSL_CTX_use_PrivateKey_file(s->tls, o->key, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(s->tls) != 1) {
		ERR_error_string_n(ERR_get_error(), text, sizeof(text));
		return error_set(e, 0, "key %s: %s", o->key, text);
	}
	return 0;
}

static int listen_at(struct server *s, const char *where, struct error *e)
{
	struct sockaddr_storage at = {0};
	struct evconnlistener *listener;
	int length = sizeof(at);
	socklen_t size = sizeof(at);

	const char *colon = strrchr(where, ':');
	bool any = colon && !strcmp(colon, ":0"); /* which the parser does not take */
	char text[128];

	snprintf(text, sizeof(text), "%.*s%s", any ? (int)(colon - where) : 100, where, any ? ":1" : "");
	if (!colon || evutil_parse_sockaddr_port(text, (struct sockaddr *)&at, &length) < 0)
		return error_set(e, 0, "--listen %s: must be ADDRESS:PORT", where);
	if (any && at.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&at)->sin6_port = 0;
	else if (any)
		((struct sockaddr_in *)&at)->sin_port = 0;
	listener = evconnlistener_new_bind(s->base, NULL, NULL,
	                                   LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE,
	                                   1024, (struct sockaddr *)&at, length);
	if (!listener)
		return error_set(e, errno, "listen at %s", where);
	if (!evhttp_bind_listener(s->http, listener)) {
		evconnlistener_free(listener);
		return error_set(e, 0, "listen at %s: no memory", where);
	}
	/* Connections inherit it. Else the end of an answer waits for the acknowledgement of its beginning,
	 * which a client delays: 40 ms. */
	setsockopt(evconnlistener_get_fd(listener), IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&at, &size);
	s->port = ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
	                                         : ((struct sockaddr_in *)&at)->sin_port);
	return 0;
}

struct server *server_new(struct front *front, const struct server_options *o, struct error *e)
{
	struct server *s = calloc(1, sizeof(*s));

	if (!s) {
		error_set(e, 0, "no memory for a server");
		return NULL;
	}
	s->front = front;
	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->base = event_base_new();
	s->http = s->base ? evhttp_new(s->base) : NULL;
	if (!s->http) {
		error_set(e, 0, "no memory for a server");
		server_free(s);
		return NULL;
	}
	evhttp_set_max_body_size(s->http, SERVER_BODY_MAX);
	evhttp_set_max_headers_size(s->http, SERVER_HEADERS_MAX);
	evhttp_set_timeout(s->http, SERVER_TIMEOUT_S);
	evhttp_set_allowed_methods(s->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_PUT |
	                                            EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS);
	/* Who sends too much reads nothing before it has sent all: what is too long is drained, then refused.
	 */
	evhttp_set_flags(s->http, EVHTTP_SERVER_LINGERING_CLOSE);
	evhttp_set_bevcb(s->http, new_connection, s);
	evhttp_set_cb(s->http, "/metrics", metrics, s);
	evhttp_set_gencb(s->http, received, s);
	s->metrics = o->metrics;
	if ((o->certificate && start_tls(s, o, e) < 0) || listen_at(s, o->listen, e) < 0) {
		server_free(s);
		return NULL;
	}
	s->batch = event_new(s->base, -1, 0, run_batch, s);
	s->term = evsignal_new(s->base, SIGTERM, stop, s);
	s->interrupt = evsignal_new(s->base, SIGINT, stop, s);
	s->hang_up = evsignal_new(s->base, SIGHUP, hang_up, s);
	event_add(s->hang_up, NULL);
	event_add(s->term, NULL);
	event_add(s->interrupt, NULL);
	return s;
}

unsigned server_port(const struct server *s)
{
	return s->port;
}

static void run_every(evutil_socket_t fd, short what, void *ctx)
{
	struct server *s = ctx;

	(void)fd, (void)what;
	s->every_fn(s->every_ctx);
	event_add(s->every, &s->period);
}

static void woken(evutil_socket_t fd, short what, void *ctx)
{
	u64 count;

	if (read(fd, &count, sizeof(count)) == sizeof(count))
		run_every(fd, what, ctx);
}

void server_wake(struct server *s)
{
	const u64 one = 1;

	if (write(s->wake, &one, sizeof(one)) != sizeof(one))
		log_debug("the next round comes by itself");
}

void server_every(struct server *s, unsigned ms, void (*fn)(void *ctx), void *ctx)
{
	s->period = (struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
	s->every_fn = fn;
	s->every_ctx = ctx;
	/* Not EV_PERSIST: there each event_active() puts the next round off by one more period. */
	s->every = event_new(s->base, -1, 0, run_every, s);
	event_active(s->every, EV_TIMEOUT, 0);
	s->waker = event_new(s->base, s->wake, EV_READ | EV_PERSIST, woken, s);
	event_add(s->waker, NULL);
}

int server_run(struct server *s, struct error *e)
{
	signal(SIGPIPE, SIG_IGN);
	if (event_base_dispatch(s->base) < 0)
		return error_set(e, errno, "event loop");
	run_batch(-1, 0, s);
	return 0;
}

void server_free(struct server *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < BATCH; i++) {
		arena_release(&s->waiting[i].arena);
		buffer_release(&s->waiting[i].answer.body);
	}
	if (s->every)
		event_free(s->every);
	if (s->waker)
		event_free(s->waker);
	if (s->wake >= 0)
		close(s->wake);
	if (s->batch)
		event_free(s->batch);
	if (s->term)
		event_free(s->term);
	if (s->interrupt)
		event_free(s->interrupt);
	if (s->hang_up)
		event_free(s->hang_up);
	if (s->http)
		evhttp_free(s->http);
	if (s->base)
		event_base_free(s->base);
	SSL_CTX_free(s->tls);
	free(s);
}
