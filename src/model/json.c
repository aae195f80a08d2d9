#include "model/json.h"
#include "model/scalar.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- writing ---- */

void json_write_text(struct buffer *b, const char *text, size_t length)
{
	size_t from = 0;

	buffer_char(b, '"');
	for (size_t i = 0; i < length; i++) {
		u8 c = (u8)text[i];

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		buffer_append(b, text + from, i - from);
		from = i + 1;
		if (c == '\n')
			buffer_text(b, "\\n");
		else if (c < 0x20)
			buffer_printf(b, "\\u%04x", c);
		else
			buffer_printf(b, "\\%c", c);
	}
	buffer_append(b, text + from, length - from);
	buffer_char(b, '"');
}

void json_write(struct buffer *b, const struct value *v)
{
	const char *name;

	switch ((enum value_kind)v->kind) {
	case VALUE_STRUCTURE:
		buffer_char(b, '{');
		for (unsigned i = 0; i < v->count; i++) {
			name = model_text(v->model,
			                  model_member(v->model, value_shape(v), v->fields[i].member)->name);
			if (i)
				buffer_char(b, ',');
			json_write_text(b, name, strlen(name));
			buffer_char(b, ':');
			json_write(b, v->fields[i].value);
		}
		buffer_char(b, '}');
		break;
	case VALUE_LIST:
		buffer_char(b, '[');
		for (unsigned i = 0; i < v->count; i++) {
			if (i)
				buffer_char(b, ',');
			json_write(b, v->items[i]);
		}
		buffer_char(b, ']');
		break;
	case VALUE_MAP:
		buffer_char(b, '{');
		for (unsigned i = 0; i + 1 < v->count; i += 2) {
			if (i)
				buffer_char(b, ',');
			json_write_text(b, v->items[i]->text, v->items[i]->count);
			buffer_char(b, ':');
			json_write(b, v->items[i + 1]);
		}
		buffer_char(b, '}');
		break;
	case VALUE_STRING:
		json_write_text(b, v->text, v->count);
		break;
	case VALUE_BLOB:
		buffer_char(b, '"');
		base64_write(b, v->text, v->count);
		buffer_char(b, '"');
		break;
	case VALUE_INTEGER:
		buffer_integer(b, v->integer);
		break;
	case VALUE_DOUBLE:
		scalar_write_double(b, v->number);
		break;
	case VALUE_BOOLEAN:
		buffer_text(b, v->boolean ? "true" : "false");
		break;
	case VALUE_TIME:
		buffer_printf(b, "%s%lld.%03lld", v->integer < 0 ? "-" : "", llabs(v->integer) / 1000,
		              llabs(v->integer) % 1000);
		break;
	}
}

/* ---- reading: RFC 8259 ---- */

enum { DEPTH_MAX = 64 };

struct reader {
	struct arena *arena;
	const struct model *model;
	const char *p, *end;
	unsigned depth;
};

static void blanks(struct reader *r)
{
	while (r->p < r->end && (*r->p == ' ' || *r->p == '\n' || *r->p == '\t' || *r->p == '\r'))
		r->p++;
}

static bool take(struct reader *r, char c)
{
	blanks(r);
	if (r->p == r->end || *r->p != c)
		return false;
	r->p++;
	return true;
}

static bool word(struct reader *r, const char *text)
{
	size_t length = strlen(text);

	if ((size_t)(r->end - r->p) < length || memcmp(r->p, text, length))
		return false;
	r->p += length;
	return true;
}

static int four_digits(struct reader *r, u32 *out)
{
	u32 v = 0;

	if (r->end - r->p < 4)
		return -1;
	for (unsigned i = 0; i < 4; i++) {
		char c = *r->p++;

		if (c >= '0' && c <= '9')
			v = v << 4 | (u32)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			v = v << 4 | (u32)((c | 0x20) - 'a' + 10);
		else
			return -1;
	}
	*out = v;
	return 0;
}

