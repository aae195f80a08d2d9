/*
 * An NVMe 1.4 controller with one namespace: how EC2 shows an EBS volume.
 *
 * Model "Amazon Elastic Block Store", serial number the disk's id, firmware "1.0", logical blocks of 512
 * bytes, a volatile write cache (the host's page cache). PRPs and SGLs, MSI-X with a vector for each queue,
 * INTx for drivers without. Parts: nvme.c (PCI function, registers, doorbells, reset), nvme_queue.c (queues,
 * completions, interrupts), nvme_admin.c and nvme_identify.c (admin command set), nvme_io.c (NVM command
 * set), nvme_data.c (PRPs, SGLs); nvme_internal.h has the structures.
 *
 * Threads: registers on vCPU threads, completions on the loop's, all under the pci_device's lock.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "device/block_backend.h"
#include "machine/memory.h"
#include "machine/pci.h"

#define NVME_MAX_IO_QUEUES 64

struct nvme_config {
	struct disk_config disk;
	unsigned io_queues;      /* queue pairs, 1 … NVME_MAX_IO_QUEUES; 0: 8 */
	const char *device_name; /* what ebsnvme-id shows, e.g. "sda1"; NULL: none */
	unsigned slot;           /* PCI slot, 0: any */
};

struct nvme;

struct nvme *nvme_new(const struct nvme_config *config, struct pci_host *pci, struct memory *mem,
                      struct loop *loop, struct error *e);
/* vCPUs may run, on the loop's thread; memory and PCI bus must still be there. */
void nvme_free(struct nvme *n);
unsigned nvme_slot(const struct nvme *n);
