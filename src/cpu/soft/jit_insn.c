#include "cpu/soft/jit_insn.h"
#include "cpu/soft/block.h"
#include "cpu/soft/jit_decode.h"
#include "cpu/soft/vec.h"

static u8 arith(u32 flags)
{
	return (u8)((flags & (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF)) | (flags & FLAG_OF ? 8 : 0));
}

static bool is_shift(unsigned mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_SHL:
	case ZYDIS_MNEMONIC_SHR:
	case ZYDIS_MNEMONIC_SAR:
	case ZYDIS_MNEMONIC_ROL:
	case ZYDIS_MNEMONIC_ROR:
	case ZYDIS_MNEMONIC_RCL:
	case ZYDIS_MNEMONIC_RCR:
	case ZYDIS_MNEMONIC_SHLD:
	case ZYDIS_MNEMONIC_SHRD:
		return true;
	default:
		return false;
	}
}

static bool is_string(unsigned mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_MOVSB:
	case ZYDIS_MNEMONIC_MOVSW:
	case ZYDIS_MNEMONIC_MOVSD:
	case ZYDIS_MNEMONIC_MOVSQ:
	case ZYDIS_MNEMONIC_STOSB:
	case ZYDIS_MNEMONIC_STOSW:
	case ZYDIS_MNEMONIC_STOSD:
	case ZYDIS_MNEMONIC_STOSQ:
	case ZYDIS_MNEMONIC_LODSB:
	case ZYDIS_MNEMONIC_LODSW:
	case ZYDIS_MNEMONIC_LODSD:
	case ZYDIS_MNEMONIC_LODSQ:
	case ZYDIS_MNEMONIC_SCASB:
	case ZYDIS_MNEMONIC_SCASW:
	case ZYDIS_MNEMONIC_SCASD:
	case ZYDIS_MNEMONIC_SCASQ:
	case ZYDIS_MNEMONIC_CMPSB:
	case ZYDIS_MNEMONIC_CMPSW:
	case ZYDIS_MNEMONIC_CMPSD:
	case ZYDIS_MNEMONIC_CMPSQ:
		return true;
	default:
		return false;
	}
}

/* Does it do only what Zydis says it does to flags? Else all flags count as read. */
static bool plain_flags(const ZydisDecodedInstruction *z)
{
	switch (z->mnemonic) {
	case ZYDIS_MNEMONIC_ADD:
	case ZYDIS_MNEMONIC_OR:
	case ZYDIS_MNEMONIC_ADC:
	case ZYDIS_MNEMONIC_SBB:
	case ZYDIS_MNEMONIC_AND:
	case ZYDIS_MNEMONIC_SUB:
	case ZYDIS_MNEMONIC_XOR:
	case ZYDIS_MNEMONIC_CMP:
	case ZYDIS_MNEMONIC_TEST:
	case ZYDIS_MNEMONIC_INC:
	case ZYDIS_MNEMONIC_DEC:
	case ZYDIS_MNEMONIC_NEG:
	case ZYDIS_MNEMONIC_NOT:
	case ZYDIS_MNEMONIC_MOV:
	case ZYDIS_MNEMONIC_MOVZX:
	case ZYDIS_MNEMONIC_MOVSX:
	case ZYDIS_MNEMONIC_MOVSXD:
	case ZYDIS_MNEMONIC_LEA:
	case ZYDIS_MNEMONIC_XCHG:
	case ZYDIS_MNEMONIC_BSWAP:
	case ZYDIS_MNEMONIC_MOVBE:
	case ZYDIS_MNEMONIC_MOVNTI:
	case ZYDIS_MNEMONIC_CBW:
	case ZYDIS_MNEMONIC_CWDE:
	case ZYDIS_MNEMONIC_CDQE:
	case ZYDIS_MNEMONIC_CWD:
	case ZYDIS_MNEMONIC_CDQ:
	case ZYDIS_MNEMONIC_CQO:
	case ZYDIS_MNEMONIC_IMUL:
	case ZYDIS_MNEMONIC_DIV:
	case ZYDIS_MNEMONIC_IDIV:
	case ZYDIS_MNEMONIC_MUL:
	case ZYDIS_MNEMONIC_BT:
	case ZYDIS_MNEMONIC_BTS:
	case ZYDIS_MNEMONIC_BTR:
	case ZYDIS_MNEMONIC_BTC:
	case ZYDIS_MNEMONIC_BSF:
	case ZYDIS_MNEMONIC_BSR:
	case ZYDIS_MNEMONIC_TZCNT:
	case ZYDIS_MNEMONIC_LZCNT:
	case ZYDIS_MNEMONIC_POPCNT:
	case ZYDIS_MNEMONIC_ANDN:
	case ZYDIS_MNEMONIC_BEXTR:
	case ZYDIS_MNEMONIC_BLSI:
	case ZYDIS_MNEMONIC_BLSMSK:
	case ZYDIS_MNEMONIC_BLSR:
	case ZYDIS_MNEMONIC_BZHI:
	case ZYDIS_MNEMONIC_PDEP:
	case ZYDIS_MNEMONIC_PEXT:
	case ZYDIS_MNEMONIC_MULX:
	case ZYDIS_MNEMONIC_RORX:
	case ZYDIS_MNEMONIC_SARX:
	case ZYDIS_MNEMONIC_SHLX:
	case ZYDIS_MNEMONIC_SHRX:
	case ZYDIS_MNEMONIC_ADCX:
	case ZYDIS_MNEMONIC_ADOX:
	case ZYDIS_MNEMONIC_CRC32:
	case ZYDIS_MNEMONIC_CMPXCHG:
	case ZYDIS_MNEMONIC_CMPXCHG16B:
	case ZYDIS_MNEMONIC_XADD:
	case ZYDIS_MNEMONIC_CLC:
	case ZYDIS_MNEMONIC_STC:
	case ZYDIS_MNEMONIC_CMC:
	case ZYDIS_MNEMONIC_LAHF:
	case ZYDIS_MNEMONIC_SAHF:
		return true;
	default:
		return is_shift(z->mnemonic) || z->meta.category == ZYDIS_CATEGORY_CMOV ||
		       z->meta.category == ZYDIS_CATEGORY_SETCC;
	}
}

