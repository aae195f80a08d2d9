#include "base/record.h"
#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { VALUE_MAX = 256, MESSAGE_MAX = 1024, ROOM_AT_END = 4, ROOM_OF_FIELD = 64 };

static void put(struct record *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct record *r, const char *format, ...)
{
	size_t left = sizeof(r->text) - ROOM_AT_END - r->length;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(r->text + r->length, left, format, args);
	va_end(args);
	if (n > 0 && (size_t)n < left)
		r->length += (size_t)n;
}

static size_t room(const struct record *r)
{
	return sizeof(r->text) - r->length;
}

static void put_value(struct record *r, const char *text, unsigned most)
{
	bool quoted = r->json || !*text || strpbrk(text, " \"\\=");

	if (quoted)
		put(r, "\"");
	for (unsigned i = 0; i < most && text[i] && room(r) > ROOM_OF_FIELD / 2; i++) {
		u8 c = (u8)text[i];

		if (c == '"' || c == '\\')
			put(r, "\\%c", c);
		else if (c < ' ' || c > '~')
			put(r, r->json ? "\\u%04x" : "\\x%02x", c);
		else
			put(r, "%c", c);
	}
	if (quoted)
		put(r, "\"");
}

bool record_begin(struct record *r, enum log_level level, const char *event)
{
	u64 now = clock_realtime_ns();
	time_t seconds = (time_t)(now / 1000000000);
	struct tm tm;
	char time[32];

	if (!log_enabled(level))
		return false;
	r->level = level;
	r->json = log_is_structured();
	r->length = 0;
	if (r->json) {
		gmtime_r(&seconds, &tm);
		strftime(time, sizeof(time), "%Y-%m-%dT%H:%M:%S", &tm);
		put(r, "{\"time\":\"%s.%03uZ\",\"level\":\"%s\",\"event\":\"%s\"", time,
		    (unsigned)(now / 1000000 % 1000), log_level_name(level), event);
	} else {
		put(r, "insula: %s: %s", log_level_name(level), event);
	}
	return true;
}

/* False: there is no room left for a field. */
static bool put_name(struct record *r, const char *name)
{
	if (room(r) < strlen(name) + ROOM_OF_FIELD)
		return false;
	put(r, r->json ? ",\"%s\":" : " %s=", name);
	return true;
}

void record_text(struct record *r, const char *name, const char *text)
{
	if (text && put_name(r, name))
		put_value(r, text, VALUE_MAX);
}

void record_message(struct record *r, const char *text)
{
	if (put_name(r, "text"))
		put_value(r, text, MESSAGE_MAX);
}

void record_integer(struct record *r, const char *name, s64 value)
{
	if (put_name(r, name))
		put(r, "%lld", (long long)value);
}

void record_milliseconds(struct record *r, const char *name, u64 ns)
{
	if (put_name(r, name))
		put(r, "%.3f", (double)ns / 1e6);
}

void record_close(struct record *r)
{
	if (r->json)
		r->text[r->length++] = '}';
	r->text[r->length++] = '\n';
}

void record_end(struct record *r)
{
	record_close(r);
	log_lines(r->text, r->length);
}
