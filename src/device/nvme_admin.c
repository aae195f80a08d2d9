/* The admin command set (§5). */
#include "device/nvme_internal.h"

enum {
	ADMIN_DELETE_SQ = 0x00,
	ADMIN_CREATE_SQ = 0x01,
	ADMIN_GET_LOG = 0x02,
	ADMIN_DELETE_CQ = 0x04,
	ADMIN_CREATE_CQ = 0x05,
	ADMIN_IDENTIFY = 0x06,
	ADMIN_ABORT = 0x08,
	ADMIN_SET_FEATURES = 0x09,
	ADMIN_GET_FEATURES = 0x0a,
	ADMIN_ASYNC_EVENT = 0x0c,
};

/* ---- queues (§5.3–5.6) ---- */

static bool nvme_qid_ok(const struct nvme *n, u32 qid, u16 granted)
{
	return qid && qid <= n->io_queues && qid <= granted;
}

/* A queue is contiguous, page-aligned, of 2 … MQES + 1 entries. */
static u16 nvme_check_queue(const struct nvme_command *c)
{
	u32 entries = (c->cdw10 >> 16) + 1;

	if (entries < 2 || entries > NVME_MAX_ENTRIES)
		return NVME_QSIZE_INVALID | NVME_DNR;
	if (!(c->cdw11 & 1))
		return NVME_INVALID_FIELD | NVME_DNR;
	if (c->prp1 & (NVME_PAGE - 1))
		return NVME_PRP_OFFSET_INVALID | NVME_DNR;
	return NVME_OK;
}

static u16 nvme_create_cq(struct nvme *n, const struct nvme_command *c)
{
	u32 qid = c->cdw10 & 0xffff, vector = c->cdw11 >> 16;

	if (!nvme_qid_ok(n, qid, n->features.io_cqs) || n->cq[qid].live)
		return NVME_QID_INVALID | NVME_DNR;
	u16 status = nvme_check_queue(c);
	if (status)
		return status;
	if ((n->cc >> 20 & 15) != 4)
		return NVME_INVALID_FIELD | NVME_DNR;
	if (vector >= n->pci.msix_vectors || (vector && !pci_msix_on(&n->pci)))
		return NVME_VECTOR_INVALID | NVME_DNR;
	nvme_cq_init(&n->cq[qid], c->prp1, (u16)((c->cdw10 >> 16) + 1), c->cdw11 & 2, (u16)vector);
	return NVME_OK;
}

static u16 nvme_create_sq(struct nvme *n, const struct nvme_command *c)
{
	u32 qid = c->cdw10 & 0xffff, cqid = c->cdw11 >> 16;

	if (!nvme_qid_ok(n, qid, n->features.io_sqs) || n->sq[qid].live)
		return NVME_QID_INVALID | NVME_DNR;
	if (!cqid || cqid > n->io_queues)
		return NVME_QID_INVALID | NVME_DNR;
	if (!n->cq[cqid].live)
		return NVME_CQ_INVALID | NVME_DNR;
	u16 status = nvme_check_queue(c);
	if (status)
		return status;
	if ((n->cc >> 16 & 15) != 6)
		return NVME_INVALID_FIELD | NVME_DNR;
	n->sq[qid] = (struct nvme_sq){
	        .live = true, .cqid = (u16)cqid, .size = (u16)((c->cdw10 >> 16) + 1), .base = c->prp1};
	n->cq[cqid].users++;
	return NVME_OK;
}

/* Commands of the queue are finished first, those not fetched yet are forgotten (§5.6). */
static u16 nvme_delete_sq(struct nvme *n, const struct nvme_command *c)
{
	u32 qid = c->cdw10 & 0xffff;

	if (!qid || qid > n->io_queues || !n->sq[qid].live)
		return NVME_QID_INVALID | NVME_DNR;
	block_drain(n->block);
	n->cq[n->sq[qid].cqid].users--;
	n->sq[qid] = (struct nvme_sq){0};
	return NVME_OK;
}

static u16 nvme_delete_cq(struct nvme *n, const struct nvme_command *c)
{
	u32 qid = c->cdw10 & 0xffff;

	if (!qid || qid > n->io_queues || !n->cq[qid].live)
		return NVME_QID_INVALID | NVME_DNR;
	if (n->cq[qid].users)
		return NVME_QUEUE_DELETION_INVALID | NVME_DNR;
	nvme_cq_stop(n, &n->cq[qid]);
	return NVME_OK;
}

