/*
 * Replacing the root volume of an instance (EC2 User Guide, "Replace a root volume"): a task makes a new
 * volume, and when its file is there, reboots the instance; between the end of the machine and its next start
 * the volumes are exchanged, in the transaction that says that it is to start. Tasks that are not done have a
 * row in the table root_replacement. An instance on a simulated host has its new volume at once.
 */
#pragma once

#include "region/resource.h"

/* Has instances rebooted whose new volumes are ready; one round of the agent. r is of no account. */
void root_volume_run(struct request *r);
/* The machine of the instance has ended: nothing writes to its volumes. The document is changed and stored;
 * nothing if no new volume is ready. */
void root_volume_exchange(struct request *r, struct resource *instance);
/* It ends for ever. */
void root_volume_give_up(struct request *r, const char *instance);
