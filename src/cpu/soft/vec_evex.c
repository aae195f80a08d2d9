/*
 * AVX-512 operands in memory under a mask, gathers and scatters. Elements that the mask does not select touch
 * no memory (SDM vol. 1 15.6.4).
 *
 * Operands under a mask. If all of the operand can be had, the instruction itself does the rest: what it
 * reads and does not use nobody sees, and it writes only what it should. Else the selected elements go
 * through a buffer one by one. A stub stores the mask register. Elements are the memory operand's, and have a
 * bit each; in broadcasts all the bits for which they are repeated; scalars have one bit; expanding loads and
 * compressing stores have as many elements as bits are set. What is exempt from this (exception classes NF)
 * reads the operand whole, and faults for all of it.
 *
 * Gathers and scatters work on the parked state, element by element; the mask's bit goes with each (SDM vol.
 * 2, VPGATHERDD, VPSCATTERDD).
 */
#include "cpu/soft/mmu.h"
#include "cpu/soft/vec.h"

/* vec_info.aux: mask stub in 14:0 of operands; gathers: */
enum { AUX_REG = 0, AUX_INDEX = 5, AUX_MASK = 10 };
/* vec_info.gpr, of operands; gpr_size: bits of the mask that count. */
enum { ALL_FAULT = 16 }; /* vec_info.how, of stores: elements that are not selected, too */
enum { BITS_EACH, BITS_REPEATED, BITS_PACKED, BITS_ONE };

static u64 take_mask(struct soft_cpu *c, const struct vec_info *i)
{
	u64 mask = 0;

	vec_enter(c);
	((vec_stub_fn)vec_stub_at(c, i->aux))(&mask);
	return mask;
}

/* Which elements of the operand are touched; bits: of the mask that count. */
static u64 selected(const struct vec_info *i, u64 mask)
{
	unsigned count = i->size / i->elem, bits = i->gpr_size;
	u64 found = 0;

	mask &= MASK(bits);
	switch (i->gpr) {
	case BITS_PACKED:
		return MASK((unsigned)__builtin_popcountll(mask));
	case BITS_ONE:
		return mask & 1;
	case BITS_REPEATED:
		for (unsigned n = 0; n < bits; n += count)
			found |= mask >> n;
		return found & MASK(count);
	default:
		return mask & MASK(count);
	}
}

static u64 element_linear(struct soft_cpu *c, const struct op *o, unsigned n, enum soft_access access)
{
	const struct vec_info *i = vec_info(o);

	return soft_seg_linear(c, o->seg, op_offset(c, o) + n * i->elem, i->elem, access);
}

static u64 element_load(struct soft_cpu *c, u64 linear, unsigned size, unsigned seg)
{
	u64 v = 0;

	soft_read_bytes(c, linear, &v, size, seg);
	return v;
}

/* Of the elements that are touched, if any. #AC is for elements that are misaligned. */
static void alignment(struct soft_cpu *c, const struct op *o, u64 found, enum soft_access access)
{
	const struct vec_info *i = vec_info(o);
	u64 linear;

	if (!found)
		return;
	linear = element_linear(c, o, (unsigned)__builtin_ctzll(found), access);
	if ((c->segbase[o->seg] + op_offset(c, o)) & i->align)
		soft_raise_error(c, EXC_GP, 0);
	soft_check_align(c, linear, i->elem);
}

static void evex_call(struct soft_cpu *c, const struct op *o, const void *p)
{
	vec_enter(c);
	((vec_stub_fn)o->stub)(p);
	vec_leave(c);
}

/* The operand if all of it may be touched as it is: in a page that the TLB has, and aligned; else NULL. */
static inline const struct soft_tlb_entry *whole(struct soft_cpu *c, const struct op *o,
                                                 enum soft_access access, void **host)
{
	const struct vec_info *i = vec_info(o);
	const struct soft_tlb_entry *e;
	u64 linear;

