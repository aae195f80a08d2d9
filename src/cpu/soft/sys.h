/*
 * System instructions: what the sys_*.c files give to the table in sys_table.c. Each does its own privilege
 * checks, in the SDM's order (#UD before #GP).
 */
#pragma once

#include "cpu/soft/decode.h"
#include "cpu/soft/segment.h"

static inline void sys_need_cpl0(struct soft_cpu *c)
{
	if (c->cpl)
		soft_raise_error(c, EXC_GP, 0);
}
/* Real-address and virtual-8086 mode do not know the instruction. */
static inline void sys_need_protected(struct soft_cpu *c)
{
	if (soft_real(c))
		soft_raise(c, EXC_UD);
}
static inline void sys_need_long64(struct soft_cpu *c)
{
	if (!c->long64)
		soft_raise(c, EXC_UD);
}
static inline void sys_need_umip(struct soft_cpu *c)
{
	if (c->cpl && c->cr4 & CR4_UMIP)
		soft_raise_error(c, EXC_GP, 0);
}
/* A 16-bit value to operand 0: 16 bits of memory, or the register in its operand size. */
static inline void sys_write16(struct soft_cpu *c, const struct op *o, u64 wide)
{
	if (op_kind(o, 0) == KIND_MEM)
		op_write(c, o, 0, 2, wide & 0xffff);
	else
		op_write(c, o, 0, o->osize, wide);
}

/* sys_control.c: control and debug registers */
bool sys_bind_mov(struct op *o, const struct insn *i);
const struct op *sys_clts(struct soft_cpu *c, const struct op *o);
const struct op *sys_lmsw(struct soft_cpu *c, const struct op *o);
const struct op *sys_smsw(struct soft_cpu *c, const struct op *o);
/* MOV to CR0, CR3, CR4 with their checks (#GP(0)). */
void control_write_cr0(struct soft_cpu *c, u64 value);
void control_write_cr3(struct soft_cpu *c, u64 value);
void control_write_cr4(struct soft_cpu *c, u64 value);
/* False: #GP. */
bool control_write_efer(struct soft_cpu *c, u64 value);

/* sys_descriptor.c: tables and descriptors */
const struct op *sys_lgdt(struct soft_cpu *c, const struct op *o);
const struct op *sys_lidt(struct soft_cpu *c, const struct op *o);
const struct op *sys_sgdt(struct soft_cpu *c, const struct op *o);
const struct op *sys_sidt(struct soft_cpu *c, const struct op *o);
const struct op *sys_lldt(struct soft_cpu *c, const struct op *o);
const struct op *sys_sldt(struct soft_cpu *c, const struct op *o);
const struct op *sys_ltr(struct soft_cpu *c, const struct op *o);
const struct op *sys_str(struct soft_cpu *c, const struct op *o);
const struct op *sys_lar(struct soft_cpu *c, const struct op *o);
const struct op *sys_lsl(struct soft_cpu *c, const struct op *o);
const struct op *sys_verr(struct soft_cpu *c, const struct op *o);
const struct op *sys_verw(struct soft_cpu *c, const struct op *o);
const struct op *sys_arpl(struct soft_cpu *c, const struct op *o);

/* sys_segment.c: segment registers and their bases */
const struct op *sys_mov_to_seg(struct soft_cpu *c, const struct op *o);
const struct op *sys_mov_from_seg(struct soft_cpu *c, const struct op *o);
bool sys_bind_push(struct op *o, const struct insn *i);
bool sys_bind_pop(struct op *o, const struct insn *i);
bool sys_bind_load_far(struct op *o, const struct insn *i);
const struct op *sys_swapgs(struct soft_cpu *c, const struct op *o);
const struct op *sys_rdfsbase(struct soft_cpu *c, const struct op *o);
const struct op *sys_rdgsbase(struct soft_cpu *c, const struct op *o);
const struct op *sys_wrfsbase(struct soft_cpu *c, const struct op *o);
const struct op *sys_wrgsbase(struct soft_cpu *c, const struct op *o);
