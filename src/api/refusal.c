#include "api/refusal.h"
#include "api/server.h"
#include "api/xml.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_MAX = 1024 };

static bool explain(struct fault *f, int status)
{
	switch (status) {
	case 400:
		return fault_set(f, "MalformedHttpRequestException",
		                 "The request is not HTTP/1.1, or its headers are longer than %d bytes",
		                 SERVER_HEADERS_MAX) < 0;
	case 413:
		return fault_set(f, "RequestEntityTooLargeException",
		                 "The body is longer than %d bytes, or its chunks are malformed",
		                 SERVER_BODY_MAX) < 0;
	case 417:
		return fault_set(f, "MalformedHttpRequestException",
		                 "The expectation cannot be met: only 100-continue is") < 0;
	case 501:
		return fault_set(f, "InvalidAction", "The method is not supported") < 0;
	default:
		return false;
	}
}

/* Copies what is there, if it is not longer; its length, or 0. Removes nothing, so a frozen buffer is fine.
 */
static size_t peek(struct evbuffer *out, char page[PAGE_MAX + 1])
{
	size_t length = evbuffer_get_length(out), copied = 0;
	struct evbuffer_iovec parts[16];
	int count;

	page[0] = 0;
	if (length > PAGE_MAX)
		return 0;
	count = evbuffer_peek(out, -1, NULL, parts, ARRAY_SIZE(parts));
	if (count > (int)ARRAY_SIZE(parts))
		return 0;
	for (int i = 0; i < count; i++) {
		memcpy(page + copied, parts[i].iov_base, parts[i].iov_len);
		copied += parts[i].iov_len;
	}
	page[copied] = 0;
	return copied;
}

/* The status of a whole page of the library's own; 0: it is none. */
static int page_status(struct evbuffer *out)
{
	static const char end[] = "</BODY></HTML>\n";
	char page[PAGE_MAX + 1];
	size_t length = peek(out, page);

	if (length < sizeof(end) || strncmp(page, "HTTP/", 5) || !strchr(page, ' ') ||
	    strcmp(page + length - (sizeof(end) - 1), end) ||
	    !strstr(page, "\r\nContent-Type: text/html\r\n"))
		return 0;
	return atoi(strchr(page, ' '));
}

static void look(struct evbuffer *out, const struct evbuffer_cb_info *info, void *ctx)
{
	struct http_answer answer = {0};
	struct fault fault;
	char id[FRONT_ID];

	if (!info->n_added || !explain(&fault, page_status(out)))
		return;
	front_new_id(id);
	xml_fault(&answer.body, &model_ec2, &fault, id);
	evbuffer_unfreeze(out, 1); /* which keeps others than the writer from taking bytes away */
	evbuffer_drain(out, evbuffer_get_length(out));
	evbuffer_add_printf(
	        out,
	        "HTTP/1.1 %d Refused\r\nContent-Type: text/xml;charset=UTF-8\r\nServer: insula\r\n"
	        "Connection: close\r\nContent-Length: %zu\r\n\r\n%s",
	        fault.status, answer.body.length, buffer_str(&answer.body));
	answer.status = fault.status;
	answer.note.id = id;
	memcpy(answer.note.code, fault.code, sizeof(fault.code));
	front_answered(ctx, &answer, 0);
	buffer_release(&answer.body);
}

void refusal_watch(struct bufferevent *connection, struct front *front)
{
	evbuffer_add_cb(bufferevent_get_output(connection), look, front);
}
