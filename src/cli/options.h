/* Options of a verb: `--name VALUE` or `--name`, each of them anywhere among the words. */
#pragma once

#include <stdbool.h>

struct verb_option {
	const char *name;  /* without dashes; NULL ends a list */
	const char **text; /* takes a value, or: */
	bool *flag;
};

/*
 * Reads argv, in which words other than options come to stand last, from optind on: at least `least` and at
 * most `most` of them. --help prints the usage. The option "data", if the verb has it and nobody says it, is
 * the usual folder (place.h). Returns -1 to go on, else the exit status.
 */
int options_read(int argc, char **argv, const struct verb_option *options, const char *usage, int least,
                 int most);

struct error;
/* "insula VERB: …" on stderr; returns 1, the exit status. */
int verb_failed(const char *verb, const struct error *e);
