/*
 * The work of the bench: one program, `bench-work`, that runs natively and as the init of a guest.
 *
 * A row is one kind of work. Its unit is small and always the same, and gives a checksum that depends on
 * nothing but the work done: the program compares it from unit to unit, bench/run from machine to machine.
 * All rows share a process; large memory is given back by release, as it would make fork slower.
 */
#pragma once

#include <stdint.h>
#include <stddef.h>

typedef uint64_t u64;
typedef uint32_t u32;
typedef uint16_t u16;
typedef uint8_t u8;

struct row {
	const char *name;
	void (*setup)(void); /* or NULL; not measured */
	u64 (*unit)(void);
	void (*release)(void); /* or NULL: before another row's setup */
	u64 (*check)(void);    /* or NULL: after the last unit, not measured; takes the checksum's place */
};

/* Each ends with a row without a name. */
extern const struct row rows_integer[], rows_vector[], rows_memory[], rows_crypto[], rows_kernel[],
        rows_tool[];

/* Prints why, and ends the program: a row that cannot be measured. */
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);

/* Keeps the compiler from knowing what is in memory. */
static inline void opaque(void *p)
{
	__asm__ volatile("" : "+r"(p) : : "memory");
}

static inline u64 mix(u64 sum, u64 value)
{
	return (sum ^ value) * 0x9e3779b97f4a7c15;
}

/* A generator of our own: the same numbers everywhere. */
static inline u32 next_random(u32 *state)
{
	return *state = *state * 1664525 + 1013904223;
}
