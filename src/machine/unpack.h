/*
 * Decompression of a Linux kernel's payload (Documentation/arch/x86/boot.rst, "payload_offset"): xz with the
 * x86 filter, zstd, LZ4 in its legacy frame, gzip. Input is hostile; output is bounded by the caller's limit
 * whatever the stream claims, and memory is touched only as far as data really come out. Any thread.
 */
#pragma once

#include "base/error.h"
#include "base/types.h"

enum unpack_format {
	UNPACK_NONE, /* no compression magic that we know */
	UNPACK_GZIP,
	UNPACK_XZ,
	UNPACK_ZSTD,
	UNPACK_LZ4,
	UNPACK_BZIP2, /* these three are recognised and not unpacked */
	UNPACK_LZMA,
	UNPACK_LZO,
};

enum unpack_format unpack_detect(const u8 *data, size_t size);
const char *unpack_name(enum unpack_format f);
/* True if unpack() can do it. */
bool unpack_supported(enum unpack_format f);

/* Unpacked bytes: page-aligned, mapped, released by unpack_release(). */
struct unpacked {
	u8 *data;
	size_t size;
	size_t mapped;
};

/*
 * Unpacks size bytes at data to exactly `expected` bytes, which must be <= limit. Bytes after the end of the
 * compressed stream are ignored, but for LZ4 frames, which have no end of their own.
 * -1: corrupt, truncated, of another length than expected, or over the limit.
 */
int unpack(struct unpacked *out, enum unpack_format f, const u8 *data, size_t size, u64 expected, u64 limit,
           struct error *e);
void unpack_release(struct unpacked *out);
