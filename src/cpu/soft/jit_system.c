/*
 * What kernels do, without leaving the code: the interrupt flag, SMAP's window, GS, control and segment
 * registers read, time, PUSHF, fences.
 *
 * Code for the supervisor runs at CPL 0 only (soft_jit_run()), and none of it while single-stepping, in an
 * interrupt shadow or with breakpoints: so nothing of that is looked at here. STI's shadow is a check for
 * events behind the instruction that follows (struct tr.check_after), which must be in the same block.
 */
#include "cpu/soft/block.h"
#include "cpu/soft/jit_tr.h"
#include "cpu/soft/mmu.h"

static void bytes(struct tr *t, const u8 *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		e8(&t->b, p[i]);
}

void tr_state_op(struct tr *t, unsigned ext, const volatile void *at, u32 imm)
{
	e_mem(&t->b, false, 0x81, ext, NO_REG, NO_REG, 0, low(at));
	e32(&t->b, imm);
}

void tr_need_canonical(struct tr *t, unsigned op)
{
	static const u8 high_bits[] = {0x49, 0xc1, 0xfb, 0x2f}; /* sar $47, %r11 */

	e_mov(&t->b, T1, T0);
	bytes(t, high_bits, sizeof(high_bits));
	e_group1(&t->b, true, 0, T1, 1); /* add */
	e_group1(&t->b, true, 7, T1, 1); /* cmp */
	tr_cold(t, COLD_INTERPRET, op, e_jcc(&t->b, CC_A));
}

void tr_to_mode(struct tr *t, unsigned mode)
{
	struct soft_cpu *c = t->c;

	e8(&t->b, 0x49);
	e8(&t->b, 0xba); /* mov $…, %r10 */
	e64(&t->b, (u64)soft_mmu_mode(c));
	e_mem(&t->b, false, 0xc6, 0, T0, NO_REG, 0, 0); /* movb */
	e8(&t->b, (u8)mode);
	e_mem(&t->b, true, 0xc7, 0, NO_REG, NO_REG, 0, low(&c->tlb)); /* movq */
	e32(&t->b, low(c->tlbs[mode]));
	t->mode = mode;
}

static void lose_flags(struct tr *t, const struct jit_insn *n)
{
	tr_save_flags(t, n->live);
	t->host = false;
}

static bool supervisor(const struct tr *t)
{
	return t->mode != SOFT_TLB_USER;
}

/* ---- flags ---- */

static bool sti(struct tr *t, unsigned op, const struct jit_insn *n)
{
	const struct op *ops = t->block->ops;
	unsigned next = op + 1;

	if (next < t->count && ops[next].fn == op_guard_cpl0)
		next++;
	if (t->check_after == op) /* IF is set, so it has no shadow of its own */
		return true;
	/* Under the lock-step check it ends a block, as for the interpreter. */
	if (!supervisor(t) || next >= t->count || t->c->lockstep)
		return false;
	lose_flags(t, n);
	tr_state_op(t, EXT_OR, &t->c->rflags, FLAG_IF);
	tr_state_op(t, EXT_OR, &t->c->events_enabled, CPU_EV_INTR);
	t->check_after = next;
	return true;
}

static bool cli(struct tr *t, const struct jit_insn *n)
{
	if (!supervisor(t))
		return false;
	lose_flags(t, n);
	tr_state_op(t, EXT_AND, &t->c->rflags, ~(u32)FLAG_IF);
	tr_state_op(t, EXT_AND, &t->c->events_enabled, ~(u32)CPU_EV_INTR);
	return true;
}

static void direction(struct tr *t, const struct jit_insn *n, bool down)
{
	lose_flags(t, n);
	tr_state_op(t, down ? EXT_OR : EXT_AND, &t->c->rflags, down ? FLAG_DF : ~(u32)FLAG_DF);
}

/* STAC, CLAC: what follows in this block is code for the other TLB, if CR4.SMAP is set, as is looked up now
 * and checked then. */
static bool set_ac(struct tr *t, unsigned op, const struct jit_insn *n, bool ac)
{
	static const u8 test[] = {0xf7, 0x04, 0x25}; /* testl $…, … */
	enum soft_tlb_mode to = ac ? SOFT_TLB_SUPER : SOFT_TLB_SUPER_SMAP;
	struct soft_cpu *c = t->c;

	if (!supervisor(t) || !(c->cr4 & CR4_SMAP))
		return false;
	lose_flags(t, n);
	bytes(t, test, sizeof(test));
	e32(&t->b, low(&c->cr4));
	e32(&t->b, (u32)CR4_SMAP);
	tr_cold(t, COLD_INTERPRET, op, e_jcc(&t->b, CC_E));
	tr_state_op(t, ac ? EXT_OR : EXT_AND, &c->rflags, ac ? FLAG_AC : ~(u32)FLAG_AC);
	if (t->mode == to)
		return true;
	tr_to_mode(t, to);
	return true;
}

