/*
 * Policies of access keys, as people write them: `read-only`, or a file in IAM's policy language, of which
 * are taken Statement, Effect, Action and Resource (ids, or ARNs that end in /id). What else IAM knows is
 * refused, not ignored.
 */
#pragma once

#include "base/buffer.h"
#include "base/error.h"

/* Appends its lines (region/policy.h). */
int policy_read(const char *name, struct buffer *lines, struct error *e);
