#include "cpu/soft/block.h"
#include "cpu/soft/jit_emit.h"
#include "cpu/soft/jit_insn.h"
#include "cpu/soft/mmu.h"
#include "cpu/soft/vec.h"

#include <string.h>

/* Code off the main line, written behind it. */
enum cold_kind { COLD_INTERPRET, COLD_WRITTEN, COLD_CHAIN, COLD_FAR, COLD_MISS, COLD_EVENT, COLD_STALE };
struct cold {
	u8 kind;
	bool load; /* interpret: the main line goes on with the flags in the host's */
	u16 op;
	u8 *site; /* the rel32 that goes there */
	u32 resume;
	s64 disp; /* chain, far, miss: where to */
};
enum { COLDS = 4 * JIT_INSNS };

struct tr {
	struct soft_cpu *c;
	struct soft_block *block;
	struct jit_buf b;
	unsigned mode;
	u32 check;        /* this code's own check entry */
	bool host, saved; /* where the flags are: in the host's, in c->af */
	u8 vec; /* classes of vector instructions that are known to be allowed, vectors being live */
	unsigned colds, open; /* open: the first whose resume is not known yet */
	struct cold cold[COLDS];
};

/* ---- flags ---- */

/* Saves live flags in c->af; clobbers T0. */
static void save_flags(struct tr *t, u8 live)
{
	static const u8 lahf_seto[] = {0x9f, 0x0f, 0x90, 0xc0};

	if (!live || t->saved)
		return;
	e_mov(&t->b, T0, REG_RAX);
	for (unsigned i = 0; i < sizeof(lahf_seto); i++)
		e8(&t->b, lahf_seto[i]);
	e8(&t->b, 0x66);
	e_abs(&t->b, false, OP_STORE, REG_RAX, &t->c->af);
	e_mov(&t->b, REG_RAX, T0);
	t->saved = true;
}

/* The host's flags from c->af; keeps T0 and T1. */
static void load_flags(struct tr *t)
{
	static const u8 add_sahf[] = {0x04, 0x7f, 0x9e};

	e_store(&t->b, &t->c->jx.temp2, REG_RAX);
	e_abs(&t->b, false, OP_LOAD, REG_RAX, &t->c->af);
	for (unsigned i = 0; i < sizeof(add_sahf); i++)
		e8(&t->b, add_sahf[i]);
	e_load(&t->b, REG_RAX, &t->c->jx.temp2);
}

static void need_flags(struct tr *t, u8 live)
{
	if (!live || t->host)
		return;
	load_flags(t);
	t->host = true;
}

/* ---- ways out ---- */

static struct cold *cold(struct tr *t, unsigned kind, unsigned op, u8 *site)
{
	struct cold *k = &t->cold[t->colds];

	if (t->colds == COLDS - 1)
		t->b.full = true;
	else
		t->colds++;
	*k = (struct cold){.kind = (u8)kind, .op = (u16)op, .site = site};
	return k;
}

/* All ways out since the last call come back here. */
static void resume_here(struct tr *t)
{
	for (; t->open < t->colds; t->open++) {
		struct cold *k = &t->cold[t->open];

		if (k->kind == COLD_INTERPRET) {
			k->load = t->host;
			k->resume = here(&t->b);
		}
	}
}

static u32 site(struct tr *t, struct jit_site **s)
{
	(*s)++;
	return (u32)((u64)(*s - 1) + (u64)t->b.to_run);
}

/* ---- registers and addresses ---- */

static bool displaced(unsigned reg)
{
	return reg == T0 || reg == T1;
}