void tr_rflags_to_t0(struct tr *t)
{
	static const u8 low_flags[] = {0x44, 0x0f, 0xb6, 0x14, 0x25}; /* movzbl …, %r10d */
	static const u8 overflow[] = {0x44, 0x0f, 0xb6, 0x1c, 0x25};  /* movzbl …, %r11d */
	struct soft_cpu *c = t->c;

	bytes(t, low_flags, sizeof(low_flags));
	e32(&t->b, low(&c->af) + 1);
	bytes(t, overflow, sizeof(overflow));
	e32(&t->b, low(&c->af));
	e_rr(&t->b, false, 0xc1, 4, T1); /* shl $11, %r11d */
	e8(&t->b, 11);
	e_group1(&t->b, false, 4, T0, 0xd5);
	e_rr(&t->b, true, 0x09, T1, T0); /* or %r11, %r10 */
	e_abs(&t->b, true, 0x0b, T0, &c->rflags);
}

static bool pushf(struct tr *t, unsigned op, const struct op *o)
{
	struct soft_cpu *c = t->c;

	if (o->osize != 8)
		return false;
	tr_save_flags(t, JIT_ALL);
	tr_rflags_to_t0(t);
	e_store(&t->b, &c->jx.target_rip, T0);
	t->host = false;
	tr_push_check(t, op);
	e_store(&t->b, &c->jx.temp, T1);
	e_load(&t->b, T1, &c->jx.target_rip);
	e_mem(&t->b, true, OP_STORE, T1, T0, NO_REG, 0, 0);
	e_load(&t->b, T1, &c->jx.temp);
	tr_move_rsp(t, -8);
	tr_check_written(t, op, false);
	return true;
}

/* ---- registers of the system ---- */

static bool swapgs(struct tr *t)
{
	struct soft_cpu *c = t->c;

	if (!supervisor(t))
		return false;
	e_load(&t->b, T0, &c->seg[SEG_GS].base);
	e_load(&t->b, T1, &c->kernel_gs_base);
	e_store(&t->b, &c->kernel_gs_base, T0);
	e_store(&t->b, &c->seg[SEG_GS].base, T1);
	e_store(&t->b, &c->segbase[SEG_GS], T1);
	return true;
}

/* The register of operand 0 becomes what is at `at`. */
static void load_to(struct tr *t, const struct op *o, const void *at)
{
	unsigned reg = o->r[0] >> 3;

	e_load(&t->b, jit_displaced(reg) ? T0 : reg, at);
	if (jit_displaced(reg))
		e_store(&t->b, &t->c->regs[reg], T0);
}

/* RDFSBASE and the like, of 64 bits; flags are lost. */
static void need_fsgsbase(struct tr *t, unsigned op, const struct jit_insn *n)
{
	static const u8 test[] = {0xf7, 0x04, 0x25}; /* testl $…, … */

	lose_flags(t, n);
	bytes(t, test, sizeof(test));
	e32(&t->b, low(&t->c->cr4));
	e32(&t->b, (u32)CR4_FSGSBASE);
	tr_cold(t, COLD_INTERPRET, op, e_jcc(&t->b, CC_E));
}

static bool read_base(struct tr *t, unsigned op, const struct op *o, const struct jit_insn *n, unsigned seg)
{
	if (o->size != 8)
		return false;
	need_fsgsbase(t, op, n);
	load_to(t, o, &t->c->seg[seg].base);
	return true;
}

static bool write_base(struct tr *t, unsigned op, const struct op *o, const struct jit_insn *n, unsigned seg)
{
	unsigned reg = o->r[0] >> 3;

	if (o->size != 8)
		return false;
	need_fsgsbase(t, op, n);
	if (jit_displaced(reg))
		e_load(&t->b, T0, &t->c->regs[reg]);
	else
		e_mov(&t->b, T0, reg);
	tr_need_canonical(t, op);
	e_store(&t->b, &t->c->seg[seg].base, T0);
	e_store(&t->b, &t->c->segbase[seg], T0);
	return true;
}

