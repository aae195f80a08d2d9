/* The network of an instance where the region is an ordinary user's, who cannot make namespaces and taps: its
 * primary interface alone, by host/user_network.h. Groups, routes and the metadata service do not exist
 * there. */
#pragma once

#include "host/user_network.h"
#include "region/resource.h"

/* What its records say of it; texts are in the request's arena. False: it has none. */
bool instance_user_network(struct request *r, const struct resource *instance, struct user_network *n);
