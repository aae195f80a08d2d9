/*
 * The board: memory, buses, interrupt controllers, timers, PCI, firmware tables, and the vCPUs plugged into
 * it. It is one struct cpu_board to its CPUs and a place to plug devices in. board_new() makes the chips
 * every PC has; the VMM adds devices, then vCPUs, then boots.
 *
 * Physical map: RAM 0–0xbfffffff (less 0xa0000–0xbffff), PCI memory 0xc0000000–0xdfffffff, ECAM 0xe0000000–
 * 0xe00fffff… (bus 0 only is populated; MCFG names buses 0–255 as far as the window goes), I/O APIC
 * 0xfec00000, local APIC 0xfee00000, RAM from 4 GiB, 64-bit PCI memory above it.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "base/types.h"
#include "cpu/cpu.h"
#include "machine/bus.h"
#include "machine/irq.h"
#include "machine/memory.h"
#include "machine/pci.h"

#define BOARD_MAX_CPUS  64
#define BOARD_PHYS_BITS 46 /* MAXPHYADDR as CPUID tells it; RAM and the 64-bit PCI window end below 1 TiB */

#define BOARD_ECAM_BASE   0xe0000000ULL
#define BOARD_ECAM_SIZE   0x10000000ULL
#define BOARD_PCI_BASE    0xc0000000ULL
#define BOARD_PCI_SIZE    0x20000000ULL
#define BOARD_IOAPIC_BASE 0xfec00000ULL
#define BOARD_LAPIC_BASE  0xfee00000ULL
#define BOARD_TESTDEV_MEM 0xff000000ULL

enum board_event {
	BOARD_POWEROFF,   /* ACPI S5 */
	BOARD_RESET,      /* i8042, ACPI reset register, port 0xcf9, port 0x92 */
	BOARD_DEBUG_EXIT, /* --debug-exit; code is the process's exit status */
};

struct board_config {
	u64 memory;                 /* bytes */
	unsigned cpus;              /* 1 … BOARD_MAX_CPUS */
	bool debug_exit;            /* the test device: 0xf4 exit, and what docs/ARCHITECTURE.md lists */
	const char *smbios_product; /* SMBIOS product_name; NULL: "insula" */
	const char *smbios_uuid;    /* UUID text; NULL: one is made up (smbios.h) */
	const char *smbios_asset;   /* board_asset_tag; NULL: none */
	/* Called on any thread, at most once per event; must only note it and wake the VMM. */
	void (*event)(void *ctx, enum board_event event, int code);
	void *event_ctx;
};

struct board; /* machine/board.c */

struct board *board_new(const struct board_config *config, struct loop *loop, struct error *e);
void board_free(struct board *b);

struct memory *board_memory(struct board *b);
struct bus *board_pio(struct board *b);
struct bus *board_mmio(struct board *b);
struct pci_host *board_pci(struct board *b);
struct pci_hotplug *board_hotplug(struct board *b);
struct loop *board_loop(struct board *b);
struct irq_line board_gsi(struct board *b, unsigned gsi); /* 0–23 */
struct msi_sink board_msi(struct board *b);
const struct cpu_board *board_cpu_interface(struct board *b);

/* cpu->config.index says which; before it runs. The board does not own it. */
void board_add_cpu(struct board *b, struct cpu *cpu);

/* All chips, APICs, PCI devices to power-on state, RAM untouched. No vCPU may run. */
void board_reset(struct board *b);

/* What firmware would have done before it starts a kernel: writes ACPI tables (0xe0000) and SMBIOS (0xf0000)
 * into guest memory, and leaves the chips as after POST: PICs at vectors 0x08 and 0x70, masked; timer channel
 * 0 at 18.2 Hz; the bootstrap processor's APIC enabled with LINT0 as ExtINT and LINT1 as NMI. Returns the gpa
 * of the RSDP. After all devices are added, at each (re)boot before the kernel is loaded; not for real
 * firmware, which reads fw_cfg. */
u64 board_write_tables(struct board *b);

/* What boot code tells a kernel of memory. */
struct board_e820 {
	u64 addr, size;
	u32 type; /* 1 RAM, 2 reserved, 3 ACPI reclaimable */
};
/* Fills out (room for max entries), sorted; returns their number. */
unsigned board_e820(const struct board *b, struct board_e820 *out, unsigned max);

/* ACPI power button (GPE/fixed event). Any thread. */
void board_power_button(struct board *b);
