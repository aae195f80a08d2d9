/*
 * The guest's buffers (§4.3, §4.4). Descriptors are read from guest memory one page at a time, each once; the
 * number of segments bounds all loops.
 */
#include "device/nvme_internal.h"

#include <string.h>

static u16 nvme_add_segment(struct nvme_request *r, u64 gpa, u64 len)
{
	void *p = memory_range(r->n->mem, gpa, len);

	if (!p)
		return NVME_DATA_TRANSFER_ERROR;
	if (r->segments) {
		struct iovec *v = &r->iov[r->segments - 1];
		struct nvme_range *g = &r->range[r->segments - 1];

		if ((u8 *)v->iov_base + v->iov_len == p && g->gpa + g->len == gpa) {
			v->iov_len += len;
			g->len += len;
			return NVME_OK;
		}
	}
	if (r->segments == NVME_MAX_SEGMENTS)
		return NVME_SGL_COUNT_INVALID | NVME_DNR;
	r->iov[r->segments] = (struct iovec){p, len};
	r->range[r->segments++] = (struct nvme_range){gpa, len};
	return NVME_OK;
}

static u16 nvme_map_prp_list(struct nvme_request *r, u64 list, u64 len)
{
	u64 entries[NVME_PAGE / 8];

	if (list & 7)
		return NVME_PRP_OFFSET_INVALID | NVME_DNR;
	while (len) {
		unsigned count = (unsigned)((NVME_PAGE - (list & (NVME_PAGE - 1))) / 8);
		unsigned need = (unsigned)((len + NVME_PAGE - 1) / NVME_PAGE);
		bool chained = need > count; /* then the page's last entry points to the next list */

		count = min(count, need);
		if (memory_read(r->n->mem, list, entries, count * 8) < 0)
			return NVME_DATA_TRANSFER_ERROR;
		if (chained && count == 1) {
			/* A list that starts at the page's last entry holds nothing but the pointer. */
			list = entries[0];
			if (list & (NVME_PAGE - 1))
				return NVME_PRP_OFFSET_INVALID | NVME_DNR;
			continue;
		}
		for (unsigned i = 0; i < count - chained; i++) {
			u64 n = min(len, (u64)NVME_PAGE);

			if (entries[i] & (NVME_PAGE - 1))
				return NVME_PRP_OFFSET_INVALID | NVME_DNR;
			u16 status = nvme_add_segment(r, entries[i], n);
			if (status)
				return status;
			len -= n;
		}
		if (chained) {
			list = entries[count - 1];
			if (list & (NVME_PAGE - 1))
				return NVME_PRP_OFFSET_INVALID | NVME_DNR;
		}
	}
	return NVME_OK;
}

static u16 nvme_map_prp(struct nvme_request *r, u64 len)
{
	u64 prp1 = r->cmd.prp1, prp2 = r->cmd.prp2;
	u64 first = min(len, NVME_PAGE - (prp1 & (NVME_PAGE - 1)));

	if (prp1 & 3)
		return NVME_PRP_OFFSET_INVALID | NVME_DNR;
	u16 status = nvme_add_segment(r, prp1, first);
	len -= first;
	if (status || !len)
		return status;
	if (len > NVME_PAGE)
		return nvme_map_prp_list(r, prp2, len);
	if (prp2 & (NVME_PAGE - 1))
		return NVME_PRP_OFFSET_INVALID | NVME_DNR;
	return nvme_add_segment(r, prp2, len);
}

struct nvme_sgl {
	u64 address;
	u32 length;
	u8 reserved[3];
	u8 type; /* 7:4 type, 3:0 subtype */
};
_Static_assert(sizeof(struct nvme_sgl) == 16, "layout");

enum { SGL_DATA = 0x00, SGL_SEGMENT = 0x20, SGL_LAST_SEGMENT = 0x30 };

