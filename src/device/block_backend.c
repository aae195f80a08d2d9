/*
 * Theory of operation: a request is a little state machine. request_start() turns what is left of it into one
 * operation of the engine; request_finished() looks at the result and either starts the next operation or
 * answers. Write zeroes goes down a ladder until something works: zero range, hole, writing zeroes.
 */
#include "device/block_backend.h"
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define ZERO_CHUNK  (256 * KiB)
#define MAX_RETRIES 16

enum step { STEP_MAIN, STEP_ZERO_RANGE, STEP_PUNCH, STEP_ZERO_WRITE, STEP_SYNC };

struct block {
	struct block_config config;
	struct loop *loop;
	struct loop_fd event;
	struct block_engine *engine;
	int fd;       /* the locked one; O_DIRECT if asked for */
	int plain_fd; /* with O_DIRECT: for requests that are not aligned for it; else fd */
	u64 size;
	u64 align; /* of offsets, lengths and addresses for O_DIRECT */
	bool can_discard;
	bool no_zero_range, no_punch; /* learnt from a refusal */
	bool kicking, again;
	unsigned in_flight;
	unsigned finished; /* done() calls since the last batch() */
	struct block_request *pending, **pending_last;
	u8 *zeroes; /* ZERO_CHUNK */
};

/* ---- requests ---- */

static bool block_aligned(const struct block *b, const struct block_request *r)
{
	u64 bits = r->offset + r->position;

	for (unsigned i = 0; i < r->iov_count; i++)
		bits |= (u64)(uintptr_t)r->iov[i].iov_base | r->iov[i].iov_len;
	return !(bits & (b->align - 1));
}

static enum step block_zero_step(const struct block *b, const struct block_request *r)
{
	if (!b->no_punch && r->unmap)
		return STEP_PUNCH;
	if (!b->no_zero_range)
		return STEP_ZERO_RANGE;
	return b->no_punch ? STEP_ZERO_WRITE : STEP_PUNCH;
}

static void request_start(struct block *b, struct block_request *r)
{
	struct block_io *io = &r->io;

	*io = (struct block_io){
	        .fd = b->fd, .offset = r->offset + r->position, .length = r->length - r->position};
	switch ((enum step)r->step) {
	case STEP_MAIN:
		if (r->op == BLOCK_FLUSH) {
			io->kind = BLOCK_IO_SYNC;
			break;
		}
		io->kind = r->op == BLOCK_READ ? BLOCK_IO_READ : BLOCK_IO_WRITE;
		io->iov = r->iov;
		io->iov_count = r->iov_count;
		io->flags = r->op == BLOCK_WRITE && r->fua ? RWF_DSYNC : 0;
		if (b->config.disk.direct && (r->retries || !block_aligned(b, r)))
			io->fd = b->plain_fd;
		break;
	case STEP_ZERO_RANGE:
		io->kind = BLOCK_IO_FALLOCATE;
		io->flags = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
		break;
	case STEP_PUNCH:
		io->kind = BLOCK_IO_FALLOCATE;
		io->flags = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
		break;
	case STEP_ZERO_WRITE:
		r->zero_iov = (struct iovec){b->zeroes, min(io->length, (u64)ZERO_CHUNK)};
		io->kind = BLOCK_IO_WRITE;
		io->fd = b->plain_fd;
		io->iov = &r->zero_iov;
		io->iov_count = 1;
		break;
	case STEP_SYNC:
		io->kind = BLOCK_IO_SYNC;
		break;
	}
	b->engine->ops->push(b->engine, io);
	b->again = true;
}

static void iov_zero(struct block_request *r)
{
	for (unsigned i = 0; i < r->iov_count; i++)
		memset(r->iov[i].iov_base, 0, r->iov[i].iov_len);
}

static void iov_advance(struct block_request *r, size_t n)
{
	while (n && r->iov_count) {
		size_t k = min(n, r->iov->iov_len);

		r->iov->iov_base = (u8 *)r->iov->iov_base + k;
		r->iov->iov_len -= k;
		n -= k;
		if (!r->iov->iov_len) {
			r->iov++;
			r->iov_count--;
		}
	}
}

/* What a result means: the errno to answer with, 0 for success, or -1 if there is more to do (r->step says
 * what). */
