/*
 * Theory of operation. Locks, in this order: topology (which devices there are; read-held during config
 * accesses), the device's lock, map (where BARs are, whose INTA# is asserted), then bus and interrupt locks.
 *
 * A BAR is mapped when its space is enabled in COMMAND and its address is not 0 and free: a guest can program
 * BARs on top of each other or of a chip, then the newcomer stays unmapped until a later change makes room.
 */
#include "machine/pci.h"
#include "machine/pci_msix.h"

#include <stdlib.h>
#include <string.h>

enum {
	CFG_COMMAND = 4,
	CFG_STATUS = 6,
	CFG_REVISION = 8,
	CFG_CLASS = 9,
	CFG_CACHE_LINE = 0x0c,
	CFG_LATENCY = 0x0d,
	CFG_BAR0 = 0x10,
	CFG_SUBVENDOR = 0x2c,
	CFG_SUBDEVICE = 0x2e,
	CFG_CAPABILITIES = 0x34,
	CFG_IRQ_LINE = 0x3c,
	CFG_IRQ_PIN = 0x3d,
	CFG_DEVICE_SPECIFIC = 0x40,
};

enum { CMD_IO = 1, CMD_MEMORY = 2, CMD_MASTER = 4, CMD_INTX_OFF = 0x400 };
#define CMD_WRITABLE (CMD_IO | CMD_MEMORY | CMD_MASTER | 0x40 | 0x100 | CMD_INTX_OFF)
enum { STATUS_INTX = 8, STATUS_CAPABILITIES = 0x10 };
enum { BAR_IO = 1, BAR_64 = 4, BAR_PREFETCH = 8 };

#define LARGE_BAR (64 * MiB) /* a 64-bit BAR from here on goes to the 64-bit window */

struct pci_host {
	struct pci_host_config config;
	pthread_rwlock_t topology;
	pthread_mutex_t map;
	struct pci_device *slot[PCI_MAX_DEVICES];
	u32 intx_slots[8];        /* who asserts each line */
	unsigned last_slot;  /* given to a device that did not care which */
	_Atomic u32 address;      /* port 0xcf8 */
	_Atomic u8 reset_control; /* port 0xcf9 */
	struct bus_region address_port, data_port, ecam;
	struct pci_device bridge;
};

/* ---- BARs ---- */

static unsigned bar_reg(unsigned i)
{
	return CFG_BAR0 + i * 4;
}

static u32 get32(const struct pci_device *dev, unsigned o)
{
	return pci_config_get16(dev, o) | (u32)pci_config_get16(dev, o + 2) << 16;
}

static u64 bar_address(const struct pci_device *dev, unsigned i)
{
	const struct pci_bar *bar = &dev->bar[i];
	u64 low = get32(dev, bar_reg(i));

	if (bar->io)
		return low & 0xfffc;
	low &= ~0xfULL;
	return bar->is64 ? low | (u64)get32(dev, bar_reg(i + 1)) << 32 : low;
}

static bool bar_enabled(const struct pci_device *dev, const struct pci_bar *bar)
{
	return bar->size && (dev->config[CFG_COMMAND] & (bar->io ? CMD_IO : CMD_MEMORY));
}

static struct bus *bar_bus(const struct pci_host *h, const struct pci_bar *bar)
{
	return bar->io ? h->config.pio : h->config.mmio;
}

/* Maps and unmaps until each BAR is where its register says. Under h->map. */
static void remap_locked(struct pci_host *h, struct pci_device *changed)
{
	for (unsigned i = 0; changed && i < PCI_MAX_BARS; i++) {
		struct pci_bar *bar = &changed->bar[i];
		u64 address = bar->size ? bar_address(changed, i) : 0;

		changed->bar_addr[i] = bar_enabled(changed, bar) ? address : 0;
	}
	for (unsigned s = 0; s < PCI_MAX_DEVICES; s++) {
		struct pci_device *dev = h->slot[s];

		for (unsigned i = 0; dev && i < PCI_MAX_BARS; i++) {
			struct pci_bar *bar = &dev->bar[i];

			if (bar->region.mapped && bar->region.base != dev->bar_addr[i])
				bus_unmap(bar_bus(h, bar), &bar->region);
		}
	}
	for (unsigned s = 0; s < PCI_MAX_DEVICES; s++) {
		struct pci_device *dev = h->slot[s];

		for (unsigned i = 0; dev && i < PCI_MAX_BARS; i++) {
			struct pci_bar *bar = &dev->bar[i];

			if (bar->region.mapped || !dev->bar_addr[i])
				continue;
			bar->region.base = dev->bar_addr[i];
			bus_add(bar_bus(h, bar), &bar->region);
		}
	}
}

