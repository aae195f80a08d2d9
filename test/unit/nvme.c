/* The NVMe controller, driven through its registers and queues by a guest without a CPU. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "guest.h"

#include "device/nvme.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define SIZE (4 * MiB)

struct command {
	u8 opcode, flags;
	u16 cid;
	u32 nsid;
	u64 reserved, mptr, prp1, prp2;
	u32 cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};

struct entry {
	u32 result, reserved;
	u16 sqhd, sqid, cid, status;
};

struct queue {
	u64 sq, cq;
	unsigned id, entries, tail, head, phase;
};

struct drive {
	struct guest g;
	char path[64];
	struct nvme *n;
	unsigned slot;
	u64 bar;
	struct queue admin, io;
	u16 cid;
	struct entry last;
};

/* ---- a small driver ---- */

static u32 reg(struct drive *d, unsigned r)
{
	return (u32)bus_read(d->g.mmio, d->bar + r, 4);
}

static void set(struct drive *d, unsigned r, u32 v)
{
	bus_write(d->g.mmio, d->bar + r, 4, v);
}

static void ring_sq(struct drive *d, struct queue *q)
{
	set(d, 0x1000 + q->id * 8, q->tail);
}

static void put(struct drive *d, struct queue *q, struct command *c)
{
	c->cid = d->cid++;
	memcpy((struct command *)guest_ptr(&d->g, q->sq) + q->tail, c, sizeof(*c));
	q->tail = (q->tail + 1) % q->entries;
}

static bool take(struct drive *d, struct queue *q, struct entry *e)
{
	struct entry *slot = (struct entry *)guest_ptr(&d->g, q->cq) + q->head;

	/* Command id and status as one word, as the controller writes them. */
	if ((__atomic_load_n((u32 *)&slot->cid, __ATOMIC_ACQUIRE) >> 16 & 1) != q->phase)
		return false;
	*e = *slot;
	if (++q->head == q->entries) {
		q->head = 0;
		q->phase ^= 1;
	}
	set(d, 0x1004 + q->id * 8, q->head);
	return true;
}

/* Submits, waits, returns the status without DNR. */
static unsigned run(struct drive *d, struct queue *q, struct command c)
{
	put(d, q, &c);
	ring_sq(d, q);
	guest_until(&d->g, take(d, q, &d->last));
	assert_int_equal(d->last.cid, c.cid);
	assert_int_equal(d->last.sqid, q->id);
	assert_int_equal(d->last.sqhd, q->tail);
	return d->last.status >> 1 & 0x7ff;
}

static struct queue queue_new(struct drive *d, unsigned id, unsigned entries)
{
	struct queue q = {.sq = guest_alloc(&d->g, entries * 64),
	                  .cq = guest_alloc(&d->g, entries * 16),
	                  .id = id,
	                  .entries = entries,
	                  .phase = 1};

	/* An entry of a queue that was here before must not look new. */
	memset(guest_ptr(&d->g, q.cq), 0, entries * 16);
	return q;
}

static void enable(struct drive *d)
{
	d->admin = queue_new(d, 0, 32);
	set(d, 0x24, 31 << 16 | 31);
	bus_write(d->g.mmio, d->bar + 0x28, 8, d->admin.sq);
	set(d, 0x30, (u32)d->admin.cq);
	set(d, 0x34, 0);
	set(d, 0x14, 0x00460001);
	assert_int_equal(reg(d, 0x1c), 1);
}

static unsigned create_cq(struct drive *d, const struct queue *q, unsigned vector)
{
	return run(d, &d->admin,
	           (struct command){.opcode = 5,
	                            .prp1 = q->cq,
	                            .cdw10 = (q->entries - 1) << 16 | q->id,
	                            .cdw11 = vector << 16 | 3});
}

static unsigned create_sq(struct drive *d, const struct queue *q, unsigned cqid)
{
	return run(d, &d->admin,
	           (struct command){.opcode = 1,
	                            .prp1 = q->sq,
	                            .cdw10 = (q->entries - 1) << 16 | q->id,
	                            .cdw11 = cqid << 16 | 1});
}

