/* Access of an account to serial consoles over EC2's own console service. */
#include "region/link.h"

static const char *place(struct request *r)
{
	return arena_printf(r->arena, "serial-console:%s:%s", r->account, r->region);
}

static int answer(struct request *r)
{
	value_set_boolean(r->out, "SerialConsoleAccessEnabled", property_is(r, place(r), "enabled", "true"));
	return 0;
}

ACTION(ec2, GetSerialConsoleAccessStatus)
{
	return answer(r);
}

ACTION(ec2, EnableSerialConsoleAccess)
{
	property_set(r, place(r), "enabled", "true");
	return answer(r);
}

ACTION(ec2, DisableSerialConsoleAccess)
{
	property_set(r, place(r), "enabled", NULL);
	return answer(r);
}
