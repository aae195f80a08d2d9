/* A stored document, in the shape of an instance: what is read is written, and reads back as the same. */
#include "model/json.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	const struct model_action *action = model_action_find(&model_ec2, "DescribeInstances");
	struct buffer text = {0};
	struct arena arena;
	struct arena_mark mark;
	struct value *v, *again;

	arena_init(&arena);
	mark = arena_mark(&arena);
	v = json_parse(&arena, &model_ec2, action->output, (const char *)data, size);
	if (v) {
		json_write(&text, v);
		again = json_parse(&arena, &model_ec2, action->output, buffer_str(&text), text.length);
		if (!again || !value_equal(v, again))
			abort();
	}
	arena_rewind(&arena, mark);
	if (arena.chunks)
		abort();
	buffer_release(&text);
	arena_release(&arena);
	return 0;
}
