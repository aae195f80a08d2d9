/*
 * What the decoders keep (decode_cache.h, jit_decode.h) against what they decode: for any two instructions of one form,
 * what is made of what was kept of the first is the second.
 */
#include "cpu/soft/decode.h"
#include "cpu/soft/decode_cache.h"
#include "cpu/soft/jit_decode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct soft_cpu *cpu;
static struct decode_cache *kept, *empty;

static u64 seed = 1;
static u32 noise(void)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (u32)(seed >> 33);
}

static int make(void **state)
{
	cpu = calloc(1, sizeof(*cpu));
	kept = decode_cache_new();
	empty = decode_cache_new();
	soft_decode_init();
	return cpu && kept && empty ? 0 : -1;
}

static int drop(void **state)
{
	free(cpu);
	decode_cache_free(kept);
	decode_cache_free(empty);
	return 0;
}

/* Integer instructions, and what is none. */
static bool is_integer(unsigned opcode, bool two)
{
	if (!two)
		return (opcode & 0xe6) != 0x26 && (opcode & 0xf0) != 0x40 && (opcode & 0xf8) != 0xd8 &&
		       (opcode < 0x62 || opcode > 0x67 || opcode == 0x63) && opcode != 0x0f &&
		       opcode != 0x8f && opcode != 0x9b && opcode != 0xc4 && opcode != 0xc5 &&
		       opcode < 0xf0 + 16 && opcode != 0xf0 && opcode != 0xf2 && opcode != 0xf3;
	return opcode == 0x05 || opcode == 0x0b || opcode == 0x0d || opcode == 0x18 || opcode == 0x1f ||
	       (opcode >= 0x40 && opcode < 0x50) || (opcode >= 0x80 && opcode < 0xae) ||
	       (opcode >= 0xaf && opcode < 0xc2) || opcode >> 3 == 0xc8 >> 3;
}

static u8 some_byte(void)
{
	static const u8 special[] = {0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff};
	u32 n = noise();

	return n & 0x300 ? (u8)n : special[n & 7];
}

struct code {
	u8 bytes[15];
	unsigned rex; /* where it may be */
};

/* count prefixes, an opcode, and whatever follows. */
static void start(struct code *c, unsigned count, bool rex, bool two, unsigned opcode)
{
	static const u8 prefixes[] = {0x66, 0xf3, 0xf2, 0xf0, 0x64, 0x65, 0x2e, 0x3e};
	unsigned n = 0;

	while (n < count)
		c->bytes[n++] = prefixes[noise() % ARRAY_SIZE(prefixes)];
	c->rex = rex ? n : 0;
	if (rex)
		c->bytes[n++] = (u8)(0x40 | noise() % 16);
	if (two)
		c->bytes[n++] = 0x0f;
	c->bytes[n++] = (u8)opcode;
	while (n < sizeof(c->bytes))
		c->bytes[n++] = some_byte();
}

/* Other registers, addresses, immediates. */
static struct code another(const struct code *c, unsigned from)
{
	struct code r = *c;

	if (c->rex)
		r.bytes[c->rex] =
		        (u8)((noise() & 7) | (noise() % 8 ? c->bytes[c->rex] & 0xf8 : 0x40 | (noise() & 8)));
	for (unsigned i = from; i < sizeof(r.bytes); i++)
		r.bytes[i] = some_byte();
	/* Often of the same group, and as often in memory. */
	if (noise() & 1)
		r.bytes[from] = (u8)((c->bytes[from] & 0xf8) | (noise() & 7));
	return r;
}

/* How often b was found after a had been decoded. */
static unsigned compare(const struct code *a, const struct code *b)
{
	unsigned off[2] = {noise() % 4080, noise() % 4080};
	struct op first, found, decoded;
	bool ends, found_ends, decoded_ends;

	decode_cache_reset(kept);
	decode_cache_reset(empty);
	cpu->decoded = kept;
	soft_decode(cpu, SOFT_MODE_LONG64, a->bytes, sizeof(a->bytes), off[0], &first, &ends);
	if (!decode_cache_find(kept, b->bytes, sizeof(b->bytes), off[1], &found, &found_ends))
		return 0;
	cpu->decoded = empty;
	soft_decode(cpu, SOFT_MODE_LONG64, b->bytes, sizeof(b->bytes), off[1], &decoded, &decoded_ends);
	if (memcmp(&found, &decoded, sizeof(found)) != 0 || found_ends != decoded_ends) {
		for (unsigned i = 0; i < sizeof(a->bytes); i++)
			print_message("%02x %02x\n", a->bytes[i], b->bytes[i]);
		fail_msg("len %u %u off %u disp %llx %llx imm %llx %llx r %x,%x,%x %x,%x,%x base %u %u index "
		         "%u %u scale %u %u "
		         "seg %u %u size %u %u osize %u %u",
		         found.len, decoded.len, off[1], (unsigned long long)found.disp,
		         (unsigned long long)decoded.disp, (unsigned long long)found.imm,
		         (unsigned long long)decoded.imm, found.r[0], found.r[1], found.r[2], decoded.r[0],
		         decoded.r[1], decoded.r[2], found.base, decoded.base, found.index, decoded.index,
		         found.scale, decoded.scale, found.seg, decoded.seg, found.size, decoded.size,
		         found.osize, decoded.osize);
	}
	return 1;
}

