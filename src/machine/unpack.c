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

#define WINDOW (256 * KiB) /* for the others */

struct out {
	struct unpack_sink *sink;
	u64 done, expected;
	u8 *window;
	size_t window_size;
	bool ended; /* the sink has enough, or refused */
	bool refused;
};

struct format {
	const char *name;
	u8 magic[9];
	u8 magic_len;
	size_t window;
	/* Gives to out; a static text of what is wrong, or NULL. */
	const char *(*unpack)(struct out *out, const u8 *data, size_t size);
};

static const char *const too_long = "longer than its header says";

/* The next n bytes, which are in the window. */
static const char *give(struct out *o, size_t n)
{
	if (n > o->expected - o->done)
		return too_long;
	o->done += n;
	o->refused = n && o->sink->take(o->sink, o->window, n);
	o->ended = o->refused || (o->sink->enough && o->done >= o->sink->enough && o->done < o->expected);
	return NULL;
}

static const char *unpack_gzip(struct out *o, const u8 *data, size_t size)
{
	z_stream z = {.next_in = (Bytef *)data, .avail_in = (uInt)size};
	const char *wrong;
	int r;

	if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
		return "zlib: no memory";
	do {
		z.next_out = o->window;
		z.avail_out = (uInt)o->window_size;
		r = inflate(&z, Z_NO_FLUSH);
		wrong = r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR ? "corrupt" : NULL;
		if (!wrong && r == Z_BUF_ERROR)
			wrong = "truncated"; /* no progress, though there was room */
		if (!wrong)
			wrong = give(o, o->window_size - z.avail_out);
	} while (!wrong && !o->ended && r != Z_STREAM_END);
	inflateEnd(&z);
	return wrong;
}

static const char *unpack_xz(struct out *o, const u8 *data, size_t size)
{
	lzma_stream z = LZMA_STREAM_INIT;
	const char *wrong = NULL;
	lzma_ret r = lzma_stream_decoder(&z, XZ_MEMORY_LIMIT, 0);

	z.next_in = data;
	z.avail_in = size;
	while (r == LZMA_OK && !wrong && !o->ended) {
		z.next_out = o->window;
		z.avail_out = o->window_size;
		r = lzma_code(&z, LZMA_FINISH);
		if (r == LZMA_OK || r == LZMA_STREAM_END)
			wrong = give(o, o->window_size - z.avail_out);
	}
	lzma_end(&z);
	if (wrong || o->ended)
		return wrong;
	switch (r) {
	case LZMA_STREAM_END:
		return NULL;
	case LZMA_BUF_ERROR:
		return "truncated";
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

static const char *unpack_zstd(struct out *o, const u8 *data, size_t size)
{
	ZSTD_DStream *z = ZSTD_createDStream();
	ZSTD_inBuffer in = {data, size, 0};
	const char *wrong = NULL;
	size_t left;

	if (!z)
		return "libzstd: no memory";
	do {
		ZSTD_outBuffer to = {o->window, o->window_size, 0};
		size_t in_before = in.pos;

		left = ZSTD_decompressStream(z, &to, &in);
		if (ZSTD_isError(left))
			wrong = "corrupt";
		else if (left && in.pos == in_before && !to.pos)
			wrong = "truncated";
		else
			wrong = give(o, to.pos);
	} while (left && !wrong && !o->ended);
	ZSTD_freeDStream(z);
	return wrong;
}

static const char *unpack_lz4(struct out *o, const u8 *data, size_t size)
{
	size_t in = min(size, (size_t)4);

	while (size - in >= 4 && !o->ended) {
		u32 packed;

		memcpy(&packed, data + in, sizeof(packed));
		in += 4;
		if (packed == LZ4_LEGACY_MAGIC) /* frames may be concatenated */
			continue;
		if (!packed)
			break;
		if (packed > size - in)
			return "truncated";
		u64 room = min(o->expected - o->done, (u64)o->window_size), want = room;

		if (o->sink->enough)
			want = min(room, o->sink->enough - o->done);
		int n = want < room ? LZ4_decompress_safe_partial((const char *)data + in, (char *)o->window,
		                                                  (int)packed, (int)want, (int)room)
		                    : LZ4_decompress_safe((const char *)data + in, (char *)o->window,
		                                          (int)packed, (int)room);

		if (n < 0)
			return "corrupt";
		in += packed;
		const char *wrong = give(o, (size_t)n);

		if (wrong)
			return wrong;
	}
	return o->ended || o->done == o->expected ? NULL : "truncated";
}

static const struct format formats[] = {
        [UNPACK_NONE] = {.name = "unknown"},
        [UNPACK_GZIP] = {"gzip", {0x1f, 0x8b, 8}, 3, WINDOW, unpack_gzip},
        [UNPACK_XZ] = {"xz", {0xfd, '7', 'z', 'X', 'Z', 0}, 6, WINDOW, unpack_xz},
        [UNPACK_ZSTD] = {"zstd", {0x28, 0xb5, 0x2f, 0xfd}, 4, WINDOW, unpack_zstd},
        [UNPACK_LZ4] = {"lz4", {0x02, 0x21, 0x4c, 0x18}, 4, LZ4_BLOCK_MAX, unpack_lz4},
        [UNPACK_BZIP2] = {"bzip2", {'B', 'Z', 'h'}, 3, 0, NULL},
        [UNPACK_LZMA] = {"lzma", {0x5d, 0, 0}, 3, 0, NULL},
        [UNPACK_LZO] = {"lzo", {0x89, 'L', 'Z', 'O', 0, '\r', '\n', 0x1a, '\n'}, 9, 0, NULL},
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

int unpack(struct unpack_sink *sink, enum unpack_format f, const u8 *data, size_t size, u64 expected,
           u64 limit, struct error *e)
{
	if (!unpack_supported(f))
		return error_set(e, 0, "packed with %s, which cannot be unpacked here", unpack_name(f));
	/* zlib and LZ4 count in 32 bits. */
	if (size > INT32_MAX || limit > INT32_MAX || expected > limit)
		return error_set(e, 0, "unpacked size %llu is over the limit of %llu bytes",
		                 (unsigned long long)expected, (unsigned long long)limit);
	if (!expected)
		return error_set(e, 0, "unpacked size is zero");
	struct out out = {
	        .sink = sink, .expected = expected, .window_size = min((u64)formats[f].window, expected)};

	/* Not from malloc, which might keep it. */
	out.window = mmap(NULL, out.window_size, PROT_READ | PROT_WRITE,
	                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (out.window == MAP_FAILED)
		return error_set(e, errno, "memory for unpacking");
	const char *wrong = formats[f].unpack(&out, data, size);

	munmap(out.window, out.window_size);
	if (!wrong && !out.ended && out.done < expected)
		wrong = "shorter than its header says";
	if (out.refused)
		return -1;
	return wrong ? error_set(e, 0, "%s payload: %s", formats[f].name, wrong) : 0;
}
