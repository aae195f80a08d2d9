/*
 * What an access key may do. The one place where that is asked is policy_check(), before an action runs.
 *
 * A policy is a text of lines "allow ACTION RESOURCE" and "deny ACTION RESOURCE". ACTION is a pattern of
 * service and action, "ec2:Describe*"; RESOURCE one of ids, "i-0123*". In patterns * stands for any text and
 * ? for one character; actions are compared without case, as in IAM. What no line allows is denied, and a
 * deny wins; the empty policy allows all. An allow with a RESOURCE other than * is for requests all of whose
 * ids match it; a deny for those of which any does.
 */
#pragma once

#include "region/action.h"

enum { POLICY_IDS = 1024 };

/* May it be done, with these resources? */
bool policy_allows(const char *policy, const char *action, const char *const *ids, unsigned count);

/* May the request's key do what it asks for? Its ids are all that look like some in r->in, and extra (NULL:
 * none). -1: UnauthorizedOperation. */
int policy_check(struct request *r, const char *service, const char *action, const char *extra);
