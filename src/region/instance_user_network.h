/*
 * The network of an instance where the region is an ordinary user's, who cannot make namespaces and taps: its
 * primary interface alone, by host/user_network.h. Groups and routes do not exist there. Nor does the
 * metadata service: the guest is told so on the kernel's command line, and its ssh key, as far as its image
 * looks there (the micro image).
 */
#pragma once

#include "host/user_network.h"
#include "region/resource.h"

/* What its records say of it; texts are in the request's arena. False: it has none. */
bool instance_user_network(struct request *r, const struct resource *instance, struct user_network *n);
/* The command line (NULL: none), with what such a guest is told. */
const char *instance_user_cmdline(struct request *r, const struct resource *instance, const char *cmdline);
