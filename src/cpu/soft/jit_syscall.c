/*
 * SYSCALL from user mode and SYSRET to it in 64-bit mode (SDM vol. 2), without leaving the code. What they make
 * of STAR and SFMASK is ready in struct soft_syscall, or C does it. Code never runs with TF or RF set or with
 * breakpoints on, so none of that follows; what sets TF or AC, or leaves interrupts off, is C's too.
 */
#include "cpu/soft/block.h"
#include "cpu/soft/jit_tr.h"
#include "cpu/soft/mmu.h"

enum { LEAVE_FLAGS = 0x3c7fd7 };

/* CS and SS become what is ready, by way of T0. */
static void load_segments(struct tr *t, unsigned cpl)
{
	struct soft_cpu *c = t->c;
	const struct {
		const struct vcpu_segment *from;
		struct vcpu_segment *to;
	} both[] = {{&c->jx.syscall.cs[cpl != 0], &c->seg[SEG_CS]},
	            {&c->jx.syscall.ss[cpl != 0], &c->seg[SEG_SS]}};

	_Static_assert(sizeof(struct vcpu_segment) % 8 == 0, "moved by eights");
	for (unsigned i = 0; i < ARRAY_SIZE(both); i++)
		for (unsigned at = 0; at < sizeof(*both[i].from); at += 8) {
			e_load(&t->b, T0, (const u8 *)both[i].from + at);
			e_store(&t->b, (u8 *)both[i].to + at, T0);
		}
	e_mem(&t->b, false, 0xc6, 0, NO_REG, NO_REG, 0, low(&c->cpl)); /* movb */
	e8(&t->b, (u8)cpl);
}

/* C does the op if the byte that says what is ready is another one. */
static void need_ready(struct tr *t, unsigned op, u8 mode)
{
	e_mem(&t->b, false, 0x80, 7, NO_REG, NO_REG, 0, low(&t->c->jx.syscall.ready)); /* cmpb */
	e8(&t->b, 1 + mode);
	tr_cold(t, COLD_INTERPRET, op, e_jcc(&t->b, CC_NE));
}

bool tr_syscall(struct tr *t, unsigned op, const struct op *o)
{
	enum soft_tlb_mode to = t->c->cr4 & CR4_SMAP ? SOFT_TLB_SUPER_SMAP : SOFT_TLB_SUPER, from = t->mode;
	struct soft_cpu *c = t->c;

	if (from != SOFT_TLB_USER || c->lockstep)
		return false;
	tr_save_flags(t, JIT_ALL);
	t->host = false;
	need_ready(t, op, to);
	tr_rflags_to_t0(t);
	e_store(&t->b, &c->regs[11], T0);
	tr_rip_to_t0(t, o->off + o->len);
	e_mov(&t->b, REG_RCX, T0);
	e_load(&t->b, T0, &c->rflags);
	e_abs(&t->b, true, OP_AND, T0, &c->jx.syscall.keep);
	e_store(&t->b, &c->rflags, T0);
	e_abs(&t->b, false, OP_LOAD, T0, &c->af);
	e_abs(&t->b, false, OP_AND, T0, &c->jx.syscall.keep_af);
	e_abs(&t->b, false, OP_STORE, T0, &c->af);
	tr_state_op(t, EXT_AND, &c->events_enabled, ~(u32)CPU_EV_INTR);
	load_segments(t, 0);
	tr_to_mode(t, to);
	e_load(&t->b, T0, &c->lstar);
	tr_jump_saved(t, op);
	t->mode = from;
	return true;
}

bool tr_sysret(struct tr *t, unsigned op, const struct op *o)
{
	static const u8 overflow[] = {0x41, 0xc1, 0xeb, 0x0b,  /* shr $11, %r11d */
	                              0x41, 0x83, 0xe3, 0x01}; /* and $1, %r11d */
	static const u8 others[] = {0x41, 0xc1, 0xe2, 0x08,    /* shl $8, %r10d */
	                            0x45, 0x09, 0xda};         /* or %r11d, %r10d */
	enum soft_tlb_mode to = t->c->cr4 & CR4_SMAP ? SOFT_TLB_SUPER_SMAP : SOFT_TLB_SUPER, from = t->mode;
	struct soft_cpu *c = t->c;

	if (from == SOFT_TLB_USER || o->osize != 8 || c->lockstep)
		return false;
	tr_save_flags(t, JIT_ALL);
	t->host = false;
	need_ready(t, op, to);
	e_mov(&t->b, T0, REG_RCX);
	tr_need_canonical(t, op);
	e_load(&t->b, T0, &c->regs[11]);
	e_mov(&t->b, T1, T0);
	e_group1(&t->b, false, 4, T1, FLAG_TF | FLAG_AC | FLAG_IF);
	e_group1(&t->b, false, 7, T1, FLAG_IF);
	tr_cold(t, COLD_INTERPRET, op, e_jcc(&t->b, CC_NE));
	e_mov(&t->b, T1, T0);
	e_group1(&t->b, false, 4, T1, LEAVE_FLAGS & ~FLAG_ARITH);
	e_group1(&t->b, false, 1, T1, FLAG_ONE); /* or */
	e_store(&t->b, &c->rflags, T1);
	e_mov(&t->b, T1, T0);
	e_bytes(&t->b, overflow, sizeof(overflow));
	e_group1(&t->b, false, 4, T0, FLAG_ARITH & ~FLAG_OF);
	e_group1(&t->b, false, 1, T0, FLAG_ONE);
	e_bytes(&t->b, others, sizeof(others));
	e_abs(&t->b, false, OP_STORE, T0, &c->af);
	tr_state_op(t, EXT_OR, &c->events_enabled, CPU_EV_INTR);
	load_segments(t, 3);
	tr_to_mode(t, SOFT_TLB_USER);
	e_mov(&t->b, T0, REG_RCX);
	tr_jump_saved(t, op);
	t->mode = from;
	return true;
}
