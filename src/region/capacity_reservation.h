/*
 * Capacity reservations (EC2 User Guide, "On-Demand Capacity Reservations"): room on hosts that is held for
 * instances of a type in a zone, by slots of one instance each (table capacity_slot). A slot takes its room
 * from the host when it is made; the instance that enters it has that room instead of its own, and gives it
 * back to the slot when it leaves. Instances that run when a reservation ends go on, in room of their own.
 *
 * Those that match "open" take every instance that fits and asks for no other; "targeted" ones that name
 * them.
 */
#pragma once

#include "region/schedule.h"

enum { CAPACITY_SLOTS_MAX = 1000 };

/* Puts the instance of the wish into a slot: 1, with the place; 0: no reservation takes it. -1: the one that
 * it names does not: InvalidCapacityReservationId.…, InvalidCapacityReservationState,
 * InvalidParameterCombination, ReservationCapacityExceeded. */
int capacity_enter(struct request *r, const struct schedule_wish *w, struct schedule_place *place);
/* The instance has given its room back to the host. */
void capacity_leave(struct request *r, const char *instance);
/* Ends those whose time is over; r is of no account. */
void capacity_expire(struct request *r);

/* Reads a CapacityReservationSpecification (NULL: none) into the wish. -1: InvalidParameterCombination, … */
int capacity_read(struct request *r, const struct value *spec, struct schedule_wish *w);
/* The same of an instance's document; and what that says of it. */
void capacity_of_instance(const struct value *doc, struct schedule_wish *w);
void capacity_show(struct value *doc, const struct schedule_wish *w, const struct schedule_place *place);
