/*
 * MOVS, STOS, LODS, SCAS, CMPS with and without REP (SDM vol. 2).
 *
 * Forward MOVS and STOS go by chunks that lie in one page on each side, with the host's REP of the same
 * element size, whose result for overlapping operands is the guest's. Everything else goes element by
 * element. Registers are exact after each chunk, so faults and interrupts leave a repeated instruction that
 * can be resumed. While single-stepping or with breakpoints one iteration is done at a time.
 */
#include "cpu/soft/int.h"
#include "cpu/soft/segment.h"

#define HANDLER(name) static const struct op *name(struct soft_cpu *c, const struct op *o)

/* Elements between two looks at events, and at most in a chunk. */
enum { BURST = 1024, CHUNK = 4096 };

static inline u64 reg(struct soft_cpu *c, const struct op *o, unsigned r)
{
	return c->regs[r] & MASK(o->asize * 8);
}

static inline void advance(struct soft_cpu *c, const struct op *o, unsigned r, u64 bytes)
{
	u64 v = c->regs[r] + (c->rflags & FLAG_DF ? -bytes : bytes);

	soft_reg_set(c, r * 8, o->asize, v);
}

static inline u64 source(struct soft_cpu *c, const struct op *o)
{
	return soft_seg_linear(c, o->seg, reg(c, o, REG_RSI), o->size, SOFT_READ);
}

static inline u64 target(struct soft_cpu *c, const struct op *o, enum soft_access access)
{
	return soft_seg_linear(c, SEG_ES, reg(c, o, REG_RDI), o->size, access);
}

static inline bool repeated(const struct op *o)
{
	return o->flags & (OPF_REP | OPF_REPNE);
}
static inline u64 count(struct soft_cpu *c, const struct op *o)
{
	return reg(c, o, REG_RCX);
}
static inline void counted(struct soft_cpu *c, const struct op *o, u64 n)
{
	soft_reg_set(c, REG_RCX * 8, o->asize, count(c, o) - n);
}

static inline bool one_at_a_time(const struct soft_cpu *c)
{
	return c->step & (SOFT_STEP_TF | SOFT_STEP_BREAKPOINT);
}

/* Must the instruction be left, to be resumed? */
static bool must_leave(struct soft_cpu *c)
{
	return one_at_a_time(c) ||
	       (atomic_load_explicit(&c->base.events, memory_order_relaxed) & c->events_enabled);
}

/* Leaves with iterations to do. An instruction breakpoint on it has been seen: RF. */
static const struct op *resume_later(struct soft_cpu *c, const struct op *o)
{
	if (one_at_a_time(c))
		c->rflags |= FLAG_RF;
	c->rip = soft_op_rip(c, o);
	return NULL;
}

/* Linear address of an operand of *len bytes from register r on, forward; *len is cut to what has one range
 * of addresses. False: the checks are to be done for each element. */
static bool range(struct soft_cpu *c, const struct op *o, unsigned seg, unsigned r, enum soft_access access,
                  size_t *len, u64 *linear)
{
	u64 offset = reg(c, o, r), mask = MASK(o->asize * 8);

	if (*len - 1 > mask - offset)
		*len = mask - offset + 1;
	*linear = c->segbase[seg] + offset;
	if (c->long64)
		return true;
	*linear = (u32)*linear;
	return segment_allows(&c->seg[seg], offset, (unsigned)*len, access, soft_real(c));
}

/* Another vCPU may have marked the page as code since soft_page_ptr() looked. */
static void wrote_chunk(struct soft_cpu *c, u64 linear)
{
	const struct soft_tlb_entry *e = soft_tlb_entry(c, linear);

	if (soft_tlb_hit(c, e->tag_write, linear, 1) &&
	    (atomic_load_explicit(e->page, memory_order_relaxed) & PHYSMEM_PAGE_CODE))
		soft_code_written(c, e->page);
}

/* A repeated instruction by chunks where it can, by elements where it cannot. chunk: elements done, or 0: do
 * one the slow way. */
static inline const struct op *rep_by_chunks(struct soft_cpu *c, const struct op *o,
                                             void (*one)(struct soft_cpu *, const struct op *),
                                             size_t (*chunk)(struct soft_cpu *, const struct op *, u64))
{
	bool chunks = !(c->rflags & FLAG_DF) && !one_at_a_time(c);
	unsigned burst = 0;
	u64 n;

	while ((n = count(c, o))) {
		size_t done = chunks ? chunk(c, o, n) : 0;

		burst += BURST;
		if (!done) {
			one(c, o);
			done = 1;
			burst -= BURST - 1;
		}
		counted(c, o, done);
		if (done < n && (burst >= BURST || one_at_a_time(c))) {
			if (must_leave(c))
				return resume_later(c, o);
			burst = 0;
		}
	}
	return o + 1;
}

