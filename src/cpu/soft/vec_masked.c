/*
 * Masked moves and gathers: only elements that the mask selects touch memory, so the host instruction must
 * not be let near the guest's operand as a whole.
 *
 * Masked moves: one stub stores the mask register to a buffer. A load collects its elements in a second
 * buffer, from which the instruction itself loads; a store goes to such a buffer, and from there element by
 * element. Gathers work on the parked state, since elements that came before a fault are done (SDM vol. 2,
 * VPGATHERDD).
 */
#include "cpu/soft/mmu.h"
#include "cpu/soft/vec.h"

struct lanes {
	u8 mask[32], data[32];
	unsigned count, size; /* elements */
} __attribute__((aligned(32)));

static inline bool lane_on(const struct lanes *l, unsigned n)
{
	return l->mask[(n + 1) * l->size - 1] & 0x80;
}

static void lanes_init(struct soft_cpu *c, const struct op *o, struct lanes *l)
{
	const struct vec_info *i = vec_info(o);

	l->size = i->elem;
	l->count = i->size / i->elem;
	vec_enter(c);
	((vec_stub_fn)vec_stub_at(c, i->aux))(l->mask);
}

static u64 lane_linear(struct soft_cpu *c, const struct op *o, const struct lanes *l, unsigned n,
                       enum soft_access access)
{
	/* The address wraps at the address size, the operand from there on does not. */
	return soft_seg_linear(c, o->seg, op_offset(c, o) + n * l->size, l->size, access);
}

/* These instructions are exempt from alignment checks, which soft_load() and soft_store() make. */
static u64 element_load(struct soft_cpu *c, u64 linear, unsigned size, unsigned seg)
{
	u64 v = 0;

	if (likely(!(linear & (size - 1))))
		return soft_load(c, linear, size, seg);
	soft_read_bytes(c, linear, &v, size, seg);
	return v;
}

static void element_store(struct soft_cpu *c, u64 linear, unsigned size, u64 v, unsigned seg)
{
	if (likely(!(linear & (size - 1))))
		soft_store(c, linear, size, v, seg);
	else
		soft_write_bytes(c, linear, &v, size, seg);
}

static u64 lane_get(const u8 *data, unsigned size, unsigned n)
{
	const u8 *p = data + n * size;

	return size == 1 ? *p : size == 4 ? *(const u32 *)p : *(const u64 *)p;
}

static void lane_set(u8 *data, unsigned size, unsigned n, u64 v)
{
	u8 *p = data + n * size;

	if (size == 4)
		*(u32 *)p = (u32)v;
	else
		*(u64 *)p = v;
}

static const struct op *masked_load(struct soft_cpu *c, const struct op *o)
{
	struct lanes l;

	vec_check(c, o);
	lanes_init(c, o, &l);
	for (unsigned n = 0; n < l.count; n++) {
		u64 v = 0;

		if (lane_on(&l, n))
			v = element_load(c, lane_linear(c, o, &l, n, SOFT_READ), l.size, o->seg);
		lane_set(l.data, l.size, n, v);
	}
	vec_enter(c);
	((vec_stub_fn)o->stub)(l.data);
	vec_leave(c);
	return o + 1;
}

static const struct op *masked_store(struct soft_cpu *c, const struct op *o)
{
	struct lanes l;

	vec_check(c, o);
	lanes_init(c, o, &l);
	/*
	 * Those of single bytes check all of the operand: the SDM leaves that open, CPUs do it, as quadwords.
	 * The pointer is not written through.
	 */
	for (unsigned n = 0; l.size == 1 && n < l.count; n += 8)
		soft_write_ptr(c, soft_seg_linear(c, o->seg, op_offset(c, o) + n, 8, SOFT_WRITE), 8, o->seg);
	for (unsigned n = 0; l.size > 1 && n < l.count; n++)
		if (lane_on(&l, n))
			soft_probe(c, lane_linear(c, o, &l, n, SOFT_WRITE), l.size, SOFT_WRITE, o->seg);
	vec_enter(c);
	((vec_stub_fn)o->stub)(l.data);
	vec_leave(c);
	for (unsigned n = 0; n < l.count; n++)
		if (lane_on(&l, n))
			element_store(c, lane_linear(c, o, &l, n, SOFT_WRITE), l.size,
			              lane_get(l.data, l.size, n), o->seg);
	return o + 1;
}

