#include "machine/boot_multiboot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_MAGIC  0x1badb002u
#define HEADER_SEARCH 8192u
#define ENTRY_MAGIC   0x2badb002u
#define LOADER_NAME   "insula"

enum { HEADER_HAS_ADDRESSES = 1 << 16 };

enum {
	INFO_MEMORY = 1 << 0,
	INFO_BOOT_DEVICE = 1 << 1,
	INFO_CMDLINE = 1 << 2,
	INFO_MODULES = 1 << 3,
	INFO_MEMORY_MAP = 1 << 6,
	INFO_LOADER_NAME = 1 << 9,
};

/* Where the memory map, the information and the GDT lie. */
enum { MAP_ADDRESS = 0x9000, INFO_ADDRESS = 0x9500, GDT_ADDRESS = 0x9600, STACK_TOP = 0x7c00 };

/* BIOS data area: words with the EBDA's segment and the KiB of conventional memory. */
enum { BDA_EBDA = 0x40e, BDA_MEMORY = 0x413 };

enum { MULTIBOOT_CS = 0x08, MULTIBOOT_DS = 0x10 };

struct multiboot_header {
	u32 magic, flags, checksum;
	u32 header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr; /* with HEADER_HAS_ADDRESSES */
};

struct multiboot_info {
	u32 flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, symbols[4];
	u32 mmap_length, mmap_addr, drives_length, drives_addr, config_table, boot_loader_name;
	u32 apm_table, vbe[4];
};

struct multiboot_map_entry {
	u32 size; /* of what follows */
	u64 addr, len;
	u32 type;
} __attribute__((packed));

struct multiboot_module {
	u32 start, end, string, reserved;
};

_Static_assert(sizeof(struct multiboot_info) == 88 && sizeof(struct multiboot_map_entry) == 24,
               "as specified");

#define MAP_MAX ((INFO_ADDRESS - MAP_ADDRESS) / sizeof(struct multiboot_map_entry))

/* Offset of the header, or -1. Fields past the end of the file read as zero. */
static s64 header_find(const u8 *data, size_t size, struct multiboot_header *h)
{
	for (size_t i = 0; i + 12 <= min(size, (size_t)HEADER_SEARCH); i += 4) {
		memset(h, 0, sizeof(*h));
		memcpy(h, data + i, min(sizeof(*h), size - i));
		if (h->magic == HEADER_MAGIC && h->magic + h->flags + h->checksum == 0)
			return (s64)i;
	}
	return -1;
}

bool multiboot_detect(const u8 *data, size_t size)
{
	struct multiboot_header h;

	return header_find(data, size, &h) >= 0;
}

static int flat_parse(struct multiboot *mb, const struct multiboot_header *h, u64 offset, struct error *e)
{
	u64 before = (u64)h->header_addr - h->load_addr;

	if (offset + 32 > mb->size)
		return error_set(e, 0, "truncated multiboot header");
	if (h->header_addr < h->load_addr || before > offset)
		return error_set(e, 0, "multiboot header with impossible addresses");
	mb->flat = true;
	mb->file_offset = offset - before;
	mb->low = h->load_addr;
	mb->load_size = mb->size - mb->file_offset;
	if (h->load_end_addr) {
		if (h->load_end_addr < h->load_addr)
			return error_set(e, 0, "multiboot header with impossible addresses");
		if (h->load_end_addr - h->load_addr > mb->load_size)
			return error_set(e, 0, "truncated: its header says 0x%x bytes, 0x%llx are there",
			                 h->load_end_addr - h->load_addr, (unsigned long long)mb->load_size);
		mb->load_size = h->load_end_addr - h->load_addr;
	}
	mb->high = mb->low + mb->load_size;
	if (h->bss_end_addr) {
		if (h->bss_end_addr < mb->high)
			return error_set(e, 0, "multiboot header with impossible addresses");
		mb->high = h->bss_end_addr;
	}
	mb->entry = h->entry_addr;
	return 0;
}

