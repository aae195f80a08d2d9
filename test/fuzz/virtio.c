/*
 * Drivers of virtio devices that break any rule: rings and descriptors anywhere, chains that loop, indirect
 * tables, features and states in any order, through the PCI transport. The first byte chooses blk, net or rng
 * and what is set up properly first; the rest is a list of operations of some bytes each. The tap is one end
 * of a pair of sockets.
 */
#include "machine.h"

#include "device/virtio/tap.h"
#include "device/virtio/virtio.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define DISK    (1 * MiB)
#define SLOT    1
#define QUEUES  3
#define RING    16
#define RINGS   0x10000ULL /* of queue n: three pages each */
#define BUFFERS 0x40000ULL

struct desc {
	u64 addr;
	u32 len;
	u16 flags, next;
};

/* ---- the host's side: these stand in for src/device/virtio/tap.c ---- */

static int wire = -1;

int tap_open(const char *name, struct error *e)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair))
		abort();
	wire = pair[1];
	return pair[0];
}

int tap_adopt(int fd, const char *name, struct error *e)
{
	return -1;
}
int tap_set_offload(int fd, unsigned flags)
{
	return 0;
}
unsigned tap_mtu(const char *name)
{
	return 1500;
}

static void in_frame(struct input *in)
{
	static u8 frame[66000];
	size_t n = in8(in) & 1 ? in16(in) : in8(in);

	memset(frame, 0, 64);
	for (size_t i = 0; i < 12 && in_left(in); i++)
		frame[i] = in8(in);
	(void)!send(wire, frame, n, MSG_DONTWAIT);
}

static void wire_drain(void)
{
	static u8 frame[70000];

	for (int i = 0; i < 64 && recv(wire, frame, sizeof(frame), MSG_DONTWAIT) > 0; i++)
		;
}

/* ---- the driver ---- */

static u64 bar;
static u16 avail_index[QUEUES];
static unsigned next_desc[QUEUES];

static void set(unsigned reg, unsigned size, u64 value)
{
	mmio(0, bar + reg, size, true, value);
}

static void put16(u64 gpa, u16 v)
{
	memory_write(board_memory(board), gpa, &v, 2);
}

static u64 ring_at(unsigned q, unsigned part)
{
	return RINGS + (q * 3 + part) * PAGE_SIZE;
}

static void queue_up(unsigned q)
{
	avail_index[q] = 0;
	next_desc[q] = 0;
	memory_fill(board_memory(board), ring_at(q, 1), 0, 2 * PAGE_SIZE);
	set(0x16, 2, q);
	set(0x18, 2, RING);
	set(0x1a, 2, q + 1);
	set(0x20, 8, ring_at(q, 0));
	set(0x28, 8, ring_at(q, 1));
	set(0x30, 8, ring_at(q, 2));
	set(0x1c, 2, 1);
}

static void start(u64 features)
{
	set(0x14, 1, 0);
	set(0x14, 1, 3);
	set(0, 4, 0);
	u64 offered = mmio(0, bar + 4, 4, false, 0);
	set(0, 4, 1);
	offered |= mmio(0, bar + 4, 4, false, 0) << 32;
	features = (features & offered) | BIT(32);
	set(8, 4, 0);
	set(0xc, 4, (u32)features);
	set(8, 4, 1);
	set(0xc, 4, features >> 32);
	set(0x14, 1, 11);
	for (unsigned q = 0; q < QUEUES; q++)
		queue_up(q);
	set(0x14, 1, 15);
}

static void put_desc(u64 table, unsigned i, const struct desc *d)
{
	memory_write(board_memory(board), table + i * sizeof(*d), d, sizeof(*d));
}

static void offer(unsigned q, unsigned head)
{
	put16(ring_at(q, 1) + 4 + avail_index[q] % RING * 2u, (u16)head);
	put16(ring_at(q, 1) + 2, ++avail_index[q]);
}

static void notify(unsigned q)
{
	set(0x3000 + q * 4, 2, q);
}

/* A request as a block driver makes it, or a control command: header, data, and a byte for the answer. */
static void in_request(struct input *in)
{
	static const u8 types[] = {0, 1, 4, 8, 11, 13, 2};
	u8 how = in8(in);
	unsigned q = how % QUEUES, at = next_desc[q], data = how >> 4 & 3;
	u64 header[2] = {types[in_below(in, ARRAY_SIZE(types))], in16(in) % (DISK / 512 + 4)};
	u64 buffer = BUFFERS + (how & 0xf) * 64;

	if (how & 0x40) {
		header[0] = in64(in);
		header[1] = in64(in);
	}
	memory_write(board_memory(board), buffer, header, sizeof(header));
	for (unsigned i = 0; i < data + 2; i++) {
		struct desc d = {.addr = buffer, .len = 16, .flags = 1, .next = (u16)((at + 1) % RING)};

		if (i == data + 1)
			d = (struct desc){.addr = buffer + 32, .len = 1, .flags = 2};
		else if (i)
			d = (struct desc){.addr = in_gpa(in),
			                  .len = how & 0x80 ? in32(in) : (u32)(in8(in) & 15) * 512,
			                  .flags = header[0] == 0 ? 3 : 1,
			                  .next = d.next};
		put_desc(ring_at(q, 0), at, &d);
		at = (at + 1) % RING;
	}
	offer(q, next_desc[q]);
	next_desc[q] = at;
	notify(q);
}

