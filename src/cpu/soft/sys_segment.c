/* Segment registers as operands, and the bases of FS and GS. */
#include "cpu/soft/sys.h"

/* After a load of SS, interrupts and debug traps wait for the next instruction. */
static const struct op *after_load(struct soft_cpu *c, const struct op *o, unsigned seg)
{
	if (seg == SEG_SS) {
		c->shadow |= SOFT_SHADOW_SS;
		soft_update(c);
	}
	return soft_end(c, o);
}

const struct op *sys_mov_to_seg(struct soft_cpu *c, const struct op *o)
{
	u16 selector = (u16)op_read(c, o, 1, 2);

	segment_load(c, o->r[0], selector);
	return after_load(c, o, o->r[0]);
}

const struct op *sys_mov_from_seg(struct soft_cpu *c, const struct op *o)
{
	sys_write16(c, o, c->seg[o->r[1]].selector);
	return soft_end(c, o);
}

/* A 32-bit push of a selector writes only the lower half of its slot. */
static const struct op *push_seg(struct soft_cpu *c, const struct op *o)
{
	unsigned size = o->osize, width = size == 4 ? 2 : size;
	u64 sp = (c->regs[REG_RSP] - size) & soft_stack_mask(c);

	soft_store(c, soft_seg_linear(c, SEG_SS, sp, width, SOFT_WRITE), width, c->seg[o->r[0]].selector,
	           SEG_SS);
	soft_set_rsp(c, sp);
	return soft_end(c, o);
}

static const struct op *pop_seg(struct soft_cpu *c, const struct op *o)
{
	u16 selector = (u16)soft_peek(c, 2, 0);
	u64 mask = soft_stack_mask(c), rsp = c->regs[REG_RSP];

	segment_load(c, o->r[0], selector);
	rsp = (rsp & ~mask) | ((rsp + o->osize) & mask);
	c->regs[REG_RSP] = rsp;
	return after_load(c, o, o->r[0]);
}

static const struct op *load_far(struct soft_cpu *c, const struct op *o)
{
	u64 linear = op_linear(c, o, o->osize + 2, SOFT_READ);
	u64 offset = soft_load(c, linear, o->osize, o->seg);
	u16 selector = soft_load16(c, c->long64 ? linear + o->osize : (u32)(linear + o->osize), o->seg);

	segment_load(c, (unsigned)o->aux, selector);
	soft_reg_set(c, o->r[0], o->osize, offset);
	return soft_end(c, o);
}

static bool is_segment(const ZydisDecodedOperand *op)
{
	return op->type == ZYDIS_OPERAND_TYPE_REGISTER &&
	       ZydisRegisterGetClass(op->reg.value) == ZYDIS_REGCLASS_SEGMENT;
}

/* The width of a stack slot: REX.W changes nothing, 66 makes it 16 bits. */
static u8 slot_size(const struct op *o, const struct insn *i)
{
	if (i->mode != SOFT_MODE_LONG64)
		return o->osize;
	return i->z.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE && !i->z.raw.rex.W ? 2 : 8;
}

bool sys_bind_push(struct op *o, const struct insn *i)
{
	if (!is_segment(&i->operands[0]))
		return false;
	o->fn = push_seg;
	o->osize = slot_size(o, i);
	return true;
}

bool sys_bind_pop(struct op *o, const struct insn *i)
{
	if (!is_segment(&i->operands[0]) || o->r[0] == SEG_CS)
		return false;
	o->fn = pop_seg;
	o->osize = slot_size(o, i);
	return true;
}

bool sys_bind_load_far(struct op *o, const struct insn *i)
{
	switch (i->z.mnemonic) {
	case ZYDIS_MNEMONIC_LDS:
		o->aux = SEG_DS;
		break;
	case ZYDIS_MNEMONIC_LES:
		o->aux = SEG_ES;
		break;
	case ZYDIS_MNEMONIC_LFS:
		o->aux = SEG_FS;
		break;
	case ZYDIS_MNEMONIC_LGS:
		o->aux = SEG_GS;
		break;
	default:
		o->aux = SEG_SS;
	}
	o->osize = (u8)(i->operands[0].size / 8);
	o->fn = load_far;
	return true;
}

/* ---- bases ---- */

static void set_base(struct soft_cpu *c, unsigned seg, u64 base)
{
	c->seg[seg].base = c->segbase[seg] = base;
}

const struct op *sys_swapgs(struct soft_cpu *c, const struct op *o)
{
	u64 base = c->seg[SEG_GS].base;

	sys_need_long64(c);
	sys_need_cpl0(c);
	set_base(c, SEG_GS, c->kernel_gs_base);
	c->kernel_gs_base = base;
	return o + 1;
}

static void need_fsgsbase(struct soft_cpu *c)
{
	if (!c->long64 || !(c->cr4 & CR4_FSGSBASE))
		soft_raise(c, EXC_UD);
}

static const struct op *read_base(struct soft_cpu *c, const struct op *o, unsigned seg)
{
	need_fsgsbase(c);
	soft_reg_set(c, o->r[0], o->size, c->seg[seg].base);
	return o + 1;
}

static const struct op *write_base(struct soft_cpu *c, const struct op *o, unsigned seg)
{
	u64 v;

	need_fsgsbase(c);
	v = soft_reg_get(c, o->r[0], o->size);
	if (!canonical(v))
		soft_raise_error(c, EXC_GP, 0);
	set_base(c, seg, v);
	return o + 1;
}

const struct op *sys_rdfsbase(struct soft_cpu *c, const struct op *o)
{
	return read_base(c, o, SEG_FS);
}
const struct op *sys_rdgsbase(struct soft_cpu *c, const struct op *o)
{
	return read_base(c, o, SEG_GS);
}
const struct op *sys_wrfsbase(struct soft_cpu *c, const struct op *o)
{
	return write_base(c, o, SEG_FS);
}
const struct op *sys_wrgsbase(struct soft_cpu *c, const struct op *o)
{
	return write_base(c, o, SEG_GS);
}