static bool is_nothing(unsigned mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_NOP:
	case ZYDIS_MNEMONIC_ENDBR64:
	case ZYDIS_MNEMONIC_ENDBR32:
	case ZYDIS_MNEMONIC_PREFETCH:
	case ZYDIS_MNEMONIC_PREFETCHW:
	case ZYDIS_MNEMONIC_PREFETCHNTA:
	case ZYDIS_MNEMONIC_PREFETCHT0:
	case ZYDIS_MNEMONIC_PREFETCHT1:
	case ZYDIS_MNEMONIC_PREFETCHT2:
		return true;
	default:
		return false;
	}
}

/* System instructions that neither read nor write arithmetic flags. */
static bool keeps_flags(unsigned mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_CLI:
	case ZYDIS_MNEMONIC_STI:
	case ZYDIS_MNEMONIC_CLD:
	case ZYDIS_MNEMONIC_STD:
	case ZYDIS_MNEMONIC_STAC:
	case ZYDIS_MNEMONIC_CLAC:
	case ZYDIS_MNEMONIC_SWAPGS:
	case ZYDIS_MNEMONIC_RDTSC:
	case ZYDIS_MNEMONIC_RDTSCP:
	case ZYDIS_MNEMONIC_PAUSE:
	case ZYDIS_MNEMONIC_LFENCE:
	case ZYDIS_MNEMONIC_MFENCE:
	case ZYDIS_MNEMONIC_SFENCE:
	case ZYDIS_MNEMONIC_INVLPG:
	case ZYDIS_MNEMONIC_RDMSR:
	case ZYDIS_MNEMONIC_WRMSR:
	case ZYDIS_MNEMONIC_CPUID:
	case ZYDIS_MNEMONIC_RDFSBASE:
	case ZYDIS_MNEMONIC_RDGSBASE:
	case ZYDIS_MNEMONIC_WRFSBASE:
	case ZYDIS_MNEMONIC_WRGSBASE:
		return true;
	default:
		return false;
	}
}

/* Flags of any instruction by mnemonic and first immediate (without operands decoded). */
static void flags_of(const ZydisDecodedInstruction *z, bool exact, u8 *read, u8 *write, u8 *kill)
{
	const ZydisAccessedFlags *f = z->cpu_flags;
	unsigned m = z->mnemonic;
	bool stack = m == ZYDIS_MNEMONIC_PUSH || m == ZYDIS_MNEMONIC_POP || m == ZYDIS_MNEMONIC_LEAVE;
	bool jcc = z->meta.category == ZYDIS_CATEGORY_COND_BR;
	bool vector = z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ||
	              z->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ||
	              z->meta.category == ZYDIS_CATEGORY_SSE || z->meta.category == ZYDIS_CATEGORY_DATAXFER ||
	              z->meta.category == ZYDIS_CATEGORY_LOGICAL_FP;

	*read = *write = *kill = 0;
	if (stack || is_nothing(m) || keeps_flags(m))
		return;
	if (is_string(m)) {
		*write = f ? arith(f->modified) : 0;
		return; /* a count of zero changes nothing, so nothing is killed; nothing is read either */
	}
	if (!plain_flags(z) && !jcc && !vector) {
		*read = JIT_ALL;
		*write = JIT_ALL;
		return;
	}
	if (!f)
		return;
	*read = arith(f->tested);
	*write = *kill = arith(f->modified | f->set_0 | f->set_1 | f->undefined);
	if (is_shift(m)) {
		bool one =
		        z->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (z->opcode == 0xd0 || z->opcode == 0xd1);
		bool count = z->raw.imm[0].size && (z->raw.imm[0].value.u & 31);

		if (!one && !count)
			*kill = 0;
		/* What a rotate by more than one does to OF is up to the host. */
		*write = JIT_ALL;
	}
	if (m == ZYDIS_MNEMONIC_BSF || m == ZYDIS_MNEMONIC_BSR)
		*write = JIT_ALL;
	/* Undefined: the host leaves them as they were. */
	if (m == ZYDIS_MNEMONIC_DIV || m == ZYDIS_MNEMONIC_IDIV)
		*kill = 0;
	if (exact)
		*kill &= (u8)~arith(f->undefined);
}

