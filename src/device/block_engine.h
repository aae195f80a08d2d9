/*
 * Asynchronous file operations, one interface over two ways: io_uring (block_ring.c), and a few threads with
 * plain system calls (block_threads.c) where containers forbid io_uring.
 *
 * All functions are called under one lock of the caller's. An operation belongs to the engine from push to
 * reap; at most the depth given at the start are in it.
 */
#pragma once

#include "base/error.h"
#include "base/types.h"

#include <sys/uio.h>

enum block_io_kind { BLOCK_IO_READ, BLOCK_IO_WRITE, BLOCK_IO_SYNC, BLOCK_IO_FALLOCATE };

struct block_io {
	enum block_io_kind kind;
	int fd;
	struct iovec *iov;
	unsigned iov_count;
	u64 offset, length; /* length: fallocate only */
	int flags;          /* write: RWF_…; fallocate: mode */
	int result;         /* bytes or 0, or -errno */
	struct block_io *next;
};

struct block_engine;

struct block_engine_ops {
	void (*free)(struct block_engine *g);
	void (*push)(struct block_engine *g, struct block_io *io);
	/* Starts what was pushed. */
	void (*submit)(struct block_engine *g);
	/* The next finished operation, or NULL. With wait, sleeps until there is one. */
	struct block_io *(*reap)(struct block_engine *g, bool wait);
};

struct block_engine {
	const struct block_engine_ops *ops;
	int event_fd; /* an eventfd that becomes readable when operations finish */
};

struct block_engine *block_ring_new(unsigned depth, struct error *e);
struct block_engine *block_threads_new(struct error *e);

/* The operation by plain system calls: bytes or 0, or -errno. */
int block_io_run(const struct block_io *io);
