/*
 * x87 in code: the instructions are copied as SSE's are (jit_copy.c); here is what they leave behind besides,
 * FIP, FOP and FDP as the guest sees them.
 *
 * Of x87 operations in a row only the last one stores FIP and FOP: whoever looks at the state in between,
 * because one of them faults or is interpreted, makes up for that (soft_jit_x87_before()).
 */
#include "cpu/soft/block.h"
#include "cpu/soft/jit_tr.h"
#include "cpu/soft/vec.h"

_Static_assert(offsetof(struct soft_cpu, fpu_op) + 4 <= offsetof(struct soft_cpu, xsave),
               "stored as 32 bits");

static bool sets_pointers(const struct op *o)
{
	return o->vclass && o->vclass & VEC_DENY_X87_EM && vec_info(o)->how & VEC_X87;
}

static bool inlined(const struct jit_insn *n, const struct op *o)
{
	return n->kind == JIT_VECTOR && sets_pointers(o);
}

void tr_x87_pointers(struct tr *t, unsigned op, const struct op *o, const struct jit_insn *n)
{
	struct soft_cpu *c = t->c;

	if (!inlined(n, o))
		return;
	if (n->mem >= 0) {
		struct op offset = *o;

		offset.seg = SEG_DS;
		tr_address(t, &offset);
		e_store(&t->b, &c->fpu_dp, T0);
	}
	if (op + 1 < t->count && inlined(n + 1, o + 1))
		return;
	tr_rip_to_t0(t, o->off);
	e_store(&t->b, &c->fpu_ip, T0);
	e_mem(&t->b, false, 0xc7, 0, NO_REG, NO_REG, 0, low(&c->fpu_op)); /* movl */
	e32(&t->b, vec_info(o)->aux);
}

void soft_jit_x87_before(struct soft_cpu *c, const struct op *o)
{
	if (o == c->block->ops || !sets_pointers(o) || !sets_pointers(o - 1))
		return;
	c->fpu_ip = soft_op_rip(c, o - 1);
	c->fpu_op = vec_info(o - 1)->aux;
}