static void drive_open_with(struct drive *d, const struct nvme_config *with)
{
	struct error e = {0};
	struct nvme_config c = *with;

	memset(d, 0, sizeof(*d));
	guest_init(&d->g);
	strcpy(d->path, "/tmp/insula-nvme-XXXXXX");
	int fd = mkstemp(d->path);
	assert_int_equal(ftruncate(fd, SIZE), 0);
	close(fd);
	c.disk.path = d->path;
	d->n = nvme_new(&c, d->g.pci, &d->g.mem, &d->g.loop, &e);
	assert_non_null(d->n);
	d->slot = 1;
	assert_int_equal(pci_config_read(d->g.pci, 1, 9, 1), 0x02);
	assert_int_equal(pci_config_read(d->g.pci, 1, 10, 2), 0x0108);
	d->bar = guest_bar(&d->g, 1);
	guest_msix(&d->g, 1, d->bar + 0x2000, 9, 0);
}

static void drive_open(struct drive *d)
{
	struct nvme_config c = {.disk = {.id = "vol0123456789abcdef0"}, .device_name = "sda1"};

	drive_open_with(d, &c);
	enable(d);
	d->io = queue_new(d, 1, 64);
	assert_int_equal(create_cq(d, &d->io, 1), 0);
	assert_int_equal(create_sq(d, &d->io, 1), 0);
}

static void drive_close(struct drive *d)
{
	nvme_free(d->n);
	guest_release(&d->g);
	unlink(d->path);
}

static void fill(u8 *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (u8)(i * 13 + i / 509 + seed);
}

static struct command rw(u8 opcode, u64 lba, unsigned blocks, u64 prp1, u64 prp2)
{
	return (struct command){.opcode = opcode,
	                        .nsid = 1,
	                        .prp1 = prp1,
	                        .prp2 = prp2,
	                        .cdw10 = (u32)lba,
	                        .cdw11 = (u32)(lba >> 32),
	                        .cdw12 = blocks - 1};
}

/* ---- tests ---- */

static void registers(void **state)
{
	struct drive d;
	struct nvme_config c = {.disk = {.id = "x"}};

	drive_open_with(&d, &c);
	assert_int_equal(bus_read(d.g.mmio, d.bar, 8) & 0xffff, 1023);
	assert_int_equal(reg(&d, 8), 0x10400);
	assert_int_equal(reg(&d, 0x1c), 0);
	set(&d, 0xc, 5);
	assert_int_equal(reg(&d, 0xc), 5);
	set(&d, 0x10, 1);
	assert_int_equal(reg(&d, 0x10), 4);
	/* Enabled with admin queues of one entry: fatal, until it is disabled. */
	set(&d, 0x14, 0x00460001);
	assert_int_equal(reg(&d, 0x1c) & 3, 2);
	set(&d, 0x14, 0);
	assert_int_equal(reg(&d, 0x1c), 0);
	enable(&d);
	set(&d, 0x20, 0x4e564d65);
	assert_int_equal(reg(&d, 0x1c), 16);
	assert_int_equal(reg(&d, 0x14), 0);
	set(&d, 0x1c, 16);
	assert_int_equal(reg(&d, 0x1c), 0);
	/* A queue where there is no memory. */
	set(&d, 0x24, 31 << 16 | 31);
	bus_write(d.g.mmio, d.bar + 0x28, 8, 0xfffffffff000);
	bus_write(d.g.mmio, d.bar + 0x30, 8, 0xfffffffff000);
	set(&d, 0x14, 0x00460001);
	assert_int_equal(reg(&d, 0x1c), 1);
	set(&d, 0x1000, 1);
	assert_int_equal(reg(&d, 0x1c), 3);
	set(&d, 0x1000, 2);
	drive_close(&d);
}

