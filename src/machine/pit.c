#include "machine/pit.h"
#include "base/clock.h"

#include <string.h>

#define NS 1000000000ULL
/* A guest that asks for ticks faster than this gets them coalesced. */
#define ALARM_MIN_NS 20000ULL
/* The refresh signal toggles about each 15 µs; guests poll it as a crude clock. */
#define REFRESH_NS 15085ULL

static u64 ns_to_ticks(u64 ns)
{
	return muldiv64(ns, PIT_HZ, NS);
}

/* Rounded up, so that at the time told the tick has happened. */
static u64 ticks_to_ns(u64 ticks)
{
	return (u64)(((unsigned __int128)ticks * NS + PIT_HZ - 1) / PIT_HZ);
}

/* Modes 0 and 4 stop counting while the gate is low; the others start anew with it. */
static bool gate_pauses(const struct pit_channel *c)
{
	return c->mode == 0 || c->mode == 4;
}

/* A rising gate triggers these. */
static bool gate_triggers(const struct pit_channel *c)
{
	return c->mode != 0 && c->mode != 4;
}

static bool counting(const struct pit_channel *c)
{
	return c->loaded && !c->waiting && (c->gate || c->mode == 1 || c->mode == 5);
}

/* Ticks since the count was loaded. */
static u64 elapsed(const struct pit_channel *c, u64 now)
{
	u64 ns = c->run_ns;

	if (counting(c) && now > c->start_ns)
		ns += now - c->start_ns;
	return ns_to_ticks(ns);
}

static u32 wrap(const struct pit_channel *c)
{
	return c->bcd ? 10000 : 65536;
}

static u16 to_bcd(u32 v)
{
	return (u16)(v / 1000 % 10 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10);
}

static u32 from_bcd(u16 v)
{
	return (v >> 12) * 1000u + (v >> 8 & 0xf) * 100u + (v >> 4 & 0xf) * 10u + (v & 0xf);
}

static u16 current_count(const struct pit_channel *c, u64 now)
{
	u64 t = elapsed(c, now);
	u64 left;

	if (!c->loaded)
		return 0;
	switch (c->mode) {
	case 2:
		left = c->count - t % c->count;
		break;
	case 3: { /* counts by two, twice a period */
		u64 even = c->count & ~1ULL;

		left = even ? even - 2 * t % even : 1;
		break;
	}
	default:
		left = (c->count + wrap(c) - t % wrap(c)) % wrap(c);
	}
	left %= wrap(c);
	return c->bcd ? to_bcd((u32)left) : (u16)left;
}

bool pit_output(const struct pit_channel *c, u64 now)
{
	u64 t = elapsed(c, now);

	if (!c->loaded || c->waiting)
		return c->mode != 0;
	switch (c->mode) {
	case 0:
	case 1:
		return t >= c->count;
	case 2:
		return !c->gate || t % c->count != c->count - 1;
	case 3:
		return !c->gate || t % c->count < (c->count + 1) / 2;
	default:
		return t != c->count;
	}
}

u64 pit_next_rise(const struct pit_channel *c, u64 now)
{
	u64 t = elapsed(c, now), at;

	if (!counting(c))
		return 0;
	switch (c->mode) {
	case 0:
	case 1:
		if (t >= c->count)
			return 0;
		at = c->count;
		break;
	case 2:
	case 3:
		at = (t / c->count + 1) * c->count;
		break;
	default:
		if (t > c->count)
			return 0;
		at = c->count + 1;
	}
	return c->start_ns - c->run_ns + ticks_to_ns(at);
}

/* Arms the alarm for channel 0's next rise. */
static void follow(struct pit *p, u64 now)
{
	u64 at = pit_next_rise(&p->channel[0], now);

	if (!at)
		loop_timer_disarm(&p->alarm);
	else
		loop_timer_arm(&p->alarm, max(at, now + ALARM_MIN_NS));
}

