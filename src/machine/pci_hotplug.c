#include "machine/pci_hotplug.h"

#include <string.h>

/* On the loop's thread. */
static void tell(void *ctx)
{
	struct pci_hotplug *h = ctx;
	u32 given;

	pthread_mutex_lock(&h->lock);
	given = h->given;
	h->given = 0;
	pthread_mutex_unlock(&h->lock);
	for (unsigned slot = 0; slot < PCI_MAX_DEVICES; slot++)
		if (given >> slot & 1 && h->gone)
			h->gone(h->ctx, slot);
}

/* With the lock held. */
static void take(struct pci_hotplug *h, u32 slots)
{
	slots &= h->down;
	if (!slots)
		return;
	for (unsigned slot = 0; slot < PCI_MAX_DEVICES; slot++)
		if (slots >> slot & 1)
			pci_hide(h->pci, slot);
	h->down &= ~slots;
	h->given |= slots;
	loop_post(h->loop, &h->call);
}

static u64 read_register(void *ctx, u64 offset, unsigned size)
{
	struct pci_hotplug *h = ctx;
	u32 value = 0;

	pthread_mutex_lock(&h->lock);
	if (offset == 0 && size == 4) {
		value = h->up;
		h->up = 0;
	} else if (offset == PCI_HOTPLUG_DOWN - PCI_HOTPLUG_UP && size == 4) {
		value = h->down;
	}
	pthread_mutex_unlock(&h->lock);
	return value;
}

static void write_register(void *ctx, u64 offset, unsigned size, u64 value)
{
	struct pci_hotplug *h = ctx;

	if (offset != PCI_HOTPLUG_EJECT - PCI_HOTPLUG_UP || size != 4)
		return;
	pthread_mutex_lock(&h->lock);
	take(h, (u32)value);
	pthread_mutex_unlock(&h->lock);
}

void pci_hotplug_init(struct pci_hotplug *h, struct pci_host *pci, struct acpi_pm *pm, struct loop *loop)
{
	memset(h, 0, sizeof(*h));
	pthread_mutex_init(&h->lock, NULL);
	h->pci = pci;
	h->pm = pm;
	h->loop = loop;
	h->call = (struct loop_call){.fn = tell, .ctx = h};
}

void pci_hotplug_release(struct pci_hotplug *h)
{
	loop_unpost(h->loop, &h->call);
	pthread_mutex_destroy(&h->lock);
}

int pci_hotplug_map(struct pci_hotplug *h, struct bus *pio)
{
	static const struct bus_ops ops = {read_register, write_register};

	h->region = (struct bus_region){.name = "pci hotplug",
	                                .base = PCI_HOTPLUG_UP,
	                                .size = PCI_HOTPLUG_PORTS,
	                                .ops = &ops,
	                                .ctx = h,
	                                .max_size = 4};
	return bus_add(pio, &h->region);
}

void pci_hotplug_reset(struct pci_hotplug *h)
{
	pthread_mutex_lock(&h->lock);
	h->up = 0;
	take(h, h->down);
	pthread_mutex_unlock(&h->lock);
}

void pci_hotplug_listen(struct pci_hotplug *h, void (*gone)(void *ctx, unsigned slot), void *ctx)
{
	h->gone = gone;
	h->ctx = ctx;
}

static void change(struct pci_hotplug *h, u32 *slots, unsigned slot)
{
	pthread_mutex_lock(&h->lock);
	*slots |= (u32)BIT(slot);
	pthread_mutex_unlock(&h->lock);
	acpi_pm_gpe(h->pm, PCI_HOTPLUG_GPE);
}

void pci_hotplug_changed(struct pci_hotplug *h, unsigned slot)
{
	change(h, &h->up, slot);
}

void pci_hotplug_ask(struct pci_hotplug *h, unsigned slot)
{
	change(h, &h->down, slot);
}

bool pci_hotplug_asked(struct pci_hotplug *h, unsigned slot)
{
	pthread_mutex_lock(&h->lock);
	bool asked = h->down >> slot & 1;
	pthread_mutex_unlock(&h->lock);
	return asked;
}

void pci_hotplug_forget(struct pci_hotplug *h, unsigned slot)
{
	pthread_mutex_lock(&h->lock);
	h->down &= ~(u32)BIT(slot);
	h->up &= ~(u32)BIT(slot);
	h->given &= ~(u32)BIT(slot);
	pthread_mutex_unlock(&h->lock);
}
