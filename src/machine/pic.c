#include "machine/pic.h"

#include <string.h>

#define CASCADE  2
#define SPURIOUS 7

/* Lines that cannot be level-triggered: timer, keyboard, cascade; RTC, FPU (PIIX datasheet, ELCR). */
static const u8 elcr_mask[2] = {0xf8, 0xde};

void pic_init(struct pic *p, void (*output)(void *ctx, bool level), void *ctx)
{
	memset(p, 0, sizeof(*p));
	pthread_mutex_init(&p->lock, NULL);
	p->output = output;
	p->ctx = ctx;
	pic_reset(p);
}

void pic_release(struct pic *p)
{
	pthread_mutex_destroy(&p->lock);
}

/* Place of an IR in the current order of priority, 0 being the highest. */
static unsigned rank(const struct pic_chip *c, unsigned ir)
{
	return (ir - c->lowest - 1) & 7;
}

/* The highest-priority IR of a mask, or -1. */
static int highest(const struct pic_chip *c, u8 mask)
{
	for (unsigned i = 0; i < 8; i++) {
		unsigned ir = (c->lowest + 1 + i) & 7;

		if (mask & BIT(ir))
			return (int)ir;
	}
	return -1;
}

static bool is_level(const struct pic_chip *c, unsigned ir)
{
	return c->level || (c->elcr & BIT(ir));
}

/* The IR that this chip requests service for, or -1: not masked, and above all that is in service. */
static int chip_request(const struct pic *p, unsigned n)
{
	const struct pic_chip *c = &p->chip[n];
	int ir = highest(c, c->irr & (u8)~c->imr);
	u8 serving = c->isr;

	if (ir < 0)
		return -1;
	/* Special mask mode: only an IR's own service holds it back. */
	if (c->special_mask)
		return serving & BIT(ir) ? -1 : ir;
	/* Special fully nested mode: the slave in service may still bring a request of higher priority. */
	if (c->special_nested && n == 0)
		serving &= (u8)~BIT(CASCADE);
	int in_service = highest(c, serving);
	return in_service < 0 || rank(c, (unsigned)ir) < rank(c, (unsigned)in_service) ? ir : -1;
}

static void chip_set(struct pic_chip *c, unsigned ir, bool level)
{
	u8 bit = (u8)BIT(ir);

	if (is_level(c, ir))
		c->irr = level ? c->irr | bit : c->irr & (u8)~bit;
	else if (level && !(c->lines & bit))
		c->irr |= bit;
	c->lines = level ? c->lines | bit : c->lines & (u8)~bit;
}

/* The slave's output is the master's IR2, the master's is INTR. */
static void update(struct pic *p)
{
	struct pic_chip *master = &p->chip[0];
	bool slave = chip_request(p, 1) >= 0;

	chip_set(master, CASCADE, slave);
	/* IR2 follows the slave: a request that was withdrawn is not kept as an edge. */
	if (!slave)
		master->irr &= (u8)~BIT(CASCADE);
	else if (!(master->isr & BIT(CASCADE)) || master->special_nested)
		master->irr |= (u8)BIT(CASCADE);
	p->output(p->ctx, chip_request(p, 0) >= 0);
}

void pic_reset(struct pic *p)
{
	pthread_mutex_lock(&p->lock);
	for (unsigned n = 0; n < 2; n++) {
		u8 lines = p->chip[n].lines;

		p->chip[n] = (struct pic_chip){.lines = lines, .lowest = 7};
	}
	update(p);
	pthread_mutex_unlock(&p->lock);
}

void pic_set(struct pic *p, unsigned irq, bool level)
{
	if (irq > 15 || irq == CASCADE)
		return;
	pthread_mutex_lock(&p->lock);
	chip_set(&p->chip[irq / 8], irq & 7, level);
	update(p);
	pthread_mutex_unlock(&p->lock);
}

static void chip_eoi(struct pic_chip *c, unsigned ir, bool rotate)
{
	c->isr &= (u8)~BIT(ir);
	if (rotate)
		c->lowest = (u8)ir;
}

/* The chip's part of an INTA cycle: its IR goes into service. */
static void chip_ack(struct pic_chip *c, unsigned ir)
{
	c->isr |= (u8)BIT(ir);
	if (!is_level(c, ir))
		c->irr &= (u8)~BIT(ir);
	if (c->auto_eoi)
		chip_eoi(c, ir, c->rotate_auto);
}

u8 pic_ack(struct pic *p)
{
	u8 vector;

	pthread_mutex_lock(&p->lock);
	int ir = chip_request(p, 0);
	if (ir < 0) {
		vector = p->chip[0].base + SPURIOUS;
	} else if (ir == CASCADE) {
		int slave = chip_request(p, 1);

		chip_ack(&p->chip[0], CASCADE);
		if (slave >= 0)
			chip_ack(&p->chip[1], (unsigned)slave);
		vector = p->chip[1].base + (u8)(slave >= 0 ? slave : SPURIOUS);
	} else {
		chip_ack(&p->chip[0], (unsigned)ir);
		vector = p->chip[0].base + (u8)ir;
	}
	update(p);
	pthread_mutex_unlock(&p->lock);
	return vector;
}

