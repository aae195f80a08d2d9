#include "vmm/http.h"

#include <string.h>
#include <strings.h>

/* Tokens of RFC 9110 §5.6.2, which methods and header names are made of. */
static bool is_token(u8 c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* Takes "METHOD SP PATH SP HTTP/1.x" apart. */
static enum http_result start_line(const char *p, size_t len, struct http_request *r)
{
	size_t n = 0, path = 0;

	while (n < len && is_token((u8)p[n]))
		n++;
	if (!n || n >= sizeof(r->method) || n == len || p[n] != ' ')
		return HTTP_BAD;
	memcpy(r->method, p, n);
	r->method[n] = 0;
	p += n + 1;
	len -= n + 1;
	while (path < len && p[path] > ' ' && p[path] < 0x7f)
		path++;
	if (!path || p[0] != '/' || path == len || p[path] != ' ')
		return HTTP_BAD;

	const char *query = memchr(p, '?', path);
	size_t keep = query ? (size_t)(query - p) : path;

	if (keep >= sizeof(r->path))
		return HTTP_TOO_LARGE;
	memcpy(r->path, p, keep);
	r->path[keep] = 0;
	p += path + 1;
	len -= path + 1;
	if (len != 8 || memcmp(p, "HTTP/1.", 7) || (p[7] != '0' && p[7] != '1'))
		return HTTP_BAD;
	r->keep_alive = p[7] == '1';
	return HTTP_OK;
}

struct head {
	u64 content_length;
	bool has_length, expects_continue;
};

static bool name_is(const char *line, size_t name_len, const char *name)
{
	return name_len == strlen(name) && !strncasecmp(line, name, name_len);
}

static bool value_is(const char *value, size_t len, const char *text)
{
	return len == strlen(text) && !strncasecmp(value, text, len);
}

static enum http_result content_length(struct head *h, const char *value, size_t len)
{
	u64 n = 0;

	if (!len || len > 10)
		return HTTP_BAD;
	for (size_t i = 0; i < len; i++) {
		if (value[i] < '0' || value[i] > '9')
			return HTTP_BAD;
		n = n * 10 + (u64)(value[i] - '0');
	}
	/* Two lengths that differ are how requests get smuggled. */
	if (h->has_length && h->content_length != n)
		return HTTP_BAD;
	h->has_length = true;
	h->content_length = n;
	return n > HTTP_MAX_BODY ? HTTP_TOO_LARGE : HTTP_OK;
}

static enum http_result header_line(const char *line, size_t len, struct http_request *r, struct head *h)
{
	size_t name = 0;

	while (name < len && is_token((u8)line[name]))
		name++;
	if (!name || name == len || line[name] != ':')
		return HTTP_BAD;

	const char *value = line + name + 1;
	size_t value_len = len - name - 1;

	while (value_len && (*value == ' ' || *value == '\t'))
		value++, value_len--;
	while (value_len && (value[value_len - 1] == ' ' || value[value_len - 1] == '\t'))
		value_len--;
	if (memchr(value, 0, value_len))
		return HTTP_BAD;
	if (name_is(line, name, "content-length"))
		return content_length(h, value, value_len);
	if (name_is(line, name, "transfer-encoding"))
		return HTTP_BAD; /* bodies come with a length here */
	if (name_is(line, name, "expect"))
		h->expects_continue = value_is(value, value_len, "100-continue");
	if (name_is(line, name, "connection")) {
		if (value_is(value, value_len, "close"))
			r->keep_alive = false;
		else if (value_is(value, value_len, "keep-alive"))
			r->keep_alive = true;
	}
	return HTTP_OK;
}

enum http_result http_parse(const u8 *buf, size_t len, struct http_request *r)
{
	const char *p = (const char *)buf;
	const char *end = memmem(p, min(len, (size_t)HTTP_MAX_HEAD), "\r\n\r\n", 4);
	struct head head = {0};
	bool first = true;

	memset(r, 0, sizeof(*r));
	if (!end)
		return len >= HTTP_MAX_HEAD ? HTTP_TOO_LARGE : HTTP_MORE;
	while (p <= end) {
		const char *stop = memmem(p, (size_t)(end + 2 - p), "\r\n", 2);
		enum http_result result = first ? start_line(p, (size_t)(stop - p), r)
		                                : header_line(p, (size_t)(stop - p), r, &head);

		if (result != HTTP_OK)
			return result;
		first = false;
		p = stop + 2;
	}
	r->body = (const u8 *)end + 4;
	r->body_len = head.content_length;
	r->length = (size_t)(r->body - buf) + r->body_len;
	if (r->length > len)
		return head.expects_continue && len == (size_t)(r->body - buf) ? HTTP_CONTINUE : HTTP_MORE;
	return HTTP_OK;
}

const char *http_reason(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 202:
		return "Accepted";
	case 204:
		return "No Content";
	case 413:
		return "Content Too Large";
	default:
		return "Bad Request";
	}
}