static bool mov(struct tr *t, const struct op *o, const struct jit_insn *n)
{
	const ZydisDecodedOperand *from = &n->i.operands[1];
	struct soft_cpu *c = t->c;
	unsigned reg = o->r[0] >> 3, to;

	if (n->i.operands[0].type != ZYDIS_OPERAND_TYPE_REGISTER || !jit_is_general(&n->i.operands[0]) ||
	    from->type != ZYDIS_OPERAND_TYPE_REGISTER)
		return false;
	switch (ZydisRegisterGetClass(from->reg.value)) {
	case ZYDIS_REGCLASS_CONTROL:
		if (!supervisor(t))
			return false;
		switch (o->r[1]) {
		case 0:
			load_to(t, o, &c->cr0);
			return true;
		case 2:
			load_to(t, o, &c->cr2);
			return true;
		case 3:
			load_to(t, o, &c->cr3);
			return true;
		case 4:
			load_to(t, o, &c->cr4);
			return true;
		default:
			return false;
		}
	case ZYDIS_REGCLASS_SEGMENT:
		if (o->osize == 2 || o->r[1] >= SEG_COUNT)
			return false;
		to = jit_displaced(reg) ? T0 : reg;
		if (to >= 8)
			e8(&t->b, 0x44);
		e8(&t->b, 0x0f); /* movzwl */
		e_mem(&t->b, false, 0xb7, to & 7, NO_REG, NO_REG, 0, low(&c->seg[o->r[1]].selector));
		if (jit_displaced(reg))
			e_store(&t->b, &c->regs[reg], T0);
		return true;
	default:
		return false;
	}
}

/* ---- bit strings in memory ---- */

static bool bit(struct tr *t, unsigned op, const struct op *o, const struct jit_insn *n)
{
	unsigned reg = o->r[1] >> 3, shift = o->size == 8 ? 6 : 5;
	bool write = n->i.z.mnemonic != ZYDIS_MNEMONIC_BT, ask = write && tr_asks_written(t);
	u8 after = n[1].live;

	if (n->mem != 0 || op_kind(o, 1) != KIND_REG || o->asize != 8 || o->size < 4 ||
	    o->disp != (s32)o->disp)
		return false;
	lose_flags(t, n);
	tr_address(t, o);
	if (jit_displaced(reg))
		e_load(&t->b, T1, &t->c->regs[reg]);
	else
		e_mov(&t->b, T1, reg);
	if (o->size == 4)
		e_rr(&t->b, true, 0x63, T1, T1); /* movslq */
	e_rr(&t->b, true, 0xc1, 7, T1);          /* sar */
	e8(&t->b, shift);
	e_mem(&t->b, true, OP_LEA, T0, T0, T1, o->size == 8 ? 3 : 2, 0);
	tr_check(t, op, o->size, write, write);
	if (ask)
		e_store(&t->b, &t->c->jx.temp, T1);
	if (jit_displaced(reg))
		e_load(&t->b, T1, &t->c->regs[reg]);
	else
		e_mov(&t->b, T1, reg);
	e_group1(&t->b, false, 4, T1, o->size * 8 - 1);
	tr_need_flags(t, n->read | (n->write ? after & (u8)~n->kill : 0));
	if (o->flags & OPF_LOCK)
		e8(&t->b, 0xf0);
	e8(&t->b, o->size == 8 ? 0x4d : 0x45);
	e8(&t->b, 0x0f);
	e8(&t->b, n->i.z.opcode);
	e8(&t->b, (T1 & 7) << 3 | (T0 & 7));
	t->host = true;
	t->saved = false;
	if (ask) {
		tr_save_flags(t, after);
		e_load(&t->b, T1, &t->c->jx.temp);
		tr_check_written(t, op, false);
	}
	return true;
}

/* ---- jumps by rcx ---- */

static bool jump_rcx(struct tr *t, const struct op *o, const struct jit_insn *n)
{
	static const u8 if_zero[] = {0xe3, 0x02, 0xeb, 0x05}; /* jrcxz over the jmp over the jump */
	static const u8 if_not[] = {0xe3, 0x05};              /* jrcxz over the jump */
	bool loop = n->i.z.mnemonic == ZYDIS_MNEMONIC_LOOP;

	if (o->asize != 8 || !jit_in_page(o->disp))
		return false;
	tr_save_flags(t, JIT_ALL);
	if (loop) {
		e_mem(&t->b, true, OP_LEA, REG_RCX, REG_RCX, NO_REG, 0, -1);
		bytes(t, if_not, sizeof(if_not));
	} else {
		bytes(t, if_zero, sizeof(if_zero));
	}
	tr_link(t, e_jmp_later(&t->b), (unsigned)o->disp, o->disp > o->off);
	return true;
}

/* ---- time ---- */

