#include "region/network_change.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IDS = 256 }; /* when more have changed, all may have */

struct ids {
	char list[IDS][64];
	unsigned count;
	bool all;
};

struct network_changes {
	struct ids vpcs, instances;
};

static void add(struct ids *ids, const char *id)
{
	for (unsigned i = ids->count; i-- > 0;)
		if (!strcmp(ids->list[i], id))
			return;
	if (!*id || ids->count == IDS)
		ids->all = true;
	else
		snprintf(ids->list[ids->count++], sizeof(ids->list[0]), "%s", id);
}

static bool take(struct ids *ids, char out[64])
{
	if (ids->all) {
		*out = 0;
		ids->all = false;
		ids->count = 0;
		return true;
	}
	if (!ids->count)
		return false;
	memcpy(out, ids->list[--ids->count], 64);
	return true;
}

struct network_changes *network_changes_new(void)
{
	return calloc(1, sizeof(struct network_changes));
}

void network_changes_free(struct network_changes *changes)
{
	free(changes);
}

void network_change(struct cloud *c, const char *vpc)
{
	if (!c->changes)
		return;
	c->wake = true;
	add(&c->changes->vpcs, vpc);
}

void network_change_resource(struct cloud *c, const struct resource *res)
{
	/* What is of no VPC, or not always, and counts in some. */
	static const char *const others[] = {"igw-", "eigw-", "fl-", "pl-", "dopt-", "pcx-"};
	const char *vpc = NULL, *instance = NULL;

	if (!c->changes)
		return;
	if (!strcmp(res->kind->prefix, "i-"))
		instance = res->id;
	else if (!strcmp(res->kind->prefix, "eni-"))
		instance = value_path(res->doc, "Attachment.InstanceId");
	if (instance)
		add(&c->changes->instances, instance);
	if (model_member_find(res->doc->model, value_shape(res->doc), "VpcId") >= 0)
		vpc = value_string(res->doc, "VpcId");
	if (!vpc && !strncmp(res->parent, "vpc-", 4))
		vpc = res->parent;
	if (vpc) {
		network_change(c, vpc);
		return;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(others); i++)
		if (!strncmp(res->kind->prefix, others[i], strlen(others[i])))
			network_change(c, "");
}

void network_change_id(struct cloud *c, const char *id)
{
	if (c->changes && !strncmp(id, "vpc-", 4) && strchr(id + 4, '-') == NULL)
		network_change(c, id);
	else if (c->changes && !strncmp(id, "pl-", 3))
		network_change(c, "");
	else if (c->changes && !strncmp(id, "i-", 2))
		add(&c->changes->instances, id);
}

bool network_change_next(struct network_changes *changes, char out[64])
{
	return take(&changes->vpcs, out);
}

bool network_change_next_instance(struct network_changes *changes, char out[64])
{
	return take(&changes->instances, out);
}
