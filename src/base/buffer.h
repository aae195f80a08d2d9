/* Bytes that grow: for texts that are put together. Always ends in a zero byte that does not count. */
#pragma once

#include "base/types.h"

struct buffer {
	char *bytes; /* NULL while empty */
	size_t length, room;
};

void buffer_release(struct buffer *b);
static inline void buffer_clear(struct buffer *b)
{
	b->length = 0;
	if (b->bytes)
		b->bytes[0] = 0;
}
/* Room for so many bytes behind what is there; how many of them count is said by adding to length. */
void buffer_grow(struct buffer *b, size_t more);
static inline char *buffer_reserve(struct buffer *b, size_t more)
{
	if (b->room - b->length <= more)
		buffer_grow(b, more);
	return b->bytes + b->length;
}
static inline void buffer_char(struct buffer *b, char c)
{
	char *p = buffer_reserve(b, 1);

	p[0] = c;
	p[1] = 0;
	b->length++;
}
void buffer_append(struct buffer *b, const void *bytes, size_t length);
void buffer_text(struct buffer *b, const char *text);
void buffer_integer(struct buffer *b, s64 integer);
void buffer_printf(struct buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "" if empty */
static inline const char *buffer_str(const struct buffer *b)
{
	return b->bytes ? b->bytes : "";
}
