/*
 * virtio-blk (Virtual I/O Device 1.2 §5.2).
 *
 * A request is a chain: a header, data, and at the very end one writable byte for the status; how these are
 * cut into descriptors is the driver's choice. Requests come from a pool; while it is empty, queues wait.
 */
#include "device/virtio/pci.h"
#include "device/virtio/virtio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define F_SEG_MAX      BIT(2)
#define F_RO           BIT(5)
#define F_BLK_SIZE     BIT(6)
#define F_FLUSH        BIT(9)
#define F_TOPOLOGY     BIT(10)
#define F_MQ           BIT(12)
#define F_DISCARD      BIT(13)
#define F_WRITE_ZEROES BIT(14)

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK, S_IOERR, S_UNSUPP };

#define RANGES      16u
#define MAX_SECTORS 0x3fffffu /* of one discard or write zeroes: 2 GiB */

struct blk_config {
	u64 capacity;
	u32 size_max, seg_max;
	u8 geometry[4];
	u32 blk_size;
	u8 physical_block_exp, alignment_offset;
	u16 min_io_size;
	u32 opt_io_size;
	u8 writeback, unused;
	u16 num_queues;
	u32 max_discard_sectors, max_discard_seg, discard_sector_alignment;
	u32 max_write_zeroes_sectors, max_write_zeroes_seg;
	u8 write_zeroes_may_unmap, unused2[3];
} __attribute__((packed));
_Static_assert(sizeof(struct blk_config) == 60, "layout");

struct blk_header {
	u32 type, reserved;
	u64 sector;
};

struct blk_range {
	u64 sector;
	u32 sectors, flags;
};

struct blk_request {
	struct virtio_blk *b;
	struct blk_request *next; /* free list */
	unsigned queue;
	u32 data_in; /* bytes of data that a successful read gives */
	struct block_request block;
	struct virtq_chain chain;
	struct blk_range range[RANGES];
	unsigned range_count, range_next;
};

struct virtio_blk {
	struct virtio_device dev;
	struct block *block;
	u64 sectors;
	char id[DISK_ID_MAX + 1];
	struct blk_request *free, *requests;
	bool running, again; /* blk_run() is active; asked to look again */
};

static void blk_free_request(struct blk_request *r)
{
	r->next = r->b->free;
	r->b->free = r;
}

static void blk_finish(struct blk_request *r, u8 status)
{
	struct virtio_blk *b = r->b;
	struct virtq *q = &b->dev.queue[r->queue];
	struct virtq_chain *c = &r->chain;
	unsigned last = c->out_count + c->in_count - 1;

	virtq_written(q, c, r->data_in); /* a failed read may have got part of the way */
	if (virtio_running(&b->dev)) {
		memory_write(b->dev.mem, c->gpa[last] + c->len[last] - 1, &status, 1);
		/* The status byte follows the whole buffer: a shorter length would not cover it. */
		virtq_push(q, c->head, (u32)c->in_len);
	}
	blk_free_request(r);
}

static bool blk_next_range(struct blk_request *r)
{
	while (r->range_next < r->range_count) {
		const struct blk_range *g = &r->range[r->range_next++];

		if (!g->sectors)
			continue;
		r->block.offset = g->sector * BLOCK_SECTOR;
		r->block.length = g->sectors * BLOCK_SECTOR;
		r->block.unmap = g->flags & 1;
		block_submit(r->b->block, &r->block);
		return true;
	}
	return false;
}

static void blk_done(struct block_request *block, int error)
{
	struct blk_request *r = container_of(block, struct blk_request, block);

	if (error || !blk_next_range(r))
		blk_finish(r, error ? S_IOERR : S_OK);
}

static bool blk_in_bounds(const struct virtio_blk *b, u64 sector, u64 count)
{
	return sector <= b->sectors && count <= b->sectors - sector;
}

/* Without FLUSH the driver has no means to make writes durable: each one is (§5.2.6.2). */
static bool blk_write_through(const struct virtio_blk *b)
{
	return !(b->dev.features & F_FLUSH);
}

