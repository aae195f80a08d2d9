#include "region/usage.h"
#include "base/clock.h"
#include "model/json.h"
#include "model/scalar.h"
#include "region/instance.h"
#include "region/instance_type.h"

#include <stdio.h>
#include <string.h>

enum { DAY_S = 86400, DAYS_MAX = 3660 };

/* ---- marks ---- */

void usage_now(const struct cloud *c, s64 wall_ms, struct usage_mark *m)
{
	*m = (struct usage_mark){.wall_ms = wall_ms, .up_ms = (s64)(clock_boot_ns() / 1000000)};
	memcpy(m->boot, c->boot, sizeof(m->boot));
}

s64 usage_elapsed_ms(const struct usage_mark *from, const struct usage_mark *to)
{
	bool same = !*from->boot || !*to->boot || !strcmp(from->boot, to->boot);
	s64 ms = same ? to->up_ms - from->up_ms : to->wall_ms - from->wall_ms;

	return max(ms, (s64)0);
}

s64 usage_seconds(s64 elapsed_ms)
{
	return max((elapsed_ms + 999) / 1000, (s64)USAGE_LEAST_S);
}

/* ---- runs ---- */

void usage_begin(struct request *r, const struct resource *instance, const struct usage_mark *at)
{
	const char *type = value_string(instance->doc, "InstanceType");
	const char *zone = value_path(instance->doc, "Placement.AvailabilityZone");
	const struct instance_type *t = type ? instance_type_find(type) : NULL;
	struct query *q = database_query(
	        r->cloud->db,
	        "INSERT INTO usage SELECT $1, COALESCE(MAX(run), 0) + 1, $2, $3, $4, $5, $6, $7, $8, "
	        "0, $9, $10 FROM usage WHERE instance = $1 "
	        "HAVING COUNT(CASE WHEN ended = 0 THEN 1 END) = 0");

	query_text(query_text(query_text(q, instance->id), r->account), r->region);
	query_text(query_text(q, zone ? zone : ""), type ? type : "");
	query_integer(query_integer(q, t ? t->vcpus : 0), t ? t->memory_mib : 0);
	query_run(query_text(query_integer(query_integer(q, at->wall_ms), at->up_ms), at->boot));
}

void usage_end(struct request *r, const char *instance, const struct usage_mark *at)
{
	struct usage_mark begun = {0};
	struct query *q = query_text(
	        database_query(r->cloud->db,
	                       "SELECT started, up, boot FROM usage WHERE instance = $1 AND ended = 0"),
	        instance);
	bool runs = query_row(q);

	if (runs) {
		begun.wall_ms = query_column_integer(q, 0);
		begun.up_ms = query_column_integer(q, 1);
		snprintf(begun.boot, sizeof(begun.boot), "%s", query_column_text(q, 2));
	}
	query_end(q);
	if (!runs)
		return;
	q = database_query(r->cloud->db, "UPDATE usage SET ended = $1 WHERE instance = $2 AND ended = 0");
	query_run(query_text(query_integer(q, begun.wall_ms + usage_elapsed_ms(&begun, at)), instance));
}

void usage_enter(struct request *r, const struct resource *instance, unsigned state)
{
	struct usage_mark now;

	usage_now(r->cloud, r->now_ms, &now);
	if (state == INSTANCE_RUNNING)
		usage_begin(r, instance, &now);
	else
		usage_end(r, instance->id, &now);
}

/* ---- beats, retention ---- */

void usage_beat(struct cloud *c, const struct usage_mark *at)
{
	char text[128];

	snprintf(text, sizeof(text), "%lld %lld %s", (long long)at->wall_ms, (long long)at->up_ms, at->boot);
	cloud_set(c, "beat", text);
}

bool usage_last_beat(struct cloud *c, struct usage_mark *at)
{
	const char *text = cloud_setting(c, "beat");
	long long wall, up;

	*at = (struct usage_mark){0};
	if (!text || sscanf(text, "%lld %lld %39s", &wall, &up, at->boot) < 2)
		return false;
	at->wall_ms = wall;
	at->up_ms = up;
	return true;
}

