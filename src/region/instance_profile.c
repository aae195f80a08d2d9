#include "region/instance_profile.h"
#include "region/describe.h"
#include "region/instance.h"
#include "region/link.h"

#include <ctype.h>
#include <string.h>

enum { NAME_MOST = 128, ARN_MOST = 1600 };

RESOURCE_KIND(instance_profile_association_kind) = {
        .name = "iam-instance-profile-association",
        .prefix = "iip-assoc-",
        .shape = "IamInstanceProfileAssociation",
        .id = "AssociationId",
        .noun = "AssociationID",
        .indexed = {"InstanceId"},
};

/* ---- what it may be (IAM User Guide, "IAM identifiers") ---- */

static bool is_name(const char *text)
{
	size_t length = strlen(text);

	for (const char *p = text; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("_+=,.@-", *p))
			return false;
	return length >= 1 && length <= NAME_MOST;
}

/* arn:aws:iam::123456789012:instance-profile/path/name */
static bool is_arn(const char *text)
{
	static const char head[] = "arn:aws:iam::", middle[] = ":instance-profile/";
	const char *at = text + strlen(head), *name;

	if (strncmp(text, head, strlen(head)) || strspn(at, "0123456789") != 12 ||
	    strncmp(at + 12, middle, strlen(middle)) || strlen(text) > ARN_MOST)
		return false;
	for (const char *p = at; *p; p++)
		if (!isgraph((unsigned char)*p))
			return false;
	name = strrchr(at, '/') + 1;
	return is_name(name);
}

/* IAM gives each profile an id when it is made; here it follows from the ARN, so that it stays the same. */
static const char *id_of(struct request *r, const char *arn)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
	char id[] = "AIPAxxxxxxxxxxxxxxxxx";
	u64 hash = 14695981039346656037ULL;

	for (unsigned i = 4; i < sizeof(id) - 1; i++) {
		for (const char *p = arn; *p; p++)
			hash = (hash ^ (u8)*p) * 1099511628211ULL;
		id[i] = digits[hash >> 59];
	}
	return arena_strdup(r->arena, id);
}

int instance_profile_read(struct request *r, const struct value *v, struct instance_profile *p)
{
	const char *arn = v ? value_string(v, "Arn") : NULL, *name = v ? value_string(v, "Name") : NULL;

	*p = (struct instance_profile){0};
	/* Some tools send an empty text for none. */
	arn = arn && *arn ? arn : NULL;
	name = name && *name ? name : NULL;
	if (arn && name)
		return request_fail(r, "InvalidParameterCombination",
		                    "The parameter 'iamInstanceProfile.name' may not be used in combination "
		                    "with 'iamInstanceProfile.arn'");
	if (arn && !is_arn(arn))
		return request_fail(r, "InvalidParameterValue",
		                    "Value (%.100s) for parameter iamInstanceProfile.arn is invalid. Invalid "
		                    "IAM Instance Profile ARN",
		                    arn);
	if (name && !is_name(name))
		return request_fail(
		        r, "InvalidParameterValue",
		        "Value (%.100s) for parameter iamInstanceProfile.name is invalid. Invalid "
		        "IAM Instance Profile name",
		        name);
	if (name)
		arn = arena_printf(r->arena, "arn:aws:iam::%s:instance-profile/%s", r->account, name);
	if (arn)
		*p = (struct instance_profile){arn, id_of(r, arn)};
	return 0;
}

/* ---- associations ---- */

static void show(struct value *doc, const struct instance_profile *p)
{
	struct value *v = value_open(doc, "IamInstanceProfile");

	value_set_string(v, "Arn", p->arn);
	value_set_string(v, "Id", p->id);
}

