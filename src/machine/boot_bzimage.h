/*
 * Linux bzImage (Documentation/arch/x86/boot.rst, protocol 2.12 and later, 64-bit boot protocol).
 *
 * The kernel inside is an ELF vmlinux, packed. Unpacking it here, natively, and entering it at its own
 * startup_64 saves the guest its decompressor. Where the packing is none we know (bzip2, lzma, lzo), the
 * image's own decompressor runs in the guest instead, through the 64-bit entry 0x200 bytes into the
 * protected-mode part.
 *
 * The vmlinux goes to guest memory while it is unpacked, so nobody holds all of it, and a payload that is broken further
 * on is found then.
 *
 * A parsed bzimage points into the caller's bytes. Main thread.
 */
#pragma once

#include "machine/boot_env.h"
#include "machine/boot_file.h"
#include "machine/elf.h"
#include "machine/unpack.h"

/* struct setup_header as it lies in the file and in the zero page: from 0x1f1 to at most here. */
#define BZIMAGE_HEADER     0x1f1u
#define BZIMAGE_HEADER_END 0x290u

struct bzimage {
	const u8 *data;
	size_t size;
	unsigned header_end;       /* end of the setup header in the file */
	u64 code, code_size;       /* the protected-mode part, in the file */
	enum unpack_format format; /* of the payload */
	bool self_unpacking;       /* no vmlinux: the image unpacks itself in the guest */
	const u8 *payload;         /* in data */
	size_t payload_size;
	u64 unpacked;             /* its size then */
	struct elf_image vmlinux; /* without its data */
	u64 load_address;         /* of the protected-mode part, if self_unpacking */
	u64 end;                  /* the kernel's highest physical address */
	u64 cmdline_max;          /* without the NUL */
	u64 initrd_max;           /* highest address of an initrd's last byte */
	bool above_4g;            /* an initrd may lie there */
};

bool bzimage_detect(const u8 *data, size_t size);
/* -1: broken or unfit; no file name in e. Of the payload it looks at the start. */
int bzimage_parse(struct bzimage *b, const u8 *data, size_t size, struct error *e);

/* Writes the kernel, its initrd (or NULL), command line and zero page; state becomes that at the 64-bit
 * entry. */
int bzimage_start(const struct bzimage *b, const struct boot_env *env, const struct boot_file *initrd,
                  const char *cmdline, struct vcpu_state *state, struct error *e);
