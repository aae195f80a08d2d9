/*
 * What the VMM needs to plug virtio devices in (Virtual I/O Device 1.2, PCI transport, modern only):
 * virtio-blk, virtio-net on a tap, virtio-rng. The transport is virtio/pci.h, queues are virtio/core.h.
 *
 * Each _new() puts the device on the PCI bus, and _free() takes it off, while vCPUs run or not; both on the
 * loop's thread, with memory and bus there.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "device/block_backend.h"
#include "device/virtio/limiter.h"
#include "machine/memory.h"
#include "machine/pci.h"

struct virtio_blk_config {
	struct disk_config disk;
	unsigned queues; /* 1 … 8; 0: 1 */
	unsigned slot;   /* PCI slot, 0: any */
};
struct virtio_blk;
struct virtio_blk *virtio_blk_new(const struct virtio_blk_config *config, struct pci_host *pci,
                                  struct memory *mem, struct loop *loop, struct error *e);
void virtio_blk_free(struct virtio_blk *b);
unsigned virtio_blk_slot(const struct virtio_blk *b);

struct virtio_net_config {
	const char *tap;    /* an interface that exists; with tap_fd >= 0 only a name for messages */
	const char *stream; /* a UNIX socket instead of a tap (net_stream.h), or NULL; tap is a name for
	                       messages */
	int tap_fd;         /* an open tap with IFF_VNET_HDR handed to us (owned from here on), or -1 */
	bool has_mac;
	u8 mac[6]; /* without has_mac: made up from the interface's name */
	unsigned slot;
	struct limiter_config rx, tx; /* what the guest receives, and sends; zeros: no limits */
};
struct virtio_net;
struct virtio_net *virtio_net_new(const struct virtio_net_config *config, struct pci_host *pci,
                                  struct memory *mem, struct loop *loop, struct error *e);
void virtio_net_free(struct virtio_net *n);
unsigned virtio_net_slot(const struct virtio_net *n);
/* New limits, with full buckets; NULL: that direction stays as it is. Any thread. */
void virtio_net_limit(struct virtio_net *n, const struct limiter_config *rx, const struct limiter_config *tx);

struct virtio_rng_config {
	unsigned slot;
};
struct virtio_rng;
struct virtio_rng *virtio_rng_new(const struct virtio_rng_config *config, struct pci_host *pci,
                                  struct memory *mem, struct loop *loop, struct error *e);
void virtio_rng_free(struct virtio_rng *r);
