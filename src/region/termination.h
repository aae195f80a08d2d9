/*
 * Instances that are terminated: they are shown for an hour (EC2 User Guide, "Terminate an instance"), then
 * their records go. What they used stays (usage.h). So do capacity reservations that have ended.
 *
 * Table termination has when each was, by time: finding those that are due looks at no other instance.
 */
#pragma once

#include "region/resource.h"

enum { TERMINATION_SHOWN_MS = 3600 * 1000, TERMINATION_BATCH = 200 };

/* It is terminated from now on. Again: nothing. */
void termination_note(struct request *r, const char *instance);
/* Removes what is left of those whose hour is over, as many as a batch; r is of no account. True: there may
 * be more. */
bool termination_purge(struct request *r);
