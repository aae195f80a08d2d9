/*
 * A bus: an address space of regions, each with read and write functions. A board has two: ports and MMIO.
 *
 * Regions may be added, moved and removed while vCPUs run (PCI BARs move). An access looks the region up
 * under the bus's read lock, holds the region in use, drops that lock and then calls the function under the
 * region's own lock: so a device needs no locking of its own for register accesses, and its functions may
 * themselves add and unmap regions of any bus. The bus lock is a leaf: nothing is called with it held.
 *
 * Unclaimed reads give all ones; unclaimed writes vanish. An access that is not wholly in one region, or is
 * wider than the region takes, is made as smaller accesses, lowest address first. Regions must not overlap:
 * bus_add refuses with -1.
 *
 * Lock order: device -> interrupt controllers.
 */
#pragma once

#include "base/types.h"

#include <pthread.h>

struct bus_ops {
	/* offset is within the region; size 1, 2, 4 or 8; an access never leaves the region. */
	u64 (*read)(void *ctx, u64 offset, unsigned size);
	void (*write)(void *ctx, u64 offset, unsigned size, u64 value);
};

struct bus_region {
	const char *name;
	u64 base, size;
	const struct bus_ops *ops;
	void *ctx;
	pthread_mutex_t *lock; /* taken around ops; NULL: the device locks itself */
	unsigned max_size;     /* widest access the functions take: 1, 2, 4 or 8; 0 is 8 */
	bool mapped;           /* the bus's own */
	_Atomic u32 users;     /* the bus's own: accesses under way */
};

struct bus; /* opaque: machine/bus.c */

struct bus *bus_new(void);
void bus_free(struct bus *b);

/* The region is the caller's and must stay until bus_remove(). */
int bus_add(struct bus *b, struct bus_region *r);
/* No access starts any more, but one may still be under way; the region may be added again, elsewhere. */
void bus_unmap(struct bus *b, struct bus_region *r);
/* The same, and waits for accesses under way: then the region may be freed. Never from within its own
 * functions, nor with its lock held. */
void bus_remove(struct bus *b, struct bus_region *r);

u64 bus_read(struct bus *b, u64 addr, unsigned size);
void bus_write(struct bus *b, u64 addr, unsigned size, u64 value);