	if (unlikely(!c->long64))
		return NULL;
	linear = op_linear(c, o, i->size, access);
	e = soft_tlb_entry(c, linear);
	if (unlikely(!soft_tlb_hit(c, access == SOFT_WRITE ? e->tag_write : e->tag_read, linear, i->size) ||
	             linear & i->align))
		return NULL;
	*host = soft_tlb_host(e, linear);
	return e;
}

const struct op *evex_load(struct soft_cpu *c, const struct op *o)
{
	const struct vec_info *i = vec_info(o);
	u8 data[64] __attribute__((aligned(64))) = {0};
	void *host;
	u64 found;

	vec_check(c, o);
	if (likely(whole(c, o, SOFT_READ, &host))) {
		evex_call(c, o, host);
		return o + 1;
	}
	found = selected(i, take_mask(c, i));
	alignment(c, o, found, SOFT_READ);
	for (unsigned n = 0; n * i->elem < i->size; n++) {
		u64 v;

		if (!(found >> n & 1))
			continue;
		v = element_load(c, element_linear(c, o, n, SOFT_READ), i->elem, o->seg);
		vec_copy(data + n * i->elem, &v, i->elem);
	}
	evex_call(c, o, data);
	return o + 1;
}

const struct op *evex_store(struct soft_cpu *c, const struct op *o)
{
	const struct vec_info *i = vec_info(o);
	const struct soft_tlb_entry *e;
	u8 data[64] __attribute__((aligned(64))) = {0};
	void *host;
	u64 found;

	vec_check(c, o);
	e = whole(c, o, SOFT_WRITE, &host);
	if (likely(e)) {
		evex_call(c, o, host);
		if (unlikely(atomic_load_explicit(e->page, memory_order_relaxed) & PHYSMEM_PAGE_CODE))
			soft_code_written(c, e->page);
		return o + 1;
	}
	found = selected(i, take_mask(c, i));
	/* The pointer is not written through. */
	if (i->how & ALL_FAULT)
		soft_write_ptr(c, op_linear(c, o, i->size, SOFT_WRITE), i->size, o->seg);
	alignment(c, o, found, SOFT_WRITE);
	for (unsigned n = 0; n * i->elem < i->size; n++)
		if (found >> n & 1)
			soft_probe(c, element_linear(c, o, n, SOFT_WRITE), i->elem, SOFT_WRITE, o->seg);
	evex_call(c, o, data);
	for (unsigned n = 0; n * i->elem < i->size; n++)
		if (found >> n & 1)
			soft_write_bytes(c, element_linear(c, o, n, SOFT_WRITE), data + n * i->elem, i->elem,
			                 o->seg);
	return o + 1;
}

/* ---- gathers, scatters ---- */

/* size: of all elements; elem: data in 3:0, index in 7:4. */
struct vsib {
	unsigned reg, index, mask, elem, index_size, count;
};

static struct vsib vsib_of(const struct op *o)
{
	const struct vec_info *i = vec_info(o);
	unsigned elem = i->elem & 15;

	return (struct vsib){.reg = i->aux >> AUX_REG & 31,
	                     .index = i->aux >> AUX_INDEX & 31,
	                     .mask = i->aux >> AUX_MASK & 7,
	                     .elem = elem,
	                     .index_size = i->elem >> 4,
	                     .count = i->size / elem};
}

static u64 *parked_mask(struct soft_cpu *c, const struct vsib *v)
{
	soft_vec_park(c);
	return (u64 *)(c->xsave + vec_layout.offset[1]) + v->mask;
}

static u64 vsib_linear(struct soft_cpu *c, const struct op *o, const struct vsib *v, unsigned n,
                       enum soft_access access)
{
	u64 offset = v->index_size == 4
	                     ? (u64)(s64)(s32)*vec_lane(c, v->index, n)
	                     : *vec_lane(c, v->index, 2 * n) | (u64)*vec_lane(c, v->index, 2 * n + 1) << 32;

	offset = op_offset(c, o) + (offset << o->scale);
	if (o->asize != 8)
		offset &= MASK(o->asize * 8);
	return soft_seg_linear(c, o->seg, offset, v->elem, access);
}

