#include "machine/rtc.h"
#include "base/clock.h"

#include <string.h>
#include <time.h>

#define NS 1000000000LL
/* UIP rises 244 µs before the update, which takes 1984 µs; both lie at the end of a second here. */
#define UIP_NS (244000 + 1984000)

/* ---- time registers ---- */

static u8 encode(const struct rtc *r, int v)
{
	return (u8)(r->cmos[RTC_B] & RTC_B_BINARY ? v : v / 10 % 10 << 4 | v % 10);
}

static int decode(const struct rtc *r, u8 v)
{
	return r->cmos[RTC_B] & RTC_B_BINARY ? v : (v >> 4) * 10 + (v & 0xf);
}

static u8 encode_hour(const struct rtc *r, int hour)
{
	if (r->cmos[RTC_B] & RTC_B_24H)
		return encode(r, hour);
	return encode(r, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? 0x80 : 0);
}

static int decode_hour(const struct rtc *r, u8 v)
{
	if (r->cmos[RTC_B] & RTC_B_24H)
		return decode(r, v);
	return decode(r, v & 0x7f) % 12 + (v & 0x80 ? 12 : 0);
}

static s64 clock_time(const struct rtc *r, u64 now)
{
	return (s64)now + r->offset_ns;
}

static s64 floor_div(s64 a, s64 b)
{
	return a / b - (a % b < 0);
}

/* Brings the time cells up to date. */
static void show_time(struct rtc *r, u64 now)
{
	time_t seconds = floor_div(clock_time(r, now), NS);
	struct tm tm;

	if (r->frozen)
		return;
	gmtime_r(&seconds, &tm);
	r->cmos[RTC_SECONDS] = encode(r, tm.tm_sec);
	r->cmos[RTC_MINUTES] = encode(r, tm.tm_min);
	r->cmos[RTC_HOURS] = encode_hour(r, tm.tm_hour);
	r->cmos[RTC_WEEKDAY] = encode(r, tm.tm_wday + 1);
	r->cmos[RTC_DAY] = encode(r, tm.tm_mday);
	r->cmos[RTC_MONTH] = encode(r, tm.tm_mon + 1);
	r->cmos[RTC_YEAR] = encode(r, (tm.tm_year + 1900) % 100);
	r->cmos[CMOS_CENTURY] = encode(r, (tm.tm_year + 1900) / 100);
}

/* Nanoseconds since 1970 have room for some 290 years either way. */
#define SECONDS_MAX 8000000000LL

/* The time cells as seconds since 1970; nonsense is carried over into the next field. */
static s64 read_cells(const struct rtc *r)
{
	struct tm tm = {
	        .tm_sec = decode(r, r->cmos[RTC_SECONDS]),
	        .tm_min = decode(r, r->cmos[RTC_MINUTES]),
	        .tm_hour = decode_hour(r, r->cmos[RTC_HOURS]),
	        .tm_mday = decode(r, r->cmos[RTC_DAY]),
	        .tm_mon = decode(r, r->cmos[RTC_MONTH]) - 1,
	        .tm_year = decode(r, r->cmos[CMOS_CENTURY]) * 100 + decode(r, r->cmos[RTC_YEAR]) - 1900,
	};

	s64 seconds = timegm(&tm);

	return seconds > SECONDS_MAX ? SECONDS_MAX : max(seconds, -SECONDS_MAX);
}

static void set_clock(struct rtc *r, s64 time_ns, u64 now)
{
	r->offset_ns = time_ns - (s64)now;
	r->seen_ns = now;
}

void rtc_set_time(struct rtc *r, u64 time_ns, u64 now)
{
	pthread_mutex_lock(&r->lock);
	set_clock(r, (s64)time_ns, now);
	pthread_mutex_unlock(&r->lock);
}

static bool divider_reset(const struct rtc *r)
{
	return (r->cmos[RTC_A] & 0x60) == 0x60;
}

/* After a write to A or B: stop or start the clock. */
static void freeze(struct rtc *r, u64 now)
{
	bool freeze_now = (r->cmos[RTC_B] & RTC_B_SET) || divider_reset(r);

	if (freeze_now && !r->frozen) {
		show_time(r, now);
		s64 t = clock_time(r, now);
		r->fraction_ns = t - floor_div(t, NS) * NS;
		r->frozen = true;
	}
	/* The first update comes half a second after the divider starts. */
	if (divider_reset(r))
		r->fraction_ns = NS / 2;
	if (!freeze_now && r->frozen) {
		r->frozen = false;
		set_clock(r, read_cells(r) * NS + r->fraction_ns, now);
	}
}

