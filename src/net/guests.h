/* Whose packets these are: the devices of the namespace and the configuration, together. Loop's thread. */
#pragma once

#include "net/config.h"
#include "net/links.h"

enum { GUEST_STREAMS = 64, GUEST_QUERIES = 64 /* of an interface, at a time */ };

struct guests {
	struct config *config;
	struct links links;
};

struct guest {
	struct link *link;
	const struct config_interface *interface;
};

/* False: the device is none of an interface of the plan. */
bool guest_find(const struct guests *g, int device, struct guest *out);
/* Counts a packet. False: it was one too many. */
bool guest_may_send(const struct guest *guest);
