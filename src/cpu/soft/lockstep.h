/*
 * The lock-step check (--soft-check): whatever translated code does, the interpreter has done before, beside
 * the machine, and both must have come to the same.
 *
 * Theory of operation. Translated code is not linked: each block comes back to C. Before a block is entered,
 * a rehearsal interprets it: on copies of the memory that it writes, without filling the TLB, until the block
 * ends or an operation comes whose effects are not registers and memory alone. Those are OPF_ONCE (I/O,
 * control registers, the clock), and whatever faults, touches MMIO, or writes too many pages. Then all state
 * is put back, the code runs, and where the rehearsal stopped, registers, system registers, vector state and
 * the neighbourhood of all that was written are compared. An operation that stopped the rehearsal runs once,
 * by the interpreter, which the code calls for it, and a new rehearsal begins behind it.
 *
 * Loops (jit_loop.h) that translated code stays in for some iterations, and counts: the rehearsal goes round
 * as often as such code may, so that what it writes is known as it was; when code is left, the rehearsal is
 * done again with as many iterations as that did, from its copies of what was there.
 *
 * Flags. Dead ones are not kept by translated code, so they are not compared. Instead the rehearsal of the
 * next block starts with the flags of the last one: a flag that was lost though it was live shows in what is
 * computed from it. What runs without rehearsal (events, cold code) gets the right ones, too.
 *
 * Other writers. Devices write memory in between. So nothing is called a difference before a second
 * rehearsal, over memory as it is by then, has failed to give what translated code gave; and a byte that
 * changed though the interpreter did not write it counts when its block does that four times in a row. Other
 * vCPUs would be too many writers: there is one.
 *
 * A difference is reported on standard error, and cpu_run() returns CPU_EXIT_ERROR. vCPU thread only.
 */
#pragma once

#include "cpu/soft/soft.h"

struct insn;

int soft_lockstep_init(struct soft_cpu *c, struct error *e);
void soft_lockstep_release(struct soft_cpu *c);

/* Must an operation be done only once? For the decoder: OPF_ONCE. */
bool soft_lockstep_once(const struct insn *i);

/* ---- between the translator and the check; c->regs are the guest's, c->lockstep is not NULL ---- */

/* Block b is about to be entered; its code was left, c->rip says for where. */
void soft_lockstep_enter(struct soft_cpu *c, struct soft_block *b);
void soft_lockstep_leave(struct soft_cpu *c);
/* Code calls out for operation o, which is about to be interpreted, or has faulted; it goes on at `next`. */
void soft_lockstep_call(struct soft_cpu *c, const struct op *o, bool faulted);
void soft_lockstep_return(struct soft_cpu *c, const struct op *next);
/* Code was left by a fault. */
void soft_lockstep_fault(struct soft_cpu *c);
/* What runs next is not translated. */
void soft_lockstep_settle(struct soft_cpu *c);

/* ---- in a rehearsal: c->rehearsing ---- */

/* Where to read or write len bytes, cut to the page, of what is at host, a pointer into RAM; NULL: MMIO. Does
 * not return if that ends the rehearsal. */
u8 *soft_lockstep_host(struct soft_cpu *c, u8 *host, size_t len, bool write);
enum { SOFT_LOCKSTEP_ACCESS = 64 /* the most that accesses have, but for those by the page */ };