static void what_is_kept_is_what_would_be_decoded(void **state)
{
	unsigned found = 0, tries = 0;

	for (unsigned round = 0; round < 400; round++)
		for (unsigned n = 0; n < 512; n++) {
			bool two = n >> 8, rex = noise() & 1;
			unsigned prefixes = noise() % 8 ? noise() % 2 : noise() % 4;
			struct code a, b;

			if (!is_integer(n & 255, two))
				continue;
			start(&a, prefixes, rex, two, n & 255);
			for (unsigned k = 0; k < 2; k++) {
				b = another(&a, prefixes + rex + two + 1);
				found += compare(&a, &b);
				tries++;
			}
		}
	print_message("%u of %u were known\n", found, tries);
	assert_true(found > tries / 8);
}

static bool same_operand(const ZydisDecodedOperand *a, const ZydisDecodedOperand *b)
{
	return a->type == b->type && a->encoding == b->encoding && a->size == b->size &&
	       a->actions == b->actions && a->visibility == b->visibility &&
	       (a->type != ZYDIS_OPERAND_TYPE_REGISTER || a->reg.value == b->reg.value);
}

/* Has z, with its operands, all that the translator uses of what was decoded? */
static void check(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operands,
                  const ZydisDecodedInstruction *decoded, const ZydisDecodedOperand *all)
{
	assert_int_equal(z->mnemonic, decoded->mnemonic);
	assert_int_equal(z->length, decoded->length);
	assert_int_equal(z->encoding, decoded->encoding);
	assert_int_equal(z->opcode_map, decoded->opcode_map);
	assert_int_equal(z->opcode, decoded->opcode);
	assert_int_equal(z->meta.category, decoded->meta.category);
	assert_int_equal(z->meta.branch_type, decoded->meta.branch_type);
	assert_ptr_equal(z->cpu_flags, decoded->cpu_flags);
	assert_int_equal(z->raw.rex.W, decoded->raw.rex.W);
	assert_int_equal(z->raw.prefix_count - (z->attributes & ZYDIS_ATTRIB_HAS_REX ? 1 : 0),
	                 decoded->raw.prefix_count - (decoded->attributes & ZYDIS_ATTRIB_HAS_REX ? 1 : 0));
	assert_memory_equal(&z->raw.imm[0].value, &decoded->raw.imm[0].value, sizeof(z->raw.imm[0].value));
	assert_int_equal(z->raw.imm[0].size, decoded->raw.imm[0].size);
	assert_int_equal(z->raw.imm[0].is_relative, decoded->raw.imm[0].is_relative);
	if (z->raw.imm[0].size)
		assert_int_equal(z->raw.imm[0].offset, decoded->raw.imm[0].offset);
	assert_int_equal(z->raw.imm[1].size, decoded->raw.imm[1].size);
	assert_int_equal(z->operand_count, decoded->operand_count);
	assert_int_equal(z->operand_count_visible, decoded->operand_count_visible);
	for (unsigned i = 0; operands && i < z->operand_count; i++)
		assert_true(same_operand(&operands[i], &all[i]));
}

