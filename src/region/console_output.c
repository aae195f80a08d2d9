/* GetConsoleOutput: what the serial line said. */
#include "host/hosted.h"
#include "model/scalar.h"
#include "region/agent.h"
#include "region/instance.h"

enum { CONSOLE_SIZE = 64 << 10 };

ACTION(ec2, GetConsoleOutput)
{
	struct resource *instance = resource_of(r, &instance_kind, "InstanceId");
	char dir[4200], *bytes;
	struct buffer b = {0};
	size_t length;

	if (!instance)
		return -1;
	bytes = arena_alloc(r->arena, CONSOLE_SIZE);
	length = hosted_console_tail(agent_folder(r->cloud, dir, sizeof(dir), instance->id), bytes,
	                             CONSOLE_SIZE);
	base64_write(&b, bytes, length);
	value_set_string(r->out, "InstanceId", instance->id);
	value_set_time(r->out, "Timestamp", r->now_ms);
	value_set_string(r->out, "Output", buffer_str(&b));
	buffer_release(&b);
	return 0;
}
