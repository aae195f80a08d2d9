/*
 * What the fuzz targets of chips and devices share: an input read as a string of small numbers, a board with
 * a loop and CPUs that never run, accesses as a guest's. Include it once, in a target's only file.
 */
#pragma once

#include "base/clock.h"
#include "base/loop.h"
#include "machine/board.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define MEMORY (4 * MiB)
#define CPUS   2

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

/* ---- input: zeroes when it has run out ---- */

struct input {
	const u8 *p, *end;
};

static inline size_t in_left(const struct input *in)
{
	return (size_t)(in->end - in->p);
}

static inline u64 in_bytes(struct input *in, unsigned n)
{
	u64 v = 0;

	for (unsigned i = 0; i < n && in->p < in->end; i++)
		v |= (u64)*in->p++ << 8 * i;
	return v;
}

static inline u8 in8(struct input *in)
{
	return (u8)in_bytes(in, 1);
}
static inline u16 in16(struct input *in)
{
	return (u16)in_bytes(in, 2);
}
static inline u32 in32(struct input *in)
{
	return (u32)in_bytes(in, 4);
}
static inline u64 in64(struct input *in)
{
	return in_bytes(in, 8);
}
static inline unsigned in_below(struct input *in, unsigned n)
{
	return in8(in) % n;
}

/* A guest-physical address: within RAM, around one of its edges, in a hole, or anything. */
static inline u64 in_gpa(struct input *in)
{
	static const u64 edges[] = {0xa0000,    0xc0000,    MEMORY,  0xc0000000, 0xe0000000,
	                            0xfec00000, 0xfee00000, 4 * GiB, 0};
	u8 how = in8(in);

	switch (how & 7) {
	case 0:
	case 1:
	case 2:
		return in16(in) * 16ULL % (MEMORY / 2);
	case 3:
	case 4:
		return in16(in) * PAGE_SIZE % MEMORY;
	case 5:
		return edges[in_below(in, ARRAY_SIZE(edges))] + (u64)(s64)(s8)in8(in) * (how & 8 ? 512 : 1);
	case 6:
		return in32(in);
	default:
		return in64(in);
	}
}

/* A number that is small, a power of two or next to one, or anything. */
static inline u64 in_value(struct input *in)
{
	u8 how = in8(in);

	switch (how & 3) {
	case 0:
		return how >> 2;
	case 1:
		return BIT(how >> 2);
	case 2:
		return BIT(how >> 2) - 1;
	default:
		return in_bytes(in, how & 4 ? 8 : 4);
	}
}

/* ---- the machine ---- */

static struct loop loop;
static struct board *board;
static struct cpu cpus[CPUS];

static void stop_call(void *ctx)
{
	loop_stop(&loop);
}

/* Lets the loop do what is due. */
static inline void pump(void)
{
	static struct loop_call call = {.fn = stop_call};
	struct epoll_event ev;
	struct error e;

	for (int i = 0; i < 8 && epoll_wait(loop.epoll_fd, &ev, 1, 0) > 0; i++) {
		loop_post(&loop, &call);
		loop.stop = false;
		loop_run(&loop, &e);
	}
}

static inline void machine_up(bool debug_exit)
{
	struct board_config config = {.memory = MEMORY, .cpus = CPUS, .debug_exit = debug_exit};
	struct error e;

	if (loop_init(&loop, &e) || !(board = board_new(&config, &loop, &e)))
		abort();
	for (unsigned i = 0; i < CPUS; i++) {
		memset(&cpus[i], 0, sizeof(cpus[i]));
		cpus[i].config = (struct cpu_config){.index = i,
		                                     .count = CPUS,
		                                     .board = board_cpu_interface(board),
		                                     .tsc_hz = clock_tsc_hz()};
		board_add_cpu(board, &cpus[i]);
	}
}

static inline void machine_down(void)
{
	board_free(board);
	loop_release(&loop);
	board = NULL;
}

/* Fills guest memory from the input: up to 255 bytes, or one value over and over. */
static inline void in_memory(struct input *in)
{
	u64 gpa = in_gpa(in);
	u8 how = in8(in);

	if (how & 1) {
		u64 value = in_value(in);

		for (unsigned i = 0; i < (how >> 1) * 4u; i++)
			memory_write(board_memory(board), gpa + 8 * i, &value, 8);
	} else {
		size_t n = min((size_t)how, in_left(in));

		memory_write(board_memory(board), gpa, in->p, n);
		in->p += n;
	}
}

static inline u64 mmio(unsigned cpu, u64 gpa, unsigned size, bool write, u64 value)
{
	const struct cpu_board *b = board_cpu_interface(board);

	/* As an engine does: RAM is not its board's business, and no access crosses a page. */
	if (physmem_find(b->mem, gpa) || (gpa & (PAGE_SIZE - 1)) + size > PAGE_SIZE)
		return 0;
	if (!write)
		return b->mmio_read(b->ctx, &cpus[cpu], gpa, size);
	b->mmio_write(b->ctx, &cpus[cpu], gpa, size, value);
	return 0;
}

static inline u32 pio(unsigned cpu, u16 port, unsigned size, bool write, u32 value)
{
	const struct cpu_board *b = board_cpu_interface(board);

	if (!write)
		return b->pio_read(b->ctx, &cpus[cpu], port, size);
	b->pio_write(b->ctx, &cpus[cpu], port, size, value);
	return 0;
}

/* Configuration of the device in a slot, mostly where something is. */
static inline void in_config(struct input *in, unsigned slot)
{
	u8 how = in8(in);
	unsigned size = 1u << (how & 3) % 3, offset = in8(in);

	if (how & 0x40)
		offset = in16(in) & 0xfff;
	offset &= ~(size - 1);
	if (how & 4)
		pci_config_write(board_pci(board), slot, offset, size, (u32)in_value(in));
	else
		pci_config_read(board_pci(board), slot, offset, size);
}

/* BAR 0 of the device in a slot, which is decoded and a bus master from then on. */
static inline u64 bar0(unsigned slot)
{
	struct pci_host *p = board_pci(board);

	pci_config_write(p, slot, 4, 2, 6);
	return (pci_config_read(p, slot, 0x10, 4) & ~0xfu) | (u64)pci_config_read(p, slot, 0x14, 4) << 32;
}

/* MSI-X on, all vectors unmasked. */
static inline void msix_on(unsigned slot, u64 table, unsigned vectors)
{
	struct pci_host *p = board_pci(board);
	unsigned at = pci_config_read(p, slot, 0x34, 1);

	for (; at && pci_config_read(p, slot, at, 1) != 0x11;)
		at = pci_config_read(p, slot, at + 1, 1);
	for (unsigned v = 0; v < vectors; v++) {
		mmio(0, table + v * 16, 8, true, 0xfee00000);
		mmio(0, table + v * 16 + 8, 4, true, 0x40 + v);
		mmio(0, table + v * 16 + 12, 4, true, 0);
	}
	if (at)
		pci_config_write(p, slot, at + 2, 2, 0x8000);
}
