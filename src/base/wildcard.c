#include "base/wildcard.h"

#include <ctype.h>
#include <stddef.h>

static bool same(char a, char b, bool fold)
{
	return a == b || (fold && tolower((unsigned char)a) == tolower((unsigned char)b));
}

bool wildcard_match(const char *pattern, const char *text, enum wildcard flags)
{
	const char *star = NULL, *from = NULL; /* behind the last *, and the text it was tried at */
	bool fold = flags & WILDCARD_FOLD;

	/* After a mismatch the last * takes one character more. */
	while (*text) {
		bool literal = (flags & WILDCARD_ESCAPE) && *pattern == '\\';

		if (*pattern == '*') {
			star = ++pattern;
			from = text;
		} else if (literal && pattern[1] && same(pattern[1], *text, fold)) {
			pattern += 2;
			text++;
		} else if (!literal && *pattern && (*pattern == '?' || same(*pattern, *text, fold))) {
			pattern++;
			text++;
		} else if (star) {
			pattern = star;
			text = ++from;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}