static void remap(struct pci_host *h, struct pci_device *changed)
{
	pthread_mutex_lock(&h->map);
	remap_locked(h, changed);
	pthread_mutex_unlock(&h->map);
}

static u64 msix_bar_read(void *ctx, u64 offset, unsigned size)
{
	struct pci_bar *bar = ctx;

	if (pci_msix_claims(bar->dev, offset))
		return pci_msix_read(bar->dev, offset, size);
	return bar->ops && bar->ops->read ? bar->ops->read(bar->dev->ctx, offset, size) : 0;
}

static void msix_bar_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	struct pci_bar *bar = ctx;

	if (pci_msix_claims(bar->dev, offset))
		pci_msix_write(bar->dev, offset, size, value);
	else if (bar->ops && bar->ops->write)
		bar->ops->write(bar->dev->ctx, offset, size, value);
}

/* The end of a BAR of dev that overlaps [at, at + size), or 0. */
static u64 overlap_end(const struct pci_device *dev, u64 at, u64 size, bool io)
{
	for (unsigned i = 0; dev && i < PCI_MAX_BARS; i++) {
		const struct pci_bar *bar = &dev->bar[i];
		u64 taken = bar->size ? bar_address(dev, i) : 0;

		if (taken && bar->io == io && at < taken + bar->size && taken < at + size)
			return taken + bar->size;
	}
	return 0;
}

/* The lowest free, aligned place in a window for a BAR of dev, or 0. Under topology's write lock. */
static u64 find_place(const struct pci_host *h, const struct pci_device *dev, u64 base, u64 window, u64 size,
                      bool io)
{
	u64 at = align_up(base, size), end;

	do {
		end = overlap_end(dev, at, size, io);
		for (unsigned s = 0; s < PCI_MAX_DEVICES && !end; s++)
			end = overlap_end(h->slot[s], at, size, io);
		if (end)
			at = align_up(end, size);
	} while (end);
	return at >= base && at - base <= window && size <= window - (at - base) ? at : 0;
}

/* Sets up the register, its writable bits and an address. */
static int bar_init(struct pci_host *h, struct pci_device *dev, unsigned i, struct error *e)
{
	static const struct bus_ops msix_ops = {msix_bar_read, msix_bar_write};
	struct pci_bar *bar = &dev->bar[i];
	u64 mask = ~(bar->size - 1), at = 0;
	u32 flags = bar->io ? BAR_IO : (bar->is64 ? BAR_64 : 0) | (bar->prefetch ? BAR_PREFETCH : 0);
	const struct pci_host_config *c = &h->config;

	if ((bar->size & (bar->size - 1)) || bar->size < 16 ||
	    (bar->is64 && (bar->io || i == PCI_MAX_BARS - 1)) || (bar->is64 && dev->bar[i + 1].size) ||
	    (!bar->is64 && bar->size > BIT(31)))
		return error_set(e, 0, "%s: BAR %u is malformed", dev->name, i);
	if (bar->io)
		at = find_place(h, dev, c->io_base, c->io_size, bar->size, true);
	else if (!bar->is64 || bar->size < LARGE_BAR)
		at = find_place(h, dev, c->mem_base, c->mem_size, bar->size, false);
	if (!at && bar->is64)
		at = find_place(h, dev, c->mem64_base, c->mem64_size, bar->size, false);
	if (!at)
		return error_set(e, 0, "%s: no address space left for BAR %u", dev->name, i);
	pci_config_set32(dev, bar_reg(i), (u32)at | flags);
	for (unsigned b = 0; b < (bar->is64 ? 8u : 4u); b++)
		dev->wmask[bar_reg(i) + b] = (u8)(mask >> b * 8);
	dev->wmask[bar_reg(i)] &= bar->io ? 0xfc : 0xf0;
	if (bar->io)
		dev->wmask[bar_reg(i) + 2] = dev->wmask[bar_reg(i) + 3] = 0;
	if (bar->is64)
		pci_config_set32(dev, bar_reg(i + 1), (u32)(at >> 32));

	bool wrapped = dev->msix_vectors && dev->msix_bar == i;
	bar->dev = dev;
	bar->region = (struct bus_region){
	        .name = dev->name,
	        .size = bar->size,
	        .ops = wrapped || !bar->ops ? &msix_ops : bar->ops,
	        .ctx = wrapped || !bar->ops ? (void *)bar : dev->ctx,
	        .lock = &dev->lock,
	};
	return 0;
}