/* ---- MOVS ---- */

static void movs_one(struct soft_cpu *c, const struct op *o)
{
	u64 from = source(c, o), to = target(c, o, SOFT_WRITE);

	soft_store(c, to, o->size, soft_load(c, from, o->size, o->seg), SEG_ES);
	advance(c, o, REG_RSI, o->size);
	advance(c, o, REG_RDI, o->size);
}

static void host_movs(void *to, const void *from, size_t n, unsigned size)
{
	switch (size) {
	case 1:
		__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
		break;
	case 2:
		__asm__ volatile("rep movsw" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
		break;
	case 4:
		__asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
		break;
	default:
		__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
		break;
	}
}

static size_t movs_chunk(struct soft_cpu *c, const struct op *o, u64 n)
{
	size_t from_len = min(n, (u64)CHUNK) * o->size, to_len = from_len;
	u64 from, to;
	void *src, *dst;

	if (!range(c, o, o->seg, REG_RSI, SOFT_READ, &from_len, &from) ||
	    !range(c, o, SEG_ES, REG_RDI, SOFT_WRITE, &to_len, &to))
		return 0;
	src = soft_page_ptr(c, from, &from_len, SOFT_READ, o->seg);
	if (!src || from_len < o->size)
		return 0; /* an element that crosses pages is read before the target is looked at */
	dst = soft_page_ptr(c, to, &to_len, SOFT_WRITE, SEG_ES);
	if (!dst)
		return 0;
	n = min(from_len, to_len) >> size_log2(o->size);
	host_movs(dst, src, n, o->size);
	if (n) {
		wrote_chunk(c, to);
		advance(c, o, REG_RSI, n * o->size);
		advance(c, o, REG_RDI, n * o->size);
	}
	return n;
}

HANDLER(movs)
{
	movs_one(c, o);
	return o + 1;
}

HANDLER(rep_movs)
{
	return rep_by_chunks(c, o, movs_one, movs_chunk);
}

/* ---- STOS ---- */

static void stos_one(struct soft_cpu *c, const struct op *o)
{
	soft_store(c, target(c, o, SOFT_WRITE), o->size, c->regs[REG_RAX], SEG_ES);
	advance(c, o, REG_RDI, o->size);
}

static void host_stos(void *to, u64 v, size_t n, unsigned size)
{
	switch (size) {
	case 1:
		__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(v) : "memory");
		break;
	case 2:
		__asm__ volatile("rep stosw" : "+D"(to), "+c"(n) : "a"(v) : "memory");
		break;
	case 4:
		__asm__ volatile("rep stosl" : "+D"(to), "+c"(n) : "a"(v) : "memory");
		break;
	default:
		__asm__ volatile("rep stosq" : "+D"(to), "+c"(n) : "a"(v) : "memory");
		break;
	}
}

static size_t stos_chunk(struct soft_cpu *c, const struct op *o, u64 n)
{
	size_t len = min(n, (u64)CHUNK) * o->size;
	void *dst;
	u64 to;

	if (!range(c, o, SEG_ES, REG_RDI, SOFT_WRITE, &len, &to))
		return 0;
	dst = soft_page_ptr(c, to, &len, SOFT_WRITE, SEG_ES);
	if (!dst)
		return 0;
	n = len >> size_log2(o->size);
	host_stos(dst, c->regs[REG_RAX], n, o->size);
	if (n) {
		wrote_chunk(c, to);
		advance(c, o, REG_RDI, n * o->size);
	}
	return n;
}

HANDLER(stos)
{
	stos_one(c, o);
	return o + 1;
}

HANDLER(rep_stos)
{
	return rep_by_chunks(c, o, stos_one, stos_chunk);
}

/* ---- LODS ---- */

static void lods_one(struct soft_cpu *c, const struct op *o)
{
	u64 v = soft_load(c, source(c, o), o->size, o->seg);

	soft_reg_set(c, REG_RAX * 8, o->size, v);
	advance(c, o, REG_RSI, o->size);
}

HANDLER(lods)
{
	lods_one(c, o);
	return o + 1;
}

