/* The table of system instructions, and the small ones: flags, caches, TLB, MSRs, time, CPUID, hypercalls. */
#include "base/clock.h"
#include "cpu/soft/features.h"
#include "cpu/soft/msr.h"
#include "cpu/soft/sys.h"

/* ---- interrupt flag, halt ---- */

static void need_iopl(struct soft_cpu *c)
{
	if (soft_protected(c) && c->cpl > soft_iopl(c))
		soft_raise_error(c, EXC_GP, 0);
}

static const struct op *cli(struct soft_cpu *c, const struct op *o)
{
	need_iopl(c);
	c->rflags &= ~(u64)FLAG_IF;
	c->events_enabled &= ~(u32)CPU_EV_INTR;
	return o + 1;
}

static const struct op *sti(struct soft_cpu *c, const struct op *o)
{
	need_iopl(c);
	if (c->rflags & FLAG_IF)
		return o + 1;
	c->rflags |= FLAG_IF;
	c->shadow |= SOFT_SHADOW_STI;
	soft_update(c);
	return soft_end(c, o);
}

static const struct op *hlt(struct soft_cpu *c, const struct op *o)
{
	sys_need_cpl0(c);
	c->halted = true;
	c->activity = VCPU_HALTED;
	return soft_end(c, o);
}

static const struct op *set_ac(struct soft_cpu *c, const struct op *o, u64 ac)
{
	if (c->cpl || soft_v86(c))
		soft_raise(c, EXC_UD);
	c->rflags = (c->rflags & ~(u64)FLAG_AC) | ac;
	soft_mmu_update(c);
	return o + 1;
}

static const struct op *stac(struct soft_cpu *c, const struct op *o)
{
	return set_ac(c, o, FLAG_AC);
}
static const struct op *clac(struct soft_cpu *c, const struct op *o)
{
	return set_ac(c, o, 0);
}

/* ---- caches and TLB ---- */

static const struct op *wbinvd(struct soft_cpu *c, const struct op *o)
{
	sys_need_cpl0(c);
	return soft_end(c, o);
}

static const struct op *invlpg(struct soft_cpu *c, const struct op *o)
{
	u64 offset = op_offset(c, o), linear;

	sys_need_cpl0(c);
	linear = c->long64 ? c->segbase[o->seg] + offset : (u32)(c->seg[o->seg].base + offset);
	if (canonical(linear))
		soft_mmu_invlpg(c, linear);
	return soft_end(c, o);
}

static const struct op *invpcid(struct soft_cpu *c, const struct op *o)
{
	u64 type, linear, pcid, address;

	if (soft_v86(c))
		soft_raise_error(c, EXC_GP, 0);
	sys_need_cpl0(c);
	type = soft_reg_get(c, o->r[0], c->long64 ? 8 : 4);
	linear = op_linear(c, o, 16, SOFT_READ);
	pcid = soft_load64(c, linear, o->seg);
	address = soft_load64(c, c->long64 ? linear + 8 : (u32)(linear + 8), o->seg);
	if (type > 3)
		soft_raise_error(c, EXC_GP, 0);
	if (type < 2 && pcid && (pcid >> 12 || !(c->cr4 & CR4_PCIDE)))
		soft_raise_error(c, EXC_GP, 0);
	if (type >= 2 && pcid >> 12)
		soft_raise_error(c, EXC_GP, 0);
	if (type == 0 && !canonical(address))
		soft_raise_error(c, EXC_GP, 0);
	soft_mmu_invpcid(c, (unsigned)type, (u16)pcid, address);
	return soft_end(c, o);
}

/* ---- MSRs, time, CPUID ---- */

static void set_edx_eax(struct soft_cpu *c, u64 v)
{
	c->regs[REG_RAX] = (u32)v;
	c->regs[REG_RDX] = v >> 32;
}

static const struct op *rdmsr(struct soft_cpu *c, const struct op *o)
{
	u64 v = 0;

	sys_need_cpl0(c);
	if (!msr_read(c, (u32)c->regs[REG_RCX], &v))
		soft_raise_error(c, EXC_GP, 0);
	set_edx_eax(c, v);
	return soft_end(c, o);
}