static void identify(void **state)
{
	struct drive d;

	drive_open(&d);
	u64 buf = guest_alloc(&d.g, 8192);
	u8 *p = guest_ptr(&d.g, buf);
	/* Across two pages. */
	assert_int_equal(
	        run(&d, &d.admin,
	            (struct command){.opcode = 6, .prp1 = buf + 256, .prp2 = buf + 4096, .cdw10 = 1}),
	        0);
	assert_memory_equal(p + 256 + 4, "vol0123456789abcdef0", 20);
	assert_memory_equal(p + 256 + 24, "Amazon Elastic Block Store              ", 40);
	assert_memory_equal(p + 256 + 64, "1.0     ", 8);
	assert_int_equal(p[256 + 516], 1);
	assert_memory_equal(p + 256 + 3072, "sda1 ", 5);
	assert_memory_equal(p + 256 + 768, "nqn.2014-08.org.nvmexpress:uuid:", 32);
	assert_int_equal(strlen((char *)p + 256 + 768), 32 + 36);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 6, .nsid = 1, .prp1 = buf, .cdw10 = 0}),
	                 0);
	u64 blocks;
	memcpy(&blocks, p, 8);
	assert_int_equal(blocks, SIZE / 512);
	assert_int_equal(p[130], 9);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 6, .nsid = 0, .prp1 = buf, .cdw10 = 2}),
	                 0);
	assert_int_equal(p[0] | p[4], 1);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 6, .nsid = 1, .prp1 = buf, .cdw10 = 2}),
	                 0);
	assert_int_equal(p[0], 0);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 6, .nsid = 1, .prp1 = buf, .cdw10 = 3}),
	                 0);
	assert_int_equal(p[0], 1);
	assert_int_equal(p[12], 2);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 6, .nsid = 2, .prp1 = buf, .cdw10 = 0}),
	                 0x0b);
	assert_int_equal(
	        run(&d, &d.admin, (struct command){.opcode = 6, .nsid = 1, .prp1 = buf, .cdw10 = 0x1f}),
	        0x02);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 6, .prp1 = 0xf00000000, .cdw10 = 1}),
	                 0x04);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 6, .prp1 = buf + 2, .cdw10 = 1}), 0x13);
	assert_int_equal(
	        run(&d, &d.admin, (struct command){.opcode = 6, .flags = 0x40, .prp1 = buf, .cdw10 = 1}),
	        0x02);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 0x77}), 0x01);
	drive_close(&d);
}

static void queue_rules(void **state)
{
	struct drive d;

	drive_open(&d);
	struct queue q = queue_new(&d, 2, 16), bad;
	bad = q, bad.id = 0;
	assert_int_equal(create_cq(&d, &bad, 1), 0x101);
	bad = q, bad.id = 9;
	assert_int_equal(create_cq(&d, &bad, 1), 0x101);
	bad = q, bad.id = 1;
	assert_int_equal(create_cq(&d, &bad, 1), 0x101);
	bad = q, bad.entries = 1;
	assert_int_equal(create_cq(&d, &bad, 1), 0x102);
	bad = q, bad.entries = 1025;
	assert_int_equal(create_cq(&d, &bad, 1), 0x102);
	bad = q, bad.cq += 512;
	assert_int_equal(create_cq(&d, &bad, 1), 0x13);
	assert_int_equal(create_cq(&d, &q, 9), 0x108);
	assert_int_equal(run(&d, &d.admin,
	                     (struct command){.opcode = 5, .prp1 = q.cq, .cdw10 = 15 << 16 | 2, .cdw11 = 2}),
	                 0x02);
	assert_int_equal(create_sq(&d, &q, 2), 0x100);
	assert_int_equal(create_sq(&d, &q, 0), 0x101);
	assert_int_equal(create_cq(&d, &q, 2), 0);
	assert_int_equal(create_sq(&d, &q, 2), 0);
	assert_int_equal(create_sq(&d, &q, 2), 0x101);
	/* Number of queues: too late. */
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 9, .cdw10 = 7, .cdw11 = 3 << 16 | 3}),
	                 0x0c);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 4, .cdw10 = 2}), 0x10c);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 0, .cdw10 = 2}), 0);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 0, .cdw10 = 2}), 0x101);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 4, .cdw10 = 2}), 0);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 0, .cdw10 = 1}), 0);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 4, .cdw10 = 1}), 0);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 9, .cdw10 = 7, .cdw11 = 0x00010003}),
	                 0);
	assert_int_equal(d.last.result, 0x00010003);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 9, .cdw10 = 7, .cdw11 = 0x0fff0fff}),
	                 0);
	assert_int_equal(d.last.result, 0x00070007);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 9, .cdw10 = 7, .cdw11 = 0xffff}), 0x02);
	drive_close(&d);
}

static void features(void **state)
{
	struct drive d;

	drive_open(&d);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 10, .cdw10 = 6}), 0);
	assert_int_equal(d.last.result, 1);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 9, .cdw10 = 6, .cdw11 = 0}), 0);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 10, .cdw10 = 6}), 0);
	assert_int_equal(d.last.result, 0);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 10, .cdw10 = 0x106}), 0);
	assert_int_equal(d.last.result, 1);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 10, .cdw10 = 0x306}), 0);
	assert_int_equal(d.last.result, 4);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 9, .cdw10 = 0x80000006}), 0x10d);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 9, .cdw10 = 0x55}), 0x02);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 10, .cdw10 = 9, .cdw11 = 99}), 0x02);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 10, .cdw10 = 4}), 0);
	assert_int_equal(d.last.result, 343);
	drive_close(&d);
}

