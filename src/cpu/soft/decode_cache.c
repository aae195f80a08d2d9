#include "cpu/soft/decode_cache.h"

#include <stdlib.h>

enum { ENTRIES = 2048, LONGEST = 7, LENGTH = 56 /* its place in a key */ };

struct decode_cache {
	u64 keys[ENTRIES]; /* bytes, and their number above them; 0: none */
	struct entry {
		struct op op; /* at page offset 0 */
		bool ends;
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

	if (len >= sizeof(v))
		return *(const u64 *)bytes;
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

bool decode_cache_find(const struct decode_cache *k, const u8 *bytes, size_t len, unsigned off, struct op *o,
                       bool *ends)
{
	u64 v = load(bytes, len);

	for (unsigned n = 1; n <= LONGEST && n <= len; n++) {
		u64 key = key_of(v, n);
		unsigned slot = slot_of(key);
		const struct entry *e = &k->entries[slot];

		if (k->keys[slot] != key)
			continue;
		*o = e->op;
		o->off = (u16)off;
		if (o->base == SREG_PAGE_RIP)
			o->disp += off;
		*ends = e->ends;
		return true;
	}
	return false;
}

void decode_cache_add(struct decode_cache *k, const u8 *bytes, const struct op *o, bool ends)
{
	u64 key;
	unsigned slot;

	if (!o->len || o->len > LONGEST)
		return;
	key = key_of(load(bytes, o->len), o->len);
	slot = slot_of(key);
	k->keys[slot] = key;
	k->entries[slot] = (struct entry){.op = *o, .ends = ends};
	k->entries[slot].op.off = 0;
	if (o->base == SREG_PAGE_RIP)
		k->entries[slot].op.disp -= o->off;
}
