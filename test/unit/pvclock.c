#include "base/clock.h"
#include "machine/pvclock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct memory memory;
static struct pvclock p;
static struct cpu cpus[2];

static int setup(void **state)
{
	struct error e;

	memset(cpus, 0, sizeof(cpus));
	for (unsigned i = 0; i < 2; i++) {
		cpus[i].config.index = i;
		cpus[i].config.tsc_hz = clock_tsc_hz();
		atomic_store(&cpus[i].tsc_offset, 1000000);
	}
	assert_int_equal(memory_init(&memory, 4 * MiB, &e), 0);
	pvclock_init(&p, &memory);
	return 0;
}

static int teardown(void **state)
{
	memory_release(&memory);
	return 0;
}

static u64 scale(const struct pvclock_time *t, u64 tsc)
{
	u64 delta = tsc - t->tsc_timestamp;

	delta = t->tsc_shift < 0 ? delta >> -t->tsc_shift : delta << t->tsc_shift;
	return t->system_time + (u64)((unsigned __int128)delta * t->tsc_to_system_mul >> 32);
}

static void factor_is_exact_and_normal(void **state)
{
	static const u64 rates[] = {1000000,    500000000,  1000000000, 1000000001, 1999999999,
	                            2000000000, 2100000000, 2995200000, 5000000000};

	for (unsigned i = 0; i < ARRAY_SIZE(rates); i++) {
		struct pvclock_time t = {0};

		pvclock_scale(rates[i], &t.tsc_to_system_mul, &t.tsc_shift);
		assert_true(t.tsc_to_system_mul >> 31);
		u64 ns = scale(&t, rates[i] * 1000); /* a thousand seconds */
		assert_in_range(ns, 1000000000000 - 1000, 1000000000000);
	}
}

static void both_cpus_have_one_clock(void **state)
{
	struct pvclock_time t[2];

	for (unsigned i = 0; i < 2; i++) {
		assert_true(pvclock_msr_write(&p, &cpus[i], MSR_KVM_SYSTEM_TIME_NEW, (0x10000 + i * 64) | 1));
		memory_read(&memory, 0x10000 + i * 64, &t[i], sizeof(t[i]));
		assert_int_equal(t[i].version & 1, 0);
		assert_int_not_equal(t[i].version, 0);
		assert_int_equal(t[i].flags, PVCLOCK_TSC_STABLE);
	}
	assert_memory_equal(&t[0], &t[1], sizeof(t[0]));
	u64 before = clock_monotonic_ns(), a = scale(&t[0], cpu_guest_tsc(&cpus[0]));
	struct timespec ts = {.tv_nsec = 20000000};
	nanosleep(&ts, NULL);
	u64 b = scale(&t[1], cpu_guest_tsc(&cpus[1])), after = clock_monotonic_ns();
	assert_in_range(b - a, 19900000, after - before + 100000);
}

static void rewriting_bumps_the_version(void **state)
{
	u32 v0, v1;

	pvclock_msr_write(&p, &cpus[0], MSR_KVM_SYSTEM_TIME, 0x20000 | 1);
	memory_read(&memory, 0x20000, &v0, 4);
	pvclock_update(&p, &cpus[0]);
	memory_read(&memory, 0x20000, &v1, 4);
	assert_int_equal(v1, v0 + 2);
}

static void disabled_or_nowhere_writes_nothing(void **state)
{
	u32 version = 1;
	u64 v;

	assert_true(pvclock_msr_write(&p, &cpus[0], MSR_KVM_SYSTEM_TIME, 0x30000));
	memory_read(&memory, 0x30000, &version, 4);
	assert_int_equal(version, 0);
	assert_true(pvclock_msr_write(&p, &cpus[0], MSR_KVM_SYSTEM_TIME, (~0ULL & ~3ULL) | 1));
	assert_false(pvclock_msr_write(&p, &cpus[0], MSR_KVM_SYSTEM_TIME, 0x30002 | 1));
	assert_true(pvclock_msr_read(&p, &cpus[0], MSR_KVM_SYSTEM_TIME_NEW, &v));
	assert_true(v == ((~0ULL & ~3ULL) | 1));
	assert_false(pvclock_msr_read(&p, &cpus[0], 0x4b564d02, &v));
	assert_false(pvclock_msr_write(&p, &cpus[0], 0x4b564d02, 0));
}

static void wall_clock_is_boot_time(void **state)
{
	struct pvclock_wall w;
	struct pvclock_time t;

	pvclock_msr_write(&p, &cpus[0], MSR_KVM_WALL_CLOCK_NEW, 0x40000);
	pvclock_msr_write(&p, &cpus[0], MSR_KVM_SYSTEM_TIME_NEW, 0x40100 | 1);
	memory_read(&memory, 0x40000, &w, sizeof(w));
	memory_read(&memory, 0x40100, &t, sizeof(t));
	assert_int_equal(w.version & 1, 0);
	u64 before = clock_realtime_ns();
	u64 now = w.sec * 1000000000ULL + w.nsec + scale(&t, cpu_guest_tsc(&cpus[0]));
	assert_in_range(now, before - 50000000, clock_realtime_ns() + 50000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(factor_is_exact_and_normal),
	        cmocka_unit_test(both_cpus_have_one_clock),
	        cmocka_unit_test(rewriting_bumps_the_version),
	        cmocka_unit_test(disabled_or_nowhere_writes_nothing),
	        cmocka_unit_test(wall_clock_is_boot_time),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