static int request_progress(struct block *b, struct block_request *r)
{
	int n = r->io.result;

	/* EINTR, ECANCELED: the thread that submitted has ended; EAGAIN: short of memory. EINVAL with
	 * O_DIRECT: an alignment that we did not know of. */
	bool direct_refused = n == -EINVAL && r->step == STEP_MAIN && b->config.disk.direct && !r->retries;
	if ((n == -EINTR || n == -EAGAIN || n == -ECANCELED || direct_refused) && r->retries++ < MAX_RETRIES)
		return -1;

	switch ((enum step)r->step) {
	case STEP_ZERO_RANGE:
	case STEP_PUNCH:
		if (n == -EOPNOTSUPP || n == -ENOSYS || n == -EINVAL) {
			if (n != -EINVAL)
				*(r->step == STEP_PUNCH ? &b->no_punch : &b->no_zero_range) = true;
			if (r->op == BLOCK_DISCARD && n != -EINVAL)
				return 0; /* a hint after all */
			/* EINVAL: not in units that the device can take. */
			r->step = n == -EINVAL ? STEP_ZERO_WRITE : (u8)block_zero_step(b, r);
			return -1;
		}
		break;
	case STEP_ZERO_WRITE:
	case STEP_MAIN:
		if (n < 0 || r->op == BLOCK_FLUSH)
			break;
		if (n == 0) {
			if (r->op != BLOCK_READ)
				return EIO;
			iov_zero(r); /* the file has shrunk */
			return 0;
		}
		r->position += (u64)n;
		if (r->position >= r->length)
			break;
		if (r->step == STEP_MAIN)
			iov_advance(r, (size_t)n);
		return -1;
	case STEP_SYNC:
		break;
	}
	if (n < 0)
		return -n;
	if (r->fua && r->op != BLOCK_WRITE && r->step != STEP_SYNC && r->step != STEP_MAIN) {
		r->step = STEP_SYNC;
		return -1;
	}
	return 0;
}

static void request_finished(struct block *b, struct block_request *r)
{
	int error = request_progress(b, r);

	if (error < 0) {
		request_start(b, r);
		return;
	}
	b->in_flight--;
	if (error && r->op != BLOCK_DISCARD)
		log_guest("disk '%s': %s", b->config.disk.path, strerror(error));
	struct block_request *next = b->pending;
	if (next) {
		b->pending = next->next;
		if (!b->pending)
			b->pending_last = &b->pending;
		b->in_flight++;
		request_start(b, next);
	}
	b->finished++;
	r->done(r, error); /* may free, reuse or submit r again */
}

void block_submit(struct block *b, struct block_request *r)
{
	r->position = 0;
	r->retries = 0;
	r->next = NULL;
	r->step = STEP_MAIN;
	if (r->op == BLOCK_WRITE_ZEROES)
		r->step = (u8)block_zero_step(b, r);
	else if (r->op == BLOCK_DISCARD)
		r->step = STEP_PUNCH;
	if (b->in_flight < BLOCK_DEPTH) {
		b->in_flight++;
		request_start(b, r);
	} else {
		*b->pending_last = r;
		b->pending_last = &r->next;
	}
}

/* Reaps; with wait, until nothing is left. */
static void block_run(struct block *b, bool wait)
{
	struct block_io *io;

	b->kicking = true;
	do {
		b->again = false;
		b->engine->ops->submit(b->engine);
		while ((io = b->engine->ops->reap(b->engine, wait && b->in_flight && !b->again)))
			request_finished(b, container_of(io, struct block_request, io));
	} while (b->again || (wait && b->in_flight));
	b->kicking = false;
	if (b->finished) {
		b->finished = 0;
		if (b->config.batch)
			b->config.batch(b->config.ctx);
	}
}

void block_kick(struct block *b)
{
	/* From inside of a done(): the loop in block_run() sees `again`, set by block_submit(). */
	if (!b->kicking)
		block_run(b, false);
}

void block_drain(struct block *b)
{
	assert(!b->kicking);
	block_run(b, true);
}

static void block_event(void *ctx, u32 events)
{
	struct block *b = ctx;
	u64 count;

	(void)!read(b->engine->event_fd, &count, sizeof(count));
	pthread_mutex_lock(b->config.lock);
	block_kick(b);
	pthread_mutex_unlock(b->config.lock);
}

/* ---- opening ---- */

