/*
 * The firmware configuration device that SeaBIOS, OVMF and CPU test suites read (QEMU's docs/specs/fw_cfg):
 * items by a 16-bit key, and named files listed in the directory item. Ports 0x510 (selector), 0x511 (data),
 * 0x514 (DMA address, big-endian). Items are read-only to the guest. Filled before vCPUs run; own lock for
 * the registers.
 */
#pragma once

#include "base/types.h"
#include "machine/bus.h"
#include "machine/memory.h"

#include <pthread.h>

enum {
	FW_CFG_SIGNATURE = 0x00,
	FW_CFG_ID = 0x01,
	FW_CFG_UUID = 0x02,
	FW_CFG_RAM_SIZE = 0x03,
	FW_CFG_NOGRAPHIC = 0x04,
	FW_CFG_NB_CPUS = 0x05,
	FW_CFG_BOOT_MENU = 0x0e,
	FW_CFG_MAX_CPUS = 0x0f,
	FW_CFG_FILE_DIR = 0x19,
	FW_CFG_FILE_FIRST = 0x20,
	FW_CFG_IRQ0_OVERRIDE = 0x8002,
};

#define FW_CFG_MAX_ITEMS 32
#define FW_CFG_NAME      56

struct fw_cfg_item {
	u16 key;
	char name[FW_CFG_NAME]; /* empty: no file */
	u8 *data;
	u32 size;
};

struct fw_cfg {
	pthread_mutex_t lock;
	const struct memory *memory; /* for DMA */
	struct fw_cfg_item items[FW_CFG_MAX_ITEMS];
	unsigned count;
	u16 next_file;
	u16 key;
	u32 offset;
	u32 dma_high;
	struct bus_region region, dma;
};

void fw_cfg_init(struct fw_cfg *f, const struct memory *memory);
void fw_cfg_release(struct fw_cfg *f);
void fw_cfg_reset(struct fw_cfg *f);
int fw_cfg_map(struct fw_cfg *f, struct bus *pio);

/* Content is copied. An item or file that exists is replaced. -1: no memory, no room. */
int fw_cfg_add(struct fw_cfg *f, u16 key, const void *data, u32 size);
int fw_cfg_add_int(struct fw_cfg *f, u16 key, u64 value, unsigned size);
int fw_cfg_add_file(struct fw_cfg *f, const char *name, const void *data, u32 size);
