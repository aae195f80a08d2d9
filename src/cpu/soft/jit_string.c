/*
 * REP MOVS and REP STOS in code: forward, with each operand in one page that the TLB knows, by the host's own
 * REP of the same element size. Everything else (longer, backward, a miss) is the interpreter's, from where
 * it stands: no register has changed then.
 */
#include "cpu/soft/block.h"
#include "cpu/soft/jit_tr.h"
#include "cpu/soft/mmu.h"

/* T0: host address. Goes to the interpreter unless count elements from there lie in one page; keeps T1. */
static void check_range(struct tr *t, unsigned op, unsigned shift)
{
	struct soft_cpu *c = t->c;

	e_store(&t->b, &c->jx.temp, T1);
	e_rr(&t->b, false, OP_STORE, T0, T1); /* mov %r10d, %r11d */
	e_group1(&t->b, false, 4, T1, PAGE_SIZE - 1);
	e_mem(&t->b, true, OP_LEA, T1, T1, REG_RCX, shift, 0);
	e_group1(&t->b, true, 7, T1, PAGE_SIZE);
	tr_cold(t, COLD_INTERPRET, op, e_jcc(&t->b, CC_A));
	e_load(&t->b, T1, &c->jx.temp);
}

static void rep(struct tr *t, unsigned size, unsigned opcode)
{
	e8(&t->b, 0xf3);
	if (size == 2)
		e8(&t->b, 0x66);
	if (size == 8)
		e8(&t->b, 0x48);
	e8(&t->b, size == 1 ? opcode : opcode + 1);
}

/* What reg will be goes to `at`. */
static void note_end(struct tr *t, unsigned reg, unsigned shift, const void *at)
{
	e_mem(&t->b, true, OP_LEA, reg, (int)reg, REG_RCX, shift, 0);
	e_store(&t->b, at, reg);
}

bool tr_string(struct tr *t, unsigned op, const struct op *o, const struct jit_insn *n)
{
	static const u8 backward[] = {0xf6, 0x04, 0x25}; /* testb $…, … */
	bool movs = n->i.z.opcode == 0xa4 || n->i.z.opcode == 0xa5;
	bool stos = n->i.z.opcode == 0xaa || n->i.z.opcode == 0xab;
	struct soft_cpu *c = t->c;
	unsigned shift;

	if (n->i.z.opcode_map != ZYDIS_OPCODE_MAP_DEFAULT ||
	    n->i.z.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY || (!movs && !stos) ||
	    !(o->flags & (OPF_REP | OPF_REPNE)) || o->asize != 8 || (movs && o->seg >= SEG_FS))
		return false;
	shift = (unsigned)__builtin_ctz(o->size);
	tr_save_flags(t, n->live);
	t->host = false;
	for (unsigned i = 0; i < sizeof(backward); i++)
		e8(&t->b, backward[i]);
	e32(&t->b, low(&c->rflags) + 1);
	e8(&t->b, FLAG_DF >> 8);
	tr_cold(t, COLD_INTERPRET, op, e_jcc(&t->b, CC_NE));
	e_group1(&t->b, true, 7, REG_RCX, (s32)(PAGE_SIZE >> shift));
	tr_cold(t, COLD_INTERPRET, op, e_jcc(&t->b, CC_A));
	/* The host's REP tells by its addresses, of which a window has others, whether what it reads is what it wrote. */
	t->direct = movs;
	if (movs) {
		e_mov(&t->b, T0, REG_RSI);
		tr_check(t, op, o->size, false, false);
		check_range(t, op, shift);
		e_store(&t->b, &c->jx.target_code, T0);
	}
	e_mov(&t->b, T0, REG_RDI);
	tr_check(t, op, o->size, true, true);
	t->direct = false;
	check_range(t, op, shift);
	note_end(t, REG_RDI, shift, &c->jx.target_rip);
	e_mov(&t->b, REG_RDI, T0);
	if (movs) {
		note_end(t, REG_RSI, shift, &c->jx.temp2);
		e_load(&t->b, REG_RSI, &c->jx.target_code);
	}
	rep(t, o->size, movs ? 0xa4 : 0xaa);
	e_load(&t->b, REG_RDI, &c->jx.target_rip);
	if (movs)
		e_load(&t->b, REG_RSI, &c->jx.temp2);
	tr_check_written(t, op, false);
	return true;
}
