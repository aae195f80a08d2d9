#include "machine/ioapic.h"
#include "machine/apic_bus.h"
#include "machine/bus.h"
#include "machine/lapic.h"

#include <string.h>

#define IOAPIC_VERSION 0x20

/* Bits a guest can write: all of vector … mask but delivery status and remote IRR; the destination. */
#define IOAPIC_WRITABLE 0xff0000000001afffULL

enum { REG_SELECT = 0x00, REG_WINDOW = 0x10, REG_EOI = 0x40 };
enum { INDEX_ID = 0, INDEX_VERSION = 1, INDEX_ARBITRATION = 2, INDEX_REDIRECTION = 0x10 };

void ioapic_init(struct ioapic *io, struct apic_bus *bus)
{
	memset(io, 0, sizeof(*io));
	pthread_mutex_init(&io->lock, NULL);
	io->bus = bus;
	ioapic_reset(io);
}

void ioapic_release(struct ioapic *io)
{
	pthread_mutex_destroy(&io->lock);
}

void ioapic_reset(struct ioapic *io)
{
	pthread_mutex_lock(&io->lock);
	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		io->redirection[i] = IOAPIC_MASKED;
	io->id = io->select = 0;
	pthread_mutex_unlock(&io->lock);
}

static bool ioapic_send(struct ioapic *io, unsigned pin)
{
	u64 r = io->redirection[pin];
	struct apic_message m = {
	        .dest = (u32)(r >> 56),
	        .logical = r & IOAPIC_LOGICAL,
	        .level = r & IOAPIC_LEVEL,
	        .mode = r >> 8 & 7,
	        .vector = (u8)r,
	};

	/* These are edge-triggered by nature, whatever the entry says. */
	if (m.mode != APIC_DM_FIXED && m.mode != APIC_DM_LOWEST)
		m.level = false;
	return apic_send(io->bus, &m, APIC_TO_DEST, NULL);
}

/* A level pin that is asserted, not masked and not in service is sent (again). */
static void ioapic_serve_level(struct ioapic *io, unsigned pin)
{
	u64 r = io->redirection[pin];

	if (!(r & IOAPIC_LEVEL) || (r & (IOAPIC_MASKED | IOAPIC_REMOTE_IRR)) || !(io->level & BIT(pin)))
		return;
	unsigned mode = r >> 8 & 7;
	if (ioapic_send(io, pin) && (mode == APIC_DM_FIXED || mode == APIC_DM_LOWEST))
		io->redirection[pin] |= IOAPIC_REMOTE_IRR;
}

void ioapic_set(struct ioapic *io, unsigned pin, bool level)
{
	if (pin >= IOAPIC_PINS)
		return;
	pthread_mutex_lock(&io->lock);
	bool was = io->level & BIT(pin);
	u64 r = io->redirection[pin];

	io->level = level ? io->level | (u32)BIT(pin) : io->level & ~(u32)BIT(pin);
	if (r & IOAPIC_LEVEL)
		ioapic_serve_level(io, pin);
	else if (level && !was && !(r & IOAPIC_MASKED))
		ioapic_send(io, pin);
	pthread_mutex_unlock(&io->lock);
}

void ioapic_eoi(struct ioapic *io, u8 vector)
{
	pthread_mutex_lock(&io->lock);
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		u64 r = io->redirection[pin];

		if ((u8)r != vector || !(r & IOAPIC_LEVEL) || !(r & IOAPIC_REMOTE_IRR))
			continue;
		io->redirection[pin] = r & ~IOAPIC_REMOTE_IRR;
		ioapic_serve_level(io, pin);
	}
	pthread_mutex_unlock(&io->lock);
}

static u32 ioapic_indirect_read(const struct ioapic *io)
{
	unsigned entry = io->select - INDEX_REDIRECTION;

	switch (io->select) {
	case INDEX_ID:
	case INDEX_ARBITRATION:
		return (u32)io->id << 24;
	case INDEX_VERSION:
		return (IOAPIC_PINS - 1) << 16 | IOAPIC_VERSION;
	}
	if (io->select < INDEX_REDIRECTION || entry / 2 >= IOAPIC_PINS)
		return 0;
	return (u32)(io->redirection[entry / 2] >> (entry & 1 ? 32 : 0));
}

static void ioapic_indirect_write(struct ioapic *io, u32 value)
{
	unsigned entry = io->select - INDEX_REDIRECTION;
	unsigned pin = entry / 2;

	if (io->select == INDEX_ID)
		io->id = value >> 24 & 0xf;
	if (io->select < INDEX_REDIRECTION || pin >= IOAPIC_PINS)
		return;
	u64 mask = entry & 1 ? IOAPIC_WRITABLE & ~MASK(32) : IOAPIC_WRITABLE & MASK(32);
	u64 wide = entry & 1 ? (u64)value << 32 : value;
	u64 r = (io->redirection[pin] & ~mask) | (wide & mask);

	/* An edge pin has no remote IRR; turning a pin to edge and back is how software without the EOI
	 * register clears it. */
	if (!(r & IOAPIC_LEVEL))
		r &= ~IOAPIC_REMOTE_IRR;
	io->redirection[pin] = r;
	ioapic_serve_level(io, pin);
}

u64 ioapic_read(struct ioapic *io, u64 offset, unsigned size)
{
	u32 value = 0;

	pthread_mutex_lock(&io->lock);
	if ((offset & ~3ULL) == REG_SELECT)
		value = io->select;
	else if ((offset & ~3ULL) == REG_WINDOW)
		value = ioapic_indirect_read(io);
	pthread_mutex_unlock(&io->lock);
	return value >> (offset & 3) * 8;
}

void ioapic_write(struct ioapic *io, u64 offset, unsigned size, u64 value)
{
	if (offset == REG_EOI) {
		ioapic_eoi(io, (u8)value);
		return;
	}
	pthread_mutex_lock(&io->lock);
	if (offset == REG_SELECT)
		io->select = (u8)value;
	else if (offset == REG_WINDOW && size >= 4)
		ioapic_indirect_write(io, (u32)value);
	pthread_mutex_unlock(&io->lock);
}

static u64 read_op(void *ctx, u64 offset, unsigned size)
{
	return ioapic_read(ctx, offset, size);
}

static void write_op(void *ctx, u64 offset, unsigned size, u64 value)
{
	ioapic_write(ctx, offset, size, value);
}

const struct bus_ops ioapic_ops = {read_op, write_op};
