/*
 * Decompression of a Linux kernel's payload (Documentation/arch/x86/boot.rst, "payload_offset"): xz with the
 * x86 filter, zstd, LZ4 in its legacy frame, gzip. Input is hostile; output is bounded by the caller's limit
 * whatever the stream claims, and goes to the caller piece by piece, so that no one has to hold all of it. Any
 * thread.
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

/* Where unpacked bytes go. */
struct unpack_sink {
	/* The next size bytes; -1 ends it, and so does unpack(): what the error is, the sink knows. */
	int (*take)(struct unpack_sink *sink, const u8 *data, size_t size);
	u64 enough; /* so many bytes are wanted; more may come. 0: all, and then the stream is checked to its end */
};

/*
 * Unpacks size bytes at data to exactly `expected` bytes, which must be <= limit, through a buffer of some MiB.
 * Bytes after the end of the compressed stream are ignored, but for LZ4 frames, which have no end of their own.
 * -1: corrupt, truncated, of another length than expected, or over the limit; what came out until then was taken.
 */
int unpack(struct unpack_sink *sink, enum unpack_format f, const u8 *data, size_t size, u64 expected,
           u64 limit, struct error *e);
