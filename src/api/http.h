/*
 * A request and an answer, apart from sockets: what signatures and protocols work on. Texts are in the
 * request's arena.
 */
#pragma once

#include "base/arena.h"
#include "base/buffer.h"

enum { HTTP_HEADERS_MAX = 100 };

struct http_header {
	const char *name, *value;
};

struct http_request {
	struct arena *arena;
	const char *method;
	const char *path;  /* as sent, still encoded, without the query */
	const char *query; /* as sent, without the '?'; "" if none */
	struct http_header headers[HTTP_HEADERS_MAX];
	unsigned header_count;
	const char *body;
	size_t body_length;
	const char *peer; /* address of the client */
};

/* What logs and metrics say of a request; texts live as long as it does. */
struct http_note {
	const char *id, *service, *action, *region, *account, *peer; /* NULL: not known */
	const char *key_id; /* that it claims to be signed with; account: which was found to be so */
	char code[96];      /* of the error, else "" */
};

struct http_answer {
	int status;
	const char *content_type;
	struct buffer body;
	struct http_note note;
};

/* The first of that name (case does not matter), or NULL. */
const char *http_header(const struct http_request *r, const char *name);
