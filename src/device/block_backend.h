/*
 * Where a disk's bytes live: a raw file or block device behind io_uring (block_engine.h).
 *
 * One owner (a disk controller) has one backend. Its lock is the owner's: every function below is called with
 * config.lock held (it must be recursive), and `done` runs with it held, either on the loop's thread or
 * inside block_kick() or block_drain(). So a controller sees one thing at a time.
 *
 * A request is the owner's memory, from block_submit() until its done() was called. Its iovecs point into
 * guest RAM (or anywhere) and are used up in place. Requests beyond BLOCK_DEPTH wait in a list; nothing is
 * allocated after block_new(). Requests may complete in any order. Short transfers are continued; reads past
 * the end of a file that has shrunk give zeroes. Errors are errno values, per request; a full disk is ENOSPC.
 *
 * A flush that is done has reached the disk (fdatasync), with all writes that were done before it was
 * submitted.
 *
 * Two processes never write the same image: it is locked with an open-file-description lock, exclusive for
 * writers, shared for readers.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "base/types.h"
#include "device/block_engine.h"

#include <pthread.h>
#include <sys/uio.h>

#define BLOCK_DEPTH  128
#define BLOCK_SECTOR 512ULL

/* What a user says of a disk, whatever controller it hangs on. */
struct disk_config {
	const char *path;
	bool readonly;
	bool direct;    /* O_DIRECT */
	const char *id; /* serial number; NULL: made up from the path */
};

struct block_config {
	struct disk_config disk;
	pthread_mutex_t *lock;
	/* After a batch of done() calls: time to interrupt the guest. May be NULL. */
	void (*batch)(void *ctx);
	void *ctx;
};

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_WRITE_ZEROES, BLOCK_DISCARD };

struct block_request {
	enum block_op op;
	u64 offset, length; /* bytes within the disk; length is the sum of iov for reads and writes */
	struct iovec *iov;
	unsigned iov_count;                               /* <= 1024 (IOV_MAX) */
	bool fua;                                         /* write, write zeroes: on the disk when done */
	bool unmap;                                       /* write zeroes: may give the space back */
	void (*done)(struct block_request *r, int error); /* 0 or errno */

	/* block_backend.c's own. */
	struct block_io io;
	struct iovec zero_iov;
	u64 position; /* bytes done */
	u8 step, retries;
	struct block_request *next;
};

struct block;

struct block *block_new(const struct block_config *config, struct loop *loop, struct error *e);
void block_free(struct block *b); /* drains */

u64 block_size(const struct block *b); /* bytes, multiple of BLOCK_SECTOR */
bool block_readonly(const struct block *b);
/* Discard works and what was discarded reads as zeroes. */
bool block_can_discard(const struct block *b);

/* The range must lie within the disk. Nothing starts before block_kick(). */
void block_submit(struct block *b, struct block_request *r);
/* Hands all submitted requests to the kernel and finishes those that are done already. */
void block_kick(struct block *b);
/* Waits until no request is left; done() has been called for all. */
void block_drain(struct block *b);

/* The disk's serial number: disk->id, or "vol" and 17 hexadecimal digits of a hash of the path. */
#define DISK_ID_MAX 20
void disk_id(const struct disk_config *disk, char id[DISK_ID_MAX + 1]);
/* A 64-bit FNV-1a hash of text, for stable made-up identities. */
u64 disk_hash(const char *text, u64 seed);