int multiboot_parse(struct multiboot *mb, const u8 *data, size_t size, struct error *e)
{
	struct multiboot_header h;
	s64 offset = header_find(data, size, &h);

	memset(mb, 0, sizeof(*mb));
	mb->data = data;
	mb->size = size;
	if (offset < 0)
		return error_set(e, 0, "no multiboot header");
	if (h.flags & HEADER_HAS_ADDRESSES)
		return flat_parse(mb, &h, (u64)offset, e);
	if (!elf_detect(data, size))
		return error_set(e, 0, "multiboot header without addresses in a file that is not ELF");
	if (elf_parse(&mb->elf, data, size, e))
		return -1;
	mb->low = mb->elf.low;
	mb->high = mb->elf.high;
	if (mb->elf.entry > UINT32_MAX || mb->high > UINT32_MAX)
		return error_set(e, 0, "multiboot kernel outside of the first 4 GiB");
	mb->entry = (u32)mb->elf.entry;
	return 0;
}

/* The next item of a list: up to a comma that is not doubled; doubled ones become one. *list moves on. */
static char *item_next(const char **list)
{
	char *item = malloc(strlen(*list) + 1), *to = item;
	const char *p = *list;

	if (!item)
		return NULL;
	for (; *p; p++) {
		if (*p == ',' && *++p != ',')
			break;
		*to++ = *p;
	}
	*to = 0;
	*list = p;
	return item;
}

int multiboot_modules_open(struct multiboot_modules *m, const char *list, struct error *e)
{
	m->count = 0;
	while (list && *list) {
		if (m->count == MULTIBOOT_MAX_MODULES) {
			error_set(e, 0, "more than %u modules", MULTIBOOT_MAX_MODULES);
			goto fail;
		}
		char *string = item_next(&list);
		char *path = string ? strndup(string, strcspn(string, " ")) : NULL;

		if (!path) {
			free(string);
			error_set(e, ENOMEM, "modules");
			goto fail;
		}
		int r = boot_file_open(&m->item[m->count].file, path, e);

		free(path);
		if (r) {
			free(string);
			goto fail;
		}
		m->item[m->count++].string = string;
	}
	return 0;
fail:
	multiboot_modules_release(m);
	return -1;
}

void multiboot_modules_release(struct multiboot_modules *m)
{
	for (unsigned i = 0; i < m->count; i++) {
		free(m->item[i].string);
		boot_file_release(&m->item[i].file);
	}
	m->count = 0;
}

/* Module list, strings and modules behind the image. */
static int extras_write(const struct multiboot *mb, const struct boot_env *env,
                        const struct multiboot_modules *modules, const char *cmdline,
                        struct multiboot_info *info, struct error *e)
{
	const char *path = env->kernel;
	struct multiboot_module list[MULTIBOOT_MAX_MODULES] = {0};
	u64 list_at = align_up(mb->high, PAGE_SIZE), strings = list_at + modules->count * sizeof(list[0]),
	    at = strings;

	for (unsigned i = 0; i < modules->count; i++)
		at += strlen(modules->item[i].string) + 1;
	at += strlen(path) + 1 + strlen(cmdline) + 1 + sizeof(LOADER_NAME);

	u64 data = align_up(at, PAGE_SIZE);

	for (unsigned i = 0; i < modules->count; i++) {
		const struct boot_file *f = &modules->item[i].file;

		if (boot_place(env, f->size, PAGE_SIZE, data, min(data + f->size, MEMORY_HOLE_START)) != data)
			return error_set(
			        e, 0, "%s: a module of %llu bytes does not fit in memory behind the kernel",
			        f->path, (unsigned long long)f->size);
		if (boot_file_load(f, env->memory, data, e))
			return -1;
		list[i].start = (u32)data;
		list[i].end = (u32)(data + f->size);
		list[i].string = (u32)strings;
		data = align_up(data + f->size, PAGE_SIZE);
		if (memory_write(env->memory, strings, modules->item[i].string,
		                 strlen(modules->item[i].string) + 1))
			goto no_room;
		strings += strlen(modules->item[i].string) + 1;
	}
	info->mods_count = modules->count;
	info->mods_addr = (u32)list_at;
	info->cmdline = (u32)strings;
	/* One byte past each text is what comes next: the path's NUL is overwritten by the space. */
	if (memory_write(env->memory, strings, path, strlen(path)) ||
	    memory_write(env->memory, strings + strlen(path), " ", 1) ||
	    memory_write(env->memory, strings + strlen(path) + 1, cmdline, strlen(cmdline) + 1))
		goto no_room;
	strings += strlen(path) + 1 + strlen(cmdline) + 1;
	info->boot_loader_name = (u32)strings;
	if (memory_write(env->memory, strings, LOADER_NAME, sizeof(LOADER_NAME)) ||
	    memory_write(env->memory, list_at, list, modules->count * sizeof(list[0])))
		goto no_room;
	return 0;
no_room:
	return error_set(e, 0, "%s: does not fit in memory: no room for its command line", env->kernel);
}