/* Effective address of o's memory operand to T0; clobbers T1. */
static void address(struct tr *t, const struct op *o)
{
	struct soft_cpu *c = t->c;
	int base = o->base < REG_COUNT ? o->base : NO_REG, index = o->index < REG_COUNT ? o->index : NO_REG;

	if (o->base == SREG_PAGE_RIP) {
		base = T0;
		e_load(&t->b, T0, &c->regs[SREG_PAGE_RIP]);
	} else if (o->base < REG_COUNT && displaced(o->base)) {
		e_load(&t->b, o->base, &c->regs[o->base]);
	}
	if (o->index < REG_COUNT && displaced(o->index) && o->index != o->base)
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

/* Linear address in T0 to host address in T0; page: its page word's address to T1, else T1 is free. Flags are
 * lost: the caller has saved live ones. */
static void check(struct tr *t, unsigned op, unsigned size, bool write, bool page)
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
	cold(t, COLD_INTERPRET, op, e_jcc(&t->b, CC_A));
	e_mem(&t->b, true, OP_ADD, T0, T1, NO_REG, 0, low(&tlb->host));
	if (page)
		e_mem(&t->b, true, OP_LOAD, T1, T1, NO_REG, 0, low(&tlb->page));
	t->host = false;
}

/* After a store: T1 has the page word's address. T0 is free. last: a call's push. */
static void check_written(struct tr *t, unsigned op, bool last)
{
	static const u8 test[] = {0x41, 0xf6, 0x03, PHYSMEM_PAGE_CODE}; /* testb $1, (%r11) */
	struct cold *k;

	for (unsigned i = 0; i < sizeof(test); i++)
		e8(&t->b, test[i]);
	k = cold(t, COLD_WRITTEN, op, e_jcc(&t->b, CC_NE));
	k->resume = here(&t->b);
	k->load = last;
	t->host = false;
}

/* ---- jumps ---- */

/* T0: rip. Leaves its code's address in T1 and rip in T0, or goes to the way out. */
static void probe(struct tr *t, struct cold miss)
{
	static const u8 hash[] = {0xc4, 0x43, 0xfb, 0xf0, 0xda, 0x0c, /* rorx $12, %r10, %r11 */
	                          0x45, 0x31, 0xd3,                   /* xor %r10d, %r11d */
	                          0x41, 0x81, 0xe3};                  /* and $…, %r11d */
	struct soft_jit_jump *jumps = t->c->jit_jumps;
	u8 *site1, *site2;

	for (unsigned i = 0; i < sizeof(hash); i++)
		e8(&t->b, hash[i]);
	e32(&t->b, SOFT_JIT_JUMPS - 1);
	e_rr(&t->b, false, 0xc1, 4, T1); /* shl */
	e8(&t->b, 4);
	_Static_assert(sizeof(*jumps) == 16, "by shl");
	e_mem(&t->b, true, OP_CMP, T0, T1, NO_REG, 0, low(&jumps->rip));
	site1 = e_jcc(&t->b, CC_NE);
	e_abs(&t->b, false, OP_LOAD, T0, &t->c->jx.key);
	e_mem(&t->b, false, OP_CMP, T0, T1, NO_REG, 0, low(&jumps->key));
	site2 = e_jcc(&t->b, CC_NE);
	e_mem(&t->b, true, OP_LOAD, T0, T1, NO_REG, 0, low(&jumps->rip));
	e_mem(&t->b, false, OP_LOAD, T1, T1, NO_REG, 0, low(&jumps->code));
	cold(t, miss.kind, miss.op, site1)->disp = miss.disp;
	cold(t, miss.kind, miss.op, site2)->disp = miss.disp;
	t->host = false;
}

static void rip_to_t0(struct tr *t, s64 disp)
{
	e_load(&t->b, T0, &t->c->regs[SREG_PAGE_RIP]);
	if (disp)
		e_mem(&t->b, true, OP_LEA, T0, T0, NO_REG, 0, disp);
}

/* To page rip + disp, which is in another page. */
static void far_jump(struct tr *t, s64 disp)
{
	rip_to_t0(t, disp);
	probe(t, (struct cold){.kind = COLD_MISS, .disp = disp});
	e_jmp_reg(&t->b, T1);
}

static u32 known(struct tr *t, unsigned off, bool fast)
{
	struct soft_block *to;
	u32 code;

	if (off == t->block->off)
		return t->check;
	to = soft_block_find(t->c, t->block->gpa, off, t->block->mode);
	code = to ? to->code[t->mode] : 0;
	return code && fast ? code + JIT_CHECK_SIZE : code;
}

