/*
 * A network without a tap: Ethernet frames over a UNIX stream socket, each behind four bytes of its length
 * (big-endian), as passt speaks and QEMU's "-netdev stream". It looks like a tap to the device: a descriptor
 * that gives and takes whole frames, with a virtio-net header in front that is all zeroes. So there are no
 * offloads.
 *
 * Whoever is at the other end is not trusted: a length that no frame has ends the connection, and with it
 * the network, not the machine.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"

enum { NET_STREAM_FRAME = 14 + 4 + 65535 }; /* bytes, the longest */

struct net_stream;

/* Connects to the socket. *fd: the device's end, which the caller owns; it does not block. */
struct net_stream *net_stream_new(const char *path, struct loop *loop, int *fd, struct error *e);
/* On a socket that is connected, which is owned from here on, also if this fails. */
struct net_stream *net_stream_adopt(int socket, struct loop *loop, int *fd, struct error *e);
/* On the loop's thread, or while it stands still. */
void net_stream_free(struct net_stream *s);