/* KiB of memory from 0 to 640 KiB, and contiguously from 1 MiB up to the first hole or 4 GiB. */
static void memory_sizes(const struct boot_env *env, struct multiboot_info *info)
{
	u64 upper = 1 * MiB, seen = 0;

	while (seen != upper) {
		seen = upper;
		for (unsigned i = 0; i < env->e820_count; i++) {
			const struct board_e820 *r = &env->e820[i];

			if (r->type == 1 && r->addr == 0)
				info->mem_lower = (u32)(min(r->size, 640 * KiB) / KiB);
			if (r->type == 1 && r->addr <= upper && r->addr + r->size > upper &&
			    r->addr < 4 * GiB)
				upper = r->addr + r->size;
		}
	}
	info->mem_upper = (u32)((upper - 1 * MiB) / KiB);
}

/* What a PC's firmware leaves for those who look there. */
static int bios_data_write(const struct boot_env *env, u32 lower_kib)
{
	u16 kib = (u16)lower_kib, ebda = (u16)(kib * (KiB / 16));

	return memory_write(env->memory, BDA_MEMORY, &kib, sizeof(kib)) ||
	       memory_write(env->memory, BDA_EBDA, &ebda, sizeof(ebda));
}

static int info_write(const struct boot_env *env, struct multiboot_info *info)
{
	unsigned count = min(env->e820_count, (unsigned)MAP_MAX);

	for (unsigned i = 0; i < count; i++) {
		struct multiboot_map_entry m = {20, env->e820[i].addr, env->e820[i].size, env->e820[i].type};

		if (memory_write(env->memory, MAP_ADDRESS + i * sizeof(m), &m, sizeof(m)))
			return -1;
	}
	info->flags = INFO_MEMORY | INFO_BOOT_DEVICE | INFO_CMDLINE | INFO_MODULES | INFO_MEMORY_MAP |
	              INFO_LOADER_NAME;
	info->boot_device = 0x8000ffff; /* the first hard disk, no partition */
	info->mmap_addr = MAP_ADDRESS;
	info->mmap_length = (u32)(count * sizeof(struct multiboot_map_entry));
	memory_sizes(env, info);
	return bios_data_write(env, info->mem_lower) ||
	       memory_write(env->memory, INFO_ADDRESS, info, sizeof(*info));
}

int multiboot_start(const struct multiboot *mb, const struct boot_env *env,
                    const struct multiboot_modules *modules, const char *cmdline, struct vcpu_state *state,
                    struct error *e)
{
	/* The last two are for a return to real mode: 16-bit code and data. */
	const u64 gdt[] = {0, boot_descriptor(0, ~0u, BOOT_CODE32), boot_descriptor(0, ~0u, BOOT_DATA32),
	                   boot_descriptor(0, 0xffff, 0xe | SEG_ATTR_S | SEG_ATTR_P),
	                   boot_descriptor(0, 0xffff, 0x2 | SEG_ATTR_S | SEG_ATTR_P)};
	struct multiboot_info info = {0};

	if (boot_fits(env, mb->low, mb->high, e))
		return -1;
	/* Before the image: where a kernel itself loads down there, its bytes win. */
	if (extras_write(mb, env, modules, cmdline, &info, e))
		return -1;
	if (info_write(env, &info))
		return error_set(e, 0, "%s: no memory for boot data", env->kernel);
	boot_mode32(state);
	if (boot_segments(env, state, GDT_ADDRESS, gdt, ARRAY_SIZE(gdt), MULTIBOOT_CS, MULTIBOOT_DS))
		return error_set(e, 0, "%s: no memory for boot data", env->kernel);
	if (!mb->flat) {
		if (elf_load(&mb->elf, env->memory, e))
			return error_prefix(e, "%s", env->kernel);
	} else if (memory_write(env->memory, mb->low, mb->data + mb->file_offset, mb->load_size)) {
		return error_set(e, 0, "%s: does not fit in memory: loads at 0x%llx", env->kernel,
		                 (unsigned long long)mb->low);
	}
	state->idtr = (struct vcpu_table){.limit = 0x3ff};
	state->regs[REG_RAX] = ENTRY_MAGIC;
	state->regs[REG_RBX] = INFO_ADDRESS;
	state->regs[REG_RSP] = STACK_TOP;
	state->rip = mb->entry;
	return 0;
}
