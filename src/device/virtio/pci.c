#include "device/virtio/pci.h"
#include "base/log.h"

#include <string.h>

#define BAR             0
#define BAR_COMMON      0x0000u
#define BAR_ISR         0x1000u
#define BAR_DEVICE      0x2000u
#define BAR_NOTIFY      0x3000u
#define BAR_MSIX        0x4000u
#define BAR_PBA         0x5000u
#define BAR_SIZE        0x8000u
#define NOTIFY_MULTIPLE 4u

/* Common configuration structure (§4.1.4.3). */
enum {
	DEVICE_FEATURE_SELECT = 0x00,
	DEVICE_FEATURE = 0x04,
	DRIVER_FEATURE_SELECT = 0x08,
	DRIVER_FEATURE = 0x0c,
	CONFIG_VECTOR = 0x10,
	NUM_QUEUES = 0x12,
	STATUS = 0x14,
	GENERATION = 0x15,
	QUEUE_SELECT = 0x16,
	QUEUE_SIZE = 0x18,
	QUEUE_VECTOR = 0x1a,
	QUEUE_ENABLE = 0x1c,
	QUEUE_NOTIFY_OFF = 0x1e,
	QUEUE_DESC = 0x20,
	QUEUE_DRIVER = 0x28,
	QUEUE_DEVICE = 0x30,
	QUEUE_NOTIFY_DATA = 0x38,
	QUEUE_RESET = 0x3a,
	COMMON_SIZE = 0x40,
};

/* Capability types (§4.1.4). */
enum { CAP_COMMON = 1, CAP_NOTIFY, CAP_ISR, CAP_DEVICE, CAP_PCI };

enum { ISR_QUEUE = 1, ISR_CONFIG = 2 };

/* ---- interrupts ---- */

static void virtio_signal(struct virtio_device *d, u16 vector, u8 isr)
{
	if (pci_msix_on(&d->pci)) {
		if (vector != VIRTIO_NO_VECTOR)
			pci_msix_notify(&d->pci, vector);
		return;
	}
	d->isr |= isr;
	pci_intx_set(&d->pci, true);
}

void virtio_interrupt(struct virtio_device *d, struct virtq *q)
{
	if (virtq_interrupt(q))
		virtio_signal(d, q->vector, ISR_QUEUE);
}

void virtio_broken(struct virtio_device *d, const char *why)
{
	if (d->status & VIRTIO_NEEDS_RESET)
		return;
	log_guest("%s: %s: device needs a reset", d->pci.name, why);
	d->status |= VIRTIO_NEEDS_RESET;
	if (d->status & VIRTIO_DRIVER_OK)
		virtio_signal(d, d->config_vector, ISR_CONFIG);
}

bool virtio_check(struct virtio_device *d, struct virtq *q)
{
	if (q->broken)
		virtio_broken(d, "bad descriptors");
	return !q->broken;
}

/* ---- status and features ---- */

static void virtio_reset(struct virtio_device *d)
{
	d->status = 0; /* nothing is answered from here on */
	d->ops->reset(d->ctx);
	for (unsigned i = 0; i < d->queue_count; i++)
		virtq_reset(&d->queue[i]);
	d->features = d->driver_features = 0;
	d->offered_select = d->driver_select = 0;
	d->queue_select = 0;
	d->config_vector = VIRTIO_NO_VECTOR;
	d->isr = 0;
	pci_intx_set(&d->pci, false);
}

static void virtio_kick(struct virtio_device *d, unsigned q)
{
	if (q < d->queue_count && d->queue[q].enabled && virtio_running(d))
		d->ops->kick(d->ctx, q);
}

static void virtio_later_call(void *ctx)
{
	struct virtio_device *d = ctx;

	pthread_mutex_lock(&d->pci.lock);
	u32 later = d->later;
	d->later = 0;
	for (unsigned i = 0; i < d->queue_count; i++)
		if (later & BIT(i))
			virtio_kick(d, i);
	pthread_mutex_unlock(&d->pci.lock);
}

void virtio_later(struct virtio_device *d, unsigned q)
{
	d->later |= (u32)BIT(q);
	loop_post(d->loop, &d->later_call);
}

