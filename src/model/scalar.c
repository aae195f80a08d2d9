#include "model/scalar.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- base64, RFC 4648 §4 ---- */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_write(struct buffer *b, const void *bytes, size_t length)
{
	const u8 *p = bytes;

	for (size_t i = 0; i < length; i += 3) {
		size_t n = min(length - i, (size_t)3);
		u32 v = (u32)p[i] << 16 | (n > 1 ? (u32)p[i + 1] << 8 : 0) | (n > 2 ? p[i + 2] : 0);
		char out[4] = {digits[v >> 18], digits[v >> 12 & 63], n > 1 ? digits[v >> 6 & 63] : '=',
		               n > 2 ? digits[v & 63] : '='};

		buffer_append(b, out, 4);
	}
}

char *base64_parse(struct arena *a, const char *text, size_t length, size_t *out_length)
{
	char *out = arena_alloc(a, length / 4 * 3 + 4);
	unsigned bits = 0, padding = 0;
	size_t n = 0, seen = 0;
	u32 v = 0;

	for (size_t i = 0; i < length; i++) {
		const char *digit;

		if (text[i] == '\n' || text[i] == '\r')
			continue;
		seen++;
		if (text[i] == '=') {
			if (++padding > 2)
				return NULL;
			continue;
		}
		digit = text[i] ? strchr(digits, text[i]) : NULL;
		if (!digit || padding)
			return NULL;
		v = v << 6 | (u32)(digit - digits);
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			out[n++] = (char)(v >> bits);
			v &= (1u << bits) - 1;
		}
	}
	if (seen % 4 || v)
		return NULL;
	*out_length = n;
	return out;
}

/* ---- time ---- */

/* With leading zeros. */
static void write_digits(struct buffer *b, int number, unsigned count)
{
	char *p = buffer_reserve(b, count);

	for (unsigned i = count; i--; number /= 10)
		p[i] = (char)('0' + number % 10);
	p[count] = 0;
	b->length += count;
}

void scalar_write_time(struct buffer *b, s64 ms)
{
	s64 seconds = ms >= 0 ? ms / 1000 : -((999 - ms) / 1000);
	time_t t = (time_t)seconds;
	struct tm tm;

	gmtime_r(&t, &tm);
	if (tm.tm_year < -1900 || tm.tm_year > 9999 - 1900) {
		buffer_printf(b, "%d-", tm.tm_year + 1900);
	} else {
		write_digits(b, tm.tm_year + 1900, 4);
		buffer_char(b, '-');
	}
	write_digits(b, tm.tm_mon + 1, 2);
	buffer_char(b, '-');
	write_digits(b, tm.tm_mday, 2);
	buffer_char(b, 'T');
	write_digits(b, tm.tm_hour, 2);
	buffer_char(b, ':');
	write_digits(b, tm.tm_min, 2);
	buffer_char(b, ':');
	write_digits(b, tm.tm_sec, 2);
	buffer_char(b, '.');
	write_digits(b, (int)(ms - seconds * 1000), 3);
	buffer_char(b, 'Z');
}

int scalar_parse_time(const char *text, s64 *ms)
{
	int year, month, day, hour = 0, minute = 0, second = 0, used = 0, sign = 0, zone = 0;
	int length[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	double fraction = 0;
	struct tm tm;

	if (sscanf(text, "%4d-%2d-%2d%n", &year, &month, &day, &used) != 3 || used != 10 || year < 1970 ||
	    month < 1 || month > 12 || day < 1 || day > length[month - 1])
		return -1;
	text += used;
	if (*text == 'T' || *text == ' ') {
		used = 0;
		if (sscanf(text + 1, "%2d:%2d%n", &hour, &minute, &used) != 2 || used != 5)
			return -1;
		text += 1 + used;
		if (*text == ':') {
			used = 0;
			if (sscanf(text + 1, "%2d%n", &second, &used) != 1 || used != 2)
				return -1;
			text += 3;
			if (*text == '.') {
				double scale = 1;

				for (text++; *text >= '0' && *text <= '9'; text++)
					fraction += (*text - '0') * (scale /= 10);
			}
		}
		if (*text == 'Z') {
			text++;
		} else if (*text == '+' || *text == '-') {
			int h, m;

			sign = *text == '+' ? 1 : -1;
			used = 0;
			if (sscanf(text + 1, "%2d:%2d%n", &h, &m, &used) != 2 || used != 5)
				return -1;
			zone = sign * (h * 60 + m);
			text += 6;
		}
	}
	if (*text || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60)
		return -1;
	tm = (struct tm){.tm_year = year - 1900,
	                 .tm_mon = month - 1,
	                 .tm_mday = day,
	                 .tm_hour = hour,
	                 .tm_min = minute - zone,
	                 .tm_sec = second};
	*ms = (s64)timegm(&tm) * 1000 + (s64)(fraction * 1000 + 0.5);
	return 0;
}

/* ---- all ---- */

void scalar_write_double(struct buffer *b, double number)
{
	char text[40];

	if (number == floor(number) && fabs(number) < 1e15) {
		buffer_printf(b, "%.1f", number);
		return;
	}
	for (int precision = 15; precision <= 17; precision++) {
		snprintf(text, sizeof(text), "%.*g", precision, number);
		if (strtod(text, NULL) == number)
			break;
	}
	buffer_text(b, text);
}

int scalar_parse(struct value *v, const char *text, size_t length)
{
	char *end;

	switch ((enum value_kind)v->kind) {
	case VALUE_STRING:
		v->text = text;
		v->count = (u32)length;
		return 0;
	case VALUE_BLOB:
		v->text = base64_parse(v->arena, text, length, &length);
		v->count = (u32)length;
		return v->text ? 0 : -1;
	case VALUE_INTEGER:
		if (!length || !strchr("-0123456789", text[0]))
			return -1;
		errno = 0;
		v->integer = strtoll(text, &end, 10);
		if (*end || errno || end == text)
			return -1;
		return value_shape(v)->type == SHAPE_INTEGER && v->integer != (s32)v->integer ? -1 : 0;
	case VALUE_DOUBLE:
		if (!length || !strchr("-.0123456789", text[0]) || strpbrk(text, "xX"))
			return -1;
		v->number = strtod(text, &end);
		return *end || end == text || !isfinite(v->number) ? -1 : 0;
	case VALUE_BOOLEAN:
		v->boolean = !strcasecmp(text, "true") || !strcmp(text, "1");
		return v->boolean || !strcasecmp(text, "false") || !strcmp(text, "0") ? 0 : -1;
	case VALUE_TIME:
		return scalar_parse_time(text, &v->integer);
	default:
		return -1;
	}
}
