/* The slots of a capacity reservation (capacity_reservation.h), for its actions. */
#pragma once

#include "region/schedule.h"

/* Puts the instance of the wish into a free slot of the reservation that it names, or of any open one that
 * fits. False: there is none. */
bool capacity_slot_enter(struct request *r, const struct schedule_wish *w, struct schedule_place *place);
/* How many are used, or free. */
s64 capacity_slots(struct request *r, const char *reservation, bool used);
/* -1: InsufficientInstanceCapacity; some may have been made. */
int capacity_slots_add(struct request *r, const char *reservation, const struct schedule_wish *w, s64 count);
/* As many free ones as there are, at most count; their room goes back to the hosts. */
void capacity_slots_drop(struct request *r, const char *reservation, s64 count);