static void events_and_abort(void **state)
{
	struct drive d;
	struct entry e;
	struct command c;
	u16 first;

	drive_open(&d);
	u64 buf = guest_alloc(&d.g, 4096);
	for (int i = 0; i < 4; i++) {
		c = (struct command){.opcode = 12};
		put(&d, &d.admin, &c);
		if (!i)
			first = c.cid;
	}
	ring_sq(&d, &d.admin);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 12}), 0x105);
	/* A doorbell that does not exist. */
	set(&d, 0x1000 + 8 * 5, 1);
	assert_true(take(&d, &d.admin, &e));
	assert_int_equal(e.result, 0x00010000);
	/* Masked until the log is read. */
	set(&d, 0x1000 + 8, 64);
	assert_false(take(&d, &d.admin, &e));
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 2, .prp1 = buf, .cdw10 = 15 << 16 | 1}),
	                 0);
	assert_int_equal(*(u64 *)guest_ptr(&d.g, buf), 1);
	set(&d, 0x1000 + 8, 64);
	assert_true(take(&d, &d.admin, &e));
	assert_int_equal(e.result, 0x00010100);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 2, .prp1 = buf, .cdw10 = 15 << 16 | 1}),
	                 0);
	/* A completion queue's head beyond what is there. */
	set(&d, 0x1004 + 8, 3);
	assert_true(take(&d, &d.admin, &e));
	assert_int_equal(e.result, 0x00010100);
	/* One is left: abort it. The aborted command's entry comes first. */
	c = (struct command){.opcode = 8, .cdw10 = (u32)first << 16};
	put(&d, &d.admin, &c);
	ring_sq(&d, &d.admin);
	assert_true(take(&d, &d.admin, &e));
	assert_int_equal(e.cid, first);
	assert_int_equal(e.status >> 1 & 0x7ff, 0x07);
	assert_true(take(&d, &d.admin, &e));
	assert_int_equal(e.result, 0);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 8, .cdw10 = (u32)first << 16}), 0);
	assert_int_equal(d.last.result, 1);
	drive_close(&d);
}

static void logs(void **state)
{
	struct drive d;

	drive_open(&d);
	u64 buf = guest_alloc(&d.g, 8192);
	u8 *p = guest_ptr(&d.g, buf);
	assert_int_equal(run(&d, &d.admin,
	                     (struct command){.opcode = 2, .nsid = ~0u, .prp1 = buf, .cdw10 = 127 << 16 | 2}),
	                 0);
	assert_int_equal(p[3], 100);
	assert_int_equal(
	        run(&d, &d.admin, (struct command){.opcode = 2, .prp1 = buf, .cdw10 = 127 << 16 | 3}), 0);
	assert_memory_equal(p + 8, "1.0 ", 4);
	memset(p, 0xee, 8192);
	assert_int_equal(
	        run(&d, &d.admin,
	            (struct command){.opcode = 2, .prp1 = buf, .prp2 = buf + 4096, .cdw10 = 2047 << 16 | 5}),
	        0);
	assert_int_equal(p[0], 1);
	assert_int_equal(p[1024 + 4], 3);
	assert_int_equal(p[8191], 0); /* beyond the page: zeroes */
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 2, .prp1 = buf, .cdw10 = 0x70}), 0x109);
	assert_int_equal(
	        run(&d, &d.admin, (struct command){.opcode = 2, .prp1 = buf, .cdw10 = 2, .cdw12 = 516}),
	        0x02);
	drive_close(&d);
}

