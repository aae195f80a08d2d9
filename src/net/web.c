#include "net/web.h"

#include <string.h>
#include <strings.h>

struct text {
	const char *at;
	size_t length;
};

static bool is_token(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool text_is(struct text t, const char *name)
{
	return t.length == strlen(name) && !strncasecmp(t.at, name, t.length);
}

/* The next line without its end; false: it does not end. */
static bool next_line(const char *in, size_t length, size_t *at, struct text *line)
{
	const char *end = memchr(in + *at, '\n', length - *at);

	if (!end)
		return false;
	*line = (struct text){in + *at, (size_t)(end - in) - *at};
	*at += line->length + 1;
	if (line->length && line->at[line->length - 1] == '\r')
		line->length--;
	return true;
}

static int hex(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
	                              : -1;
}

static enum web_result read_path(struct web_request *r, struct text t)
{
	size_t n = 0;

	/* A proxy is told the whole URL. */
	if (t.length > 7 && !strncasecmp(t.at, "http://", 7)) {
		const char *slash = memchr(t.at + 7, '/', t.length - 7);

		t = slash ? (struct text){slash, t.length - (size_t)(slash - t.at)} : (struct text){"/", 1};
	}
	if (!t.length || t.at[0] != '/')
		return WEB_BAD;
	for (size_t i = 0; i < t.length && t.at[i] != '?' && t.at[i] != '#'; i++) {
		int c = (unsigned char)t.at[i];

		if (c == '%') {
			int high = t.length - i > 2 ? hex(t.at[i + 1]) : -1,
			    low = high < 0 ? -1 : hex(t.at[i + 2]);

			if (low < 0)
				return WEB_BAD;
			c = high << 4 | low;
			i += 2;
		}
		if (c <= 0x20 && c != ' ')
			return WEB_BAD;
		if (n == sizeof(r->path) - 1)
			return WEB_TOO_LARGE;
		r->path[n++] = (char)c;
	}
	r->path[n] = 0;
	return WEB_OK;
}

static enum web_result read_request_line(struct web_request *r, struct text line)
{
	const char *space = memchr(line.at, ' ', line.length), *last;
	struct text version;
	size_t method = space ? (size_t)(space - line.at) : 0;

	if (!method || method >= sizeof(r->method))
		return WEB_BAD;
	for (size_t i = 0; i < method; i++)
		if (!is_token(line.at[i]))
			return WEB_BAD;
	memcpy(r->method, line.at, method);
	r->method[method] = 0;
	last = memrchr(line.at, ' ', line.length);
	version = (struct text){last + 1, line.length - (size_t)(last + 1 - line.at)};
	if (last == space || version.length != 8 || strncmp(version.at, "HTTP/1.", 7) ||
	    (version.at[7] != '0' && version.at[7] != '1'))
		return WEB_BAD;
	r->keep_alive = version.at[7] == '1';
	return read_path(r, (struct text){space + 1, (size_t)(last - space) - 1});
}

static enum web_result copy_value(char *to, bool *there, struct text value)
{
	if (*there || value.length >= WEB_VALUE_MAX)
		return WEB_BAD;
	memcpy(to, value.at, value.length);
	to[value.length] = 0;
	*there = true;
	return WEB_OK;
}

static enum web_result read_length(struct web_request *r, struct text value, bool *seen)
{
	size_t n = 0;

	if (*seen || !value.length)
		return WEB_BAD;
	*seen = true;
	for (size_t i = 0; i < value.length; i++) {
		if (value.at[i] < '0' || value.at[i] > '9')
			return WEB_BAD;
		if (n <= WEB_BODY_MAX)
			n = n * 10 + (size_t)(value.at[i] - '0');
	}
	r->body = n;
	return n > WEB_BODY_MAX ? WEB_TOO_LARGE : WEB_OK;
}

static enum web_result read_field(struct web_request *r, struct text line, bool *sized)
{
	const char *colon = memchr(line.at, ':', line.length);
	struct text name = {line.at, colon ? (size_t)(colon - line.at) : 0}, value;

	if (!name.length)
		return WEB_BAD;
	for (size_t i = 0; i < name.length; i++)
		if (!is_token(name.at[i]))
			return WEB_BAD;
	value = (struct text){colon + 1, line.length - name.length - 1};
	while (value.length && (value.at[0] == ' ' || value.at[0] == '\t')) {
		value.at++;
		value.length--;
	}
	while (value.length && (value.at[value.length - 1] == ' ' || value.at[value.length - 1] == '\t'))
		value.length--;
	for (size_t i = 0; i < value.length; i++)
		if ((unsigned char)value.at[i] < ' ' && value.at[i] != '\t')
			return WEB_BAD;

	if (text_is(name, "X-aws-ec2-metadata-token"))
		return copy_value(r->token, &r->has_token, value);
	if (text_is(name, "X-aws-ec2-metadata-token-ttl-seconds"))
		return copy_value(r->ttl, &r->has_ttl, value);
	if (text_is(name, "Content-Length"))
		return read_length(r, value, sized);
	if (text_is(name, "Transfer-Encoding"))
		return WEB_BAD;
	if (text_is(name, "X-Forwarded-For"))
		r->forwarded = true;
	else if (text_is(name, "Connection"))
		r->keep_alive = text_is(value, "keep-alive") || (r->keep_alive && !text_is(value, "close"));
	return WEB_OK;
}

enum web_result web_parse(const u8 *in, size_t length, struct web_request *r)
{
	const char *text = (const char *)in;
	size_t most = length < WEB_HEAD_MAX ? length : WEB_HEAD_MAX, at = 0;
	enum web_result result;
	bool sized = false;
	struct text line;

	*r = (struct web_request){0};
	/* Lines between requests are forgiven. */
	while (at < most && (text[at] == '\r' || text[at] == '\n'))
		at++;
	if (!next_line(text, most, &at, &line))
		return most < WEB_HEAD_MAX ? WEB_MORE : WEB_TOO_LARGE;
	result = read_request_line(r, line);
	while (result == WEB_OK) {
		if (!next_line(text, most, &at, &line))
			return most < WEB_HEAD_MAX ? WEB_MORE : WEB_TOO_LARGE;
		if (!line.length)
			break;
		result = read_field(r, line, &sized);
	}
	r->head = at;
	if (result == WEB_OK && length - at < r->body)
		return WEB_MORE_BODY;
	return result;
}

const char *web_reason(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 401:
		return "Unauthorized";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 413:
		return "Request Entity Too Large";
	case 429:
		return "Too Many Requests";
	default:
		return "Internal Server Error";
	}
}
