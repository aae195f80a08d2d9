#include "cpu/soft/decode_cache.h"
#include "cpu/soft/decode_form.h"

#include <stdlib.h>
#include <string.h>

enum { ENTRIES = 1024, LONGEST = 7 };
/* In a key of bytes, above them: their number. A form's has more there. */
enum { LENGTH = 56 };

struct decode_cache {
	u64 keys[ENTRIES]; /* 0: none */
	struct entry {
		struct op op; /* at page offset 0 */
		struct decode_origin origin;
	} entries[ENTRIES];
};

struct decode_cache *decode_cache_new(void)
{
	return calloc(1, sizeof(struct decode_cache));
}

void decode_cache_free(struct decode_cache *k)
{
	free(k);
}

void decode_cache_reset(struct decode_cache *k)
{
	for (unsigned i = 0; i < ENTRIES; i++)
		((volatile u64 *)k->keys)[i] = 0;
}

/* The first bytes, as a number. */
static u64 load(const u8 *bytes, size_t len)
{
	u64 v = 0;

	if (len >= sizeof(v)) {
		memcpy(&v, bytes, sizeof(v));
		return v;
	}
	while (len--)
		v = v << 8 | bytes[len];
	return v;
}

static u64 key_of(u64 bytes, unsigned len)
{
	return (bytes & (BIT(8 * len) - 1)) | (u64)len << LENGTH;
}

static unsigned slot_of(u64 key)
{
	return (unsigned)(key * 0x9e3779b97f4a7c15ULL >> 40) % ENTRIES;
}

/* ---- forms ---- */

static u8 register_of(const struct decode_form *d, unsigned from, bool byte)
{
	unsigned n = from == DECODE_REG  ? (d->modrm >> 3 & 7) | (d->rex & 4) << 1
	             : from == DECODE_RM ? (d->modrm & 7) | (d->rex & 1) << 3
	                                 : (d->opcode & 7) | (d->rex & 1) << 3;

	return (u8)(byte && !d->rex && n >= 4 ? (n - 4) * 8 + 1 : n * 8); /* AH … */
}

static void fill_address(const struct decode_form *d, struct op *o)
{
	unsigned mod = d->modrm >> 6, rm = d->modrm & 7;

	o->index = SREG_ZERO;
	o->scale = 0;
	o->base = (u8)(rm | (d->rex & 1) << 3);
	if (rm == 4) {
		unsigned index = (d->sib >> 3 & 7) | (d->rex & 2) << 2;

		o->base = (u8)((d->sib & 7) | (d->rex & 1) << 3);
		if (index != 4) {
			o->index = (u8)index;
			o->scale = d->sib >> 6;
		}
		if (mod == 0 && (d->sib & 7) == 5)
			o->base = SREG_ZERO;
	} else if (mod == 0 && rm == 5) {
		o->base = SREG_PAGE_RIP;
	}
	o->seg = d->seg != SEG_DS ? d->seg : o->base == REG_RSP || o->base == REG_RBP ? SEG_SS : SEG_DS;
}

/* The operation of an entry's form with the numbers that the instruction has. */
static void fill(const struct entry *e, const u8 *bytes, const struct decode_form *d, unsigned off,
                 struct op *o)
{
	*o = e->op;
	o->off = (u16)off;
	o->len = d->len;
	for (unsigned n = 0; n < 3; n++)
		if (e->origin.from[n])
			o->r[n] = register_of(d, e->origin.from[n], e->origin.byte[n]);
	if (d->imm)
		o->imm = decode_number(bytes + d->disp_at + d->disp, d->imm, e->origin.negative);
	if (d->memory)
		fill_address(d, o);
	if (d->memory || d->rel)
		o->disp = (s64)decode_number(bytes + d->disp_at, d->disp, true);
	if (d->rel || o->base == SREG_PAGE_RIP)
		o->disp += off + d->len;
}

/* ---- */

bool decode_cache_find(const struct decode_cache *k, const u8 *bytes, size_t len, unsigned off, struct op *o,
                       bool *ends)
{
	const struct entry *e;
	struct decode_form d;

	if (decode_form(bytes, len, off, &d)) {
		unsigned slot = slot_of(d.key);

		if (k->keys[slot] != d.key)
			return false;
		e = &k->entries[slot];
		fill(e, bytes, &d, off, o);
		*ends = e->origin.ends;
		return true;
	}
	u64 v = load(bytes, len);

	for (unsigned n = 1; n <= LONGEST && n <= len; n++) {
		u64 key = key_of(v, n);
		unsigned slot = slot_of(key);

		if (k->keys[slot] != key)
			continue;
		e = &k->entries[slot];
		*o = e->op;
		o->off = (u16)off;
		if (o->base == SREG_PAGE_RIP)
			o->disp += off;
		*ends = e->origin.ends;
		return true;
	}
	return false;
}

void decode_cache_add(struct decode_cache *k, const u8 *bytes, const struct op *o,
                      const struct decode_origin *origin)
{
	struct entry e = {.op = *o, .origin = *origin};
	struct decode_form d;
	unsigned slot;
	u64 key;

	if (!o->len)
		return;
	if (decode_form(bytes, o->len, o->off, &d)) {
		struct op again;

		fill(&e, bytes, &d, o->off, &again);
		if (memcmp(&again, o, sizeof(again)) != 0)
			return;
		key = d.key;
	} else {
		if (o->len > LONGEST || origin->branch)
			return;
		e.op.off = 0;
		if (o->base == SREG_PAGE_RIP)
			e.op.disp -= o->off;
		key = key_of(load(bytes, o->len), o->len);
	}
	slot = slot_of(key);
	k->keys[slot] = key;
	k->entries[slot] = e;
}
