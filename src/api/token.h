/*
 * Idempotency (EC2 API Reference, "Ensuring idempotency"): a request with a ClientToken that was done before
 * answers as it did then; with other parameters it is refused.
 */
#pragma once

#include "region/action.h"

/* How long tokens are remembered. */
enum { TOKEN_AGE_MS = 48 * 3600 * 1000 };

/* *again: r->out is the earlier answer. -1: IdempotentParameterMismatch. */
int token_find(struct request *r, bool *again);
void token_store(struct request *r);
