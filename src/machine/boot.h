/*
 * Boot loaders: put a kernel into guest memory and set the bootstrap processor's state. Files are hostile
 * input: every offset and size is checked; errors name the file.
 *
 * boot_load() reads and checks once, at start-up (host errors, status 2); boot_start() can be repeated for
 * each machine reset: writes memory, tables, and fills the bootstrap processor's state.
 */
#pragma once

#include "base/error.h"
#include "base/types.h"
#include "cpu/state.h"
#include "machine/board.h"

enum boot_kind {
	BOOT_BZIMAGE,   /* Linux boot protocol >= 2.12, 64-bit entry; payload unpacked by us
	                   (Documentation/arch/x86/boot.rst) */
	BOOT_PVH,       /* ELF with XEN_ELFNOTE_PHYS32_ENTRY (18) */
	BOOT_MULTIBOOT, /* multiboot 1 header, ELF or a.out kludge; as QEMU's -kernel gives it */
	BOOT_FIRMWARE,  /* ROM image that ends at 4 GiB */
};

struct boot_config {
	const char *kernel;   /* path, or NULL with firmware */
	const char *initrd;   /* path or NULL; multiboot: a comma-separated list of modules "file args" */
	const char *cmdline;  /* or NULL */
	const char *firmware; /* path or NULL */
};

struct boot; /* loaded, checked images in host memory */

struct boot *boot_load(const struct boot_config *config, u64 memory_size, struct error *e);
void boot_free(struct boot *b);
enum boot_kind boot_kind(const struct boot *b);

/* Board tables must be written by this (board_write_tables) as the kind needs. state is that of vCPU 0, set
 * by vcpu_state_reset() before. */
int boot_start(const struct boot *b, struct board *board, struct vcpu_state *state, struct error *e);