static const struct op *evex_gather(struct soft_cpu *c, const struct op *o)
{
	struct vsib v = vsib_of(o);
	unsigned w = v.elem / 4;

	vec_check(c, o);
	soft_vec_park(c);
	vec_lanes_written(c);
	for (unsigned n = 0; n < v.count; n++) {
		u64 data;

		if (!(*parked_mask(c, &v) >> n & 1))
			continue;
		data = element_load(c, vsib_linear(c, o, &v, n, SOFT_READ), v.elem, o->seg);
		*parked_mask(c, &v) &= ~BIT(n);
		vec_lanes_written(c);
		*vec_lane(c, v.reg, n * w) = (u32)data;
		if (w == 2)
			*vec_lane(c, v.reg, 2 * n + 1) = (u32)(data >> 32);
	}
	*parked_mask(c, &v) = 0;
	vec_lanes_written(c);
	for (unsigned n = v.count * w; n < 16; n++)
		*vec_lane(c, v.reg, n) = 0;
	return o + 1;
}

static const struct op *evex_scatter(struct soft_cpu *c, const struct op *o)
{
	struct vsib v = vsib_of(o);
	unsigned w = v.elem / 4;

	vec_check(c, o);
	soft_vec_park(c);
	for (unsigned n = 0; n < v.count; n++) {
		u32 data[2] = {0};

		if (!(*parked_mask(c, &v) >> n & 1))
			continue;
		data[0] = *vec_lane(c, v.reg, n * w);
		if (w == 2)
			data[1] = *vec_lane(c, v.reg, 2 * n + 1);
		soft_write_bytes(c, vsib_linear(c, o, &v, n, SOFT_WRITE), data, v.elem, o->seg);
		*parked_mask(c, &v) &= ~BIT(n);
	}
	*parked_mask(c, &v) = 0;
	return o + 1;
}

static unsigned evex_reg(ZydisRegister r)
{
	return (unsigned)ZydisRegisterGetId(r) & 31;
}

static void bind_vsib(struct op *o, const struct insn *i, const ZydisDecodedOperand *m)
{
	bool scatter = i->operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY;
	const ZydisDecodedOperand *reg = &i->operands[scatter ? 2 : 0];
	unsigned elem = m->element_size / 8, bytes = i->z.avx.vector_length / 8u;
	/* Dword indices: even opcodes. */
	unsigned index_size = i->z.opcode & 1 ? 8 : 4, count = bytes / max(elem, index_size);

	*vec_info(o) = (struct vec_info){
	        .size = (u8)(count * elem),
	        .elem = (u8)(elem | index_size << 4),
	        .aux = (u16)(evex_reg(reg->reg.value) << AUX_REG | evex_reg(m->mem.index) << AUX_INDEX |
	                     evex_reg(i->operands[1].reg.value) << AUX_MASK),
	};
	o->fn = scatter ? evex_scatter : evex_gather;
}

/* ---- binding ---- */

/* Do elements of memory that are not selected fault all the same? */
static bool takes_all(const struct insn *i)
{
	switch (i->z.meta.exception_class) {
	case ZYDIS_EXCEPTION_CLASS_E1NF:
	case ZYDIS_EXCEPTION_CLASS_E2NF:
	case ZYDIS_EXCEPTION_CLASS_E3NF:
	case ZYDIS_EXCEPTION_CLASS_E4NF:
	case ZYDIS_EXCEPTION_CLASS_E5NF:
	case ZYDIS_EXCEPTION_CLASS_E6NF:
	case ZYDIS_EXCEPTION_CLASS_E9NF:
	case ZYDIS_EXCEPTION_CLASS_E10NF:
	case ZYDIS_EXCEPTION_CLASS_E11NF:
		return true;
	default:
		break;
	}
	switch (i->z.mnemonic) {
	case ZYDIS_MNEMONIC_VDBPSADBW:
	case ZYDIS_MNEMONIC_VCVTNE2PS2BF16:
	case ZYDIS_MNEMONIC_VGF2P8AFFINEQB:
	case ZYDIS_MNEMONIC_VGF2P8AFFINEINVQB:
		return true;
	default:
		return false;
	}
}