static void virtio_write_status(struct virtio_device *d, u8 v)
{
	u8 rising = v & (u8)~d->status;

	if (!v) {
		virtio_reset(d);
		return;
	}
	/* FEATURES_OK stays 0 if we cannot work with what the driver chose (§2.2.2, §6.1). */
	if (rising & VIRTIO_FEATURES_OK) {
		if ((d->driver_features & ~d->offered) || !(d->driver_features & VIRTIO_F_VERSION_1)) {
			log_guest("%s: driver features 0x%llx refused", d->pci.name,
			          (unsigned long long)d->driver_features);
			v &= (u8)~VIRTIO_FEATURES_OK;
		} else {
			d->features = d->driver_features;
			for (unsigned i = 0; i < d->queue_count; i++)
				d->queue[i].event_idx = d->features & VIRTIO_F_EVENT_IDX;
			if (d->ops->negotiated)
				d->ops->negotiated(d->ctx);
		}
	}
	/* Bits are only ever added, and NEEDS_RESET is ours. */
	d->status = (u8)((d->status | v) & ~VIRTIO_NEEDS_RESET) | (d->status & VIRTIO_NEEDS_RESET);
	if (rising & VIRTIO_DRIVER_OK) {
		if (!(d->status & VIRTIO_FEATURES_OK))
			virtio_broken(d, "driver started without features");
		for (unsigned i = 0; i < d->queue_count; i++)
			virtio_kick(d, i);
	}
}

/* ---- common configuration ---- */

static struct virtq *virtio_selected(struct virtio_device *d)
{
	return d->queue_select < d->queue_count ? &d->queue[d->queue_select] : NULL;
}

static u32 virtio_common_word(struct virtio_device *d, unsigned offset)
{
	struct virtq none = {.vector = VIRTIO_NO_VECTOR}, *q = virtio_selected(d);

	if (!q)
		q = &none;
	switch (offset) {
	case DEVICE_FEATURE_SELECT:
		return d->offered_select;
	case DEVICE_FEATURE:
		return d->offered_select < 2 ? (u32)(d->offered >> 32 * d->offered_select) : 0;
	case DRIVER_FEATURE_SELECT:
		return d->driver_select;
	case DRIVER_FEATURE:
		return d->driver_select < 2 ? (u32)(d->driver_features >> 32 * d->driver_select) : 0;
	case CONFIG_VECTOR:
		return d->config_vector | d->queue_count << 16;
	case STATUS:
		return d->status | (u32)d->generation << 8 | (u32)d->queue_select << 16;
	case QUEUE_SIZE:
		return q->size | (u32)q->vector << 16;
	case QUEUE_ENABLE:
		return q->enabled | (q == &none ? 0 : (u32)d->queue_select << 16);
	case QUEUE_DESC:
		return (u32)q->desc;
	case QUEUE_DESC + 4:
		return (u32)(q->desc >> 32);
	case QUEUE_DRIVER:
		return (u32)q->avail;
	case QUEUE_DRIVER + 4:
		return (u32)(q->avail >> 32);
	case QUEUE_DEVICE:
		return (u32)q->used;
	case QUEUE_DEVICE + 4:
		return (u32)(q->used >> 32);
	case QUEUE_NOTIFY_DATA: /* and QUEUE_RESET: 0, a reset is done when its write is */
		return d->queue_select;
	default:
		return 0;
	}
}

static u16 virtio_vector(const struct virtio_device *d, u16 v)
{
	return v < d->pci.msix_vectors ? v : VIRTIO_NO_VECTOR;
}

static void virtio_set_half(u64 *field, unsigned high, u32 v)
{
	*field = high ? (u32)*field | (u64)v << 32 : (*field & ~(u64)UINT32_MAX) | v;
}

