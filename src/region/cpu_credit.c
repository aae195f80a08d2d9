#include "region/cpu_credit.h"
#include "region/instance.h"
#include "region/instance_type.h"
#include "region/link.h"
#include "region/schedule.h"

#include <stdio.h>
#include <string.h>

enum { DAY_MS = 86400000 };

/* ---- the account of one ---- */

static s64 earnings(const struct instance_type *type, s64 elapsed_ms)
{
	return type->credits_per_hour * elapsed_ms * (CPU_CREDIT_US / 1000) / 3600;
}

static bool keeps_when_stopped(const struct instance_type *type)
{
	return strncmp(type->name, "t2.", 3) != 0;
}

static s64 take(s64 *from, s64 most)
{
	s64 taken = min(*from, most);

	*from -= taken;
	return taken;
}

void cpu_credit_step(struct cpu_credit *c, const struct instance_type *type, bool unlimited, s64 elapsed_ms,
                     s64 used_us)
{
	s64 most = earnings(type, DAY_MS), rest = used_us;

	c->used += used_us;
	/* Who leaves unlimited mode pays at once. */
	if (!unlimited)
		c->charged += take(&c->surplus, c->surplus);
	c->earned += earnings(type, elapsed_ms);
	rest -= take(&c->launch, rest);
	rest -= take(&c->earned, rest);
	if (unlimited)
		c->surplus += rest;
	take(&c->surplus, take(&c->earned, c->surplus));
	if (c->surplus > most)
		c->charged += take(&c->surplus, c->surplus - most);
	c->earned = min(c->earned, most);
}

s64 cpu_credit_quota(const struct cpu_credit *c, const struct instance_type *type, bool unlimited,
                     s64 period_us)
{
	s64 in_step = c->earned + c->launch + earnings(type, CPU_CREDIT_STEP_MS);

	/* Not so much as to overflow: more than a step can take of any number of CPUs. */
	return unlimited ? -1 : min(in_step, (s64)1 << 40) * period_us / (CPU_CREDIT_STEP_MS * 1000);
}

/* ---- rows ---- */

struct row {
	struct cpu_credit credit;
	s64 quota_us; /* what its machine has; 0: not known */
	char run[48];
	s64 cpu_us; /* of that run, at the last step */
	struct usage_mark at;
};

static const struct instance_type *type_of(const struct resource *instance)
{
	const char *name = value_string(instance->doc, "InstanceType");
	const struct instance_type *type = name ? instance_type_find(name) : NULL;

	return type && type->credits_per_hour ? type : NULL;
}

static bool is_unlimited(struct request *r, const char *instance)
{
	return property_is(r, instance, "cpu-credits", "unlimited");
}

static bool read_row(struct request *r, const char *instance, struct row *row)
{
	struct query *q =
	        query_text(database_query(r->cloud->db,
	                                  "SELECT earned, launch, surplus, charged, used, quota, run, cpu, "
	                                  "wall, up, boot FROM cpu_credit WHERE instance = $1"),
	                   instance);
	bool found = query_row(q);

	*row = (struct row){0};
	if (found) {
		row->credit = (struct cpu_credit){query_column_integer(q, 0), query_column_integer(q, 1),
		                                  query_column_integer(q, 2), query_column_integer(q, 3),
		                                  query_column_integer(q, 4)};
		row->quota_us = query_column_integer(q, 5);
		snprintf(row->run, sizeof(row->run), "%s", query_column_text(q, 6));
		row->cpu_us = query_column_integer(q, 7);
		row->at.wall_ms = query_column_integer(q, 8);
		row->at.up_ms = query_column_integer(q, 9);
		snprintf(row->at.boot, sizeof(row->at.boot), "%s", query_column_text(q, 10));
	}
	query_end(q);
	return found;
}

static void write_row(struct request *r, const char *instance, const struct row *row)
{
	struct query *q = database_query(
	        r->cloud->db,
	        "INSERT INTO cpu_credit VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) "
	        "ON CONFLICT (instance) DO UPDATE SET earned = $2, launch = $3, surplus = $4, charged = $5, "
	        "used = $6, quota = $7, run = $8, cpu = $9, wall = $10, up = $11, boot = $12");

	query_integer(query_integer(query_text(q, instance), row->credit.earned), row->credit.launch);
	query_integer(query_integer(q, row->credit.surplus), row->credit.charged);
	query_integer(query_integer(q, row->credit.used), row->quota_us);
	query_integer(query_text(q, row->run), row->cpu_us);
	query_integer(query_integer(q, row->at.wall_ms), row->at.up_ms);
	query_run(query_text(q, row->at.boot));
}

/* Brings a row up to date. A run that the row does not know has begun since. */
static void step_row(struct row *row, const struct instance_type *type, bool unlimited, const char *run,
                     s64 cpu_us, const struct usage_mark *at)
{
	s64 before = strcmp(row->run, run) ? 0 : row->cpu_us, used = max(cpu_us - before, (s64)0);

	cpu_credit_step(&row->credit, type, unlimited, usage_elapsed_ms(&row->at, at), used);
	row->at = *at;
	if (cpu_us < 0)
		return;
	snprintf(row->run, sizeof(row->run), "%s", run);
	row->cpu_us = cpu_us;
}

/* ---- launch credits ---- */