HANDLER(rep_lods)
{
	unsigned burst = 0;
	u64 n;

	while ((n = count(c, o))) {
		lods_one(c, o);
		counted(c, o, 1);
		if (n > 1 && (++burst % BURST == 0 || one_at_a_time(c)) && must_leave(c))
			return resume_later(c, o);
	}
	return o + 1;
}

/* ---- SCAS, CMPS ---- */

static void set_compare(struct soft_cpu *c, u64 a, u64 b, unsigned size)
{
	u32 af;

	switch (size) {
	case 1:
		__asm__("cmpb %b2, %b1" FLAGS_OUT : "=&a"(af) : "r"(a), "r"(b) : "cc");
		break;
	case 2:
		__asm__("cmpw %w2, %w1" FLAGS_OUT : "=&a"(af) : "r"(a), "r"(b) : "cc");
		break;
	case 4:
		__asm__("cmpl %k2, %k1" FLAGS_OUT : "=&a"(af) : "r"(a), "r"(b) : "cc");
		break;
	default:
		__asm__("cmpq %2, %1" FLAGS_OUT : "=&a"(af) : "r"(a), "r"(b) : "cc");
		break;
	}
	c->af = af;
}

static inline void scas_one(struct soft_cpu *c, const struct op *o, u64 *a, u64 *b)
{
	*a = c->regs[REG_RAX] & MASK(o->size * 8);
	*b = soft_load(c, target(c, o, SOFT_READ), o->size, SEG_ES);
	advance(c, o, REG_RDI, o->size);
}

static inline void cmps_one(struct soft_cpu *c, const struct op *o, u64 *a, u64 *b)
{
	*a = soft_load(c, source(c, o), o->size, o->seg);
	*b = soft_load(c, target(c, o, SOFT_READ), o->size, SEG_ES);
	advance(c, o, REG_RSI, o->size);
	advance(c, o, REG_RDI, o->size);
}

/* Flags are those of the last comparison; a fault leaves them as they were before the instruction. */
static inline const struct op *compare(struct soft_cpu *c, const struct op *o,
                                       void (*one)(struct soft_cpu *, const struct op *, u64 *, u64 *))
{
	unsigned burst = 0;
	u64 a, b, n;

	if (!repeated(o)) {
		one(c, o, &a, &b);
		set_compare(c, a, b, o->size);
		return o + 1;
	}
	n = count(c, o);
	if (!n)
		return o + 1;
	for (;;) {
		one(c, o, &a, &b);
		counted(c, o, 1);
		if (!--n || (a == b) != ((o->flags & OPF_REP) != 0))
			break;
		if ((++burst % BURST == 0 || one_at_a_time(c)) && must_leave(c)) {
			set_compare(c, a, b, o->size);
			return resume_later(c, o);
		}
	}
	set_compare(c, a, b, o->size);
	return o + 1;
}

HANDLER(scas)
{
	return compare(c, o, scas_one);
}
HANDLER(cmps)
{
	return compare(c, o, cmps_one);
}

/* MOVSD and CMPSD are names of SSE2 instructions too. */
static bool bind_string(struct op *o, const struct insn *i, op_fn once, op_fn rep)
{
	bool wide = i->z.opcode & 1;

	if (i->z.opcode_map != ZYDIS_OPCODE_MAP_DEFAULT || i->z.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
		return false;
	o->size = wide ? o->osize : 1;
	o->fn = repeated(o) ? rep : once;
	return true;
}

static bool bind_movs(struct op *o, const struct insn *i)
{
	return bind_string(o, i, movs, rep_movs);
}
static bool bind_stos(struct op *o, const struct insn *i)
{
	return bind_string(o, i, stos, rep_stos);
}
static bool bind_lods(struct op *o, const struct insn *i)
{
	return bind_string(o, i, lods, rep_lods);
}
static bool bind_scas(struct op *o, const struct insn *i)
{
	return bind_string(o, i, scas, scas);
}
static bool bind_cmps(struct op *o, const struct insn *i)
{
	return bind_string(o, i, cmps, cmps);
}

#define ROWS(name, fn)                                                                    \
	{ZYDIS_MNEMONIC_##name##B, 0, NULL, fn}, {ZYDIS_MNEMONIC_##name##W, 0, NULL, fn}, \
	        {ZYDIS_MNEMONIC_##name##D, 0, NULL, fn}, {ZYDIS_MNEMONIC_##name##Q, 0, NULL, fn},

const struct opdef soft_int_string[] = {
        ROWS(MOVS, bind_movs) ROWS(STOS, bind_stos) ROWS(LODS, bind_lods) ROWS(SCAS, bind_scas)
                ROWS(CMPS, bind_cmps){0},
};
