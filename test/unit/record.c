/* Lines of the log with fields. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/record.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64], aside[80];

static json_t *parse(const struct record *r)
{
	json_error_t e;
	json_t *v = json_loadb(r->text, r->length, 0, &e);

	if (!v)
		fail_msg("%s: %.*s", e.text, (int)r->length, r->text);
	return v;
}

static void test_text(void **state)
{
	struct record r;

	assert_true(record_begin(&r, LOG_WARN, "request"));
	record_text(&r, "action", "RunInstances");
	record_text(&r, "why", "two words\n");
	record_text(&r, "none", NULL);
	record_integer(&r, "status", 200);
	record_close(&r);
	r.text[r.length] = 0;
	assert_string_equal(
	        r.text, "insula: warning: request action=RunInstances why=\"two words\\x0a\" status=200\n");
	assert_false(record_begin(&r, LOG_INFO, "request"));
}

static void test_structured(void **state)
{
	struct record r;
	struct error e;
	json_t *v;

	strcpy(path, "/tmp/insula-record-XXXXXX");
	close(mkstemp(path));
	snprintf(aside, sizeof(aside), "%s.1", path);
	assert_int_equal(log_open(path, &e), 0);
	assert_true(record_begin(&r, LOG_ERROR, "x"));
	record_text(&r, "a", "\"quote\" \\ \x01 \xff {\n");
	record_milliseconds(&r, "ms", 1500000);
	record_close(&r);
	assert_null(memchr(r.text, '\n', r.length - 1));
	v = parse(&r);
	assert_string_equal(json_string_value(json_object_get(v, "a")), "\"quote\" \\ \x01 \xc3\xbf {\n");
	assert_string_equal(json_string_value(json_object_get(v, "level")), "error");
	assert_true(json_real_value(json_object_get(v, "ms")) == 1.5);
	json_decref(v);
}

/* However much there is to say, it is one whole line. */
static void test_full(void **state)
{
	char text[2000];
	struct record r;

	for (unsigned size = 0; size < sizeof(text); size += 37) {
		memset(text, size & 1 ? 1 : 'x', size);
		text[size] = 0;
		assert_true(record_begin(&r, LOG_ERROR, "x"));
		for (unsigned i = 0; i < 20; i++) {
			record_text(&r, "field", text);
			record_message(&r, text);
			record_integer(&r, "number", INT64_MIN);
		}
		record_close(&r);
		json_decref(parse(&r));
	}
}

static char *contents(const char *file)
{
	static char text[8192];
	FILE *f = fopen(file, "re");
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	if (f)
		fclose(f);
	text[n] = 0;
	return text;
}

static void test_reopen(void **state)
{
	struct error e;

	log_error("%s", "first");
	rename(path, aside);
	log_error("%s", "second");
	assert_int_equal(log_reopen(&e), 0);
	log_error("%s", "third");
	assert_non_null(strstr(contents(aside), "\"text\":\"second\""));
	assert_null(strstr(contents(path), "second"));
	assert_non_null(strstr(contents(path), "\"text\":\"third\""));
	unlink(path);
	unlink(aside);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_text),
	        cmocka_unit_test(test_structured),
	        cmocka_unit_test(test_full),
	        cmocka_unit_test(test_reopen),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
