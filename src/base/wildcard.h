/*
 * Patterns as users of AWS write them: * stands for any text, also none, ? for one character. The pattern has
 * to match all of the text. Time is at most length of pattern times length of text.
 */
#pragma once

#include <stdbool.h>

enum wildcard {
	WILDCARD_FOLD = 1,   /* letters match without case, as actions do in IAM's policies */
	WILDCARD_ESCAPE = 2, /* \ takes away the meaning of what follows, as in filters */
};

bool wildcard_match(const char *pattern, const char *text, enum wildcard flags);