/* aux: destination in 3:0, index in 7:4, mask in 11:8. size: bytes of the destination that elements fill. */
static const struct op *gather(struct soft_cpu *c, const struct op *o)
{
	const struct vec_info *i = vec_info(o);
	unsigned dest = i->aux & 15, index = i->aux >> 4 & 15, mask = i->aux >> 8 & 15;
	unsigned elem = i->elem & 15, index_size = i->elem >> 4, count = i->size / elem, w = elem / 4;

	vec_check(c, o);
	soft_vec_park(c);
	vec_lanes_written(c);
	for (unsigned n = 0; n < count; n++) {
		u64 offset, v;

		if (*vec_lane(c, mask, n * w + w - 1) & 0x80000000) {
			if (index_size == 4)
				offset = (u64)(s64)(s32)*vec_lane(c, index, n);
			else
				offset = *vec_lane(c, index, 2 * n) | (u64)*vec_lane(c, index, 2 * n + 1)
				                                              << 32;
			offset = op_offset(c, o) + (offset << o->scale);
			if (o->asize != 8)
				offset &= MASK(o->asize * 8);
			v = element_load(c, soft_seg_linear(c, o->seg, offset, elem, SOFT_READ), elem,
			                 o->seg);
			soft_vec_park(c);
			*vec_lane(c, dest, n * w) = (u32)v;
			if (w == 2)
				*vec_lane(c, dest, 2 * n + 1) = (u32)(v >> 32);
		}
		for (unsigned k = 0; k < w; k++)
			*vec_lane(c, mask, n * w + k) = 0;
	}
	for (unsigned n = count * w; n < (vec_layout.components & XSTATE_ZMMH ? 16 : 8); n++)
		*vec_lane(c, dest, n) = *vec_lane(c, mask, n) = 0;
	return o + 1;
}

static unsigned reg_id(const ZydisDecodedOperand *p)
{
	return (unsigned)ZydisRegisterGetId(p->reg.value) & 15;
}

static bool bind_gather(struct op *o, const struct insn *i, unsigned elem, unsigned index_size)
{
	const ZydisDecodedOperand *p = i->operands;
	unsigned dest = reg_id(&p[0]), index = (unsigned)ZydisRegisterGetId(p[1].mem.index) & 15,
	         mask = reg_id(&p[2]);
	unsigned count = (i->z.avx.vector_length == 256 ? 32 : 16) / max(elem, index_size);

	*vec_info(o) = (struct vec_info){
	        .size = (u8)(count * elem),
	        .elem = (u8)(elem | index_size << 4),
	        .aux = (u16)(dest | index << 4 | mask << 8),
	};
	o->fn = gather;
	return true;
}

/* Stub that stores vector register reg, of the given kind, to (%rdi). */
static int store_stub(struct soft_cpu *c, ZydisRegister reg)
{
	u8 id = (u8)(ZydisRegisterGetId(reg) & 15), code[6];
	unsigned n = 0;

	switch (ZydisRegisterGetClass(reg)) {
	case ZYDIS_REGCLASS_MMX: /* movq */
		code[n++] = 0x0f;
		code[n++] = 0x7f;
		break;
	case ZYDIS_REGCLASS_XMM: /* movdqu */
		code[n++] = 0xf3;
		if (id & 8)
			code[n++] = 0x44;
		code[n++] = 0x0f;
		code[n++] = 0x7f;
		break;
	default: /* vmovdqu */
		code[n++] = 0xc5;
		code[n++] = (u8)((id & 8 ? 0 : 0x80) | 0x7e);
		code[n++] = 0x7f;
	}
	code[n++] = (u8)((id & 7) << 3 | 7);
	return vec_stub_number(c, code, n);
}

