#include "cpu/soft/jit_tr.h"

bool tr_system(struct tr *t, unsigned op, const struct op *o, const struct jit_insn *n, u8 after)
{
	(void)t, (void)op, (void)o, (void)n, (void)after;
	return false;
}