static void virtio_write_queue(struct virtio_device *d, struct virtq *q, unsigned offset, u32 v)
{
	switch (offset) {
	case QUEUE_VECTOR:
		q->vector = virtio_vector(d, (u16)v);
		return;
	case QUEUE_RESET:
		if (v == 1 && (d->features & VIRTIO_F_RING_RESET)) {
			d->ops->queue_reset(d->ctx, (unsigned)(q - d->queue));
			bool event_idx = q->event_idx;
			virtq_reset(q);
			q->event_idx = event_idx;
		}
		return;
	}
	if (q->enabled)
		return; /* the rest is fixed while the queue is on */
	switch (offset) {
	case QUEUE_SIZE:
		if (v && v <= q->max_size && !(v & (v - 1)))
			q->size = (u16)v;
		break;
	case QUEUE_ENABLE:
		if (v == 1 && !virtq_enable(q))
			virtio_broken(d, "queue outside of memory");
		else if (v == 1)
			virtio_kick(d, (unsigned)(q - d->queue));
		break;
	case QUEUE_DESC:
	case QUEUE_DESC + 4:
		virtio_set_half(&q->desc, offset & 4, v);
		break;
	case QUEUE_DRIVER:
	case QUEUE_DRIVER + 4:
		virtio_set_half(&q->avail, offset & 4, v);
		break;
	case QUEUE_DEVICE:
	case QUEUE_DEVICE + 4:
		virtio_set_half(&q->used, offset & 4, v);
		break;
	}
}

static void virtio_write_common(struct virtio_device *d, unsigned offset, u32 v)
{
	struct virtq *q = virtio_selected(d);

	switch (offset) {
	case DEVICE_FEATURE_SELECT:
		d->offered_select = v;
		break;
	case DRIVER_FEATURE_SELECT:
		d->driver_select = v;
		break;
	case DRIVER_FEATURE:
		/* Not after they were agreed on. */
		if (d->driver_select < 2 && !(d->status & VIRTIO_FEATURES_OK))
			virtio_set_half(&d->driver_features, d->driver_select, v);
		break;
	case CONFIG_VECTOR:
		d->config_vector = virtio_vector(d, (u16)v);
		break;
	case STATUS:
		virtio_write_status(d, (u8)v);
		break;
	case QUEUE_SELECT:
		d->queue_select = (u16)v;
		break;
	default:
		if (q)
			virtio_write_queue(d, q, offset, v);
		break;
	}
}

/* ---- BAR 0 ---- */

static u64 virtio_read(void *ctx, u64 offset, unsigned size)
{
	struct virtio_device *d = ctx;
	unsigned o = offset & 0xfff;
	u64 v = 0;

	switch (offset & ~0xfffULL) {
	case BAR_COMMON:
		v = virtio_common_word(d, o & ~3u) >> 8 * (o & 3);
		if (size == 8 && !(o & 3))
			v |= (u64)virtio_common_word(d, o + 4) << 32;
		return v & MASK(8 * size);
	case BAR_ISR:
		if (o)
			return 0;
		v = d->isr;
		d->isr = 0;
		pci_intx_set(&d->pci, false);
		return v;
	case BAR_DEVICE:
		if (o < d->config_size)
			memcpy(&v, d->config + o, min(size, d->config_size - o));
		return v;
	default:
		return 0;
	}
}

static void virtio_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	struct virtio_device *d = ctx;
	unsigned o = offset & 0xfff;

	switch (offset & ~0xfffULL) {
	case BAR_COMMON:
		virtio_write_common(d, o, (u32)(value & MASK(8 * min(size, 4u))));
		if (size == 8)
			virtio_write_common(d, o + 4, (u32)(value >> 32));
		break;
	case BAR_NOTIFY:
		virtio_kick(d, o / NOTIFY_MULTIPLE);
		break;
	}
}

static const struct bus_ops virtio_bar_ops = {.read = virtio_read, .write = virtio_write};

/* ---- configuration space ---- */

static unsigned virtio_capability(struct virtio_device *d, u8 type, u32 offset, u32 length, unsigned extra)
{
	unsigned c = pci_add_capability(&d->pci, 0x09, 16 + extra);

	if (!c)
		return 0;
	d->pci.config[c + 2] = (u8)(16 + extra);
	d->pci.config[c + 3] = type;
	d->pci.config[c + 4] = BAR;
	pci_config_set32(&d->pci, c + 8, offset);
	pci_config_set32(&d->pci, c + 12, length);
	return c;
}