/* ---- flags ---- */

/* Periodic rate in ticks of 32768 Hz, 0 for none. */
static u64 period_ticks(const struct rtc *r)
{
	unsigned rate = r->cmos[RTC_A] & 0xf;

	if (rate == 0 || divider_reset(r))
		return 0;
	return rate <= 2 ? 64ULL << rate : 1ULL << (rate - 1);
}

static u64 to_ticks(u64 ns)
{
	return muldiv64(ns, 32768, NS);
}

static bool alarm_cell(const struct rtc *r, unsigned cell, int value)
{
	u8 v = r->cmos[cell];

	return (v & 0xc0) == 0xc0 || (cell == RTC_HOURS_ALARM ? decode_hour(r, v) : decode(r, v)) == value;
}

static bool alarm_matches(const struct rtc *r, s64 second)
{
	int in_day = (int)(second - floor_div(second, 86400) * 86400);

	return alarm_cell(r, RTC_SECONDS_ALARM, in_day % 60) &&
	       alarm_cell(r, RTC_MINUTES_ALARM, in_day / 60 % 60) &&
	       alarm_cell(r, RTC_HOURS_ALARM, in_day / 3600);
}

/* Sets the flags of all that happened since the last look. */
static void catch_up(struct rtc *r, u64 now)
{
	u64 from = r->seen_ns, period = period_ticks(r);

	if (now <= from)
		return;
	r->seen_ns = now;
	if (period && to_ticks(from) / period != to_ticks(now) / period)
		r->cmos[RTC_C] |= RTC_C_PF;
	if (r->frozen)
		return;
	s64 first = floor_div(clock_time(r, from), NS) + 1, last = floor_div(clock_time(r, now), NS);
	if (first > last)
		return;
	r->cmos[RTC_C] |= RTC_C_UF;
	/* The pattern of a day repeats. */
	for (s64 s = max(first, last - 86399); s <= last && !(r->cmos[RTC_C] & RTC_C_AF); s++)
		if (alarm_matches(r, s))
			r->cmos[RTC_C] |= RTC_C_AF;
}

/* The line and the alarm follow from registers B and C. */
static void update(struct rtc *r, u64 now)
{
	u8 enabled = r->cmos[RTC_B] & 0x70;
	u8 missing = enabled & (u8)~r->cmos[RTC_C];
	u64 at = ~0ULL, period = period_ticks(r);

	r->cmos[RTC_C] &= 0x7f;
	if (enabled & r->cmos[RTC_C])
		r->cmos[RTC_C] |= RTC_C_IRQF;
	irq_set(&r->irq, r->cmos[RTC_C] & RTC_C_IRQF);

	if ((missing & RTC_B_PIE) && period)
		at = muldiv64((to_ticks(now) / period + 1) * period, NS, 32768) + 1;
	if ((missing & (RTC_B_AIE | RTC_B_UIE)) && !r->frozen) {
		s64 t = clock_time(r, now);
		u64 second = now + (u64)((floor_div(t, NS) + 1) * NS - t);

		at = min(at, second);
	}
	if (at == ~0ULL)
		loop_timer_disarm(&r->alarm);
	else
		loop_timer_arm(&r->alarm, at);
}

static void alarm_fired(void *ctx)
{
	struct rtc *r = ctx;
	u64 now = clock_monotonic_ns();

	pthread_mutex_lock(&r->lock);
	catch_up(r, now);
	update(r, now);
	pthread_mutex_unlock(&r->lock);
}

/* ---- ports ---- */

static bool is_time(unsigned cell)
{
	return cell == CMOS_CENTURY || (cell <= RTC_YEAR && cell != RTC_SECONDS_ALARM &&
	                                cell != RTC_MINUTES_ALARM && cell != RTC_HOURS_ALARM);
}

static u8 read_cell(struct rtc *r, unsigned cell, u64 now)
{
	u8 value;

	if (is_time(cell))
		show_time(r, now);
	value = r->cmos[cell];
	if (cell == RTC_A) {
		s64 t = clock_time(r, now);

		value &= 0x7f;
		if (!r->frozen && (floor_div(t, NS) + 1) * NS - t <= UIP_NS)
			value |= RTC_A_UIP;
	} else if (cell == RTC_C) {
		catch_up(r, now);
		update(r, now); /* so that IRQF is right even before the alarm was seen */
		value = r->cmos[RTC_C];
		r->cmos[RTC_C] = 0;
		update(r, now);
	}
	return value;
}