/* The rel32 at `from` goes to offset off of this page. */
static void link(struct tr *t, u8 *from, unsigned off, bool fast)
{
	u32 code = known(t, off, fast);

	if (code) {
		e_fix(&t->b, from, code);
	} else {
		struct cold *k = cold(t, COLD_CHAIN, fast, from);

		k->disp = (s64)off;
	}
}

static bool in_page(s64 disp)
{
	return disp >= 0 && disp < (s64)PAGE_SIZE;
}

static u8 live_after_jump(struct tr *t, const struct op *o)
{
	if (op_kind(o, 0) != KIND_IMM || !in_page(o->disp))
		return JIT_ALL;
	return jit_live_at(t->c->jit->page, (unsigned)o->disp, 3);
}

static void jump(struct tr *t, const struct op *o)
{
	if (in_page(o->disp))
		link(t, e_jmp_later(&t->b), (unsigned)o->disp, o->disp > o->off);
	else
		far_jump(t, o->disp);
}

static void jcc(struct tr *t, const struct op *o, const struct jit_insn *n)
{
	u8 *from;

	save_flags(t, live_after_jump(t, o));
	need_flags(t, n->read);
	from = e_jcc(&t->b, n->i.z.opcode & 15);
	if (in_page(o->disp))
		link(t, from, (unsigned)o->disp, o->disp > o->off);
	else
		cold(t, COLD_FAR, 0, from)->disp = o->disp;
}

/* Target of an indirect jump or call to T0. */
static void target(struct tr *t, unsigned op, const struct op *o)
{
	if (op_kind(o, 0) == KIND_REG) {
		unsigned reg = o->r[0] >> 3;

		if (displaced(reg))
			e_load(&t->b, T0, &t->c->regs[reg]);
		else
			e_mov(&t->b, T0, reg);
		return;
	}
	address(t, o);
	check(t, op, 8, false, false);
	e_mem(&t->b, true, OP_LOAD, T0, T0, NO_REG, 0, 0);
}

/* Room on the stack for 8 bytes: host address to T0, page word to T1. rsp does not change yet. */
static void push_check(struct tr *t, unsigned op)
{
	e_mem(&t->b, true, OP_LEA, T0, REG_RSP, NO_REG, 0, -8);
	check(t, op, 8, true, true);
}

static void move_rsp(struct tr *t, s32 by)
{
	e_mem(&t->b, true, OP_LEA, REG_RSP, REG_RSP, NO_REG, 0, by);
}

static void call(struct tr *t, unsigned op, const struct op *o)
{
	bool direct = op_kind(o, 0) == KIND_IMM, near = direct && in_page(o->disp);
	struct soft_cpu *c = t->c;

	save_flags(t, live_after_jump(t, o));
	if (!near) {
		if (direct)
			rip_to_t0(t, o->disp);
		else
			target(t, op, o);
		probe(t, (struct cold){.kind = COLD_INTERPRET, .op = (u16)op});
		e_store(&t->b, &c->jx.target_rip, T0);
		e_store(&t->b, &c->jx.target_code, T1);
	}
	push_check(t, op);
	e_store(&t->b, &c->jx.temp, T1);
	e_load(&t->b, T1, &c->regs[SREG_PAGE_RIP]);
	e_mem(&t->b, true, OP_LEA, T1, T1, NO_REG, 0, o->off + o->len);
	e_mem(&t->b, true, OP_STORE, T1, T0, NO_REG, 0, 0);
	move_rsp(t, -8);
	e_load(&t->b, T1, &c->jx.temp);
	check_written(t, op, true);
	if (near) {
		link(t, e_jmp_later(&t->b), (unsigned)o->disp, false);
	} else {
		e_load(&t->b, T0, &c->jx.target_rip);
		e_jmp_abs(&t->b, &c->jx.target_code);
	}
}

static void ret(struct tr *t, unsigned op, const struct op *o)
{
	save_flags(t, JIT_ALL);
	e_mov(&t->b, T0, REG_RSP);
	check(t, op, 8, false, false);
	e_mem(&t->b, true, OP_LOAD, T0, T0, NO_REG, 0, 0);
	probe(t, (struct cold){.kind = COLD_INTERPRET, .op = (u16)op});
	move_rsp(t, 8 + (s32)o->imm);
	e_jmp_reg(&t->b, T1);
}

