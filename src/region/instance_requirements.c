/* GetInstanceTypesFromInstanceRequirements: the types that have what is asked for. */
#include "base/wildcard.h"
#include "region/describe.h"
#include "region/instance_type.h"

#include <string.h>

/* Requirements of what no type here has: only a demand for none of it is met. */
static const char *const absent[] = {"AcceleratorCount", "AcceleratorTotalMemoryMiB"};
/* Of what is not known of the types here, or means a price. */
static const char *const unknown[] = {"BaselineEbsBandwidthMbps", "NetworkBandwidthGbps"};

static double number(const struct value *range, const char *name, double otherwise)
{
	const struct value *v = value_get(range, name);

	if (!v)
		return otherwise;
	return v->kind == VALUE_DOUBLE ? v->number : (double)v->integer;
}

static bool within(const struct value *range, double has)
{
	return has >= number(range, "Min", has) && has <= number(range, "Max", has);
}

/* included, required, excluded */
static bool wanted(const struct value *q, const char *name, const char *otherwise, bool has)
{
	const char *word = value_string(q, name);

	if (!word)
		word = otherwise;
	return !strcmp(word, "included") || has == !strcmp(word, "required");
}

static bool named(const struct value *list, const char *type)
{
	for (unsigned i = 0; i < value_count(list); i++)
		if (wildcard_match(value_item(list, i)->text, type, WILDCARD_ESCAPE))
			return true;
	return false;
}

/* m5a, c6a, …: an a behind the generation's digit. */
static const char *manufacturer(const char *type)
{
	const char *p = type + strcspn(type, "0123456789");

	return p[strspn(p, "0123456789")] == 'a' ? "amd" : "intel";
}

static bool meets(const struct value *q, const struct instance_type *t)
{
	const struct value *makers = value_get(q, "CpuManufacturers"),
	                   *ages = value_get(q, "InstanceGenerations");
	const struct value *allowed = value_get(q, "AllowedInstanceTypes");
	const struct value *kinds = value_get(q, "LocalStorageTypes");
	double gib = t->memory_mib / 1024.0;

	if (!within(value_get(q, "VCpuCount"), t->vcpus) ||
	    !within(value_get(q, "MemoryMiB"), t->memory_mib) ||
	    !within(value_get(q, "MemoryGiBPerVCpu"), gib / t->vcpus) ||
	    !within(value_get(q, "NetworkInterfaceCount"), t->interfaces) ||
	    !within(value_get(q, "TotalLocalStorageGB"), (double)t->disks * t->disk_gb))
		return false;
	if (!wanted(q, "BareMetal", "excluded", t->flags & TYPE_METAL) ||
	    !wanted(q, "BurstablePerformance", "excluded", t->credits_per_hour) ||
	    !wanted(q, "LocalStorage", "included", t->disks))
		return false;
	if (value_count(makers) && !value_has_string(makers, manufacturer(t->name)))
		return false;
	if (value_count(ages) && !value_has_string(ages, t->flags & TYPE_CURRENT ? "current" : "previous"))
		return false;
	if (t->disks && value_count(kinds) && !value_has_string(kinds, "ssd"))
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(absent); i++)
		if (!within(value_get(q, absent[i]), 0))
			return false;
	if (value_count(value_get(q, "AcceleratorTypes")) || value_count(value_get(q, "AcceleratorNames")) ||
	    value_count(value_get(q, "AcceleratorManufacturers")) ||
	    value_boolean(q, "RequireHibernateSupport", false))
		return false;
	return !named(value_get(q, "ExcludedInstanceTypes"), t->name) &&
	       (!value_count(allowed) || named(allowed, t->name));
}

static int check(struct request *r, const struct value *q)
{
	if (value_count(value_get(q, "AllowedInstanceTypes")) &&
	    value_count(value_get(q, "ExcludedInstanceTypes")))
		return request_fail(r, "InvalidParameterCombination",
		                    "AllowedInstanceTypes and ExcludedInstanceTypes cannot be used together");
	for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++)
		if (value_get(q, unknown[i]))
			return request_fail(r, "UnsupportedOperation", "%s is not known of the types here",
			                    unknown[i]);
	return 0;
}

ACTION(ec2, GetInstanceTypesFromInstanceRequirements)
{
	const struct value *q = value_get(r->in, "InstanceRequirements");
	bool possible = value_has_string(value_get(r->in, "ArchitectureTypes"), "x86_64") &&
	                value_has_string(value_get(r->in, "VirtualizationTypes"), "hvm");
	struct value *list = value_open(r->out, "InstanceTypes");
	unsigned most;
	s64 after;

	if (describe_page(r, &most, &after) < 0 || check(r, q) < 0)
		return -1;
	for (unsigned i = (unsigned)after; possible && i < instance_type_count; i++) {
		if (!meets(q, &instance_types[i]))
			continue;
		if (most && list->count == most) {
			describe_next(r, i);
			break;
		}
		value_set_string(value_append(list), "InstanceType", instance_types[i].name);
	}
	return 0;
}
