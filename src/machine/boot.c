/*
 * Theory of operation: boot_load() opens the files, recognises the kernel by its content and parses it, so
 * that whatever is wrong with its headers is said before a machine exists. The parsed kernel serves the first
 * boot_start() and is freed by that; a later one, at a guest's reboot, reads the open files again. So the
 * host pays for a kernel's bytes only while it loads them.
 */
#include "machine/boot.h"

#include "base/log.h"
#include "machine/boot_bzimage.h"
#include "machine/boot_env.h"
#include "machine/boot_multiboot.h"
#include "machine/boot_pvh.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRMWARE_MAX   (8 * MiB)
#define FIRMWARE_ALIAS (256 * KiB)

/* A kernel in host memory, parsed; between boot_load() and the first boot_start(), and within later ones. */
struct boot_image {
	u8 *data; /* the file; NULL: nothing is here, read it again */
	struct bzimage bzimage;
	struct elf_image elf; /* PVH */
	struct multiboot multiboot;
};

struct boot {
	enum boot_kind kind;
	struct boot_file kernel; /* or firmware */
	struct boot_file initrd; /* path NULL: none */
	struct multiboot_modules modules;
	char *cmdline;
	struct boot_image *image; /* always there */
};

static void image_unload(struct boot_image *image)
{
	free(image->data);
	image->data = NULL;
}

/* Reads and parses the kernel, and says which kind it is. */
static int image_load(struct boot_image *image, const struct boot_file *kernel, enum boot_kind *kind,
                      struct error *e)
{
	u8 *data = boot_file_read(kernel, e);
	int r;

	if (!data)
		return -1;
	image->data = data;
	if (bzimage_detect(data, kernel->size)) {
		*kind = BOOT_BZIMAGE;
		r = bzimage_parse(&image->bzimage, data, kernel->size, e);
	} else if (multiboot_detect(data, kernel->size)) {
		*kind = BOOT_MULTIBOOT;
		r = multiboot_parse(&image->multiboot, data, kernel->size, e);
	} else if (elf_detect(data, kernel->size)) {
		*kind = BOOT_PVH;
		r = elf_parse(&image->elf, data, kernel->size, e);
		if (!r)
			r = pvh_check(&image->elf, e);
	} else {
		r = error_set(e, 0, "neither a Linux bzImage nor an ELF or multiboot image");
	}
	if (r) {
		image_unload(image);
		error_prefix(e, "%s: not a kernel image that can be booted", kernel->path);
	}
	return r;
}

static int firmware_open(struct boot *b, const char *path, struct error *e)
{
	b->kind = BOOT_FIRMWARE;
	if (boot_file_open(&b->kernel, path, e))
		return -1;
	if (b->kernel.size % PAGE_SIZE || b->kernel.size < 64 * KiB || b->kernel.size > FIRMWARE_MAX)
		return error_set(
		        e, 0, "%s: not a firmware image: its size must be 64 KiB to %llu MiB, in whole pages",
		        path, FIRMWARE_MAX / MiB);
	return 0;
}

/* How long a command line this kernel takes. */
static u64 cmdline_max(const struct boot *b)
{
	return b->kind == BOOT_BZIMAGE ? b->image->bzimage.cmdline_max : BOOT_CMDLINE_MAX - 1;
}

static u64 image_end(const struct boot *b)
{
	switch (b->kind) {
	case BOOT_BZIMAGE:
		return b->image->bzimage.end;
	case BOOT_PVH:
		return b->image->elf.high;
	case BOOT_MULTIBOOT:
		return b->image->multiboot.high;
	default:
		return 0;
	}
}

static int kernel_open(struct boot *b, const struct boot_config *config, u64 memory_size, struct error *e)
{
	if (boot_file_open(&b->kernel, config->kernel, e))
		return -1;
	if (image_load(b->image, &b->kernel, &b->kind, e))
		return -1;
	if (strlen(b->cmdline) > cmdline_max(b))
		return error_set(e, 0, "%s: takes a command line of at most %llu bytes, this one has %zu",
		                 b->kernel.path, (unsigned long long)cmdline_max(b), strlen(b->cmdline));
	if (image_end(b) > memory_size + (memory_size > MEMORY_HOLE_START ? 4 * GiB - MEMORY_HOLE_START : 0))
		return error_set(e, 0, "%s: does not fit in memory: it needs %llu MiB, the machine has %llu",
		                 b->kernel.path, (unsigned long long)((image_end(b) + MiB - 1) / MiB),
		                 (unsigned long long)(memory_size / MiB));
	if (!config->initrd)
		return 0;
	if (b->kind == BOOT_MULTIBOOT)
		return multiboot_modules_open(&b->modules, config->initrd, e);
	if (boot_file_open(&b->initrd, config->initrd, e))
		return -1;
	if (b->initrd.size > memory_size)
		return error_set(e, 0, "%s: an initrd of %llu MiB does not fit in %llu MiB of memory",
		                 b->initrd.path, (unsigned long long)((b->initrd.size + MiB - 1) / MiB),
		                 (unsigned long long)(memory_size / MiB));
	return 0;
}

