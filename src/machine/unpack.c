#include "machine/unpack.h"

#include <errno.h>
#include <lz4.h>
#include <lzma.h>
#include <string.h>
#include <sys/mman.h>
#include <zlib.h>
#include <zstd.h>

/* A 6.x kernel's xz uses a dictionary of at most 128 MiB; more is refused before it is allocated. */
#define XZ_MEMORY_LIMIT (256 * MiB)

/* The legacy frame: a magic, then blocks of "u32 packed size, data" that hold 8 MiB each, the last one fewer.
 */
#define LZ4_LEGACY_MAGIC 0x184c2102u
#define LZ4_BLOCK_MAX    (8 * MiB)

struct format {
	const char *name;
	u8 magic[9];
	u8 magic_len;
	/* Fills out->data[0 … out->size); a static text of what is wrong, or NULL. */
	const char *(*unpack)(const struct unpacked *out, const u8 *data, size_t size);
};

static const char *unpack_gzip(const struct unpacked *out, const u8 *data, size_t size)
{
	z_stream z = {.next_in = (Bytef *)data,
	              .avail_in = (uInt)size,
	              .next_out = out->data,
	              .avail_out = (uInt)out->size};

	if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
		return "zlib: no memory";
	int r = inflate(&z, Z_FINISH);

	inflateEnd(&z);
	if (r == Z_STREAM_END)
		return z.avail_out ? "shorter than its header says" : NULL;
	if (r == Z_BUF_ERROR)
		return z.avail_out ? "truncated" : "longer than its header says";
	return "corrupt";
}

static const char *unpack_xz(const struct unpacked *out, const u8 *data, size_t size)
{
	u64 memory_limit = XZ_MEMORY_LIMIT;
	size_t in = 0, done = 0;

	switch (lzma_stream_buffer_decode(&memory_limit, 0, NULL, data, &in, size, out->data, &done,
	                                  out->size)) {
	case LZMA_OK:
		return done == out->size ? NULL : "shorter than its header says";
	case LZMA_BUF_ERROR:
		return done == out->size ? "longer than its header says" : "truncated";
	case LZMA_DATA_ERROR:
		return in == size ? "truncated" : "corrupt";
	case LZMA_MEMLIMIT_ERROR:
		return "packed with too large a dictionary";
	case LZMA_MEM_ERROR:
		return "liblzma: no memory";
	case LZMA_OPTIONS_ERROR:
		return "packed with filters that are unknown";
	default:
		return "corrupt";
	}
}

static const char *unpack_zstd(const struct unpacked *out, const u8 *data, size_t size)
{
	ZSTD_DStream *z = ZSTD_createDStream();
	ZSTD_inBuffer in = {data, size, 0};
	ZSTD_outBuffer to = {out->data, out->size, 0};
	size_t left;

	if (!z)
		return "libzstd: no memory";
	do {
		size_t in_before = in.pos, out_before = to.pos;

		left = ZSTD_decompressStream(z, &to, &in);
		if (ZSTD_isError(left) || (in.pos == in_before && to.pos == out_before))
			break;
	} while (left);
	ZSTD_freeDStream(z);
	if (ZSTD_isError(left))
		return "corrupt";
	if (left)
		return to.pos == to.size ? "longer than its header says" : "truncated";
	return to.pos == to.size ? NULL : "shorter than its header says";
}

static const char *unpack_lz4(const struct unpacked *out, const u8 *data, size_t size)
{
	size_t in = min(size, (size_t)4), done = 0;

	while (size - in >= 4) {
		u32 packed;

		memcpy(&packed, data + in, sizeof(packed));
		in += 4;
		if (packed == LZ4_LEGACY_MAGIC) /* frames may be concatenated */
			continue;
		if (!packed)
			break;
		if (packed > size - in)
			return "truncated";
		int n = LZ4_decompress_safe((const char *)data + in, (char *)out->data + done, (int)packed,
		                            (int)min(out->size - done, LZ4_BLOCK_MAX));

		if (n < 0)
			return "corrupt";
		in += packed;
		done += (size_t)n;
	}
	return done == out->size ? NULL : "truncated";
}

static const struct format formats[] = {
        [UNPACK_NONE] = {.name = "unknown"},
        [UNPACK_GZIP] = {"gzip", {0x1f, 0x8b, 8}, 3, unpack_gzip},
        [UNPACK_XZ] = {"xz", {0xfd, '7', 'z', 'X', 'Z', 0}, 6, unpack_xz},
        [UNPACK_ZSTD] = {"zstd", {0x28, 0xb5, 0x2f, 0xfd}, 4, unpack_zstd},
        [UNPACK_LZ4] = {"lz4", {0x02, 0x21, 0x4c, 0x18}, 4, unpack_lz4},
        [UNPACK_BZIP2] = {"bzip2", {'B', 'Z', 'h'}, 3, NULL},
        [UNPACK_LZMA] = {"lzma", {0x5d, 0, 0}, 3, NULL},
        [UNPACK_LZO] = {"lzo", {0x89, 'L', 'Z', 'O', 0, '\r', '\n', 0x1a, '\n'}, 9, NULL},
};

enum unpack_format unpack_detect(const u8 *data, size_t size)
{
	for (unsigned i = UNPACK_NONE + 1; i < ARRAY_SIZE(formats); i++)
		if (size >= formats[i].magic_len && !memcmp(data, formats[i].magic, formats[i].magic_len))
			return (enum unpack_format)i;
	return UNPACK_NONE;
}

const char *unpack_name(enum unpack_format f)
{
	return formats[f].name;
}

bool unpack_supported(enum unpack_format f)
{
	return formats[f].unpack;
}

int unpack(struct unpacked *out, enum unpack_format f, const u8 *data, size_t size, u64 expected, u64 limit,
           struct error *e)
{
	memset(out, 0, sizeof(*out));
	if (!unpack_supported(f))
		return error_set(e, 0, "packed with %s, which cannot be unpacked here", unpack_name(f));
	/* zlib and LZ4 count in 32 bits. */
	if (size > INT32_MAX || limit > INT32_MAX || expected > limit)
		return error_set(e, 0, "unpacked size %llu is over the limit of %llu bytes",
		                 (unsigned long long)expected, (unsigned long long)limit);
	if (!expected)
		return error_set(e, 0, "unpacked size is zero");
	out->size = expected;
	out->mapped = align_up(expected, 4096);
	out->data = mmap(NULL, out->mapped, PROT_READ | PROT_WRITE,
	                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (out->data == MAP_FAILED) {
		memset(out, 0, sizeof(*out));
		return error_set(e, errno, "memory for %llu unpacked bytes", (unsigned long long)expected);
	}
	(void)madvise(out->data, out->mapped, MADV_HUGEPAGE); /* as all of it is used, and soon released */
	const char *wrong = formats[f].unpack(out, data, size);

	if (wrong) {
		unpack_release(out);
		return error_set(e, 0, "%s payload: %s", formats[f].name, wrong);
	}
	return 0;
}

void unpack_release(struct unpacked *out)
{
	if (out->data)
		munmap(out->data, out->mapped);
	memset(out, 0, sizeof(*out));
}