/* ---- features (§5.21) ---- */

enum {
	FEATURE_ARBITRATION = 0x01,
	FEATURE_POWER = 0x02,
	FEATURE_TEMPERATURE = 0x04,
	FEATURE_ERROR_RECOVERY = 0x05,
	FEATURE_WRITE_CACHE = 0x06,
	FEATURE_QUEUES = 0x07,
	FEATURE_COALESCING = 0x08,
	FEATURE_VECTOR = 0x09,
	FEATURE_ATOMICITY = 0x0a,
	FEATURE_EVENTS = 0x0b,
};

static void nvme_features_default(const struct nvme *n, struct nvme_features *f)
{
	*f = (struct nvme_features){
	        .arbitration = 3,
	        .temperature_over = 70 + 273,
	        .write_cache = 1,
	        .io_sqs = (u16)n->io_queues,
	        .io_cqs = (u16)n->io_queues,
	};
}

void nvme_features_reset(struct nvme *n)
{
	nvme_features_default(n, &n->features);
}

static bool nvme_feature_known(u8 id)
{
	return id >= FEATURE_ARBITRATION && id <= FEATURE_EVENTS && id != 0x03;
}

/* The plain ones: a register each. */
static u32 *nvme_feature_word(struct nvme_features *f, u8 id)
{
	switch (id) {
	case FEATURE_ARBITRATION:
		return &f->arbitration;
	case FEATURE_POWER:
		return &f->power;
	case FEATURE_ERROR_RECOVERY:
		return &f->error_recovery;
	case FEATURE_WRITE_CACHE:
		return &f->write_cache;
	case FEATURE_COALESCING:
		return &f->coalescing;
	case FEATURE_ATOMICITY:
		return &f->atomicity;
	case FEATURE_EVENTS:
		return &f->async_events;
	default:
		return NULL;
	}
}

static u16 nvme_get_features(struct nvme_request *r)
{
	struct nvme *n = r->n;
	u8 id = (u8)r->cmd.cdw10;
	u32 select = r->cmd.cdw10 >> 8 & 7, arg = r->cmd.cdw11;
	struct nvme_features defaults, *f = &n->features;

	if (!nvme_feature_known(id) || select > 3)
		return NVME_INVALID_FIELD | NVME_DNR;
	if (select == 3) {
		r->result = 1 << 2; /* changeable; not saveable, not of one namespace */
		return NVME_OK;
	}
	if (select) { /* nothing is saved: the default */
		nvme_features_default(n, &defaults);
		f = &defaults;
	}
	switch (id) {
	case FEATURE_TEMPERATURE:
		if (arg >> 16 & 15) /* the composite temperature is the only sensor */
			r->result = arg >> 20 & 3 ? 0 : 0xffff;
		else
			r->result = arg >> 20 & 3 ? f->temperature_under : f->temperature_over;
		break;
	case FEATURE_QUEUES:
		r->result = (u32)(f->io_sqs - 1) | (u32)(f->io_cqs - 1) << 16;
		break;
	case FEATURE_VECTOR:
		if ((arg & 0xffff) >= n->pci.msix_vectors)
			return NVME_INVALID_FIELD | NVME_DNR;
		r->result = (arg & 0xffff) | f->vector[arg & 0xffff];
		break;
	default:
		r->result = *nvme_feature_word(f, id);
		break;
	}
	return NVME_OK;
}

static u16 nvme_set_queues(struct nvme_request *r)
{
	struct nvme *n = r->n;
	u32 sqs = r->cmd.cdw11 & 0xffff, cqs = r->cmd.cdw11 >> 16;

	if (sqs == 0xffff || cqs == 0xffff)
		return NVME_INVALID_FIELD | NVME_DNR;
	for (unsigned i = 1; i <= n->io_queues; i++)
		if (n->cq[i].live || n->sq[i].live)
			return NVME_SEQUENCE_ERROR | NVME_DNR;
	n->features.io_sqs = (u16)min(sqs + 1, n->io_queues);
	n->features.io_cqs = (u16)min(cqs + 1, n->io_queues);
	r->result = (u32)(n->features.io_sqs - 1) | (u32)(n->features.io_cqs - 1) << 16;
	return NVME_OK;
}