void usage_forget(struct cloud *c, s64 before_ms)
{
	query_run(query_integer(database_query(c->db, "DELETE FROM usage WHERE ended > 0 AND ended < $1"),
	                        before_ms));
}

/* ---- reports ---- */

struct sum {
	s64 starts, seconds, vcpu_seconds, mib_seconds;
	bool running;
};

/* A run as a report sees it: billed from start_s for so many seconds, whatever the wall clock did since. */
struct run {
	const char *instance, *account, *region, *type;
	s64 vcpus, memory, start_s, seconds;
	bool running;
};

static struct run read_run(struct query *q, const struct usage_mark *now)
{
	struct run run = {.instance = query_column_text(q, 0),
	                  .account = query_column_text(q, 1),
	                  .region = query_column_text(q, 2),
	                  .type = query_column_text(q, 3),
	                  .vcpus = query_column_integer(q, 4),
	                  .memory = query_column_integer(q, 5)};
	struct usage_mark begun = {.wall_ms = query_column_integer(q, 6),
	                           .up_ms = query_column_integer(q, 8)};
	s64 ended = query_column_integer(q, 7);

	snprintf(begun.boot, sizeof(begun.boot), "%s", query_column_text(q, 9));
	run.start_s = begun.wall_ms / 1000;
	run.running = !ended;
	run.seconds = usage_seconds(ended ? ended - begun.wall_ms : usage_elapsed_ms(&begun, now));
	return run;
}

/* Adds what of the run lies within [from, to). */
static void add(struct sum *s, const struct run *run, s64 from, s64 to)
{
	s64 begin = max(run->start_s, from), end = min(run->start_s + run->seconds, to);

	if (end <= begin)
		return;
	s->starts += run->start_s >= from;
	s->seconds += end - begin;
	s->vcpu_seconds += (end - begin) * run->vcpus;
	s->mib_seconds += (end - begin) * run->memory;
	s->running |= run->running;
}

static void write_text(struct buffer *out, const char *name, const char *text)
{
	buffer_printf(out, "\"%s\":", name);
	json_write_text(out, text, strlen(text));
	buffer_char(out, ',');
}

static void write_line(struct buffer *out, bool *first, const char *key, const struct run *about,
                       const struct sum *s)
{
	if (!s->seconds)
		return;
	buffer_text(out, *first ? "{" : ",{");
	*first = false;
	write_text(out, "Key", key);
	if (about) {
		write_text(out, "Owner", about->account);
		write_text(out, "Region", about->region);
		write_text(out, "Type", about->type);
	}
	buffer_printf(out,
	              "\"Running\":%s,\"Starts\":%lld,\"Seconds\":%lld,\"VcpuHours\":%.4f,\"GibHours\":%.4f}",
	              s->running ? "true" : "false", (long long)s->starts, (long long)s->seconds,
	              (double)s->vcpu_seconds / 3600, (double)s->mib_seconds / 1024 / 3600);
}

/* Newest run first within an instance, so that its line shows the type that it has now. */
#define COLUMNS                                                                                       \
	"SELECT instance, account, region, type, vcpus, memory, started, ended, up, boot FROM usage " \
	"WHERE ($1 = '' OR account = $1) AND (ended = 0 OR ended > $2) AND started < $3 "

static struct query *select_runs(struct request *r, const struct usage_report *p)
{
	static const char *const texts[] = {[USAGE_BY_INSTANCE] =
	                                            COLUMNS "AND instance > $4 ORDER BY instance, run DESC",
	                                    [USAGE_BY_TYPE] = COLUMNS "AND $4 = $4 ORDER BY type",
	                                    [USAGE_BY_OWNER] = COLUMNS "AND $4 = $4 ORDER BY account",
	                                    [USAGE_BY_DAY] = COLUMNS "AND $4 = $4"};
	struct query *q =
	        query_text(database_query(r->cloud->db, texts[p->by]), p->account ? p->account : "");

	/* What is billed may reach further than what was run. */
	query_integer(query_integer(q, (p->from_s - USAGE_LEAST_S) * 1000), p->to_s * 1000);
	return query_text(q, p->after);
}