static bool is_packed(unsigned mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_VCOMPRESSPD:
	case ZYDIS_MNEMONIC_VCOMPRESSPS:
	case ZYDIS_MNEMONIC_VPCOMPRESSB:
	case ZYDIS_MNEMONIC_VPCOMPRESSD:
	case ZYDIS_MNEMONIC_VPCOMPRESSQ:
	case ZYDIS_MNEMONIC_VPCOMPRESSW:
	case ZYDIS_MNEMONIC_VEXPANDPD:
	case ZYDIS_MNEMONIC_VEXPANDPS:
	case ZYDIS_MNEMONIC_VPEXPANDB:
	case ZYDIS_MNEMONIC_VPEXPANDD:
	case ZYDIS_MNEMONIC_VPEXPANDQ:
	case ZYDIS_MNEMONIC_VPEXPANDW:
		return true;
	default:
		return false;
	}
}

/* How bits and elements go together. */
static void bind_bits(struct vec_info *info, const struct insn *i, const ZydisDecodedOperand *m)
{
	unsigned largest = 8;

	info->elem = (u8)(m->element_size / 8);
	if (info->elem > 8) /* as a whole: VEXTRACTx */
		info->elem = i->z.raw.evex.W ? 8 : 4;
	info->gpr_size = info->size / info->elem;
	if (m->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE ||
	    i->z.avx.broadcast.mode == ZYDIS_BROADCAST_MODE_INVALID)
		info->gpr = is_packed(i->z.mnemonic) ? BITS_PACKED
		            : info->gpr_size == 1    ? BITS_ONE
		                                     : BITS_EACH;
	else
		info->gpr = BITS_REPEATED;
	if (i->z.mnemonic == ZYDIS_MNEMONIC_VPSHUFBITQMB) { /* controls are bytes */
		info->elem = 1;
		info->gpr_size = info->size;
	}
	if (info->gpr != BITS_REPEATED)
		return;
	for (unsigned k = 0; k < i->z.operand_count_visible; k++) {
		const ZydisDecodedOperand *p = &i->operands[k];

		if (p == m || (p->type == ZYDIS_OPERAND_TYPE_REGISTER &&
		               ZydisRegisterGetClass(p->reg.value) != ZYDIS_REGCLASS_MASK))
			largest = max(largest, (unsigned)p->element_size);
	}
	info->gpr_size = (u8)(i->z.avx.vector_length / largest);
}

bool vec_evex_bind(struct soft_cpu *c, struct op *o, const struct insn *i)
{
	const ZydisDecodedOperand *m = NULL;
	struct vec_info *info = vec_info(o);
	u8 code[15], store[] = {0xc4, 0xe1, 0xf8, 0x91, 0x07}; /* kmovq %k0, (%rdi) */
	int stub, mask_stub;

	for (unsigned k = 0; k < i->z.operand_count_visible; k++)
		if (i->operands[k].type == ZYDIS_OPERAND_TYPE_MEMORY)
			m = &i->operands[k];
	if (!m)
		return false;
	if (m->mem.type == ZYDIS_MEMOP_TYPE_VSIB) {
		bind_vsib(o, i, m);
		return true;
	}
	if (!i->z.avx.mask.reg || i->z.avx.mask.reg == ZYDIS_REGISTER_K0 ||
	    (!(m->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) && takes_all(i)))
		return false;
	store[4] = (u8)(store[4] | evex_reg(i->z.avx.mask.reg) << 3);
	stub = vec_stub_number(c, code, vec_encode(i, code, true, false, false));
	mask_stub = vec_stub_number(c, store, sizeof(store));
	*info = (struct vec_info){.size = (u8)(m->size / 8), .aux = (u16)mask_stub};
	bind_bits(info, i, m);
	if (takes_all(i))
		info->how |= ALL_FAULT;
	if (vec_is_aligned(&i->z, info->size))
		info->align = (u8)(info->size - 1);
	if (stub >= 0)
		o->stub = vec_stub_at(c, (unsigned)stub);
	o->fn = stub < 0 || mask_stub < 0                      ? NULL
	        : m->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE ? evex_store
	                                                       : evex_load;
	return true;
}
