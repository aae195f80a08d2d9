/* CPU credits of burstable instances: what an instance may spend, and what new ones of a family begin with.
 */
#include "region/describe.h"
#include "region/filter.h"
#include "region/instance.h"
#include "region/instance_credit.h"
#include "region/instance_type.h"
#include "region/link.h"

#include <string.h>

static const char *family_place(struct request *r, const char *family)
{
	return arena_printf(r->arena, "credit:%s:%s:%s", r->account, r->region, family);
}

/* EC2: T2 is standard, the later ones unlimited, until an account says otherwise. */
static const char *family_default(struct request *r, const char *family)
{
	const char *set = property_get(r, family_place(r, family), "cpu-credits");

	return set ? set : !strcmp(family, "t2") ? "standard" : "unlimited";
}

static int check_credits(struct request *r, const char *credits)
{
	if (credits && (!strcmp(credits, "standard") || !strcmp(credits, "unlimited")))
		return 0;
	return request_fail(
	        r, "InvalidParameterValue",
	        "Value (%.64s) for parameter cpuCredits is invalid. Expecting standard or unlimited.",
	        credits ? credits : "");
}

int instance_credit_read(struct request *r, const struct instance_type *type, const char **credits)
{
	const struct value *v = value_get(r->in, "CreditSpecification");

	*credits = NULL;
	if (!type->credits_per_hour)
		return v ? request_fail(r, "InvalidParameterCombination",
		                        "CreditSpecification is for burstable instances; %s is none",
		                        type->name)
		         : 0;
	*credits = v ? value_string(v, "CpuCredits")
	             : family_default(r, arena_text(r->arena, type->name, strcspn(type->name, ".")));
	return check_credits(r, *credits);
}

void instance_credit_set(struct request *r, const char *instance, const char *credits)
{
	if (credits)
		property_set(r, instance, "cpu-credits", credits);
}

/* ---- of a family ---- */

static void show_family(struct request *r, const char *family)
{
	struct value *v = value_open(r->out, "InstanceFamilyCreditSpecification");

	value_set_string(v, "InstanceFamily", family);
	value_set_string(v, "CpuCredits", family_default(r, family));
}

ACTION(ec2, GetDefaultCreditSpecification)
{
	show_family(r, value_string(r->in, "InstanceFamily"));
	return 0;
}

ACTION(ec2, ModifyDefaultCreditSpecification)
{
	const char *family = value_string(r->in, "InstanceFamily"),
	           *credits = value_string(r->in, "CpuCredits");

	if (check_credits(r, credits) < 0)
		return -1;
	property_set(r, family_place(r, family), "cpu-credits", credits);
	show_family(r, family);
	return 0;
}

/* ---- of instances ---- */

static const struct resource_kind row_kind = {.name = "instance", .shape = "InstanceCreditSpecification"};

struct listing {
	struct request *request;
	const struct filter *filter;
	struct value *list, *shown;
};

static bool match(void *ctx, struct resource *instance)
{
	struct listing *l = ctx;
	struct request *r = l->request;
	const char *credits = property_get(r, instance->id, "cpu-credits");
	const struct instance_type *type = instance_type_find(value_string(instance->doc, "InstanceType"));
	const struct value *ids = value_get(r->in, "InstanceIds");

	if (!type || !type->credits_per_hour || instance_state_of(instance->doc) == INSTANCE_TERMINATED)
		return false;
	/* Without ids, those that may spend what they like. */
	if (!value_count(ids) && (!credits || strcmp(credits, "unlimited")))
		return false;
	l->shown = value_new(r->arena, r->model, resource_shape(r->model, &row_kind));
	value_set_string(l->shown, "InstanceId", instance->id);
	value_set_string(l->shown, "CpuCredits", credits ? credits : "standard");
	return filter_match(l->filter, l->shown);
}

static void add(void *ctx, struct resource *instance)
{
	struct listing *l = ctx;

	(void)instance;
	value_append_value(l->list, l->shown);
}

ACTION(ec2, DescribeInstanceCreditSpecifications)
{
	struct listing l = {.request = r, .list = value_open(r->out, "InstanceCreditSpecifications")};
	const struct describe_each each = {.kind = &instance_kind,
	                                   .ids = "InstanceIds",
	                                   .ids_alone = "instancesSet",
	                                   .match = match,
	                                   .add = add,
	                                   .ctx = &l};
	struct filter *filter;

	if (filter_read(r, &row_kind, &filter) < 0)
		return -1;
	l.filter = filter;
	return describe_each(r, &each);
}

/* Each by itself: why it was not, NULL if it was. */
static const char *modify_one(struct request *r, const char *id, const char *credits, const char **message)
{
	struct request one = *r;
	struct fault fault = {0};
	const struct instance_type *type;
	struct resource *instance;

	one.fault = &fault;
	instance = resource_get(&one, &instance_kind, id);
	*message = instance ? "" : arena_strdup(r->arena, fault.message);
	if (!instance)
		return arena_strdup(r->arena, fault.code);
	type = instance_type_find(value_string(instance->doc, "InstanceType"));
	*message = "The instance is not burstable";
	if (!type || !type->credits_per_hour)
		return "InstanceCreditSpecification.NotSupported";
	*message = "The instance is neither running nor stopped";
	if (instance_state_of(instance->doc) != INSTANCE_RUNNING &&
	    instance_state_of(instance->doc) != INSTANCE_STOPPED)
		return "IncorrectInstanceState";
	instance_credit_set(r, id, credits);
	return NULL;
}

ACTION(ec2, ModifyInstanceCreditSpecification)
{
	const struct value *list = value_get(r->in, "InstanceCreditSpecifications");

	value_open(r->out, "SuccessfulInstanceCreditSpecifications");
	value_open(r->out, "UnsuccessfulInstanceCreditSpecifications");
	for (unsigned i = 0; i < value_count(list); i++) {
		const char *id = value_string(value_item(list, i), "InstanceId"), *message, *code;
		const char *credits = value_string(value_item(list, i), "CpuCredits");
		struct value *item;

		if (!id)
			return request_fail(r, "MissingParameter",
			                    "The request must contain the parameter instanceId");
		if (check_credits(r, credits) < 0)
			return -1;
		code = modify_one(r, id, credits, &message);
		item = value_append(value_open(r->out, code ? "UnsuccessfulInstanceCreditSpecifications"
		                                            : "SuccessfulInstanceCreditSpecifications"));
		value_set_string(item, "InstanceId", id);
		if (code) {
			value_set_string(value_open(item, "Error"), "Code", code);
			value_set_string(value_open(item, "Error"), "Message", message);
		}
	}
	return 0;
}
