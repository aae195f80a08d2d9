/*
 * What the HTTP library refuses by itself, before it is a request of ours: a broken request line, headers or
 * chunk, headers or a body beyond the limits, a method that nobody offers. It says so in a page of HTML,
 * which no AWS client reads; here that page becomes the API's own error, with a code of the API Reference's
 * "Common errors": MalformedHttpRequestException, RequestEntityTooLargeException, InvalidAction.
 *
 * libevent 2.1 has no hook for its pages. But it writes an answer whole before it lets any of it leave, and
 * only one at a time, so the page is found in the connection's output, and replaced there.
 */
#pragma once

#include "api/front.h"

struct bufferevent;

/* For each new connection. front must outlive it. */
void refusal_watch(struct bufferevent *connection, struct front *front);
