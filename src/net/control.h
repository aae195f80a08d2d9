/* The control socket (service.h): whole configurations, each taken or refused. Loop's thread. */
#pragma once

#include "net/guests.h"
#include "net/stream.h"

struct control {
	struct guests *guests;
	struct stream_server server;
	/* The configuration is another. */
	void (*changed)(void *ctx);
	void *ctx;
};

/* The socket at DIR/vpc.sock; one that is there is replaced. */
int control_open(struct control *c, int dir, struct error *e);
int control_start(struct control *c, struct loop *l, struct error *e);
/* Takes a configuration's bytes: 0, or -1 with e, and the old one stays. */
int control_take(struct guests *g, const char *bytes, size_t length, struct error *e);
