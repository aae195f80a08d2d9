/*
 * A block while it is being made: what blocks.c, which puts pieces together, and block_forms.c, which makes
 * single instructions, share.
 */
#pragma once

#include "oracle.h"

#include "cpu/state.h"

enum { FUNCTIONS = 3, ROOM = BLOCK_SIZE - 128 };

struct function {
	u32 at;     /* rip */
	u32 writes; /* general registers */
	u64 undef;  /* flags, at its return; it may read all of its caller's */
};

struct maker {
	struct rng r;
	struct sample *s;
	const struct form_list *l;
	u32 known; /* registers whose value is in value[] */
	u64 value[16];
	u32 keep;     /* registers that must not be written */
	u32 writes;   /* … that were */
	u64 undef;    /* flags that may be undefined here */
	bool indexed; /* by this, mostly: */
	unsigned index, scale;
	unsigned depth; /* in how many pieces that may be skipped or repeated */
	bool down;      /* DF */
	bool in_function;
	struct function functions[FUNCTIONS];
	unsigned function_count;
};

static inline u64 below(struct maker *m, u64 n)
{
	return rng_below(&m->r, n);
}
static inline bool one_in(struct maker *m, u64 n)
{
	return rng_one_in(&m->r, n);
}

static inline void byte(struct maker *m, u64 v)
{
	m->s->bytes[m->s->len++] = (u8)v;
}
static inline void bytes(struct maker *m, u64 v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		byte(m, v >> 8 * i);
}
static inline u32 here(const struct maker *m)
{
	return m->s->rip + m->s->len;
}
static inline bool full(const struct maker *m)
{
	return m->s->len > ROOM;
}

static inline bool in_data(u64 at, u64 size)
{
	return at >= DATA_BASE && at + size <= DATA_BASE + DATA_WRITE;
}
static inline bool is_known(const struct maker *m, unsigned reg)
{
	return m->known >> reg & 1;
}
static inline bool is_pointer(const struct maker *m, unsigned reg)
{
	return is_known(m, reg) && in_data(m->value[reg], 1);
}
static inline void lose(struct maker *m, unsigned reg)
{
	m->known &= ~(1u << reg);
	m->writes |= 1u << reg;
}
static inline void learn(struct maker *m, unsigned reg, u64 v)
{
	m->writes |= 1u << reg;
	m->value[reg] = v;
	if (m->depth)
		m->known &= ~(1u << reg);
	else
		m->known |= 1u << reg;
}

/* A known address to use as base; -1: none. */
int block_pointer(struct maker *m);

enum block_kind { INTEGER_MEMORY, INTEGER_REGISTER, VECTOR_MEMORY, VECTOR_REGISTER, OTHER, KINDS };
/* An instruction of this kind; base: of its memory operand, or -1; near: where that is to be, or 0. */
void block_form(struct maker *m, enum block_kind k, int base, u64 near);
