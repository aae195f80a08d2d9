#include "api/http.h"

#include <strings.h>

const char *http_header(const struct http_request *r, const char *name)
{
	for (unsigned i = 0; i < r->header_count; i++)
		if (!strcasecmp(r->headers[i].name, name))
			return r->headers[i].value;
	return NULL;
}
