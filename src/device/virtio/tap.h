/*
 * A tap interface of the host: frames with a virtio-net header in front (struct virtio_net_hdr_v1, 12 bytes).
 * The descriptor does not block.
 */
#pragma once

#include "base/error.h"
#include "base/types.h"

/* Attaches to an interface that exists; making one is the user's business. Returns the descriptor. */
int tap_open(const char *name, struct error *e);
/* Prepares a descriptor that was handed to us. */
int tap_adopt(int fd, const char *name, struct error *e);

/* What the guest takes in received frames; TUN_F_… of <linux/if_tun.h>. */
int tap_set_offload(int fd, unsigned flags);

/* 0 if unknown. */
unsigned tap_mtu(const char *name);
