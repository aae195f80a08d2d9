/*
 * How many instances there are in each state, of each type, in each zone: a row for each that is not
 * terminated, written in the transaction of the change, so that counting reads no documents.
 */
#pragma once

#include "region/resource.h"

/* It is in this state now, with the type and zone of its document. To be called when any of these changes. */
void tally_enter(struct request *r, const struct resource *instance, unsigned state);

struct tally {
	const char *state, *type, *zone;
	s64 count;
};
/* The greatest first; what is said is good until fn returns. */
void tally_each(struct cloud *c, void (*fn)(void *ctx, const struct tally *t), void *ctx);