static void icw1(struct pic_chip *c, u8 value)
{
	/* Clears IMR, the edge detectors and in-service bits; what level-triggered pins ask for stays. */
	*c = (struct pic_chip){
	        .lines = c->lines, .elcr = c->elcr, .lowest = 7, .base = c->base, .icw_step = 2};
	c->icw4 = value & 1;
	c->single = value & 2;
	c->level = value & 8;
	c->irr = c->lines & (c->level ? 0xff : c->elcr);
}

static void icw(struct pic_chip *c, u8 value)
{
	switch (c->icw_step) {
	case 2:
		c->base = value & 0xf8;
		c->icw_step = !c->single ? 3 : c->icw4 ? 4 : 0;
		break;
	case 3: /* who is wired to whom is known */
		c->icw_step = c->icw4 ? 4 : 0;
		break;
	default:
		c->special_nested = value & 0x10;
		c->auto_eoi = value & 2;
		c->icw_step = 0;
	}
}

static void ocw2(struct pic_chip *c, u8 value)
{
	unsigned ir = value & 7;
	int top;

	switch (value >> 5) {
	case 0:
		c->rotate_auto = false;
		break;
	case 4:
		c->rotate_auto = true;
		break;
	case 1: /* non-specific EOI */
	case 5: /* … with rotation */
		top = highest(c, c->special_mask ? c->isr & (u8)~c->imr : c->isr);
		if (top >= 0)
			chip_eoi(c, (unsigned)top, value >> 5 == 5);
		break;
	case 3:
		chip_eoi(c, ir, false);
		break;
	case 7:
		chip_eoi(c, ir, true);
		break;
	case 6:
		c->lowest = (u8)ir;
		break;
	}
}

static void ocw3(struct pic_chip *c, u8 value)
{
	c->poll = value & 4;
	if (value & 2)
		c->read_isr = value & 1;
	if (value & 0x40)
		c->special_mask = value & 0x20;
}

/* A read in poll mode is an INTA cycle of this chip alone. */
static u8 poll_read(struct pic *p, unsigned n)
{
	int ir = chip_request(p, n);

	p->chip[n].poll = false;
	if (ir < 0)
		return 0;
	chip_ack(&p->chip[n], (unsigned)ir);
	return (u8)(0x80 | ir);
}

u8 pic_read(struct pic *p, u16 port)
{
	u8 value;

	pthread_mutex_lock(&p->lock);
	if (port >= 0x4d0) {
		value = p->chip[port & 1].elcr;
	} else {
		unsigned n = port >= 0xa0;
		struct pic_chip *c = &p->chip[n];

		if (c->poll) {
			value = poll_read(p, n);
			update(p);
		} else if (port & 1) {
			value = c->imr;
		} else {
			value = c->read_isr ? c->isr : c->irr;
		}
	}
	pthread_mutex_unlock(&p->lock);
	return value;
}

void pic_write(struct pic *p, u16 port, u8 value)
{
	pthread_mutex_lock(&p->lock);
	if (port >= 0x4d0) {
		struct pic_chip *c = &p->chip[port & 1];

		c->elcr = value & elcr_mask[port & 1];
		c->irr |= c->lines & c->elcr;
	} else {
		struct pic_chip *c = &p->chip[port >= 0xa0];

		if ((port & 1) && c->icw_step)
			icw(c, value);
		else if (port & 1)
			c->imr = value;
		else if (value & 0x10)
			icw1(c, value);
		else if (value & 8)
			ocw3(c, value);
		else
			ocw2(c, value);
	}
	update(p);
	pthread_mutex_unlock(&p->lock);
}

#define PIC_PORTS(name, port)                                                     \
	static u64 name##_read(void *ctx, u64 offset, unsigned size)              \
	{                                                                         \
		return pic_read(ctx, (u16)(port + offset));                       \
	}                                                                         \
	static void name##_write(void *ctx, u64 offset, unsigned size, u64 value) \
	{                                                                         \
		pic_write(ctx, (u16)(port + offset), (u8)value);                  \
	}                                                                         \
	static const struct bus_ops name##_ops = {name##_read, name##_write};

PIC_PORTS(master, 0x20)
PIC_PORTS(slave, 0xa0)
PIC_PORTS(elcr, 0x4d0)

int pic_map(struct pic *p, struct bus *pio)
{
	static const struct {
		u16 port;
		const struct bus_ops *ops;
	} ports[] = {{0x20, &master_ops}, {0xa0, &slave_ops}, {0x4d0, &elcr_ops}};

	for (unsigned i = 0; i < ARRAY_SIZE(ports); i++) {
		p->region[i] = (struct bus_region){.name = "pic",
		                                   .base = ports[i].port,
		                                   .size = 2,
		                                   .ops = ports[i].ops,
		                                   .ctx = p,
		                                   .max_size = 1};
		if (bus_add(pio, &p->region[i]) < 0)
			return -1;
	}
	return 0;
}
