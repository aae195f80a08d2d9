#include "net/imds_server.h"

#include <stdlib.h>
#include <sys/random.h>

enum { STREAMS = 512 };

static bool is_service(struct ip a)
{
	return a.v6 ? a.bits == ((ip_bits)0xfd000ec200000000ULL << 64 | 0x254) : a.bits == 0xa9fea9fe;
}

static bool find_guest(const struct imds_server *s, const struct stream *t, struct guest *guest)
{
	return guest_find(s->guests, t->device, guest) && config_has_address(guest->interface, t->peer) &&
	       (!t->local.v6 || (guest->interface->metadata && guest->interface->metadata->ipv6));
}

static bool opened(struct stream *t)
{
	const struct imds_server *s = t->server->ctx;
	struct guest guest;

	if (!is_service(t->local) || !find_guest(s, t, &guest) || guest.link->streams >= GUEST_STREAMS)
		return false;
	guest.link->streams++;
	return true;
}

static void closed(struct stream *t)
{
	const struct imds_server *s = t->server->ctx;
	struct link *link = links_find(&s->guests->links, t->device);

	if (link && link->streams)
		link->streams--;
}

static size_t taken(struct stream *t)
{
	const struct imds_server *s = t->server->ctx;
	struct imds service = {.since = s->guests->config->since, .now = time(NULL), .secret = s->secret};
	struct web_request r;
	struct guest guest;
	u8 hops = 0;

	/* The configuration may be another by now. */
	if (!find_guest(s, t, &guest)) {
		stream_end(t);
		return t->in.length;
	}
	service.instance = guest.interface->metadata;
	switch (web_parse((const u8 *)t->in.bytes, t->in.length, &r)) {
	case WEB_OK:
		break;
	case WEB_MORE:
	case WEB_MORE_BODY:
		return 0;
	case WEB_BAD:
		imds_refuse(&service, 400, &t->out);
		stream_end(t);
		return t->in.length;
	case WEB_TOO_LARGE:
		imds_refuse(&service, 413, &t->out);
		stream_end(t);
		return t->in.length;
	}
	if (!guest_may_send(&guest)) {
		imds_refuse(&service, 429, &t->out);
		stream_end(t);
		return t->in.length;
	}
	imds_answer(&service, &r, &t->out, &hops);
	/* For the rest of the connection: what is sent again must not get further than at first. */
	if (hops)
		stream_set_hops(t, hops);
	if (!r.keep_alive)
		stream_end(t);
	return r.head + r.body;
}

int imds_server_open(struct imds_server *s, struct error *e)
{
	for (unsigned i = 0; i < 2; i++) {
		s->http[i].fd.fd = stream_listen(i, IMDS_PORT, e);
		if (s->http[i].fd.fd < 0)
			return -1;
	}
	return 0;
}

int imds_server_start(struct imds_server *s, struct loop *l, struct guests *g, struct error *e)
{
	s->guests = g;
	if (getrandom(s->secret, sizeof(s->secret), 0) != sizeof(s->secret))
		abort();
	for (unsigned i = 0; i < 2; i++) {
		int fd = s->http[i].fd.fd;

		s->http[i] = (struct stream_server){.internet = true,
		                                    .in_max = WEB_HEAD_MAX + WEB_BODY_MAX + (16 << 10),
		                                    .most = STREAMS,
		                                    .idle_ns = 60000000000,
		                                    .request_ns = 10000000000,
		                                    .opened = opened,
		                                    .taken = taken,
		                                    .closed = closed,
		                                    .ctx = s};
		if (stream_server_start(&s->http[i], l, fd, e) < 0)
			return -1;
	}
	return 0;
}