/* ---- stack ---- */

static void push(struct tr *t, unsigned op, const struct op *o, u8 before)
{
	struct soft_cpu *c = t->c;

	save_flags(t, before);
	push_check(t, op);
	if (op_kind(o, 0) == KIND_IMM) {
		e_mem(&t->b, true, 0xc7, 0, T0, NO_REG, 0, 0);
		e32(&t->b, (u32)o->imm);
	} else if (displaced(o->r[0] >> 3)) {
		e_store(&t->b, &c->jx.temp, T1);
		e_load(&t->b, T1, &c->regs[o->r[0] >> 3]);
		e_mem(&t->b, true, OP_STORE, T1, T0, NO_REG, 0, 0);
		e_load(&t->b, T1, &c->jx.temp);
	} else {
		e_mem(&t->b, true, OP_STORE, o->r[0] >> 3, T0, NO_REG, 0, 0);
	}
	move_rsp(t, -8);
	check_written(t, op, false);
}

static void pop(struct tr *t, unsigned op, const struct op *o, u8 before)
{
	unsigned reg = o->r[0] >> 3;

	save_flags(t, before);
	e_mov(&t->b, T0, REG_RSP);
	check(t, op, 8, false, false);
	move_rsp(t, 8);
	if (displaced(reg)) {
		e_mem(&t->b, true, OP_LOAD, T1, T0, NO_REG, 0, 0);
		e_store(&t->b, &t->c->regs[reg], T1);
	} else {
		e_mem(&t->b, true, OP_LOAD, reg, T0, NO_REG, 0, 0);
	}
}

static void leave(struct tr *t, unsigned op, u8 before)
{
	save_flags(t, before);
	e_mov(&t->b, T0, REG_RBP);
	check(t, op, 8, false, false);
	e_mem(&t->b, true, OP_LEA, REG_RSP, REG_RBP, NO_REG, 0, 8);
	e_mem(&t->b, true, OP_LOAD, REG_RBP, T0, NO_REG, 0, 0);
}

/* ---- copies ---- */

/* The instruction with its memory operand at (T0), its ModRM.reg operand in reg (with VEX: only its low three
 * bits count). */
static void emit_at_t0(struct tr *t, const struct jit_insn *n, unsigned reg)
{
	const ZydisDecodedInstruction *z = &n->i.z;
	struct jit_buf *b = &t->b;

	if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
		const u8 *v = n->i.bytes + z->raw.vex.offset;

		e8(b, 0xc4);
		if (v[0] == 0xc5) {
			e8(b, (v[1] & 0x80) | 0x40 | 1);
			e8(b, v[1] & 0x7f);
		} else {
			e8(b, (v[1] & 0x80) | 0x40 | (v[1] & 0x1f));
			e8(b, v[2]);
		}
	} else {
		bool repeat = z->mnemonic == ZYDIS_MNEMONIC_POPCNT || z->mnemonic == ZYDIS_MNEMONIC_TZCNT ||
		              z->mnemonic == ZYDIS_MNEMONIC_LZCNT || z->mnemonic == ZYDIS_MNEMONIC_CRC32 ||
		              z->mnemonic == ZYDIS_MNEMONIC_ADOX || n->kind == JIT_VECTOR;
		bool size = false, lock = false;
		u8 rep = 0;

		for (unsigned p = 0; p < z->raw.prefix_count; p++) {
			u8 v = z->raw.prefixes[p].value;

			size |= v == 0x66;
			lock |= v == 0xf0;
			if (v == 0xf2 || v == 0xf3)
				rep = v;
		}
		if (size)
			e8(b, 0x66);
		if (rep && repeat)
			e8(b, rep);
		if (lock)
			e8(b, 0xf0);
		e8(b,
		   0x41 | (z->raw.rex.W && z->attributes & ZYDIS_ATTRIB_HAS_REX ? 8u : 0) | (reg >> 3) << 2);
		if (z->opcode_map != ZYDIS_OPCODE_MAP_DEFAULT)
			e8(b, 0x0f);
		if (z->opcode_map == ZYDIS_OPCODE_MAP_0F38)
			e8(b, 0x38);
		if (z->opcode_map == ZYDIS_OPCODE_MAP_0F3A)
			e8(b, 0x3a);
	}
	e8(b, z->opcode);
	e8(b, (reg & 7) << 3 | (T0 & 7));
	for (unsigned k = 0; k < ARRAY_SIZE(z->raw.imm); k++)
		for (unsigned i = 0; i < z->raw.imm[k].size / 8u; i++)
			e8(b, n->i.bytes[z->raw.imm[k].offset + i]);
}

