#include "api/metrics.h"
#include "api/traffic.h"
#include "base/clock.h"
#include "region/agent.h"
#include "region/cpu_credit.h"
#include "region/schedule.h"
#include "region/tally.h"

#include <dirent.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

void metrics_escape(struct buffer *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '\\' || *text == '"')
			buffer_char(out, '\\');
		if (*text == '\n')
			buffer_text(out, "\\n");
		else
			buffer_char(out, *text);
	}
}

static void head(struct buffer *out, const char *name, const char *type, const char *help)
{
	buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* name{label="value",…} with labels as pairs, NULL at the end; the number follows. */
static void series(struct buffer *out, const char *name, const char *const *labels)
{
	buffer_text(out, name);
	for (unsigned i = 0; labels && labels[i]; i += 2) {
		buffer_text(out, i ? "," : "{");
		buffer_text(out, labels[i]);
		buffer_text(out, "=\"");
		metrics_escape(out, labels[i + 1]);
		buffer_char(out, '"');
	}
	buffer_text(out, labels && labels[0] ? "} " : " ");
}

static void integer(struct buffer *out, const char *name, const char *const *labels, s64 value)
{
	series(out, name, labels);
	buffer_printf(out, "%lld\n", (long long)value);
}

static void number(struct buffer *out, const char *name, double value)
{
	buffer_printf(out, "%s %.9g\n", name, value);
}

/* labels: at most three pairs */
static void histogram(struct buffer *out, const char *name, const char *const *labels,
                      const struct histogram *h)
{
	const char *all[10] = {0};
	char part[96], bound[32];
	unsigned n = 0;
	u64 below = 0;

	for (; labels && labels[n]; n++)
		all[n] = labels[n];
	all[n] = "le";
	all[n + 1] = bound;
	snprintf(part, sizeof(part), "%s_bucket", name);
	for (unsigned i = 0; i <= HISTOGRAM_BOUNDS; i++) {
		below += h->counts[i];
		if (i < HISTOGRAM_BOUNDS)
			snprintf(bound, sizeof(bound), "%g", histogram_bounds[i]);
		else
			strcpy(bound, "+Inf");
		integer(out, part, all, (s64)below);
	}
	all[n] = NULL;
	snprintf(part, sizeof(part), "%s_sum", name);
	series(out, part, all);
	buffer_printf(out, "%.9f\n", (double)h->sum_ns / 1e9);
	snprintf(part, sizeof(part), "%s_count", name);
	integer(out, part, all, (s64)h->count);
}

/* ---- requests ---- */

static void write_requests(const struct traffic *t, struct buffer *out)
{
	head(out, "insula_requests_total", "counter", "Requests answered, by action and error code.");
	for (unsigned i = 0; i < t->code_count; i++) {
		const struct traffic_code *c = t->codes[i];

		integer(out, "insula_requests_total",
		        (const char *[]){"service", c->of->service, "action", c->of->action, "code", c->code,
		                         NULL},
		        (s64)c->count);
	}
	head(out, "insula_request_duration_seconds", "histogram",
	     "From a request's last byte to its answer, commit included.");
	for (unsigned i = 0; i < t->action_count; i++)
		histogram(out, "insula_request_duration_seconds",
		          (const char *[]){"service", t->actions[i]->service, "action", t->actions[i]->action,
		                           NULL},
		          &t->actions[i]->latency);
}

/* ---- instances and hosts ---- */

struct instances {
	struct buffer *out;
	unsigned lines;
	s64 rest;
};

static void write_tally(void *ctx, const struct tally *t)
{
	struct instances *i = ctx;

	if (i->lines++ < METRICS_INSTANCE_SERIES)
		integer(i->out, "insula_instances",
		        (const char *[]){"state", t->state, "type", t->type, "zone", t->zone, NULL},
		        t->count);
	else
		i->rest += t->count;
}

static void write_instances(struct cloud *c, struct buffer *out)
{
	struct instances i = {.out = out};

	head(out, "insula_instances", "gauge", "Instances that are not terminated.");
	tally_each(c, write_tally, &i);
	if (i.rest)
		integer(out, "insula_instances",
		        (const char *[]){"state", "other", "type", "other", "zone", "other", NULL}, i.rest);
}

/* One series of each instance, as CloudWatch names them. */
struct credits {
	struct buffer *out;
	const char *name;
	size_t member;
};

static void write_credit(void *ctx, const char *instance, const struct cpu_credit *credit)
{
	const struct credits *k = ctx;
	const bool balance = k->member == offsetof(struct cpu_credit, earned);
	s64 us = *(const s64 *)((const char *)credit + k->member) + (balance ? credit->launch : 0);

	series(k->out, k->name, (const char *[]){"InstanceId", instance, NULL});
	buffer_printf(k->out, "%.6f\n", (double)us / CPU_CREDIT_US);
}

static void write_credits(struct cloud *c, struct buffer *out)
{
	static const struct {
		const char *name, *type, *help;
		size_t member;
	} parts[] = {{"CPUCreditBalance", "gauge",
	              "CPU credits that an instance has, launch credits included.",
	              offsetof(struct cpu_credit, earned)},
	             {"CPUCreditUsage", "counter", "CPU credits that it has spent.",
	              offsetof(struct cpu_credit, used)},
	             {"CPUSurplusCreditBalance", "gauge", "Surplus credits that it has not paid back.",
	              offsetof(struct cpu_credit, surplus)},
	             {"CPUSurplusCreditsCharged", "counter", "Surplus credits that are charged.",
	              offsetof(struct cpu_credit, charged)}};

	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
		struct credits k = {out, parts[i].name, parts[i].member};

		head(out, parts[i].name, parts[i].type, parts[i].help);
		cpu_credit_each(c, METRICS_INSTANCE_SERIES, write_credit, &k);
	}
}