/* ---- interrupts ---- */

void pci_send_msi(struct pci_device *dev, u64 address, u32 data)
{
	msi_send(&dev->host->config.msi, address, data);
}

void pci_intx_update(struct pci_device *dev)
{
	struct pci_host *h = dev->host;
	unsigned n = dev->slot % 8;
	bool level =
	        dev->intx_level && !dev->msix_enabled && !(pci_config_get16(dev, CFG_COMMAND) & CMD_INTX_OFF);

	dev->config[CFG_STATUS] =
	        (u8)((dev->config[CFG_STATUS] & ~STATUS_INTX) | (dev->intx_level ? STATUS_INTX : 0));
	if (!h)
		return;
	/* The line is the OR of the slots that share it. */
	pthread_mutex_lock(&h->map);
	u32 bit = (u32)BIT(dev->slot);
	bool was = h->intx_slots[n];
	h->intx_slots[n] = level ? h->intx_slots[n] | bit : h->intx_slots[n] & ~bit;
	if (was != !!h->intx_slots[n])
		irq_set(&dev->intx, h->intx_slots[n]);
	pthread_mutex_unlock(&h->map);
}

void pci_intx_set(struct pci_device *dev, bool level)
{
	pthread_mutex_lock(&dev->lock);
	if (dev->intx_level != level) {
		dev->intx_level = level;
		pci_intx_update(dev);
	}
	pthread_mutex_unlock(&dev->lock);
}

/* ---- configuration space ---- */

unsigned pci_add_capability(struct pci_device *dev, u8 id, unsigned len)
{
	unsigned at = dev->cap_end ? dev->cap_end : CFG_DEVICE_SPECIFIC;

	if (len < 2 || at + len > 256)
		return 0;
	/* Appended to the chain, so that drivers find them in the order in which they were added. */
	unsigned link = CFG_CAPABILITIES;
	while (dev->config[link])
		link = dev->config[link] + 1u;
	dev->config[link] = (u8)at;
	dev->config[at] = id;
	dev->config[at + 1] = 0;
	dev->config[CFG_STATUS] |= STATUS_CAPABILITIES;
	dev->cap_end = align_up(at + len, 4u);
	return at;
}

static u32 device_read(struct pci_device *dev, unsigned offset, unsigned size)
{
	u32 value = 0;

	pthread_mutex_lock(&dev->lock);
	if (offset >= CFG_DEVICE_SPECIFIC && dev->config_read)
		dev->config_read(dev->ctx, offset, size);
	for (unsigned i = 0; i < size; i++)
		value |= (u32)dev->config[offset + i] << i * 8;
	pthread_mutex_unlock(&dev->lock);
	return value;
}

