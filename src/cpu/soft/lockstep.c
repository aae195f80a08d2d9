#include "cpu/soft/lockstep.h"
#include "cpu/soft/block.h"
#include "cpu/soft/jit.h"
#include "cpu/soft/jit_loop.h"
#include "cpu/soft/lockstep_state.h"
#include "cpu/soft/mmu.h"
#include "cpu/soft/vec.h"

#include <stdlib.h>
#include <string.h>

enum { STRIKES = 1024, STRIKE_LIMIT = 4, TRIES = 8 };

struct soft_lockstep {
	struct lockstep_run run;
	bool active;         /* a rehearsal is to be compared */
	bool compared;       /* … was, at the operation that stopped it */
	const struct op *on; /* being interpreted for translated code, or NULL */
	bool flags_known;    /* the interpreter's flags, while c->af is what translated code left: */
	u32 flags, flags_seen;
	u8 strikes[STRIKES]; /* by block: how often in a row it wrote what was not expected */
	struct lockstep_state result;
	u64 compared_runs;
	u64 spoil; /* for tests: which comparison is spoilt; 0: none */
};

int soft_lockstep_init(struct soft_cpu *c, struct error *e)
{
	struct soft_lockstep *l;

	if (c->base.config.count > 1)
		return error_set(e, 0,
		                 "--soft-check takes one vCPU: others would write to memory between "
		                 "both runs of a block");
	if (!c->jit)
		return error_set(e, 0, "--soft-check: there is no translator on this host");
	l = calloc(1, sizeof(*l));
	if (!l || lockstep_pages_init(&l->run) < 0) {
		free(l);
		return error_set(e, 0, "no memory for --soft-check");
	}
#ifndef NDEBUG
	const char *text = getenv("INSULA_CHECK_SPOIL"); /* for tests: the check must find it */

	l->spoil = text ? strtoull(text, NULL, 0) : 0;
#endif
	c->lockstep = l;
	return 0;
}

void soft_lockstep_release(struct soft_cpu *c)
{
	if (!c->lockstep)
		return;
	lockstep_pages_release(&c->lockstep->run);
	free(c->lockstep);
	c->lockstep = NULL;
}