/* MASKMOVQ, (V)MASKMOVDQU: memory is at DS:rDI. */
static void bind_maskmov(struct soft_cpu *c, struct op *o, const struct insn *i)
{
	ZydisRegister data = ZYDIS_REGISTER_NONE, mask = ZYDIS_REGISTER_NONE;
	int data_stub, mask_stub;

	for (unsigned k = 0; k < i->z.operand_count; k++) {
		const ZydisDecodedOperand *p = &i->operands[k];

		if (p->type == ZYDIS_OPERAND_TYPE_REGISTER && p->encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG)
			data = p->reg.value;
		else if (p->type == ZYDIS_OPERAND_TYPE_REGISTER &&
		         p->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM)
			mask = p->reg.value;
		else if (p->type == ZYDIS_OPERAND_TYPE_MEMORY)
			o->seg = (u8)ZydisRegisterGetId(p->mem.segment);
	}
	o->base = REG_RDI;
	o->index = SREG_ZERO;
	o->disp = 0;
	o->asize = i->z.address_width / 8;
	data_stub = store_stub(c, data);
	mask_stub = store_stub(c, mask);
	*vec_info(o) = (struct vec_info){
	        .size = i->z.mnemonic == ZYDIS_MNEMONIC_MASKMOVQ ? 8 : 16, .elem = 1, .aux = (u16)mask_stub};
	if (data_stub >= 0)
		o->stub = vec_stub_at(c, (unsigned)data_stub);
	o->fn = data_stub < 0 || mask_stub < 0 ? NULL : masked_store;
}

/* V(P)MASKMOVx: the mask is operand 1, memory operand 2 or 0. */
static void bind_vmaskmov(struct soft_cpu *c, struct op *o, const struct insn *i, unsigned elem)
{
	bool store = i->operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY;
	u8 code[15];
	int stub = vec_stub_number(c, code, vec_encode(i, code, true, false, false));
	int mask_stub = store_stub(c, i->operands[1].reg.value);

	*vec_info(o) = (struct vec_info){
	        .size = i->z.avx.vector_length == 256 ? 32 : 16, .elem = (u8)elem, .aux = (u16)mask_stub};
	if (stub >= 0)
		o->stub = vec_stub_at(c, (unsigned)stub);
	o->fn = stub < 0 || mask_stub < 0 ? NULL : store ? masked_store : masked_load;
}

bool vec_masked_bind(struct soft_cpu *c, struct op *o, const struct insn *i)
{
	switch (i->z.mnemonic) {
	case ZYDIS_MNEMONIC_MASKMOVQ:
	case ZYDIS_MNEMONIC_MASKMOVDQU:
	case ZYDIS_MNEMONIC_VMASKMOVDQU:
		bind_maskmov(c, o, i);
		return true;
	case ZYDIS_MNEMONIC_VMASKMOVPS:
	case ZYDIS_MNEMONIC_VPMASKMOVD:
		bind_vmaskmov(c, o, i, 4);
		return true;
	case ZYDIS_MNEMONIC_VMASKMOVPD:
	case ZYDIS_MNEMONIC_VPMASKMOVQ:
		bind_vmaskmov(c, o, i, 8);
		return true;
	case ZYDIS_MNEMONIC_VGATHERDPS:
	case ZYDIS_MNEMONIC_VPGATHERDD:
		return bind_gather(o, i, 4, 4);
	case ZYDIS_MNEMONIC_VGATHERDPD:
	case ZYDIS_MNEMONIC_VPGATHERDQ:
		return bind_gather(o, i, 8, 4);
	case ZYDIS_MNEMONIC_VGATHERQPS:
	case ZYDIS_MNEMONIC_VPGATHERQD:
		return bind_gather(o, i, 4, 8);
	case ZYDIS_MNEMONIC_VGATHERQPD:
	case ZYDIS_MNEMONIC_VPGATHERQQ:
		return bind_gather(o, i, 8, 8);
	default:
		return false;
	}
}
