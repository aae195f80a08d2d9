/*
 * The PCI transport of virtio devices (Virtual I/O Device 1.2 §4.1), modern interface only: common, notify,
 * ISR, device and PCI configuration access structures in BAR 0, MSI-X or INTx.
 *
 * A device embeds struct virtio_device, fills the description and calls virtio_add(). Its hooks are called
 * with the pci_device's lock held, which is the device's own; it takes the same lock in its callbacks from
 * the loop.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "device/virtio/core.h"
#include "machine/memory.h"
#include "machine/pci.h"

#define VIRTIO_MAX_QUEUES  8
#define VIRTIO_CONFIG_SIZE 64
#define VIRTIO_NO_VECTOR   0xffff
/* Requests taken in one go: a driver that adds to a queue as fast as it is emptied must not keep a vCPU's
 * thread in here for ever. The rest follows on the loop's thread (virtio_later()). */
#define VIRTIO_BUDGET (4 * VIRTQ_MAX_SIZE)

enum {
	VIRTIO_TYPE_NET = 1,
	VIRTIO_TYPE_BLK = 2,
	VIRTIO_TYPE_RNG = 4,
};

#define VIRTIO_F_INDIRECT_DESC BIT(28)
#define VIRTIO_F_EVENT_IDX     BIT(29)
#define VIRTIO_F_VERSION_1     BIT(32)
#define VIRTIO_F_RING_RESET    BIT(40)

enum {
	VIRTIO_ACKNOWLEDGE = 1,
	VIRTIO_DRIVER = 2,
	VIRTIO_DRIVER_OK = 4,
	VIRTIO_FEATURES_OK = 8,
	VIRTIO_NEEDS_RESET = 64,
	VIRTIO_FAILED = 128,
};

struct virtio_ops {
	/* The driver has put something into queue q (or has just become ready). */
	void (*kick)(void *ctx, unsigned q);
	/* No request of any queue may be in flight when it returns; queues are cleared afterwards. */
	void (*reset)(void *ctx);
	/* The same for one queue. */
	void (*queue_reset)(void *ctx, unsigned q);
	/* Features are final (may be NULL). */
	void (*negotiated)(void *ctx);
};

struct virtio_device {
	struct pci_device pci;
	/* Filled before virtio_add(). */
	struct memory *mem;
	struct loop *loop;
	const struct virtio_ops *ops;
	void *ctx;
	u16 type;
	u32 class_code;
	unsigned queue_count;
	u64 offered;                   /* features; those of the transport are added */
	u8 config[VIRTIO_CONFIG_SIZE]; /* device configuration, read-only to drivers */
	unsigned config_size;

	/* pci.c's own, readable by the device. */
	struct virtq queue[VIRTIO_MAX_QUEUES];
	u64 features; /* negotiated */
	u64 driver_features;
	u32 offered_select, driver_select;
	u16 queue_select, config_vector;
	u8 status, isr, generation;
	unsigned cfg_cap; /* offset of the PCI configuration access capability */
	u32 later;        /* queues to kick from the loop */
	struct loop_call later_call;
};

int virtio_add(struct virtio_device *d, struct pci_host *pci, unsigned slot, struct error *e);

/* Resets the device and takes it off the bus. */
void virtio_remove(struct virtio_device *d);

/* The driver is running, and nothing is broken. */
static inline bool virtio_running(const struct virtio_device *d)
{
	return (d->status & (VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET)) == VIRTIO_DRIVER_OK;
}

/* Interrupts the driver if it wants that for what was pushed to the queue. */
void virtio_interrupt(struct virtio_device *d, struct virtq *q);
/* The driver did nonsense: DEVICE_NEEDS_RESET and a configuration interrupt (§2.1.2). */
void virtio_broken(struct virtio_device *d, const char *why);
/* Has queue q kicked again soon, on the loop's thread. */
void virtio_later(struct virtio_device *d, unsigned q);
/* virtio_broken() if the queue is. */
bool virtio_check(struct virtio_device *d, struct virtq *q);
