/*
 * The ring's own eventfd is off while we submit: operations that finish at once (page cache hits) are reaped
 * by the submitter, and the loop's thread is not woken for them.
 *
 * No COOP_TASKRUN or DEFER_TASKRUN: a vCPU's thread that submitted may not enter the kernel again for long,
 * and its completions must not wait for that.
 */
#include "device/block_engine.h"
#include "base/log.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct block_ring {
	struct block_engine engine;
	struct io_uring ring;
};

static void block_ring_free(struct block_engine *g)
{
	struct block_ring *r = container_of(g, struct block_ring, engine);

	io_uring_queue_exit(&r->ring);
	close(g->event_fd);
	free(r);
}

static void block_ring_submit(struct block_engine *g)
{
	struct block_ring *r = container_of(g, struct block_ring, engine);

	if (!io_uring_sq_ready(&r->ring))
		return;
	io_uring_cq_eventfd_toggle(&r->ring, false);
	while (io_uring_sq_ready(&r->ring)) {
		int rc = io_uring_submit(&r->ring);

		/* EAGAIN, EBUSY: the kernel is short of memory for the moment. What is left in the ring goes
		 * with the next submission, at the latest when the loop's thread wakes up for what is in
		 * flight. */
		if (rc < 0 && rc != -EINTR) {
			if (rc != -EAGAIN && rc != -EBUSY)
				log_error("io_uring_enter: error %d", -rc);
			usleep(1000);
		}
	}
	io_uring_cq_eventfd_toggle(&r->ring, true);
}

static void block_ring_push(struct block_engine *g, struct block_io *io)
{
	struct block_ring *r = container_of(g, struct block_ring, engine);
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->ring);

	if (!sqe) {
		block_ring_submit(g);
		sqe = io_uring_get_sqe(&r->ring);
	}
	switch (io->kind) {
	case BLOCK_IO_READ:
		io_uring_prep_readv(sqe, io->fd, io->iov, io->iov_count, io->offset);
		break;
	case BLOCK_IO_WRITE:
		io_uring_prep_writev2(sqe, io->fd, io->iov, io->iov_count, io->offset, io->flags);
		break;
	case BLOCK_IO_SYNC:
		io_uring_prep_fsync(sqe, io->fd, IORING_FSYNC_DATASYNC);
		break;
	case BLOCK_IO_FALLOCATE:
		io_uring_prep_fallocate(sqe, io->fd, io->flags, (off_t)io->offset, (off_t)io->length);
		break;
	}
	io_uring_sqe_set_data(sqe, io);
}

static struct block_io *block_ring_reap(struct block_engine *g, bool wait)
{
	struct block_ring *r = container_of(g, struct block_ring, engine);
	struct io_uring_cqe *cqe = NULL;
	int rc;

	do {
		rc = wait ? io_uring_wait_cqe(&r->ring, &cqe) : io_uring_peek_cqe(&r->ring, &cqe);
	} while (rc == -EINTR || (wait && rc == -EAGAIN));
	if (rc < 0 || !cqe)
		return NULL;
	struct block_io *io = io_uring_cqe_get_data(cqe);
	io->result = cqe->res;
	io_uring_cqe_seen(&r->ring, cqe);
	return io;
}

static const struct block_engine_ops block_ring_ops = {
        .free = block_ring_free,
        .push = block_ring_push,
        .submit = block_ring_submit,
        .reap = block_ring_reap,
};

struct block_engine *block_ring_new(unsigned depth, struct error *e)
{
	struct block_ring *r = calloc(1, sizeof(*r));

	if (!r) {
		error_set(e, ENOMEM, "io_uring");
		return NULL;
	}
	r->engine.ops = &block_ring_ops;
	r->engine.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int rc = r->engine.event_fd < 0 ? -errno : io_uring_queue_init(depth, &r->ring, 0);
	if (rc < 0) {
		error_set(e, -rc, "io_uring");
		goto fail;
	}
	rc = io_uring_register_eventfd(&r->ring, r->engine.event_fd);
	if (rc < 0) {
		error_set(e, -rc, "io_uring");
		io_uring_queue_exit(&r->ring);
		goto fail;
	}
	return &r->engine;
fail:
	if (r->engine.event_fd >= 0)
		close(r->engine.event_fd);
	free(r);
	return NULL;
}
