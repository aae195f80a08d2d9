/*
 * What was asked and how it was answered, since the process began: for metrics. Memory is bounded: what would
 * be one kind of answer too many counts as "other".
 */
#pragma once

#include "base/histogram.h"

enum { TRAFFIC_ACTIONS = 1024, TRAFFIC_CODES = 4096, TRAFFIC_SLOTS = 8192 };

struct traffic_action {
	char service[16], action[80];
	struct histogram latency;
};

struct traffic_code {
	const struct traffic_action *of;
	char code[64];
	u64 count;
};

struct traffic {
	struct traffic_action *actions[TRAFFIC_ACTIONS];
	struct traffic_code *codes[TRAFFIC_CODES];
	u16 action_slots[TRAFFIC_SLOTS], code_slots[TRAFFIC_SLOTS]; /* hashed: index + 1 */
	unsigned action_count, code_count;
};

/* NULL: no memory. */
struct traffic *traffic_new(void);
void traffic_free(struct traffic *t);
/* code: of the error, "OK" without one. */
void traffic_add(struct traffic *t, const char *service, const char *action, const char *code, u64 ns);
