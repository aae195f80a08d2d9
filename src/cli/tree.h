/* Trees for people: lines that hang on one another, drawn with lines on a terminal that has them. */
#pragma once

#include <stddef.h>

struct tree;

/* A tree of one line. */
struct tree *tree_new(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A line below a line. */
struct tree *tree_add(struct tree *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints the whole to stdout, and gives its memory back. */
void tree_end(struct tree *t);