static char *utf8(char *out, u32 v)
{
	if (v < 0x80) {
		*out++ = (char)v;
	} else if (v < 0x800) {
		*out++ = (char)(0xc0 | v >> 6);
		*out++ = (char)(0x80 | (v & 0x3f));
	} else if (v < 0x10000) {
		*out++ = (char)(0xe0 | v >> 12);
		*out++ = (char)(0x80 | (v >> 6 & 0x3f));
		*out++ = (char)(0x80 | (v & 0x3f));
	} else {
		*out++ = (char)(0xf0 | v >> 18);
		*out++ = (char)(0x80 | (v >> 12 & 0x3f));
		*out++ = (char)(0x80 | (v >> 6 & 0x3f));
		*out++ = (char)(0x80 | (v & 0x3f));
	}
	return out;
}

/* What \uXXXX stands for, with its second half if it is a surrogate; 0: malformed, or a zero. */
static u32 escaped(struct reader *r)
{
	u32 v, low;

	if (four_digits(r, &v) < 0 || (v >= 0xdc00 && v < 0xe000))
		return 0;
	if (v < 0xd800 || v >= 0xdc00)
		return v;
	if (!word(r, "\\u") || four_digits(r, &low) < 0 || low < 0xdc00 || low >= 0xe000)
		return 0;
	return 0x10000 + ((v - 0xd800) << 10 | (low - 0xdc00));
}

/* A string that says itself, without escapes, where it lies; NULL: it is another. */
static const char *plain(struct reader *r, size_t *length)
{
	const char *p;

	blanks(r);
	if (r->p == r->end || *r->p != '"')
		return NULL;
	for (p = r->p + 1; p < r->end && (u8)*p >= 0x20 && *p != '"' && *p != '\\';)
		p++;
	if (p == r->end || *p != '"')
		return NULL;
	*length = (size_t)(p - r->p - 1);
	r->p = p + 1;
	return p - *length;
}

/* A string, decoded; NULL: malformed. */
static const char *string(struct reader *r, size_t *length)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *stop, *which, *as_is = plain(r, length);
	char *out, *text;

	if (as_is)
		return arena_text(r->arena, as_is, *length);
	if (!take(r, '"'))
		return NULL;
	for (stop = r->p; stop < r->end && *stop != '"'; stop++)
		if (*stop == '\\')
			stop++;
	if (stop >= r->end)
		return NULL;
	out = text = arena_alloc(r->arena, (size_t)(stop - r->p) + 1);
	while (r->p < stop) {
		u8 c = (u8)*r->p++;

		if (c < 0x20)
			return NULL;
		if (c != '\\') {
			*out++ = (char)c;
			continue;
		}
		c = (u8)*r->p++;
		if (c == 'u') {
			u32 v = escaped(r);

			if (!v)
				return NULL;
			out = utf8(out, v);
			continue;
		}
		which = c ? strchr(from, c) : NULL;
		if (!which)
			return NULL;
		*out++ = to[which - from];
	}
	r->p = stop + 1;
	*length = (size_t)(out - text);
	return text;
}

static int skip(struct reader *r);

static int skip_inside(struct reader *r, char close, bool named)
{
	size_t length;

	r->p++;
	if (take(r, close))
		return 0;
	do {
		if (named && (!string(r, &length) || !take(r, ':')))
			return -1;
		if (skip(r) < 0)
			return -1;
	} while (take(r, ','));
	return take(r, close) ? 0 : -1;
}

static int skip(struct reader *r)
{
	size_t length;
	int result;

	blanks(r);
	if (r->p == r->end || ++r->depth > DEPTH_MAX)
		return -1;
	if (*r->p == '{' || *r->p == '[') {
		result = skip_inside(r, *r->p == '{' ? '}' : ']', *r->p == '{');
	} else if (*r->p == '"') {
		result = string(r, &length) ? 0 : -1;
	} else if (word(r, "true") || word(r, "false") || word(r, "null")) {
		result = 0;
	} else {
		for (length = 0; r->p < r->end && *r->p && strchr("+-.eE0123456789", *r->p); length++)
			r->p++;
		result = length ? 0 : -1;
	}
	r->depth--;
	return result;
}

static struct value *read_value(struct reader *r, unsigned shape);

/* The member of this name, -1: there is none. What we wrote ourselves has members in their order, so it is
 * one of the next few, most often. */
