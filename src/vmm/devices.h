/*
 * What a configuration plugs into a board: COM1, the disks, the networks, and a random number generator, in
 * this order, which is also the order of their PCI slots. Loop's thread, no vCPU running.
 */
#pragma once

#include "base/error.h"
#include "device/chardev.h"
#include "machine/board.h"
#include "vmm/config.h"

struct serial;
struct nvme;
struct virtio_blk;
struct virtio_net;
struct virtio_rng;

struct devices {
	struct serial *serial;
	struct nvme *nvme[VMM_MAX_DISKS];
	struct virtio_blk *blk[VMM_MAX_DISKS];
	struct virtio_net *net[VMM_MAX_NETS];
	struct virtio_rng *rng;
};

/* Opens files and taps. What was added before a failure is released by devices_release(). */
int devices_add(struct devices *d, const struct vmm_config *config, struct board *board,
                struct chardev *console, struct error *e);
/* What board_reset() does not reach. */
void devices_reset(struct devices *d);
/* Waits for requests under way; disks are flushed. */
void devices_release(struct devices *d);
