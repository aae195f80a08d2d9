/*
 * HTTP/1.1 as far as the control socket needs it (RFC 9112): one request at a time out of a buffer of bytes,
 * with a body by Content-Length. Pure functions of bytes; a client is trusted to be local, not to be sane.
 */
#pragma once

#include "base/types.h"

#define HTTP_MAX_HEAD 8192u
#define HTTP_MAX_BODY 65536u
#define HTTP_MAX_PATH 256u

struct http_request {
	char method[8];
	char path[HTTP_MAX_PATH]; /* as sent, without a query */
	const u8 *body;           /* within the caller's buffer */
	size_t body_len;
	size_t length; /* bytes of the whole request */
	bool keep_alive;
};

enum http_result {
	HTTP_OK,
	HTTP_MORE,      /* not all there yet */
	HTTP_CONTINUE,  /* not all there, and the client waits for "100 Continue" before it sends the body */
	HTTP_BAD,       /* not HTTP as we know it: answer 400 and close */
	HTTP_TOO_LARGE, /* answer 413 and close */
};

enum http_result http_parse(const u8 *buf, size_t len, struct http_request *r);

/* The reason phrase of a status that we send. */
const char *http_reason(int status);
