/* STS: who is calling. */
#include "region/action.h"

ACTION(sts, GetCallerIdentity)
{
	value_set_string(r->out, "Account", r->account);
	value_set_string(r->out, "UserId", r->account);
	value_set_string(r->out, "Arn", arena_printf(r->arena, "arn:aws:iam::%s:root", r->account));
	return 0;
}