static void device_write(struct pci_device *dev, unsigned offset, unsigned size, u32 value)
{
	pthread_mutex_lock(&dev->lock);
	if (!dev->initial_taken) {
		memcpy(dev->initial, dev->config, PCI_CONFIG_SIZE);
		dev->initial_taken = true;
	}
	for (unsigned i = 0; i < size; i++) {
		u8 *byte = &dev->config[offset + i], mask = dev->wmask[offset + i];

		*byte = (u8)((*byte & ~mask) | (value >> i * 8 & mask));
	}
	if (offset < CFG_BAR0 + 4 * PCI_MAX_BARS) {
		remap(dev->host, dev);
		pci_intx_update(dev);
	}
	if (offset >= CFG_DEVICE_SPECIFIC) {
		pci_msix_control(dev);
		if (dev->config_written)
			dev->config_written(dev->ctx, offset, size);
	}
	pthread_mutex_unlock(&dev->lock);
}

u32 pci_config_read(struct pci_host *h, unsigned slot, unsigned offset, unsigned size)
{
	u32 value = (u32)MASK(size * 8);

	if (slot >= PCI_MAX_DEVICES || offset + size > PCI_CONFIG_SIZE)
		return value;
	pthread_rwlock_rdlock(&h->topology);
	if (h->slot[slot])
		value = device_read(h->slot[slot], offset, size);
	pthread_rwlock_unlock(&h->topology);
	return value;
}

void pci_config_write(struct pci_host *h, unsigned slot, unsigned offset, unsigned size, u32 value)
{
	if (slot >= PCI_MAX_DEVICES || offset + size > PCI_CONFIG_SIZE)
		return;
	pthread_rwlock_rdlock(&h->topology);
	if (h->slot[slot])
		device_write(h->slot[slot], offset, size, value);
	pthread_rwlock_unlock(&h->topology);
}

/* ---- the two ways to it ---- */

/* ECAM: bus 27:20, slot 19:15, function 14:12. Bus 0, function 0 is all there is: bits 27:20 and 14:12 are 0.
 */
static u64 ecam_read(void *ctx, u64 offset, unsigned size)
{
	if (offset & 0xff07000)
		return ~0ULL;
	return pci_config_read(ctx, offset >> 15 & 31, offset & 0xfff, size);
}

static void ecam_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	if (!(offset & 0xff07000))
		pci_config_write(ctx, offset >> 15 & 31, offset & 0xfff, size, (u32)value);
}

static u64 address_read(void *ctx, u64 offset, unsigned size)
{
	struct pci_host *h = ctx;

	if (offset == 0 && size == 4)
		return h->address;
	return offset == 1 && size == 1 ? h->reset_control : ~0ULL;
}

static void address_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	struct pci_host *h = ctx;

	if (offset == 0 && size == 4) {
		h->address = (u32)value & 0x80fffffc;
	} else if (offset == 1 && size == 1) { /* port 0xcf9, the chipset's reset control */
		h->reset_control = value & 0xe;
		if (value & 4)
			h->config.reset(h->config.ctx);
	}
}

static bool selected(const struct pci_host *h, unsigned *slot, unsigned *reg)
{
	u32 a = h->address;

	*slot = a >> 11 & 31;
	*reg = a & 0xfc;
	return (a & BIT(31)) && !(a & 0xff0700); /* bus 0, function 0 */
}

static u64 data_read(void *ctx, u64 offset, unsigned size)
{
	unsigned slot, reg;

	if (!selected(ctx, &slot, &reg))
		return ~0ULL;
	return pci_config_read(ctx, slot, reg + (unsigned)offset, size);
}

static void data_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	unsigned slot, reg;

	if (selected(ctx, &slot, &reg))
		pci_config_write(ctx, slot, reg + (unsigned)offset, size, (u32)value);
}

/* ---- devices ---- */

