/* The signature of a request: lines "name: value" are headers, the line that begins with ? is the query, what
 * follows an empty line is the body. Nothing that was not signed with the secret may pass. */
#include "api/signature.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct http_request r = {.method = "POST", .path = "/", .query = "", .body = ""};
	struct signature s;
	struct arena arena;
	struct fault f = {0};
	char *text, *line, *next;

	arena_init(&arena);
	r.arena = &arena;
	text = arena_text(&arena, (const char *)data, size);
	for (line = text; line && *line && *line != '\n' && r.header_count < HTTP_HEADERS_MAX; line = next) {
		char *colon;

		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		colon = strstr(line, ": ");
		if (*line == '?') {
			r.query = line + 1;
		} else if (colon) {
			*colon = 0;
			r.headers[r.header_count++] = (struct http_header){line, colon + 2};
		}
	}
	if (line && *line == '\n') {
		r.body = line + 1;
		r.body_length = strlen(r.body);
	}
	if (signature_read(&s, &r, &f) == 0) {
		if (signature_check(&s, &r, "a secret that nobody knows", 1795000000, &f) == 0)
			abort();
	}
	if (!f.status || !f.code[0])
		abort();
	arena_release(&arena);
	return 0;
}
