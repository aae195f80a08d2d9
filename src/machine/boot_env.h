/*
 * What the boot loaders share: their view of the machine, where boot data lie in low memory, and the
 * processor states that kernels are entered in. Internal to src/machine/boot*.c. Main thread, no vCPU
 * running.
 */
#pragma once

#include "base/error.h"
#include "base/types.h"
#include "cpu/state.h"
#include "machine/board.h"
#include "machine/memory.h"

/*
 * Linux and PVH: boot data lie between BOOT_LOW and BOOT_LOW_END, in conventional memory that every kernel
 * leaves alone until it has read them. No segment of a kernel may lie there.
 */
enum {
	BOOT_LOW = 0x6000,
	BOOT_GDT = 0x6000,
	BOOT_START_INFO = 0x6100, /* PVH: struct hvm_start_info */
	BOOT_MODULES = 0x6180,    /* PVH: one module, the initrd */
	BOOT_MEMORY_MAP = 0x6200, /* PVH: 24 bytes for each entry */
	BOOT_ZERO_PAGE = 0x7000,  /* Linux: struct boot_params */
	BOOT_PAGE_TABLES = 0x9000,
	BOOT_CMDLINE = 0x20000,
	BOOT_CMDLINE_MAX = 0x10000, /* with the final NUL */
	BOOT_LOW_END = BOOT_CMDLINE + BOOT_CMDLINE_MAX,
};

#define BOOT_MAX_E820 64

/* Physical address width behind the MTRR masks: what CPUID 0x80000008 tells the guest (SDM vol. 3 11.11.3).
 */
#define BOOT_PHYS_BITS 46

struct boot_env {
	const struct memory *memory;
	struct board_e820 e820[BOOT_MAX_E820];
	unsigned e820_count;
	u64 rsdp;           /* gpa */
	const char *kernel; /* its path, for messages */
};

/*
 * The highest address for size bytes, a multiple of align (a power of two), in RAM by the memory map, at or
 * above `low`, ending at or below `high`. 0: there is none.
 */
u64 boot_place(const struct boot_env *env, u64 size, u64 align, u64 low, u64 high);

/* A page-aligned place for an initrd beside a kernel that takes [start, end): above it, ending at or below
 * `high`; in a machine too small for that, between 1 MiB and the kernel. 0: there is none. */
u64 boot_place_beside(const struct boot_env *env, u64 size, u64 start, u64 end, u64 high);

/* Whether a kernel may load from low to high: from 1 MiB up all of that must be free RAM by the memory map.
 * (Below 1 MiB only the loads themselves check, against what is RAM.) -1 names the kernel. */
int boot_fits(const struct boot_env *env, u64 low, u64 high, struct error *e);

/* One descriptor of a GDT in memory (SDM vol. 3 3.4.5). attr as in struct vcpu_segment; limit in bytes. */
u64 boot_descriptor(u32 base, u32 limit, u32 attr);

/* Flat code and data segments: 4 GiB, ring 0. */
#define BOOT_CODE32 (0xb | SEG_ATTR_S | SEG_ATTR_P | SEG_ATTR_DB | SEG_ATTR_G)
#define BOOT_CODE64 (0xb | SEG_ATTR_S | SEG_ATTR_P | SEG_ATTR_L | SEG_ATTR_G)
#define BOOT_DATA32 (0x3 | SEG_ATTR_S | SEG_ATTR_P | SEG_ATTR_DB | SEG_ATTR_G)

/* Writes the GDT at gdt and loads flat segments from it, by selector; the rest of gdt stays with the caller.
 */
int boot_segments(const struct boot_env *env, struct vcpu_state *state, u64 gdt, const u64 *table,
                  unsigned count, u16 code, u16 data);

/* Protected mode, no paging, caches on, interrupts off. */
void boot_mode32(struct vcpu_state *state);
/* Long mode with the first 4 GiB mapped one to one by 2 MiB pages; writes the tables at BOOT_PAGE_TABLES. */
int boot_mode64(const struct boot_env *env, struct vcpu_state *state);

/* Memory types as a PC's firmware leaves them: write-back, but for the VGA hole and the hole below 4 GiB. */
void boot_mtrrs(struct vcpu_state *state);