static void data(void **state)
{
	struct drive d;
	static u8 want[MiB];

	drive_open(&d);
	u64 buf = guest_alloc(&d.g, 2 * MiB), list = guest_alloc(&d.g, 3 * 4096);
	u8 *p = guest_ptr(&d.g, buf);
	u64 *l = guest_ptr(&d.g, list);
	unsigned before = d.g.msi[1];

	/* A MiB at an offset: 257 pages, by a list that begins near the end of its page. */
	fill(want, MiB, 3);
	memcpy(p + 0x104, want, MiB);
	u64 at = list + 4096 - 32;
	unsigned k = (4096 - 32) / 8;
	for (unsigned i = 1; i <= 256; i++) {
		if (k == 4096 / 8 - 1) {
			l[k] = list + 4096;
			k = 4096 / 8;
		}
		l[k++] = buf + i * 4096;
	}
	assert_int_equal(run(&d, &d.io, rw(1, 8, 2048, buf + 0x104, at)), 0);
	memset(p, 0, 2 * MiB);
	assert_int_equal(run(&d, &d.io, rw(2, 8, 2048, buf + 0x104, at)), 0);
	assert_memory_equal(p + 0x104, want, MiB);
	assert_true(d.g.msi[1] > before);

	/* Scattered, backwards, two pages by PRP2. */
	assert_int_equal(run(&d, &d.io, rw(2, 8, 16, buf + 8192, buf)), 0);
	assert_memory_equal(p + 8192, want, 4096);
	assert_memory_equal(p, want + 4096, 4096);
	assert_int_equal(run(&d, &d.io, (struct command){.opcode = 0, .nsid = ~0u}), 0);

	/* The file has it. */
	int fd = open(d.path, O_RDONLY);
	static u8 got[MiB];
	assert_int_equal(pread(fd, got, MiB, 4096), MiB);
	assert_memory_equal(got, want, MiB);

	/* FUA. */
	struct command c = rw(1, 0, 1, buf, 0);
	c.cdw12 |= 1u << 30;
	assert_int_equal(run(&d, &d.io, c), 0);
	close(fd);
	drive_close(&d);
}

static void refusals(void **state)
{
	struct drive d;
	struct command c;

	drive_open(&d);
	u64 buf = guest_alloc(&d.g, 8192), last = SIZE / 512;
	assert_int_equal(run(&d, &d.io, rw(2, last, 1, buf, 0)), 0x80);
	assert_int_equal(run(&d, &d.io, rw(2, last - 1, 2, buf, 0)), 0x80);
	assert_int_equal(run(&d, &d.io, rw(2, ~0ULL, 1, buf, 0)), 0x80);
	assert_int_equal(run(&d, &d.io, rw(2, last - 1, 1, buf, 0)), 0);
	assert_int_equal(run(&d, &d.io, rw(2, 0, 2049, buf, buf)), 0x02);
	assert_int_equal(run(&d, &d.io, rw(2, 0, 1, 0x2000000, 0)), 0x04);
	assert_int_equal(run(&d, &d.io, rw(2, 0, 1, 0xfffffffffffff000, 0)), 0x04);
	assert_int_equal(run(&d, &d.io, rw(2, 0, 16, buf, 0xfffffffffffff000)), 0x04);
	assert_int_equal(run(&d, &d.io, rw(2, 0, 17, buf, 0xfffffffffffffff8)), 0x04);
	assert_int_equal(run(&d, &d.io, rw(2, 0, 1, buf + 1, 0)), 0x13);
	assert_int_equal(run(&d, &d.io, rw(2, 0, 16, buf, buf + 4)), 0x13);
	assert_int_equal(run(&d, &d.io, rw(2, 0, 24, buf, buf + 4)), 0x13);
	c = rw(2, 0, 1, buf, 0), c.nsid = 2;
	assert_int_equal(run(&d, &d.io, c), 0x0b);
	c = rw(0x7f, 0, 1, buf, 0);
	assert_int_equal(run(&d, &d.io, c), 0x01);
	c = rw(2, 0, 1, buf, 0), c.flags = 1;
	assert_int_equal(run(&d, &d.io, c), 0x02);
	drive_close(&d);
}

struct sgl {
	u64 address;
	u32 length;
	u8 zero[3], type;
};

static struct command sgl_rw(u8 opcode, unsigned blocks, struct sgl s)
{
	struct command c = rw(opcode, 16, blocks, 0, 0);

	c.flags = 0x40;
	memcpy(&c.prp1, &s, sizeof(s));
	return c;
}

