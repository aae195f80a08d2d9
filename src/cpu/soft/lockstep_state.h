/*
 * What the lock-step check (lockstep.h) keeps and compares: a vCPU's state, the pages that a rehearsal
 * writes, and the report. Nothing here calls libc while vectors are live but lockstep_report().
 */
#pragma once

#include "cpu/soft/soft.h"

enum {
	LOCKSTEP_START = offsetof(struct soft_cpu, regs),
	LOCKSTEP_XSAVE = offsetof(struct soft_cpu, xsave) - LOCKSTEP_START,
	LOCKSTEP_PAGES = 32,
	LOCKSTEP_NOTES = 16,
	LOCKSTEP_CHUNK = 256, /* of a page: what is copied and compared at once */
};

/* A copy of struct soft_cpu from regs to xsave. */
struct lockstep_state {
	_Alignas(64) u8 bytes[LOCKSTEP_XSAVE + VCPU_XSAVE_SIZE];
};

/* To name fields of a copy: no others are there. */
static inline struct soft_cpu *lockstep_cpu(struct lockstep_state *s)
{
	return (struct soft_cpu *)((uintptr_t)s->bytes - LOCKSTEP_START);
}

/* A page that a rehearsal writes. */
struct lockstep_page {
	u8 *host;          /* the guest's */
	u8 *before, *copy; /* as it was; as the rehearsal made it */
	u8 *furthest;      /* as one that went further made it */
	u16 chunks;        /* those that are there */
};

struct lockstep_run {
	struct soft_block *block;
	const struct op *from; /* first operation */
	const struct op *at;   /* the one that stopped it, or the last */
	bool ended;            /* it came to the end of the block */
	unsigned rounds;       /* how often it is to go back to the block's start before */
	unsigned passed;       /* … and did */
	bool ahead;   /* it went on for as long as a loop may: translated code may have left it before */
	bool vectors; /* vector state is compared, too */
	struct lockstep_state begin, after;
	struct lockstep_page pages[LOCKSTEP_PAGES];
	unsigned count; /* of pages */
	bool further;   /* there was one that did */
	u8 *memory;
	struct {
		u64 rip;
		u32 af;
	} notes[LOCKSTEP_NOTES]; /* blocks entered, a ring */
	unsigned noted;
};

void lockstep_take(const struct soft_cpu *c, struct lockstep_state *s, bool vectors);
void lockstep_put(struct soft_cpu *c, const struct lockstep_state *s, bool vectors);
/* All but arithmetic flags, and what is derived. */
bool lockstep_same(const struct soft_cpu *a, const struct soft_cpu *b, bool vectors);
void lockstep_note(struct lockstep_run *r, const struct soft_cpu *c, u32 flags);

int lockstep_pages_init(struct lockstep_run *r);
void lockstep_pages_release(struct lockstep_run *r);
/* For a new rehearsal: no page is written yet. */
void lockstep_pages_forget(struct lockstep_run *r);
/* For a rehearsal that goes less far: pages are as they were, and what else the last one would write
 * (accessed flags of pages for which there are TLB entries by now, or on the way to a fault) may have been
 * written. */
void lockstep_pages_shorten(struct lockstep_run *r);
/* For the same rehearsal again: pages are as they were before it, but for what others wrote since. */
void lockstep_pages_again(struct lockstep_run *r);
/* Where a rehearsal reads or writes len bytes at host, cut to the page; NULL: too many pages. */
u8 *lockstep_page(struct lockstep_run *r, u8 *host, size_t len, bool write);
enum lockstep_memory {
	LOCKSTEP_SAME,
	LOCKSTEP_MORE,   /* something was written that the rehearsal did not write */
	LOCKSTEP_DIFFERS /* what it wrote is not there */
};
enum lockstep_memory lockstep_pages_compare(const struct lockstep_run *r);

/* On standard error; vectors are parked. c: what translated code came to. */
void lockstep_report(const struct soft_cpu *c, struct lockstep_run *r, const char *where);
