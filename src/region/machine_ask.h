/*
 * Machines that are asked for something while they run, which may take its time: each by a thread of its own,
 * some at a time. What is asked and what comes of it is the caller's (network_plug.h, volume_plug.h).
 * Functions are for the caller's thread.
 */
#pragma once

#include "base/types.h"

#include <pthread.h>

struct machine_asks {
	void (*done)(void *ctx); /* from a thread, when a machine has answered */
	void *ctx;
	pthread_mutex_t lock;
	pthread_cond_t idle;
	unsigned threads;
	bool end;
};

/* One that is being asked, or was. `ask` runs in the thread, and nobody else touches what it looks at until it
 * has returned `status`. */
struct machine_ask {
	int (*ask)(struct machine_ask *a);
	struct machine_asks *all;
	bool begun, finished;
	int status;
};

void machine_asks_init(struct machine_asks *all, void (*done)(void *ctx), void *ctx);
/* Waits for those that are under way. done is not called any more. */
void machine_asks_end(struct machine_asks *all);

/* False: not now, as there are too many. Else a->begun, until the caller has looked at the answer. */
bool machine_ask_begin(struct machine_ask *a);
/* Is it under way? */
bool machine_ask_is_busy(struct machine_ask *a);
