/*
 * Sockets: HTTP/1.1 with keep-alive, and TLS, on libevent. One thread; requests that are there at the same
 * time make one batch (front.h).
 */
#pragma once

#include "api/front.h"

struct server;

/* From this machine: of a peer that is on it, and was not passed on by a proxy. */
enum server_metrics { METRICS_LOOPBACK, METRICS_ANY, METRICS_OFF };

struct server_options {
	const char *listen;            /* ADDR:PORT, [ADDR6]:PORT; port 0: any */
	const char *certificate, *key; /* PEM files; NULL: no TLS */
	enum server_metrics metrics;   /* who may read /metrics, unsigned */
};

enum { SERVER_BODY_MAX = 4 << 20, SERVER_HEADERS_MAX = 64 << 10, SERVER_TIMEOUT_S = 60 };

struct server *server_new(struct front *front, const struct server_options *o, struct error *e);
/* The port that it listens on. */
unsigned server_port(const struct server *s);
/* Runs until SIGTERM or SIGINT; requests that are being answered are finished. SIGHUP opens the log anew. */
int server_run(struct server *s, struct error *e);
void server_free(struct server *s);

/* fn(ctx) every so many milliseconds, and behind each batch that has something done in the world
 * (cloud.wake), on the same thread, between batches. */
void server_every(struct server *s, unsigned ms, void (*fn)(void *ctx), void *ctx);
/* It is to be done now, once; from any thread, while the server is there. */
void server_wake(struct server *s);