/* Receive buffers, or frames to send. */
static void in_buffers(struct input *in)
{
	u8 how = in8(in);
	unsigned q = how % QUEUES, len = in8(in) * 16u;

	for (unsigned i = 0; i <= (how >> 2 & 15); i++) {
		struct desc d = {.addr = BUFFERS + i * 0x1000, .len = len, .flags = q == 1 ? 0 : 2};

		if (how & 0x40)
			d.addr = in_gpa(in);
		put_desc(ring_at(q, 0), next_desc[q], &d);
		offer(q, next_desc[q]);
		next_desc[q] = (next_desc[q] + 1) % RING;
	}
	notify(q);
}

/* Any descriptors: in the ring's table, or in one for indirect descriptors at BUFFERS. */
static void in_descs(struct input *in)
{
	u8 how = in8(in);
	unsigned q = how % QUEUES, i = how >> 2 & 15, n = in8(in) & 15;
	u64 table = how & 0x40 ? BUFFERS : ring_at(q, 0);

	for (; n--; i = (i + 1) % RING) {
		u8 kind = in8(in);
		struct desc d = {.addr = kind & 8 ? BUFFERS : in_gpa(in),
		                 .len = kind & 0x10 ? in32(in) : (kind & 0xe0u) * (kind & 0x20 ? 16 : 8),
		                 .flags = kind & 7,
		                 .next = kind & 0x80 ? in8(in) : (u16)(i + 1)};

		put_desc(table, i, &d);
	}
	if (how & 0x80) {
		offer(q, in8(in));
		notify(q);
	}
}

static void operation(struct input *in, bool net)
{
	u8 how = in8(in);

	switch (how % 16) {
	default:
		in_request(in);
		break;
	case 3:
	case 4:
		in_buffers(in);
		break;
	case 5:
	case 6:
		in_descs(in);
		break;
	case 7:
		set(in8(in) & 0x3f, 1u << (how >> 5 & 3), in_value(in));
		break;
	case 8:
		mmio(0, bar + (in16(in) & 0x7fff), 1u << (how >> 5 & 3), how & 0x10, in64(in));
		break;
	case 9:
		put16(ring_at(how >> 4 & 1, 1 + (how >> 5 & 1)) + in8(in) % 40, in16(in));
		break;
	case 10:
		notify(how >> 4 & 3);
		break;
	case 11:
		start(how & 0x80 ? in64(in) : ~0ULL);
		break;
	case 12:
		set(0x16, 2, how >> 4 & 3);
		set(0x3a, 2, 1);
		if (how & 0x80)
			queue_up((how >> 4 & 3) % QUEUES);
		break;
	case 13:
		pump();
		break;
	case 14:
		if (net)
			in_frame(in);
		if (net && how & 0x40)
			wire_drain();
		if (!net || how & 0x80)
			in_config(in, SLOT);
		break;
	case 15:
		if (how > 0xe0)
			board_reset(board);
		bar = bar0(SLOT);
		if (how & 0x10)
			msix_on(SLOT, bar + 0x4000, QUEUES + 1);
		break;
	}
}

static const char *disk(void)
{
	static int file = -1;
	static char path[64];

	if (file < 0) {
		file = memfd_create("disk", MFD_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	}
	if (ftruncate(file, DISK))
		abort();
	return path;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct input in = {data, data + size};
	u8 how = in8(&in);
	struct virtio_blk *blk = NULL;
	struct virtio_net *net = NULL;
	struct virtio_rng *rng = NULL;
	struct error e;

	machine_up(false);
	struct pci_host *pci = board_pci(board);
	struct memory *memory = board_memory(board);

	switch (how % 4) {
	default: {
		struct virtio_blk_config c = {
		        .disk = {.path = disk(), .readonly = how & 0x80}, .queues = 2, .slot = SLOT};

		blk = virtio_blk_new(&c, pci, memory, &loop, &e);
		break;
	}
	case 1:
	case 2: {
		struct virtio_net_config c = {.tap = "wire", .tap_fd = -1, .slot = SLOT};

		net = virtio_net_new(&c, pci, memory, &loop, &e);
		break;
	}
	case 3: {
		struct virtio_rng_config c = {.slot = SLOT};

		rng = virtio_rng_new(&c, pci, memory, &loop, &e);
		break;
	}
	}
	if (!blk && !net && !rng)
		abort();
	bar = bar0(SLOT);
	if (how & 0x10)
		msix_on(SLOT, bar + 0x4000, QUEUES + 1);
	if (how & 0x20)
		start(how & 0x40 ? ~0ULL : in64(&in));
	while (in_left(&in))
		operation(&in, net);
	pump();
	if (blk)
		virtio_blk_free(blk);
	if (net) {
		virtio_net_free(net);
		close(wire);
	}
	if (rng)
		virtio_rng_free(rng);
	machine_down();
	return 0;
}
