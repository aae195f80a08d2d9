#include "api/form.h"

#include <string.h>

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

char *form_decode(struct arena *a, const char *text, size_t length, bool plus, size_t *out_length)
{
	char *out = arena_alloc(a, length + 1);
	size_t n = 0;

	for (size_t i = 0; i < length; i++) {
		char c = text[i];

		if (c == '%') {
			int high = length - i > 2 ? hex(text[i + 1]) : -1;
			int low = length - i > 2 ? hex(text[i + 2]) : -1;

			if (high < 0 || low < 0)
				return NULL;
			c = (char)(high << 4 | low);
			i += 2;
		} else if (plus && c == '+') {
			c = ' ';
		}
		if (!c)
			return NULL;
		out[n++] = c;
	}
	if (out_length)
		*out_length = n;
	return out;
}

static struct form_pair *add(struct form *f, struct arena *a)
{
	if (f->count == FORM_MAX)
		return NULL;
	if (f->count == f->room) {
		unsigned room = f->room ? 2 * f->room : 32;
		struct form_pair *more = arena_alloc(a, room * sizeof(*more));

		if (f->count)
			memcpy(more, f->pairs, f->count * sizeof(*more));
		f->pairs = more;
		f->room = room;
	}
	return &f->pairs[f->count++];
}

int form_parse(struct form *f, struct arena *a, const char *text, size_t length)
{
	const char *end = text + length;

	while (text < end) {
		const char *stop = memchr(text, '&', (size_t)(end - text)), *equals;
		struct form_pair *pair;

		if (!stop)
			stop = end;
		if (stop == text) {
			text++;
			continue;
		}
		equals = memchr(text, '=', (size_t)(stop - text));
		pair = add(f, a);
		if (!pair)
			return -1;
		pair->name = form_decode(a, text, (size_t)((equals ? equals : stop) - text), true, NULL);
		pair->value = equals ? form_decode(a, equals + 1, (size_t)(stop - equals - 1), true,
		                                   &pair->value_length)
		                     : "";
		if (!pair->name || !pair->value)
			return -1;
		text = stop + 1;
	}
	return 0;
}

const char *form_get(const struct form *f, const char *name)
{
	for (unsigned i = 0; i < f->count; i++)
		if (!strcmp(f->pairs[i].name, name))
			return f->pairs[i].value;
	return NULL;
}