struct resource *instance_profile_associate(struct request *r, struct resource *instance,
                                            const struct instance_profile *p)
{
	struct resource *association = resource_new(r, &instance_profile_association_kind);

	association->parent = instance->id;
	value_set_string(association->doc, "InstanceId", instance->id);
	value_set_string(association->doc, "State", "associated");
	value_set_time(association->doc, "Timestamp", r->now_ms);
	show(association->doc, p);
	/* What its role may do: no more than who gave it to the instance. */
	property_set(r, instance->id, "role-policy", r->policy && *r->policy ? r->policy : NULL);
	resource_insert(r, association);
	show(instance->doc, p);
	return association;
}

static void remove_all(struct request *r, struct resource *instance)
{
	struct resource **list = resource_list(r, &instance_profile_association_kind, instance->id);

	for (unsigned i = 0; list[i]; i++)
		resource_delete(r, list[i]);
	value_remove(instance->doc, "IamInstanceProfile");
}

void instance_profile_leave(struct request *r, struct resource *instance)
{
	if (value_get(instance->doc, "IamInstanceProfile"))
		remove_all(r, instance);
}

/* As the answer has it, in passing. */
static void answer(struct request *r, const struct resource *association, const char *state)
{
	struct value *doc = value_copy(r->arena, association->doc);

	value_set_string(doc, "State", state);
	value_put(r->out, "IamInstanceProfileAssociation", doc);
}

/* -1: IncorrectInstanceState. */
static int check_state(struct request *r, const struct resource *instance)
{
	enum instance_state state = instance_state_of(instance->doc);

	if (state == INSTANCE_PENDING || state == INSTANCE_RUNNING || state == INSTANCE_STOPPING ||
	    state == INSTANCE_STOPPED)
		return 0;
	return request_fail(r, "IncorrectInstanceState", "The instance '%s' is %s", instance->id,
	                    instance_state_name(state));
}

static int read_required(struct request *r, struct instance_profile *p)
{
	if (instance_profile_read(r, value_get(r->in, "IamInstanceProfile"), p) < 0)
		return -1;
	return p->arn ? 0
	              : request_fail(r, "MissingParameter",
	                             "The request must contain the parameter iamInstanceProfile.arn or "
	                             "iamInstanceProfile.name");
}

ACTION(ec2, AssociateIamInstanceProfile)
{
	struct resource *instance = resource_of(r, &instance_kind, "InstanceId");
	struct instance_profile profile;

	if (!instance || read_required(r, &profile) < 0 || check_state(r, instance) < 0)
		return -1;
	if (value_get(instance->doc, "IamInstanceProfile"))
		return request_fail(r, "IncorrectState", "There is an existing association for instance %s",
		                    instance->id);
	answer(r, instance_profile_associate(r, instance, &profile), "associating");
	resource_save(r, instance);
	return 0;
}

ACTION(ec2, ReplaceIamInstanceProfileAssociation)
{
	struct resource *old = resource_of(r, &instance_profile_association_kind, "AssociationId"), *instance;
	struct instance_profile profile;

	if (!old || read_required(r, &profile) < 0)
		return -1;
	instance = resource_get(r, &instance_kind, old->parent);
	if (!instance || check_state(r, instance) < 0)
		return -1;
	remove_all(r, instance);
	answer(r, instance_profile_associate(r, instance, &profile), "associating");
	resource_save(r, instance);
	return 0;
}

ACTION(ec2, DisassociateIamInstanceProfile)
{
	struct resource *association = resource_of(r, &instance_profile_association_kind, "AssociationId"),
	                *instance;

	if (!association)
		return -1;
	answer(r, association, "disassociating");
	instance = resource_find(r, &instance_kind, association->parent);
	if (!instance) {
		resource_delete(r, association);
		return 0;
	}
	remove_all(r, instance);
	resource_save(r, instance);
	return 0;
}

ACTION(ec2, DescribeIamInstanceProfileAssociations)
{
	static const struct describe d = {.kind = &instance_profile_association_kind,
	                                  .list = "IamInstanceProfileAssociations",
	                                  .ids = "AssociationIds"};

	return describe_run(r, &d);
}