static const struct op *wrmsr(struct soft_cpu *c, const struct op *o)
{
	sys_need_cpl0(c);
	if (!msr_write(c, (u32)c->regs[REG_RCX], c->regs[REG_RDX] << 32 | (u32)c->regs[REG_RAX]))
		soft_raise_error(c, EXC_GP, 0);
	return soft_end(c, o);
}

static void need_tsc(struct soft_cpu *c)
{
	if (c->cr4 & CR4_TSD && c->cpl)
		soft_raise_error(c, EXC_GP, 0);
}

/* Behind all loads before it, as the distance between two instructions of a guest hides nothing from the
 * host's processor: else time could run backwards between two vCPUs that pass a lock to and fro. */
static u64 guest_tsc(const struct soft_cpu *c)
{
	__asm__ volatile("lfence" : : : "memory");
	return clock_tsc() + atomic_load_explicit(&c->base.tsc_offset, memory_order_relaxed);
}

static const struct op *rdtsc(struct soft_cpu *c, const struct op *o)
{
	need_tsc(c);
	set_edx_eax(c, guest_tsc(c));
	return o + 1;
}

static const struct op *rdtscp(struct soft_cpu *c, const struct op *o)
{
	need_tsc(c);
	set_edx_eax(c, guest_tsc(c));
	c->regs[REG_RCX] = (u32)c->tsc_aux;
	return o + 1;
}

/* No counter exists, whatever CPL and CR4.PCE say. */
static const struct op *rdpmc(struct soft_cpu *c, const struct op *o)
{
	soft_raise_error(c, EXC_GP, 0);
}

static const struct op *rdpid(struct soft_cpu *c, const struct op *o)
{
	soft_reg_set(c, o->r[0], c->long64 ? 8 : 4, (u32)c->tsc_aux);
	return o + 1;
}

static const struct op *cpuid(struct soft_cpu *c, const struct op *o)
{
	u32 out[4];

	soft_cpuid(c, (u32)c->regs[REG_RAX], (u32)c->regs[REG_RCX], out);
	c->regs[REG_RAX] = out[0];
	c->regs[REG_RBX] = out[1];
	c->regs[REG_RCX] = out[2];
	c->regs[REG_RDX] = out[3];
	return o + 1;
}

/* ---- hypercalls: KVM's numbers for "not implemented" and "not permitted" ---- */

enum { HYPERCALL_ENOSYS = 1000, HYPERCALL_EPERM = 1 };

static const struct op *vmcall(struct soft_cpu *c, const struct op *o)
{
	const struct cpu_board *board = soft_board(c);
	unsigned size = c->long64 ? 8 : 4;
	const u64 args[4] = {soft_reg_get(c, REG_RBX * 8, size), soft_reg_get(c, REG_RCX * 8, size),
	                     soft_reg_get(c, REG_RDX * 8, size), soft_reg_get(c, REG_RSI * 8, size)};
	s64 result = -HYPERCALL_ENOSYS;

	if (c->cpl)
		result = -HYPERCALL_EPERM;
	else if (board->hypercall)
		result = board->hypercall(board->ctx, &c->base, soft_reg_get(c, REG_RAX * 8, size), args);
	soft_reg_set(c, REG_RAX * 8, size, (u64)result);
	return soft_end(c, o);
}

