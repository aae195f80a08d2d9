#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *e, int code, const char *fmt, ...)
{
	va_list ap;

	e->code = code;
	va_start(ap, fmt);
	int n = vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	if (code && n >= 0 && (size_t)n < sizeof(e->text))
		snprintf(e->text + n, sizeof(e->text) - (size_t)n, ": %s", strerror(code));
	return -1;
}

int error_prefix(struct error *e, const char *fmt, ...)
{
	char whole[2 * sizeof(e->text)];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(whole, sizeof(e->text), fmt, ap);
	va_end(ap);
	if (n < 0)
		return -1;
	size_t used = strlen(whole);
	snprintf(whole + used, sizeof(whole) - used, ": %s", e->text);
	memcpy(e->text, whole, sizeof(e->text));
	e->text[sizeof(e->text) - 1] = '\0';
	return -1;
}
