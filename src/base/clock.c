#include "base/clock.h"

#include <pthread.h>
#include <time.h>

static u64 clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (u64)ts.tv_sec * 1000000000ULL + (u64)ts.tv_nsec;
}

u64 clock_monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

u64 clock_realtime_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

u64 clock_boot_ns(void)
{
	return clock_ns(CLOCK_BOOTTIME);
}

static u64 tsc_hz;

/* The pair (ns, tsc) of the tightest of a few readings, so that a preemption in between does not count. */
static void tsc_sample(u64 *ns, u64 *tsc)
{
	u64 best = ~0ULL;

	for (int i = 0; i < 16; i++) {
		u64 before = clock_tsc();
		u64 now = clock_monotonic_ns();
		u64 after = clock_tsc();

		if (after - before < best) {
			best = after - before;
			*ns = now;
			*tsc = before + best / 2;
		}
	}
}

static void tsc_measure(void)
{
	u64 ns0 = 0, tsc0 = 0, ns1 = 0, tsc1 = 0;

	tsc_sample(&ns0, &tsc0);
	nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	tsc_sample(&ns1, &tsc1);
	tsc_hz = muldiv64(tsc1 - tsc0, 1000000000ULL, ns1 - ns0);
	/* Calibrations differ by some ppm; round to kHz, the unit in which guests are told. */
	tsc_hz = (tsc_hz + 500) / 1000 * 1000;
}

u64 clock_tsc_hz(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, tsc_measure);
	return tsc_hz;
}