static int block_open_file(const struct disk_config *d, bool direct, struct error *e)
{
	/* O_NONBLOCK: so that a FIFO does not hang us; io_uring must not see it later. */
	int fd = open(d->path, (d->readonly ? O_RDONLY : O_RDWR) | (direct ? O_DIRECT : 0) | O_CLOEXEC |
	                               O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return error_set(e, errno, "disk '%s'", d->path);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	return fd;
}

static int block_lock_file(const struct disk_config *d, int fd, struct error *e)
{
	struct flock l = {.l_type = d->readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};

	if (fcntl(fd, F_OFD_SETLK, &l) == 0)
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return error_set(e, 0, "disk '%s': in use by another process%s", d->path,
		                 d->readonly ? " that writes to it" : "");
	log_warn("disk '%s': cannot be locked: %s", d->path, strerror(errno));
	return 0;
}

static int block_measure(struct block *b, struct error *e)
{
	const char *path = b->config.disk.path;
	struct stat st;

	if (fstat(b->fd, &st) < 0)
		return error_set(e, errno, "disk '%s'", path);
	b->align = 512;
	if (S_ISBLK(st.st_mode)) {
		int sector = 512;

		if (ioctl(b->fd, BLKGETSIZE64, &b->size) < 0)
			return error_set(e, errno, "disk '%s'", path);
		if (ioctl(b->fd, BLKSSZGET, &sector) == 0 && sector > 512)
			b->align = (u64)sector;
	} else if (S_ISREG(st.st_mode)) {
		b->size = (u64)st.st_size;
	} else {
		return error_set(e, 0, "disk '%s': neither a regular file nor a block device", path);
	}
	if (!b->size)
		return error_set(e, 0, "disk '%s': is empty", path);
	if (b->size % BLOCK_SECTOR)
		return error_set(e, 0, "disk '%s': its size, %llu bytes, is not a multiple of 512", path,
		                 (unsigned long long)b->size);
	/* A hole beyond the end changes nothing and tells whether holes can be made. */
	if (!b->config.disk.readonly)
		b->can_discard =
		        S_ISBLK(st.st_mode) || fallocate(b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		                                         (off_t)align_up(b->size, 4 * KiB), 4 * KiB) == 0;
	return 0;
}

struct block *block_new(const struct block_config *config, struct loop *loop, struct error *e)
{
	struct block *b = calloc(1, sizeof(*b));
	const struct disk_config *d = &config->disk;

	if (!b) {
		error_set(e, ENOMEM, "disk '%s'", d->path);
		return NULL;
	}
	b->config = *config;
	b->loop = loop;
	b->pending_last = &b->pending;
	b->plain_fd = -1;
	b->event.fd = -1;
	b->fd = block_open_file(d, d->direct, e);
	if (b->fd < 0 || block_measure(b, e) < 0 || block_lock_file(d, b->fd, e) < 0)
		goto fail;
	b->plain_fd = d->direct ? block_open_file(d, false, e) : b->fd;
	if (b->plain_fd < 0)
		goto fail;
	b->zeroes = calloc(1, ZERO_CHUNK);
	if (!b->zeroes) {
		error_set(e, ENOMEM, "disk '%s'", d->path);
		goto fail;
	}
	b->engine = block_ring_new(BLOCK_DEPTH, e);
	if (!b->engine) {
		log_info("disk '%s': %s; using threads", d->path, e->text);
		b->engine = block_threads_new(e);
	}
	if (!b->engine)
		goto fail_named;
	b->event =
	        (struct loop_fd){.fd = b->engine->event_fd, .events = EPOLLIN, .fn = block_event, .ctx = b};
	if (loop_add(loop, &b->event, e) < 0) {
		b->event.fd = -1;
		goto fail_named;
	}
	return b;
fail_named:
	error_prefix(e, "disk '%s'", d->path);
fail:
	block_free(b);
	return NULL;
}

void block_free(struct block *b)
{
	if (!b)
		return;
	if (b->engine) {
		block_drain(b);
		if (b->event.fd >= 0)
			loop_remove(b->loop, &b->event);
		b->engine->ops->free(b->engine);
	}
	if (b->plain_fd >= 0 && b->plain_fd != b->fd)
		close(b->plain_fd);
	if (b->fd >= 0)
		close(b->fd);
	free(b->zeroes);
	free(b);
}

u64 block_size(const struct block *b)
{
	return b->size;
}

bool block_readonly(const struct block *b)
{
	return b->config.disk.readonly;
}

bool block_can_discard(const struct block *b)
{
	return b->can_discard;
}

u64 disk_hash(const char *text, u64 seed)
{
	u64 h = 0xcbf29ce484222325ULL ^ seed;

	for (; *text; text++)
		h = (h ^ (u8)*text) * 0x100000001b3ULL;
	return h;
}

void disk_id(const struct disk_config *disk, char id[DISK_ID_MAX + 1])
{
	if (disk->id)
		snprintf(id, DISK_ID_MAX + 1, "%s", disk->id);
	else
		snprintf(id, DISK_ID_MAX + 1, "vol0%016llx", (unsigned long long)disk_hash(disk->path, 0));
}