static bool rdtsc(struct tr *t, unsigned op, const struct jit_insn *n, bool aux)
{
	static const u8 test[] = {0xf6, 0x04, 0x25};       /* testb $…, … */
	static const u8 fence[] = {0x0f, 0xae, 0xe8};      /* lfence */
	static const u8 read[] = {0x0f, 0x31};             /* rdtsc */
	static const u8 join[] = {0x48, 0xc1, 0xe2, 0x20,  /* shl $32, %rdx */
	                          0x48, 0x09, 0xd0};       /* or %rdx, %rax */
	static const u8 split[] = {0x48, 0x89, 0xc2,       /* mov %rax, %rdx */
	                           0x48, 0xc1, 0xea, 0x20, /* shr $32, %rdx */
	                           0x89, 0xc0};            /* mov %eax, %eax */
	struct soft_cpu *c = t->c;

	lose_flags(t, n);
	if (!supervisor(t)) {
		bytes(t, test, sizeof(test));
		e32(&t->b, low(&c->cr4));
		e8(&t->b, CR4_TSD);
		tr_cold(t, COLD_INTERPRET, op, e_jcc(&t->b, CC_NE));
	}
	/* RDTSCP waits for what is in front of it, RDTSC does not. */
	if (aux)
		bytes(t, fence, sizeof(fence));
	bytes(t, read, sizeof(read));
	bytes(t, join, sizeof(join));
	e_abs(&t->b, true, OP_ADD, REG_RAX, &c->base.tsc_offset);
	bytes(t, split, sizeof(split));
	if (aux)
		e_abs(&t->b, false, OP_LOAD, REG_RCX, &c->tsc_aux);
	return true;
}

static bool pause(struct tr *t)
{
	static const u8 code[] = {0xf3, 0x90};

	/* Else it is counted, to give way now and then. */
	if (!t->c->base.config.board->mem->single_vcpu)
		return false;
	bytes(t, code, sizeof(code));
	return true;
}

bool tr_system(struct tr *t, unsigned op, const struct op *o, const struct jit_insn *n)
{
	if (o->fn == op_undefined || o->flags & OPF_ONCE)
		return false;
	switch (n->i.z.mnemonic) {
	case ZYDIS_MNEMONIC_CLI:
		return cli(t, n);
	case ZYDIS_MNEMONIC_STI:
		return sti(t, op, n);
	case ZYDIS_MNEMONIC_CLD:
		direction(t, n, false);
		return true;
	case ZYDIS_MNEMONIC_STD:
		direction(t, n, true);
		return true;
	case ZYDIS_MNEMONIC_STAC:
		return set_ac(t, op, n, true);
	case ZYDIS_MNEMONIC_CLAC:
		return set_ac(t, op, n, false);
	case ZYDIS_MNEMONIC_PUSHFQ:
		return pushf(t, op, o);
	case ZYDIS_MNEMONIC_SWAPGS:
		return swapgs(t);
	case ZYDIS_MNEMONIC_RDFSBASE:
		return read_base(t, op, o, n, SEG_FS);
	case ZYDIS_MNEMONIC_RDGSBASE:
		return read_base(t, op, o, n, SEG_GS);
	case ZYDIS_MNEMONIC_WRFSBASE:
		return write_base(t, op, o, n, SEG_FS);
	case ZYDIS_MNEMONIC_WRGSBASE:
		return write_base(t, op, o, n, SEG_GS);
	case ZYDIS_MNEMONIC_SYSCALL:
		return tr_syscall(t, op, o);
	case ZYDIS_MNEMONIC_SYSRET:
		return tr_sysret(t, op, o);
	case ZYDIS_MNEMONIC_MOV:
		return mov(t, o, n);
	case ZYDIS_MNEMONIC_BT:
	case ZYDIS_MNEMONIC_BTS:
	case ZYDIS_MNEMONIC_BTR:
	case ZYDIS_MNEMONIC_BTC:
		return bit(t, op, o, n);
	case ZYDIS_MNEMONIC_JRCXZ:
	case ZYDIS_MNEMONIC_LOOP:
		return jump_rcx(t, o, n);
	case ZYDIS_MNEMONIC_RDTSC:
		return rdtsc(t, op, n, false);
	case ZYDIS_MNEMONIC_RDTSCP:
		return rdtsc(t, op, n, true);
	case ZYDIS_MNEMONIC_PAUSE:
		return pause(t);
	case ZYDIS_MNEMONIC_LFENCE:
	case ZYDIS_MNEMONIC_MFENCE:
	case ZYDIS_MNEMONIC_SFENCE:
		bytes(t, n->i.bytes, n->i.z.length);
		return true;
	default:
		return tr_string(t, op, o, n);
	}
}
