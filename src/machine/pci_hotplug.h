/*
 * Hotplug of PCI functions by ACPI, as the DSDT tells it (dsdt.c): each slot of bus 0 has an _EJ0 method,
 * general-purpose event 1 says that something has changed, and a block of registers what.
 *
 *   0x630  read   slots to look at, told since the last read
 *   0x634  read   slots whose function is asked for
 *   0x638  write  the guest gives these slots' functions back
 *
 * Each is 32 bits, one for a slot; narrower accesses do nothing. A function goes only after
 * it was asked for: until then what is written to 0x638 for its slot is ignored, so a guest cannot rid itself
 * of its disks for ever. One that was given back is out of the guest's sight when the write ends
 * (pci_hide()); its owner frees it on the loop's thread.
 *
 * Own lock, before those of PCI; registers on any vCPU's thread, all else on the loop's.
 */
#pragma once

#include "base/loop.h"
#include "base/types.h"
#include "machine/acpi_pm.h"
#include "machine/bus.h"
#include "machine/pci.h"

#include <pthread.h>

#define PCI_HOTPLUG_UP    0x630
#define PCI_HOTPLUG_DOWN  0x634
#define PCI_HOTPLUG_EJECT 0x638
#define PCI_HOTPLUG_PORTS 12
#define PCI_HOTPLUG_GPE   1

struct pci_hotplug {
	pthread_mutex_t lock;
	struct pci_host *pci;
	struct acpi_pm *pm;
	struct loop *loop;
	u32 up, down, given; /* slots; given: back, and the owner not told yet */
	struct loop_call call;
	void (*gone)(void *ctx, unsigned slot);
	void *ctx;
	struct bus_region region;
};

void pci_hotplug_init(struct pci_hotplug *h, struct pci_host *pci, struct acpi_pm *pm, struct loop *loop);
void pci_hotplug_release(struct pci_hotplug *h);
int pci_hotplug_map(struct pci_hotplug *h, struct bus *pio);
/* Machine reset, no vCPU runs: what was asked for is taken, since nobody is left who would give it. */
void pci_hotplug_reset(struct pci_hotplug *h);

/* gone(ctx, slot) is called for each function that was given back; it frees it. */
void pci_hotplug_listen(struct pci_hotplug *h, void (*gone)(void *ctx, unsigned slot), void *ctx);
/* Has the guest look at a slot, which has got a function or lost it; may be said again. */
void pci_hotplug_changed(struct pci_hotplug *h, unsigned slot);
/* Asks the guest for a slot's function; may be said again. */
void pci_hotplug_ask(struct pci_hotplug *h, unsigned slot);
/* False: the guest has not been asked, or has given it back. */
bool pci_hotplug_asked(struct pci_hotplug *h, unsigned slot);
/* It may keep it; or the function is gone without its consent, or its slot has been freed. */
void pci_hotplug_forget(struct pci_hotplug *h, unsigned slot);
