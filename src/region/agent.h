/*
 * The agent of this host: makes what is wanted of its machines true, and notices what happens to them.
 *
 * It runs between requests, on the thread that has the database. Each step looks at a machine's row and at
 * its folder (host/hosted.h), does one thing in the world, and writes down what is; all of it can be done
 * twice, so being killed between any two of these loses nothing. Guests that shut down are stopped or
 * terminated, as their InstanceInitiatedShutdownBehavior says; machines that crash are stopped.
 */
#pragma once

#include "base/histogram.h"
#include "region/block_file.h"
#include "region/cloud.h"
#include "region/usage.h"

struct agent {
	struct cloud *cloud;
	const char *accel, *engine; /* what machines are started with; NULL: the default */
	const char *firmware;       /* for disks that boot by themselves; NULL: where it is found */
	unsigned keep_usage_days;   /* 0: for ever */
	const char *cgroup;         /* the control group of all machines (cgroup.h); NULL: without, why */
	const char *no_cgroup;
	struct network_agent *network; /* NULL: machines have no interfaces */
	struct volume_plug *plug;      /* NULL: machines are given no volumes while they run */
	s64 host_timeout_ms;           /* after which a host that does not answer is lost */

	/* Its own: when machines were last looked after before this process, until the first round is over.
	 */
	bool begun, settle; /* settle: this round brings CPU credits up to date */
	struct usage_mark last_beat;
	u64 next_beat_ns, next_purge_ns, next_hour_ns;
	struct histogram rounds; /* how long they took */
	u64 round_ns;            /* end of the last one, CLOCK_MONOTONIC; 0: there was none */
	s64 looked_ms;           /* when the last round was */
	struct block_jobs jobs;
};

/* Milliseconds between two looks at the machines that run. */
enum { AGENT_PERIOD_MS = 200 };
/* Between two presses of the power button of a machine that does not stop: a guest that is still booting has
 * nobody who hears the first. */
enum { AGENT_PRESS_MS = 3000 };

/* One round over all machines of this host. */
void agent_run(struct agent *a);

/* The folder of an instance's machine. */
const char *agent_folder(const struct cloud *c, char *buf, size_t size, const char *instance);
