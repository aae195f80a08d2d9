#include "machine/pci_msix.h"

#include <string.h>

#define CAP_MSIX     0x11
#define CAP_SIZE     12
#define ENTRY_SIZE   16
#define CTRL_ENABLE  0x8000
#define CTRL_MASK    0x4000
#define ENTRY_MASKED 1u

static u64 table_size(const struct pci_device *dev)
{
	return (u64)dev->msix_vectors * ENTRY_SIZE;
}

static u64 pba_size(const struct pci_device *dev)
{
	return (dev->msix_vectors + 63) / 64 * 8;
}

int pci_msix_init(struct pci_device *dev)
{
	u64 bar_size = dev->msix_bar < PCI_MAX_BARS ? dev->bar[dev->msix_bar].size : 0;

	if (dev->msix_vectors > PCI_MAX_MSIX || dev->msix_offset % 8 || dev->msix_pba % 8 ||
	    dev->msix_offset + table_size(dev) > bar_size || dev->msix_pba + pba_size(dev) > bar_size)
		return -1;
	dev->msix_cap = pci_add_capability(dev, CAP_MSIX, CAP_SIZE);
	if (!dev->msix_cap)
		return -1;
	pci_config_set16(dev, dev->msix_cap + 2, (u16)(dev->msix_vectors - 1));
	dev->wmask[dev->msix_cap + 3] = (CTRL_ENABLE | CTRL_MASK) >> 8;
	pci_config_set32(dev, dev->msix_cap + 4, dev->msix_offset | dev->msix_bar);
	pci_config_set32(dev, dev->msix_cap + 8, dev->msix_pba | dev->msix_bar);
	pci_msix_reset(dev);
	return 0;
}

void pci_msix_reset(struct pci_device *dev)
{
	for (unsigned i = 0; i < PCI_MAX_MSIX; i++)
		dev->msix[i] = (struct pci_msix_entry){.control = ENTRY_MASKED};
	memset(dev->msix_pending, 0, sizeof(dev->msix_pending));
	dev->msix_enabled = dev->msix_masked = false;
}

/* Sends a pending vector that may go out now. */
static void flush(struct pci_device *dev, unsigned v)
{
	u64 bit = BIT(v % 64);

	if (!dev->msix_enabled || dev->msix_masked || (dev->msix[v].control & ENTRY_MASKED) ||
	    !(dev->msix_pending[v / 64] & bit))
		return;
	dev->msix_pending[v / 64] &= ~bit;
	pci_send_msi(dev, dev->msix[v].address, dev->msix[v].data);
}

void pci_msix_control(struct pci_device *dev)
{
	if (!dev->msix_cap)
		return;
	u16 control = pci_config_get16(dev, dev->msix_cap + 2);
	bool enabled = control & CTRL_ENABLE, masked = control & CTRL_MASK;

	if (enabled == dev->msix_enabled && masked == dev->msix_masked)
		return;
	dev->msix_enabled = enabled;
	dev->msix_masked = masked;
	for (unsigned v = 0; v < dev->msix_vectors; v++)
		flush(dev, v);
	pci_intx_update(dev);
}

void pci_msix_notify(struct pci_device *dev, unsigned v)
{
	pthread_mutex_lock(&dev->lock);
	if (v < dev->msix_vectors && dev->msix_enabled) {
		dev->msix_pending[v / 64] |= BIT(v % 64);
		flush(dev, v);
	}
	pthread_mutex_unlock(&dev->lock);
}

bool pci_msix_claims(const struct pci_device *dev, u64 offset)
{
	return offset - dev->msix_offset < table_size(dev) || offset - dev->msix_pba < pba_size(dev);
}

u64 pci_msix_read(struct pci_device *dev, u64 offset, unsigned size)
{
	const void *from = dev->msix;
	u64 at = offset - dev->msix_offset, room = table_size(dev), value = 0;

	if (at >= room) {
		from = dev->msix_pending;
		at = offset - dev->msix_pba;
		room = pba_size(dev);
	}
	if (at < room && size <= room - at)
		memcpy(&value, (const u8 *)from + at, size);
	return value;
}

void pci_msix_write(struct pci_device *dev, u64 offset, unsigned size, u64 value)
{
	u64 at = offset - dev->msix_offset;
	unsigned v = (unsigned)(at / ENTRY_SIZE);

	/* Only dword and qword writes are defined (6.8.2); pending bits are read-only. */
	if (at >= table_size(dev) || (size != 4 && size != 8) || at % size)
		return;
	struct pci_msix_entry *entry = &dev->msix[v];
	memcpy((u8 *)entry + at % ENTRY_SIZE, &value, size);
	entry->address &= ~3ULL;
	entry->control &= ENTRY_MASKED;
	flush(dev, v);
}
