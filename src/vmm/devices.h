/*
 * What a configuration plugs into a board: COM1, the disks, the networks, and a random number generator, in
 * this order, which is also the order of their PCI slots. Loop's thread, no vCPU running.
 */
#pragma once

#include "base/error.h"
#include "device/chardev.h"
#include "machine/board.h"
#include "vmm/config.h"

#define DEVICES_PATIENCE_NS (30 * 1000000000ULL)

struct serial;
struct nvme;
struct virtio_blk;
struct virtio_net;
struct virtio_rng;

struct devices {
	struct serial *serial;
	/* In the order of the configuration's lists. */
	struct device_disk {
		struct nvme *nvme; /* or */
		struct virtio_blk *blk;
		u64 asked_ns; /* since when the guest is to give it back; 0: it may keep it */
	} disk[VMM_MAX_DISKS];
	struct device_net {
		struct virtio_net *net;
		u64 asked_ns;
	} net[VMM_MAX_NETS];
	struct virtio_rng *rng;
};

/* Opens files and taps. What was added before a failure is released by devices_release(). */
int devices_add(struct devices *d, const struct vmm_config *config, struct board *board,
                struct chardev *console, struct error *e);
/* The n-th disk or network of the configuration's list, which has come last, or is there already: then it is
 * announced once more. */
int devices_plug(struct devices *d, enum vmm_part part, unsigned n, const struct vmm_config *config,
                 struct board *board, struct error *e);
/*
 * Asks the guest to give it back, again if need be. 0: it is gone, and its place in the list is the next
 * one's; 1: the guest was asked; -1: it has not given it back for DEVICES_PATIENCE_NS, and may keep it now.
 * By force, it is gone at once.
 */
int devices_unplug(struct devices *d, enum vmm_part part, unsigned n, bool force, struct board *board,
                   struct error *e);
/* The guest has given back what is in a slot: it is gone, and was the *n-th of the part's list. False:
 * nothing of these. */
bool devices_given(struct devices *d, unsigned slot, enum vmm_part *part, unsigned *n);
/* What board_reset() does not reach. */
void devices_reset(struct devices *d);
/* Waits for requests under way; disks are flushed. */
void devices_release(struct devices *d);
