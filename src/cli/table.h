/*
 * Tables for people: as wide as what is in them, with colours on a terminal alone.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { TABLE_COLUMNS = 10, TABLE_TEXT = 96 };

struct table {
	unsigned columns, rows, room;
	unsigned right; /* a bit a column: to the right, as numbers */
	char (*cells)[TABLE_TEXT];
	int coloured; /* the column whose words are states; -1: none */
};

/* Headings, as many as there are columns. */
void table_begin(struct table *t, const char *const *headings, unsigned columns);
/* The next cell, row by row; longer texts are cut, with "…" at the end. */
void table_cell(struct table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints it and gives its memory back. */
void table_end(struct table *t);

/* The colour of a state's word, and what ends it: "" if stdout is no terminal or NO_COLOR is set. */
const char *table_colour(const char *state);
const char *table_plain(void);