static void write_cell(struct rtc *r, unsigned cell, u8 value, u64 now)
{
	catch_up(r, now);
	switch (cell) {
	case RTC_C:
	case RTC_D:
		return;
	case RTC_A:
		value &= 0x7f;
		break;
	case RTC_B:
		show_time(r, now);
		if (value & RTC_B_SET)
			value &= (u8)~RTC_B_UIE;
		break;
	}
	if (is_time(cell)) {
		show_time(r, now);
		r->cmos[cell] = value;
		if (!r->frozen) {
			s64 t = clock_time(r, now);

			set_clock(r, read_cells(r) * NS + (t - floor_div(t, NS) * NS), now);
		}
	} else {
		r->cmos[cell] = value;
	}
	if (cell == RTC_A || cell == RTC_B)
		freeze(r, now);
	update(r, now);
}

u8 rtc_read(struct rtc *r, u16 port, u64 now)
{
	unsigned bank = port >> 1 & 1;
	u8 value;

	pthread_mutex_lock(&r->lock);
	if (!(port & 1))
		value = bank ? r->index[1] : 0xff; /* the index at 0x70 is write-only */
	else
		value = read_cell(r, r->index[bank] + bank * 128, now);
	pthread_mutex_unlock(&r->lock);
	return value;
}

void rtc_write(struct rtc *r, u16 port, u8 value, u64 now)
{
	unsigned bank = port >> 1 & 1;

	pthread_mutex_lock(&r->lock);
	if (port & 1)
		write_cell(r, r->index[bank] + bank * 128, value, now);
	else
		r->index[bank] = value & 0x7f; /* bit 7 would hold back NMIs: none comes from the board */
	pthread_mutex_unlock(&r->lock);
}

/* ---- life ---- */

static void cell16(struct rtc *r, unsigned cell, u64 value)
{
	value = min(value, (u64)0xffff);
	r->cmos[cell] = (u8)value;
	r->cmos[cell + 1] = (u8)(value >> 8);
}

int rtc_init(struct rtc *r, struct irq_line irq, struct loop *loop, u64 low_memory, u64 high_memory,
             unsigned cpus, struct error *e)
{
	u64 extended = low_memory > MiB ? (low_memory - MiB) / KiB : 0;

	memset(r, 0, sizeof(*r));
	r->irq = irq;
	if (loop_timer_init(loop, &r->alarm, alarm_fired, r, e) < 0)
		return -1;
	pthread_mutex_init(&r->lock, NULL);
	r->cmos[RTC_A] = 0x26; /* 32768 Hz, 1024 Hz periodic */
	r->cmos[RTC_B] = RTC_B_24H;
	r->cmos[RTC_D] = 0x80; /* the battery is good */
	cell16(r, 0x15, 640);
	cell16(r, 0x17, extended);
	cell16(r, 0x30, extended);
	cell16(r, 0x34, low_memory > 16 * MiB ? (low_memory - 16 * MiB) / (64 * KiB) : 0);
	cell16(r, 0x5b, high_memory / (64 * KiB) & 0xffff);
	r->cmos[0x5d] = (u8)(high_memory / (64 * KiB) >> 16);
	r->cmos[0x5f] = (u8)(cpus - 1);
	set_clock(r, (s64)clock_realtime_ns(), clock_monotonic_ns());
	return 0;
}

void rtc_release(struct rtc *r)
{
	loop_timer_release(&r->alarm);
	pthread_mutex_destroy(&r->lock);
}

void rtc_reset(struct rtc *r)
{
	u64 now = clock_monotonic_ns();

	pthread_mutex_lock(&r->lock);
	r->cmos[RTC_B] &= (u8) ~(RTC_B_PIE | RTC_B_AIE | RTC_B_UIE | 8);
	r->cmos[RTC_C] = 0;
	r->index[0] = r->index[1] = 0;
	update(r, now);
	pthread_mutex_unlock(&r->lock);
}

static u64 read_op(void *ctx, u64 offset, unsigned size)
{
	return rtc_read(ctx, (u16)(0x70 + offset), clock_monotonic_ns());
}

static void write_op(void *ctx, u64 offset, unsigned size, u64 value)
{
	rtc_write(ctx, (u16)(0x70 + offset), (u8)value, clock_monotonic_ns());
}

int rtc_map(struct rtc *r, struct bus *pio)
{
	static const struct bus_ops ops = {read_op, write_op};

	r->region = (struct bus_region){
	        .name = "rtc", .base = 0x70, .size = 4, .ops = &ops, .ctx = r, .max_size = 1};
	return bus_add(pio, &r->region);
}
