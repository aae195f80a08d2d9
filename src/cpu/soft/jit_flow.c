#include "cpu/soft/block.h"
#include "cpu/soft/jit_tr.h"
#include "cpu/soft/mmu.h"

/* ---- jumps ---- */

/* T0: rip. Leaves its code's address in T1 and rip in T0, or goes to the way out. */
static void probe(struct tr *t, struct cold miss)
{
	static const u8 hash[] = {0xc4, 0x43, 0xfb, 0xf0, 0xda, 0x0c, /* rorx $12, %r10, %r11 */
	                          0x45, 0x31, 0xd3,                   /* xor %r10d, %r11d */
	                          0x41, 0x81, 0xe3};                  /* and $…, %r11d */
	struct soft_jit_jump *jumps = t->c->jit_jumps;
	u8 *site1, *site2;

	for (unsigned i = 0; i < sizeof(hash); i++)
		e8(&t->b, hash[i]);
	e32(&t->b, SOFT_JIT_JUMPS - 1);
	e_rr(&t->b, false, 0xc1, 4, T1); /* shl */
	e8(&t->b, 4);
	_Static_assert(sizeof(*jumps) == 16, "by shl");
	e_mem(&t->b, true, OP_CMP, T0, T1, NO_REG, 0, low(&jumps->rip));
	site1 = e_jcc(&t->b, CC_NE);
	e_abs(&t->b, false, OP_LOAD, T0, &t->c->jx.key);
	e_mem(&t->b, false, OP_CMP, T0, T1, NO_REG, 0, low(&jumps->key));
	site2 = e_jcc(&t->b, CC_NE);
	e_mem(&t->b, true, OP_LOAD, T0, T1, NO_REG, 0, low(&jumps->rip));
	e_mem(&t->b, false, OP_LOAD, T1, T1, NO_REG, 0, low(&jumps->code));
	tr_cold(t, miss.kind, miss.op, site1)->disp = miss.disp;
	tr_cold(t, miss.kind, miss.op, site2)->disp = miss.disp;
	t->host = false;
}

void tr_rip_to_t0(struct tr *t, s64 disp)
{
	e_load(&t->b, T0, &t->c->regs[SREG_PAGE_RIP]);
	if (disp)
		e_mem(&t->b, true, OP_LEA, T0, T0, NO_REG, 0, disp);
}

void tr_far_jump(struct tr *t, s64 disp)
{
	tr_rip_to_t0(t, disp);
	probe(t, (struct cold){.kind = COLD_MISS, .disp = disp});
	e_jmp_reg(&t->b, T1);
}

static u32 known(struct tr *t, unsigned off, bool fast)
{
	struct soft_block *to;
	u32 code;

	if (t->c->lockstep)
		return 0;
	if (off == t->block->off && t->mode == t->entry_mode)
		return t->check;
	to = soft_block_find(t->c, t->block->gpa, off, t->block->mode);
	code = to ? to->code[t->mode] : 0;
	return code && fast ? code + JIT_CHECK_SIZE : code;
}

void tr_link(struct tr *t, u8 *from, unsigned off, bool fast)
{
	u32 code = known(t, off, fast);

	if (code) {
		e_fix(&t->b, from, code);
	} else {
		struct cold *k = tr_cold(t, COLD_CHAIN, fast + 2 * t->mode, from);

		k->disp = (s64)off;
	}
}

u8 tr_live_after_jump(struct tr *t, const struct op *o)
{
	if (op_kind(o, 0) != KIND_IMM || !jit_in_page(o->disp))
		return JIT_ALL;
	return jit_live_at(t->c->jit->page, (unsigned)o->disp, 3);
}

static void jump(struct tr *t, const struct op *o)
{
	if (jit_in_page(o->disp))
		tr_link(t, e_jmp_later(&t->b), (unsigned)o->disp, o->disp > o->off);
	else
		tr_far_jump(t, o->disp);
}

void tr_jcc(struct tr *t, const struct op *o, const struct jit_insn *n)
{
	u8 *from;

	tr_save_flags(t, tr_live_after_jump(t, o));
	tr_need_flags(t, n->read);
	from = e_jcc(&t->b, n->i.z.opcode & 15);
	if (jit_in_page(o->disp))
		tr_link(t, from, (unsigned)o->disp, o->disp > o->off);
	else
		tr_cold(t, COLD_FAR, 0, from)->disp = o->disp;
}

/* Target of an indirect jump or call to T0. */
static void target(struct tr *t, unsigned op, const struct op *o)
{
	if (op_kind(o, 0) == KIND_REG) {
		unsigned reg = o->r[0] >> 3;

		if (jit_displaced(reg))
			e_load(&t->b, T0, &t->c->regs[reg]);
		else
			e_mov(&t->b, T0, reg);
		return;
	}
	tr_address(t, o);
	tr_check(t, op, 8, false, false);
	e_mem(&t->b, true, OP_LOAD, T0, T0, NO_REG, 0, 0);
}

void tr_call(struct tr *t, unsigned op, const struct op *o)
{
	bool direct = op_kind(o, 0) == KIND_IMM, near = direct && jit_in_page(o->disp);
	struct soft_cpu *c = t->c;

	tr_save_flags(t, tr_live_after_jump(t, o));
	if (!near) {
		if (direct)
			tr_rip_to_t0(t, o->disp);
		else
			target(t, op, o);
		probe(t, (struct cold){.kind = COLD_INTERPRET, .op = (u16)op});
		e_store(&t->b, &c->jx.target_rip, T0);
		e_store(&t->b, &c->jx.target_code, T1);
	}
	tr_push_check(t, op);
	e_store(&t->b, &c->jx.temp, T1);
	e_load(&t->b, T1, &c->regs[SREG_PAGE_RIP]);
	e_mem(&t->b, true, OP_LEA, T1, T1, NO_REG, 0, o->off + o->len);
	e_mem(&t->b, true, OP_STORE, T1, T0, NO_REG, 0, 0);
	tr_move_rsp(t, -8);
	e_load(&t->b, T1, &c->jx.temp);
	tr_check_written(t, op, true);
	if (near) {
		tr_link(t, e_jmp_later(&t->b), (unsigned)o->disp, false);
	} else {
		e_load(&t->b, T0, &c->jx.target_rip);
		e_jmp_abs(&t->b, &c->jx.target_code);
	}
}

void tr_ret(struct tr *t, unsigned op, const struct op *o)
{
	tr_save_flags(t, JIT_ALL);
	e_mov(&t->b, T0, REG_RSP);
	tr_check(t, op, 8, false, false);
	e_mem(&t->b, true, OP_LOAD, T0, T0, NO_REG, 0, 0);
	probe(t, (struct cold){.kind = COLD_INTERPRET, .op = (u16)op});
	tr_move_rsp(t, 8 + (s32)o->imm);
	e_jmp_reg(&t->b, T1);
}

void tr_jmp(struct tr *t, unsigned op, const struct op *o)
{
	tr_save_flags(t, tr_live_after_jump(t, o));
	if (op_kind(o, 0) == KIND_IMM) {
		jump(t, o);
	} else {
		target(t, op, o);
		probe(t, (struct cold){.kind = COLD_INTERPRET, .op = (u16)op});
		e_jmp_reg(&t->b, T1);
	}
}