const struct opdef soft_sys_table[] = {
        /* MOV, PUSH, POP: the forms with segment, control and debug registers */
        {ZYDIS_MNEMONIC_MOV, OPDEF_END, NULL, sys_bind_mov},
        {ZYDIS_MNEMONIC_PUSH, OPDEF_END, NULL, sys_bind_push},
        {ZYDIS_MNEMONIC_POP, OPDEF_END, NULL, sys_bind_pop},
        {ZYDIS_MNEMONIC_LDS, OPDEF_END, NULL, sys_bind_load_far},
        {ZYDIS_MNEMONIC_LES, OPDEF_END, NULL, sys_bind_load_far},
        {ZYDIS_MNEMONIC_LFS, OPDEF_END, NULL, sys_bind_load_far},
        {ZYDIS_MNEMONIC_LGS, OPDEF_END, NULL, sys_bind_load_far},
        {ZYDIS_MNEMONIC_LSS, OPDEF_END, NULL, sys_bind_load_far},
        {ZYDIS_MNEMONIC_SWAPGS, 0, sys_swapgs, NULL},
        {ZYDIS_MNEMONIC_RDFSBASE, 0, sys_rdfsbase, NULL},
        {ZYDIS_MNEMONIC_RDGSBASE, 0, sys_rdgsbase, NULL},
        {ZYDIS_MNEMONIC_WRFSBASE, 0, sys_wrfsbase, NULL},
        {ZYDIS_MNEMONIC_WRGSBASE, 0, sys_wrgsbase, NULL},

        {ZYDIS_MNEMONIC_CLTS, OPDEF_END, sys_clts, NULL},
        {ZYDIS_MNEMONIC_LMSW, OPDEF_END, sys_lmsw, NULL},
        {ZYDIS_MNEMONIC_SMSW, OPDEF_END, sys_smsw, NULL},

        {ZYDIS_MNEMONIC_LGDT, OPDEF_END, sys_lgdt, NULL},
        {ZYDIS_MNEMONIC_LIDT, OPDEF_END, sys_lidt, NULL},
        {ZYDIS_MNEMONIC_SGDT, OPDEF_END, sys_sgdt, NULL},
        {ZYDIS_MNEMONIC_SIDT, OPDEF_END, sys_sidt, NULL},
        {ZYDIS_MNEMONIC_LLDT, OPDEF_END, sys_lldt, NULL},
        {ZYDIS_MNEMONIC_SLDT, OPDEF_END, sys_sldt, NULL},
        {ZYDIS_MNEMONIC_LTR, OPDEF_END, sys_ltr, NULL},
        {ZYDIS_MNEMONIC_STR, OPDEF_END, sys_str, NULL},
        {ZYDIS_MNEMONIC_LAR, OPDEF_END, sys_lar, NULL},
        {ZYDIS_MNEMONIC_LSL, OPDEF_END, sys_lsl, NULL},
        {ZYDIS_MNEMONIC_VERR, OPDEF_END, sys_verr, NULL},
        {ZYDIS_MNEMONIC_VERW, OPDEF_END, sys_verw, NULL},
        {ZYDIS_MNEMONIC_ARPL, OPDEF_END, sys_arpl, NULL},

        {ZYDIS_MNEMONIC_CLI, 0, cli, NULL},
        {ZYDIS_MNEMONIC_STI, 0, sti, NULL},
        {ZYDIS_MNEMONIC_HLT, OPDEF_END, hlt, NULL},
        {ZYDIS_MNEMONIC_STAC, 0, stac, NULL},
        {ZYDIS_MNEMONIC_CLAC, 0, clac, NULL},

        {ZYDIS_MNEMONIC_INVD, OPDEF_END, wbinvd, NULL},
        {ZYDIS_MNEMONIC_WBINVD, OPDEF_END, wbinvd, NULL},
        {ZYDIS_MNEMONIC_INVLPG, OPDEF_END, invlpg, NULL},
        {ZYDIS_MNEMONIC_INVPCID, OPDEF_END, invpcid, NULL},

        {ZYDIS_MNEMONIC_RDMSR, OPDEF_END, rdmsr, NULL},
        {ZYDIS_MNEMONIC_WRMSR, OPDEF_END, wrmsr, NULL},
        {ZYDIS_MNEMONIC_RDTSC, 0, rdtsc, NULL},
        {ZYDIS_MNEMONIC_RDTSCP, 0, rdtscp, NULL},
        {ZYDIS_MNEMONIC_RDPMC, OPDEF_END, rdpmc, NULL},
        {ZYDIS_MNEMONIC_RDPID, 0, rdpid, NULL},
        {ZYDIS_MNEMONIC_CPUID, 0, cpuid, NULL},

        {ZYDIS_MNEMONIC_VMCALL, OPDEF_END, vmcall, NULL},
        {ZYDIS_MNEMONIC_VMMCALL, OPDEF_END, vmcall, NULL},
        {0},
};
