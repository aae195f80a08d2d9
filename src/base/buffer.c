#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void reserve(struct buffer *b, size_t more)
{
	size_t room = b->room ? b->room : 256;

	if (b->length + more + 1 <= b->room)
		return;
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
	reserve(b, length);
	if (length)
		memcpy(b->bytes + b->length, bytes, length);
	b->length += length;
	b->bytes[b->length] = 0;
}

void buffer_text(struct buffer *b, const char *text)
{
	buffer_append(b, text, strlen(text));
}

void buffer_char(struct buffer *b, char c)
{
	buffer_append(b, &c, 1);
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
	reserve(b, (size_t)length);
	vsnprintf(b->bytes + b->length, (size_t)length + 1, format, again);
	va_end(again);
	b->length += (size_t)length;
}