bool jit_is_general(const ZydisDecodedOperand *d)
{
	switch (ZydisRegisterGetClass(d->reg.value)) {
	case ZYDIS_REGCLASS_GPR8:
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64:
		return true;
	default:
		return false;
	}
}

static u8 kind_of(struct jit_insn *n, const struct op *o)
{
	const ZydisDecodedInstruction *z = &n->i.z;
	const struct insn *i = &n->i;

	n->mem = n->reg = -1;
	for (unsigned k = 0; k < z->operand_count_visible; k++) {
		const ZydisDecodedOperand *d = &i->operands[k];

		if (d->type == ZYDIS_OPERAND_TYPE_MEMORY)
			n->mem = (s8)k;
		if (d->encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG)
			n->reg = (s8)k;
	}
	if (o->fn == op_undefined || o->flags & OPF_ONCE)
		return JIT_INTERPRET;
	if (o->vclass) {
		bool registers = o->fn == vec_plain || o->fn == x87_plain_op ||
		                 ((o->fn == vec_gpr || o->fn == vec_flags) && n->mem < 0);
		bool memory = n->mem >= 0 && o->asize == 8 && o->disp == (s32)o->disp &&
		              (o->fn == vec_load || o->fn == vec_store || o->fn == x87_load_op ||
		               o->fn == x87_store_op || o->fn == vec_gpr || o->fn == vec_flags ||
		               o->fn == evex_load || o->fn == evex_store);

		return (registers || memory) && !VEC_PARK_ALWAYS ? JIT_VECTOR : JIT_INTERPRET;
	}
	if (is_nothing(z->mnemonic) || o->fn == op_jump_next)
		return JIT_NOTHING;
	if (o->fn == op_call_next)
		return JIT_INTO;
	if (o->disp != (s32)o->disp)
		return JIT_INTERPRET;
	switch (z->mnemonic) {
	case ZYDIS_MNEMONIC_JMP:
	case ZYDIS_MNEMONIC_CALL:
		if (z->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR || (n->mem >= 0 && o->asize != 8))
			return JIT_INTERPRET;
		return z->mnemonic == ZYDIS_MNEMONIC_JMP ? JIT_JMP : JIT_CALL;
	case ZYDIS_MNEMONIC_RET:
		return z->opcode == 0xc2 || z->opcode == 0xc3 ? JIT_RET : JIT_INTERPRET;
	case ZYDIS_MNEMONIC_JCXZ:
	case ZYDIS_MNEMONIC_JECXZ:
	case ZYDIS_MNEMONIC_JRCXZ:
	case ZYDIS_MNEMONIC_LOOP:
	case ZYDIS_MNEMONIC_LOOPE:
	case ZYDIS_MNEMONIC_LOOPNE:
		return JIT_INTERPRET;
	case ZYDIS_MNEMONIC_LEAVE:
		return o->osize == 8 ? JIT_LEAVE : JIT_INTERPRET;
	case ZYDIS_MNEMONIC_PUSH:
		if (o->osize != 8 || (n->mem >= 0 && o->asize != 8) ||
		    (op_kind(o, 0) == KIND_REG && !jit_is_general(&i->operands[0])))
			return JIT_INTERPRET;
		return JIT_PUSH;
	case ZYDIS_MNEMONIC_POP:
		if (o->osize != 8 || n->mem >= 0 || !jit_is_general(&i->operands[0]))
			return JIT_INTERPRET;
		return JIT_POP;
	default:
		break;
	}
	if (z->meta.category == ZYDIS_CATEGORY_COND_BR)
		return JIT_JCC;
	if (!plain_flags(z))
		return JIT_INTERPRET;
	for (unsigned k = 0; k < z->operand_count_visible; k++)
		if (i->operands[k].type == ZYDIS_OPERAND_TYPE_REGISTER && !jit_is_general(&i->operands[k]))
			return JIT_INTERPRET;
	if (z->mnemonic == ZYDIS_MNEMONIC_LEA)
		return o->asize == 8 || o->base != SREG_PAGE_RIP ? JIT_LEA : JIT_INTERPRET;
	if (n->mem < 0)
		return (o->flags & OPF_LOCK) ? JIT_INTERPRET : JIT_COPY;
	if (o->asize != 8 || !(z->attributes & ZYDIS_ATTRIB_HAS_MODRM))
		return JIT_INTERPRET;
	/* Bit strings beyond the operand. */
	if ((z->mnemonic == ZYDIS_MNEMONIC_BT || z->mnemonic == ZYDIS_MNEMONIC_BTS ||
	     z->mnemonic == ZYDIS_MNEMONIC_BTR || z->mnemonic == ZYDIS_MNEMONIC_BTC) &&
	    op_kind(o, 1) == KIND_REG)
		return JIT_INTERPRET;
	/* AH, CH, DH, BH do not go with a REX prefix, which T0 needs: they are read from a copy. */
	if (n->reg >= 0 && (o->r[n->reg] & 1) &&
	    i->operands[n->reg].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
		return JIT_INTERPRET;
	return JIT_COPY;
}

void jit_classify(struct jit_decoder *k, struct jit_insn *n, const struct op *o, const u8 *bytes, bool exact)
{
	const ZydisDecodedInstruction *z;

	n->read = n->write = JIT_ALL;
	n->kill = 0;
	n->kind = JIT_INTERPRET;
	n->writer = n->redo = 0;
	n->aside = n->looked = false;
	n->i.z.mnemonic = ZYDIS_MNEMONIC_INVALID;
	if (o->fn == op_guard_cpl0) {
		n->kind = JIT_GUARD;
		n->read = n->write = 0;
		return;
	}
	z = o->len ? jit_decode(k, bytes, o->len, n->i.operands) : NULL;
	if (!z)
		return;
	n->i.z = *z;
	for (unsigned i = 0; i < o->len; i++)
		n->i.bytes[i] = bytes[i];
	n->kind = kind_of(n, o);
	flags_of(&n->i.z, exact, &n->read, &n->write, &n->kill);
	if (n->kind == JIT_INTO)
		n->read = n->write = n->kill = 0;
	if (o->vclass && n->i.z.cpu_flags) {
		const ZydisAccessedFlags *f = n->i.z.cpu_flags;

		n->read = arith(f->tested);
		n->write = arith(f->modified | f->set_0 | f->set_1 | f->undefined);
		n->kill = n->kind == JIT_VECTOR ? n->write : 0;
	} else if (o->vclass) {
		n->read = n->write = n->kill = 0;
	} else if (n->kind == JIT_INTERPRET && !plain_flags(&n->i.z) && !is_string(n->i.z.mnemonic) &&
	           !keeps_flags(n->i.z.mnemonic)) {
		n->read = n->write = JIT_ALL;
		n->kill = 0;
	}
}

u8 jit_live_at(struct jit_decoder *k, const u8 *page, unsigned off, unsigned depth, bool exact)
{
	u8 killed = 0, live = 0;

	for (unsigned count = 0; count < 16 && off < PAGE_SIZE; count++) {
		const ZydisDecodedInstruction *z = jit_decode(k, page + off, PAGE_SIZE - off, NULL);
		unsigned length;
		u8 read, write, kill;
		s64 target;

		if (!z)
			break;
		length = z->length;
		target = (s64)((u64)off + length + z->raw.imm[0].value.u);
		if (z->meta.branch_type == ZYDIS_BRANCH_TYPE_SHORT ||
		    z->meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR) {
			bool in_page = z->raw.imm[0].is_relative && target >= 0 && target < (s64)PAGE_SIZE;

			if (z->meta.category == ZYDIS_CATEGORY_COND_BR) {
				flags_of(z, exact, &read, &write, &kill);
				live |= read & ~killed;
				live |= (in_page && depth
				                 ? jit_live_at(k, page, (unsigned)target, depth - 1, exact)
				                 : JIT_ALL) &
				        ~killed;
			} else if (in_page && (z->mnemonic == ZYDIS_MNEMONIC_JMP ||
			                       z->mnemonic == ZYDIS_MNEMONIC_CALL)) {
				off = (unsigned)target;
				continue;
			} else {
				break;
			}
		} else {
			flags_of(z, exact, &read, &write, &kill);
			live |= read & ~killed;
			killed |= kill;
		}
		if ((live | killed) == JIT_ALL)
			return live;
		off += length;
	}
	return live | (JIT_ALL & ~killed);
}
