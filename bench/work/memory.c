/* Memory: copies, sums, chains of pointers. */
#include "work.h"

#include <stdlib.h>
#include <string.h>

enum { COPY = 64 << 20, WORDS = 1 << 20, LINE = 64 };

static u8 *from, *to;

static void copy_setup(void)
{
	from = malloc(COPY);
	to = malloc(COPY);
	if (!from || !to)
		die("no memory");
	for (size_t i = 0; i < COPY; i++)
		from[i] = (u8)(i * 13 + (i >> 12));
	memset(to, 1, COPY);
}

static void copy_release(void)
{
	free(from);
	free(to);
}

static u64 copy_unit(void)
{
	u64 sum = 0;

	memcpy(to, from, COPY);
	opaque(to);
	for (size_t i = 0; i < COPY; i += 1 << 20)
		sum = mix(sum, to[i + 4095]);
	return sum;
}

static u64 *words;

static void sum_setup(void)
{
	words = malloc(WORDS * sizeof(*words));
	if (!words)
		die("no memory");
	for (size_t i = 0; i < WORDS; i++)
		words[i] = i * i;
}

static void sum_release(void)
{
	free(words);
}

/* One load and one addition each: the barrier keeps it scalar. */
static u64 sum_unit(void)
{
	u64 s = 0;

	for (size_t i = 0; i < WORDS; i++) {
		s += words[i];
		__asm__ volatile("" : "+r"(s));
	}
	return s;
}

/* A ring through all lines of an area, in an order that no prefetcher knows. */
static void **ring(size_t size)
{
	size_t count = size / LINE;
	u8 *area = aligned_alloc(4096, size);
	u32 *order = malloc(count * sizeof(*order)), state = 3;

	if (!area || !order)
		die("no memory");
	for (u32 i = 0; i < count; i++)
		order[i] = i;
	for (size_t i = count - 1; i > 0; i--) {
		size_t k = (next_random(&state) >> 8) % i;
		u32 swap = order[i];

		order[i] = order[k];
		order[k] = swap;
	}
	for (size_t i = 0; i < count; i++)
		*(void **)(area + (size_t)order[i] * LINE) = area + (size_t)order[(i + 1) % count] * LINE;
	free(order);
	return (void **)area;
}

/* Whole rounds: it ends where it began. */
__attribute__((noinline)) static u64 chase(void **from_here, size_t steps)
{
	void **p = from_here;

	for (size_t i = 0; i < steps; i++)
		p = *p;
	return (u64)((u8 *)p - (u8 *)from_here) + 1;
}

static void **start;

static void small_setup(void)
{
	start = ring(16 << 10);
}

static void large_setup(void)
{
	start = ring(1 << 20);
}

static u64 chase_unit(void)
{
	return chase(start, 1 << 20);
}

static void chase_release(void)
{
	free(start);
}

const struct row rows_memory[] = {
        {.name = "memcpy", .setup = copy_setup, .unit = copy_unit, .release = copy_release},
        {.name = "sum64", .setup = sum_setup, .unit = sum_unit, .release = sum_release},
        {.name = "chase-16k", .setup = small_setup, .unit = chase_unit, .release = chase_release},
        {.name = "chase-1m", .setup = large_setup, .unit = chase_unit, .release = chase_release},
        {0},
};
