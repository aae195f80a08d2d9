/*
 * Multiboot 1 (GNU Multiboot Specification 0.6.96), set up the way QEMU's -kernel does it, since kernels
 * written for that loader count on its details:
 *
 *   0x9000  memory map, entries of 24 bytes (size 20), from the board's e820
 *   0x9500  multiboot information, in EBX
 *   page-aligned end of the image: module list, command lines, boot loader name; then each module,
 * page-aligned
 *
 * The command line is "KERNEL-PATH CMDLINE". Modules come from a list "FILE ARGS,FILE ARGS…" (a comma within
 * is doubled), and a module's string is its whole item. Flags: memory, boot device, command line, modules
 * (also when there are none), memory map, loader name. The image is an ELF file, or flat by the header's
 * address fields. A 64-bit ELF file is taken too, and entered in 32-bit mode like the others.
 *
 * Main thread.
 */
#pragma once

#include "machine/boot_env.h"
#include "machine/boot_file.h"
#include "machine/elf.h"

#define MULTIBOOT_MAX_MODULES 32

struct multiboot {
	const u8 *data; /* the caller's */
	size_t size;
	bool flat; /* header with address fields; else by elf */
	struct elf_image elf;
	u64 file_offset, load_size; /* flat: what to copy */
	u64 low, high;              /* physical range, .bss included */
	u32 entry;
};

struct multiboot_modules {
	unsigned count;
	struct {
		char *string; /* owned: "FILE ARGS" */
		struct boot_file file;
	} item[MULTIBOOT_MAX_MODULES];
};

/* True if there is a header with a right checksum in the first 8 KiB. */
bool multiboot_detect(const u8 *data, size_t size);
int multiboot_parse(struct multiboot *mb, const u8 *data, size_t size, struct error *e);

/* list may be NULL: no modules. */
int multiboot_modules_open(struct multiboot_modules *m, const char *list, struct error *e);
void multiboot_modules_release(struct multiboot_modules *m);

int multiboot_start(const struct multiboot *mb, const struct boot_env *env,
                    const struct multiboot_modules *modules, const char *cmdline, struct vcpu_state *state,
                    struct error *e);