/* The handlers return a status, or -1 if the disk will answer. */
static int blk_transfer(struct blk_request *r, enum block_op op, u64 sector, struct iovec *iov,
                        unsigned count, u64 len)
{
	struct virtio_blk *b = r->b;

	if (len % BLOCK_SECTOR || !blk_in_bounds(b, sector, len / BLOCK_SECTOR))
		return S_IOERR;
	if (op == BLOCK_WRITE && block_readonly(b->block))
		return S_IOERR;
	if (!len)
		return S_OK;
	r->data_in = op == BLOCK_READ ? (u32)len : 0;
	r->block = (struct block_request){
	        .op = op,
	        .offset = sector * BLOCK_SECTOR,
	        .length = len,
	        .iov = iov,
	        .iov_count = count,
	        .fua = op == BLOCK_WRITE && blk_write_through(b),
	        .done = blk_done,
	};
	block_submit(b->block, &r->block);
	return -1;
}

static int blk_ranges(struct blk_request *r, enum block_op op, const struct iovec *iov, unsigned count,
                      u64 len)
{
	struct virtio_blk *b = r->b;

	if (!len || len % sizeof(r->range[0]) || len > sizeof(r->range) || block_readonly(b->block))
		return S_IOERR;
	iov_read(iov, count, 0, r->range, len);
	r->range_count = (unsigned)(len / sizeof(r->range[0]));
	for (unsigned i = 0; i < r->range_count; i++) {
		const struct blk_range *g = &r->range[i];

		if (g->flags & ~(op == BLOCK_WRITE_ZEROES ? 1u : 0u))
			return S_UNSUPP;
		if (g->sectors > MAX_SECTORS || !blk_in_bounds(b, g->sector, g->sectors))
			return S_IOERR;
	}
	r->block = (struct block_request){
	        .op = op, .fua = op == BLOCK_WRITE_ZEROES && blk_write_through(b), .done = blk_done};
	return blk_next_range(r) ? -1 : S_OK;
}

static int blk_start(struct blk_request *r)
{
	struct virtio_blk *b = r->b;
	struct virtq_chain *c = &r->chain;
	struct blk_header h;
	unsigned out_count = c->out_count, in_count = c->in_count;

	iov_read(c->iov, out_count, 0, &h, sizeof(h));
	/* The iovecs are cut to the data: without header in front, without status at the end. */
	struct iovec *in = c->iov + c->out_count;
	iov_trim_back(in, &in_count, 1);
	struct iovec *out = iov_trim_front(c->iov, &out_count, sizeof(h));

	switch (h.type) {
	case T_IN:
		return blk_transfer(r, BLOCK_READ, h.sector, in, in_count, c->in_len - 1);
	case T_OUT:
		return blk_transfer(r, BLOCK_WRITE, h.sector, out, out_count, c->out_len - sizeof(h));
	case T_FLUSH:
		r->block = (struct block_request){.op = BLOCK_FLUSH, .done = blk_done};
		block_submit(b->block, &r->block);
		return -1;
	case T_GET_ID:
		/* 20 bytes, no terminating zero if it is full. */
		r->data_in = (u32)iov_write(in, in_count, 0, b->id, DISK_ID_MAX);
		return S_OK;
	case T_DISCARD:
		return b->dev.features & F_DISCARD
		               ? blk_ranges(r, BLOCK_DISCARD, out, out_count, c->out_len - sizeof(h))
		               : S_UNSUPP;
	case T_WRITE_ZEROES:
		return blk_ranges(r, BLOCK_WRITE_ZEROES, out, out_count, c->out_len - sizeof(h));
	default:
		return S_UNSUPP;
	}
}

/* Takes what there are free requests for. */
static void blk_take(struct virtio_blk *b, unsigned index)
{
	struct virtq *q = &b->dev.queue[index];
	unsigned budget = VIRTIO_BUDGET;

	while (b->free && virtio_running(&b->dev)) {
		struct blk_request *r = b->free;

		if (!budget--) {
			virtio_later(&b->dev, index);
			return;
		}

		if (virtq_pop(q, &r->chain) <= 0) {
			if (virtio_check(&b->dev, q) && virtq_await(q))
				continue;
			return;
		}
		b->free = r->next;
		r->queue = index;
		r->data_in = 0;
		r->range_count = r->range_next = 0;
		if (r->chain.out_len < sizeof(struct blk_header) || !r->chain.in_len) {
			blk_free_request(r);
			virtio_broken(&b->dev, "request without header or status");
			return;
		}
		int status = blk_start(r);
		if (status >= 0)
			blk_finish(r, (u8)status);
	}
}

