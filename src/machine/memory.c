/*
 * Theory of operation: all RAM is one memfd, offset 0 being gpa 0. The mapping is aligned to 2 MiB, and so
 * are the offsets where guest-physical pieces start (0, and the start of the hole), so that huge pages can be
 * used where the host grants them. What lies under 0xa0000–0xbffff exists in the file but is in no slot.
 */
#include "machine/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HIGH_START (4 * GiB)
#define VGA_START  0xa0000ULL
#define VGA_END    0xc0000ULL
#define HUGE_SIZE  (2 * MiB)
#define ROM_MAX    (16 * MiB) /* of all ROMs together; bounds the page map */
#define MIB_OF(b)  ((unsigned long long)((b) / MiB))

u64 memory_low_size(const struct memory *m)
{
	return min(m->size, (u64)MEMORY_HOLE_START);
}

u64 memory_high_size(const struct memory *m)
{
	return m->size - memory_low_size(m);
}

/* Appends a slot; its pages follow those of the slot before. */
static void slot_add(struct memory *m, u64 gpa, u64 size, u8 *hva, bool readonly)
{
	struct physmem *pm = &m->phys;
	u64 first = 0;

	if (pm->count) {
		const struct physmem_slot *last = &pm->slots[pm->count - 1];
		first = last->first_page + last->size / PAGE_SIZE;
	}
	pm->slots[pm->count++] = (struct physmem_slot){
	        .gpa = gpa, .size = size, .hva = hva, .first_page = first, .readonly = readonly};
}

/* Maps the memfd at an address that is a multiple of 2 MiB. */
static u8 *map_aligned(struct memory *m)
{
	u64 room = m->map_size + HUGE_SIZE;
	u8 *area = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (area == MAP_FAILED)
		return NULL;
	u8 *start = (u8 *)align_up((uintptr_t)area, HUGE_SIZE);
	u8 *map = mmap(start, m->map_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED,
	               m->memfd, 0);
	if (map == MAP_FAILED) {
		int code = errno;

		munmap(area, room);
		errno = code;
		return NULL;
	}
	if (start != area)
		munmap(area, (size_t)(start - area));
	munmap(start + m->map_size, (size_t)(area + room - (start + m->map_size)));
	return map;
}

int memory_init(struct memory *m, u64 size, struct error *e)
{
	memset(m, 0, sizeof(*m));
	m->memfd = -1;
	if (size < MEMORY_MIN)
		return error_set(e, 0, "memory of %llu bytes is too small: at least %llu MiB are needed",
		                 (unsigned long long)size, MIB_OF(MEMORY_MIN));
	if (size > MEMORY_MAX)
		return error_set(e, 0, "memory of %llu MiB is too large: at most %llu MiB are possible",
		                 MIB_OF(size), MIB_OF(MEMORY_MAX));
	if (size % PAGE_SIZE)
		return error_set(e, 0, "memory of %llu bytes is not a multiple of 4 KiB",
		                 (unsigned long long)size);
	m->size = m->map_size = size;
	m->memfd = memfd_create("guest memory", MFD_CLOEXEC);
	if (m->memfd < 0) {
		error_set(e, errno, "memfd_create");
		goto fail;
	}
	if (ftruncate(m->memfd, (off_t)size) < 0) {
		error_set(e, errno, "guest memory of %llu MiB", MIB_OF(size));
		goto fail;
	}
	m->map = map_aligned(m);
	if (!m->map) {
		error_set(e, errno, "mapping %llu MiB of guest memory", MIB_OF(size));
		goto fail;
	}
	/* A first touch by 2 MiB instead of 4 KiB; a host without huge pages says no, and that is fine. */
	(void)madvise(m->map, m->map_size, MADV_HUGEPAGE);
	(void)madvise(m->map, m->map_size, MADV_DONTDUMP);

	m->page_map_size = (size + ROM_MAX) / PAGE_SIZE * sizeof(*m->phys.page);
	void *pages = mmap(NULL, m->page_map_size, PROT_READ | PROT_WRITE,
	                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (pages == MAP_FAILED) {
		error_set(e, errno, "page map of %llu MiB of guest memory", MIB_OF(size));
		goto fail;
	}
	m->page_map = pages;
	m->phys.page = pages;
	slot_add(m, 0, VGA_START, m->map, false);
	slot_add(m, VGA_END, memory_low_size(m) - VGA_END, m->map + VGA_END, false);
	if (memory_high_size(m))
		slot_add(m, HIGH_START, memory_high_size(m), m->map + MEMORY_HOLE_START, false);
	return 0;
fail:
	memory_release(m);
	return -1;
}

void memory_release(struct memory *m)
{
	for (unsigned i = 0; i < m->phys.count; i++)
		if (m->phys.slots[i].readonly)
			munmap(m->phys.slots[i].hva, m->phys.slots[i].size);
	if (m->map)
		munmap(m->map, m->map_size);
	if (m->page_map)
		munmap(m->page_map, m->page_map_size);
	if (m->memfd >= 0)
		close(m->memfd);
	memset(m, 0, sizeof(*m));
	m->memfd = -1;
}

int memory_add_rom(struct memory *m, u64 gpa, const void *content, u64 size, struct error *e)
{
	u64 roms = 0;

	if (!size || size % PAGE_SIZE || gpa % PAGE_SIZE || gpa + size < gpa)
		return error_set(e, 0, "ROM of %llu bytes at 0x%llx: not whole pages",
		                 (unsigned long long)size, (unsigned long long)gpa);
	for (unsigned i = 0; i < m->phys.count; i++) {
		const struct physmem_slot *s = &m->phys.slots[i];

		if (gpa < s->gpa + s->size && s->gpa < gpa + size)
			return error_set(e, 0, "ROM at 0x%llx overlaps memory at 0x%llx",
			                 (unsigned long long)gpa, (unsigned long long)s->gpa);
		roms += s->readonly ? s->size : 0;
	}
	if (m->phys.count == PHYSMEM_MAX_SLOTS || size > ROM_MAX - roms)
		return error_set(e, 0, "ROM of %llu bytes: no room for more ROM", (unsigned long long)size);
	void *rom = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (rom == MAP_FAILED)
		return error_set(e, errno, "ROM of %llu bytes", (unsigned long long)size);
	memcpy(rom, content, size);
	mprotect(rom, size, PROT_READ);
	slot_add(m, gpa, size, rom, true);
	return 0;
}

void memory_zero(struct memory *m)
{
	if (fallocate(m->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)m->map_size) < 0)
		memset(m->map, 0, m->map_size);
	for (unsigned i = 0; i < m->phys.count; i++)
		if (!m->phys.slots[i].readonly)
			memory_written(m, m->phys.slots[i].gpa, m->phys.slots[i].size);
}