static void the_translator_decodes_the_same(void **state)
{
	struct jit_decoder *k = jit_decoder_new();
	unsigned found = 0;
	ZydisDecoder zydis;

	assert_non_null(k);
	ZydisDecoderInit(&zydis, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (unsigned round = 0; round < 200; round++)
		for (unsigned n = 0; n < 512; n++) {
			bool two = n >> 8, rex = noise() & 1, with = noise() & 1;
			unsigned prefixes = noise() % 8 ? noise() % 2 : noise() % 4;
			ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT], all[ZYDIS_MAX_OPERAND_COUNT];
			ZydisDecodedInstruction decoded;
			struct code a, b;

			if (!is_integer(n & 255, two))
				continue;
			start(&a, prefixes, rex, two, n & 255);
			b = another(&a, prefixes + rex + two + 1);
			jit_decode(k, a.bytes, sizeof(a.bytes), NULL);
			const ZydisDecodedInstruction *z =
			        jit_decode(k, b.bytes, sizeof(b.bytes), with ? operands : NULL);

			if (ZYAN_FAILED(ZydisDecoderDecodeFull(&zydis, b.bytes, sizeof(b.bytes), &decoded,
			                                       all))) {
				assert_null(z);
				continue;
			}
			assert_non_null(z);
			check(z, with ? operands : NULL, &decoded, all);
			found++;
		}
	assert_true(found > 20000);
	jit_decoder_free(k);
}

/* All addresses, for one instruction of each kind. */
static void all_addresses(void **state)
{
	static const u8 opcodes[] = {0x8b, 0x89, 0x8d, 0x88, 0xc6};
	unsigned found = 0;

	for (unsigned n = 0; n < ARRAY_SIZE(opcodes); n++)
		for (unsigned rex = 0; rex < 17; rex++)
			for (unsigned modrm = 0; modrm < 256; modrm++)
				for (unsigned sib = 0; sib < 256; sib += (modrm & 7) == 4 ? 1 : 64) {
					struct code a, b;
					unsigned at = rex < 16;

					if (opcodes[n] == 0xc6 && modrm & 0x38)
						continue;
					start(&a, 0, at, false, opcodes[n]);
					if (at)
						a.bytes[0] = (u8)(0x40 | rex);
					a.bytes[at + 1] =
					        opcodes[n] == 0xc6 ? a.bytes[at + 1] & 0xc7 : a.bytes[at + 1];
					b = a;
					for (unsigned i = at + 3; i < sizeof(b.bytes); i++)
						b.bytes[i] = some_byte();
					b.bytes[at + 1] = (u8)modrm;
					b.bytes[at + 2] = (u8)sib;
					found += compare(&a, &b);
				}
	assert_true(found > 20000);
}

/* A branch's function says whether it leaves the page; where a page ends is not where its bytes do. */
static void branches_by_where_they_lead(void **state)
{
	static const u8 jump[15] = {0xe9, 0xf0, 0x07}, back[15] = {0x75, 0x80};
	unsigned found = 0;

	for (unsigned off = 0; off < 4096; off++)
		for (unsigned other = off % 64; other < 4096; other += 64) {
			struct op a, b, c;
			bool ends;
			const u8 *code = other & 64 ? jump : back;

			if (other % 256 > 64)
				continue;
			decode_cache_reset(kept);
			decode_cache_reset(empty);
			cpu->decoded = kept;
			soft_decode(cpu, SOFT_MODE_LONG64, code, 15, off, &a, &ends);
			if (!decode_cache_find(kept, code, 15, other, &b, &ends))
				continue;
			cpu->decoded = empty;
			soft_decode(cpu, SOFT_MODE_LONG64, code, 15, other, &c, &ends);
			assert_memory_equal(&b, &c, sizeof(b));
			found++;
		}
	assert_true(found > 1000);
}

/* Less than an instruction is none. */
static void what_is_cut_is_not_found(void **state)
{
	static const u8 code[] = {0x65, 0x48, 0x81, 0x84, 0x24, 1, 2, 3, 4, 5, 6, 7, 8};
	struct op o;
	bool ends;

	decode_cache_reset(kept);
	cpu->decoded = kept;
	assert_int_equal(soft_decode(cpu, SOFT_MODE_LONG64, code, sizeof(code), 0, &o, &ends),
	                 SOFT_DECODE_OK);
	for (size_t len = 1; len < sizeof(code); len++) {
		u8 *cut = malloc(len);

		memcpy(cut, code, len);
		assert_false(decode_cache_find(kept, cut, len, 0, &o, &ends));
		free(cut);
	}
	assert_true(decode_cache_find(kept, code, sizeof(code), 7, &o, &ends));
	assert_int_equal(o.len, sizeof(code));
	assert_int_equal(o.off, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_is_kept_is_what_would_be_decoded),
	        cmocka_unit_test(the_translator_decodes_the_same),
	        cmocka_unit_test(all_addresses),
	        cmocka_unit_test(branches_by_where_they_lead),
	        cmocka_unit_test(what_is_cut_is_not_found),
	};

	return cmocka_run_group_tests(tests, make, drop);
}