static void scatter_gather(void **state)
{
	struct drive d;
	static u8 want[8192];

	drive_open(&d);
	u64 buf = guest_alloc(&d.g, 65536), segment = guest_alloc(&d.g, 8192);
	u8 *p = guest_ptr(&d.g, buf);
	struct sgl *s = guest_ptr(&d.g, segment);

	fill(want, sizeof(want), 9);
	memcpy(p + 3, want, 8192);
	assert_int_equal(run(&d, &d.io, sgl_rw(1, 16, (struct sgl){buf + 3, 8192, {0}, 0})), 0);
	/* Segment of two data blocks and a link, then a last segment. */
	s[0] = (struct sgl){buf + 20000, 100, {0}, 0};
	s[1] = (struct sgl){buf + 30001, 4000, {0}, 0};
	s[2] = (struct sgl){segment + 4096, 32, {0}, 0x30};
	s[256] = (struct sgl){buf + 40000, 4000, {0}, 0};
	s[257] = (struct sgl){buf + 50000, 92, {0}, 0};
	assert_int_equal(run(&d, &d.io, sgl_rw(2, 16, (struct sgl){segment, 48, {0}, 0x20})), 0);
	assert_memory_equal(p + 20000, want, 100);
	assert_memory_equal(p + 30001, want + 100, 4000);
	assert_memory_equal(p + 40000, want + 4100, 4000);
	assert_memory_equal(p + 50000, want + 8100, 92);
	/* Too short, too long, of no kind, not RAM, in circles. */
	assert_int_equal(run(&d, &d.io, sgl_rw(2, 16, (struct sgl){buf, 8191, {0}, 0})), 0x0f);
	assert_int_equal(run(&d, &d.io, sgl_rw(2, 16, (struct sgl){buf, 8193, {0}, 0})), 0x0f);
	assert_int_equal(run(&d, &d.io, sgl_rw(2, 16, (struct sgl){buf, 8192, {0}, 0x50})), 0x11);
	assert_int_equal(run(&d, &d.io, sgl_rw(2, 16, (struct sgl){segment, 40, {0}, 0x30})), 0x0d);
	assert_int_equal(run(&d, &d.io, sgl_rw(2, 16, (struct sgl){0x2000000, 8192, {0}, 0})), 0x04);
	s[0] = (struct sgl){buf, 0, {0}, 0};
	s[1] = (struct sgl){segment, 32, {0}, 0x20};
	assert_int_equal(run(&d, &d.io, sgl_rw(2, 16, (struct sgl){segment, 32, {0}, 0x20})), 0x0e);
	drive_close(&d);
}

static void zeroes_and_deallocate(void **state)
{
	struct drive d;

	drive_open(&d);
	u64 buf = guest_alloc(&d.g, 4096);
	u8 *p = guest_ptr(&d.g, buf);
	memset(p, 7, 4096);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(run(&d, &d.io, rw(1, i * 8, 8, buf, 0)), 0);
	assert_int_equal(run(&d, &d.io, rw(8, 1, 3, 0, 0)), 0);
	struct command c = rw(8, 8, 8, 0, 0);
	c.cdw12 |= 1 << 25;
	assert_int_equal(run(&d, &d.io, c), 0);
	/* Two ranges, an empty one between. */
	u32 ranges[12] = {0, 8, 16, 0, 0, 0, 0, 0, 0, 1, 24, 0};
	memcpy(p, ranges, sizeof(ranges));
	assert_int_equal(
	        run(&d, &d.io, (struct command){.opcode = 9, .nsid = 1, .prp1 = buf, .cdw10 = 2, .cdw11 = 4}),
	        0);
	for (unsigned i = 0; i < 32; i++) {
		bool zero = (i >= 1 && i < 4) || (i >= 8 && i < 25);
		assert_int_equal(run(&d, &d.io, rw(2, i, 1, buf, 0)), 0);
		assert_int_equal(p[0], zero ? 0 : 7);
		assert_int_equal(p[511], zero ? 0 : 7);
	}
	ranges[10] = SIZE / 512;
	memcpy(p, ranges, sizeof(ranges));
	assert_int_equal(
	        run(&d, &d.io, (struct command){.opcode = 9, .nsid = 1, .prp1 = buf, .cdw10 = 2, .cdw11 = 4}),
	        0x80);
	drive_close(&d);
}

static void a_readonly_disk(void **state)
{
	struct drive d;
	struct nvme_config c = {.disk = {.readonly = true}};

	drive_open_with(&d, &c);
	enable(&d);
	d.io = queue_new(&d, 1, 16);
	create_cq(&d, &d.io, 0);
	create_sq(&d, &d.io, 1);
	u64 buf = guest_alloc(&d.g, 4096);
	assert_int_equal(run(&d, &d.io, rw(1, 0, 1, buf, 0)), 0x20);
	assert_int_equal(run(&d, &d.io, rw(8, 0, 1, 0, 0)), 0x20);
	assert_int_equal(run(&d, &d.io, rw(2, 0, 1, buf, 0)), 0);
	assert_int_equal(run(&d, &d.io, (struct command){.opcode = 0, .nsid = 1}), 0);
	drive_close(&d);
}

