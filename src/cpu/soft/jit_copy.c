#include "cpu/soft/block.h"
#include "cpu/soft/jit_tr.h"
#include "cpu/soft/mmu.h"
#include "cpu/soft/vec.h"

/* ---- copies ---- */

/* The instruction with its memory operand at p, its ModRM.reg operand in reg (with VEX: only its low three
 * bits count). */
static void emit_at(struct tr *t, const struct jit_insn *n, unsigned reg, const struct place *p)
{
	const ZydisDecodedInstruction *z = &n->i.z;
	struct jit_buf *b = &t->b;
	bool high_base = p->base >= 8, high_index = p->index >= 8;

	if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX) {
		const u8 *v = n->i.bytes + z->raw.evex.offset;

		e8(b, 0x62);
		e8(b, (v[1] & 0x9f) | (high_index ? 0 : 0x40u) | (high_base ? 0 : 0x20u));
		e8(b, v[2]);
		e8(b, v[3]);
	} else if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
		const u8 *v = n->i.bytes + z->raw.vex.offset;
		unsigned inverted = (high_index ? 0 : 0x40u) | (high_base ? 0 : 0x20u);

		e8(b, 0xc4);
		if (v[0] == 0xc5) {
			e8(b, (v[1] & 0x80) | inverted | 1);
			e8(b, v[1] & 0x7f);
		} else {
			e8(b, (v[1] & 0x80) | inverted | (v[1] & 0x1f));
			e8(b, v[2]);
		}
	} else {
		bool repeat = z->mnemonic == ZYDIS_MNEMONIC_POPCNT || z->mnemonic == ZYDIS_MNEMONIC_TZCNT ||
		              z->mnemonic == ZYDIS_MNEMONIC_LZCNT || z->mnemonic == ZYDIS_MNEMONIC_CRC32 ||
		              z->mnemonic == ZYDIS_MNEMONIC_ADOX || n->kind == JIT_VECTOR;
		bool size = false, lock = false;
		u8 rep = 0;

		for (unsigned k = 0; k < z->raw.prefix_count; k++) {
			u8 v = z->raw.prefixes[k].value;

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
		e8(b, 0x40 | (z->raw.rex.W && z->attributes & ZYDIS_ATTRIB_HAS_REX ? 8u : 0) |
		              (reg >> 3) << 2 | (high_index ? 2u : 0) | (high_base ? 1u : 0));
		if (z->opcode_map != ZYDIS_OPCODE_MAP_DEFAULT)
			e8(b, 0x0f);
		if (z->opcode_map == ZYDIS_OPCODE_MAP_0F38)
			e8(b, 0x38);
		if (z->opcode_map == ZYDIS_OPCODE_MAP_0F3A)
			e8(b, 0x3a);
	}
	e8(b, z->opcode);
	/* EVEX scales a displacement of one byte. */
	if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX)
		e_modrm_disp32(b, reg, p->base, p->index, p->scale, p->disp);
	else
		e_modrm(b, reg, p->base, p->index, p->scale, p->disp);
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
	j->faults[j->fault_count++] = (struct jit_fault){
	        .pc = here(&t->b), .op = (u16)(o - t->block->ops), .block = low(t->block), .host = t->host};
}

void tr_check_vector(struct tr *t, unsigned op, const struct op *o, u8 before)
{
	static const u8 test[] = {0xf6, 0x04, 0x25}; /* testb $…, … */

	if (!(o->vclass & ~t->vec))
		return;
	tr_save_flags(t, before);
	e_bytes(&t->b, test, sizeof(test));
	e32(&t->b, low(&t->c->jx.vec));
	e8(&t->b, o->vclass | (t->vec ? 0 : VEC_PARKED));
	tr_cold(t, COLD_INTERPRET, op, e_jcc(&t->b, CC_NE));
	t->host = false;
	t->vec |= o->vclass;
}