static void write_hosts(struct cloud *c, struct buffer *out)
{
	static const struct {
		const char *name, *help, *use;
		s64 unit;
	} parts[] = {{"insula_host_vcpus", "vCPUs of hosts that are up.", "used", 1},
	             {"insula_host_vcpus", NULL, "free", 1},
	             {"insula_host_memory_bytes", "Memory of hosts that are up.", "used", (s64)MiB},
	             {"insula_host_memory_bytes", NULL, "free", (s64)MiB}};
	struct query *q;

	head(out, "insula_hosts", "gauge", "Hosts; zone * stands for all.");
	q = database_query(c->db, "SELECT zone, state, simulated, COUNT(*) FROM host "
	                          "GROUP BY zone, state, simulated ORDER BY 1, 2, 3");
	while (query_row(q))
		integer(out, "insula_hosts",
		        (const char *[]){"zone", query_column_text(q, 0), "state", query_column_text(q, 1),
		                         "simulated", query_column_integer(q, 2) ? "true" : "false", NULL},
		        query_column_integer(q, 3));
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
		if (parts[i].help)
			head(out, parts[i].name, "gauge", parts[i].help);
		q = database_query(c->db, "SELECT zone, SUM(used_vcpus), SUM(vcpus - used_vcpus), "
		                          "SUM(used_memory), SUM(memory - used_memory) FROM host "
		                          "WHERE state IN ('up', 'held') GROUP BY zone ORDER BY zone");
		while (query_row(q))
			integer(out, parts[i].name,
			        (const char *[]){"zone", query_column_text(q, 0), "use", parts[i].use, NULL},
			        query_column_integer(q, i + 1) * parts[i].unit);
	}
}

/* ---- database, reconciler, process ---- */