static u16 nvme_set_temperature(struct nvme_request *r)
{
	struct nvme *n = r->n;
	u32 arg = r->cmd.cdw11, type = arg >> 20 & 3, sensor = arg >> 16 & 15;

	if (type > 1)
		return NVME_INVALID_FIELD | NVME_DNR;
	if (sensor == 0 || sensor == 15)
		*(type ? &n->features.temperature_under : &n->features.temperature_over) = arg & 0xffff;
	if (nvme_temperature_alarm(n) && (n->features.async_events & 1 << 1))
		nvme_raise_event(n, NVME_EVENT_SMART, 1, 2);
	return NVME_OK;
}

static u16 nvme_set_features(struct nvme_request *r)
{
	struct nvme *n = r->n;
	u8 id = (u8)r->cmd.cdw10;
	u32 arg = r->cmd.cdw11;

	if (!nvme_feature_known(id))
		return NVME_INVALID_FIELD | NVME_DNR;
	if (r->cmd.cdw10 & BIT(31))
		return NVME_FEATURE_NOT_SAVEABLE | NVME_DNR;
	switch (id) {
	case FEATURE_QUEUES:
		return nvme_set_queues(r);
	case FEATURE_TEMPERATURE:
		return nvme_set_temperature(r);
	case FEATURE_POWER:
		if (arg & 31) /* there is one power state */
			return NVME_INVALID_FIELD | NVME_DNR;
		break;
	case FEATURE_VECTOR:
		if ((arg & 0xffff) >= n->pci.msix_vectors)
			return NVME_INVALID_FIELD | NVME_DNR;
		n->features.vector[arg & 0xffff] = arg & BIT(16);
		return NVME_OK;
	case FEATURE_WRITE_CACHE:
		arg &= 1;
		break;
	}
	*nvme_feature_word(&n->features, id) = arg;
	return NVME_OK;
}

/* ---- events and abort ---- */

static u16 nvme_async_event(struct nvme_request *r)
{
	struct nvme *n = r->n;

	if (n->aer_count == NVME_MAX_AER)
		return NVME_AER_LIMIT | NVME_DNR;
	n->aer[n->aer_count++] = r->cmd.cid;
	nvme_request_free(r); /* the command id is all that the answer needs */
	nvme_send_events(n);
	return NVME_PENDING;
}

/* All else is on its way to the disk and cannot be called back: only waiting event requests are aborted
 * (§5.1). */
static u16 nvme_abort(struct nvme_request *r)
{
	struct nvme *n = r->n;
	u16 sqid = (u16)r->cmd.cdw10, cid = (u16)(r->cmd.cdw10 >> 16);

	r->result = 1;
	if (sqid)
		return NVME_OK;
	for (unsigned i = 0; i < n->aer_count; i++) {
		if (n->aer[i] != cid || !n->free)
			continue;
		struct nvme_request *event = n->free;

		n->free = event->next;
		event->sqid = 0;
		event->result = 0;
		event->cmd = (struct nvme_command){.cid = cid};
		n->aer[i] = n->aer[--n->aer_count];
		nvme_complete(event, NVME_ABORT_REQUESTED | NVME_DNR);
		r->result = 0;
		break;
	}
	return NVME_OK;
}

u16 nvme_admin(struct nvme_request *r)
{
	struct nvme *n = r->n;

	if (r->cmd.flags >> 6) /* PRPs only (§4.1) */
		return NVME_INVALID_FIELD | NVME_DNR;
	switch (r->cmd.opcode) {
	case ADMIN_DELETE_SQ:
		return nvme_delete_sq(n, &r->cmd);
	case ADMIN_CREATE_SQ:
		return nvme_create_sq(n, &r->cmd);
	case ADMIN_DELETE_CQ:
		return nvme_delete_cq(n, &r->cmd);
	case ADMIN_CREATE_CQ:
		return nvme_create_cq(n, &r->cmd);
	case ADMIN_GET_LOG:
		return nvme_get_log(r);
	case ADMIN_IDENTIFY:
		return nvme_identify(r);
	case ADMIN_ABORT:
		return nvme_abort(r);
	case ADMIN_SET_FEATURES:
		return nvme_set_features(r);
	case ADMIN_GET_FEATURES:
		return nvme_get_features(r);
	case ADMIN_ASYNC_EVENT:
		return nvme_async_event(r);
	default:
		return NVME_INVALID_OPCODE | NVME_DNR;
	}
}
