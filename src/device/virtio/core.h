/*
 * Split virtqueues (Virtual I/O Device 1.2 §2.7), the device's side: chains of descriptors in, used entries
 * out.
 *
 * All that the guest wrote is copied once and then checked: indices, loops, the order of readable and
 * writable parts, that every buffer lies in RAM. A queue whose driver broke a rule is `broken` and gives
 * nothing any more until it is reset; the caller sets DEVICE_NEEDS_RESET (virtio_check()).
 *
 * Threads: the owner's lock is held around every call. The guest's side runs at any time: barriers are here.
 */
#pragma once

#include "base/types.h"
#include "machine/memory.h"

#include <sys/uio.h>

#define VIRTQ_MAX_SIZE     256u
#define VIRTQ_MAX_SEGMENTS 256u

struct virtq {
	struct memory *mem;
	u16 max_size, size; /* descriptors, a power of two */
	u16 vector;         /* MSI-X */
	bool enabled, broken;
	bool event_idx;        /* VIRTIO_F_EVENT_IDX was negotiated */
	u64 desc, avail, used; /* gpa */
	u16 next_avail;        /* entries taken */
	u16 next_used;         /* entries returned and published */
	u16 staged_used;       /* entries written but not yet published */
	u16 signalled;         /* next_used at the last interrupt decision */
};

/* One request. Buffers in order, readable ones first; iov may be used up by the owner, gpa and len stay. */
struct virtq_chain {
	u16 head;
	unsigned out_count, in_count; /* iov[0 … out_count-1] readable, then in_count writable */
	u64 out_len, in_len;          /* bytes */
	struct iovec iov[VIRTQ_MAX_SEGMENTS];
	u64 gpa[VIRTQ_MAX_SEGMENTS];
	u32 len[VIRTQ_MAX_SEGMENTS];
};

/* After size and addresses are set. False: they are nonsense. */
bool virtq_enable(struct virtq *q);
/* Power-on state; mem and max_size stay. */
void virtq_reset(struct virtq *q);

/* 1: *c is filled; 0: nothing there; -1: broken. */
int virtq_pop(struct virtq *q, struct virtq_chain *c);
/* Gives the last n popped chains back, to be popped again. */
void virtq_unpop(struct virtq *q, unsigned n);

/* Returns a chain with `written` bytes of its writable part filled. Marks nothing as written: see
 * virtq_written(). */
void virtq_push(struct virtq *q, u16 head, u32 written);
/* The same in two steps: all that was staged becomes visible at once. */
void virtq_stage(struct virtq *q, u16 head, u32 written);
void virtq_publish(struct virtq *q);

/* The host has written the first n bytes of the writable part; before the push. */
void virtq_written(const struct virtq *q, const struct virtq_chain *c, u64 n);

/* Does the driver want an interrupt for what was pushed since the last call? */
bool virtq_interrupt(struct virtq *q);
/* Asks for a notification at the next available entry. True: one is there already, go on popping. */
bool virtq_await(struct virtq *q);

/* Buffers as one string of bytes: copies up to len bytes from or to offset; returns the number copied. */
size_t iov_read(const struct iovec *iov, unsigned count, u64 offset, void *buf, size_t len);
size_t iov_write(const struct iovec *iov, unsigned count, u64 offset, const void *buf, size_t len);
/* Drops n bytes at the front or the back; returns the new start and count. */
struct iovec *iov_trim_front(struct iovec *iov, unsigned *count, u64 n);
void iov_trim_back(struct iovec *iov, unsigned *count, u64 n);