static void write_database(struct cloud *c, struct buffer *out)
{
	struct database_stats stats;

	database_stats(c->db, &stats);
	head(out, "insula_database_bytes", "gauge",
	     "Size of the region's database; log: what is not merged yet.");
	integer(out, "insula_database_bytes", (const char *[]){"part", "main", NULL}, stats.bytes);
	integer(out, "insula_database_bytes", (const char *[]){"part", "log", NULL}, stats.log_bytes);
	head(out, "insula_database_check", "gauge", "Is its file whole? 1 for what is known of that.");
	for (unsigned s = INTEGRITY_RUNNING; s <= INTEGRITY_FAILED; s++)
		integer(out, "insula_database_check",
		        (const char *[]){"state", integrity_name((enum integrity)s), NULL},
		        (unsigned)stats.check == s);
	head(out, "insula_database_commit_seconds", "histogram", "Transactions made durable.");
	histogram(out, "insula_database_commit_seconds", NULL, &stats.commits);
	head(out, "insula_database_failures_total", "counter", "Transactions that could not be committed.");
	integer(out, "insula_database_failures_total", NULL, (s64)stats.failures);
}

static s64 pending(struct cloud *c)
{
	struct query *q = query_text(
	        database_query(c->db, "SELECT COUNT(*) FROM machine WHERE host = $1 AND wanted <> status"),
	        HOST_LOCAL);
	s64 count = query_row(q) ? query_column_integer(q, 0) : 0;

	query_end(q);
	return count;
}

static void write_reconciler(const struct agent *a, struct buffer *out)
{
	u64 now = clock_monotonic_ns();

	head(out, "insula_reconciler_round_seconds", "histogram", "Rounds over the machines of this host.");
	histogram(out, "insula_reconciler_round_seconds", NULL, &a->rounds);
	head(out, "insula_reconciler_lag_seconds", "gauge", "Since the last round that was completed.");
	number(out, "insula_reconciler_lag_seconds", a->round_ns ? (double)(now - a->round_ns) / 1e9 : 0);
	head(out, "insula_reconciler_pending", "gauge", "Machines that are not yet what is wanted of them.");
	integer(out, "insula_reconciler_pending", NULL, pending(a->cloud));
}

static unsigned count_files(void)
{
	DIR *list = opendir("/proc/self/fd");
	unsigned count = 0;

	if (!list)
		return 0;
	while (readdir(list))
		count++;
	closedir(list);
	return count > 3 ? count - 3 : 0; /* ".", "..", the folder itself */
}

static void write_process(const struct front *a, struct buffer *out)
{
	unsigned long long size = 0, resident = 0;
	FILE *file = fopen("/proc/self/statm", "re");
	struct rusage use;
	struct rlimit files;

	if (file && fscanf(file, "%llu %llu", &size, &resident) != 2)
		size = resident = 0;
	if (file)
		fclose(file);
	getrusage(RUSAGE_SELF, &use);
	getrlimit(RLIMIT_NOFILE, &files);
	head(out, "process_resident_memory_bytes", "gauge", "Resident memory.");
	integer(out, "process_resident_memory_bytes", NULL, (s64)resident * sysconf(_SC_PAGESIZE));
	head(out, "process_virtual_memory_bytes", "gauge", "Virtual memory.");
	integer(out, "process_virtual_memory_bytes", NULL, (s64)size * sysconf(_SC_PAGESIZE));
	head(out, "process_cpu_seconds_total", "counter", "User and system time.");
	number(out, "process_cpu_seconds_total",
	       (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
	               (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6);
	head(out, "process_open_fds", "gauge", "Open file descriptors.");
	integer(out, "process_open_fds", NULL, count_files());
	head(out, "process_max_fds", "gauge", "File descriptors at most.");
	integer(out, "process_max_fds", NULL, (s64)files.rlim_cur);
	head(out, "process_start_time_seconds", "gauge", "When it was started.");
	buffer_printf(out, "process_start_time_seconds %.3f\n", (double)a->begun_ms / 1000);
}

void metrics_write(struct front *a, struct buffer *out)
{
	struct cloud *c = a->cloud;

	head(out, "insula_build_info", "gauge", "Always 1.");
	integer(out, "insula_build_info", (const char *[]){"version", INSULA_VERSION, NULL}, 1);
	write_requests(a->traffic, out);
	database_begin(c->db);
	write_instances(c, out);
	write_hosts(c, out);
	write_credits(c, out);
	database_rollback(c->db);
	write_database(c, out);
	if (a->agent)
		write_reconciler(a->agent, out);
	write_process(a, out);
}
