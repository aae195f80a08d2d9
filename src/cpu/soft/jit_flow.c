#include "cpu/soft/block.h"
#include "cpu/soft/jit_tr.h"
#include "cpu/soft/mmu.h"

/* ---- jumps ---- */

/* T0: rip. T1 = the address of its jump table entry. */
static void entry_of_rip(struct tr *t)
{
	static const u8 mix[] = {0xc4, 0x43, 0xfb, 0xf0, 0xda, 0x06, /* rorx $6, %r10, %r11 */
	                         0x47, 0x8d, 0x1c, 0x53};            /* lea (%r11,%r10,2), %r11d */
	static const u8 and_slot[] = {0x41, 0x81, 0xe3};             /* and $…, %r11d */
	const struct soft_jit *j = t->c->jit;

	_Static_assert(sizeof(struct jit_jump) == 16, "slot, times 16");
	e_bytes(&t->b, mix, sizeof(mix));
	e_bytes(&t->b, and_slot, sizeof(and_slot));
	e32(&t->b, (jit_jumps(j, t->mode) - 1) * (u32)sizeof(struct jit_jump));
	if (t->mode == SOFT_TLB_USER)
		e_abs(&t->b, true, OP_ADD, T1, &t->c->jx.table);
	else
		e_group1(&t->b, false, 0, T1, (s32)low(j->tables[t->mode - 1].jumps));
	t->host = false;
	t->addend = 0;
}

/* … of code that needs no flags, if it is in the first of its places. Returns the rel32 for a miss. */
static u8 *probe(struct tr *t)
{
	entry_of_rip(t);
	e_mem(&t->b, true, OP_CMP, T0, T1, NO_REG, 0, 0);
	return e_jcc(&t->b, CC_NE);
}

/* In the place that differs so from what T1 says? T1 says that one then. */
static u8 *probe_way(struct tr *t, unsigned way)
{
	e_group1(&t->b, true, 6, T1, (s32)(way * sizeof(struct jit_jump)));
	e_mem(&t->b, true, OP_CMP, T0, T1, NO_REG, 0, 0);
	return e_jcc(&t->b, CC_E);
}

/* Goes to `found` if it is there. */
static void probe_other(struct tr *t, unsigned way, u32 found)
{
	e_fix(&t->b, probe_way(t, way), found);
}

/* Behind a probe that missed, with flags saved. */
static void probe_others(struct tr *t, u32 found)
{
	probe_other(t, JIT_NEEDS, found);
	probe_other(t, JIT_OTHER, found);
	probe_other(t, JIT_NEEDS, found);
}

/* T0, rip of what is jumped to, is lost. */
static void enter_page(struct tr *t)
{
	struct soft_cpu *c = t->c;

	if (c->lockstep)
		e_store(&t->b, &c->rip, T0);
	e_group1(&t->b, true, 4, T0, -(s32)PAGE_SIZE);
	e_store(&t->b, &c->regs[SREG_PAGE_RIP], T0);
}

/* To where probe() found. */
static void jump_probed(struct tr *t)
{
	enter_page(t);
	e_mem(&t->b, false, 0xff, 4, T1, NO_REG, 0, offsetof(struct jit_jump, code));
}

/* The table entry for the jump that op is. */
static void look_up(struct tr *t, unsigned op, unsigned writer)
{
	u8 *miss = probe(t);
	struct cold *k = tr_cold(t, writer ? COLD_REDO : COLD_PROBE, op, miss);

	k->writer = (u8)writer;
	k->disp = t->mode;
	k->resume = here(&t->b);
}

void tr_probe_other(struct tr *t, const struct cold *k)
{
	t->mode = (unsigned)k->disp;
	probe_others(t, k->resume);
}

void tr_redo_probe(struct tr *t, const struct cold *k)
{
	struct soft_cpu *c = t->c;
	u8 *needs, *others;

	t->mode = (unsigned)k->disp;
	needs = probe_way(t, JIT_NEEDS);
	probe_other(t, JIT_NEEDS ^ JIT_OTHER, k->resume);
	others = probe_way(t, JIT_NEEDS);
	e_rr(&t->b, false, OP_XOR, T1, T1);
	e_fix(&t->b, needs, here(&t->b));
	e_fix(&t->b, others, here(&t->b));
	e_store(&t->b, &c->jx.temp, T0);
	e_store(&t->b, &c->jx.temp2, T1);
	tr_redo_flags(t, k->writer);
	e_load(&t->b, T0, &c->jx.temp);
	e_load(&t->b, T1, &c->jx.temp2);
	e_rr(&t->b, true, OP_TEST, T1, T1);
	e_fix(&t->b, e_jcc(&t->b, CC_NE), k->resume);
	tr_cold(t, COLD_UNKNOWN, k->op, e_jmp_later(&t->b))->resume = k->resume;
}

