#include "device/nvme_internal.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Registers (§3.1). BAR 0: registers, doorbells from 0x1000, MSI-X table and PBA. */
enum {
	REG_CAP = 0x00,
	REG_VS = 0x08,
	REG_INTMS = 0x0c,
	REG_INTMC = 0x10,
	REG_CC = 0x14,
	REG_CSTS = 0x1c,
	REG_NSSR = 0x20,
	REG_AQA = 0x24,
	REG_ASQ = 0x28,
	REG_ACQ = 0x30,
	REG_DOORBELLS = 0x1000,
	BAR_MSIX = 0x2000,
	BAR_PBA = 0x3000,
	BAR_SIZE = 0x4000,
};
_Static_assert(REG_DOORBELLS + NVME_QUEUES * 8 <= BAR_MSIX, "doorbells fit");

#define CAP                                                                                       \
	((u64)(NVME_MAX_ENTRIES - 1) | BIT(16) /* contiguous queues */ | 20ULL << 24 /* 10 s */ | \
	 BIT(36) /* NSSR */ | BIT(37) /* NVM command set */)
#define VERSION 0x00010400u

#define NSSR_VALUE 0x4e564d65u /* "NVMe" */

enum { CC_EN = 1, CC_CONFIG = 0x00ff3ff0, CC_SHN = 3 << 14 };

#define AMAZON 0x1d0f

void nvme_fatal(struct nvme *n, const char *why)
{
	log_guest("nvme %s: %s: controller stops", n->id, why);
	n->csts |= CSTS_CFS;
}

/* Waits for the disk, forgets all queues and commands: what clearing CC.EN does (§7.3.2). */
static void nvme_stop(struct nvme *n)
{
	n->csts &= ~(u32)CSTS_RDY; /* from here on nothing is posted */
	block_drain(n->block);
	for (unsigned i = 0; i < NVME_QUEUES; i++) {
		n->sq[i] = (struct nvme_sq){0};
		nvme_cq_stop(n, &n->cq[i]);
	}
	n->aer_count = 0;
	memset(n->event, 0, sizeof(n->event));
	nvme_features_reset(n);
	n->csts &= CSTS_NSSRO;
	n->intms = 0;
	nvme_interrupt(n);
}

static void nvme_start(struct nvme *n)
{
	u16 sqs = (u16)((n->aqa & 0xfff) + 1), cqs = (u16)((n->aqa >> 16 & 0xfff) + 1);
	bool ok = sqs >= 2 && cqs >= 2 && !(n->cc & 0x3ff0) /* NVM commands, 4 KiB pages, round robin */;

	if (!ok) {
		nvme_fatal(n, "enabled with a configuration that does not exist");
		return;
	}
	n->sq[0] = (struct nvme_sq){.live = true, .size = sqs, .base = n->asq};
	nvme_cq_init(&n->cq[0], n->acq, cqs, true, 0);
	n->cq[0].users = 1;
	n->csts |= CSTS_RDY;
}

static void nvme_shutdown_done(struct block_request *r, int error)
{
	struct nvme *n = container_of(r, struct nvme, shutdown);

	n->shutdown_busy = false;
	if ((n->csts & CSTS_SHST) == CSTS_SHST_BUSY)
		n->csts = (n->csts & ~(u32)CSTS_SHST) | CSTS_SHST_DONE;
}

static void nvme_write_cc(struct nvme *n, u32 v)
{
	u32 old = n->cc;

	/* While enabled only EN and SHN change, and the entry sizes, which a driver sets before it makes
	 * queues. */
	if (old & v & CC_EN)
		v = (v & ~0x3ff0u) | (old & 0x3ff0);
	n->cc = v & (CC_CONFIG | CC_SHN | CC_EN);
	if ((old & CC_EN) && !(v & CC_EN))
		nvme_stop(n);
	else if (!(old & CC_EN) && (v & CC_EN))
		nvme_start(n);
	if ((v & CC_SHN) && !(old & CC_SHN) && !n->shutdown_busy) {
		n->csts = (n->csts & ~(u32)CSTS_SHST) | CSTS_SHST_BUSY;
		n->shutdown = (struct block_request){.op = BLOCK_FLUSH, .done = nvme_shutdown_done};
		n->shutdown_busy = true;
		block_submit(n->block, &n->shutdown);
		block_kick(n->block);
	} else if (!(v & CC_SHN) && (old & CC_SHN)) {
		n->csts &= ~(u32)CSTS_SHST;
	}
}

