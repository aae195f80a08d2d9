/*
 * The instance metadata service (EC2 User Guide, "Instance metadata and user data"): what an instance is
 * told, as a function of its request. Versions 1 and 2: a token is a MAC of the instance's id and the time it
 * ends, so none is remembered, and each is good for its instance alone.
 *
 * Anything is found under each version's name: the tree of the configuration, whose meaning is not known
 * here, "user-data", and "api/token".
 */
#pragma once

#include "base/buffer.h"
#include "net/config.h"
#include "net/web.h"

enum { IMDS_PORT = 80, IMDS_TOKEN_MAX_S = 21600, IMDS_SECRET = 32 };

struct imds {
	const struct metadata *instance; /* NULL: nothing is known of it */
	time_t since;                    /* when what is told was last changed */
	time_t now;
	const u8 *secret; /* of IMDS_SECRET bytes, for instances that have none of their own */
};

/* Appends the whole answer to out. *hops: the TTL that its packets must have, 0: any. */
void imds_answer(const struct imds *s, const struct web_request *r, struct buffer *out, u8 *hops);
/* An answer that has no more than a status, after which the connection is closed. */
void imds_refuse(const struct imds *s, int status, struct buffer *out);
/* Does what may need files, which a jail does not have. */
void imds_prepare(void);
