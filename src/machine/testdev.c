#include "machine/testdev.h"

#include <string.h>

static u64 latch_read(void *ctx, u64 offset, unsigned size)
{
	const struct testdev *t = ctx;

	return t->latch >> (offset & 3) * 8;
}

static void latch_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	struct testdev *t = ctx;
	unsigned shift = (offset & 3) * 8;
	u32 mask = (u32)(MASK(size * 8) << shift);

	t->latch = (t->latch & ~mask) | ((u32)(value << shift) & mask);
}

static void exit_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	struct testdev *t = ctx;

	t->exit(t->ctx, (int)((u32)value << 1 | 1) & 0xff);
}

static u64 exit_read(void *ctx, u64 offset, unsigned size)
{
	return 0;
}

static void line_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	struct testdev *t = ctx;

	irq_set(&t->line[offset], value != 0);
}

static u64 mem_read(void *ctx, u64 offset, unsigned size)
{
	const struct testdev *t = ctx;
	u64 value = 0;

	memcpy(&value, t->mem + offset, size);
	return value;
}

static void mem_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	struct testdev *t = ctx;

	memcpy(t->mem + offset, &value, size);
}

void testdev_init(struct testdev *t, void (*exit_fn)(void *ctx, int status), void *ctx)
{
	memset(t, 0, sizeof(*t));
	pthread_mutex_init(&t->lock, NULL);
	t->exit = exit_fn;
	t->ctx = ctx;
}

void testdev_release(struct testdev *t)
{
	pthread_mutex_destroy(&t->lock);
}

int testdev_map(struct testdev *t, struct bus *pio, struct bus *mmio, u64 mem_base)
{
	static const struct bus_ops latch = {latch_read, latch_write}, flush = {NULL, NULL},
	                            ends = {exit_read, exit_write}, line = {NULL, line_write},
	                            mem = {mem_read, mem_write};

	t->latch_region = (struct bus_region){.name = "test latch", .base = 0xe0, .size = 4, .ops = &latch};
	t->flush_region = (struct bus_region){.name = "test flush", .base = 0xe4, .size = 4, .ops = &flush};
	t->latch_byte_region = (struct bus_region){
	        .name = "test latch", .base = 0xe8, .size = 4, .ops = &latch, .max_size = 1};
	t->exit_region = (struct bus_region){.name = "debug exit", .base = 0xf4, .size = 4, .ops = &ends};
	t->line_region = (struct bus_region){
	        .name = "test lines", .base = 0x2000, .size = TESTDEV_LINES, .ops = &line, .max_size = 1};
	t->mem_region = (struct bus_region){
	        .name = "test memory", .base = mem_base, .size = TESTDEV_MEM_SIZE, .ops = &mem};

	struct bus_region *ports[] = {&t->latch_region, &t->flush_region, &t->latch_byte_region,
	                              &t->exit_region, &t->line_region};
	for (unsigned i = 0; i < ARRAY_SIZE(ports); i++) {
		ports[i]->ctx = t;
		ports[i]->lock = &t->lock;
		if (bus_add(pio, ports[i]) < 0)
			return -1;
	}
	t->mem_region.ctx = t;
	t->mem_region.lock = &t->lock;
	return bus_add(mmio, &t->mem_region);
}
