#include "cli/tree.h"

#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tree {
	char *text;
	struct tree *first, *last, *next; /* lines below; the next one beside */
};

static struct tree *make(const char *format, va_list ap)
{
	struct tree *t = calloc(1, sizeof(*t));

	if (!t || vasprintf(&t->text, format, ap) < 0)
		abort();
	return t;
}

struct tree *tree_new(const char *format, ...)
{
	struct tree *t;
	va_list ap;

	va_start(ap, format);
	t = make(format, ap);
	va_end(ap);
	return t;
}

struct tree *tree_add(struct tree *parent, const char *format, ...)
{
	struct tree *t;
	va_list ap;

	va_start(ap, format);
	t = make(format, ap);
	va_end(ap);
	if (parent->last)
		parent->last->next = t;
	else
		parent->first = t;
	parent->last = t;
	return t;
}

struct strokes {
	const char *more, *end, *through, *space;
};

/* prefix: what stands before the lines below t; of `length` bytes. */
static void print(struct tree *t, char *prefix, size_t length, size_t room, const struct strokes *s)
{
	struct tree *next;

	printf("%s\n", t->text);
	for (struct tree *line = t->first; line; line = next) {
		const char *down = line->next ? s->through : s->space;

		next = line->next;
		printf("%s%s", prefix, next ? s->more : s->end);
		if (length + strlen(down) < room)
			strcpy(prefix + length, down);
		print(line, prefix, length + strlen(prefix + length), room, s);
		prefix[length] = 0;
	}
	free(t->text);
	free(t);
}

void tree_end(struct tree *t)
{
	static const struct strokes lines = {"├─ ", "└─ ", "│  ", "   "},
	                            plain = {"|- ", "`- ", "|  ", "   "};
	char prefix[256] = "";

	setlocale(LC_CTYPE, "");
	print(t, prefix, 0, sizeof(prefix), strcmp(nl_langinfo(CODESET), "UTF-8") ? &plain : &lines);
}
