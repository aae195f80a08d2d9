/*
 * The front, apart from sockets: a request to an answer. All services are at one endpoint; which one is meant
 * is said by the signature's credential scope (and by Version, where two share a name).
 *
 * Requests come in batches, each batch one transaction: front_begin(), front_handle() for each,
 * front_commit(). Answers may be sent when the commit has succeeded; if it fails, all of the batch become
 * ServiceUnavailable, and nothing of it has happened.
 */
#pragma once

#include "api/http.h"
#include "region/cloud.h"

struct front {
	struct cloud *cloud;
	struct agent *agent; /* of this host, for metrics; NULL: there is none */
	struct traffic *traffic;
	struct throttle *throttle; /* NULL: no limits */
	s64 begun_ms;              /* when the process was started */
};

void front_begin(struct front *a);
void front_handle(struct front *a, const struct http_request *request, struct http_answer *answer);
/* -1: nothing of the batch has happened. */
int front_commit(struct front *a, struct error *e);
/* For each request, when its answer is on its way: counts it, and logs it. ns: since the request was there.
 */
void front_answered(struct front *a, const struct http_answer *answer, u64 ns);
/* The answer of a batch that could not be committed. */
void front_unavailable(struct http_answer *answer);
/* The answer to what is HTTP, but cannot be taken. */
void front_malformed(struct http_answer *answer, const char *why);

/* A request id: a random UUID. */
enum { FRONT_ID = 37 };
void front_new_id(char id[FRONT_ID]);
