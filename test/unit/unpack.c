#include "image_maker.h"

#include "machine/unpack.h"

#include <lz4.h>
#include <lzma.h>
#include <setjmp.h>
#include <stdarg.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

#define PLAIN (300 * 1024)

static u8 plain[PLAIN];

/* Half noise, so that every compressor has something to keep. */
static int plain_make(void **state)
{
	u32 x = 1;

	for (unsigned i = 0; i < PLAIN; i++) {
		x = x * 1664525 + 1013904223;
		plain[i] = i % 512 < 64 ? (u8)(x >> 24) : (u8)(i >> 9);
	}
	return 0;
}

static struct image pack(enum unpack_format f)
{
	size_t room = 2 * PLAIN, in;
	struct image i = {malloc(room), 0};

	if (f == UNPACK_GZIP) {
		z_stream z = {
		        .next_in = plain, .avail_in = PLAIN, .next_out = i.data, .avail_out = (uInt)room};

		assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY),
		                 Z_OK);
		assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
		i.size = z.total_out;
		deflateEnd(&z);
	} else if (f == UNPACK_XZ) {
		/* As scripts/xz_wrap.sh of the kernel: the x86 filter before LZMA2, CRC32. */
		lzma_options_lzma lzma;

		lzma_lzma_preset(&lzma, 6);
		lzma_filter filters[] = {
		        {LZMA_FILTER_X86, NULL}, {LZMA_FILTER_LZMA2, &lzma}, {LZMA_VLI_UNKNOWN, NULL}};

		assert_int_equal(lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC32, NULL, plain, PLAIN,
		                                           i.data, &i.size, room),
		                 LZMA_OK);
	} else if (f == UNPACK_ZSTD) {
		i.size = ZSTD_compress(i.data, room, plain, PLAIN, 19);
		assert_false(ZSTD_isError(i.size));
	} else { /* LZ4: two blocks, for the frame's sake */
		image_put32(&i, 0, 0x184c2102);
		i.size = 4;
		for (in = 0; in < PLAIN; in += PLAIN / 2) {
			int n = LZ4_compress_default((char *)plain + in, (char *)i.data + i.size + 4,
			                             PLAIN / 2, (int)(room - i.size - 4));

			image_put32(&i, i.size, (u32)n);
			i.size += 4 + (size_t)n;
		}
	}
	return i;
}

/* What came out. */
struct unpacked {
	struct unpack_sink sink;
	u8 *data;
	size_t size;
};

static int take(struct unpack_sink *sink, const u8 *data, size_t size)
{
	struct unpacked *u = container_of(sink, struct unpacked, sink);

	u->data = realloc(u->data, u->size + size);
	memcpy(u->data + u->size, data, size);
	u->size += size;
	return 0;
}

static void unpack_release(struct unpacked *u)
{
	free(u->data);
	u->data = NULL;
}

static int collect_some(struct unpacked *out, enum unpack_format f, const u8 *data, size_t size, u64 expected,
                        u64 limit, u64 enough, struct error *e)
{
	int r;

	*out = (struct unpacked){.sink = {take, enough}};
	r = unpack(&out->sink, f, data, size, expected, limit, e);
	assert_true(out->size <= expected);
	if (r)
		unpack_release(out);
	return r;
}

static int collect(struct unpacked *out, enum unpack_format f, const u8 *data, size_t size, u64 expected,
                   u64 limit, struct error *e)
{
	int r = collect_some(out, f, data, size, expected, limit, 0, e);

	assert_true(r || out->size == expected);
	return r;
}

static const enum unpack_format all[] = {UNPACK_GZIP, UNPACK_XZ, UNPACK_ZSTD, UNPACK_LZ4};

static void unpacks_what_was_packed(void **state)
{
	for (unsigned n = 0; n < ARRAY_SIZE(all); n++) {
		struct image i = pack(all[n]);
		struct unpacked out;
		struct error e;

		assert_int_equal(unpack_detect(i.data, i.size), all[n]);
		assert_true(unpack_supported(all[n]));
		assert_int_equal(collect(&out, all[n], i.data, i.size, PLAIN, MiB, &e), 0);
		assert_int_equal(out.size, PLAIN);
		assert_memory_equal(out.data, plain, PLAIN);
		unpack_release(&out);
		image_release(&i);
	}
}

static void gives_as_much_as_is_wanted(void **state)
{
	for (unsigned n = 0; n < ARRAY_SIZE(all); n++) {
		struct image i = pack(all[n]);
		struct unpacked out;
		struct error e;

		/* The stream may well end in the middle. */
		assert_int_equal(collect_some(&out, all[n], i.data, i.size - 8, PLAIN, MiB, 1000, &e), 0);
		assert_true(out.size >= 1000);
		assert_memory_equal(out.data, plain, out.size);
		unpack_release(&out);
		/* All of it: to the end. */
		assert_int_equal(collect_some(&out, all[n], i.data, i.size - 8, PLAIN, MiB, PLAIN, &e), -1);
		image_release(&i);
	}
}

