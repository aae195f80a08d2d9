#include "machine/apic_bus.h"
#include "machine/ioapic.h"
#include "machine/lapic.h"

/* One of the matching APICs: of those in the lowest priority class, the first from a place that rotates. */
static struct lapic *apic_lowest(struct apic_bus *bus, const struct apic_message *m)
{
	unsigned start = atomic_fetch_add_explicit(&bus->turn, 1, memory_order_relaxed);
	struct lapic *best = NULL;
	int best_class = 0;

	for (unsigned i = 0; i < bus->count; i++) {
		struct lapic *l = bus->lapic[(start + i) % bus->count];

		if (!l || !lapic_matches(l, m))
			continue;
		int class = lapic_arbitrate(l);
		if (class >= 0 && (!best || class < best_class)) {
			best = l;
			best_class = class;
		}
	}
	return best;
}

bool apic_send(struct apic_bus *bus, const struct apic_message *m, enum apic_shorthand to, struct lapic *self)
{
	bool accepted = false;

	if (to == APIC_TO_SELF)
		return lapic_accept(self, m);
	if (to == APIC_TO_DEST && m->mode == APIC_DM_LOWEST) {
		struct lapic *l = bus->count ? apic_lowest(bus, m) : NULL;

		return l && lapic_accept(l, m);
	}
	for (unsigned i = 0; i < bus->count; i++) {
		struct lapic *l = bus->lapic[i];

		if (!l || (to == APIC_TO_OTHERS && l == self) || (to == APIC_TO_DEST && !lapic_matches(l, m)))
			continue;
		accepted |= lapic_accept(l, m);
	}
	return accepted;
}

void apic_msi(struct apic_bus *bus, u64 address, u32 data)
{
	/* Destination 19:12; redirection hint 3 asks for one of them, destination mode 2 counts only with it
	 * on old processors, and alone on those since: take bit 2 as it stands. */
	struct apic_message m = {
	        .dest = (u32)(address >> 12 & 0xff),
	        .logical = address & 4,
	        .level = data & BIT(15),
	        .mode = data >> 8 & 7,
	        .vector = (u8)data,
	};

	if (address >> 20 != 0xfee)
		return;
	/* Level-triggered with level 0 is a deassertion, which no APIC keeps. */
	if (m.level && !(data & BIT(14)))
		return;
	apic_send(bus, &m, APIC_TO_DEST, NULL);
}

void apic_eoi(struct apic_bus *bus, u8 vector)
{
	if (bus->ioapic)
		ioapic_eoi(bus->ioapic, vector);
}
