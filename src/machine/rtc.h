/*
 * The MC146818 real-time clock and its CMOS memory (MC146818A datasheet; Intel PCH datasheet, RTC), ports
 * 0x70–0x73 (the second pair reaches the upper 128 bytes). IRQ 8. Own lock, any thread.
 *
 * The clock starts at the host's UTC and then follows CLOCK_MONOTONIC, so it never steps but by the guest's
 * hand. Time registers are derived when read; flags of register C are caught up on, and an alarm of the loop
 * runs only while an interrupt is enabled whose flag is not set yet.
 */
#pragma once

#include "base/loop.h"
#include "base/types.h"
#include "machine/bus.h"
#include "machine/irq.h"

#include <pthread.h>

enum {
	RTC_SECONDS = 0,
	RTC_SECONDS_ALARM = 1,
	RTC_MINUTES = 2,
	RTC_MINUTES_ALARM = 3,
	RTC_HOURS = 4,
	RTC_HOURS_ALARM = 5,
	RTC_WEEKDAY = 6,
	RTC_DAY = 7,
	RTC_MONTH = 8,
	RTC_YEAR = 9,
	RTC_A = 10,
	RTC_B = 11,
	RTC_C = 12,
	RTC_D = 13,
	CMOS_SHUTDOWN = 0x0f,
	CMOS_CENTURY = 0x32,
};

enum { RTC_A_UIP = 0x80 };
enum {
	RTC_B_SET = 0x80,
	RTC_B_PIE = 0x40,
	RTC_B_AIE = 0x20,
	RTC_B_UIE = 0x10,
	RTC_B_BINARY = 4,
	RTC_B_24H = 2
};
enum { RTC_C_IRQF = 0x80, RTC_C_PF = 0x40, RTC_C_AF = 0x20, RTC_C_UF = 0x10 };

struct rtc {
	pthread_mutex_t lock;
	u8 cmos[256];
	u8 index[2];
	bool frozen;     /* SET, or the divider is held in reset: cmos[] has the time */
	s64 offset_ns;   /* time since 1970 = now_ns + offset_ns */
	s64 fraction_ns; /* of a second, while frozen */
	u64 seen_ns;     /* clock time up to which flags were caught up */
	struct irq_line irq;
	struct loop_timer alarm;
	struct bus_region region;
};

/* memory sizes go into the CMOS cells that firmware reads; cpus into cell 0x5f. */
int rtc_init(struct rtc *r, struct irq_line irq, struct loop *loop, u64 low_memory, u64 high_memory,
             unsigned cpus, struct error *e);
void rtc_release(struct rtc *r);
/* RESET clears interrupt enables and flags; time and memory are on the battery. */
void rtc_reset(struct rtc *r);
int rtc_map(struct rtc *r, struct bus *pio);

/* Ports 0x70–0x73 at a CLOCK_MONOTONIC time. */
u8 rtc_read(struct rtc *r, u16 port, u64 now_ns);
void rtc_write(struct rtc *r, u16 port, u8 value, u64 now_ns);
/* Sets the clock: nanoseconds since 1970. */
void rtc_set_time(struct rtc *r, u64 time_ns, u64 now_ns);