static bool divides(const struct jit_insn *n)
{
	return n->i.z.mnemonic == ZYDIS_MNEMONIC_DIV || n->i.z.mnemonic == ZYDIS_MNEMONIC_IDIV;
}

/* The next instruction can raise a floating-point exception, or #DE. */
static void may_fault(struct tr *t, const struct op *o)
{
	struct soft_jit *j = t->c->jit;

	if (j->fault_count == JIT_FAULTS) {
		j->used = j->size;
		t->b.full = true;
		return;
	}
	j->faults[j->fault_count++] =
	        (struct jit_fault){.pc = here(&t->b), .op = low(o), .block = low(t->block), .host = t->host};
}

/* Vector state must be live, the class of o be allowed. */
static void check_vector(struct tr *t, unsigned op, const struct op *o, u8 before)
{
	static const u8 live[] = {0x80, 0x3c, 0x25}, deny[] = {0xf6, 0x04, 0x25}; /* cmpb, testb */

	if (!(o->vclass & ~t->vec))
		return;
	save_flags(t, before);
	if (!t->vec) {
		for (unsigned i = 0; i < sizeof(live); i++)
			e8(&t->b, live[i]);
		e32(&t->b, low(&t->c->vec_live));
		e8(&t->b, 0);
		cold(t, COLD_INTERPRET, op, e_jcc(&t->b, CC_E));
	}
	for (unsigned i = 0; i < sizeof(deny); i++)
		e8(&t->b, deny[i]);
	e32(&t->b, low(&t->c->vec_deny));
	e8(&t->b, o->vclass);
	cold(t, COLD_INTERPRET, op, e_jcc(&t->b, CC_NE));
	t->host = false;
	t->vec |= o->vclass;
}