bool soft_lockstep_once(const struct insn *i)
{
	for (unsigned k = 0; k < i->z.operand_count_visible; k++) {
		const ZydisDecodedOperand *d = &i->operands[k];

		if (d->type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    (ZydisRegisterGetClass(d->reg.value) == ZYDIS_REGCLASS_CONTROL ||
		     ZydisRegisterGetClass(d->reg.value) == ZYDIS_REGCLASS_DEBUG))
			return true;
	}
	if (i->z.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
		return true;
	switch (i->z.mnemonic) {
	case ZYDIS_MNEMONIC_SWAPGS:
		return false;
	case ZYDIS_MNEMONIC_CPUID:
	case ZYDIS_MNEMONIC_INVPCID:
	case ZYDIS_MNEMONIC_PAUSE:
	case ZYDIS_MNEMONIC_IRET:
	case ZYDIS_MNEMONIC_IRETD:
	case ZYDIS_MNEMONIC_IRETQ:
	case ZYDIS_MNEMONIC_RDPID:
	case ZYDIS_MNEMONIC_FXRSTOR:
	case ZYDIS_MNEMONIC_FXRSTOR64:
	case ZYDIS_MNEMONIC_FXSAVE:
	case ZYDIS_MNEMONIC_FXSAVE64:
		return true;
	default:
		break;
	}
	switch (i->z.meta.category) {
	case ZYDIS_CATEGORY_SYSTEM:
	case ZYDIS_CATEGORY_IO:
	case ZYDIS_CATEGORY_IOSTRINGOP:
	case ZYDIS_CATEGORY_INTERRUPT:
	case ZYDIS_CATEGORY_VTX:
	case ZYDIS_CATEGORY_XSAVE:
	case ZYDIS_CATEGORY_XSAVEOPT:
	case ZYDIS_CATEGORY_RDRAND:
	case ZYDIS_CATEGORY_RDSEED:
	case ZYDIS_CATEGORY_WAITPKG:
		return true;
	default:
		return false;
	}
}

/* ---- the rehearsal ---- */

static _Noreturn void stop(struct soft_cpu *c)
{
	if (c->vec_live)
		soft_vec_park(c);
	soft_longjmp(c->jmp);
}

u8 *soft_lockstep_host(struct soft_cpu *c, u8 *host, size_t len, bool write)
{
	u8 *p = host ? lockstep_page(&c->lockstep->run, host, len, write) : NULL;

	if (!p)
		stop(c);
	return p;
}

/* True if an operation raised something, or was too much. */
static bool rehearse_once(struct soft_cpu *c, struct lockstep_run *r, const struct op *until)
{
	volatile bool failed = true; /* behind longjmp() */

	c->block = r->block;
	c->rehearsing = true;
	soft_mmu_update(c);
	c->events_enabled = 0; /* a repeated instruction is done at once */
	r->at = r->from;
	r->ended = false;
	r->passed = 0;
	if (!soft_setjmp(c->jmp)) {
		for (;;) {
			const struct op *o = r->at, *next;

			if (o->flags & OPF_ONCE || (o == until && r->passed == r->rounds))
				break;
			c->op = o;
			next = o->fn(c, o);
			if (VEC_PARK_ALWAYS && c->vec_live)
				soft_vec_park(c);
			if (next != o + 1) {
				if (next)
					c->rip = soft_op_rip(c, next);
				if (r->passed < r->rounds && c->rip == soft_op_rip(c, r->block->ops)) {
					r->passed++;
					r->at = r->block->ops;
					c->block = r->block;
					continue;
				}
				r->ended = true;
				break;
			}
			r->at = next;
		}
		failed = false;
	}
	if (!r->ended)
		c->rip = soft_op_rip(c, r->at);
	if (r->vectors && c->vec_live)
		soft_vec_park(c);
	c->rehearsing = false;
	return failed;
}

/* From c's state, which is run->begin, and operation run->from, on the run's pages. c's state is in disorder
 * then, but what it came to is run->after. */
static void rehearse(struct soft_cpu *c, struct lockstep_run *r, const struct op *until)
{
	soft_jmp_buf home;

	vec_copy(home, c->jmp, sizeof(home));
	if (rehearse_once(c, r, until)) {
		/* What stopped it may have done a part. */
		lockstep_pages_shorten(r);
		lockstep_put(c, &r->begin, r->vectors);
		r->rounds = r->passed;
		rehearse_once(c, r, r->at);
	}
	lockstep_take(c, &r->after, r->vectors);
	vec_copy(c->jmp, home, sizeof(home));
}

/* rounds: how often it may go back to the block's start. */
static void begin(struct soft_cpu *c, const struct op *from, u32 flags, unsigned rounds)
{
	struct soft_lockstep *l = c->lockstep;
	struct lockstep_run *r = &l->run;
	bool live = c->vec_live;
	u32 own_flags = c->af;

	r->from = from;
	r->rounds = rounds;
	r->vectors = false;
	for (const struct op *o = from; o < r->block->ops + r->block->count; o++)
		r->vectors |= o->vclass != 0;
	if (r->vectors && live)
		soft_vec_park(c);
	c->af = flags;
	lockstep_take(c, &r->begin, r->vectors);
	lockstep_pages_forget(r);
	rehearse(c, r, NULL);
	r->ahead = r->passed != 0;
	r->rounds = r->passed;
	lockstep_put(c, &r->begin, r->vectors);
	soft_mmu_update(c);
	c->af = own_flags;
	if (r->vectors && live)
		soft_vec_unpark(c);
	l->active = true;
}

/* The rehearsal goes round as often as translated code did, and stops at `until`. */
static void go_round(struct soft_cpu *c, const struct op *until)
{
	struct soft_lockstep *l = c->lockstep;
	struct lockstep_run *r = &l->run;

	r->rounds = (unsigned)c->jx.loop.rounds;
	lockstep_take(c, &l->result, r->vectors);
	lockstep_pages_shorten(r);
	lockstep_put(c, &r->begin, r->vectors);
	rehearse(c, r, until);
	lockstep_put(c, &l->result, r->vectors);
	soft_mmu_update(c);
}

/* The rehearsal of a loop becomes that of as many iterations as translated code did; the vectors of c are
 * parked if it has any. False: it did not come so far. */
static bool catch_up(struct soft_cpu *c)
{
	struct lockstep_run *r = &c->lockstep->run;
	u64 rounds = c->jx.loop.rounds;

	if (rounds > r->passed)
		return false;
	/* Code that is back at the start may have left the loop, or done the last iteration otherwise. */
	if (rounds && c->rip == soft_op_rip(c, r->block->ops)) {
		go_round(c, r->block->ops);
		if (lockstep_same(c, lockstep_cpu(&r->after), r->vectors))
			return true;
	}
	go_round(c, NULL);
	return true;
}

/* Likewise; c's vectors stay as they are. */
static void catch_up_live(struct soft_cpu *c)
{
	struct soft_lockstep *l = c->lockstep;
	bool live = c->vec_live;

	if (!l->active || !l->run.ahead)
		return;
	if (l->run.vectors && live)
		soft_vec_park(c);
	l->active = catch_up(c);
	if (l->run.vectors && live)
		soft_vec_unpark(c);
	l->run.ahead = false;
}

/* Has the operation where the rehearsal stopped another turn before? */
static bool is_ahead(const struct soft_cpu *c)
{
	const struct lockstep_run *r = &c->lockstep->run;

	return r->ahead && c->jx.loop.rounds != r->passed;
}

/* The same rehearsal, on memory as it is now. c is what translated code came to, vectors parked if the run
 * has any, and stays so. */
static void begin_again(struct soft_cpu *c, const struct op *until)
{
	struct soft_lockstep *l = c->lockstep;
	struct lockstep_run *r = &l->run;

	lockstep_take(c, &l->result, r->vectors);
	lockstep_pages_again(r);
	lockstep_put(c, &r->begin, r->vectors);
	rehearse(c, r, until);
	lockstep_put(c, &l->result, r->vectors);
	soft_mmu_update(c);
}

/* ---- comparing ---- */

static unsigned strike_slot(const struct soft_block *b)
{
	return (unsigned)((b->gpa >> PAGE_SHIFT ^ b->off * 31u) % STRIKES);
}

/* An early way out of a block is right if all is as it should be there. */
static const struct op *stopped_at(const struct soft_cpu *c, const struct lockstep_run *r, u64 rip,
                                   const struct op *from)
{
	for (const struct op *o = from; o <= r->at; o++)
		if (soft_op_rip(c, o) == rip)
			return o;
	return NULL;
}

/* An instruction that a block calls itself may be in it more than once. */
static const struct op *stopped_next(const struct soft_cpu *c, const struct lockstep_run *r, u64 rip,
                                     const struct op *last)
{
	const struct op *o = last ? stopped_at(c, r, rip, last + 1) : NULL;

	return o ? o : last;
}

static bool is_repeated(const struct op *o)
{
	return o->flags & (OPF_REP | OPF_REPNE) && !o->vclass;
}

static bool same(struct soft_cpu *c, struct soft_lockstep *l)
{
	struct lockstep_run *r = &l->run;
	enum lockstep_memory m;

	if (!lockstep_same(c, lockstep_cpu(&r->after), r->vectors))
		return false;
	m = lockstep_pages_compare(r);
	if (m == LOCKSTEP_MORE) {
		u8 *strikes = &l->strikes[strike_slot(r->block)];

		return ++*strikes < STRIKE_LIMIT;
	}
	if (m == LOCKSTEP_SAME && r->count)
		l->strikes[strike_slot(r->block)] = 0;
	return m == LOCKSTEP_SAME;
}

static _Noreturn void differs(struct soft_cpu *c, struct soft_lockstep *l, const char *where)
{
	struct lockstep_run *r = &l->run;
	u64 rip = lockstep_cpu(&r->begin)->regs[SREG_PAGE_RIP] + r->from->off;

	if (c->vec_live)
		soft_vec_park(c);
	lockstep_report(c, r, where);
	error_set(&c->base.error, 0,
	          "--soft-check: translated code and interpreter differ behind %016llx, see above",
	          (unsigned long long)rip);
	c->check_failed = true;
	l->active = false;
	c->op = NULL;
	soft_longjmp(c->jmp);
}

/* Is what code came to (c) what the rehearsal came to? */
static void compare(struct soft_cpu *c, const char *where)
{
	struct soft_lockstep *l = c->lockstep;
	struct lockstep_run *r = &l->run;
	bool live = c->vec_live;
	const struct op *early = NULL;

	if (r->vectors && live)
		soft_vec_park(c);
	if (++l->compared_runs == l->spoil)
		c->regs[REG_RBX] ^= 0x100;
	if (c->rip != lockstep_cpu(&r->after)->rip)
		early = stopped_at(c, r, c->rip, r->from);
	if (!early && same(c, l))
		goto done;
	if (l->strikes[strike_slot(r->block)] >= STRIKE_LIMIT)
		differs(c, l, "that wrote what it should not, four times in a row");
	for (unsigned i = 0; i < TRIES; i++) {
		begin_again(c, i & 1 ? NULL : early);
		if (same(c, l))
			goto done;
		if (i & 1)
			early = stopped_next(c, r, c->rip, early);
	}
	/* It goes on another time: how far it came is not known. */
	if (!(early && is_repeated(early)))
		differs(c, l, where);
	lockstep_cpu(&r->after)->af = c->af;
done:
	l->flags = lockstep_cpu(&r->after)->af;
	if (r->vectors && live)
		soft_vec_unpark(c);
	l->active = false;
}

void soft_lockstep_enter(struct soft_cpu *c, struct soft_block *b)
{
	struct soft_lockstep *l = c->lockstep;

	l->on = NULL;
	l->compared = false;
	l->run.block = b;
	lockstep_note(&l->run, c, l->flags_known ? l->flags : c->af);
	if (c->stop.block == b)
		return;
	c->jx.loop.rounds = 0;
	begin(c, soft_block_ops(c, b), l->flags_known && c->af == l->flags_seen ? l->flags : c->af,
	      b->loops ? JIT_LOOP_ROUNDS : 0);
}

void soft_lockstep_leave(struct soft_cpu *c)
{
	struct soft_lockstep *l = c->lockstep;
	struct lockstep_run *r = &l->run;

	l->flags = c->af;
	catch_up_live(c);
	if (l->active && (r->ended || !l->on || l->on < r->at))
		compare(c, "at the end of its code");
	l->active = false;
	l->on = NULL;
	l->flags_seen = c->af;
	l->flags_known = true;
}

void soft_lockstep_call(struct soft_cpu *c, const struct op *o, bool faulted)
{
	struct soft_lockstep *l = c->lockstep;
	struct lockstep_run *r = &l->run;

	l->on = o;
	l->compared = false;
	if (!l->active || r->ended || o != r->at || is_ahead(c))
		return;
	r->ahead = false;
	c->rip = soft_op_rip(c, o);
	if (faulted) {
		/* What an unmasked exception leaves in MXCSR. The rehearsal stopped in front of it. */
		u32 *want = (u32 *)(lockstep_cpu(&r->after)->xsave + XSAVE_MXCSR);
		bool live = c->vec_live;

		if (live)
			soft_vec_park(c);
		*want |= *(u32 *)(c->xsave + XSAVE_MXCSR) & 0x3f;
		if (live)
			soft_vec_unpark(c);
	}
	compare(c, "where the interpreter is called for what it does once");
	c->af = lockstep_cpu(&r->after)->af;
	l->compared = true;
}

void soft_lockstep_return(struct soft_cpu *c, const struct op *next)
{
	struct soft_lockstep *l = c->lockstep;

	/* An operation that a rehearsal stops at, but code has a way of its own for. */
	if (l->active && !l->run.ended && l->on > l->run.at && !is_ahead(c))
		l->compared = true;
	l->on = NULL;
	if (l->compared) {
		l->compared = false;
		begin(c, next, c->af, 0);
	}
}

void soft_lockstep_fault(struct soft_cpu *c)
{
	struct soft_lockstep *l = c->lockstep;
	struct lockstep_run *r = &l->run;

	l->flags_known = false;
	catch_up_live(c);
	if (!l->active)
		return;
	l->active = false;
	if (l->on && (r->ended || l->on < r->at)) {
		/* The rehearsal did not fault. Does it, on memory as it is now? */
		begin_again(c, NULL);
		if (r->ended || l->on < r->at)
			differs(c, l, "where it faults, and the interpreter does not");
	}
}

void soft_lockstep_settle(struct soft_cpu *c)
{
	struct soft_lockstep *l = c->lockstep;

	if (l->flags_known)
		c->af = l->flags;
	l->flags_known = false;
}