static void nvme_power_on(struct nvme *n)
{
	nvme_stop(n);
	n->cc = n->csts = n->aqa = 0;
	n->asq = n->acq = 0;
}

static void nvme_write_nssr(struct nvme *n, u32 v)
{
	if (v != NSSR_VALUE)
		return;
	nvme_power_on(n);
	n->csts = CSTS_NSSRO;
}

static u32 nvme_read32(struct nvme *n, unsigned reg)
{
	switch (reg) {
	case REG_CAP:
		return (u32)CAP;
	case REG_CAP + 4:
		return (u32)(CAP >> 32);
	case REG_VS:
		return VERSION;
	case REG_INTMS:
	case REG_INTMC:
		return n->intms;
	case REG_CC:
		return n->cc;
	case REG_CSTS:
		return n->csts;
	case REG_AQA:
		return n->aqa;
	case REG_ASQ:
		return (u32)n->asq;
	case REG_ASQ + 4:
		return (u32)(n->asq >> 32);
	case REG_ACQ:
		return (u32)n->acq;
	case REG_ACQ + 4:
		return (u32)(n->acq >> 32);
	default:
		return 0;
	}
}

static u64 nvme_set_low(u64 old, u32 v)
{
	return (old & ~(u64)UINT32_MAX) | (v & ~(u32)(NVME_PAGE - 1));
}

static u64 nvme_set_high(u64 old, u32 v)
{
	return (u32)old | (u64)v << 32;
}

static void nvme_write32(struct nvme *n, unsigned reg, u32 v)
{
	switch (reg) {
	case REG_INTMS:
		n->intms |= v;
		nvme_interrupt(n);
		break;
	case REG_INTMC:
		n->intms &= ~v;
		nvme_interrupt(n);
		break;
	case REG_CC:
		nvme_write_cc(n, v);
		break;
	case REG_CSTS:
		n->csts &= ~(v & CSTS_NSSRO);
		break;
	case REG_NSSR:
		nvme_write_nssr(n, v);
		break;
	case REG_AQA:
		n->aqa = v & 0x0fff0fff;
		break;
	case REG_ASQ:
		n->asq = nvme_set_low(n->asq, v);
		break;
	case REG_ASQ + 4:
		n->asq = nvme_set_high(n->asq, v);
		break;
	case REG_ACQ:
		n->acq = nvme_set_low(n->acq, v);
		break;
	case REG_ACQ + 4:
		n->acq = nvme_set_high(n->acq, v);
		break;
	}
}

static void nvme_doorbell(struct nvme *n, u64 offset, u32 value)
{
	unsigned qid = (unsigned)(offset - REG_DOORBELLS) / 8;
	bool cq = offset & 4;

	if (!nvme_running(n))
		return;
	if (qid > n->io_queues || !(cq ? n->cq[qid].live : n->sq[qid].live)) {
		log_guest("nvme %s: doorbell of queue %u, which does not exist", n->id, qid);
		nvme_raise_event(n, NVME_EVENT_ERROR, 0, 1);
		nvme_interrupt(n);
	} else if (cq) {
		nvme_cq_doorbell(n, qid, value);
	} else {
		nvme_sq_doorbell(n, qid, value);
	}
}