/* Is one more start with launch credits allowed? It is counted then. */
static bool count_launch(struct request *r)
{
	struct query *q = database_query(r->cloud->db, "DELETE FROM credit_launch WHERE at <= $1");
	s64 count;

	query_run(query_integer(q, r->now_ms - DAY_MS));
	q = database_query(r->cloud->db,
	                   "SELECT COUNT(*) FROM credit_launch WHERE account = $1 AND region = $2");
	query_text(query_text(q, r->account), r->region);
	count = query_row(q) ? query_column_integer(q, 0) : CPU_CREDIT_LAUNCHES;
	query_end(q);
	if (count >= CPU_CREDIT_LAUNCHES)
		return false;
	q = database_query(r->cloud->db, "INSERT INTO credit_launch VALUES ($1, $2, $3)");
	query_run(query_integer(query_text(query_text(q, r->account), r->region), r->now_ms));
	return true;
}

/* ---- a machine's life ---- */

void cpu_credit_begin(struct request *r, const struct resource *instance, const struct usage_mark *at)
{
	const struct instance_type *type = type_of(instance);
	struct row row;

	if (!type)
		return;
	if (read_row(r, instance->id, &row) &&
	    usage_elapsed_ms(&row.at, at) > (s64)CPU_CREDIT_STOPPED_DAYS * DAY_MS)
		row.credit.earned = 0;
	row.quota_us = 0;
	row.at = *at;
	if (!keeps_when_stopped(type) && !is_unlimited(r, instance->id) && count_launch(r))
		row.credit.launch = (s64)type->vcpus * CPU_CREDIT_LAUNCH * CPU_CREDIT_US;
	write_row(r, instance->id, &row);
}

bool cpu_credit_settle(struct request *r, const struct resource *instance, const char *run, s64 cpu_us,
                       const struct usage_mark *at, struct cpu_credit_order *order)
{
	const struct instance_type *type = type_of(instance);
	bool unlimited = is_unlimited(r, instance->id);
	s64 quota, baseline;
	struct row row;

	order->quota_us = 0;
	order->spent = false;
	if (!type)
		return false;
	/* One that runs since before there were such rows. */
	if (!read_row(r, instance->id, &row)) {
		row.at = *at;
		row.cpu_us = max(cpu_us, (s64)0);
		snprintf(row.run, sizeof(row.run), "%s", run);
	}
	step_row(&row, type, unlimited, run, cpu_us, at);
	quota = cpu_credit_quota(&row.credit, type, unlimited, order->period_us);
	quota = quota < 0 ? order->full_us : min(quota, order->full_us);
	baseline = cpu_credit_quota(&(struct cpu_credit){0}, type, false, order->period_us);
	if (quota != row.quota_us) {
		order->spent = quota <= baseline && (!row.quota_us || row.quota_us > baseline);
		order->quota_us = quota;
		row.quota_us = quota;
	}
	write_row(r, instance->id, &row);
	return true;
}

void cpu_credit_end(struct request *r, const struct resource *instance, const char *run, s64 cpu_us,
                    const struct usage_mark *at, bool gone)
{
	const struct instance_type *type = type_of(instance);
	struct row row;

	if (gone) {
		query_run(
		        query_text(database_query(r->cloud->db, "DELETE FROM cpu_credit WHERE instance = $1"),
		                   instance->id));
		return;
	}
	if (!type || !read_row(r, instance->id, &row))
		return;
	step_row(&row, type, is_unlimited(r, instance->id), run, cpu_us, at);
	row.credit.charged += row.credit.surplus;
	row.credit.surplus = row.credit.launch = 0;
	if (!keeps_when_stopped(type))
		row.credit.earned = 0;
	row.quota_us = 0;
	write_row(r, instance->id, &row);
}

/* ---- to look at ---- */

void cpu_credit_each(struct cloud *c, unsigned most,
                     void (*fn)(void *ctx, const char *instance, const struct cpu_credit *credit), void *ctx)
{
	struct query *q = database_query(
	        c->db, "SELECT k.instance, k.earned, k.launch, k.surplus, k.charged, k.used FROM machine m "
	               "JOIN cpu_credit k ON k.instance = m.instance WHERE m.host = $1 AND "
	               "m.status NOT IN ('stopped', 'terminated') ORDER BY k.instance LIMIT $2");

	query_integer(query_text(q, HOST_LOCAL), most);
	while (query_row(q)) {
		const struct cpu_credit credit = {query_column_integer(q, 1), query_column_integer(q, 2),
		                                  query_column_integer(q, 3), query_column_integer(q, 4),
		                                  query_column_integer(q, 5)};

		fn(ctx, query_column_text(q, 0), &credit);
	}
}

static double credits(s64 us)
{
	return (double)us / (double)CPU_CREDIT_US;
}

int cpu_credit_write(struct request *r, const char *id, struct buffer *out)
{
	struct request ec2 = *r; /* whoever asks may be of another service */
	const struct resource *instance;
	const struct instance_type *type;
	struct row row;

	ec2.model = &model_ec2;
	instance = resource_get(&ec2, &instance_kind, id);
	if (!instance)
		return -1;
	type = type_of(instance);
	if (!type || !read_row(r, id, &row)) {
		buffer_text(out, "{}");
		return 0;
	}
	buffer_printf(out,
	              "{\"Mode\":\"%s\",\"EarnedPerHour\":%d,\"BaselinePercent\":%.4g,\"Balance\":%.3f,"
	              "\"SurplusBalance\":%.3f,\"SurplusCharged\":%.3f,\"Used\":%.3f}",
	              is_unlimited(r, id) ? "unlimited" : "standard", type->credits_per_hour,
	              (double)type->credits_per_hour / type->vcpus * 100 / 60,
	              credits(row.credit.earned + row.credit.launch), credits(row.credit.surplus),
	              credits(row.credit.charged), credits(row.credit.used));
	return 0;
}
