/*
 * The structures that the nvme_*.c files share. Section numbers are of NVM Express 1.4.
 *
 * Life of a command: nvme_fetch() takes it from a submission queue into a free nvme_request; a handler either
 * answers at once or starts a block request; nvme_complete() puts the entry into the completion queue, or on
 * that queue's waiting list while it is full. A request is free again when its entry is in the guest's
 * memory.
 */
#pragma once

#include "device/nvme.h"

#define NVME_PAGE         4096u
#define NVME_MAX_ENTRIES  1024u /* of a queue: CAP.MQES + 1 */
#define NVME_MDTS_SHIFT   8u    /* 2^8 pages: 1 MiB */
#define NVME_MAX_TRANSFER ((u64)NVME_PAGE << NVME_MDTS_SHIFT)
#define NVME_MAX_SEGMENTS ((1u << NVME_MDTS_SHIFT) + 1)
#define NVME_REQUESTS     BLOCK_DEPTH
#define NVME_MAX_AER      4u
#define NVME_ERROR_LOG    16u
#define NVME_DSM_RANGES   256u
#define NVME_QUEUES       (NVME_MAX_IO_QUEUES + 1)

/* Status field without the phase bit (§4.6.1): SC, SCT << 8, DNR << 14. */
enum nvme_status {
	NVME_OK = 0x000,
	NVME_INVALID_OPCODE = 0x001,
	NVME_INVALID_FIELD = 0x002,
	NVME_DATA_TRANSFER_ERROR = 0x004,
	NVME_INTERNAL_ERROR = 0x006,
	NVME_ABORT_REQUESTED = 0x007,
	NVME_INVALID_NAMESPACE = 0x00b,
	NVME_SEQUENCE_ERROR = 0x00c,
	NVME_SGL_SEGMENT_INVALID = 0x00d,
	NVME_SGL_COUNT_INVALID = 0x00e,
	NVME_SGL_LENGTH_INVALID = 0x00f,
	NVME_SGL_TYPE_INVALID = 0x011,
	NVME_PRP_OFFSET_INVALID = 0x013,
	NVME_WRITE_PROTECTED = 0x020,
	NVME_LBA_OUT_OF_RANGE = 0x080,
	NVME_CAPACITY_EXCEEDED = 0x081,
	NVME_CQ_INVALID = 0x100,
	NVME_QID_INVALID = 0x101,
	NVME_QSIZE_INVALID = 0x102,
	NVME_AER_LIMIT = 0x105,
	NVME_VECTOR_INVALID = 0x108,
	NVME_LOG_INVALID = 0x109,
	NVME_QUEUE_DELETION_INVALID = 0x10c,
	NVME_FEATURE_NOT_SAVEABLE = 0x10d,
	NVME_FEATURE_NOT_CHANGEABLE = 0x10e,
	NVME_WRITE_FAULT = 0x280,
	NVME_READ_ERROR = 0x281,
	NVME_DNR = 0x4000,
	NVME_PENDING = 0xffff, /* ours: answered later */
};

/* A submission queue entry (§4.2), as copied from the guest. */
struct nvme_command {
	u8 opcode;
	u8 flags; /* 1:0 FUSE, 7:6 PSDT */
	u16 cid;
	u32 nsid;
	u32 cdw2, cdw3;
	u64 mptr;
	u64 prp1, prp2; /* or one SGL descriptor */
	u32 cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};
_Static_assert(sizeof(struct nvme_command) == 64, "layout");

struct nvme_range {
	u64 gpa, len;
};

struct nvme_dsm_range {
	u32 attributes, blocks;
	u64 lba;
};

struct nvme_request {
	struct nvme *n;
	struct nvme_request *next; /* free list, or a completion queue's waiting list */
	struct nvme_command cmd;
	u16 sqid;
	u16 status;
	u32 result;
	struct block_request block;
	/* The guest's buffer. The iovecs are used up by the transfer, the ranges stay. */
	unsigned segments;
	union {
		struct {
			struct iovec iov[NVME_MAX_SEGMENTS];
			struct nvme_range range[NVME_MAX_SEGMENTS];
		};
		struct {
			struct nvme_dsm_range dsm[NVME_DSM_RANGES];
			unsigned dsm_count, dsm_next;
		};
	};
};

struct nvme_sq {
	bool live;
	u16 cqid;
	u16 size, head, tail; /* entries */
	u64 base;
};

