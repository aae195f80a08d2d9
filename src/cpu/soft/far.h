/*
 * Far transfers: what sys_far.c, sys_iret.c and sys_syscall.c share (SDM vol. 2 CALL, JMP, RET, IRET; vol. 3
 * ch. 5.8).
 */
#pragma once

#include "cpu/soft/decode.h"
#include "cpu/soft/segment.h"

/* New CS, level and rip, all checked before; SS is right already. Ends the op: returns NULL. */
const struct op *far_enter(struct soft_cpu *c, struct vcpu_segment cs, unsigned cpl, u64 rip);
/* The CS descriptor that a return (RETF, IRET) to selector means; all checks but that of rip. */
u64 far_return_cs(struct soft_cpu *c, u16 selector);
/* The SS of a return to another level, or of any return from 64-bit mode. cs_d: the new code segment. */
struct vcpu_segment far_return_ss(struct soft_cpu *c, u16 selector, unsigned cpl, u64 cs_d);
/* rsp after a return to stack ss in a code segment of kind cs_d. */
void far_set_rsp(struct soft_cpu *c, const struct vcpu_segment *ss, u64 cs_d, u64 rsp);

const struct op *far_iret(struct soft_cpu *c, const struct op *o);
const struct op *far_syscall(struct soft_cpu *c, const struct op *o);
const struct op *far_sysret(struct soft_cpu *c, const struct op *o);
const struct op *far_sysenter(struct soft_cpu *c, const struct op *o);
const struct op *far_sysexit(struct soft_cpu *c, const struct op *o);
