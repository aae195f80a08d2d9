#include "api/operator.h"
#include "model/scalar.h"
#include "region/cpu_credit.h"
#include "region/host_health.h"
#include "region/policy.h"
#include "region/usage.h"

#include <string.h>

struct operation {
	const char *name;
	int (*fn)(struct request *r, const struct form *form, struct buffer *answer);
	bool owner; /* only for keys of the region's own account */
};

/* otherwise: if there is none. Seconds since 1970. */
static int read_time(struct request *r, const struct form *form, const char *name, s64 otherwise,
                     s64 *seconds)
{
	const char *text = form_get(form, name);
	s64 ms = otherwise * 1000;

	if (text && scalar_parse_time(text, &ms) < 0)
		return request_fail(r, "InvalidParameterValue",
		                    "%s '%.64s' is not a date, or a date and a time", name, text);
	*seconds = ms / 1000;
	return 0;
}

static int get_usage(struct request *r, const struct form *form, struct buffer *answer)
{
	static const char *const names[] = {"instance", "type", "owner", "day"};
	const char *by = form_get(form, "By"), *after = form_get(form, "NextToken");
	struct usage_report report = {.after = after ? after : ""};
	unsigned i = 0;

	while (by && i < ARRAY_SIZE(names) && strcmp(names[i], by))
		i++;
	if (i == ARRAY_SIZE(names))
		return request_fail(r, "InvalidParameterValue",
		                    "By '%.64s' must be one of instance, type, owner, day", by);
	report.by = (enum usage_by)i;
	if (strcmp(r->account, r->cloud->account))
		report.account = r->account;
	if (read_time(r, form, "StartTime", 0, &report.from_s) < 0 ||
	    read_time(r, form, "EndTime", 0, &report.to_s) < 0)
		return -1;
	if (report.to_s && report.to_s <= report.from_s)
		return request_fail(r, "InvalidParameterValue", "EndTime must be behind StartTime");
	return usage_write(r, &report, answer);
}

static int get_cpu_credits(struct request *r, const struct form *form, struct buffer *answer)
{
	const char *instance = form_get(form, "InstanceId");

	if (!instance)
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter InstanceId");
	return cpu_credit_write(r, instance, answer);
}

static int list_hosts(struct request *r, const struct form *form, struct buffer *answer)
{
	const char *after = form_get(form, "NextToken");

	host_write(r, after ? after : "", answer);
	return 0;
}

static int change_host(struct request *r, const struct form *form, struct buffer *answer, bool silent)
{
	const char *host = form_get(form, "HostId");

	if (!host)
		return request_fail(r, "MissingParameter", "The request must contain the parameter HostId");
	buffer_text(answer, "{}");
	return host_silence(r, host, silent);
}

static int silence_host(struct request *r, const struct form *form, struct buffer *answer)
{
	return change_host(r, form, answer, true);
}

static int wake_host(struct request *r, const struct form *form, struct buffer *answer)
{
	return change_host(r, form, answer, false);
}

static const struct operation operations[] = {
        {"GetUsage", get_usage, false},  {"GetCpuCredits", get_cpu_credits, false},
        {"ListHosts", list_hosts, true}, {"SilenceHost", silence_host, true},
        {"WakeHost", wake_host, true},
};

static const struct operation *find(const struct form *form)
{
	const char *name = form_get(form, "Action");

	for (unsigned i = 0; name && i < ARRAY_SIZE(operations); i++)
		if (!strcmp(operations[i].name, name))
			return &operations[i];
	return NULL;
}

const char *operator_action(const struct form *form)
{
	const struct operation *o = find(form);

	return o ? o->name : NULL;
}

int operator_perform(struct request *r, const struct form *form, struct buffer *answer)
{
	const struct operation *o = find(form);
	const char *name = form_get(form, "Action");

	if (o && o->owner && strcmp(r->account, r->cloud->account))
		return request_fail(r, "UnauthorizedOperation",
		                    "You are not authorized to perform this operation.");
	if (o && policy_check(r, OPERATOR_SERVICE, o->name, form_get(form, "HostId")) < 0)
		return -1;
	return o ? o->fn(r, form, answer)
	         : request_fail(r, "InvalidAction", "The action %.128s is not valid for this web service.",
	                        name ? name : "(none)");
}
