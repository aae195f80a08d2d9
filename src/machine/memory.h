/*
 * Guest memory: one memfd, mapped once, seen by the guest in two pieces around the hole below 4 GiB
 * (MEMORY_HOLE_START … 4 GiB), and ROM slots for firmware. 0xa0000–0xbffff is a hole too (no VGA: reads
 * ones).
 *
 * All accessors check the whole range and refuse it (-1, NULL) if any byte is outside of RAM: devices turn
 * that into what their hardware would do. Any thread. Devices never keep a pointer past the request it
 * belongs to.
 */
#pragma once

#include "base/error.h"
#include "base/types.h"
#include "cpu/physmem.h"

#define MEMORY_HOLE_START 0xc0000000ULL
#define MEMORY_MIN        (2 * MiB)
#define MEMORY_MAX        (512 * GiB)

struct memory {
	struct physmem phys;
	u64 size; /* RAM bytes as configured */
	int memfd;
	u8 *map;
	u64 map_size;
	void *page_map; /* backing of phys.page */
	u64 page_map_size;
};

int memory_init(struct memory *m, u64 size, struct error *e);
void memory_release(struct memory *m);

/* A ROM of size bytes (multiple of 4 KiB) that ends at gpa + size; content is copied. Before vCPUs run. */
int memory_add_rom(struct memory *m, u64 gpa, const void *content, u64 size, struct error *e);

/* All RAM to zero, cheaply (pages are given back). For a machine reset; no vCPU may run. */
void memory_zero(struct memory *m);

int memory_read(const struct memory *m, u64 gpa, void *buf, size_t len);
int memory_write(const struct memory *m, u64 gpa, const void *buf, size_t len);
int memory_fill(const struct memory *m, u64 gpa, u8 value, size_t len);
/* As memory_write(), where memory is known to be zero (at power-on, after memory_zero()): pages that stay zero are
 * not touched, so the host need not have them, and the others are neither cleared nor mapped before the guest uses
 * them. */
int memory_load(const struct memory *m, u64 gpa, const void *buf, size_t len);

/* Host address of a contiguous range for I/O in place, or NULL if it is not all RAM (ROM counts as not).
 * After the host has written there, memory_written() must be called before the guest learns of it. */
void *memory_range(const struct memory *m, u64 gpa, u64 len);
static inline void memory_written(const struct memory *m, u64 gpa, u64 len)
{
	physmem_written(&m->phys, gpa, len);
}

/* RAM below the hole and from 4 GiB up, in bytes. */
u64 memory_low_size(const struct memory *m);
u64 memory_high_size(const struct memory *m);