/* All queues: also after a batch of the disk's answers, since requests have become free. */
static void blk_run(void *ctx)
{
	struct virtio_blk *b = ctx;

	if (b->running) {
		b->again = true;
		return;
	}
	b->running = true;
	do {
		b->again = false;
		for (unsigned i = 0; i < b->dev.queue_count; i++)
			blk_take(b, i);
		block_kick(b->block);
	} while (b->again);
	b->running = false;
	for (unsigned i = 0; i < b->dev.queue_count; i++)
		virtio_interrupt(&b->dev, &b->dev.queue[i]);
}

static void blk_kick(void *ctx, unsigned q)
{
	blk_run(ctx);
}

static void blk_reset(void *ctx)
{
	struct virtio_blk *b = ctx;

	block_drain(b->block);
}

static void blk_queue_reset(void *ctx, unsigned q)
{
	struct virtio_blk *b = ctx;

	/* Nothing new is taken from any queue meanwhile; what the others have is looked at afterwards. */
	b->running = true;
	b->dev.queue[q].enabled = false;
	block_drain(b->block);
	b->running = false;
	blk_run(b);
}

static const struct virtio_ops blk_ops = {
        .kick = blk_kick, .reset = blk_reset, .queue_reset = blk_queue_reset};

static void blk_describe(struct virtio_blk *b, unsigned queues)
{
	struct blk_config c = {
	        .capacity = b->sectors,
	        .seg_max = VIRTQ_MAX_SEGMENTS - 2, /* header and status */
	        .blk_size = BLOCK_SECTOR,
	        .physical_block_exp = 3, /* 4 KiB: the host's pages */
	        .min_io_size = 8,
	        .num_queues = (u16)queues,
	        .max_discard_sectors = MAX_SECTORS,
	        .max_discard_seg = RANGES,
	        .discard_sector_alignment = 8,
	        .max_write_zeroes_sectors = MAX_SECTORS,
	        .max_write_zeroes_seg = RANGES,
	        .write_zeroes_may_unmap = 1,
	};

	memcpy(b->dev.config, &c, sizeof(c));
	b->dev.config_size = sizeof(c);
	b->dev.offered = F_SEG_MAX | F_BLK_SIZE | F_FLUSH | F_TOPOLOGY | F_MQ;
	if (block_readonly(b->block))
		b->dev.offered |= F_RO;
	else
		b->dev.offered |= F_WRITE_ZEROES | (block_can_discard(b->block) ? F_DISCARD : 0);
	b->dev.pci.name = "virtio-blk";
	b->dev.ops = &blk_ops;
	b->dev.ctx = b;
	b->dev.type = VIRTIO_TYPE_BLK;
	b->dev.class_code = 0x018000;
	b->dev.queue_count = queues;
}

struct virtio_blk *virtio_blk_new(const struct virtio_blk_config *config, struct pci_host *pci,
                                  struct memory *mem, struct loop *loop, struct error *e)
{
	struct virtio_blk *b = calloc(1, sizeof(*b));

	if (b)
		b->requests = calloc(BLOCK_DEPTH, sizeof(*b->requests));
	if (!b || !b->requests) {
		free(b);
		error_set(e, ENOMEM, "disk '%s'", config->disk.path);
		return NULL;
	}
	for (unsigned i = 0; i < BLOCK_DEPTH; i++) {
		b->requests[i].b = b;
		blk_free_request(&b->requests[i]);
	}
	disk_id(&config->disk, b->id);
	struct block_config bc = {.disk = config->disk, .lock = &b->dev.pci.lock, .batch = blk_run, .ctx = b};
	b->block = block_new(&bc, loop, e);
	if (!b->block)
		goto fail;
	b->sectors = block_size(b->block) / BLOCK_SECTOR;
	b->dev.mem = mem;
	b->dev.loop = loop;
	blk_describe(b, config->queues ? min(config->queues, (unsigned)VIRTIO_MAX_QUEUES) : 1);
	if (virtio_add(&b->dev, pci, config->slot, e) < 0) {
		error_prefix(e, "disk '%s'", config->disk.path);
		goto fail;
	}
	return b;
fail:
	block_free(b->block);
	free(b->requests);
	free(b);
	return NULL;
}

void virtio_blk_free(struct virtio_blk *b)
{
	if (!b)
		return;
	virtio_remove(&b->dev);
	block_free(b->block);
	free(b->requests);
	free(b);
}

unsigned virtio_blk_slot(const struct virtio_blk *b)
{
	return b->dev.pci.slot;
}