static int find_member(struct reader *r, const struct model_shape *s, int last, const char *name,
                       size_t length)
{
	for (int i = last + 1; i < min(s->count, last + 5); i++) {
		const char *is = model_text(r->model, model_member(r->model, s, (unsigned)i)->name);

		if (!strncmp(is, name, length) && !is[length])
			return i;
	}
	return model_member_find(r->model, s, arena_text(r->arena, name, length));
}

static int structure(struct reader *r, struct value *v)
{
	int index = -1;

	if (!take(r, '{'))
		return -1;
	if (take(r, '}'))
		return 0;
	do {
		size_t length;
		const char *name = plain(r, &length);
		struct value *member;

		if (!name)
			name = string(r, &length);
		if (!name || !take(r, ':'))
			return -1;
		blanks(r);
		index = find_member(r, value_shape(v), index, name, length);
		if (index < 0 || (r->p < r->end && *r->p == 'n')) {
			if (skip(r) < 0)
				return -1;
			continue;
		}
		member = read_value(r, model_member(r->model, value_shape(v), (unsigned)index)->shape);
		if (!member)
			return -1;
		value_put_at(v, (unsigned)index, member);
	} while (take(r, ','));
	return take(r, '}') ? 0 : -1;
}

static int list(struct reader *r, struct value *v)
{
	if (!take(r, '['))
		return -1;
	if (take(r, ']'))
		return 0;
	do {
		struct value *item = read_value(r, value_shape(v)->item);

		if (!item)
			return -1;
		value_append_value(v, item);
	} while (take(r, ','));
	return take(r, ']') ? 0 : -1;
}

static int map(struct reader *r, struct value *v)
{
	if (!take(r, '{'))
		return -1;
	if (take(r, '}'))
		return 0;
	do {
		struct value *key = value_new(r->arena, r->model, value_shape(v)->first), *item;
		size_t length;

		key->text = string(r, &length);
		if (!key->text || !take(r, ':'))
			return -1;
		key->count = (u32)length;
		item = read_value(r, value_shape(v)->item);
		if (!item)
			return -1;
		value_append_value(v, key);
		value_append_value(v, item);
	} while (take(r, ','));
	return take(r, '}') ? 0 : -1;
}

static int number(struct reader *r, struct value *v)
{
	char text[64];
	size_t length = 0;

	while (r->p + length < r->end && length < sizeof(text) - 1 && r->p[length] &&
	       strchr("+-.eE0123456789", r->p[length]))
		length++;
	memcpy(text, r->p, length);
	text[length] = 0;
	r->p += length;
	if (v->kind == VALUE_TIME) {
		char *stop;
		double seconds = strtod(text, &stop);

		if (!length || *stop || !(fabs(seconds) < 1e12))
			return -1;
		v->integer = (s64)llround(seconds * 1000);
		return 0;
	}
	return scalar_parse(v, text, length);
}

static struct value *read_value(struct reader *r, unsigned shape)
{
	struct value *v = value_new(r->arena, r->model, shape);
	const char *text;
	size_t length;
	int result = -1;

	if (++r->depth > DEPTH_MAX)
		return NULL;
	blanks(r);
	switch ((enum value_kind)v->kind) {
	case VALUE_STRUCTURE:
		result = structure(r, v);
		break;
	case VALUE_LIST:
		result = list(r, v);
		break;
	case VALUE_MAP:
		result = map(r, v);
		break;
	case VALUE_STRING:
	case VALUE_BLOB:
		text = string(r, &length);
		result = text ? scalar_parse(v, text, length) : -1;
		break;
	case VALUE_BOOLEAN:
		v->boolean = word(r, "true");
		result = v->boolean || word(r, "false") ? 0 : -1;
		break;
	default:
		result = number(r, v);
		break;
	}
	r->depth--;
	return result < 0 ? NULL : v;
}

struct value *json_parse(struct arena *a, const struct model *m, unsigned shape, const char *text,
                         size_t length)
{
	struct reader r = {a, m, text, text + length, 0};
	struct value *v = read_value(&r, shape);

	blanks(&r);
	return v && r.p == r.end ? v : NULL;
}