/* BMI: up to three registers, of which memory's is the last to be needed; what is written is not read. */
static void copy_vex(struct tr *t, unsigned op, const struct op *o, const struct jit_insn *n, u8 after)
{
	unsigned reads = 0, writes = 0;
	struct place p;

	for (unsigned k = 0; k < n->i.z.operand_count_visible && k < 3; k++) {
		const ZydisDecodedOperand *d = &n->i.operands[k];
		unsigned reg = o->r[k] >> 3;

		if (d->type != ZYDIS_OPERAND_TYPE_REGISTER || !jit_displaced(reg))
			continue;
		reads |= d->actions & ZYDIS_OPERAND_ACTION_MASK_READ ? 1u << reg : 0;
		writes |= d->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE ? 1u << reg : 0;
	}
	p = tr_operand(t, op, o, n->i.operands[n->mem].size / 8, false, 0, n->live);
	if (reads || writes & 1u << T1)
		t->addend = 0;
	if (reads) {
		unsigned from = reads & 1u << T0 ? T0 : T1, to = from == T0 ? T1 : T0;

		e_mem(&t->b, true, OP_LEA, to, p.base, p.index, p.scale, p.disp);
		p = (struct place){.base = (s8)to, .index = NO_REG};
		e_load(&t->b, from, &t->c->regs[from]);
	}
	tr_need_flags(t, n->read | (n->write ? after & (u8)~n->kill : 0));
	emit_at(t, n, n->reg >= 0 ? o->r[n->reg] >> 3 : n->i.z.raw.modrm.reg, &p);
	for (unsigned reg = T0; reg <= T1; reg++)
		if (writes & 1u << reg)
			e_store(&t->b, &t->c->regs[reg], reg);
	if (n->write) {
		t->host = true;
		t->saved = false;
	}
}

/* to, T0 or T1, has bits 15:8 of RAX, RCX, RDX or RBX in its lowest byte. */
static void second_byte(struct jit_buf *b, unsigned to, unsigned from)
{
	static const u8 rorx[] = {0xc4, 0x63, 0xfb, 0xf0};

	e_bytes(b, rorx, sizeof(rorx));
	e8(b, 0xc0 | (to & 7) << 3 | from);
	e8(b, 8);
}

