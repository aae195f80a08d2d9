#include "device/nvme_internal.h"
#include "base/log.h"

#include <stdatomic.h>
#include <string.h>

/* Commands taken from one queue before the next has its turn. */
#define BURST 16

/* ---- completion ---- */

struct nvme_cqe {
	u32 result, reserved;
	u16 sqhd, sqid;
	u32 status; /* 15:0 command id, 16 phase, 31:17 status */
};
_Static_assert(sizeof(struct nvme_cqe) == 16, "layout");

static bool nvme_cq_full(const struct nvme_cq *cq)
{
	return (cq->tail + 1) % cq->size == cq->head;
}

static void nvme_cq_put(struct nvme *n, unsigned cqid, u16 sqid, u16 cid, u32 result, u16 status)
{
	struct nvme_cq *cq = &n->cq[cqid];
	u64 gpa = cq->base + cq->tail * sizeof(struct nvme_cqe);
	struct nvme_cqe *slot = memory_range(n->mem, gpa, sizeof(*slot));

	if (!slot) {
		nvme_fatal(n, "completion queue outside of memory");
		return;
	}
	slot->result = result;
	slot->reserved = 0;
	slot->sqhd = n->sq[sqid].head;
	slot->sqid = sqid;
	/* Release: a guest that sees the phase bit sees the rest, and the data that was transferred. */
	__atomic_store_n(&slot->status, cid | (u32)cq->phase << 16 | (u32)status << 17, __ATOMIC_RELEASE);
	memory_written(n->mem, gpa, sizeof(*slot));
	if (++cq->tail == cq->size) {
		cq->tail = 0;
		cq->phase = !cq->phase;
	}
	n->notify[cqid / 64] |= BIT(cqid % 64);
}

void nvme_request_free(struct nvme_request *r)
{
	r->next = r->n->free;
	r->n->free = r;
}

static void nvme_log_error(struct nvme_request *r)
{
	struct nvme *n = r->n;
	struct nvme_error_entry *entry = &n->errors[n->error_count++ % NVME_ERROR_LOG];

	*entry = (struct nvme_error_entry){
	        .count = n->error_count,
	        .sqid = r->sqid,
	        .cid = r->cmd.cid,
	        .status = (u16)(r->status << 1),
	        .location = 0xffff,
	        .lba = r->sqid ? r->cmd.cdw10 | (u64)r->cmd.cdw11 << 32 : 0,
	        .nsid = r->cmd.nsid,
	};
}

void nvme_complete(struct nvme_request *r, u16 status)
{
	struct nvme *n = r->n;
	struct nvme_sq *sq = &n->sq[r->sqid];
	struct nvme_cq *cq = &n->cq[sq->cqid];

	r->status = status;
	if (status)
		nvme_log_error(r);
	if (!nvme_running(n) || !sq->live) {
		nvme_request_free(r); /* the queue has gone meanwhile */
	} else if (cq->waiting || nvme_cq_full(cq)) {
		r->next = NULL;
		*cq->waiting_last = r;
		cq->waiting_last = &r->next;
	} else {
		nvme_cq_put(n, sq->cqid, r->sqid, r->cmd.cid, r->result, status);
		nvme_request_free(r);
	}
}

void nvme_cq_init(struct nvme_cq *cq, u64 base, u16 size, bool ien, u16 vector)
{
	*cq = (struct nvme_cq){
	        .live = true, .ien = ien, .phase = true, .vector = vector, .size = size, .base = base};
	cq->waiting_last = &cq->waiting;
}

void nvme_cq_stop(struct nvme *n, struct nvme_cq *cq)
{
	struct nvme_request *r;

	while ((r = cq->waiting)) {
		cq->waiting = r->next;
		nvme_request_free(r);
	}
	*cq = (struct nvme_cq){0};
	cq->waiting_last = &cq->waiting;
	n->notify[(cq - n->cq) / 64] &= ~BIT((cq - n->cq) % 64);
}

void nvme_cq_doorbell(struct nvme *n, unsigned qid, u32 value)
{
	struct nvme_cq *cq = &n->cq[qid];

	/* The head may only move over entries that are there (§4.1.3). */
	if (value >= cq->size ||
	    (value + cq->size - cq->head) % cq->size > (u32)(cq->tail + cq->size - cq->head) % cq->size) {
		log_guest("nvme %s: completion queue %u: doorbell value %u", n->id, qid, value);
		nvme_raise_event(n, NVME_EVENT_ERROR, 1, 1);
		nvme_interrupt(n);
		return;
	}
	cq->head = (u16)value;
	while (cq->waiting && !nvme_cq_full(cq)) {
		struct nvme_request *r = cq->waiting;

		cq->waiting = r->next;
		if (!cq->waiting)
			cq->waiting_last = &cq->waiting;
		if (n->sq[r->sqid].live)
			nvme_cq_put(n, qid, r->sqid, r->cmd.cid, r->result, r->status);
		nvme_request_free(r);
	}
	if (!qid)
		nvme_send_events(n);
	nvme_fetch(n); /* requests may have become free */
}

