/*
 * A driver of the NVMe controller that means well, mostly: registers and doorbells at random, queues that
 * exist, do not exist or lie outside of memory, commands with PRP lists and SGLs that point anywhere. The
 * input is a list of operations of some bytes each. The disk is a memfd of 1 MiB.
 */
#include "machine.h"

#include "device/nvme.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define DISK    (1 * MiB)
#define SLOT    1
#define QUEUES  4
#define ENTRIES 32
#define QUEUE   0x10000ULL /* queue n: submissions here + n pages, completions behind all of them */
#define LISTS   0x40000ULL /* PRP lists and SGL segments, eight pages */

struct command {
	u8 opcode, flags;
	u16 cid;
	u32 nsid;
	u64 reserved, mptr, prp1, prp2;
	u32 cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};

static u64 bar;
static unsigned tail[QUEUES + 1];

static void set(unsigned reg, unsigned size, u64 value)
{
	mmio(0, bar + reg, size, true, value);
}

static void doorbell(unsigned q)
{
	set(0x1000 + q * 8, 4, tail[q]);
}

static void put(unsigned q, const struct command *c)
{
	memory_write(board_memory(board), QUEUE + q * PAGE_SIZE + tail[q] * sizeof(*c), c, sizeof(*c));
	tail[q] = (tail[q] + 1) % ENTRIES;
}

static u64 completions(unsigned q)
{
	return QUEUE + (QUEUES + 1 + q) * PAGE_SIZE;
}

static void enable(void)
{
	memset(tail, 0, sizeof(tail));
	set(0x14, 4, 0);
	set(0x24, 4, (ENTRIES - 1) << 16 | (ENTRIES - 1));
	set(0x28, 8, QUEUE);
	set(0x30, 8, completions(0));
	set(0x14, 4, 0x00460001);
}

static void create(unsigned q)
{
	struct command cq = {
	        .opcode = 5, .prp1 = completions(q), .cdw10 = (ENTRIES - 1) << 16 | q, .cdw11 = q << 16 | 3};
	struct command sq = {.opcode = 1,
	                     .prp1 = QUEUE + q * PAGE_SIZE,
	                     .cdw10 = (ENTRIES - 1) << 16 | q,
	                     .cdw11 = q << 16 | 1};

	tail[q] = 0;
	put(0, &cq);
	put(0, &sq);
	doorbell(0);
}

/* An address in a command or list: a list of ours, or any. */
static u64 in_pointer(struct input *in)
{
	u8 how = in8(in);

	return how & 1 ? LISTS + (how >> 1 & 7) * PAGE_SIZE + (how & 0x10 ? (how & 0xe0u) * 16 : 0)
	               : in_gpa(in);
}

static void in_command(struct input *in)
{
	static const u8 admin[] = {0, 1, 2, 4, 5, 6, 8, 9, 10, 12}, nvm[] = {0, 1, 2, 8, 9};
	u8 how = in8(in), fields = in8(in);
	unsigned q = how % (QUEUES + 1), blocks = in8(in);
	struct command c = {.cid = in8(in), .nsid = fields & 1 ? in8(in) : 1};

	c.opcode = q ? nvm[in_below(in, ARRAY_SIZE(nvm))] : admin[in_below(in, ARRAY_SIZE(admin))];
	if (fields & 2)
		c.opcode = in8(in);
	c.prp1 = in_pointer(in);
	c.prp2 = in_pointer(in);
	if (fields & 4) { /* an SGL: prp2 is length and type */
		c.flags = 0x40;
		c.prp2 = in16(in) * (fields & 0x20 ? 16u : 512u) | (u64)(in8(in) & 0x30) << 56;
	}
	if (fields & 8)
		c.flags = in8(in);
	if (q) {
		c.cdw10 = fields & 0x10 ? in32(in) : in16(in) % (DISK / 512);
		c.cdw12 = blocks | (u32)in8(in) << 24 | (fields & 0x40 ? 0x700 : 0);
		c.cdw11 = fields & 0x10 ? in8(in) : c.opcode == 9 ? 4 : 0;
	} else {
		c.cdw10 = (u32)in_value(in);
		c.cdw11 = (u32)in_value(in);
	}
	put(q, &c);
	if (fields & 0x80)
		doorbell(q);
}

/* Entries of a PRP list, or descriptors of an SGL segment. */
static void in_list(struct input *in)
{
	u8 how = in8(in);
	u64 at = LISTS + (how & 7) * PAGE_SIZE + (how & 8 ? PAGE_SIZE - 32 : 0);
	unsigned count = in8(in);
	bool sgl = how & 0x10, same = how & 0x20;
	u64 entry[2];

	for (unsigned i = 0; i < count && (in_left(in) || same); i++) {
		if (!i || !same) {
			entry[0] = in_pointer(in);
			entry[1] = in16(in) * (how & 0x40 ? 512u : 1u) | (u64)in8(in) << 56;
		}
		memory_write(board_memory(board), at, entry, sgl ? 16 : 8);
		at += sgl ? 16 : 8;
	}
}

static void operation(struct input *in)
{
	u8 how = in8(in);

	switch (how % 14) {
	default:
		in_command(in);
		break;
	case 4:
	case 5:
		in_list(in);
		break;
	case 6:
		set(in8(in) & 0x3c, how & 0x80 ? 8 : 4, in_value(in));
		break;
	case 7:
		mmio(0, bar + (how & 0x80 ? in8(in) : in16(in) & 0x3fff), 1u << (how >> 5 & 3), how & 0x10,
		     in64(in));
		break;
	case 8:
		set(0x1000 + in8(in) % (QUEUES * 2 + 4) * 4, 4,
		    how & 0x80 ? in_value(in) : in8(in) % (ENTRIES + 1));
		break;
	case 9:
		enable();
		break;
	case 10:
		create(1 + in_below(in, QUEUES));
		break;
	case 11:
		pump();
		break;
	case 12:
		if (how & 0x80)
			in_config(in, SLOT);
		else
			in_memory(in);
		break;
	case 13:
		if (how > 0xe0)
			board_reset(board);
		bar = bar0(SLOT);
		msix_on(SLOT, bar + 0x2000, QUEUES + 1);
		break;
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static int file = -1;
	static char path[64];
	struct input in = {data, data + size};
	struct error e;

	if (file < 0) {
		file = memfd_create("disk", MFD_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	}
	if (ftruncate(file, DISK))
		abort();
	u8 how = in8(&in);
	struct nvme_config config = {
	        .disk = {.path = path, .readonly = how & 1}, .io_queues = QUEUES, .slot = SLOT};

	machine_up(false);
	struct nvme *n = nvme_new(&config, board_pci(board), board_memory(board), &loop, &e);
	if (!n)
		abort();
	memset(tail, 0, sizeof(tail));
	bar = bar0(SLOT);
	if (how & 2)
		msix_on(SLOT, bar + 0x2000, QUEUES + 1);
	if (how & 4) {
		enable();
		for (unsigned q = 1; q <= QUEUES; q++)
			create(q);
	}
	while (in_left(&in))
		operation(&in);
	pump();
	nvme_free(n);
	machine_down();
	if (lseek(file, 0, SEEK_END) != (off_t)DISK)
		abort();
	return 0;
}
