/*
 * ELF executables as kernels come in them: 32- and 64-bit, little-endian, x86, statically linked (ELF
 * specification 1.2; System V ABI, AMD64 supplement). What a loader needs and no more: the loadable segments
 * with their physical addresses, the entry point, and the Xen PVH note. Sections are never looked at.
 *
 * The bytes are hostile: elf_parse() checks every offset and size once, and what it returns can be used
 * without further checks against the file. An elf_image points into the caller's bytes and owns nothing. Any
 * thread.
 */
#pragma once

#include "base/error.h"
#include "base/types.h"
#include "machine/memory.h"

#define ELF_MAX_SEGMENTS 64

struct elf_segment {
	u64 offset, file_size; /* in the file; checked */
	u64 paddr, mem_size;   /* paddr + mem_size does not wrap; mem_size >= file_size */
};

struct elf_image {
	const u8 *data;
	size_t size;
	bool is64;
	u64 entry;     /* physical, where the header gives a virtual one inside of a segment */
	u64 low, high; /* physical range of all segments: [low, high) */
	unsigned count;
	struct elf_segment segment[ELF_MAX_SEGMENTS];
	bool has_pvh;
	u32 pvh_entry; /* XEN_ELFNOTE_PHYS32_ENTRY */
};

/* True if data starts like an ELF file of any kind. */
bool elf_detect(const u8 *data, size_t size);

/* Fills image. -1: not an executable that could be loaded, and why (no file name: the caller prefixes it). */
int elf_parse(struct elf_image *image, const u8 *data, size_t size, struct error *e);

/* The same of a file of which only the first bytes are at hand: its headers must be among them, and its segments lie
 * beside each other. Notes are not read. */
int elf_parse_head(struct elf_image *image, const u8 *data, size_t have, u64 size, struct error *e);
/* Copies what size bytes at offset `at` of such a file have of its segments, as elf_load() does. */
int elf_load_piece(const struct elf_image *image, const struct memory *memory, u64 at, const u8 *data,
                   size_t size, struct error *e);

/*
 * Copies the segments to their physical addresses. The memory behind them is expected to be zero, as it is at
 * power-on and after memory_zero(), so what the file leaves out (.bss) is not written. -1: outside of RAM.
 */
int elf_load(const struct elf_image *image, const struct memory *memory, struct error *e);
