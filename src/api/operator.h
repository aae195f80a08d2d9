/*
 * The operators' service: what EC2's API has no action for. At the same endpoint, signed like any other
 * request (Signature V4, service name "insula"), parameters as in AWS's query protocol (Action, Version
 * 2026-01-01), answers and errors in JSON. With curl:
 *
 *   curl --aws-sigv4 aws:amz:us-east-1:insula --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \
 *        -d 'Action=GetUsage&By=type' "$AWS_ENDPOINT_URL"
 *
 *   GetUsage   By=instance|type|owner|day (instance), StartTime, EndTime (ISO 8601), NextToken: usage.h.
 *              Keys of the region's own account see all owners, others theirs.
 *   GetCpuCredits  InstanceId, one of the caller's: cpu_credit.h.
 *   ListHosts  NextToken: host_health.h. This and what follows: keys of the region's own account only.
 *   SilenceHost, WakeHost   HostId: a simulated host stops answering, or answers again.
 */
#pragma once

#include "api/form.h"
#include "base/buffer.h"
#include "region/action.h"

#define OPERATOR_SERVICE "insula"

/* The name of the action, NULL if there is none of that name. */
const char *operator_action(const struct form *form);
/* Does what the request asks for, and writes the answer; -1 with r->fault. r has its account. */
int operator_perform(struct request *r, const struct form *form, struct buffer *answer);
