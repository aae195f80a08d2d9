/*
 * PVH: an ELF kernel with a 32-bit entry, told where by its note XEN_ELFNOTE_PHYS32_ENTRY, and of the machine
 * by a struct hvm_start_info in EBX (Xen, docs/misc/pvh.pandoc; version 1, with a memory map). Main thread.
 */
#pragma once

#include "machine/boot_env.h"
#include "machine/boot_file.h"
#include "machine/elf.h"

int pvh_check(const struct elf_image *image, struct error *e);
int pvh_start(const struct elf_image *image, const struct boot_env *env, const struct boot_file *initrd,
              const char *cmdline, struct vcpu_state *state, struct error *e);
