/* insula hosts: what instances run on. */
#include "base/types.h"
#include "cli/client.h"
#include "cli/options.h"
#include "cli/table.h"
#include "cli/verbs.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char usage[] = "usage: insula hosts [--json] [--data DIR]\n"
                            "       insula hosts silence|wake HOST [--data DIR]\n\n"
                            "Lists hosts; makes a simulated one stop answering, as a host that is lost\n"
                            "does, or answer again.\n";

static json_t *fetch(struct client *c, struct error *e)
{
	json_t *whole = json_array(), *page;
	char token[128] = "";

	do {
		const char *pairs[] = {*token ? "NextToken" : NULL, token, NULL};

		page = client_operate(c, e, "ListHosts", pairs);
		if (!page) {
			json_decref(whole);
			return NULL;
		}
		json_array_extend(whole, json_object_get(page, "Hosts"));
		snprintf(token, sizeof(token), "%s", client_text(page, "NextToken"));
		json_decref(page);
	} while (*token);
	return whole;
}

static long long number(const json_t *host, const char *name)
{
	return (long long)json_integer_value(json_object_get(host, name));
}

static void print(const json_t *hosts)
{
	static const char *const headings[] = {"HOST", "ZONE", "STATE", "VCPUS", "MEMORY", ""};
	const json_t *host;
	struct table t;
	size_t i;

	table_begin(&t, headings, ARRAY_SIZE(headings));
	t.coloured = 2;
	t.right = 8 | 16;
	json_array_foreach(hosts, i, host)
	{
		table_cell(&t, "%s", client_text(host, "HostId"));
		table_cell(&t, "%s", client_text(host, "Zone"));
		table_cell(&t, "%s", client_text(host, "State"));
		table_cell(&t, "%lld of %lld", number(host, "UsedVcpus"), number(host, "Vcpus"));
		table_cell(&t, "%lld of %lld MiB", number(host, "UsedMemoryMiB"), number(host, "MemoryMiB"));
		table_cell(&t, "%s", json_is_true(json_object_get(host, "Simulated")) ? "simulated" : "");
	}
	table_end(&t);
}

int hosts_main(int argc, char **argv)
{
	const char *data = NULL, *order;
	bool json = false;
	const struct verb_option options[] = {{"data", &data, NULL}, {"json", NULL, &json}, {0}};
	int status = options_read(argc, argv, options, usage, 0, 2);
	struct client c;
	struct error e;
	json_t *answer;

	if (status >= 0)
		return status;
	order = optind < argc ? argv[optind] : NULL;
	if (order && (argc - optind != 2 || (strcmp(order, "silence") && strcmp(order, "wake")))) {
		fputs(usage, stderr);
		return 2;
	}
	if (client_open(&c, data, &e) < 0)
		return verb_failed("hosts", &e);
	if (order)
		answer = client_operate(&c, &e, *order == 's' ? "SilenceHost" : "WakeHost",
		                        (const char *[]){"HostId", argv[optind + 1], NULL});
	else
		answer = fetch(&c, &e);
	client_close(&c);
	if (!answer)
		return verb_failed("hosts", &e);
	if (!order && json) {
		client_print(answer);
	} else if (!order) {
		print(answer);
	}
	json_decref(answer);
	return fflush(stdout) ? 1 : 0;
}