/* ---- interrupts (§7.5) ---- */

static void nvme_update_intx(struct nvme *n)
{
	bool level = false;

	for (unsigned i = 0; i <= n->io_queues; i++)
		if (n->cq[i].live && n->cq[i].ien && n->cq[i].head != n->cq[i].tail &&
		    !(n->intms >> (n->cq[i].vector & 31) & 1))
			level = true;
	pci_intx_set(&n->pci, level);
}

void nvme_interrupt(struct nvme *n)
{
	bool msix = pci_msix_on(&n->pci);

	for (unsigned w = 0; w < ARRAY_SIZE(n->notify); w++) {
		u64 bits = n->notify[w];

		n->notify[w] = 0;
		for (; msix && bits; bits &= bits - 1) {
			struct nvme_cq *cq = &n->cq[w * 64 + (unsigned)__builtin_ctzll(bits)];

			if (cq->live && cq->ien)
				pci_msix_notify(&n->pci, cq->vector);
		}
	}
	if (!msix)
		nvme_update_intx(n);
}

/* ---- asynchronous events (§5.2) ---- */

void nvme_send_events(struct nvme *n)
{
	for (unsigned type = 0; type < NVME_EVENT_TYPES; type++) {
		struct nvme_event *ev = &n->event[type];

		if (!ev->pending || ev->masked || !n->aer_count)
			continue;
		if (!nvme_running(n) || n->cq[0].waiting || nvme_cq_full(&n->cq[0]))
			return;
		ev->pending = false;
		ev->masked = true;
		nvme_cq_put(n, 0, 0, n->aer[--n->aer_count], type | (u32)ev->info << 8 | (u32)ev->log << 16,
		            NVME_OK);
	}
}

void nvme_raise_event(struct nvme *n, enum nvme_event_type type, u8 info, u8 log)
{
	struct nvme_event *ev = &n->event[type];

	if (ev->masked)
		return; /* the host has not looked at the last one of its kind */
	*ev = (struct nvme_event){.pending = true, .info = info, .log = log};
	nvme_send_events(n);
}

/* ---- submission ---- */

static void nvme_take(struct nvme *n, unsigned qid)
{
	struct nvme_sq *sq = &n->sq[qid];
	struct nvme_request *r = n->free;

	n->free = r->next;
	r->sqid = (u16)qid;
	r->result = 0;
	r->segments = 0;
	if (memory_read(n->mem, sq->base + sq->head * sizeof(r->cmd), &r->cmd, sizeof(r->cmd)) < 0) {
		nvme_request_free(r);
		nvme_fatal(n, "submission queue outside of memory");
		return;
	}
	sq->head = (u16)((sq->head + 1) % sq->size);

	u16 status = NVME_INVALID_FIELD | NVME_DNR;
	if (!(r->cmd.flags & 3)) /* no fused operations */
		status = qid ? nvme_io(r) : nvme_admin(r);
	if (status != NVME_PENDING)
		nvme_complete(r, status);
}

static bool nvme_fetch_round(struct nvme *n)
{
	bool any = false;

	for (unsigned i = 0; i <= n->io_queues; i++) {
		unsigned qid = n->next_sq;

		n->next_sq = qid == n->io_queues ? 0 : qid + 1;
		for (unsigned k = 0; k < BURST && n->free && nvme_running(n); k++) {
			struct nvme_sq *sq =
			        &n->sq[qid]; /* a command may delete its queue's neighbours, not itself */

			if (!sq->live || sq->head == sq->tail)
				break;
			nvme_take(n, qid);
			any = true;
		}
	}
	return any;
}

/* Also what a batch of finished disk operations calls: free requests mean that more can be taken. */
void nvme_fetch(struct nvme *n)
{
	if (n->fetching) {
		n->refetch = true;
		return;
	}
	n->fetching = true;
	do {
		n->refetch = false;
		while (nvme_fetch_round(n))
			;
		block_kick(n->block);
	} while (n->refetch);
	n->fetching = false;
	nvme_interrupt(n);
}

void nvme_sq_doorbell(struct nvme *n, unsigned qid, u32 value)
{
	struct nvme_sq *sq = &n->sq[qid];

	if (value >= sq->size) {
		log_guest("nvme %s: submission queue %u: doorbell value %u", n->id, qid, value);
		nvme_raise_event(n, NVME_EVENT_ERROR, 1, 1);
		nvme_interrupt(n);
		return;
	}
	sq->tail = (u16)value;
	nvme_fetch(n);
}