void tr_jump_saved(struct tr *t, unsigned op)
{
	struct cold *k = tr_cold(t, COLD_OTHERS, op, probe(t));

	k->resume = here(&t->b);
	jump_probed(t);
}

void tr_probe_saved(struct tr *t, const struct cold *k)
{
	probe_others(t, k->resume);
}

void tr_rip_to_t0(struct tr *t, s64 disp)
{
	e_load(&t->b, T0, &t->c->regs[SREG_PAGE_RIP]);
	if (disp)
		e_mem(&t->b, true, OP_LEA, T0, T0, NO_REG, 0, disp);
}

void tr_far_jump(struct tr *t, s64 disp, unsigned writer)
{
	u8 *from, *start;
	struct cold *k;

	e8(&t->b, 0x81); /* cmpl $0, jx.key: no key yet */
	e_rip_tail(&t->b, 7, &t->c->jx.key[t->mode != SOFT_TLB_USER], 4);
	e32(&t->b, 0);
	start = t->b.p;
	from = e_jcc(&t->b, CC_NE);
	e8(&t->b, 0x48);
	e8(&t->b, 0x81); /* addq $…, SREG_PAGE_RIP */
	e_rip_tail(&t->b, 0, &t->c->regs[SREG_PAGE_RIP], 4);
	e32(&t->b, (u32)(disp & ~(s64)(PAGE_SIZE - 1)));
	k = tr_cold(t, COLD_FAR, t->mode, from);
	k->writer = (u8)writer;
	from = e_jmp_later(&t->b);
	k->disp = disp;
	k->resume = here(&t->b) - 4;
	if (!t->b.full && from != start - 4 + JIT_FAR_GUARD)
		t->b.full = true;
	t->host = false;
}

u32 tr_far_probe(struct tr *t, const struct cold *k)
{
	u32 start = here(&t->b), found;
	u8 *miss, *over;

	if (k->writer)
		tr_redo_flags(t, k->writer);
	tr_rip_to_t0(t, k->disp);
	miss = probe(t);
	found = here(&t->b);
	jump_probed(t);
	e_fix(&t->b, k->site, here(&t->b));
	if (k->writer)
		tr_redo_flags(t, k->writer);
	tr_rip_to_t0(t, k->disp);
	over = e_jmp_later(&t->b);
	e_fix(&t->b, miss, here(&t->b));
	probe_others(t, found);
	e_fix(&t->b, over, here(&t->b));
	return start;
}

static u32 known(struct tr *t, unsigned off, bool fast)
{
	struct soft_block *to;
	u32 code;

	if (t->c->lockstep)
		return 0;
	if (off == t->block->off && t->mode == t->entry_mode)
		return t->check;
	to = soft_block_find(t->c, t->block->gpa, off, soft_block_mode(t->block));
	code = to ? to->code[t->mode] : 0;
	return code && fast ? code + JIT_CHECK_SIZE : code;
}

void tr_link(struct tr *t, u8 *from, unsigned off, bool fast)
{
	u32 code = known(t, off, fast);

	if (code) {
		e_fix(&t->b, from, code);
		if (off != t->block->off)
			jit_pages_linked(t->c->jit, fast ? code - JIT_CHECK_SIZE : code,
			                 (u32)((u64)from + (u64)t->b.to_run));
	} else {
		struct cold *k = tr_cold(t, COLD_CHAIN, fast | t->mode << JIT_LINK_MODE, from);

		k->disp = (s64)off;
	}
}

u8 tr_live_after_jump(struct tr *t, const struct op *o)
{
	if (op_kind(o, 0) != KIND_IMM || !jit_in_page(o->disp))
		return JIT_ALL;
	if (o->disp == t->block->off)
		return t->start_live;
	return tr_live_there(t, (unsigned)(o - t->block->ops), (unsigned)o->disp);
}

/* May the jump go to the fast entry? All of a cycle cannot, as each block would begin behind the one before.
 * (Where a block goes on in what it calls, a jump forwards may lead to its start, or to what is in front.) And
 * not the jump behind which events must be looked at. */
static bool is_forward(const struct tr *t, const struct op *o)
{
	return o->disp > o->off && o->disp > t->block->off &&
	       t->check_after != (unsigned)(o - t->block->ops);
}

static void jump(struct tr *t, const struct op *o, unsigned writer)
{
	if (jit_in_page(o->disp))
		tr_link(t, e_jmp_later(&t->b), (unsigned)o->disp, is_forward(t, o));
	else
		tr_far_jump(t, o->disp, writer);
}

