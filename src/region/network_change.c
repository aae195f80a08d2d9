#include "region/network_change.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IDS = 256 }; /* when more have changed, all may have */

struct network_changes {
	char ids[IDS][64];
	unsigned count;
	bool all;
};

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
	struct network_changes *changes = c->changes;

	if (!changes)
		return;
	c->wake = true;
	for (unsigned i = changes->count; i-- > 0;)
		if (!strcmp(changes->ids[i], vpc))
			return;
	if (!*vpc || changes->count == IDS)
		changes->all = true;
	else
		snprintf(changes->ids[changes->count++], sizeof(changes->ids[0]), "%s", vpc);
}

void network_change_resource(struct cloud *c, const struct resource *res)
{
	/* What is of no VPC, or not always, and counts in some. */
	static const char *const others[] = {"igw-", "eigw-", "fl-", "pl-", "dopt-", "pcx-"};
	const char *vpc = NULL;

	if (!c->changes)
		return;
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
}

bool network_change_next(struct network_changes *changes, char out[64])
{
	if (changes->all) {
		*out = 0;
		changes->all = false;
		changes->count = 0;
		return true;
	}
	if (!changes->count)
		return false;
	memcpy(out, changes->ids[--changes->count], 64);
	return true;
}