/* The RAM slot that begins a transfer at gpa, and how much of len it can take; NULL if gpa is no RAM. */
static const struct physmem_slot *slot_piece(const struct memory *m, u64 gpa, u64 len, u64 *piece)
{
	const struct physmem_slot *s = physmem_find(&m->phys, gpa);

	if (s)
		*piece = min(len, s->size - (gpa - s->gpa));
	return s;
}

/* Whether all of a range is RAM (or, for reading, ROM). Slots can touch, so a range may span some. */
static bool range_ok(const struct memory *m, u64 gpa, u64 len, bool write)
{
	u64 piece;

	if (gpa + len < gpa)
		return false;
	for (; len; gpa += piece, len -= piece) {
		const struct physmem_slot *s = slot_piece(m, gpa, len, &piece);

		if (!s || (write && s->readonly))
			return false;
	}
	return true;
}

int memory_read(const struct memory *m, u64 gpa, void *buf, size_t len)
{
	u64 piece;
	u8 *to = buf;

	if (!range_ok(m, gpa, len, false))
		return -1;
	for (; len; gpa += piece, to += piece, len -= piece) {
		const struct physmem_slot *s = slot_piece(m, gpa, len, &piece);

		memcpy(to, s->hva + (gpa - s->gpa), piece);
	}
	return 0;
}

/* Piece by piece. put: of RAM from `to` on, len bytes. */
static int write_pieces(const struct memory *m, u64 gpa, const u8 *from, size_t len,
                        void (*put)(const struct memory *m, u8 *to, const u8 *from, size_t len))
{
	u64 piece, at = gpa, left = len;

	if (!range_ok(m, gpa, len, true))
		return -1;
	for (; left; at += piece, from += piece, left -= piece) {
		const struct physmem_slot *s = slot_piece(m, at, left, &piece);

		put(m, s->hva + (at - s->gpa), from, piece);
	}
	memory_written(m, gpa, len);
	return 0;
}

static void copy(const struct memory *m, u8 *to, const u8 *from, size_t len)
{
	(void)m;
	memcpy(to, from, len);
}

int memory_write(const struct memory *m, u64 gpa, const void *buf, size_t len)
{
	return write_pieces(m, gpa, buf, len, copy);
}

static bool is_zero(const u8 *p, size_t len)
{
	return !len || (!p[0] && !memcmp(p, p + 1, len - 1));
}

/* Of RAM from `to` on, len bytes. */
static void load(const struct memory *m, u8 *to, const u8 *from, size_t len)
{
	while (len) {
		ssize_t n = pwrite(m->memfd, from, len, to - m->map);

		if (n <= 0) { /* the mapping does it, or says why not */
			memcpy(to, from, len);
			return;
		}
		to += n;
		from += n;
		len -= (size_t)n;
	}
}

/* The same, in runs of pages that are not zero. */
static void load_nonzero(const struct memory *m, u8 *to, const u8 *from, size_t len)
{
	for (u64 done = 0, run = 0; done < len; done += run) {
		u64 step;

		for (run = 0; done + run < len; run += step) {
			u64 i = done + run;

			step = min(PAGE_SIZE - ((uintptr_t)(to + i) & (PAGE_SIZE - 1)), len - i);
			if (is_zero(from + i, step))
				break;
		}
		load(m, to + done, from + done, run);
		if (done + run < len)
			run += step;
	}
}

int memory_load(const struct memory *m, u64 gpa, const void *buf, size_t len)
{
	return write_pieces(m, gpa, buf, len, load_nonzero);
}

int memory_fill(const struct memory *m, u64 gpa, u8 value, size_t len)
{
	u64 piece, at = gpa, left = len;

	if (!range_ok(m, gpa, len, true))
		return -1;
	for (; left; at += piece, left -= piece) {
		const struct physmem_slot *s = slot_piece(m, at, left, &piece);

		memset(s->hva + (at - s->gpa), value, piece);
	}
	memory_written(m, gpa, len);
	return 0;
}

void *memory_range(const struct memory *m, u64 gpa, u64 len)
{
	const struct physmem_slot *s = physmem_find(&m->phys, gpa);

	if (!s || s->readonly || len > s->size - (gpa - s->gpa))
		return NULL;
	return s->hva + (gpa - s->gpa);
}