/* Everything in the standard header but BARs and capabilities. */
static void header_init(struct pci_device *dev)
{
	u16 command = 0;

	pci_config_set16(dev, 0, dev->vendor);
	pci_config_set16(dev, 2, dev->device);
	dev->config[CFG_REVISION] = dev->revision;
	dev->config[CFG_CLASS] = (u8)dev->class_code;
	pci_config_set16(dev, CFG_CLASS + 1, (u16)(dev->class_code >> 8));
	pci_config_set16(dev, CFG_SUBVENDOR, dev->subvendor);
	pci_config_set16(dev, CFG_SUBDEVICE, dev->subdevice);
	dev->wmask[CFG_COMMAND] = CMD_WRITABLE & 0xff;
	dev->wmask[CFG_COMMAND + 1] = CMD_WRITABLE >> 8;
	dev->wmask[CFG_CACHE_LINE] = dev->wmask[CFG_LATENCY] = 0xff;
	dev->wmask[CFG_IRQ_LINE] = 0xff;
	/* As firmware would leave it: decoding, at the addresses that we gave. */
	for (unsigned i = 0; i < PCI_MAX_BARS; i++)
		if (dev->bar[i].size)
			command |= dev->bar[i].io ? CMD_IO : CMD_MEMORY;
	pci_config_set16(dev, CFG_COMMAND, command);
}

/* The next one after that which was given last: a guest whose function was torn out may still take what
 * stands in its slot for that one. */
static int choose_slot(struct pci_host *h, struct pci_device *dev)
{
	if (dev->slot)
		return dev->slot < PCI_MAX_DEVICES && !h->slot[dev->slot] ? 0 : -1;
	for (unsigned i = 0; i < PCI_MAX_DEVICES - 1; i++) {
		unsigned s = 1 + (h->last_slot + i) % (PCI_MAX_DEVICES - 1);

		if (!h->slot[s]) {
			dev->slot = h->last_slot = s;
			return 0;
		}
	}
	return -1;
}

static int device_init(struct pci_host *h, struct pci_device *dev, struct error *e)
{
	pthread_mutexattr_t attr;

	header_init(dev);
	for (unsigned i = 0; i < PCI_MAX_BARS; i++)
		if (dev->bar[i].size && bar_init(h, dev, i, e) < 0)
			return -1;
	if (dev->msix_vectors && pci_msix_init(dev) < 0)
		return error_set(e, 0, "%s: MSI-X table does not fit", dev->name);
	dev->initial = malloc(PCI_CONFIG_SIZE);
	if (!dev->initial)
		return error_set(e, 12, "%s", dev->name);
	dev->initial_taken = false;
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&dev->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	dev->host = h;
	return 0;
}

int pci_add(struct pci_host *h, struct pci_device *dev, struct error *e)
{
	int rc = -1;

	pthread_rwlock_wrlock(&h->topology);
	if (choose_slot(h, dev) < 0)
		error_set(e, 0, "%s: no free PCI slot", dev->name);
	else
		rc = device_init(h, dev, e);
	if (rc == 0) {
		dev->intx = h->config.intx[dev->slot % 8];
		dev->config[CFG_IRQ_PIN] = 1;
		pthread_mutex_lock(&h->map);
		h->slot[dev->slot] = dev;
		remap_locked(h, dev);
		pthread_mutex_unlock(&h->map);
	}
	pthread_rwlock_unlock(&h->topology);
	return rc;
}

/* Off the bus, if it is there; write-locks the topology. */
static void take_out(struct pci_host *h, struct pci_device *dev)
{
	pthread_mutex_lock(&h->map);
	if (h->slot[dev->slot] == dev)
		h->slot[dev->slot] = NULL;
	for (unsigned i = 0; i < PCI_MAX_BARS; i++) {
		dev->bar_addr[i] = 0;
		if (dev->bar[i].size)
			bus_unmap(bar_bus(h, &dev->bar[i]), &dev->bar[i].region);
	}
	pthread_mutex_unlock(&h->map);
}

void pci_hide(struct pci_host *h, unsigned slot)
{
	pthread_rwlock_wrlock(&h->topology);
	if (slot && slot < PCI_MAX_DEVICES && h->slot[slot])
		take_out(h, h->slot[slot]);
	pthread_rwlock_unlock(&h->topology);
}

