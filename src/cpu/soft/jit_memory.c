#include "cpu/soft/block.h"
#include "cpu/soft/jit_tr.h"
#include "cpu/soft/mmu.h"

/* ---- registers and addresses ---- */

void tr_address(struct tr *t, const struct op *o)
{
	struct soft_cpu *c = t->c;
	int base = o->base < REG_COUNT ? o->base : NO_REG, index = o->index < REG_COUNT ? o->index : NO_REG;

	if (o->base == SREG_PAGE_RIP) {
		base = T0;
		e_load(&t->b, T0, &c->regs[SREG_PAGE_RIP]);
	} else if (o->base < REG_COUNT && jit_displaced(o->base)) {
		e_load(&t->b, o->base, &c->regs[o->base]);
	}
	if (o->index < REG_COUNT && jit_displaced(o->index) && o->index != o->base)
		e_load(&t->b, o->index, &c->regs[o->index]);
	if (base >= 0 && index < 0 && !o->disp) {
		if (base != T0)
			e_mov(&t->b, T0, (unsigned)base);
	} else {
		e_mem(&t->b, true, OP_LEA, T0, base, index, o->scale, o->disp);
	}
	if (o->seg >= SEG_FS)
		e_abs(&t->b, true, OP_ADD, T0, &c->segbase[o->seg]);
}

void tr_check(struct tr *t, unsigned op, unsigned size, bool write, bool page)
{
	struct soft_tlb_entry *tlb = t->c->tlbs[t->mode];
	static const u8 rorx7[] = {0xc4, 0x43, 0xfb, 0xf0, 0xda, 0x07}; /* rorx $7, %r10, %r11 */
	static const u8 and_index[] = {0x41, 0x81, 0xe3};               /* and $…, %r11d */

	for (unsigned i = 0; i < sizeof(rorx7); i++)
		e8(&t->b, rorx7[i]);
	for (unsigned i = 0; i < sizeof(and_index); i++)
		e8(&t->b, and_index[i]);
	e32(&t->b, (SOFT_TLB_ENTRIES - 1) * sizeof(*tlb));
	e_abs(&t->b, true, OP_ADD, T0, &t->c->tlb_key);
	e_mem(&t->b, true, OP_SUB, T0, T1, NO_REG, 0, low(write ? &tlb->tag_write : &tlb->tag_read));
	e_group1(&t->b, true, 7, T0, (s32)(PAGE_SIZE - size));
	tr_cold(t, COLD_INTERPRET, op, e_jcc(&t->b, CC_A));
	e_mem(&t->b, true, OP_ADD, T0, T1, NO_REG, 0, low(&tlb->host));
	if (page)
		e_mem(&t->b, true, OP_LOAD, T1, T1, NO_REG, 0, low(&tlb->page));
	t->host = false;
}

void tr_check_written(struct tr *t, unsigned op, bool last)
{
	static const u8 test[] = {0x41, 0xf6, 0x03, PHYSMEM_PAGE_CODE}; /* testb $1, (%r11) */
	struct cold *k;

	for (unsigned i = 0; i < sizeof(test); i++)
		e8(&t->b, test[i]);
	k = tr_cold(t, COLD_WRITTEN, op, e_jcc(&t->b, CC_NE));
	k->resume = here(&t->b);
	k->load = last;
	t->host = false;
}
void tr_push_check(struct tr *t, unsigned op)
{
	e_mem(&t->b, true, OP_LEA, T0, REG_RSP, NO_REG, 0, -8);
	tr_check(t, op, 8, true, true);
}

void tr_move_rsp(struct tr *t, s32 by)
{
	e_mem(&t->b, true, OP_LEA, REG_RSP, REG_RSP, NO_REG, 0, by);
}
