/* application/x-www-form-urlencoded texts: query strings and bodies. */
#pragma once

#include "base/arena.h"

struct form_pair {
	const char *name, *value; /* decoded, in the arena; zero bytes in them are refused */
	size_t value_length;
};

struct form {
	struct form_pair *pairs;
	unsigned count, room;
};

/* Adds the pairs of text. -1: not well-formed, or more than FORM_MAX pairs. */
enum { FORM_MAX = 20000 };
int form_parse(struct form *f, struct arena *a, const char *text, size_t length);
/* The first of that name, or NULL. */
const char *form_get(const struct form *f, const char *name);
/* Decodes %XX (and + as a space) in place of text; -1: malformed. */
char *form_decode(struct arena *a, const char *text, size_t length, bool plus, size_t *out_length);
