/*
 * The control socket: a listening Unix socket, its clients, and HTTP between them and api.h. Loop's thread.
 *
 * A client that sends nonsense is answered and closed; one that is slow costs a bounded buffer. At most
 * API_MAX_CLIENTS are served at a time, others wait to be accepted. The socket is for its owner only (mode
 * 0600).
 */
#pragma once

#include "base/loop.h"
#include "vmm/api.h"

#define API_MAX_CLIENTS 16

struct api_server;

/* A socket file that nobody listens on is replaced; any other file is an error. */
struct api_server *api_server_new(const char *path, const struct api *api, struct loop *loop,
                                  struct error *e);
/* Removes the socket file. NULL is allowed. */
void api_server_free(struct api_server *s);
