/*
 * Tiny kernels for tests of the loaders: made in memory, byte by byte, so that each field can be spoilt.
 * Include it in one test program; functions that a program does not use are dropped.
 */
#pragma once

#include "base/types.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

struct image {
	u8 *data; /* from malloc */
	size_t size;
};

#define MAKER static __attribute__((unused))

MAKER void image_release(struct image *i)
{
	free(i->data);
	i->data = NULL;
}

MAKER void image_put(struct image *i, size_t offset, const void *bytes, size_t len)
{
	memcpy(i->data + offset, bytes, len);
}

MAKER void image_put32(struct image *i, size_t offset, u32 v)
{
	image_put(i, offset, &v, 4);
}

/* One segment of `text` bytes "T" at paddr and `bss` bytes more, an entry, and a PVH note if pvh is not 0. */
MAKER struct image image_elf64(u64 paddr, u64 vaddr, u64 entry, size_t text, size_t bss, u32 pvh)
{
	enum { HEADERS = 0x200 };
	struct image i = {calloc(1, HEADERS + text), HEADERS + text};
	Elf64_Ehdr h = {
	        .e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
	        .e_type = ET_EXEC,
	        .e_machine = EM_X86_64,
	        .e_version = EV_CURRENT,
	        .e_entry = entry,
	        .e_phoff = sizeof(h),
	        .e_ehsize = sizeof(h),
	        .e_phentsize = sizeof(Elf64_Phdr),
	        .e_phnum = pvh ? 2 : 1,
	};
	Elf64_Phdr load = {.p_type = PT_LOAD,
	                   .p_flags = PF_R | PF_X,
	                   .p_offset = HEADERS,
	                   .p_paddr = paddr,
	                   .p_vaddr = vaddr,
	                   .p_filesz = text,
	                   .p_memsz = text + bss};
	Elf64_Phdr note = {.p_type = PT_NOTE, .p_offset = 0x100, .p_filesz = 40};
	/* A note of another owner stands before the one that counts. */
	u32 notes[10] = {4, 4, 18, 0x00756e47 /* "Gnu" */, 0xbad, 4, 4, 18, 0x006e6558 /* "Xen" */, pvh};

	image_put(&i, 0, &h, sizeof(h));
	image_put(&i, sizeof(h), &load, sizeof(load));
	image_put(&i, sizeof(h) + sizeof(load), &note, sizeof(note));
	image_put(&i, 0x100, notes, sizeof(notes));
	memset(i.data + HEADERS, 'T', text);
	return i;
}

MAKER struct image image_elf32(u32 paddr, u32 vaddr, u32 entry, size_t text, size_t bss)
{
	enum { HEADERS = 0x200 };
	struct image i = {calloc(1, HEADERS + text), HEADERS + text};
	Elf32_Ehdr h = {
	        .e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT},
	        .e_type = ET_EXEC,
	        .e_machine = EM_386,
	        .e_version = EV_CURRENT,
	        .e_entry = entry,
	        .e_phoff = sizeof(h),
	        .e_ehsize = sizeof(h),
	        .e_phentsize = sizeof(Elf32_Phdr),
	        .e_phnum = 1,
	};
	Elf32_Phdr load = {.p_type = PT_LOAD,
	                   .p_flags = PF_R | PF_X,
	                   .p_offset = HEADERS,
	                   .p_paddr = paddr,
	                   .p_vaddr = vaddr,
	                   .p_filesz = (u32)text,
	                   .p_memsz = (u32)(text + bss)};

	image_put(&i, 0, &h, sizeof(h));
	image_put(&i, sizeof(h), &load, sizeof(load));
	memset(i.data + HEADERS, 'T', text);
	return i;
}

/* A multiboot header at offset; the address fields are there with bit 16 of flags. */
MAKER void image_multiboot(struct image *i, size_t offset, u32 flags, u32 header, u32 load, u32 load_end,
                           u32 bss_end, u32 entry)
{
	u32 h[8] = {0x1badb002, flags, -(0x1badb002 + flags), header, load, load_end, bss_end, entry};

	image_put(i, offset, h, flags & 1 << 16 ? 32 : 12);
}

/* A bzImage around a payload as it lies there: compressed bytes and, but for gzip, four bytes of unpacked
 * size. */
MAKER struct image image_bzimage(const void *payload, size_t len)
{
	enum { SETUP = 1024, PAYLOAD = 0x300 };
	struct image i = {calloc(1, SETUP + PAYLOAD + len), SETUP + PAYLOAD + len};

	i.data[0x1f1] = 1; /* setup sectors */
	image_put32(&i, 0x1fe, 0xeb << 16 | 0xaa55);
	i.data[0x201] = 0x6a; /* the header ends at 0x26c */
	image_put(&i, 0x202, "HdrS", 4);
	image_put32(&i, 0x206, 0x20f);      /* protocol 2.15 */
	i.data[0x211] = 1;                  /* loaded high */
	image_put32(&i, 0x22c, 0x7fffffff); /* initrd_addr_max */
	image_put32(&i, 0x236, 0x03);       /* 64-bit, above 4 GiB */
	image_put32(&i, 0x238, 2047);       /* cmdline_size */
	image_put32(&i, 0x248, PAYLOAD);
	image_put32(&i, 0x24c, (u32)len);
	image_put32(&i, 0x258, 0x1000000); /* pref_address */
	image_put32(&i, 0x260, 0x200000);  /* init_size */
	image_put(&i, SETUP + PAYLOAD, payload, len);
	return i;
}
