/*
 * The datapath for scripts. Commands come on standard input, one a line; so do the answers on standard
 * output: "ok …" or "error …". The host is the network namespace that it runs in.
 *
 *   apply OWNER PLAN      PLAN is JSON; "ok MADE PEERS MICROSECONDS CPU-MICROSECONDS"
 *   remove VPC            "ok MICROSECONDS"
 *   list OWNER            "ok VPC…"
 *   exists VPC            "ok 0" or "ok 1"
 *   counters PLAN         "ok JSON"
 */
#include "base/clock.h"
#include "net/datapath.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static void failed(const struct error *e)
{
	printf("error %s\n", e->text);
}

static int plan_of(struct plan *p, const char *text, struct arena *a, struct error *e)
{
	json_t *json = json_loads(text, 0, NULL);
	int status = json ? plan_read(p, json, a, e) : error_set(e, 0, "no JSON");

	json_decref(json);
	return status;
}

/* Of this process and the programs that it ran. */
static u64 cpu_us(void)
{
	u64 sum = 0;

	for (int who = RUSAGE_CHILDREN; who <= RUSAGE_SELF; who++) {
		struct rusage u;

		getrusage(who, &u);
		sum += (u64)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 +
		       (u64)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
	}
	return sum;
}

static void apply(const char *owner, const char *text, struct arena *a)
{
	struct datapath_result result;
	struct plan p = {0};
	struct error e;
	u64 begun, cpu;

	if (plan_of(&p, text, a, &e) < 0) {
		failed(&e);
		return;
	}
	malloc_trim(0); /* what reading has left behind is not measured */
	begun = clock_monotonic_ns();
	cpu = cpu_us();
	if (datapath_apply(&p, owner, &result, &e) < 0)
		failed(&e);
	else
		printf("ok %d %d %llu %llu\n", result.made, result.peers,
		       (unsigned long long)(clock_monotonic_ns() - begun) / 1000,
		       (unsigned long long)(cpu_us() - cpu));
}

static void remove_vpc(const char *vpc)
{
	u64 begun = clock_monotonic_ns();
	struct error e;

	if (datapath_remove(vpc, &e) < 0)
		failed(&e);
	else
		printf("ok %llu\n", (unsigned long long)(clock_monotonic_ns() - begun) / 1000);
}

static void list(const char *owner, struct arena *a)
{
	const char **vpcs;
	struct error e;
	unsigned count;

	if (datapath_list(owner, a, &vpcs, &count, &e) < 0) {
		failed(&e);
		return;
	}
	printf("ok");
	for (unsigned i = 0; i < count; i++)
		printf(" %s", vpcs[i]);
	printf("\n");
}

static void counters(const char *text, struct arena *a)
{
	struct datapath_counters c;
	json_t *all = json_object(), *interfaces = json_object(), *rules = json_object();
	struct plan p = {0};
	struct error e;
	char *line;

	json_object_set_new(all, "interfaces", interfaces);
	json_object_set_new(all, "rules", rules);
	if (plan_of(&p, text, a, &e) < 0 || datapath_counters(&p, a, &c, &e) < 0) {
		failed(&e);
		json_decref(all);
		return;
	}
	for (unsigned i = 0; i < c.interfaces_count; i++)
		json_object_set_new(interfaces, c.interfaces[i].id,
		                    json_pack("[IIII]", (json_int_t)c.interfaces[i].in_packets,
		                              (json_int_t)c.interfaces[i].in_bytes,
		                              (json_int_t)c.interfaces[i].out_packets,
		                              (json_int_t)c.interfaces[i].out_bytes));
	for (unsigned i = 0; i < c.rules_count; i++)
		json_object_set_new(
		        rules, arena_printf(a, "%s %u", c.rules[i].group, c.rules[i].rule),
		        json_pack("[II]", (json_int_t)c.rules[i].packets, (json_int_t)c.rules[i].bytes));
	line = json_dumps(all, JSON_COMPACT);
	printf("ok %s\n", line);
	free(line);
	json_decref(all);
}

int main(void)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t length;

	while ((length = getline(&line, &room, stdin)) > 0) {
		struct arena a;
		char *verb = line, *first, *second;

		if (line[length - 1] == '\n')
			line[length - 1] = 0;
		first = strchr(verb, ' ');
		if (!first)
			return 2;
		*first++ = 0;
		arena_init(&a);
		if (!strcmp(verb, "apply") && (second = strchr(first, ' '))) {
			*second++ = 0;
			apply(first, second, &a);
		} else if (!strcmp(verb, "remove")) {
			remove_vpc(first);
		} else if (!strcmp(verb, "list")) {
			list(first, &a);
		} else if (!strcmp(verb, "exists")) {
			printf("ok %d\n", datapath_exists(first));
		} else if (!strcmp(verb, "counters")) {
			counters(first, &a);
		} else {
			return 2;
		}
		fflush(stdout);
		arena_release(&a);
	}
	free(line);
	return 0;
}
