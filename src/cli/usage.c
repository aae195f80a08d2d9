/* insula usage: what ran for how long, as it would be billed. */
#include "base/types.h"
#include "cli/client.h"
#include "cli/options.h"
#include "cli/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
        "usage: insula usage [--from TIME] [--to TIME] [--by instance|type|owner|day] [--json] [--data "
        "DIR]\n\n"
        "Seconds that instances ran, each start counted as 60 at least; vCPU-hours and GiB-hours of memory.\n"
        "TIME: 2026-01-31, or 2026-01-31T12:00:00Z; --from is within, --to is not. Days are UTC's.\n";

static void print_line(const json_t *line, const char *by)
{
	bool instance = !strcmp(by, "instance");

	printf("%-20s ", client_text(line, "Key"));
	if (instance)
		printf("%-14s %-13s ", client_text(line, "Type"), client_text(line, "Owner"));
	printf("%6lld %12lld %12.3f %12.3f%s\n",
	       (long long)json_integer_value(json_object_get(line, "Starts")),
	       (long long)json_integer_value(json_object_get(line, "Seconds")),
	       json_real_value(json_object_get(line, "VcpuHours")),
	       json_real_value(json_object_get(line, "GibHours")),
	       json_is_true(json_object_get(line, "Running")) ? "  running" : "");
}

static void print_head(const char *by)
{
	printf("%-20s ", by);
	if (!strcmp(by, "instance"))
		printf("%-14s %-13s ", "type", "owner");
	printf("%6s %12s %12s %12s\n", "starts", "seconds", "vCPU-hours", "GiB-hours");
}

/* All pages of it as one document; NULL with e. */
static json_t *fetch(struct client *c, struct error *e, const char *by, const char *from, const char *to)
{
	json_t *whole = NULL, *page;
	char token[128] = "";

	do {
		const char *pairs[12] = {"By", by}, **p = pairs + 2;

		if (from)
			*p++ = "StartTime", *p++ = from;
		if (to)
			*p++ = "EndTime", *p++ = to;
		if (*token)
			*p++ = "NextToken", *p++ = token;
		page = client_operate(c, e, "GetUsage", pairs);
		if (!page) {
			json_decref(whole);
			return NULL;
		}
		snprintf(token, sizeof(token), "%s", client_text(page, "NextToken"));
		json_object_del(page, "NextToken");
		if (whole) {
			json_array_extend(json_object_get(whole, "Usage"), json_object_get(page, "Usage"));
			json_decref(page);
		} else {
			whole = page;
		}
	} while (*token);
	return whole;
}

int usage_main(int argc, char **argv)
{
	const char *data = NULL, *from = NULL, *to = NULL, *by = "instance";
	bool json = false;
	const struct verb_option options[] = {{"data", &data, NULL}, {"from", &from, NULL}, {"to", &to, NULL},
	                                      {"by", &by, NULL},     {"json", NULL, &json}, {0}};
	int status = options_read(argc, argv, options, usage, 0, 0);
	json_t *answer, *line;
	struct client c;
	struct error e;
	size_t i;

	if (status >= 0)
		return status;
	if (client_open(&c, data, &e) < 0)
		return verb_failed("usage", &e);
	answer = fetch(&c, &e, by, from, to);
	client_close(&c);
	if (!answer)
		return verb_failed("usage", &e);
	if (json) {
		client_print(answer);
	} else {
		print_head(by);
		json_array_foreach(json_object_get(answer, "Usage"), i, line) print_line(line, by);
	}
	json_decref(answer);
	return fflush(stdout) ? 1 : 0;
}
