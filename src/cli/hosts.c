/* insula hosts: what instances run on. */
#include "base/types.h"
#include "cli/client.h"
#include "cli/place.h"
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
	static const struct option longs[] = {{"data", required_argument, 0, 'd'},
	                                      {"json", no_argument, 0, 'j'},
	                                      {"help", no_argument, 0, 'h'},
	                                      {0}};
	char place[4096];
	const char *data = place_default(place, sizeof(place)), *order;
	struct client c;
	struct error e;
	json_t *answer;
	bool json = false;
	int option;

	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (option == 'd')
			data = optarg;
		else if (option == 'j')
			json = true;
		else if (option == 'h')
			return fputs(usage, stdout) < 0;
		else
			return 2;
	}
	order = optind < argc ? argv[optind] : NULL;
	if (order && (argc - optind != 2 || (strcmp(order, "silence") && strcmp(order, "wake")))) {
		fputs(usage, stderr);
		return 2;
	}
	if (client_open(&c, data, &e) < 0) {
		fprintf(stderr, "insula hosts: %s\n", e.text);
		return 1;
	}
	if (order)
		answer = client_operate(&c, &e, *order == 's' ? "SilenceHost" : "WakeHost",
		                        (const char *[]){"HostId", argv[optind + 1], NULL});
	else
		answer = fetch(&c, &e);
	client_close(&c);
	if (!answer) {
		fprintf(stderr, "insula hosts: %s\n", e.text);
		return 1;
	}
	if (!order && json) {
		client_print(answer);
	} else if (!order) {
		print(answer);
	}
	json_decref(answer);
	return fflush(stdout) ? 1 : 0;
}
