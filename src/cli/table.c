#include "cli/table.h"
#include "base/types.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool colours(void)
{
	return isatty(1) && !getenv("NO_COLOR");
}

const char *table_colour(const char *state)
{
	static const struct {
		const char *state, *colour;
	} words[] = {{"running", "\033[32m"},    {"available", "\033[32m"}, {"up", "\033[32m"},
	             {"terminated", "\033[90m"}, {"lost", "\033[31m"},      {"failed", "\033[31m"}};

	if (!colours())
		return "";
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(state, words[i].state))
			return words[i].colour;
	return "\033[33m";
}

const char *table_plain(void)
{
	return colours() ? "\033[0m" : "";
}

static void put(struct table *t, const char *text)
{
	/* On memory's end the table ends here. */
	if (t->rows == t->room) {
		unsigned room = t->room ? t->room * 2 : 64;
		void *cells = realloc(t->cells, room * sizeof(*t->cells));

		if (!cells)
			return;
		t->cells = cells;
		t->room = room;
	}
	snprintf(t->cells[t->rows++], TABLE_TEXT, "%s", text);
}

void table_begin(struct table *t, const char *const *headings, unsigned columns)
{
	*t = (struct table){.columns = columns, .coloured = -1};
	for (unsigned i = 0; i < columns; i++)
		put(t, headings[i]);
}

void table_cell(struct table *t, const char *format, ...)
{
	char text[TABLE_TEXT];
	va_list ap;
	int length;

	va_start(ap, format);
	length = vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (length >= (int)sizeof(text)) {
		size_t end = sizeof(text) - sizeof("…");

		/* not within a character */
		while (end && ((unsigned char)text[end] & 0xc0) == 0x80)
			end--;
		strcpy(text + end, "…");
	}
	put(t, text);
}

/* Columns of a terminal: characters, not bytes. */
static unsigned width_of(const char *text)
{
	unsigned n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static void print_cell(const struct table *t, unsigned i, unsigned width)
{
	unsigned column = i % t->columns, pad = width - width_of(t->cells[i]);
	bool last = column == t->columns - 1, right = t->right >> column & 1;
	const char *colour = i >= t->columns && (int)column == t->coloured ? table_colour(t->cells[i]) : "";

	printf("%*s%s%s%s%*s%s", right ? (int)pad : 0, "", colour, t->cells[i], *colour ? table_plain() : "",
	       right || last ? 0 : (int)pad, "", last ? "\n" : "  ");
}

void table_end(struct table *t)
{
	unsigned widths[TABLE_COLUMNS] = {0}, count = t->rows - t->rows % t->columns;

	for (unsigned i = 0; i < count; i++)
		widths[i % t->columns] = max(widths[i % t->columns], width_of(t->cells[i]));
	for (unsigned i = 0; i < count; i++)
		print_cell(t, i, widths[i % t->columns]);
	free(t->cells);
	*t = (struct table){0};
}