/* The window that firmware uses before BARs are mapped (§4.1.4.9): bar, offset, length, then data. */
static bool virtio_window(struct virtio_device *d, unsigned config_offset, u32 *offset, u32 *length)
{
	const u8 *c = d->pci.config + d->cfg_cap;

	if (config_offset < d->cfg_cap + 16 || config_offset >= d->cfg_cap + 20)
		return false;
	memcpy(offset, c + 8, 4);
	memcpy(length, c + 12, 4);
	return c[4] == BAR && (*length == 1 || *length == 2 || *length == 4) && !(*offset & (*length - 1)) &&
	       *offset < BAR_MSIX;
}

static void virtio_config_read(void *ctx, unsigned offset, unsigned size)
{
	struct virtio_device *d = ctx;
	u32 o, length;

	pthread_mutex_lock(&d->pci.lock);
	if (virtio_window(d, offset, &o, &length))
		pci_config_set32(&d->pci, d->cfg_cap + 16, (u32)virtio_read(d, o, length));
	pthread_mutex_unlock(&d->pci.lock);
}

static void virtio_config_written(void *ctx, unsigned offset, unsigned size)
{
	struct virtio_device *d = ctx;
	u32 o, length, v;

	if (!virtio_window(d, offset, &o, &length))
		return;
	memcpy(&v, d->pci.config + d->cfg_cap + 16, 4);
	virtio_write(d, o, length, v & MASK(8 * length));
}

static void virtio_pci_reset(void *ctx)
{
	struct virtio_device *d = ctx;

	pthread_mutex_lock(&d->pci.lock);
	virtio_reset(d);
	pthread_mutex_unlock(&d->pci.lock);
}

static int virtio_capabilities(struct virtio_device *d, struct error *e)
{
	unsigned notify;

	if (!virtio_capability(d, CAP_COMMON, BAR_COMMON, COMMON_SIZE, 0) ||
	    !(notify = virtio_capability(d, CAP_NOTIFY, BAR_NOTIFY, NOTIFY_MULTIPLE * d->queue_count, 4)) ||
	    !virtio_capability(d, CAP_ISR, BAR_ISR, 4, 0) ||
	    (d->config_size && !virtio_capability(d, CAP_DEVICE, BAR_DEVICE, d->config_size, 0)) ||
	    !(d->cfg_cap = virtio_capability(d, CAP_PCI, 0, 0, 4)))
		return error_set(e, 0, "%s: no room for capabilities", d->pci.name);
	pci_config_set32(&d->pci, notify + 16, NOTIFY_MULTIPLE);
	/* bar, offset, length and data of the window are the driver's to write. */
	d->pci.wmask[d->cfg_cap + 4] = 0xff;
	memset(d->pci.wmask + d->cfg_cap + 8, 0xff, 12);
	return 0;
}

int virtio_add(struct virtio_device *d, struct pci_host *pci, unsigned slot, struct error *e)
{
	struct pci_device *p = &d->pci;

	p->slot = slot;
	p->vendor = p->subvendor = 0x1af4;
	p->device = p->subdevice = (u16)(0x1040 + d->type);
	p->class_code = d->class_code;
	p->revision = 1;
	p->ctx = d;
	p->bar[BAR] = (struct pci_bar){.size = BAR_SIZE, .is64 = true, .ops = &virtio_bar_ops};
	p->msix_vectors = d->queue_count + 1;
	p->msix_bar = BAR;
	p->msix_offset = BAR_MSIX;
	p->msix_pba = BAR_PBA;
	p->config_written = virtio_config_written;
	p->config_read = virtio_config_read;
	p->reset = virtio_pci_reset;
	d->offered |= VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_RING_RESET;
	d->config_vector = VIRTIO_NO_VECTOR;
	d->later_call = (struct loop_call){.fn = virtio_later_call, .ctx = d};
	for (unsigned i = 0; i < d->queue_count; i++) {
		d->queue[i].mem = d->mem;
		d->queue[i].max_size = VIRTQ_MAX_SIZE;
		virtq_reset(&d->queue[i]);
	}
	if (pci_add(pci, p, e) < 0)
		return -1;
	if (virtio_capabilities(d, e) < 0) {
		pci_remove(p);
		return -1;
	}
	return 0;
}

void virtio_remove(struct virtio_device *d)
{
	/* In this order: what the driver did last is undone, and it does nothing any more. */
	pci_withdraw(&d->pci);
	virtio_pci_reset(d);
	loop_unpost(d->loop, &d->later_call);
	pci_remove(&d->pci);
}