void tr_copy_memory(struct tr *t, unsigned op, const struct op *o, const struct jit_insn *n, u8 after)
{
	const ZydisDecodedOperand *m = &n->i.operands[n->mem];
	bool write = m->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE, vector = n->kind == JIT_VECTOR;
	bool general = n->reg >= 0 && jit_is_general(&n->i.operands[n->reg]);
	unsigned reg = general ? o->r[n->reg] >> 3
	                       : n->i.z.raw.modrm.reg | (n->i.z.raw.rex.R && n->reg >= 0 ? 8u : 0);
	bool displaced = general && jit_displaced(reg);
	unsigned real = reg;
	struct place p;

	if (!vector && n->i.z.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
		copy_vex(t, op, o, n, after);
		return;
	}
	p = tr_operand(t, op, o, m->size / 8, write,
	               vector                                         ? (u8)vec_info(o)->align
	               : n->i.z.mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B ? 15
	                                                              : 0,
	               n->live);
	if (displaced) {
		real = tr_spare(t, &p);
		e_load(&t->b, real, &t->c->regs[reg]);
	} else if (general && o->r[n->reg] & 1) {
		real = tr_spare(t, &p);
		second_byte(&t->b, real, reg);
	}
	tr_need_flags(t, n->read | (n->write ? after & (u8)~n->kill : 0));
	if (vector || divides(n))
		may_fault(t, o);
	emit_at(t, n, real, &p);
	if (displaced && n->i.operands[n->reg].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
		e_store(&t->b, &t->c->regs[reg], real);
	if (n->write) {
		t->host = true;
		t->saved = false;
	}
	if (write && tr_asks_written(t)) {
		tr_save_flags(t, after);
		tr_written(t, op, &p, false);
	}
}

/* The first operand is written, all of it, and not read. */
static bool only_writes(const struct op *o, const struct jit_insn *n)
{
	bool moves = n->i.z.mnemonic == ZYDIS_MNEMONIC_MOV || n->i.z.mnemonic == ZYDIS_MNEMONIC_MOVZX ||
	             n->i.z.mnemonic == ZYDIS_MNEMONIC_MOVSX || n->i.z.mnemonic == ZYDIS_MNEMONIC_MOVSXD;

	return moves && n->i.operands[0].size >= 32 &&
	       (op_kind(o, 1) != KIND_REG || o->r[1] >> 3 != o->r[0] >> 3);
}

/* The instruction itself; what T0 and T1 hold of the guest's they still do. */
static void emit_bytes(struct tr *t, const struct jit_insn *n)
{
	bool held = t->held_at == t->b.p;

	e_bytes(&t->b, n->i.bytes, n->i.z.length);
	if (held)
		t->held_at = t->b.p;
}

/* The guest's R10 or R11 is what T0 or T1 is. */
static void store_displaced(struct tr *t, unsigned reg)
{
	bool held = t->held_at == t->b.p;

	e_store(&t->b, &t->c->regs[reg], reg);
	t->held = (u16)((held ? t->held : 0) | BIT(reg));
	t->held_at = t->b.p;
}

void tr_copy_registers(struct tr *t, const struct op *o, const struct jit_insn *n, u8 after)
{
	const ZydisDecodedInstruction *z = &n->i.z;
	unsigned loaded = 0, stored = 0;
	bool held = t->held_at == t->b.p;

	tr_need_flags(t, n->read | (n->write ? after & (u8)~n->kill : 0));
	if (held) /* that keeps T0 and T1 */
		t->held_at = t->b.p;
	for (unsigned k = 0; k < z->operand_count_visible && k < 3; k++) {
		unsigned reg = o->r[k] >> 3;

		if (n->i.operands[k].type != ZYDIS_OPERAND_TYPE_REGISTER ||
		    !jit_is_general(&n->i.operands[k]) || !jit_displaced(reg))
			continue;
		if (reg == T1)
			t->addend = 0;
		if (!(loaded & 1u << reg) && (k || !only_writes(o, n)))
			tr_load_displaced(t, reg);
		loaded |= 1u << reg;
		if (n->i.operands[k].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
			stored |= 1u << reg;
	}
	if (n->kind == JIT_VECTOR || divides(n))
		may_fault(t, o);
	emit_bytes(t, n);
	for (unsigned reg = T0; reg <= T1; reg++)
		if (stored & 1u << reg)
			store_displaced(t, reg);
	if (n->write) {
		t->host = true;
		t->saved = false;
	}
}

void tr_lea(struct tr *t, const struct op *o, const struct jit_insn *n)
{
	unsigned reg = o->r[0] >> 3;
	struct soft_cpu *c = t->c;

	if (reg == T1 || o->base == T1 || o->index == T1)
		t->addend = 0;
	if (o->base == SREG_PAGE_RIP) {
		e_load(&t->b, T0, &c->regs[SREG_PAGE_RIP]);
		if (o->size == 2)
			e8(&t->b, 0x66);
		if (o->size == 2 && jit_displaced(reg))
			e_load(&t->b, T1, &c->regs[reg]), t->b.full = true; /* not worth its code */
		e_mem(&t->b, o->size == 8, OP_LEA, jit_displaced(reg) ? T0 : reg, T0, NO_REG, 0, o->disp);
		if (jit_displaced(reg))
			e_store(&t->b, &c->regs[reg], T0);
		return;
	}
	if (o->base < REG_COUNT && jit_displaced(o->base))
		tr_load_displaced(t, o->base);
	if (o->index < REG_COUNT && jit_displaced(o->index) && o->index != o->base)
		tr_load_displaced(t, o->index);
	if (o->size == 2 && jit_displaced(reg) && reg != o->base && reg != o->index)
		tr_load_displaced(t, reg);
	emit_bytes(t, n);
	if (jit_displaced(reg))
		store_displaced(t, reg);
}

/* ---- stack ---- */

void tr_push(struct tr *t, unsigned op, const struct op *o, u8 before)
{
	unsigned reg = o->r[0] >> 3;
	struct place p;

	if (op_kind(o, 0) == KIND_MEM) {
		p = tr_operand(t, op, o, 8, false, 0, before);
		tr_emit(t, true, OP_LOAD, T0, &p);
		e_store(&t->b, &t->c->jx.target_rip, T0);
	}
	p = tr_stack(t, op, REG_RSP, -8, true, before);
	if (op_kind(o, 0) == KIND_MEM) {
		e_load(&t->b, T0, &t->c->jx.target_rip);
		tr_emit(t, true, OP_STORE, T0, &p);
	} else if (op_kind(o, 0) == KIND_IMM) {
		tr_emit(t, true, 0xc7, 0, &p);
		e32(&t->b, (u32)o->imm);
	} else {
		if (jit_displaced(reg)) {
			e_load(&t->b, T0, &t->c->regs[reg]);
			reg = T0;
		}
		tr_emit(t, true, OP_STORE, reg, &p);
	}
	tr_move_rsp(t, -8);
	if (tr_asks_written(t))
		tr_save_flags(t, before);
	tr_written(t, op, &p, false);
}

void tr_pop(struct tr *t, unsigned op, const struct op *o, u8 before)
{
	unsigned reg = o->r[0] >> 3;
	struct place p;

	p = tr_stack(t, op, REG_RSP, 0, false, before);
	if (jit_displaced(reg)) {
		tr_emit(t, true, OP_LOAD, T0, &p);
		e_store(&t->b, &t->c->regs[reg], T0);
	} else {
		tr_emit(t, true, OP_LOAD, reg, &p);
	}
	if (reg != REG_RSP)
		tr_move_rsp(t, 8);
}

void tr_leave(struct tr *t, unsigned op, u8 before)
{
	struct place p;

	p = tr_stack(t, op, REG_RBP, 0, false, before);
	e_mem(&t->b, true, OP_LEA, REG_RSP, REG_RBP, NO_REG, 0, 8);
	tr_emit(t, true, OP_LOAD, REG_RBP, &p);
}