static int refuse(struct unpack_sink *sink, const u8 *data, size_t size)
{
	return -1;
}

static void ends_when_refused(void **state)
{
	struct unpack_sink sink = {refuse, 0};

	for (unsigned n = 0; n < ARRAY_SIZE(all); n++) {
		struct image i = pack(all[n]);
		struct error e = {0};

		assert_int_equal(unpack(&sink, all[n], i.data, i.size, PLAIN, MiB, &e), -1);
		assert_string_equal(e.text, "");
		image_release(&i);
	}
}

static void refuses_another_length(void **state)
{
	static const u64 lengths[] = {PLAIN - 1, PLAIN + 1, 1};

	for (unsigned n = 0; n < ARRAY_SIZE(all) * ARRAY_SIZE(lengths); n++) {
		enum unpack_format f = all[n / ARRAY_SIZE(lengths)];
		struct image i = pack(f);
		struct unpacked out;
		struct error e;

		assert_int_equal(collect(&out, f, i.data, i.size, lengths[n % ARRAY_SIZE(lengths)], MiB, &e),
		                 -1);
		image_release(&i);
	}
}

static void refuses_every_truncation(void **state)
{
	for (unsigned n = 0; n < ARRAY_SIZE(all); n++) {
		struct image i = pack(all[n]);

		/* Each length near both ends, a sample between. */
		for (size_t len = 0; len < i.size; len += len < 64 || len + 1100 > i.size ? 1 : 997) {
			u8 *cut = malloc(len ? len : 1);
			struct unpacked out;
			struct error e;

			memcpy(cut, i.data, len);
			assert_int_equal(collect(&out, all[n], cut, len, PLAIN, MiB, &e), -1);
			free(cut);
		}
		image_release(&i);
	}
}

static void survives_spoilt_bytes(void **state)
{
	u32 x = 7;

	for (unsigned n = 0; n < ARRAY_SIZE(all); n++) {
		struct image i = pack(all[n]);

		for (unsigned round = 0; round < 200; round++) {
			struct unpacked out;
			struct error e;

			x = x * 1664525 + 1013904223;
			size_t at = (x >> 8) % (round < 100 ? 64 : i.size);

			i.data[at] ^= (u8)(1 << x % 8);
			if (!collect(&out, all[n], i.data, i.size, PLAIN, MiB, &e))
				unpack_release(&out);
			i.data[at] ^= (u8)(1 << x % 8);
		}
		image_release(&i);
	}
}

static void refuses_what_is_over_the_limit(void **state)
{
	struct image i = pack(UNPACK_GZIP);
	struct unpacked out;
	struct error e;

	assert_int_equal(collect(&out, UNPACK_GZIP, i.data, i.size, PLAIN, PLAIN - 1, &e), -1);
	assert_int_equal(collect(&out, UNPACK_GZIP, i.data, i.size, 0, PLAIN, &e), -1);
	assert_int_equal(collect(&out, UNPACK_BZIP2, i.data, i.size, PLAIN, PLAIN, &e), -1);
	assert_non_null(strstr(e.text, "bzip2"));
	image_release(&i);
}

static void knows_the_formats(void **state)
{
	assert_int_equal(unpack_detect((const u8 *)"BZh9", 4), UNPACK_BZIP2);
	assert_int_equal(unpack_detect((const u8 *)"\x5d\0\0\0", 4), UNPACK_LZMA);
	assert_int_equal(unpack_detect((const u8 *)"\x89LZO\0\r\n\x1a\n", 9), UNPACK_LZO);
	assert_int_equal(unpack_detect((const u8 *)"\x7f"
	                                           "ELF",
	                               4),
	                 UNPACK_NONE);
	assert_int_equal(unpack_detect((const u8 *)"\x1f", 1), UNPACK_NONE);
	assert_int_equal(unpack_detect(NULL, 0), UNPACK_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(unpacks_what_was_packed),        cmocka_unit_test(refuses_another_length),
	        cmocka_unit_test(refuses_every_truncation),       cmocka_unit_test(survives_spoilt_bytes),
	        cmocka_unit_test(refuses_what_is_over_the_limit), cmocka_unit_test(knows_the_formats),
	        cmocka_unit_test(gives_as_much_as_is_wanted),     cmocka_unit_test(ends_when_refused),
	};

	return cmocka_run_group_tests(tests, plain_make, NULL);
}