/* A completion queue smaller than what is submitted: nothing is lost, order of each command's entry is kept.
 */
static void a_full_completion_queue(void **state)
{
	struct drive d;
	struct entry e;
	unsigned got = 0;
	u64 seen[4] = {0};

	drive_open(&d);
	u64 buf = guest_alloc(&d.g, 256 * 512);
	struct queue q = queue_new(&d, 2, 256), small = queue_new(&d, 2, 4);
	assert_int_equal(create_cq(&d, &small, 2), 0);
	assert_int_equal(create_sq(&d, &q, 2), 0);
	d.cid = 0;
	for (unsigned i = 0; i < 255; i++) {
		struct command c = rw(2, i, 1, buf + i * 512, 0);
		put(&d, &q, &c);
	}
	ring_sq(&d, &q);
	guest_run(&d.g, 20);
	u64 end = clock_monotonic_ns() + 60000000000ULL;
	while (got < 255 && clock_monotonic_ns() < end) {
		if (!take(&d, &small, &e)) {
			guest_run(&d.g, 1);
			continue;
		}
		assert_false(seen[e.cid / 64] >> (e.cid % 64) & 1);
		seen[e.cid / 64] |= BIT(e.cid % 64);
		got++;
	}
	assert_int_equal(got, 255);
	/* And a queue whose owner never takes anything can be deleted. */
	for (unsigned i = 0; i < 20; i++) {
		struct command c = rw(2, i, 1, buf + i * 512, 0);
		put(&d, &q, &c);
	}
	ring_sq(&d, &q);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 0, .cdw10 = 2}), 0);
	assert_int_equal(run(&d, &d.admin, (struct command){.opcode = 4, .cdw10 = 2}), 0);
	assert_int_equal(run(&d, &d.io, rw(2, 0, 1, buf, 0)), 0);
	drive_close(&d);
}

static void reset_in_the_middle(void **state)
{
	struct drive d;

	drive_open(&d);
	u64 buf = guest_alloc(&d.g, MiB);
	for (int round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 60; i++) {
			struct command c = rw(1, i * 8, 8, buf + i * 4096, 0);
			c.cdw12 |= 1u << 30;
			put(&d, &d.io, &c);
		}
		ring_sq(&d, &d.io);
		if (round & 1)
			pci_host_reset(d.g.pci);
		else
			set(&d, 0x14, 0x00460000);
		if (round & 1) {
			assert_int_equal(reg(&d, 0x28), 0);
			guest_msix(&d.g, 1, d.bar + 0x2000, 9, 0);
		}
		assert_int_equal(reg(&d, 0x1c), 0);
		d.g.heap = buf + MiB;
		enable(&d);
		d.io = queue_new(&d, 1, 64);
		assert_int_equal(create_cq(&d, &d.io, 1), 0);
		assert_int_equal(create_sq(&d, &d.io, 1), 0);
		assert_int_equal(run(&d, &d.io, rw(2, 0, 8, buf, 0)), 0);
	}
	/* Shutdown notification: done when the disk is flushed. */
	set(&d, 0x14, 0x00464001);
	guest_until(&d.g, (reg(&d, 0x1c) & 0xc) == 8);
	drive_close(&d);
}

static void pin_interrupts(void **state)
{
	struct drive d;
	struct nvme_config c = {.disk = {.id = "x"}};
	struct entry e;

	drive_open_with(&d, &c);
	pci_config_write(d.g.pci, 1, guest_capability(&d.g, 1, 0x11, 0) + 2, 2, 0);
	enable(&d);
	struct command cmd = {.opcode = 10, .cdw10 = 6};
	put(&d, &d.admin, &cmd);
	ring_sq(&d, &d.admin);
	assert_true(d.g.line[17]);
	set(&d, 0xc, 1);
	assert_false(d.g.line[17]);
	set(&d, 0x10, 1);
	assert_true(d.g.line[17]);
	assert_true(take(&d, &d.admin, &e));
	guest_run(&d.g, 1);
	assert_false(d.g.line[17]);
	drive_close(&d);
}