static void copy_memory(struct tr *t, unsigned op, const struct op *o, const struct jit_insn *n, u8 after)
{
	const ZydisDecodedOperand *m = &n->i.operands[n->mem];
	bool write = m->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE, vector = n->kind == JIT_VECTOR;
	bool general = n->reg >= 0 && jit_is_general(&n->i.operands[n->reg]), spare;
	unsigned reg = general ? o->r[n->reg] >> 3
	                       : n->i.z.raw.modrm.reg | (n->i.z.raw.rex.R && n->reg >= 0 ? 8u : 0);
	struct soft_cpu *c = t->c;

	save_flags(t, n->live);
	address(t, o);
	if (vector && vec_info(o)->align) {
		static const u8 test[] = {0x41, 0xf6, 0xc2}; /* test $…, %r10b */

		for (unsigned i = 0; i < sizeof(test); i++)
			e8(&t->b, test[i]);
		e8(&t->b, vec_info(o)->align);
		cold(t, COLD_INTERPRET, op, e_jcc(&t->b, CC_NE));
	}
	check(t, op, m->size / 8, write, write);
	spare = general && displaced(reg);
	if (spare) {
		if (write)
			e_store(&t->b, &c->jx.temp, T1);
		e_load(&t->b, T1, &c->regs[reg]);
	}
	need_flags(t, n->read | (n->write ? after & (u8)~n->kill : 0));
	if (vector || divides(n))
		may_fault(t, o);
	emit_at_t0(t, n, spare ? T1 : reg);
	if (spare) {
		if (n->i.operands[n->reg].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
			e_store(&t->b, &c->regs[reg], T1);
		if (write)
			e_load(&t->b, T1, &c->jx.temp);
	}
	if (n->write) {
		t->host = true;
		t->saved = false;
	}
	if (write) {
		save_flags(t, after);
		check_written(t, op, false);
	}
}

static void copy_registers(struct tr *t, const struct op *o, const struct jit_insn *n, u8 after)
{
	const ZydisDecodedInstruction *z = &n->i.z;
	unsigned loaded = 0, stored = 0;

	need_flags(t, n->read | (n->write ? after & (u8)~n->kill : 0));
	for (unsigned k = 0; k < z->operand_count_visible && k < 3; k++) {
		unsigned reg = o->r[k] >> 3;

		if (n->i.operands[k].type != ZYDIS_OPERAND_TYPE_REGISTER ||
		    !jit_is_general(&n->i.operands[k]) || !displaced(reg))
			continue;
		if (!(loaded & 1u << reg))
			e_load(&t->b, reg, &t->c->regs[reg]);
		loaded |= 1u << reg;
		if (n->i.operands[k].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
			stored |= 1u << reg;
	}
	if (n->kind == JIT_VECTOR || divides(n))
		may_fault(t, o);
	for (unsigned k = 0; k < z->length; k++)
		e8(&t->b, n->i.bytes[k]);
	for (unsigned reg = T0; reg <= T1; reg++)
		if (stored & 1u << reg)
			e_store(&t->b, &t->c->regs[reg], reg);
	if (n->write) {
		t->host = true;
		t->saved = false;
	}
}

static void lea(struct tr *t, const struct op *o, const struct jit_insn *n)
{
	unsigned reg = o->r[0] >> 3;
	struct soft_cpu *c = t->c;

	if (o->base == SREG_PAGE_RIP) {
		e_load(&t->b, T0, &c->regs[SREG_PAGE_RIP]);
		if (o->size == 2)
			e8(&t->b, 0x66);
		if (o->size == 2 && displaced(reg))
			e_load(&t->b, T1, &c->regs[reg]), t->b.full = true; /* not worth its code */
		e_mem(&t->b, o->size == 8, OP_LEA, displaced(reg) ? T0 : reg, T0, NO_REG, 0, o->disp);
		if (displaced(reg))
			e_store(&t->b, &c->regs[reg], T0);
		return;
	}
	if (o->base < REG_COUNT && displaced(o->base))
		e_load(&t->b, o->base, &c->regs[o->base]);
	if (o->index < REG_COUNT && displaced(o->index) && o->index != o->base)
		e_load(&t->b, o->index, &c->regs[o->index]);
	if (o->size == 2 && displaced(reg) && reg != o->base && reg != o->index)
		e_load(&t->b, reg, &c->regs[reg]);
	for (unsigned k = 0; k < n->i.z.length; k++)
		e8(&t->b, n->i.bytes[k]);
	if (displaced(reg))
		e_store(&t->b, &c->regs[reg], reg);
}

static void interpret(struct tr *t, unsigned op, u8 before)
{
	/* Dead ones too while there are any: what is interpreted may show them. */
	save_flags(t, t->host ? JIT_ALL : before);
	cold(t, COLD_INTERPRET, op, e_jmp_later(&t->b));
	t->host = false;
	t->saved = true;
}

/* ---- a block ---- */

static void one(struct tr *t, unsigned op)
{
	const struct op *o = &t->block->ops[op];
	const struct jit_insn *n = &t->c->jit->insns[op];
	u8 after = t->c->jit->insns[op + 1].live;
	static const u8 cpl_is_0[] = {0x80, 0x3c, 0x25}; /* cmpb $0, … */

	switch ((enum jit_kind)n->kind) {
	case JIT_NOTHING:
		break;
	case JIT_COPY:
		if (n->mem >= 0)
			copy_memory(t, op, o, n, after);
		else
			copy_registers(t, o, n, after);
		break;
	case JIT_VECTOR:
		check_vector(t, op, o, n->live);
		if (n->mem >= 0)
			copy_memory(t, op, o, n, after);
		else
			copy_registers(t, o, n, after);
		break;
	case JIT_LEA:
		lea(t, o, n);
		break;
	case JIT_JCC:
		jcc(t, o, n);
		break;
	case JIT_JMP:
		save_flags(t, live_after_jump(t, o));
		if (op_kind(o, 0) == KIND_IMM) {
			jump(t, o);
		} else {
			target(t, op, o);
			probe(t, (struct cold){.kind = COLD_INTERPRET, .op = (u16)op});
			e_jmp_reg(&t->b, T1);
		}
		break;
	case JIT_CALL:
		call(t, op, o);
		break;
	case JIT_RET:
		ret(t, op, o);
		break;
	case JIT_PUSH:
		push(t, op, o, n->live);
		break;
	case JIT_POP:
		pop(t, op, o, n->live);
		break;
	case JIT_LEAVE:
		leave(t, op, n->live);
		break;
	case JIT_GUARD:
		save_flags(t, n->live);
		for (unsigned i = 0; i < sizeof(cpl_is_0); i++)
			e8(&t->b, cpl_is_0[i]);
		e32(&t->b, low(&t->c->cpl));
		e8(&t->b, 0);
		cold(t, COLD_INTERPRET, op, e_jcc(&t->b, CC_NE));
		t->host = false;
		break;
	case JIT_END:
		save_flags(t, n->live);
		if (soft_op_is_next(o))
			link(t, e_jmp_later(&t->b), (unsigned)o->disp, true);
		else
			far_jump(t, o->disp);
		break;
	case JIT_INTERPRET:
		interpret(t, op, n->live);
		if (!o->vclass)
			t->vec = 0;
		break;
	}
	resume_here(t);
}

static void prologue(struct tr *t)
{
	struct soft_cpu *c = t->c;
	u8 *start = t->b.p, *from;
	static const u8 compare[] = {0x41, 0x81, 0x3b};  /* cmpl $…, (%r11) */
	static const u8 lea_page[] = {0x4d, 0x8d, 0x92}; /* lea …(%r10), %r10 */
	static const u8 no_events[] = {0x83, 0x3c, 0x25};

	for (unsigned i = 0; i < sizeof(lea_page); i++)
		e8(&t->b, lea_page[i]);
	e32(&t->b, (u32) - (s32)t->block->off);
	e_store(&t->b, &c->regs[SREG_PAGE_RIP], T0);
	if (t->b.p != start + JIT_FAR_SIZE)
		t->b.full = true;

	t->check = here(&t->b);
	start = t->b.p;
	for (unsigned i = 0; i < sizeof(no_events); i++)
		e8(&t->b, no_events[i]);
	e32(&t->b, low(&c->base.events));
	e8(&t->b, 0);
	from = e_jcc(&t->b, CC_NE);
	cold(t, COLD_EVENT, 0, from)->resume = here(&t->b);
	e8(&t->b, 0x49);
	e8(&t->b, 0xbb); /* mov $…, %r11 */
	e64(&t->b, (u64)t->block->page);
	for (unsigned i = 0; i < sizeof(compare); i++)
		e8(&t->b, compare[i]);
	e32(&t->b, t->block->generation);
	cold(t, COLD_STALE, 0, e_jcc(&t->b, CC_NE));
	if (t->b.p != start + JIT_CHECK_SIZE)
		t->b.full = true;
	t->open = t->colds;
}

static void write_cold(struct tr *t, struct jit_site **sites)
{
	const struct soft_jit *j = t->c->jit;

	for (unsigned i = 0; i < t->colds && !t->b.full; i++) {
		struct cold *k = &t->cold[i];
		struct jit_site *s = *sites;
		u8 *from;

		e_fix(&t->b, k->site, here(&t->b));
		if (k->kind != COLD_FAR && k->kind != COLD_MISS)
			*s = (struct jit_site){.block = low(t->block)};
		switch ((enum cold_kind)k->kind) {
		case COLD_INTERPRET:
			s->op = low(&t->block->ops[k->op]);
			e_imm32(&t->b, T1, site(t, sites));
			e_jmp(&t->b, j->interpret);
			s->resume = k->resume;
			if (k->load) {
				s->resume = here(&t->b);
				load_flags(t);
				e_jmp(&t->b, k->resume);
			}
			break;
		case COLD_WRITTEN:
			s->op = low(&t->block->ops[k->op]);
			s->resume = k->resume;
			s->off = k->load;
			e_imm32(&t->b, T0, site(t, sites));
			e_jmp(&t->b, j->written);
			break;
		case COLD_CHAIN:
			s->op = k->op + 2 * t->mode;
			s->resume = (u32)((u64)k->site + (u64)t->b.to_run);
			s->off = (u32)k->disp;
			e_imm32(&t->b, T1, site(t, sites));
			e_jmp(&t->b, j->chain);
			break;
		case COLD_FAR:
			far_jump(t, k->disp);
			break;
		case COLD_MISS:
			rip_to_t0(t, k->disp);
			e_jmp(&t->b, j->miss);
			break;
		case COLD_EVENT:
			e_abs(&t->b, false, OP_LOAD, T1, &t->c->base.events);
			e_abs(&t->b, false, OP_TEST, T1, &t->c->events_enabled);
			from = e_jcc(&t->b, CC_E);
			e_fix(&t->b, from, k->resume);
			/* fall through */
		case COLD_STALE:
			s->off = t->block->off;
			e_imm32(&t->b, T1, site(t, sites));
			e_jmp(&t->b, j->stop);
			break;
		}
	}
}

/* What is live in front of each op. */
static void liveness(struct tr *t)
{
	struct jit_insn *n = t->c->jit->insns;
	const struct op *ops = t->block->ops;
	unsigned count = t->block->count;

	n[count].kind = JIT_END;
	n[count].live = soft_op_is_next(&ops[count])
	                        ? jit_live_at(t->c->jit->page, (unsigned)ops[count].disp, 3)
	                        : JIT_ALL;
	for (unsigned i = count; i-- > 0;) {
		u8 after = n[i + 1].live;

		switch (n[i].kind) {
		case JIT_JCC:
			n[i].live = n[i].read | after | live_after_jump(t, &ops[i]);
			break;
		case JIT_JMP:
		case JIT_CALL:
			n[i].live = live_after_jump(t, &ops[i]);
			break;
		case JIT_RET:
			n[i].live = JIT_ALL;
			break;
		default:
			n[i].live = (u8)((after & ~n[i].kill) | n[i].read);
			break;
		}
	}
}

u32 soft_jit_translate(struct soft_cpu *c, struct soft_block *b, unsigned mode)
{
	struct soft_jit *j = c->jit;
	const u8 *page = physmem_ptr(c->base.config.board->mem, b->gpa, PAGE_SIZE),
	         *bytes = soft_block_bytes(b);
	static _Thread_local struct tr t;
	struct jit_site *sites;

	if (c->vec_live)
		soft_vec_park(c);
	if (!page || b->stopped)
		return 0;
	memcpy(j->page, page, PAGE_SIZE);
	if (!soft_block_current(b))
		return 0;
	t.c = c;
	t.block = b;
	t.mode = mode;
	t.colds = t.open = 0;
	t.host = false;
	t.saved = true;
	t.vec = 0;
	t.b = (struct jit_buf){
	        .p = j->write + j->used, .end = j->write + j->size, .to_run = j->run - j->write};

	for (unsigned i = 0; i < b->count; i++)
		jit_classify(&j->insns[i], &b->ops[i], bytes + (b->ops[i].off - b->off));
	liveness(&t);
	prologue(&t);
	for (unsigned i = 0; i <= b->count; i++) {
		one(&t, i);
		if (j->insns[i].kind == JIT_JMP || j->insns[i].kind == JIT_CALL ||
		    j->insns[i].kind == JIT_RET)
			break;
	}
	/* Sites, then the code that names them. */
	while (t.b.p < t.b.end && (u64)t.b.p % sizeof(*sites))
		t.b.p++;
	sites = (struct jit_site *)t.b.p;
	for (unsigned i = 0; i < t.colds; i++)
		if (t.cold[i].kind != COLD_FAR && t.cold[i].kind != COLD_MISS)
			t.b.p += sizeof(*sites);
	if (t.b.p < t.b.end)
		write_cold(&t, &sites);
	if (t.b.p >= t.b.end) {
		j->used = j->size;
		return 0;
	}
	if (t.b.full) {
		b->heat = SOFT_JIT_NEVER;
		return 0;
	}
	j->used = align_up((size_t)(t.b.p - j->write), (size_t)16);
	return t.check;
}
