/*
 * MSI-X of a PCI function (PCI 3.0 §6.8.2): the capability, the table and the pending bits. pci.c's helper;
 * all functions are called with dev->lock held, but for pci_msix_notify() in pci.h.
 */
#pragma once

#include "machine/pci.h"

/* Adds the capability; -1 if the description does not fit its BAR. */
int pci_msix_init(struct pci_device *dev);
void pci_msix_reset(struct pci_device *dev);
/* After a config write: enable and function mask may have changed. */
void pci_msix_control(struct pci_device *dev);

/* True if offset of the MSI-X BAR lies in the table or the PBA, which these then serve. */
bool pci_msix_claims(const struct pci_device *dev, u64 offset);
u64 pci_msix_read(struct pci_device *dev, u64 offset, unsigned size);
void pci_msix_write(struct pci_device *dev, u64 offset, unsigned size, u64 value);

/* pci.c: the MSI leaves, and INTA# is looked at again. */
void pci_send_msi(struct pci_device *dev, u64 address, u32 data);
void pci_intx_update(struct pci_device *dev);