/* Anything may be written anywhere: the controller answers or stops, and comes back with a reset. */
static void noise(void **state)
{
	struct drive d;
	u64 seed = 88172645463325252ULL;

	drive_open(&d);
	u64 buf = guest_alloc(&d.g, MiB);
	for (int i = 0; i < 20000; i++) {
		seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
		struct command c;
		for (unsigned k = 0; k < sizeof(c) / 8; k++) {
			seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
			memcpy((u8 *)&c + k * 8, &seed, 8);
		}
		struct queue *q = seed & 1 ? &d.io : &d.admin;
		c.opcode = seed & 2 ? c.opcode : c.opcode % 13;
		c.flags &= seed & 4 ? 0xff : 0x40;
		c.nsid = seed & 8 ? c.nsid : 1;
		if (!(seed & 0x30))
			c.prp1 = buf + c.prp1 % MiB;
		if (!(seed & 0xc0))
			c.prp2 = buf + c.prp2 % MiB;
		c.cdw10 = seed & 0x100 ? c.cdw10 : c.cdw10 & 0x0003000f;
		c.cdw11 = seed & 0x200 ? c.cdw11 : c.cdw11 & 0x00010001;
		c.cdw12 = seed & 0x400 ? c.cdw12 : c.cdw12 & 0x7ff;
		if (q == &d.admin && c.opcode == 0)
			c.opcode = 6;
		put(&d, q, &c);
		ring_sq(&d, q);
		struct entry e;
		while (take(&d, &d.admin, &e) || take(&d, &d.io, &e))
			;
		if (i % 64 == 0) {
			bus_write(d.g.mmio, d.bar + (seed >> 20) % 0x2000, 1 << (seed >> 60 & 3), seed >> 8);
			guest_run(&d.g, 0);
		}
		if (i % 512 == 0) {
			pci_host_reset(d.g.pci);
			d.g.heap = buf + MiB;
			enable(&d);
			d.io = queue_new(&d, 1, 64);
			create_cq(&d, &d.io, 1);
			create_sq(&d, &d.io, 1);
		}
	}
	drive_close(&d);
}

static void *loop_thread(void *arg)
{
	struct error e;

	loop_run(arg, &e);
	return NULL;
}

/* As in life: the loop on its own thread, the driver on another, many commands at once. */
static void two_threads(void **state)
{
	struct drive d;
	pthread_t thread;
	struct entry e;

	drive_open(&d);
	u64 buf = guest_alloc(&d.g, 32 * 4096);
	u8 *p = guest_ptr(&d.g, buf);
	assert_int_equal(pthread_create(&thread, NULL, loop_thread, &d.g.loop), 0);
	for (unsigned round = 0; round < 200; round++) {
		bool write = !(round & 1);
		if (!write)
			memset(p, 0, 32 * 4096);
		for (unsigned i = 0; i < 32; i++) {
			struct command c = rw(write ? 1 : 2, i * 8, 8, buf + i * 4096, 0);
			if (write)
				memset(p + i * 4096, (int)(round + i), 4096);
			if (write && i % 8 == 0)
				c.cdw12 |= 1u << 30;
			put(&d, &d.io, &c);
		}
		ring_sq(&d, &d.io);
		for (unsigned got = 0; got < 32;) {
			if (take(&d, &d.io, &e)) {
				assert_int_equal(e.status >> 1, 0);
				got++;
			}
		}
		for (unsigned i = 0; i < 32 && !write; i++)
			assert_int_equal(p[i * 4096 + 4095], (u8)(round - 1 + i));
	}
	loop_stop(&d.g.loop);
	pthread_join(thread, NULL);
	drive_close(&d);
}

static void a_disk_that_is_not_there(void **state)
{
	struct guest g;
	struct error e = {0};
	struct nvme_config c = {.disk = {.path = "/nonexistent"}};

	guest_init(&g);
	assert_null(nvme_new(&c, g.pci, &g.mem, &g.loop, &e));
	assert_non_null(strstr(e.text, "/nonexistent"));
	guest_release(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(registers),
	        cmocka_unit_test(identify),
	        cmocka_unit_test(queue_rules),
	        cmocka_unit_test(features),
	        cmocka_unit_test(events_and_abort),
	        cmocka_unit_test(logs),
	        cmocka_unit_test(data),
	        cmocka_unit_test(refusals),
	        cmocka_unit_test(scatter_gather),
	        cmocka_unit_test(zeroes_and_deallocate),
	        cmocka_unit_test(a_readonly_disk),
	        cmocka_unit_test(a_full_completion_queue),
	        cmocka_unit_test(reset_in_the_middle),
	        cmocka_unit_test(pin_interrupts),
	        cmocka_unit_test(noise),
	        cmocka_unit_test(two_threads),
	        cmocka_unit_test(a_disk_that_is_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
