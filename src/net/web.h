/*
 * HTTP/1.1 requests as the metadata service has them from guests (RFC 9112): one at a time out of a buffer of
 * bytes. A body is taken by its Content-Length, and dropped. Pure functions of bytes.
 */
#pragma once

#include "base/types.h"

enum {
	WEB_HEAD_MAX = 8192, /* request line and fields */
	WEB_BODY_MAX = 16384,
	WEB_PATH_MAX = 1024,
	WEB_VALUE_MAX = 256,
};

struct web_request {
	char method[16];
	char path[WEB_PATH_MAX]; /* decoded, without a query */
	char token[WEB_VALUE_MAX],
	        ttl[WEB_VALUE_MAX]; /* X-aws-ec2-metadata-token, …-token-ttl-seconds; "": none */
	bool has_token, has_ttl;
	bool forwarded; /* X-Forwarded-For is there */
	bool keep_alive;
	size_t head, body; /* bytes */
};

enum web_result {
	WEB_OK,        /* the whole request is there */
	WEB_MORE,      /* not all of it */
	WEB_MORE_BODY, /* the head is, so r is filled in */
	WEB_BAD,       /* answer 400 and close */
	WEB_TOO_LARGE, /* answer 413 and close */
};

enum web_result web_parse(const u8 *in, size_t length, struct web_request *r);
/* The reason phrase of a status that we send. */
const char *web_reason(int status);