/* Lines of runs that stand together. */
static void write_groups(struct request *r, const struct usage_report *p, const struct usage_mark *now,
                         struct buffer *out)
{
	struct query *q = select_runs(r, p);
	struct run about = {0};
	struct sum sum = {0};
	char key[80] = "";
	const char *more = NULL;
	unsigned lines = 0;
	bool first = true;

	while (query_row(q)) {
		struct run run = read_run(q, now);
		const char *its = p->by == USAGE_BY_INSTANCE ? run.instance
		                  : p->by == USAGE_BY_TYPE   ? run.type
		                                             : run.account;

		if (strcmp(key, its)) {
			write_line(out, &first, key, p->by == USAGE_BY_INSTANCE ? &about : NULL, &sum);
			lines += sum.seconds != 0;
			if (lines == USAGE_PAGE) {
				more = arena_strdup(r->arena, key);
				sum = (struct sum){0};
				break;
			}
			snprintf(key, sizeof(key), "%s", its);
			sum = (struct sum){0};
			about = run;
			about.account = arena_strdup(r->arena, run.account);
			about.region = arena_strdup(r->arena, run.region);
			about.type = arena_strdup(r->arena, run.type);
		}
		add(&sum, &run, p->from_s, p->to_s);
	}
	query_end(q);
	write_line(out, &first, key, p->by == USAGE_BY_INSTANCE ? &about : NULL, &sum);
	buffer_text(out, "]");
	if (more) {
		buffer_text(out, ",\"NextToken\":");
		json_write_text(out, more, strlen(more));
	}
}

/* The first second that anything ran in. */
static s64 earliest(struct request *r, s64 otherwise)
{
	struct query *q = database_query(r->cloud->db, "SELECT MIN(started) FROM usage");
	s64 at = query_row(q) ? query_column_integer(q, 0) / 1000 : 0;

	query_end(q);
	return at ? at : otherwise;
}

static int write_days(struct request *r, const struct usage_report *p, const struct usage_mark *now,
                      struct buffer *out)
{
	s64 from = max(p->from_s, earliest(r, p->to_s)) / DAY_S;
	s64 count = p->to_s > p->from_s ? (p->to_s + DAY_S - 1) / DAY_S - from : 0;
	struct sum *days;
	struct query *q;
	bool first = true;

	if (count > DAYS_MAX)
		return request_fail(r, "InvalidParameterValue", "At most %d days can be reported at once",
		                    DAYS_MAX);
	days = arena_alloc(r->arena, (size_t)max(count, (s64)1) * sizeof(*days));
	q = select_runs(r, p);
	while (query_row(q)) {
		struct run run = read_run(q, now);
		s64 last = (run.start_s + run.seconds) / DAY_S;

		for (s64 d = max(run.start_s / DAY_S - from, (s64)0); d < count && d + from <= last; d++)
			add(&days[d], &run, max(p->from_s, (d + from) * DAY_S),
			    min(p->to_s, (d + from + 1) * DAY_S));
	}
	for (s64 d = 0; d < count; d++) {
		struct buffer day = {0};

		scalar_write_time(&day, (d + from) * DAY_S * 1000);
		write_line(out, &first, arena_text(r->arena, buffer_str(&day), 10), NULL, &days[d]);
		buffer_release(&day);
	}
	buffer_text(out, "]");
	return 0;
}

int usage_write(struct request *r, const struct usage_report *report, struct buffer *out)
{
	static const char *const names[] = {"instance", "type", "owner", "day"};
	struct usage_report p = *report;
	struct usage_mark now;

	usage_now(r->cloud, r->now_ms, &now);
	if (!p.to_s)
		p.to_s = r->now_ms / 1000 + USAGE_LEAST_S; /* with the whole of what is billed already */
	buffer_text(out, "{\"From\":\"");
	scalar_write_time(out, p.from_s * 1000);
	buffer_text(out, "\",\"To\":\"");
	scalar_write_time(out, report->to_s ? p.to_s * 1000 : r->now_ms);
	buffer_printf(out, "\",\"By\":\"%s\",\"Usage\":[", names[p.by]);
	if (p.by == USAGE_BY_DAY) {
		if (write_days(r, &p, &now, out) < 0)
			return -1;
	} else {
		write_groups(r, &p, &now, out);
	}
	buffer_text(out, "}");
	return 0;
}
