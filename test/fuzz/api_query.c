/* A request's body: the first byte chooses an action, the rest is its parameters. What is accepted is written
 * as JSON, which must read back as the same, and as XML. */
#include "api/query.h"
#include "api/xml.h"
#include "model/json.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static const char *const names[] = {"RunInstances",
	                                    "DescribeInstances",
	                                    "CreateTags",
	                                    "AuthorizeSecurityGroupIngress",
	                                    "CreateLaunchTemplate",
	                                    "ImportKeyPair",
	                                    "ModifyInstanceAttribute",
	                                    "RequestSpotFleet"};
	const struct model_action *action;
	struct buffer json = {0}, xml = {0};
	struct form form = {0};
	struct arena arena;
	struct value *v, *again;
	struct fault f = {0};

	if (!size)
		return 0;
	arena_init(&arena);
	action = model_action_find(&model_ec2, names[data[0] % ARRAY_SIZE(names)]);
	if (form_parse(&form, &arena, (const char *)data + 1, size - 1) == 0) {
		v = query_parse(&arena, &model_ec2, action, &form, &f);
		if (v) {
			json_write(&json, v);
			again = json_parse(&arena, &model_ec2, action->input, buffer_str(&json), json.length);
			if (!again && json.length < 100000)
				abort();
			if (again && !value_equal(v, again))
				abort();
			if (query_validate(v, &f) < 0 && (!f.status || !f.code[0]))
				abort();
		} else if (!f.status || !f.code[0]) {
			abort();
		}
		if (f.status)
			xml_fault(&xml, &model_ec2, &f, "id");
	}
	buffer_release(&json);
	buffer_release(&xml);
	arena_release(&arena);
	return 0;
}