struct nvme_cq {
	bool live, ien, phase;
	u16 vector;
	u16 size, head, tail;
	u16 users; /* submission queues that answer here */
	u64 base;
	struct nvme_request *waiting, **waiting_last; /* answered, but the queue was full */
};

/* Asynchronous events (§5.2): at most one pending of each type; masked from the report until the log is read.
 */
enum nvme_event_type { NVME_EVENT_ERROR, NVME_EVENT_SMART, NVME_EVENT_TYPES };

struct nvme_event {
	bool pending, masked;
	u8 info, log;
};

struct nvme_features {
	u32 arbitration, power, temperature_over, temperature_under, error_recovery, write_cache, coalescing,
	        atomicity, async_events;
	u32 vector[NVME_QUEUES]; /* interrupt vector configuration: coalescing disable */
	u16 io_sqs, io_cqs;      /* granted by Number of Queues */
};

struct nvme_error_entry {
	u64 count;
	u16 sqid, cid, status, location;
	u64 lba;
	u32 nsid;
	u8 rest[36];
};
_Static_assert(sizeof(struct nvme_error_entry) == 64, "layout");

struct nvme {
	struct pci_device pci;
	struct memory *mem;
	struct block *block;
	unsigned io_queues;
	char id[DISK_ID_MAX + 1];
	char device_name[33];
	u64 blocks; /* namespace size */

	/* Registers. */
	u32 intms, cc, csts, aqa;
	u64 asq, acq;

	struct nvme_sq sq[NVME_QUEUES];
	struct nvme_cq cq[NVME_QUEUES];
	u64 notify[(NVME_QUEUES + 63) / 64]; /* completion queues with news since the last interrupt */
	unsigned next_sq;                    /* round robin */
	bool fetching, refetch;

	struct nvme_features features;
	u16 aer[NVME_MAX_AER];
	unsigned aer_count;
	struct nvme_event event[NVME_EVENT_TYPES];
	struct nvme_error_entry errors[NVME_ERROR_LOG]; /* newest at (error_count - 1) % NVME_ERROR_LOG */
	u64 error_count;
	u64 units_read, units_written, reads, writes; /* units of 512 bytes, for the SMART log */

	struct block_request shutdown;
	bool shutdown_busy;

	struct nvme_request *free;
	struct nvme_request *requests;
};

enum {
	CSTS_RDY = 1,
	CSTS_CFS = 2,
	CSTS_SHST = 3 << 2,
	CSTS_SHST_BUSY = 1 << 2,
	CSTS_SHST_DONE = 2 << 2,
	CSTS_NSSRO = 16
};

static inline bool nvme_running(const struct nvme *n)
{
	return (n->csts & (CSTS_RDY | CSTS_CFS)) == CSTS_RDY;
}

/* nvme.c */
void nvme_fatal(struct nvme *n, const char *why);

/* nvme_queue.c */
void nvme_fetch(struct nvme *n);
void nvme_complete(struct nvme_request *r, u16 status);
void nvme_request_free(struct nvme_request *r);
void nvme_sq_doorbell(struct nvme *n, unsigned qid, u32 value);
void nvme_cq_doorbell(struct nvme *n, unsigned qid, u32 value);
void nvme_cq_init(struct nvme_cq *cq, u64 base, u16 size, bool ien, u16 vector);
void nvme_cq_stop(struct nvme *n, struct nvme_cq *cq);
void nvme_interrupt(struct nvme *n); /* sends what n->notify says; sets the INTx level */
void nvme_raise_event(struct nvme *n, enum nvme_event_type type, u8 info, u8 log);
void nvme_send_events(struct nvme *n);

/* nvme_admin.c, nvme_io.c: NVME_PENDING, or the status to complete with. */
u16 nvme_admin(struct nvme_request *r);
u16 nvme_io(struct nvme_request *r);
void nvme_features_reset(struct nvme *n);

/* nvme_identify.c */
u16 nvme_identify(struct nvme_request *r);
u16 nvme_get_log(struct nvme_request *r);
bool nvme_temperature_alarm(const struct nvme *n);

/* nvme_data.c: fill r->iov, r->range for a buffer of len bytes (1 … NVME_MAX_TRANSFER). */
u16 nvme_map(struct nvme_request *r, u64 len);
/* Maps, then copies; bytes of the guest's buffer beyond size become zero. */
u16 nvme_copy_out(struct nvme_request *r, u64 len, const void *data, u64 size);
u16 nvme_copy_in(struct nvme_request *r, u64 len, void *data);
/* The host has written to the guest's buffer. */
void nvme_data_written(struct nvme_request *r);
