/* IN, OUT, INS, OUTS (SDM vol. 1 ch. 19.5, vol. 2). */
#include "cpu/soft/sys.h"

/* IOPL, or the bitmap of a 32- or 64-bit TSS. */
static void check_port(struct soft_cpu *c, u16 port, unsigned size)
{
	u32 at, bits;

	if (!soft_protected(c) || (c->cpl <= soft_iopl(c) && !soft_v86(c)))
		return;
	if ((c->tr.attr & 0xf) < DESC_TSS32 || c->tr.limit < 0x67)
		soft_raise_error(c, EXC_GP, 0);
	at = (u32)soft_sys_load(c, c->tr.base + 0x66, 2) + port / 8;
	/* Two bytes are read, always: the bitmap ends with a byte of ones. */
	if (at + 1 > c->tr.limit)
		soft_raise_error(c, EXC_GP, 0);
	bits = (u32)soft_sys_load(c, c->tr.base + at, 2);
	if (bits >> (port & 7) & MASK(size))
		soft_raise_error(c, EXC_GP, 0);
}

static u32 port_read(struct soft_cpu *c, u16 port, unsigned size)
{
	const struct cpu_board *board = soft_board(c);

	return board->pio_read(board->ctx, &c->base, port, size) & (u32)MASK(size * 8);
}

static void port_write(struct soft_cpu *c, u16 port, unsigned size, u32 value)
{
	const struct cpu_board *board = soft_board(c);

	board->pio_write(board->ctx, &c->base, port, size, value & (u32)MASK(size * 8));
}

static u16 port_operand(const struct soft_cpu *c, const struct op *o, unsigned n)
{
	return op_kind(o, n) == KIND_IMM ? o->imm & 0xff : (u16)c->regs[REG_RDX];
}

static const struct op *in(struct soft_cpu *c, const struct op *o)
{
	u16 port = port_operand(c, o, 1);
	unsigned size = o->size;

	check_port(c, port, size);
	soft_reg_set(c, REG_RAX * 8, size, port_read(c, port, size));
	soft_debug_io(c, port, size);
	return soft_end(c, o);
}

static const struct op *out(struct soft_cpu *c, const struct op *o)
{
	u16 port = port_operand(c, o, 0);
	unsigned size = o->size;

	check_port(c, port, size);
	port_write(c, port, size, (u32)soft_reg_get(c, REG_RAX * 8, size));
	soft_debug_io(c, port, size);
	return soft_end(c, o);
}

/* ---- INS, OUTS ---- */

static u64 index_get(const struct soft_cpu *c, const struct op *o, unsigned reg)
{
	return c->regs[reg] & MASK(o->asize * 8);
}

static void index_add(struct soft_cpu *c, const struct op *o, unsigned reg, u64 n)
{
	soft_reg_set(c, reg * 8, o->asize, c->regs[reg] + n);
}

static void ins_once(struct soft_cpu *c, const struct op *o, u16 port, unsigned size, u64 step)
{
	u64 linear = soft_seg_linear(c, SEG_ES, index_get(c, o, REG_RDI), size, SOFT_WRITE);

	/* The device is asked only when the store cannot fail. */
	soft_probe(c, linear, size, SOFT_WRITE, SEG_ES);
	soft_store(c, linear, size, port_read(c, port, size), SEG_ES);
	index_add(c, o, REG_RDI, step);
}

static void outs_once(struct soft_cpu *c, const struct op *o, u16 port, unsigned size, u64 step)
{
	u64 linear = soft_seg_linear(c, o->seg, index_get(c, o, REG_RSI), size, SOFT_READ);

	port_write(c, port, size, (u32)soft_load(c, linear, size, o->seg));
	index_add(c, o, REG_RSI, step);
}

static const struct op *string_io(struct soft_cpu *c, const struct op *o,
                                  void (*once)(struct soft_cpu *, const struct op *, u16, unsigned, u64))
{
	unsigned size = (unsigned)o->imm;
	u64 step = c->rflags & FLAG_DF ? -(u64)size : size;
	bool repeated = o->flags & (OPF_REP | OPF_REPNE);
	u16 port = (u16)c->regs[REG_RDX];

	if (repeated && !index_get(c, o, REG_RCX))
		return soft_end(c, o);
	check_port(c, port, size);
	do {
		once(c, o, port, size, step);
		soft_debug_io(c, port, size);
		if (!repeated)
			return soft_end(c, o);
		index_add(c, o, REG_RCX, -1ULL);
		if (!index_get(c, o, REG_RCX))
			return soft_end(c, o);
	} while (!c->step &&
	         !(atomic_load_explicit(&c->base.events, memory_order_relaxed) & c->events_enabled));
	/* Interrupted: the rest is done when the instruction runs again. */
	if (c->step & (SOFT_STEP_TF | SOFT_STEP_BREAKPOINT))
		c->rflags |= FLAG_RF;
	c->rip = soft_op_rip(c, o);
	return NULL;
}

static const struct op *ins(struct soft_cpu *c, const struct op *o)
{
	return string_io(c, o, ins_once);
}
static const struct op *outs(struct soft_cpu *c, const struct op *o)
{
	return string_io(c, o, outs_once);
}

static bool bind_string(struct op *o, const struct insn *i)
{
	switch (i->z.mnemonic) {
	case ZYDIS_MNEMONIC_INSB:
	case ZYDIS_MNEMONIC_OUTSB:
		o->imm = 1;
		break;
	case ZYDIS_MNEMONIC_INSW:
	case ZYDIS_MNEMONIC_OUTSW:
		o->imm = 2;
		break;
	default:
		o->imm = 4;
	}
	switch (i->z.mnemonic) {
	case ZYDIS_MNEMONIC_INSB:
	case ZYDIS_MNEMONIC_INSW:
	case ZYDIS_MNEMONIC_INSD:
		o->fn = ins;
		break;
	default:
		o->fn = outs;
	}
	return true;
}

/* The width is that of the accumulator operand. */
static bool bind_in(struct op *o, const struct insn *i)
{
	o->size = (u8)(i->operands[0].size / 8);
	o->fn = in;
	return true;
}

static bool bind_out(struct op *o, const struct insn *i)
{
	o->size = (u8)(i->operands[1].size / 8);
	o->fn = out;
	return true;
}

const struct opdef soft_sys_io[] = {
        {ZYDIS_MNEMONIC_IN, OPDEF_END, NULL, bind_in},
        {ZYDIS_MNEMONIC_OUT, OPDEF_END, NULL, bind_out},
        {ZYDIS_MNEMONIC_INSB, OPDEF_END, NULL, bind_string},
        {ZYDIS_MNEMONIC_INSW, OPDEF_END, NULL, bind_string},
        {ZYDIS_MNEMONIC_INSD, OPDEF_END, NULL, bind_string},
        {ZYDIS_MNEMONIC_OUTSB, OPDEF_END, NULL, bind_string},
        {ZYDIS_MNEMONIC_OUTSW, OPDEF_END, NULL, bind_string},
        {ZYDIS_MNEMONIC_OUTSD, OPDEF_END, NULL, bind_string},
        {0},
};
