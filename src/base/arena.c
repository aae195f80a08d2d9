#include "base/arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 16 << 10 };

struct arena_chunk {
	struct arena_chunk *older;
	size_t size;
	u8 bytes[] __attribute__((aligned(16)));
};

void arena_init(struct arena *a)
{
	*a = (struct arena){0};
}

void arena_release(struct arena *a)
{
	while (a->chunks) {
		struct arena_chunk *chunk = a->chunks;

		a->chunks = chunk->older;
		free(chunk);
	}
	arena_init(a);
}

void arena_clear(struct arena *a)
{
	struct arena_chunk *keep = a->chunks;

	if (!keep)
		return;
	if (keep->size > CHUNK) {
		arena_release(a);
		return;
	}
	a->chunks = keep->older;
	arena_release(a);
	keep->older = NULL;
	a->chunks = keep;
	a->next = keep->bytes;
	a->end = keep->bytes + keep->size;
}

struct arena_mark arena_mark(const struct arena *a)
{
	return (struct arena_mark){a->chunks, a->chunks ? a->chunks->older : NULL, a->next};
}

static void free_until(struct arena_chunk **list, const struct arena_chunk *end)
{
	while (*list != end) {
		struct arena_chunk *chunk = *list;

		*list = chunk->older;
		free(chunk);
	}
}

void arena_rewind(struct arena *a, struct arena_mark mark)
{
	free_until(&a->chunks, mark.chunk);
	if (mark.chunk)
		free_until(&mark.chunk->older, mark.older); /* big ones, behind it */
	a->next = mark.next;
	a->end = mark.chunk ? mark.chunk->bytes + mark.chunk->size : NULL;
}

static void *grow(struct arena *a, size_t size)
{
	size_t room = size > CHUNK / 4 ? size : CHUNK;
	struct arena_chunk *chunk = malloc(sizeof(*chunk) + room);

	if (!chunk)
		abort();
	chunk->size = room;
	if (room != CHUNK && a->chunks) { /* a big one goes behind: what is open stays so */
		chunk->older = a->chunks->older;
		a->chunks->older = chunk;
		return chunk->bytes;
	}
	chunk->older = a->chunks;
	a->chunks = chunk;
	a->next = chunk->bytes + size;
	a->end = chunk->bytes + room;
	return chunk->bytes;
}

static void *take(struct arena *a, size_t size)
{
	void *p = a->next;

	size = align_up(size, (size_t)8);
	a->size += size;
	if ((size_t)(a->end - a->next) < size)
		return grow(a, size);
	a->next += size;
	return p;
}

void *arena_alloc(struct arena *a, size_t size)
{
	return memset(take(a, size), 0, size);
}

char *arena_text(struct arena *a, const char *text, size_t length)
{
	char *copy = take(a, length + 1);

	if (length)
		memcpy(copy, text, length);
	copy[length] = 0;
	return copy;
}

char *arena_strdup(struct arena *a, const char *text)
{
	return arena_text(a, text, strlen(text));
}

char *arena_vprintf(struct arena *a, const char *format, va_list args)
{
	char guess[1024], *text;
	va_list again;
	int length;

	va_copy(again, args);
	length = vsnprintf(guess, sizeof(guess), format, args);
	if (length < 0)
		abort();
	if ((size_t)length < sizeof(guess)) {
		text = arena_text(a, guess, (size_t)length);
	} else {
		text = take(a, (size_t)length + 1);
		vsnprintf(text, (size_t)length + 1, format, again);
	}
	va_end(again);
	return text;
}

char *arena_printf(struct arena *a, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = arena_vprintf(a, format, args);
	va_end(args);
	return text;
}
