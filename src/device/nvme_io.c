/* The NVM command set (§6). */
#include "device/nvme_internal.h"

#include <errno.h>
#include <string.h>

enum {
	IO_FLUSH = 0x00,
	IO_WRITE = 0x01,
	IO_READ = 0x02,
	IO_WRITE_ZEROES = 0x08,
	IO_DSM = 0x09,
};

#define ALL_NAMESPACES 0xffffffffu

#define CDW12_DEALLOCATE BIT(25)
#define CDW12_FUA        BIT(30)

static u16 nvme_error_status(enum block_op op, int error)
{
	if (!error)
		return NVME_OK;
	if (op == BLOCK_READ)
		return NVME_READ_ERROR;
	if (error == ENOSPC || error == EDQUOT || error == EFBIG)
		return NVME_CAPACITY_EXCEEDED | NVME_DNR;
	return NVME_WRITE_FAULT;
}

static void nvme_io_done(struct block_request *b, int error)
{
	struct nvme_request *r = container_of(b, struct nvme_request, block);

	if (b->op == BLOCK_READ)
		nvme_data_written(r);
	nvme_complete(r, nvme_error_status(b->op, error));
}

static u16 nvme_submit(struct nvme_request *r)
{
	r->block.done = nvme_io_done;
	block_submit(r->n->block, &r->block);
	return NVME_PENDING;
}

/* Starting LBA and 0-based count (§6.9): within the namespace? */
static bool nvme_lba_range(const struct nvme_request *r, u64 *offset, u64 *length)
{
	u64 lba = r->cmd.cdw10 | (u64)r->cmd.cdw11 << 32;
	u64 count = (u64)(r->cmd.cdw12 & 0xffff) + 1;

	if (lba > r->n->blocks || count > r->n->blocks - lba)
		return false;
	*offset = lba * BLOCK_SECTOR;
	*length = count * BLOCK_SECTOR;
	return true;
}

static bool nvme_must_sync(const struct nvme_request *r)
{
	return (r->cmd.cdw12 & CDW12_FUA) || !(r->n->features.write_cache & 1);
}

static u16 nvme_transfer(struct nvme_request *r, enum block_op op)
{
	struct nvme *n = r->n;
	u64 offset, length;

	if (op == BLOCK_WRITE && block_readonly(n->block))
		return NVME_WRITE_PROTECTED | NVME_DNR;
	if ((u64)(r->cmd.cdw12 & 0xffff) + 1 > NVME_MAX_TRANSFER / BLOCK_SECTOR)
		return NVME_INVALID_FIELD | NVME_DNR;
	if (!nvme_lba_range(r, &offset, &length))
		return NVME_LBA_OUT_OF_RANGE | NVME_DNR;
	u16 status = nvme_map(r, length);
	if (status)
		return status;
	if (op == BLOCK_READ) {
		n->reads++;
		n->units_read += length / BLOCK_SECTOR;
	} else {
		n->writes++;
		n->units_written += length / BLOCK_SECTOR;
	}
	r->block = (struct block_request){
	        .op = op,
	        .offset = offset,
	        .length = length,
	        .iov = r->iov,
	        .iov_count = r->segments,
	        .fua = op == BLOCK_WRITE && nvme_must_sync(r),
	};
	return nvme_submit(r);
}

static u16 nvme_write_zeroes(struct nvme_request *r)
{
	u64 offset, length;

	if (block_readonly(r->n->block))
		return NVME_WRITE_PROTECTED | NVME_DNR;
	if (!nvme_lba_range(r, &offset, &length))
		return NVME_LBA_OUT_OF_RANGE | NVME_DNR;
	r->block = (struct block_request){
	        .op = BLOCK_WRITE_ZEROES,
	        .offset = offset,
	        .length = length,
	        .unmap = r->cmd.cdw12 & CDW12_DEALLOCATE,
	        .fua = nvme_must_sync(r),
	};
	return nvme_submit(r);
}

static u16 nvme_flush(struct nvme_request *r)
{
	/* A read-only image has nothing to flush, and its file may not allow it. */
	if (block_readonly(r->n->block))
		return NVME_OK;
	r->block = (struct block_request){.op = BLOCK_FLUSH};
	return nvme_submit(r);
}

/* ---- dataset management (§6.7): ranges one after the other ---- */

static bool nvme_dsm_next(struct nvme_request *r)
{
	while (r->dsm_next < r->dsm_count) {
		const struct nvme_dsm_range *d = &r->dsm[r->dsm_next++];

		if (!d->blocks)
			continue;
		r->block.offset = d->lba * BLOCK_SECTOR;
		r->block.length = d->blocks * BLOCK_SECTOR;
		block_submit(r->n->block, &r->block);
		return true;
	}
	return false;
}

static void nvme_dsm_done(struct block_request *b, int error)
{
	struct nvme_request *r = container_of(b, struct nvme_request, block);

	if (error || !nvme_dsm_next(r))
		nvme_complete(r, nvme_error_status(BLOCK_DISCARD, error));
}

static u16 nvme_dsm(struct nvme_request *r)
{
	struct nvme *n = r->n;
	struct nvme_dsm_range ranges[NVME_DSM_RANGES];
	unsigned count = (r->cmd.cdw10 & 0xff) + 1;

	u16 status = nvme_copy_in(r, count * sizeof(ranges[0]), ranges);
	if (status)
		return status;
	for (unsigned i = 0; i < count; i++)
		if (ranges[i].lba > n->blocks || ranges[i].blocks > n->blocks - ranges[i].lba)
			return NVME_LBA_OUT_OF_RANGE | NVME_DNR;
	if (!(r->cmd.cdw11 & 1 << 2) || !block_can_discard(n->block))
		return NVME_OK; /* hints about access patterns: taken note of */
	if (block_readonly(n->block))
		return NVME_WRITE_PROTECTED | NVME_DNR;
	memcpy(r->dsm, ranges, count * sizeof(ranges[0]));
	r->dsm_count = count;
	r->dsm_next = 0;
	r->block = (struct block_request){.op = BLOCK_DISCARD, .done = nvme_dsm_done};
	return nvme_dsm_next(r) ? NVME_PENDING : NVME_OK;
}

u16 nvme_io(struct nvme_request *r)
{
	u8 op = r->cmd.opcode;

	/* An opcode that does not exist is that, whatever its namespace. */
	if (op != IO_FLUSH && op != IO_WRITE && op != IO_READ && op != IO_WRITE_ZEROES && op != IO_DSM)
		return NVME_INVALID_OPCODE | NVME_DNR;
	if (r->cmd.nsid != 1 && !(op == IO_FLUSH && r->cmd.nsid == ALL_NAMESPACES))
		return NVME_INVALID_NAMESPACE | NVME_DNR;
	switch (op) {
	case IO_FLUSH:
		return nvme_flush(r);
	case IO_WRITE:
		return nvme_transfer(r, BLOCK_WRITE);
	case IO_READ:
		return nvme_transfer(r, BLOCK_READ);
	case IO_WRITE_ZEROES:
		return nvme_write_zeroes(r);
	default:
		return nvme_dsm(r);
	}
}
