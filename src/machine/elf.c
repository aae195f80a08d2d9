#include "machine/elf.h"

#include <elf.h>
#include <string.h>

#define XEN_ELFNOTE_PHYS32_ENTRY 18

/* Larger than any kernel's; bounds the work that a hostile note segment can cause. */
#define NOTE_MAX_BYTES (1 * MiB)

bool elf_detect(const u8 *data, size_t size)
{
	return size >= SELFMAG && !memcmp(data, ELFMAG, SELFMAG);
}

/* True if [offset, offset + len) lies in size bytes. */
static bool inside(u64 offset, u64 len, u64 size)
{
	return offset <= size && len <= size - offset;
}

static u32 get32(const u8 *p)
{
	u32 v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* One program header, whatever the class. */
struct program_header {
	u32 type, flags;
	u64 offset, vaddr, paddr, file_size, mem_size;
};

static struct program_header program_header_read(const u8 *p, bool is64)
{
	if (is64) {
		Elf64_Phdr h;

		memcpy(&h, p, sizeof(h));
		return (struct program_header){h.p_type,  h.p_flags,  h.p_offset, h.p_vaddr,
		                               h.p_paddr, h.p_filesz, h.p_memsz};
	}
	Elf32_Phdr h;

	memcpy(&h, p, sizeof(h));
	return (struct program_header){h.p_type,  h.p_flags,  h.p_offset, h.p_vaddr,
	                               h.p_paddr, h.p_filesz, h.p_memsz};
}

/* Looks for the PVH entry among the notes in len bytes at p. Padding is to 4 bytes, as Linux and Xen write
 * it. */
static void notes_read(struct elf_image *image, const u8 *p, u64 len)
{
	len = min(len, NOTE_MAX_BYTES);
	while (len >= 12) {
		u64 name_len = get32(p), desc_len = get32(p + 4), type = get32(p + 8);
		u64 name_room = align_up(name_len, 4), total = 12 + name_room + align_up(desc_len, 4);

		if (total > len && 12 + name_room + desc_len > len)
			return;
		if (type == XEN_ELFNOTE_PHYS32_ENTRY && name_len == 4 && !memcmp(p + 12, "Xen", 4) &&
		    desc_len >= 4) {
			/* A 64-bit kernel writes 8 bytes; the address is a 32-bit one by definition. */
			image->pvh_entry = get32(p + 12 + name_room);
			image->has_pvh = true;
			return;
		}
		total = min(total, len);
		p += total;
		len -= total;
	}
}

static int segment_add(struct elf_image *image, const struct program_header *h, u64 entry, struct error *e)
{
	if (h->mem_size < h->file_size || h->paddr + h->mem_size < h->paddr)
		return error_set(e, 0, "segment at 0x%llx has an impossible size",
		                 (unsigned long long)h->paddr);
	if (!h->mem_size)
		return 0;
	if (image->count == ELF_MAX_SEGMENTS)
		return error_set(e, 0, "more than %u loadable segments", ELF_MAX_SEGMENTS);
	image->segment[image->count++] = (struct elf_segment){h->offset, h->file_size, h->paddr, h->mem_size};
	image->low = min(image->low, h->paddr);
	image->high = max(image->high, h->paddr + h->mem_size);
	/* An entry point given as a virtual address is translated by the executable segment that holds it. */
	if (h->flags & PF_X && h->vaddr != h->paddr && entry - h->vaddr < h->file_size)
		image->entry = entry - h->vaddr + h->paddr;
	return 0;
}

/* Is a segment's place that of one before it, too? */
static bool overlaps(const struct elf_image *image, unsigned n)
{
	const struct elf_segment *s = &image->segment[n];

	for (unsigned i = 0; i < n; i++) {
		const struct elf_segment *before = &image->segment[i];

		if (s->paddr < before->paddr + before->mem_size && before->paddr < s->paddr + s->mem_size)
			return true;
	}
	return false;
}

/* have: of the file's size bytes, those that are at data. */
static int parse(struct elf_image *image, const u8 *data, size_t have, u64 size, struct error *e)
{
	u64 table, entry;
	unsigned count, entry_size, header_size;
	u16 type, machine;

	memset(image, 0, sizeof(*image));
	image->data = data;
	image->size = have;
	image->low = ~0ULL;
	if (!elf_detect(data, have))
		return error_set(e, 0, "not an ELF file");
	if (have < sizeof(Elf32_Ehdr))
		return error_set(e, 0, "truncated ELF header");
	image->is64 = data[EI_CLASS] == ELFCLASS64;
	if ((!image->is64 && data[EI_CLASS] != ELFCLASS32) || data[EI_DATA] != ELFDATA2LSB)
		return error_set(e, 0, "ELF file for another kind of machine");
	if (image->is64) {
		Elf64_Ehdr h;

		if (have < sizeof(h))
			return error_set(e, 0, "truncated ELF header");
		memcpy(&h, data, sizeof(h));
		type = h.e_type, machine = h.e_machine, entry = h.e_entry;
		table = h.e_phoff, count = h.e_phnum, entry_size = h.e_phentsize;
		header_size = sizeof(Elf64_Phdr);
	} else {
		Elf32_Ehdr h;

		memcpy(&h, data, sizeof(h));
		type = h.e_type, machine = h.e_machine, entry = h.e_entry;
		table = h.e_phoff, count = h.e_phnum, entry_size = h.e_phentsize;
		header_size = sizeof(Elf32_Phdr);
	}
	/* An x86-64 kernel may be wrapped as a 32-bit file and the other way round: what counts is the entry.
	 */
	if (machine != EM_386 && machine != EM_X86_64)
		return error_set(e, 0, "ELF file for another kind of machine");
	if (type != ET_EXEC && type != ET_DYN)
		return error_set(e, 0, "ELF file that is not an executable");
	if (!count || entry_size < header_size)
		return error_set(e, 0, "ELF file without program headers");
	if (!inside(table, (u64)count * entry_size, have))
		return error_set(e, 0, "truncated: its program headers are missing");

	image->entry = entry;
	for (unsigned i = 0; i < count; i++) {
		struct program_header h =
		        program_header_read(data + table + (u64)i * entry_size, image->is64);

		if (h.type != PT_LOAD && h.type != PT_NOTE)
			continue;
		if (!inside(h.offset, h.file_size, size))
			return error_set(e, 0, "truncated: segment %u ends at 0x%llx, the file at 0x%llx", i,
			                 (unsigned long long)(h.offset + h.file_size),
			                 (unsigned long long)size);
		if (h.type == PT_LOAD && segment_add(image, &h, entry, e))
			return -1;
		if (h.type == PT_NOTE && !image->has_pvh && have == size)
			notes_read(image, data + h.offset, h.file_size);
	}
	if (!image->count)
		return error_set(e, 0, "ELF file with nothing to load");
	return 0;
}

int elf_parse(struct elf_image *image, const u8 *data, size_t size, struct error *e)
{
	return parse(image, data, size, size, e);
}

int elf_parse_head(struct elf_image *image, const u8 *data, size_t have, u64 size, struct error *e)
{
	if (parse(image, data, have, size, e))
		return -1;
	image->data = NULL;
	image->size = 0;
	for (unsigned i = 0; i < image->count; i++)
		if (overlaps(image, i))
			return error_set(e, 0, "segment at 0x%llx overlaps another",
			                 (unsigned long long)image->segment[i].paddr);
	return 0;
}

static int outside(const struct elf_segment *s, struct error *e)
{
	return error_set(e, 0, "does not fit in memory: needs 0x%llx to 0x%llx", (unsigned long long)s->paddr,
	                 (unsigned long long)(s->paddr + s->mem_size));
}

int elf_load(const struct elf_image *image, const struct memory *memory, struct error *e)
{
	for (unsigned i = 0; i < image->count; i++) {
		const struct elf_segment *s = &image->segment[i];
		int (*write)(const struct memory *, u64, const void *, size_t) =
		        overlaps(image, i) ? memory_write : memory_load;

		if (!memory_range(memory, s->paddr, s->mem_size) ||
		    write(memory, s->paddr, image->data + s->offset, s->file_size))
			return outside(s, e);
	}
	return 0;
}

int elf_load_piece(const struct elf_image *image, const struct memory *memory, u64 at, const u8 *data,
                   size_t size, struct error *e)
{
	for (unsigned i = 0; i < image->count; i++) {
		const struct elf_segment *s = &image->segment[i];
		u64 from = max(at, s->offset), to = min(at + size, s->offset + s->file_size);

		if (from < to &&
		    (!memory_range(memory, s->paddr, s->mem_size) ||
		     memory_load(memory, s->paddr + (from - s->offset), data + (from - at), to - from)))
			return outside(s, e);
	}
	return 0;
}
