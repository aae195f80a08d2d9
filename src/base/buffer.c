#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buffer_grow(struct buffer *b, size_t more)
{
	size_t room = b->room ? b->room : 256;

	while (room < b->length + more + 1)
		room *= 2;
	b->bytes = realloc(b->bytes, room);
	if (!b->bytes)
		abort();
	b->room = room;
}

void buffer_release(struct buffer *b)
{
	free(b->bytes);
	*b = (struct buffer){0};
}

void buffer_append(struct buffer *b, const void *bytes, size_t length)
{
	char *p = buffer_reserve(b, length);

	if (length)
		memcpy(p, bytes, length);
	p[length] = 0;
	b->length += length;
}

void buffer_text(struct buffer *b, const char *text)
{
	buffer_append(b, text, strlen(text));
}

void buffer_integer(struct buffer *b, s64 integer)
{
	u64 left = integer < 0 ? -(u64)integer : (u64)integer;
	char digits[24], *p = digits + sizeof(digits);

	do
		*--p = (char)('0' + left % 10);
	while (left /= 10);
	if (integer < 0)
		*--p = '-';
	buffer_append(b, p, (size_t)(digits + sizeof(digits) - p));
}

void buffer_printf(struct buffer *b, const char *format, ...)
{
	va_list args, again;
	int length;

	va_start(args, format);
	va_copy(again, args);
	length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (length < 0)
		abort();
	vsnprintf(buffer_reserve(b, (size_t)length), (size_t)length + 1, format, again);
	va_end(again);
	b->length += (size_t)length;
}
