#include "api/xml.h"
#include "model/scalar.h"

#include <string.h>

/* Length of the UTF-8 sequence at p, 0 if there is none that XML 1.0 can hold (§2.2). */
static unsigned sequence(const u8 *p, size_t left)
{
	static const u32 least[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned n;
	u32 v;

	if (p[0] < 0x80)
		return p[0] >= 0x20 || p[0] == '\t' || p[0] == '\n' || p[0] == '\r';
	n = (p[0] & 0xe0) == 0xc0 ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : (p[0] & 0xf8) == 0xf0 ? 4 : 0;
	if (!n || n > left)
		return 0;
	v = p[0] & (0x7fu >> n);
	for (unsigned i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (p[i] & 0x3f);
	}
	if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v < 0xe000) || v == 0xfffe || v == 0xffff)
		return 0;
	return n;
}

/* Stands for itself. */
static bool is_plain(u8 c)
{
	return c >= 0x20 && c < 0x7f && c != '&' && c != '<' && c != '>' && c != '"';
}

void xml_text(struct buffer *b, const char *text, size_t length)
{
	const u8 *p = (const u8 *)text, *end = p + length, *from = p;

	while (p < end) {
		const char *instead = NULL;
		unsigned n;

		if (is_plain(*p)) {
			p++;
			continue;
		}
		n = sequence(p, (size_t)(end - p));
		if (!n)
			instead = "\xef\xbf\xbd";
		else if (*p == '&')
			instead = "&amp;";
		else if (*p == '<')
			instead = "&lt;";
		else if (*p == '>')
			instead = "&gt;";
		else if (*p == '"')
			instead = "&quot;";
		else if (*p == '\r')
			instead = "&#13;";
		if (!instead) {
			p += n;
			continue;
		}
		buffer_append(b, from, (size_t)(p - from));
		buffer_text(b, instead);
		from = ++p;
	}
	buffer_append(b, from, (size_t)(p - from));
}

static void open_tag(struct buffer *b, const char *name)
{
	size_t length = strlen(name);
	char *p = buffer_reserve(b, length + 2);

	*p++ = '<';
	memcpy(p, name, length);
	memcpy(p + length, ">", 2);
	b->length += length + 2;
}

static void close_tag(struct buffer *b, const char *name)
{
	size_t length = strlen(name);
	char *p = buffer_reserve(b, length + 3);

	memcpy(p, "</", 2);
	memcpy(p + 2, name, length);
	memcpy(p + 2 + length, ">", 2);
	b->length += length + 3;
}

static void element(struct buffer *b, const char *name, const struct value *v);

static void members(struct buffer *b, const struct value *v)
{
	const struct model_shape *s = value_shape(v);

	for (unsigned i = 0; i < v->count; i++) {
		const struct model_member *member = model_member(v->model, s, v->fields[i].member);

		element(b, model_text(v->model, member->xml), v->fields[i].value);
	}
}

static void content(struct buffer *b, const struct value *v)
{
	const struct model_shape *s = value_shape(v);

	switch ((enum value_kind)v->kind) {
	case VALUE_STRUCTURE:
		members(b, v);
		break;
	case VALUE_LIST:
		for (unsigned i = 0; i < v->count; i++)
			element(b, model_text(v->model, s->item_xml), v->items[i]);
		break;
	case VALUE_MAP:
		for (unsigned i = 0; i + 1 < v->count; i += 2) {
			open_tag(b, "entry");
			element(b, "key", v->items[i]);
			element(b, "value", v->items[i + 1]);
			close_tag(b, "entry");
		}
		break;
	case VALUE_STRING:
		xml_text(b, v->text, v->count);
		break;
	case VALUE_BLOB:
		base64_write(b, v->text, v->count);
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
		scalar_write_time(b, v->integer);
		break;
	}
}