struct boot *boot_load(const struct boot_config *config, u64 memory_size, struct error *e)
{
	struct boot *b = calloc(1, sizeof(*b));

	if (b)
		b->image = calloc(1, sizeof(*b->image));
	if (b && b->image)
		b->cmdline = strdup(config->cmdline ? config->cmdline : "");
	if (!b || !b->cmdline) {
		error_set(e, ENOMEM, "boot");
		goto fail;
	}
	if (config->firmware && config->kernel) {
		error_set(e, 0, "%s: firmware and a kernel together are not supported", config->firmware);
		goto fail;
	}
	if (!config->firmware && !config->kernel) {
		error_set(e, 0, "neither a kernel nor firmware to boot");
		goto fail;
	}
	if (config->firmware ? firmware_open(b, config->firmware, e) : kernel_open(b, config, memory_size, e))
		goto fail;
	return b;
fail:
	boot_free(b);
	return NULL;
}

void boot_free(struct boot *b)
{
	if (!b)
		return;
	if (b->image)
		image_unload(b->image);
	free(b->image);
	boot_file_release(&b->kernel);
	boot_file_release(&b->initrd);
	multiboot_modules_release(&b->modules);
	free(b->cmdline);
	free(b);
}

enum boot_kind boot_kind(const struct boot *b)
{
	return b->kind;
}

/*
 * The ROM ends at 4 GiB, and its last 256 KiB are seen below 1 MiB too: as RAM, since firmware unpacks itself
 * there. The processor starts at its reset vector, so the state stays what RESET made it. The ROM slot
 * outlives resets.
 */
static int firmware_start(const struct boot *b, struct memory *m, struct error *e)
{
	u64 size = b->kernel.size, gpa = 4 * GiB - size, alias = min(size, FIRMWARE_ALIAS);
	const struct physmem_slot *rom = physmem_find(&m->phys, gpa);
	u8 *data = NULL;
	int r = 0;

	if (!rom) {
		data = boot_file_read(&b->kernel, e);
		if (!data)
			return -1;
		r = memory_add_rom(m, gpa, data, size, e);
		rom = physmem_find(&m->phys, gpa);
	}
	if (!r && memory_write(m, 1 * MiB - alias, rom->hva + size - alias, alias))
		r = error_set(e, 0, "%s: no memory below 1 MiB for it", b->kernel.path);
	free(data);
	return r;
}

static int image_start(const struct boot *b, const struct boot_env *env, struct vcpu_state *state,
                       struct error *e)
{
	const struct boot_file *initrd = b->initrd.path ? &b->initrd : NULL;

	boot_mtrrs(state);
	switch (b->kind) {
	case BOOT_BZIMAGE:
		return bzimage_start(&b->image->bzimage, env, initrd, b->cmdline, state, e);
	case BOOT_PVH:
		return pvh_start(&b->image->elf, env, initrd, b->cmdline, state, e);
	default:
		return multiboot_start(&b->image->multiboot, env, &b->modules, b->cmdline, state, e);
	}
}

int boot_start(const struct boot *b, struct board *board, struct vcpu_state *state, struct error *e)
{
	struct boot_env env = {.memory = board_memory(board), .kernel = b->kernel.path};
	enum boot_kind kind = b->kind;
	int r = 0;

	if (kind == BOOT_FIRMWARE)
		return firmware_start(b, board_memory(board), e);
	if (!b->image->data && image_load(b->image, &b->kernel, &kind, e))
		return -1;
	if (kind != b->kind)
		r = error_set(e, 0, "%s: changed while in use", b->kernel.path);
	if (!r) {
		env.rsdp = board_write_tables(board);
		env.e820_count = board_e820(board, env.e820, BOOT_MAX_E820);
		r = image_start(b, &env, state, e);
	}
	image_unload(b->image);
	return r;
}