static u16 nvme_map_sgl_data(struct nvme_request *r, const struct nvme_sgl *d, u64 *left)
{
	if (d->length > *left)
		return NVME_SGL_LENGTH_INVALID | NVME_DNR;
	if (!d->length)
		return NVME_OK;
	*left -= d->length;
	return nvme_add_segment(r, d->address, d->length);
}

static u16 nvme_map_sgl(struct nvme_request *r, u64 len)
{
	struct nvme_sgl d, page[NVME_PAGE / sizeof(struct nvme_sgl)];
	/* Empty descriptors and segments cost us time and the guest nothing: count them all. */
	unsigned budget = 2 * NVME_MAX_SEGMENTS;
	u16 status;

	memcpy(&d, &r->cmd.prp1, sizeof(d));
	if (d.type == SGL_DATA) {
		status = nvme_map_sgl_data(r, &d, &len);
		return status ? status : len ? NVME_SGL_LENGTH_INVALID | NVME_DNR : NVME_OK;
	}
	while (d.type == SGL_SEGMENT || d.type == SGL_LAST_SEGMENT) {
		bool last = d.type == SGL_LAST_SEGMENT;
		unsigned count = d.length / 16;
		u64 gpa = d.address;

		if (!count || d.length % 16)
			return NVME_SGL_SEGMENT_INVALID | NVME_DNR;
		if (count > budget)
			return NVME_SGL_COUNT_INVALID | NVME_DNR;
		budget -= count;
		while (count) {
			unsigned k = min(count, (unsigned)ARRAY_SIZE(page));

			if (memory_read(r->n->mem, gpa, page, k * sizeof(d)) < 0)
				return NVME_DATA_TRANSFER_ERROR;
			gpa += k * sizeof(d);
			count -= k;
			for (unsigned i = 0; i < k; i++) {
				d = page[i];
				if (!count && i == k - 1 && !last)
					break; /* must be the next segment's descriptor */
				if (d.type == SGL_SEGMENT || d.type == SGL_LAST_SEGMENT)
					return NVME_SGL_SEGMENT_INVALID | NVME_DNR;
				if (d.type != SGL_DATA)
					return NVME_SGL_TYPE_INVALID | NVME_DNR;
				status = nvme_map_sgl_data(r, &d, &len);
				if (status)
					return status;
			}
		}
		if (last)
			return len ? NVME_SGL_LENGTH_INVALID | NVME_DNR : NVME_OK;
	}
	return NVME_SGL_TYPE_INVALID | NVME_DNR;
}

u16 nvme_map(struct nvme_request *r, u64 len)
{
	r->segments = 0;
	return r->cmd.flags >> 6 ? nvme_map_sgl(r, len) : nvme_map_prp(r, len);
}

void nvme_data_written(struct nvme_request *r)
{
	for (unsigned i = 0; i < r->segments; i++)
		memory_written(r->n->mem, r->range[i].gpa, r->range[i].len);
}

u16 nvme_copy_out(struct nvme_request *r, u64 len, const void *data, u64 size)
{
	const u8 *p = data;
	u16 status = nvme_map(r, len);

	if (status)
		return status;
	for (unsigned i = 0; i < r->segments; i++) {
		size_t n = min(r->iov[i].iov_len, (size_t)size);

		memcpy(r->iov[i].iov_base, p, n);
		memset((u8 *)r->iov[i].iov_base + n, 0, r->iov[i].iov_len - n);
		p += n;
		size -= n;
	}
	nvme_data_written(r);
	return NVME_OK;
}

u16 nvme_copy_in(struct nvme_request *r, u64 len, void *data)
{
	u8 *p = data;
	u16 status = nvme_map(r, len);

	if (status)
		return status;
	for (unsigned i = 0; i < r->segments; i++) {
		memcpy(p, r->iov[i].iov_base, r->iov[i].iov_len);
		p += r->iov[i].iov_len;
	}
	return NVME_OK;
}
