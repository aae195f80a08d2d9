/*
 * nftables rules as texts, and the way into the kernel: one transaction of what changed since the last one,
 * so that a change costs as much as it changes, and counters and running connections go on. The texts that
 * were loaded last are kept in a file; what proves that they are what is there is one of two:
 *
 * - A generation. The kernel counts the transactions of a network namespace. For one that is ours alone: it
 *   costs nothing, and what only adds does not have to wait until the kernel has let go of something.
 * - A stamp: an empty chain of the tables, named after the texts' hash. For the host, whose rules others
 *   change.
 *
 * Where it does not hold (a crash between the two, somebody else's hands), the tables are replaced whole,
 * also in one transaction.
 *
 * All memory is the arena's. For the thread whose network namespace is meant.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "net/command.h"

enum unit_kind { UNIT_CHAIN = 'c', UNIT_SET = 's', UNIT_MAP = 'm' };

/* A chain and its rules, in order; or a set or map and its elements, in any order. */
struct unit {
	enum unit_kind kind;
	const char *table; /* "inet vpc" */
	const char *name;
	const char *declaration; /* "{ type … }", or "" */
	const char **lines;      /* "KEY" or "KEY : VALUE" of elements */
	unsigned count, room;
};

struct ruleset {
	struct arena *arena;
	struct unit **units;
	unsigned count, room;
};

struct unit *ruleset_unit(struct ruleset *r, enum unit_kind kind, const char *table, const char *name,
                          const char *declaration);
/* A rule or an element. */
void unit_line(struct ruleset *r, struct unit *u, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
/* The unit of this name, or NULL. */
struct unit *ruleset_find(const struct ruleset *r, const char *table, const char *name);

/* The texts as they are kept, and back. */
char *ruleset_write(const struct ruleset *r, struct arena *a);
void ruleset_read(struct ruleset *r, const char *text); /* r: with an arena, empty */

/* Commands for nft that lead from one to the other; before NULL: whatever there was in the tables goes. The
 * texts, those of ruleset_write(), are for stamps; NULL: without. */
char *ruleset_script(const struct ruleset *before, const char *before_text, const struct ruleset *after,
                     const char *after_text, struct arena *a);

/* A transaction under way. */
struct ruleset_change {
	struct arena *arena;
	const struct ruleset *after;
	const char *text; /* of after */
	u32 *generation;
	struct command nft;
	bool running;    /* there is something to do */
	bool difference; /* it may turn out not to fit what is there */
};

/* Begins to load it. before: what was loaded last, as it was written; NULL if nothing. generation: the one
 * after that; NULL: by stamps. Begun, it must be ended, by the same thread; all that is given stays until
 * then. */
int ruleset_begin(struct ruleset_change *c, const char *before, const struct ruleset *after, const char *text,
                  u32 *generation, struct arena *a, struct error *e);
/* Waits until the rules are in force, and sets the generation. */
int ruleset_end(struct ruleset_change *c, struct error *e);