static void alarm_fired(void *ctx)
{
	struct pit *p = ctx;
	struct pit_channel *c = &p->channel[0];
	u64 now = clock_monotonic_ns();

	pthread_mutex_lock(&p->lock);
	/* Reprogrammed since the alarm was set off? Then a count under way has not ended yet. */
	u64 at = pit_next_rise(c, now);
	bool due = c->loaded && (c->mode == 2 || c->mode == 3 ? elapsed(c, now) >= c->count : !at);
	if (due) {
		/* The pulse between two rises is too short for anyone to see. */
		irq_set(&p->irq, false);
		irq_set(&p->irq, true);
	}
	follow(p, now);
	pthread_mutex_unlock(&p->lock);
}

static void start(struct pit *p, unsigned n, u64 now)
{
	struct pit_channel *c = &p->channel[n];

	c->start_ns = now;
	c->run_ns = 0;
	if (n == 0) {
		irq_set(&p->irq, pit_output(c, now));
		follow(p, now);
	}
}

static void load(struct pit *p, unsigned n, u16 value, u64 now)
{
	struct pit_channel *c = &p->channel[n];
	u32 count = c->bcd ? from_bcd(value) : value;
	bool running = c->loaded;

	c->count = count ? count : wrap(c);
	c->loaded = true;
	if ((c->mode == 2 || c->mode == 3) && c->count == 1)
		c->count =
		        c->mode == 2 ? 2 : wrap(c) + 1; /* 1 is not allowed; the chip misbehaves about so */
	/* Modes 1 and 5 take a new count at the next trigger; 0 and 4 at once, 2 and 3 would at the period's
	 * end: at once is as good, as nobody can see that end exactly. */
	if (c->mode == 1 || c->mode == 5) {
		c->waiting = c->waiting || !running;
		return;
	}
	start(p, n, now);
}

static void write_count(struct pit *p, unsigned n, u8 value, u64 now)
{
	struct pit_channel *c = &p->channel[n];

	switch (c->access) {
	case 1:
		load(p, n, value, now);
		break;
	case 2:
		load(p, n, (u16)(value << 8), now);
		break;
	default:
		if (!c->write_high) {
			c->low = value;
			/* In mode 0 the first byte already stops the count. */
			if (c->mode == 0) {
				c->loaded = false;
				if (n == 0)
					start(p, n, now);
			}
		} else {
			load(p, n, (u16)(value << 8 | c->low), now);
		}
		c->write_high = !c->write_high;
	}
}

static void latch_count(struct pit_channel *c, u64 now)
{
	if (c->latched)
		return;
	c->latch = current_count(c, now);
	c->latched = c->access;
}

static void latch_status(struct pit_channel *c, u64 now)
{
	if (c->status_latched)
		return;
	c->status = (u8)(pit_output(c, now) << 7 | !c->loaded << 6 | c->access << 4 | c->mode << 1 | c->bcd);
	c->status_latched = true;
}

static void control(struct pit *p, u8 value, u64 now)
{
	unsigned n = value >> 6;

	if (n == 3) { /* read-back */
		for (unsigned i = 0; i < 3; i++) {
			if (!(value & BIT(i + 1)))
				continue;
			if (!(value & 0x20))
				latch_count(&p->channel[i], now);
			if (!(value & 0x10))
				latch_status(&p->channel[i], now);
		}
		return;
	}
	struct pit_channel *c = &p->channel[n];
	if (!(value & 0x30)) {
		latch_count(c, now);
		return;
	}
	u8 mode = value >> 1 & 7;
	*c = (struct pit_channel){
	        .gate = c->gate,
	        .access = value >> 4 & 3,
	        .mode = mode > 5 ? mode - 4 : mode, /* 6 and 7 are 2 and 3 */
	        .bcd = value & 1,
	        .count = 65536,
	};
	c->waiting = c->mode == 1 || c->mode == 5;
	if (n == 0)
		start(p, n, now);
}

