#include "cli/policy.h"

#include <jansson.h>
#include <string.h>

enum { PATTERN_MAX = 128 };

static const char read_only[] = "allow ec2:Describe* *\nallow ec2:Get* *\nallow ec2:List* *\n"
                                "allow ec2:Search* *\nallow insula:Get* *\nallow insula:List* *\n";

/* A word of a line, or NULL. Of an ARN what is behind the last slash. */
static const char *word(const json_t *v, bool resource)
{
	const char *text = json_string_value(v), *slash = text && resource ? strrchr(text, '/') : NULL;

	if (slash)
		text = slash + 1;
	return text && *text && strlen(text) <= PATTERN_MAX && !strpbrk(text, " \t\r\n") ? text : NULL;
}

/* The i-th of a list, or the one that stands alone; NULL behind the last. */
static const json_t *item(const json_t *v, size_t i)
{
	if (json_is_array(v))
		return json_array_get(v, i);
	return i ? NULL : v;
}

static int read_statement(const json_t *statement, struct buffer *lines)
{
	const json_t *actions = json_object_get(statement, "Action");
	const json_t *resources = json_object_get(statement, "Resource"), *a, *r;
	const char *effect = json_string_value(json_object_get(statement, "Effect")), *key;
	json_t *star = NULL, *value;
	int result = 0;

	json_object_foreach((json_t *)statement, key,
	                    value) if (strcmp(key, "Sid") && strcmp(key, "Effect") && strcmp(key, "Action") &&
	                               strcmp(key, "Resource")) return -1;
	if (!effect || (strcmp(effect, "Allow") && strcmp(effect, "Deny")) || !item(actions, 0))
		return -1;
	if (!resources)
		resources = star = json_string("*");
	for (size_t i = 0; (a = item(actions, i)); i++)
		for (size_t k = 0; (r = item(resources, k)); k++) {
			if (!word(a, false) || !word(r, true))
				result = -1;
			else
				buffer_printf(lines, "%s %s %s\n", *effect == 'A' ? "allow" : "deny",
				              word(a, false), word(r, true));
		}
	json_decref(star);
	return result;
}

int policy_read(const char *name, struct buffer *lines, struct error *e)
{
	size_t before = lines->length;
	const json_t *statements, *s;
	json_error_t why;
	json_t *policy;
	int result = 0;

	if (!strcmp(name, "read-only")) {
		buffer_text(lines, read_only);
		return 0;
	}
	policy = json_load_file(name, 0, &why);
	if (!policy)
		return error_set(e, 0, "policy %s: %s (line %d)", name, why.text, why.line);
	statements = json_object_get(policy, "Statement");
	for (size_t i = 0; result == 0 && (s = item(statements, i)); i++)
		if (read_statement(s, lines) < 0)
			result = error_set(
			        e, 0,
			        "policy %s: statement %zu: must have Effect (Allow or Deny), Action, and "
			        "Resource or none, and nothing else",
			        name, i + 1);
	if (result == 0 && lines->length == before)
		result = error_set(e, 0, "policy %s: has no Statement", name);
	json_decref(policy);
	return result;
}