static u64 nvme_read(void *ctx, u64 offset, unsigned size)
{
	struct nvme *n = ctx;
	u64 v;

	if (offset >= REG_DOORBELLS)
		return 0; /* doorbells: undefined to read (§3.1.24) */
	v = nvme_read32(n, (unsigned)offset & ~3u) >> 8 * (offset & 3);
	if (size == 8 && !(offset & 3))
		v |= (u64)nvme_read32(n, (unsigned)offset + 4) << 32;
	return v & MASK(8 * size);
}

static void nvme_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	struct nvme *n = ctx;

	if (size < 4 || (offset & 3)) {
		log_guest("nvme %s: write of %u bytes at register 0x%llx", n->id, size,
		          (unsigned long long)offset);
		return;
	}
	if (offset >= REG_DOORBELLS) {
		nvme_doorbell(n, offset, (u32)value);
		return;
	}
	nvme_write32(n, (unsigned)offset, (u32)value);
	if (size == 8)
		nvme_write32(n, (unsigned)offset + 4, (u32)(value >> 32));
}

static const struct bus_ops nvme_ops = {.read = nvme_read, .write = nvme_write};

static void nvme_reset(void *ctx)
{
	struct nvme *n = ctx;

	pthread_mutex_lock(&n->pci.lock);
	nvme_power_on(n);
	pthread_mutex_unlock(&n->pci.lock);
}

static void nvme_batch(void *ctx)
{
	nvme_fetch(ctx);
}

static void nvme_describe(struct nvme *n, const struct nvme_config *config)
{
	struct pci_device *d = &n->pci;

	d->name = "nvme";
	d->slot = config->slot;
	d->vendor = d->subvendor = AMAZON;
	d->device = 0x8061;
	d->class_code = 0x010802;
	d->ctx = n;
	d->bar[0] = (struct pci_bar){.size = BAR_SIZE, .is64 = true, .ops = &nvme_ops};
	d->msix_vectors = n->io_queues + 1;
	d->msix_bar = 0;
	d->msix_offset = BAR_MSIX;
	d->msix_pba = BAR_PBA;
	d->reset = nvme_reset;
}

struct nvme *nvme_new(const struct nvme_config *config, struct pci_host *pci, struct memory *mem,
                      struct loop *loop, struct error *e)
{
	struct nvme *n = calloc(1, sizeof(*n));

	if (n)
		n->requests = calloc(NVME_REQUESTS, sizeof(*n->requests));
	if (!n || !n->requests) {
		free(n);
		error_set(e, ENOMEM, "disk '%s'", config->disk.path);
		return NULL;
	}
	n->mem = mem;
	n->io_queues = config->io_queues ? min(config->io_queues, (unsigned)NVME_MAX_IO_QUEUES) : 8;
	disk_id(&config->disk, n->id);
	snprintf(n->device_name, sizeof(n->device_name), "%s",
	         config->device_name ? config->device_name : "");
	for (unsigned i = 0; i < NVME_REQUESTS; i++) {
		n->requests[i].n = n;
		nvme_request_free(&n->requests[i]);
	}
	struct block_config bc = {.disk = config->disk, .lock = &n->pci.lock, .batch = nvme_batch, .ctx = n};
	n->block = block_new(&bc, loop, e);
	if (!n->block)
		goto fail;
	n->blocks = block_size(n->block) / BLOCK_SECTOR;
	nvme_features_reset(n);
	nvme_describe(n, config);
	if (pci_add(pci, &n->pci, e) < 0) {
		error_prefix(e, "disk '%s'", config->disk.path);
		goto fail;
	}
	return n;
fail:
	block_free(n->block);
	free(n->requests);
	free(n);
	return NULL;
}

void nvme_free(struct nvme *n)
{
	if (!n)
		return;
	/* In this order: no command comes after those that the reset waits for. */
	pci_withdraw(&n->pci);
	nvme_reset(n);
	pci_remove(&n->pci);
	block_free(n->block);
	free(n->requests);
	free(n);
}

unsigned nvme_slot(const struct nvme *n)
{
	return n->pci.slot;
}
