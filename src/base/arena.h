/*
 * Memory that is given back all at once: what a request needs while it is answered. Not for several threads
 * at a time. Running out of memory ends the process: what is asked for is bounded by whoever reads requests.
 */
#pragma once

#include "base/types.h"

#include <stdarg.h>

struct arena_chunk;
struct arena {
	struct arena_chunk *chunks;
	u8 *next, *end;
	size_t size; /* bytes handed out */
};

void arena_init(struct arena *a);
/* Forgets all, keeps one chunk for what comes next. */
void arena_clear(struct arena *a);
void arena_release(struct arena *a);

/* All that was asked for since a mark was set can be given back: marks are taken back newest first. */
struct arena_mark {
	struct arena_chunk *chunk, *older;
	u8 *next;
};
struct arena_mark arena_mark(const struct arena *a);
void arena_rewind(struct arena *a, struct arena_mark mark);

/* Zeroed, aligned to 8 bytes; never NULL. */
void *arena_alloc(struct arena *a, size_t size);
/* A copy with a zero byte behind it. */
char *arena_text(struct arena *a, const char *text, size_t length);
char *arena_strdup(struct arena *a, const char *text);
char *arena_vprintf(struct arena *a, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
char *arena_printf(struct arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
