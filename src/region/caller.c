/* STS: who is calling. */
#include "region/action.h"
#include "region/credential.h"

ACTION(sts, GetCallerIdentity)
{
	struct credential c;

	value_set_string(r->out, "Account", r->account);
	if (credential_find(r->cloud, r->key_id, &c)) {
		value_set_string(r->out, "UserId", arena_printf(r->arena, "AROA%s:%s", c.id + 4, c.instance));
		value_set_string(r->out, "Arn",
		                 arena_printf(r->arena, "arn:aws:sts::%s:assumed-role/%s/%s", r->account,
		                              c.role, c.instance));
		return 0;
	}
	value_set_string(r->out, "UserId", r->account);
	value_set_string(r->out, "Arn", arena_printf(r->arena, "arn:aws:iam::%s:root", r->account));
	return 0;
}