void tr_jcc(struct tr *t, const struct op *o, const struct jit_insn *n)
{
	bool near = jit_in_page(o->disp), save = tr_live_after_jump(t, o) && !t->saved;
	struct cold *k;
	u8 *from;

	tr_need_flags(t, n->read);
	from = e_jcc(&t->b, n->i.z.opcode & 15);
	if (near && !save && !t->in_loop) {
		tr_link(t, from, (unsigned)o->disp, is_forward(t, o));
		return;
	}
	k = tr_cold(t, COLD_JCC, (near && is_forward(t, o)) | t->mode << JIT_LINK_MODE, from);
	k->disp = o->disp;
	k->load = save;
}

void tr_jcc_taken(struct tr *t, const struct cold *k)
{
	t->mode = k->op >> JIT_LINK_MODE;
	if (k->load)
		tr_save_host_flags(t);
	if (k->of_loop)
		tr_loop_account(t);
	if (jit_in_page(k->disp))
		tr_link(t, e_jmp_later(&t->b), (unsigned)k->disp, k->op & JIT_LINK_FAST);
	else
		tr_far_jump(t, k->disp, 0);
}

/* Target of an indirect jump or call to T0. */
static void target(struct tr *t, unsigned op, const struct op *o)
{
	struct place p;

	if (op_kind(o, 0) == KIND_REG) {
		unsigned reg = o->r[0] >> 3;

		if (jit_displaced(reg))
			e_load(&t->b, T0, &t->c->regs[reg]);
		else
			e_mov(&t->b, T0, reg);
		return;
	}
	p = tr_operand(t, op, o, 8, false, 0, 0);
	tr_emit(t, true, OP_LOAD, T0, &p);
}

/* Pushes the address behind o. The way out, when this changes code, goes to the target: flags that are live
 * there, which `before` tells, are saved if there may be one. */
static void push_return(struct tr *t, unsigned op, const struct op *o, u8 before)
{
	struct place p = tr_stack(t, op, REG_RSP, -8, true, before);

	tr_rip_to_t0(t, o->off + o->len);
	tr_emit(t, true, OP_STORE, T0, &p);
	tr_move_rsp(t, -8);
	if (tr_asks_written(t))
		tr_save_flags(t, before);
	tr_written(t, op, &p, true);
}

/* Loads the return address to T0; rsp does not change yet. */
static void load_return(struct tr *t, unsigned op)
{
	struct place p = tr_stack(t, op, REG_RSP, 0, false, 0);

	tr_emit(t, true, OP_LOAD, T0, &p);
}

/* Flags in front of jump or call o: returns the writer of those that are not saved, or 0. */
static unsigned flags_before(struct tr *t, unsigned op, const struct op *o)
{
	if (op_kind(o, 0) == KIND_IMM && jit_in_page(o->disp)) {
		tr_save_flags(t, tr_live_after_jump(t, o));
		return 0;
	}
	return tr_exit_flags(t, op);
}

void tr_call(struct tr *t, unsigned op, const struct op *o)
{
	unsigned writer = flags_before(t, op, o);
	struct soft_cpu *c = t->c;

	if (op_kind(o, 0) == KIND_IMM) {
		push_return(t, op, o, 0);
		jump(t, o, writer);
		return;
	}
	target(t, op, o);
	look_up(t, op, writer);
	e_mem(&t->b, true, OP_LOAD, T1, T1, NO_REG, 0, offsetof(struct jit_jump, code));
	e_store(&t->b, &c->jx.target_rip, T0);
	e_store(&t->b, &c->jx.target_code, T1);
	push_return(t, op, o, 0);
	e_load(&t->b, T0, &c->jx.target_rip);
	enter_page(t);
	e_jmp_abs(&t->b, &c->jx.target_code);
}

void tr_into(struct tr *t, unsigned op, const struct op *o, u8 before)
{
	push_return(t, op, o, before);
}

void tr_ret(struct tr *t, unsigned op, const struct op *o)
{
	unsigned writer = tr_exit_flags(t, op);

	load_return(t, op);
	look_up(t, op, writer);
	tr_move_rsp(t, 8 + (s32)o->imm);
	jump_probed(t);
}

void tr_jmp(struct tr *t, unsigned op, const struct op *o)
{
	unsigned writer = flags_before(t, op, o);

	if (op_kind(o, 0) == KIND_IMM) {
		jump(t, o, writer);
		return;
	}
	target(t, op, o);
	look_up(t, op, writer);
	jump_probed(t);
}
