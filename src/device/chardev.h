/*
 * The host's end of a serial line: where bytes go and come from.
 *
 *   stdio      standard input and output (terminal modes are the VMM's business)
 *   none       output vanishes, no input
 *   file:PATH  output only, the file is truncated
 *   unix:PATH  a listening stream socket; one client at a time, others wait; it may come and go. Output while
 *              nobody is connected vanishes, as on a line with no cable.
 *
 * Neither reads nor writes ever block. A transfer that did less than it was asked for is a promise: the
 * client's readable() or writable() is called once, on the loop's thread, when there is more to do. Output
 * whose reader has gone for good (EPIPE, disk full) is dropped with one warning. SIGPIPE must be ignored by
 * the process.
 *
 * Threads: chardev_read(), chardev_write() and chardev_wait() on any; the rest on the loop's thread.
 * Callbacks hold no lock of this file.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "base/types.h"

struct chardev;

struct chardev_client {
	void (*readable)(void *ctx);
	void (*writable)(void *ctx);
	void *ctx;
};

struct chardev *chardev_new(const char *spec, struct loop *loop, struct error *e);
void chardev_free(struct chardev *c);

/* One client; NULL takes it away. */
void chardev_attach(struct chardev *c, const struct chardev_client *client);

/* Sees all input as it arrives, before the client, even while nobody reads (a terminal's escape key must work
 * with a hung guest). Edits buf in place, returns the new length (<= len). Called on the loop's thread. */
void chardev_set_filter(struct chardev *c, size_t (*filter)(void *ctx, u8 *buf, size_t len), void *ctx);

/* Bytes taken, 0 … len. */
size_t chardev_write(struct chardev *c, const void *buf, size_t len);
size_t chardev_read(struct chardev *c, void *buf, size_t len);

/* Waits until output is possible again, at most timeout_ms. */
bool chardev_wait(struct chardev *c, int timeout_ms);