static void element(struct buffer *b, const char *name, const struct value *v)
{
	if (v->kind == VALUE_LIST && (value_shape(v)->flags & SHAPE_FLATTENED)) {
		for (unsigned i = 0; i < v->count; i++)
			element(b, name, v->items[i]);
		return;
	}
	open_tag(b, name);
	content(b, v);
	close_tag(b, name);
}

/* Lists of an answer are there when they are empty, too: clients index them. */
static void whole(struct buffer *b, const struct model *m, unsigned shape, const struct value *v)
{
	const struct model_shape *s = &m->shapes[shape];

	for (unsigned i = 0; i < s->count; i++) {
		const struct model_member *member = model_member(m, s, i);
		const struct value *value = v ? value_at(v, i) : NULL;
		const char *name = model_text(m, member->xml);

		if (value) {
			element(b, name, value);
		} else if (m->shapes[member->shape].type == SHAPE_LIST) {
			buffer_char(b, '<');
			buffer_text(b, name);
			buffer_text(b, "/>");
		}
	}
}

void xml_answer(struct buffer *b, const struct model *m, const struct model_action *action,
                const char *version, const char *request_id, const struct value *v)
{
	const char *name = model_text(m, action->name), *wrapper = model_text(m, action->wrapper);
	const char *space = m->xml_namespace, *slash;
	bool query = m->protocol == PROTOCOL_QUERY;

	buffer_text(b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<");
	buffer_text(b, name);
	buffer_text(b, "Response xmlns=\"");
	/* ec2: the request's version in place of the model's, and a slash behind it, which the model has not
	 * but AWS's answers have: there are clients that look elements up with it. */
	slash = strrchr(space, '/');
	if (!query && slash && slash[1] && version) {
		buffer_append(b, space, (size_t)(slash + 1 - space));
		xml_text(b, version, strlen(version));
		buffer_char(b, '/');
	} else {
		buffer_text(b, space);
	}
	buffer_text(b, "\">");
	if (!query) {
		open_tag(b, "requestId");
		xml_text(b, request_id, strlen(request_id));
		close_tag(b, "requestId");
	} else if (*wrapper) {
		open_tag(b, wrapper);
	}
	if (action->output != MODEL_NONE)
		whole(b, m, action->output, v);
	if (query) {
		if (*wrapper)
			close_tag(b, wrapper);
		buffer_text(b, "<ResponseMetadata><RequestId>");
		xml_text(b, request_id, strlen(request_id));
		buffer_text(b, "</RequestId></ResponseMetadata>");
	}
	buffer_text(b, "</");
	buffer_text(b, name);
	buffer_text(b, "Response>");
}

static void code_and_message(struct buffer *b, const struct fault *f)
{
	open_tag(b, "Code");
	xml_text(b, f->code, strlen(f->code));
	close_tag(b, "Code");
	open_tag(b, "Message");
	xml_text(b, f->message, strlen(f->message));
	close_tag(b, "Message");
}

void xml_fault(struct buffer *b, const struct model *m, const struct fault *f, const char *request_id)
{
	bool query = m && m->protocol == PROTOCOL_QUERY;

	buffer_text(b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
	if (query) {
		buffer_printf(b, "<ErrorResponse xmlns=\"%s\"><Error><Type>%s</Type>", m->xml_namespace,
		              f->status < 500 ? "Sender" : "Receiver");
	} else {
		buffer_text(b, "<Response><Errors><Error>");
	}
	code_and_message(b, f);
	buffer_text(b, query ? "</Error><RequestId>" : "</Error></Errors><RequestID>");
	xml_text(b, request_id, strlen(request_id));
	buffer_text(b, query ? "</RequestId></ErrorResponse>" : "</RequestID></Response>");
}

void xml_fault_rest(struct buffer *b, const struct fault *f, const char *request_id)
{
	buffer_text(b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>");
	code_and_message(b, f);
	open_tag(b, "RequestId");
	xml_text(b, request_id, strlen(request_id));
	close_tag(b, "RequestId");
	buffer_text(b, "</Error>");
}
