/*
 * Time: CLOCK_MONOTONIC in nanoseconds, and the host's time-stamp counter with its rate. Any thread.
 */
#pragma once

#include "base/types.h"

u64 clock_monotonic_ns(void);
u64 clock_realtime_ns(void);
/* Since the host was booted, suspension included; nobody sets it. */
u64 clock_boot_ns(void);

static inline u64 clock_tsc(void)
{
	u32 lo, hi;
	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (u64)hi << 32 | lo;
}

/* Rate of the host's TSC in Hz: measured once per process against CLOCK_MONOTONIC (about 20 ms), then kept.
 */
u64 clock_tsc_hz(void);

/* a * mul / div without overflow in between. */
static inline u64 muldiv64(u64 a, u64 mul, u64 div)
{
	return (u64)((unsigned __int128)a * mul / div);
}
