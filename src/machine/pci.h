/*
 * PCI: one host bridge, one bus (0), ECAM and the 0xcf8/0xcfc ports, type 0 functions with memory BARs and
 * MSI-X. A device embeds struct pci_device, fills the description, and calls pci_add(); configuration space,
 * BAR decoding, the MSI-X table and masks are this file's. (PCI Local Bus 3.0; PCI Express 3.0 §7.)
 *
 * Locking: the device's own mutex (pci_device.lock) is held around all BAR accesses and around config writes.
 * pci_msix_notify() may be called with or without it, from any thread.
 */
#pragma once

#include "base/error.h"
#include "base/types.h"
#include "machine/bus.h"
#include "machine/irq.h"

#include <pthread.h>

#define PCI_MAX_DEVICES 32
#define PCI_MAX_BARS    6
#define PCI_CONFIG_SIZE 4096
#define PCI_MAX_MSIX    256

struct pci_host; /* machine/pci.c */
struct pci_device;

struct pci_bar {
	u64 size;  /* power of two >= 16; 0: absent */
	bool io;   /* port space; otherwise memory */
	bool is64; /* takes this and the next slot */
	bool prefetch;
	const struct bus_ops *ops; /* ctx is the pci_device's ctx; NULL if the whole BAR is MSI-X */
	struct bus_region region;  /* pci.c's own, as is: */
	struct pci_device *dev;
};

struct pci_msix_entry {
	u64 address;
	u32 data;
	u32 control; /* bit 0: masked */
};

struct pci_device {
	/* Filled by the device before pci_add(). */
	const char *name;
	u16 vendor, device, subvendor, subdevice;
	u32 class_code; /* 24 bits: class, subclass, prog-if */
	u8 revision;
	void *ctx; /* for bar ops and the hooks below */
	struct pci_bar bar[PCI_MAX_BARS];
	unsigned msix_vectors; /* 0: none */
	unsigned msix_bar;     /* table at msix_offset, PBA at msix_pba; accesses there never reach bar ops */
	u32 msix_offset, msix_pba;
	/* After a config write to a device-specific register or capability (may be NULL); dev->lock is held.
	 */
	void (*config_written)(void *ctx, unsigned offset, unsigned size);
	/* Before a config read of a device-specific capability, to refresh it (may be NULL). */
	void (*config_read)(void *ctx, unsigned offset, unsigned size);
	/* Back to power-on state: board reset (may be NULL). Config space is reset by pci.c. */
	void (*reset)(void *ctx);

	/* pci.c's own below here, readable by the device. */
	struct pci_host *host;
	unsigned slot;
	pthread_mutex_t lock; /* recursive */
	u8 config[PCI_CONFIG_SIZE];
	u8 wmask[PCI_CONFIG_SIZE]; /* writable bits */
	unsigned cap_end;          /* next free byte for capabilities */
	u64 bar_addr[PCI_MAX_BARS];
	struct pci_msix_entry msix[PCI_MAX_MSIX];
	u64 msix_pending[PCI_MAX_MSIX / 64];
	bool msix_enabled, msix_masked;
	struct irq_line intx; /* level line of this slot's INTA# */
	bool intx_level;
	u8 *initial; /* config space before the guest's first write: what a reset goes back to */
	bool initial_taken;
	unsigned msix_cap; /* offset of the capability, 0: none */
};

/* What the board gives to its bridge. */
struct pci_host_config {
	struct bus *pio, *mmio;
	u64 ecam_base, ecam_size;
	u64 mem_base, mem_size;     /* windows for BARs: 32-bit, */
	u64 mem64_base, mem64_size; /* 64-bit, */
	u64 io_base, io_size;       /* ports */
	struct irq_line intx[8];    /* INTA# of slot n goes to line n % 8 */
	struct msi_sink msi;
	void (*reset)(void *ctx); /* port 0xcf9 asks for a machine reset */
	void *ctx;
};

struct pci_host *pci_host_new(const struct pci_host_config *config, struct error *e);
/* Devices must have been removed, or never be used again. */
void pci_host_free(struct pci_host *h);
/* Machine reset: config spaces, BARs, MSI-X tables as they were at the start; then each device's reset(). */
void pci_host_reset(struct pci_host *h);

/* Puts the device into the next free slot (>= 1), or at dev->slot if that is set. -1: no slot, bad BARs. */
int pci_add(struct pci_host *h, struct pci_device *dev, struct error *e);

/* Takes a device out; returns when no access is under way. Not from within its own functions. */
void pci_remove(struct pci_device *dev);
/* The first half of that, before the device makes an end of what it has under way: no access is, and none
 * begins. */
void pci_withdraw(struct pci_device *dev);
/* The guest does not see the function in a slot any more; an access may still be under way. Any thread, with
 * no device's lock held; the owner goes on with pci_remove(). */
void pci_hide(struct pci_host *h, unsigned slot);

/* Configuration space by slot, as the guest would; size 1, 2 or 4. For tests and fuzzers too. */
u32 pci_config_read(struct pci_host *h, unsigned slot, unsigned offset, unsigned size);
void pci_config_write(struct pci_host *h, unsigned slot, unsigned offset, unsigned size, u32 value);

/* Adds a capability of len bytes (from the ID byte on) to config space and the chain; returns its offset. The
 * device may then set wmask and contents after the two header bytes. Before or after pci_add(). 0: no room.
 */
unsigned pci_add_capability(struct pci_device *dev, u8 id, unsigned len);

/* Sends MSI-X vector v if enabled and unmasked, else records it as pending. */
void pci_msix_notify(struct pci_device *dev, unsigned v);
/* INTA# level, for drivers without MSI-X; ignored while MSI-X is enabled or INTx is disabled in COMMAND. */
void pci_intx_set(struct pci_device *dev, bool level);

static inline bool pci_bus_master(const struct pci_device *dev)
{
	return dev->config[4] & 4;
}
static inline bool pci_msix_on(const struct pci_device *dev)
{
	return dev->msix_enabled;
}

static inline u16 pci_config_get16(const struct pci_device *d, unsigned o)
{
	return (u16)(d->config[o] | d->config[o + 1] << 8);
}
static inline void pci_config_set16(struct pci_device *d, unsigned o, u16 v)
{
	d->config[o] = (u8)v;
	d->config[o + 1] = (u8)(v >> 8);
}
static inline void pci_config_set32(struct pci_device *d, unsigned o, u32 v)
{
	pci_config_set16(d, o, (u16)v);
	pci_config_set16(d, o + 2, (u16)(v >> 16));
}
