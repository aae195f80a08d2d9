/* The metadata service's connections (imds.h). An instance is known by the device that its connection came in
 * on, and the address that it came from. Loop's thread. */
#pragma once

#include "net/guests.h"
#include "net/imds.h"
#include "net/stream.h"

struct imds_server {
	struct guests *guests;
	u8 secret[IMDS_SECRET];
	struct stream_server http[2];
};

/* Opens its sockets, in the namespace that this process is in. */
int imds_server_open(struct imds_server *s, struct error *e);
int imds_server_start(struct imds_server *s, struct loop *l, struct guests *g, struct error *e);
