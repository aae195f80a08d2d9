/*
 * Blocks of random instructions.
 *
 * The maker follows what it emits: registers whose value it knows (addresses in the data pages, small numbers
 * to index with) serve as bases and indices, and are lost when something is computed into them. So accesses
 * come in groups off one base, hit page ends on purpose, and faults are rare. Flags are followed, too:
 * undefined ones are not read before something defines them. Behind what is not always executed (forward
 * jumps, loops) what it changed is unknown.
 *
 * All cases of a block have the same code; addresses are all moved by the same distance, everything else is
 * another.
 */
#include "blocks.h"

#include <string.h>

/* A register that may be written, and is not dear. */
static unsigned scratch(struct maker *m)
{
	for (;;) {
		unsigned reg = (unsigned)below(m, 16);

		if (reg != REG_RSP && !(m->keep >> reg & 1) && (!is_pointer(m, reg) || one_in(m, 12)))
			return reg;
	}
}

/* ---- by hand ---- */

/* REX.W op /r with registers. */
static void rr(struct maker *m, unsigned opcode, unsigned reg, unsigned rm)
{
	byte(m, 0x48 | (reg >> 3) << 2 | rm >> 3);
	byte(m, opcode);
	byte(m, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

static void mem(struct maker *m, unsigned opcode, unsigned reg, unsigned base, s32 disp)
{
	byte(m, 0x48 | (reg >> 3) << 2 | base >> 3);
	byte(m, opcode);
	byte(m, 0x80 | (reg & 7) << 3 | (base & 7));
	if ((base & 7) == 4)
		byte(m, 0x24);
	bytes(m, (u32)disp, 4);
}

static void mov_imm(struct maker *m, unsigned reg, u32 v)
{
	if (reg >> 3)
		byte(m, 0x41);
	byte(m, 0xb8 | (reg & 7));
	bytes(m, v, 4);
}

static void define_flags(struct maker *m)
{
	rr(m, one_in(m, 2) ? 0x39 : 0x3b, (unsigned)below(m, 16), (unsigned)below(m, 16)); /* cmp */
	m->undef = 0;
}

static void instruction(struct maker *m)
{
	static const u8 weights[KINDS] = {30, 40, 10, 16, 4};
	u64 at = below(m, 100), k = 0;

	while (at >= weights[k])
		at -= weights[k++];
	block_form(m, (enum block_kind)k, -1, 0);
}

/* ---- pieces ---- */

static void piece(struct maker *m);

/* Accesses off one base, near to each other. */
static void group(struct maker *m)
{
	int base = block_pointer(m);
	u64 near;

	if (base < 0)
		return;
	near = m->value[base] + 8 * below(m, 8);
	if (one_in(m, 4))
		near = DATA_BASE + 0x1000 - 8 * below(m, 12);
	m->indexed = one_in(m, 3);
	if (m->indexed) {
		m->index = scratch(m);
		m->scale = (unsigned)below(m, 4);
		if (!is_known(m, m->index)) {
			mov_imm(m, m->index, (u32)below(m, 64));
			learn(m, m->index, m->s->bytes[m->s->len - 4]);
		}
	}
	for (unsigned n = 2 + (unsigned)below(m, 5); n && !full(m); n--) {
		if (one_in(m, 4))
			block_form(m, INTEGER_REGISTER, -1, 0);
		if (!is_pointer(m, (unsigned)base))
			break;
		block_form(m, one_in(m, 5) ? VECTOR_MEMORY : INTEGER_MEMORY, base, near);
	}
	m->indexed = false;
}

/* rsp moves by this, if it may. */
static bool move_rsp(struct maker *m, s64 by)
{
	u64 to = m->value[REG_RSP] + (u64)by;

	if (m->depth || m->in_function || to < DATA_BASE + 0x80 || to > DATA_BASE + DATA_WRITE - 0x80)
		return false;
	m->value[REG_RSP] = to;
	return true;
}

static void move_pointer(struct maker *m)
{
	int from = block_pointer(m);
	unsigned to = one_in(m, 2) && from >= 0 ? (unsigned)from : scratch(m);
	s32 by = (s32)(8 * (below(m, 33) - 16));

	if (from < 0)
		return;
	if (to == REG_RSP) {
		if (!move_rsp(m, by))
			return;
		if (one_in(m, 2)) {
			mem(m, 0x8d, REG_RSP, REG_RSP, by); /* lea */
		} else {
			rr(m, 0x81, 0, REG_RSP); /* add */
			bytes(m, (u32)by, 4);
			m->undef = 0;
		}
		return;
	}
	if (m->keep >> to & 1)
		return;
	if (one_in(m, 3))
		by += (s32)below(m, 8);
	if (!in_data(m->value[from] + (u64)(s64)by, 64))
		by = 0;
	if ((unsigned)from == to) {
		switch (below(m, 4)) {
		case 0:
			rr(m, 0x81, 0, to); /* add */
			bytes(m, (u32)by, 4);
			m->undef = 0;
			break;
		case 1:
			rr(m, 0x81, 5, to); /* sub */
			bytes(m, (u32)-by, 4);
			m->undef = 0;
			break;
		case 2:
			by = one_in(m, 2) ? 1 : -1;
			rr(m, 0xff, by < 0, to); /* inc, dec */
			m->undef &= FLAG_CF;
			break;
		default:
			mem(m, 0x8d, to, to, by); /* lea */
			break;
		}
	} else if (one_in(m, 2)) {
		by = 0;
		rr(m, 0x89, (unsigned)from, to); /* mov */
	} else {
		mem(m, 0x8d, to, (unsigned)from, by); /* lea */
	}
	learn(m, to, m->value[from] + (u64)(s64)by);
}

static void small_number(struct maker *m)
{
	unsigned reg = scratch(m);
	u32 v = (u32)below(m, 64);

	mov_imm(m, reg, v);
	learn(m, reg, v);
}

static void push_one(struct maker *m)
{
	unsigned reg = (unsigned)below(m, 16);

	if (!move_rsp(m, -8))
		return;
	switch (below(m, 5)) {
	case 0:
		byte(m, 0x6a);
		byte(m, below(m, 256));
		break;
	case 1:
		byte(m, 0x68);
		bytes(m, below(m, 1ULL << 32), 4);
		break;
	case 2:
		if (m->value[REG_RSP] + 128 < DATA_BASE + DATA_WRITE) { /* push m, off what rsp was */
			mem(m, 0xff, 6, REG_RSP, (s32)(8 * below(m, 8)));
			break;
		}
		/* fall through */
	default:
		if (reg >> 3)
			byte(m, 0x41);
		byte(m, 0x50 | (reg & 7));
	}
}

static void pop_one(struct maker *m)
{
	unsigned reg = scratch(m);

	if (one_in(m, 8)) {
		if (m->value[REG_RSP] + 128 < DATA_BASE + DATA_WRITE && move_rsp(m, 8))
			mem(m, 0x8f, 0, REG_RSP, (s32)(8 * below(m, 8))); /* off what rsp will be */
		return;
	}
	if (!move_rsp(m, 8))
		return;
	if (reg >> 3)
		byte(m, 0x41);
	byte(m, 0x58 | (reg & 7));
	lose(m, reg);
}

static void stack(struct maker *m)
{
	if (m->depth || m->in_function)
		return;
	switch (below(m, 8)) {
	case 0: /* frame */
		if (m->keep >> REG_RBP & 1)
			return;
		rr(m, 0x89, REG_RSP, REG_RBP);
		learn(m, REG_RBP, m->value[REG_RSP]);
		return;
	case 1:
		if (is_pointer(m, REG_RBP) && !(m->keep >> REG_RBP & 1)) {
			s64 by = (s64)(m->value[REG_RBP] + 8 - m->value[REG_RSP]);

			if (move_rsp(m, by)) {
				byte(m, 0xc9);
				lose(m, REG_RBP);
			}
		}
		return;
	case 2: /* flags, there and back */
		if (m->undef)
			define_flags(m);
		if (!move_rsp(m, -8))
			return;
		byte(m, 0x9c);
		block_form(m, INTEGER_REGISTER, -1, 0);
		move_rsp(m, 8);
		byte(m, 0x9d);
		m->undef = 0;
		return;
	default:
		break;
	}
	for (unsigned n = 1 + (unsigned)below(m, 5); n; n--) {
		if (one_in(m, 2))
			push_one(m);
		else
			pop_one(m);
		if (one_in(m, 3) && is_pointer(m, REG_RSP))
			block_form(m, INTEGER_MEMORY, REG_RSP, 0);
	}
}

static void pieces(struct maker *m, unsigned n)
{
	m->depth++;
	while (n-- && !full(m))
		piece(m);
	m->depth--;
}

/* A jump over some instructions, taken or not. */
static void forward(struct maker *m)
{
	unsigned cc = (unsigned)below(m, 16), at;
	u64 before;
	bool wide = one_in(m, 3), by_rcx = one_in(m, 8);

	if (m->undef && !by_rcx)
		define_flags(m);
	before = m->undef;
	if (by_rcx) { /* jrcxz, jecxz, loops */
		static const u8 opcodes[] = {0xe3, 0xe3, 0xe0, 0xe1, 0xe2};
		unsigned which = (unsigned)below(m, ARRAY_SIZE(opcodes));

		if (which > 1 && (m->keep >> REG_RCX & 1 || m->undef & FLAG_ZF))
			which = 0;
		if (which > 1)
			lose(m, REG_RCX);
		wide = false;
		if (one_in(m, 3))
			byte(m, 0x67);
		byte(m, opcodes[which]);
	} else {
		if (wide)
			byte(m, 0x0f);
		byte(m, (wide ? 0x80 : 0x70) | cc);
	}
	bytes(m, 0, wide ? 4 : 1);
	at = m->s->len;
	pieces(m, 1 + (unsigned)below(m, 4));
	if (!wide && m->s->len - at > 127) { /* too far: it leads to the next instruction */
		m->s->bytes[at - 1] = 0;
		return;
	}
	for (unsigned i = 0; i < (wide ? 4 : 1); i++)
		m->s->bytes[at - (wide ? 4 : 1) + i] = (u8)((m->s->len - at) >> 8 * i);
	m->undef |= before;
}

static void loop(struct maker *m)
{
	unsigned counter = one_in(m, 3) ? REG_RCX : scratch(m), at;
	u32 keep = m->keep;

	if (m->depth > 1 || m->keep >> counter & 1)
		return;
	mov_imm(m, counter, 2 + (u32)below(m, 4));
	lose(m, counter);
	m->keep |= m->known | 1u << counter;
	m->undef = FLAG_ARITH;
	at = m->s->len;
	pieces(m, 1 + (unsigned)below(m, 3));
	m->keep = keep;
	if (counter == REG_RCX && at + 126 > m->s->len && one_in(m, 2)) {
		byte(m, m->undef & FLAG_ZF ? 0xe2 : 0xe0 + below(m, 3)); /* loop, and by ZF */
		byte(m, at - (m->s->len + 1));
		return;
	}
	if (one_in(m, 2)) {
		rr(m, 0xff, 1, counter); /* dec */
		m->undef &= FLAG_CF;
	} else {
		rr(m, 0x83, 5, counter); /* sub $1 */
		byte(m, 1);
		m->undef = 0;
	}
	byte(m, 0x0f);
	byte(m, 0x85); /* jnz */
	bytes(m, at - (m->s->len + 4), 4);
}

/* reg += by, of 64 or 32 bits. */
static void advance(struct maker *m, unsigned reg, s32 by)
{
	if (one_in(m, 3)) {
		mem(m, 0x8d, reg, reg, by); /* lea */
		return;
	}
	if (one_in(m, 3)) { /* 32 bits: all addresses have no more */
		if (reg >> 3)
			byte(m, 0x41);
		byte(m, 0x81);
		byte(m, 0xc0 | (reg & 7));
	} else {
		rr(m, 0x81, 0, reg);
	}
	bytes(m, (u32)by, 4);
	m->undef = 0;
}

/* A base that walks over the pages, or from one to the other and back, with accesses off it, and maybe off an
 * index that walks, too. */
static void walk(struct maker *m)
{
	int base = block_pointer(m);
	unsigned counter = scratch(m), at, times = 2 * (1 + (unsigned)below(m, one_in(m, 3) ? 48 : 6));
	unsigned index = scratch(m), by = 1u << below(m, 4);
	u32 keep = m->keep;
	bool flip = one_in(m, 3);
	u64 from;
	s64 step, room;

	if (base < 0 || base == REG_RSP || m->keep >> base & 1 || counter == (unsigned)base ||
	    !in_data(m->value[base] - 0x100, 0x200) || m->depth || m->in_function)
		return;
	from = m->value[base];
	room = (s64)(one_in(m, 2) ? DATA_BASE + DATA_WRITE - 0x100 - from : DATA_BASE + 0x100 - from);
	m->indexed = one_in(m, 3) && index != (unsigned)base && index != counter && !(m->keep >> index & 1);
	if (m->indexed) {
		m->index = index;
		m->scale = (unsigned)below(m, 4);
		mov_imm(m, index, (u32)below(m, 64));
		learn(m, index, m->s->bytes[m->s->len - 4]);
		room -= (s64)by * times << m->scale;
	}
	step = room / (s64)times & (one_in(m, 4) ? ~0 : ~7);
	mov_imm(m, counter, times);
	lose(m, counter);
	m->keep |= m->known | 1u << counter;
	m->undef = FLAG_ARITH;
	at = m->s->len;
	m->depth++;
	for (unsigned n = 1 + (unsigned)below(m, 4); n; n--) {
		block_form(m, one_in(m, 6) ? VECTOR_MEMORY : INTEGER_MEMORY, base, from);
		if (one_in(m, 3))
			block_form(m, INTEGER_REGISTER, -1, 0);
	}
	m->depth--;
	m->keep = keep;
	if (flip) {
		rr(m, 0x81, 6, (unsigned)base); /* xor */
		bytes(m, 0x1000, 4);
	} else {
		advance(m, (unsigned)base, (s32)step);
		learn(m, (unsigned)base, from + (u64)(step * times));
	}
	if (m->indexed) {
		advance(m, index, (s32)by);
		lose(m, index);
		m->indexed = false;
	}
	rr(m, 0x83, 5, counter); /* sub $1 */
	byte(m, 1);
	m->undef = 0;
	byte(m, 0x0f);
	byte(m, 0x85); /* jnz */
	bytes(m, at - (m->s->len + 4), 4);
}

static void call(struct maker *m)
{
	const struct function *f;

	if (!m->function_count || m->in_function)
		return;
	f = &m->functions[below(m, m->function_count)];
	if (f->writes & m->keep)
		return;
	if (m->undef)
		define_flags(m);
	if (one_in(m, 3)) {
		unsigned reg = scratch(m);

		mov_imm(m, reg, f->at);
		lose(m, reg);
		if (reg >> 3)
			byte(m, 0x41);
		byte(m, 0xff);
		byte(m, 0xd0 | (reg & 7));
	} else {
		byte(m, 0xe8);
		bytes(m, f->at - (here(m) + 4), 4);
	}
	m->known &= ~f->writes;
	m->writes |= f->writes;
	m->undef = f->undef;
}

static void indirect_jump(struct maker *m)
{
	unsigned reg = scratch(m);

	mov_imm(m, reg, here(m) + 5 + (reg >> 3) + (reg >> 3) + 2);
	lose(m, reg);
	if (reg >> 3)
		byte(m, 0x41);
	byte(m, 0xff);
	byte(m, 0xe0 | (reg & 7));
}

static void string(struct maker *m)
{
	static const u8 opcodes[] = {0xa4, 0xa6, 0xaa, 0xac, 0xae}; /* movs cmps stos lods scas */
	unsigned which = (unsigned)below(m, 5), log = (unsigned)below(m, 4), repeat = (unsigned)below(m, 3);
	bool compares = which == 1 || which == 4, si = which == 0 || which == 1 || which == 3,
	     di = which != 3;
	u64 n = repeat ? below(m, 12) : 1, by = n << log;
	u32 written = (repeat ? 1u << REG_RCX : 0) | (si ? 1u << REG_RSI : 0) | (di ? 1u << REG_RDI : 0) |
	              (which == 3 ? 1u << REG_RAX : 0);

	if (written & m->keep)
		return;
	for (unsigned reg = REG_RSI; reg <= REG_RDI; reg++) {
		int from = block_pointer(m);

		if (!(written >> reg & 1) || (is_pointer(m, reg) && in_data(m->value[reg] - 128, 256)))
			continue;
		if (from < 0 || !in_data(m->value[from] - 128, 256))
			return;
		rr(m, 0x89, (unsigned)from, reg);
		learn(m, reg, m->value[from]);
	}
	if (repeat) {
		mov_imm(m, REG_RCX, (u32)n);
		byte(m, repeat == 1 ? 0xf3 : 0xf2);
	}
	if (log == 1)
		byte(m, 0x66);
	if (log == 3)
		byte(m, 0x48);
	byte(m, opcodes[which] | (log ? 1 : 0));
	for (unsigned reg = 0; reg < 16; reg++) {
		if (!(written >> reg & 1))
			continue;
		if ((reg != REG_RSI && reg != REG_RDI) || (repeat && compares) || !is_known(m, reg))
			lose(m, reg);
		else
			learn(m, reg, m->value[reg] + (m->down ? -by : by));
	}
	if (compares && !repeat)
		m->undef = 0;
}

static void piece(struct maker *m)
{
	u64 at = below(m, 100);

	if (full(m))
		return;
	if (at < 40)
		instruction(m);
	else if (at < 58)
		group(m);
	else if (at < 68)
		move_pointer(m);
	else if (at < 80)
		stack(m);
	else if (at < 88 && m->depth < 3)
		forward(m);
	else if (at < 91)
		(one_in(m, 3) ? loop : walk)(m);
	else if (at < 94)
		call(m);
	else if (at < 96)
		string(m);
	else if (at < 97)
		indirect_jump(m);
	else
		small_number(m);
}

/* ---- a block ---- */

/* Registers that are addresses in the beginning, and some small numbers. */
static void choose_registers(struct maker *m)
{
	u64 *g = m->s->in.gpr, middle = DATA_BASE + 0x1000;
	u32 wanted = 1u << REG_RSP | 1u << below(m, 16) | 1u << below(m, 16) | 1u << below(m, 16) |
	             1u << below(m, 16) | (one_in(m, 2) ? 1u << 10 : 0) | (one_in(m, 2) ? 1u << 11 : 0);

	for (unsigned reg = 0; reg < 16; reg++) {
		if (wanted >> reg & 1) {
			u64 at = one_in(m, 2) ? middle + 8 * (below(m, 64) - 32)
			                      : DATA_BASE + 0x200 + 8 * below(m, (DATA_WRITE - 0x400) / 8);

			if (one_in(m, 6) && (reg != REG_RSP || one_in(m, 4)))
				at += below(m, 8);
			m->value[reg] = g[reg] = at;
			m->known |= 1u << reg;
		} else if (one_in(m, 6)) {
			m->value[reg] = g[reg] = below(m, 64);
			m->known |= 1u << reg;
		}
	}
}

static void make_function(struct maker *m)
{
	struct maker saved = *m;
	struct function *f = &m->functions[m->function_count];

	f->at = here(m);
	m->in_function = true;
	m->keep = m->known; /* the caller's */
	m->known = 0;
	m->writes = 0;
	m->undef = 0;
	for (unsigned n = 1 + (unsigned)below(m, 4); n; n--)
		piece(m);
	byte(m, 0xc3);
	f->writes = m->writes;
	f->undef = m->undef;
	m->known = saved.known;
	memcpy(m->value, saved.value, sizeof(m->value));
	m->keep = 0;
	m->in_function = false;
	m->function_count++;
}

static void make_code(struct maker *m)
{
	unsigned at;

	m->undef = 0;
	if (one_in(m, 3)) {
		unsigned n = 1 + (unsigned)below(m, FUNCTIONS);

		byte(m, 0xe9);
		bytes(m, 0, 4);
		at = m->s->len;
		while (n--)
			make_function(m);
		for (unsigned i = 0; i < 4; i++)
			m->s->bytes[at - 4 + i] = (u8)((m->s->len - at) >> 8 * i);
		m->undef = 0;
	}
	for (unsigned n = 4 + (unsigned)below(m, 20); n && !full(m); n--)
		piece(m);
	m->s->undefined = m->undef;
}

void block_make(struct sample *s, const struct form_list *l, u64 seed, u64 number, u8 *data)
{
	u64 block = number / BLOCK_CASES;
	struct maker m = {
	        .r = {.state = seed * 0x9e3779b97f4a7c15ULL ^ block * 0xd1342543de82ef95ULL}, .s = s, .l = l};
	struct rng r = {.state = seed ^ number * 0xbf58476d1ce4e5b9ULL};
	u32 pointers = 0, mxcsr;
	u64 move;
	u16 fcw;

	rng_next(&m.r);
	*s = (struct sample){.number = number, .code = block + 1};
	s->rip = CODE_BASE + 0x800 + (u32)below(&m, 64);
	if (one_in(&m, 4))
		s->rip = CODE_BASE + 0x1000 - (u32)below(&m, 300);
	m.down = one_in(&m, 8);
	choose_registers(&m);
	for (unsigned reg = 0; reg < 16; reg++)
		pointers |= (u32)is_pointer(&m, reg) << reg;
	u32 known = m.known;
	make_code(&m);

	/* From here on it is this case's own. */
	move = rng_one_in(&r, 2) ? 0 : 32 * (rng_below(&r, 17) - 8);
	if (rng_one_in(&r, 24))
		move += rng_below(&r, 32);
	for (unsigned reg = 0; reg < 16; reg++) {
		if (pointers >> reg & 1)
			s->in.gpr[reg] += move;
		else if (!(known >> reg & 1))
			s->in.gpr[reg] = rng_integer(&r);
	}
	s->in.rflags = 0x202 | (rng_next(&r) & FLAG_ARITH) | (m.down ? FLAG_DF : 0);
	vectors_random(&r, s->in.xsave);
	memcpy(&mxcsr, s->in.xsave + 24, 4);
	memcpy(&fcw, s->in.xsave, 2);
	if (!rng_one_in(&r, 8))
		mxcsr |= 0x1f80;
	if (!rng_one_in(&r, 16)) {
		fcw |= 0x3f;
		s->in.xsave[2] &= 0x7f;
		s->in.xsave[3] &= 0x7f;
	}
	memcpy(s->in.xsave + 24, &mxcsr, 4);
	memcpy(s->in.xsave, &fcw, 2);
	for (unsigned i = 0; i < DATA_SIZE; i += 8) {
		u64 v = rng_next(&r);

		memcpy(data + i, &v, 8);
	}
	s->in.rip = s->in.far_rip = s->rip;
	s->in.far_cs = SEL_CODE64;
	s->in.cs = s->in.far_cs;
	s->in.ss = SEL_DATA;
	s->in.components = vectors_components();
}
