#include "machine/fw_cfg.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

enum { ID_PORTS = 1, ID_DMA = 2 };
enum { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16 };

#define DMA_SIGNATURE 0x51454d5520434647ULL /* "QEMU CFG" */

struct dma_access {
	u32 control, length;
	u64 address;
} __attribute__((packed)); /* big-endian in guest memory */

struct dir_entry {
	u32 size;
	u16 key, reserved;
	char name[FW_CFG_NAME];
} __attribute__((packed)); /* big-endian */

static struct fw_cfg_item *find(struct fw_cfg *f, u16 key)
{
	for (unsigned i = 0; i < f->count; i++)
		if (f->items[i].key == key)
			return &f->items[i];
	return NULL;
}

/* Takes over data. */
static int put(struct fw_cfg *f, u16 key, const char *name, u8 *data, u32 size)
{
	struct fw_cfg_item *item = find(f, key);

	if (!item) {
		if (f->count == FW_CFG_MAX_ITEMS) {
			free(data);
			return -1;
		}
		item = &f->items[f->count++];
		*item = (struct fw_cfg_item){.key = key};
		if (name)
			strncpy(item->name, name, sizeof(item->name) - 1);
	}
	free(item->data);
	item->data = data;
	item->size = size;
	return 0;
}

static u8 *copy_of(const void *data, u32 size)
{
	u8 *copy = malloc(size ? size : 1);

	if (copy && size)
		memcpy(copy, data, size);
	return copy;
}

int fw_cfg_add(struct fw_cfg *f, u16 key, const void *data, u32 size)
{
	u8 *copy = copy_of(data, size);

	return copy ? put(f, key, NULL, copy, size) : -1;
}

int fw_cfg_add_int(struct fw_cfg *f, u16 key, u64 value, unsigned size)
{
	value = htole64(value);
	return fw_cfg_add(f, key, &value, size);
}

/* The directory is an item itself, made anew with each file. */
static int write_directory(struct fw_cfg *f)
{
	unsigned files = 0;
	u8 *data = calloc(1, sizeof(u32) + f->count * sizeof(struct dir_entry));

	if (!data)
		return -1;
	for (unsigned i = 0; i < f->count; i++) {
		const struct fw_cfg_item *item = &f->items[i];
		struct dir_entry d = {.size = htobe32(item->size), .key = htobe16(item->key)};

		if (!item->name[0])
			continue;
		memcpy(d.name, item->name, sizeof(d.name));
		memcpy(data + sizeof(u32) + files++ * sizeof(d), &d, sizeof(d));
	}
	u32 count = htobe32(files);
	memcpy(data, &count, sizeof(count));
	return put(f, FW_CFG_FILE_DIR, NULL, data, (u32)(sizeof(u32) + files * sizeof(struct dir_entry)));
}

int fw_cfg_add_file(struct fw_cfg *f, const char *name, const void *data, u32 size)
{
	u16 key = f->next_file;
	u8 *copy = copy_of(data, size);

	if (!copy)
		return -1;
	for (unsigned i = 0; i < f->count; i++)
		if (!strcmp(f->items[i].name, name))
			key = f->items[i].key;
	if (put(f, key, name, copy, size) < 0)
		return -1;
	if (key == f->next_file)
		f->next_file++;
	return write_directory(f);
}

void fw_cfg_init(struct fw_cfg *f, const struct memory *memory)
{
	memset(f, 0, sizeof(*f));
	pthread_mutex_init(&f->lock, NULL);
	f->memory = memory;
	f->next_file = FW_CFG_FILE_FIRST;
	fw_cfg_add(f, FW_CFG_SIGNATURE, "QEMU", 4);
	fw_cfg_add_int(f, FW_CFG_ID, ID_PORTS | ID_DMA, 4);
	write_directory(f);
}

void fw_cfg_release(struct fw_cfg *f)
{
	for (unsigned i = 0; i < f->count; i++)
		free(f->items[i].data);
	pthread_mutex_destroy(&f->lock);
}

void fw_cfg_reset(struct fw_cfg *f)
{
	pthread_mutex_lock(&f->lock);
	f->key = 0;
	f->offset = f->dma_high = 0;
	pthread_mutex_unlock(&f->lock);
}

static void select_key(struct fw_cfg *f, u16 key)
{
	f->key = key & (u16)~0x4000; /* bit 14: "for writing", which changes nothing */
	f->offset = 0;
}

/* What is left of the selected item, none if there is no such item. */
static u32 left(struct fw_cfg *f, const u8 **data)
{
	const struct fw_cfg_item *item = find(f, f->key);

	if (!item || f->offset >= item->size)
		return 0;
	*data = item->data + f->offset;
	return item->size - f->offset;
}

static u64 port_read(void *ctx, u64 offset, unsigned size)
{
	struct fw_cfg *f = ctx;
	const u8 *data;

	if (offset != 1 || !left(f, &data))
		return 0;
	f->offset++;
	return *data;
}

static void port_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	if (offset == 0 && size == 2)
		select_key(ctx, (u16)value);
}

/* Reads past an item's end give zeros. */
static int dma_read(struct fw_cfg *f, u64 address, u32 length)
{
	const u8 *data = NULL;
	u32 have = min(left(f, &data), length);

	if (address + length < address)
		return -1;
	if (have && memory_write(f->memory, address, data, have) < 0)
		return -1;
	if (length > have && memory_fill(f->memory, address + have, 0, length - have) < 0)
		return -1;
	return 0;
}

static void dma(struct fw_cfg *f, u64 gpa)
{
	struct dma_access a;
	u32 result = 0;

	if (memory_read(f->memory, gpa, &a, sizeof(a)) < 0)
		return;
	u32 control = be32toh(a.control), length = be32toh(a.length);
	if (control & DMA_SELECT)
		select_key(f, (u16)(control >> 16));
	if (control & DMA_READ) {
		if (dma_read(f, be64toh(a.address), length) < 0)
			result = DMA_ERROR;
	} else if (control & DMA_WRITE) {
		result = DMA_ERROR;
	}
	if (control & (DMA_READ | DMA_SKIP))
		f->offset = f->offset + length < f->offset ? ~0u : f->offset + length;
	result = htobe32(result);
	memory_write(f->memory, gpa, &result, sizeof(result));
}

static u64 dma_port_read(void *ctx, u64 offset, unsigned size)
{
	u64 swapped = htobe64(DMA_SIGNATURE); /* its bytes in address order */

	return swapped >> offset * 8;
}

static void dma_port_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	struct fw_cfg *f = ctx;

	if (size != 4)
		return;
	u32 half = be32toh((u32)value);
	if (offset == 0) {
		f->dma_high = half;
	} else if (offset == 4) {
		u64 gpa = (u64)f->dma_high << 32 | half;

		f->dma_high = 0;
		dma(f, gpa);
	}
}

int fw_cfg_map(struct fw_cfg *f, struct bus *pio)
{
	static const struct bus_ops ops = {port_read, port_write}, dma_ops = {dma_port_read, dma_port_write};

	f->region = (struct bus_region){.name = "fw_cfg",
	                                .base = 0x510,
	                                .size = 2,
	                                .ops = &ops,
	                                .ctx = f,
	                                .lock = &f->lock,
	                                .max_size = 2};
	f->dma = (struct bus_region){.name = "fw_cfg dma",
	                             .base = 0x514,
	                             .size = 8,
	                             .ops = &dma_ops,
	                             .ctx = f,
	                             .lock = &f->lock,
	                             .max_size = 4};
	return bus_add(pio, &f->region) < 0 || bus_add(pio, &f->dma) < 0 ? -1 : 0;
}
