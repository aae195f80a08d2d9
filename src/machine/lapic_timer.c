/*
 * Theory of operation: while a count runs, expiry_ns says when it reaches 0; the current count is derived
 * from it. An alarm of the loop fires there, but any access that sees the expiry passed handles it first, so
 * that a guest never reads a count of 0 before its interrupt. All functions but alarm_fired() have the APIC's
 * lock.
 */
#include "machine/lapic.h"
#include "base/clock.h"

enum timer_mode { ONE_SHOT, PERIODIC, TSC_DEADLINE };

/* A guest that asks for more interrupts than this cannot take them, and would keep the loop from its work. */
#define ALARM_MIN_NS 20000ULL
/* Waits are cut here, and looked at again: an hour. */
#define ALARM_MAX_NS (3600 * 1000000000ULL)

static enum timer_mode mode_of(u32 lvt)
{
	return lvt >> 17 & 3;
}

static u64 divisor_of(u32 tdcr)
{
	unsigned v = (tdcr & 3) | (tdcr >> 1 & 4);

	return v == 7 ? 1 : 2ULL << v;
}

/* Time until the guest's TSC reaches its deadline; 0 if it has. */
static u64 deadline_left_ns(const struct lapic *l)
{
	u64 tsc = cpu_guest_tsc(l->cpu);
	u64 hz = l->cpu->config.tsc_hz;

	if (tsc >= l->timer.deadline)
		return 0;
	u64 left = l->timer.deadline - tsc;
	if (left / hz >= ALARM_MAX_NS / 1000000000ULL)
		return ALARM_MAX_NS;
	return muldiv64(left, 1000000000ULL, hz) + 1;
}

static void arm(struct lapic *l, u64 now)
{
	struct lapic_timer *t = &l->timer;

	if (!t->running) {
		loop_timer_disarm(&t->alarm);
		return;
	}
	u64 at = t->expiry_ns;
	if (mode_of(l->lvt[LVT_TIMER]) == PERIODIC && at < now + ALARM_MIN_NS)
		at = now + ALARM_MIN_NS;
	loop_timer_arm(&t->alarm, at);
}

/* Handles an expiry that is due. */
static void expire(struct lapic *l, u64 now)
{
	struct lapic_timer *t = &l->timer;

	if (!t->running || now < t->expiry_ns)
		return;
	switch (mode_of(l->lvt[LVT_TIMER])) {
	case TSC_DEADLINE: {
		u64 left = deadline_left_ns(l);

		if (left) { /* rounding, or a cut wait */
			t->expiry_ns = now + left;
			arm(l, now);
			return;
		}
		t->deadline = 0;
		t->running = false;
		break;
	}
	case PERIODIC:
		/* Periods that passed unseen make one interrupt, as they would in IRR. */
		t->expiry_ns += (1 + (now - t->expiry_ns) / t->period_ns) * t->period_ns;
		break;
	default:
		t->running = false;
	}
	arm(l, now);
	lapic_local_interrupt(l, LVT_TIMER);
}

static void alarm_fired(void *ctx)
{
	struct lapic *l = ctx;

	pthread_mutex_lock(&l->lock);
	u64 now = clock_monotonic_ns();
	if (l->timer.running && now < l->timer.expiry_ns)
		arm(l, now);
	expire(l, now);
	pthread_mutex_unlock(&l->lock);
}

int lapic_timer_init(struct lapic *l, struct loop *loop, struct error *e)
{
	return loop_timer_init(loop, &l->timer.alarm, alarm_fired, l, e);
}

static void stop(struct lapic *l)
{
	l->timer.running = false;
	l->timer.deadline = 0;
	loop_timer_disarm(&l->timer.alarm);
}

void lapic_timer_reset(struct lapic *l)
{
	stop(l);
}

void lapic_timer_start(struct lapic *l)
{
	struct lapic_timer *t = &l->timer;
	u64 now = clock_monotonic_ns();

	if (!l->tmict) {
		stop(l);
		return;
	}
	t->period_ns = l->tmict * divisor_of(l->tdcr);
	t->expiry_ns = now + t->period_ns;
	t->running = true;
	arm(l, now);
}

void lapic_timer_divide(struct lapic *l, u32 old_tdcr)
{
	struct lapic_timer *t = &l->timer;
	u64 from = divisor_of(old_tdcr), to = divisor_of(l->tdcr);
	u64 now = clock_monotonic_ns();

	if (from == to || mode_of(l->lvt[LVT_TIMER]) == TSC_DEADLINE)
		return;
	expire(l, now);
	t->period_ns = l->tmict * to;
	if (t->running) {
		t->expiry_ns = now + (t->expiry_ns - now) / from * to;
		arm(l, now);
	}
}

void lapic_timer_mode(struct lapic *l, u32 old_lvt)
{
	enum timer_mode from = mode_of(old_lvt), to = mode_of(l->lvt[LVT_TIMER]);

	/* 10.5.4.1: a change into or out of TSC-deadline mode disarms; among the others the count goes on. */
	if (from != to && (from == TSC_DEADLINE || to == TSC_DEADLINE)) {
		stop(l);
		if (to == TSC_DEADLINE)
			l->tmict = 0;
	}
}

u32 lapic_timer_count(struct lapic *l)
{
	struct lapic_timer *t = &l->timer;
	u64 now = clock_monotonic_ns();

	if (mode_of(l->lvt[LVT_TIMER]) == TSC_DEADLINE)
		return 0;
	expire(l, now);
	if (!t->running)
		return 0;
	return (u32)min((t->expiry_ns - now + divisor_of(l->tdcr) - 1) / divisor_of(l->tdcr), (u64)l->tmict);
}

u64 lapic_timer_deadline(const struct lapic *l)
{
	return mode_of(l->lvt[LVT_TIMER]) == TSC_DEADLINE ? l->timer.deadline : 0;
}

void lapic_timer_set_deadline(struct lapic *l, u64 tsc)
{
	struct lapic_timer *t = &l->timer;
	u64 now = clock_monotonic_ns();

	if (mode_of(l->lvt[LVT_TIMER]) != TSC_DEADLINE)
		return;
	if (!tsc) {
		stop(l);
		return;
	}
	t->deadline = tsc;
	t->running = true;
	t->expiry_ns = now + deadline_left_ns(l);
	if (t->expiry_ns == now)
		expire(l, now);
	else
		arm(l, now);
}