void pci_withdraw(struct pci_device *dev)
{
	struct pci_host *h = dev->host;

	if (!h)
		return;
	pthread_rwlock_wrlock(&h->topology);
	take_out(h, dev);
	pthread_rwlock_unlock(&h->topology);
	for (unsigned i = 0; i < PCI_MAX_BARS; i++)
		if (dev->bar[i].size)
			bus_remove(bar_bus(h, &dev->bar[i]), &dev->bar[i].region);
}

void pci_remove(struct pci_device *dev)
{
	struct pci_host *h = dev->host;

	if (!h)
		return;
	pci_withdraw(dev);
	pci_intx_set(dev, false);
	remap(h, NULL);
	pthread_mutex_destroy(&dev->lock);
	free(dev->initial);
	dev->initial = NULL;
	dev->host = NULL;
}

static void device_reset(struct pci_device *dev)
{
	pthread_mutex_lock(&dev->lock);
	if (dev->initial_taken)
		for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++)
			dev->config[i] =
			        (u8)((dev->config[i] & ~dev->wmask[i]) | (dev->initial[i] & dev->wmask[i]));
	pci_msix_reset(dev);
	dev->intx_level = false;
	pci_intx_update(dev);
	remap(dev->host, dev);
	pthread_mutex_unlock(&dev->lock);
	if (dev->reset)
		dev->reset(dev->ctx);
}

void pci_host_reset(struct pci_host *h)
{
	pthread_rwlock_rdlock(&h->topology);
	h->address = 0;
	h->reset_control = 0;
	for (unsigned s = 0; s < PCI_MAX_DEVICES; s++)
		if (h->slot[s])
			device_reset(h->slot[s]);
	pthread_rwlock_unlock(&h->topology);
}

/* ---- the bridge ---- */

static int bridge_add(struct pci_host *h, struct error *e)
{
	struct pci_device *dev = &h->bridge;

	/* An Intel host bridge number that no driver or quirk of the common systems knows. */
	*dev = (struct pci_device){
	        .name = "host bridge", .vendor = 0x8086, .device = 0x0d57, .class_code = 0x060000};
	if (device_init(h, dev, e) < 0)
		return -1;
	h->slot[0] = dev;
	return 0;
}

struct pci_host *pci_host_new(const struct pci_host_config *config, struct error *e)
{
	static const struct bus_ops ecam_ops = {ecam_read, ecam_write},
	                            address_ops = {address_read, address_write},
	                            data_ops = {data_read, data_write};
	struct pci_host *h = calloc(1, sizeof(*h));

	if (!h) {
		error_set(e, 12, "PCI host bridge");
		return NULL;
	}
	h->config = *config;
	pthread_rwlock_init(&h->topology, NULL);
	pthread_mutex_init(&h->map, NULL);
	h->address_port = (struct bus_region){
	        .name = "pci address", .base = 0xcf8, .size = 4, .ops = &address_ops, .ctx = h};
	h->data_port =
	        (struct bus_region){.name = "pci data", .base = 0xcfc, .size = 4, .ops = &data_ops, .ctx = h};
	h->ecam = (struct bus_region){.name = "pci ecam",
	                              .base = config->ecam_base,
	                              .size = config->ecam_size,
	                              .ops = &ecam_ops,
	                              .ctx = h,
	                              .max_size = 4};
	if (bridge_add(h, e) < 0) {
		pci_host_free(h);
		return NULL;
	}
	if (bus_add(config->pio, &h->address_port) < 0 || bus_add(config->pio, &h->data_port) < 0 ||
	    bus_add(config->mmio, &h->ecam) < 0) {
		error_set(e, 0, "PCI host bridge: address space is taken");
		pci_host_free(h);
		return NULL;
	}
	return h;
}

void pci_host_free(struct pci_host *h)
{
	if (!h)
		return;
	bus_remove(h->config.pio, &h->address_port);
	bus_remove(h->config.pio, &h->data_port);
	bus_remove(h->config.mmio, &h->ecam);
	free(h->bridge.initial);
	pthread_mutex_destroy(&h->bridge.lock);
	pthread_mutex_destroy(&h->map);
	pthread_rwlock_destroy(&h->topology);
	free(h);
}