static u8 read_count(struct pit_channel *c, u64 now)
{
	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	if (c->latched) {
		bool high = !(c->latched & 1);

		c->latched &= high ? 0 : 2;
		return (u8)(c->latch >> (high ? 8 : 0));
	}
	u16 v = current_count(c, now);
	bool high = c->access == 2 || (c->access == 3 && c->read_high);
	if (c->access == 3)
		c->read_high = !c->read_high;
	return (u8)(v >> (high ? 8 : 0));
}

static void set_gate(struct pit *p, unsigned n, bool gate, u64 now)
{
	struct pit_channel *c = &p->channel[n];
	bool rises = gate && !c->gate;

	if (gate == c->gate)
		return;
	if (gate_pauses(c) && !gate && counting(c) && now > c->start_ns)
		c->run_ns += now - c->start_ns;
	c->gate = gate;
	if (gate_pauses(c))
		c->start_ns = now;
	if (rises && gate_triggers(c)) {
		c->waiting = false;
		start(p, n, now);
	}
}

static u8 port61_read(struct pit *p, u64 now)
{
	return (u8)(p->port61 | (now / REFRESH_NS & 1) << 4 | pit_output(&p->channel[2], now) << 5);
}

u8 pit_read(struct pit *p, u16 port, u64 now)
{
	u8 value = 0xff; /* the control register cannot be read */

	pthread_mutex_lock(&p->lock);
	if (port == 0x61)
		value = port61_read(p, now);
	else if (port < 0x43)
		value = read_count(&p->channel[port & 3], now);
	pthread_mutex_unlock(&p->lock);
	return value;
}

void pit_write(struct pit *p, u16 port, u8 value, u64 now)
{
	pthread_mutex_lock(&p->lock);
	if (port == 0x61) {
		p->port61 = value & 0xf;
		set_gate(p, 2, value & 1, now);
	} else if (port == 0x43) {
		control(p, value, now);
	} else {
		write_count(p, port & 3, value, now);
	}
	pthread_mutex_unlock(&p->lock);
}

int pit_init(struct pit *p, struct irq_line irq, struct loop *loop, struct error *e)
{
	memset(p, 0, sizeof(*p));
	p->irq = irq;
	if (loop_timer_init(loop, &p->alarm, alarm_fired, p, e) < 0)
		return -1;
	pthread_mutex_init(&p->lock, NULL);
	pit_reset(p);
	return 0;
}

void pit_release(struct pit *p)
{
	loop_timer_release(&p->alarm);
	pthread_mutex_destroy(&p->lock);
}

void pit_reset(struct pit *p)
{
	pthread_mutex_lock(&p->lock);
	for (unsigned i = 0; i < 3; i++)
		p->channel[i] = (struct pit_channel){.mode = 3, .access = 3, .count = 65536, .gate = i != 2};
	p->port61 = 0;
	loop_timer_disarm(&p->alarm);
	irq_set(&p->irq, false);
	pthread_mutex_unlock(&p->lock);
}

static u64 read_op(void *ctx, u64 offset, unsigned size)
{
	return pit_read(ctx, (u16)(0x40 + offset), clock_monotonic_ns());
}

static void write_op(void *ctx, u64 offset, unsigned size, u64 value)
{
	pit_write(ctx, (u16)(0x40 + offset), (u8)value, clock_monotonic_ns());
}

static u64 read61_op(void *ctx, u64 offset, unsigned size)
{
	return pit_read(ctx, 0x61, clock_monotonic_ns());
}

static void write61_op(void *ctx, u64 offset, unsigned size, u64 value)
{
	pit_write(ctx, 0x61, (u8)value, clock_monotonic_ns());
}

int pit_map(struct pit *p, struct bus *pio)
{
	static const struct bus_ops ops = {read_op, write_op}, ops61 = {read61_op, write61_op};

	p->region = (struct bus_region){
	        .name = "pit", .base = 0x40, .size = 4, .ops = &ops, .ctx = p, .max_size = 1};
	p->region61 = (struct bus_region){
	        .name = "port 0x61", .base = 0x61, .size = 1, .ops = &ops61, .ctx = p, .max_size = 1};
	return bus_add(pio, &p->region) < 0 || bus_add(pio, &p->region61) < 0 ? -1 : 0;
}
