/* The metadata service: HTTP of guests, the tree, tokens, and who is refused. */
#include "net/imds.h"

#include "net_fixture.h"

#include <stdio.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct config *config;
static struct buffer out;
static struct imds service;
static u8 hops;

static int open_config(void **state)
{
	static const u8 secret[IMDS_SECRET] = "of the process";

	config = net_fixture_new();
	service = (struct imds){.since = 0, .now = 1000, .secret = secret};
	return 0;
}

static int close_config(void **state)
{
	config_free(config);
	buffer_release(&out);
	return 0;
}

/* The status of the answer of instance i-N to a request's text. */
static int ask(unsigned n, const char *text)
{
	struct web_request r;
	int status = 0;

	service.instance = &config->metadata[n - 1];
	buffer_clear(&out);
	assert_int_equal(web_parse((const u8 *)text, strlen(text), &r), WEB_OK);
	assert_int_equal(r.head + r.body, strlen(text));
	imds_answer(&service, &r, &out, &hops);
	assert_int_equal(sscanf(buffer_str(&out), "HTTP/1.1 %d ", &status), 1);
	return status;
}

static const char *body(void)
{
	return strstr(buffer_str(&out), "\r\n\r\n") + 4;
}

static bool says(const char *line)
{
	return strstr(buffer_str(&out), line) != NULL;
}

static int get(unsigned n, const char *path)
{
	char text[2048];

	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
	return ask(n, text);
}

static void tree(void **state)
{
	assert_int_equal(get(1, "/latest/meta-data/"), 200);
	assert_string_equal(body(), "a-b\nb/\ninstance-id\npublic-keys/");
	assert_true(says("Content-Type: text/plain\r\n") && says("Server: EC2ws\r\n") &&
	            says("Content-Length: 31\r\n"));
	assert_int_equal(get(1, "/latest/meta-data"), 200);
	assert_string_equal(body(), "a-b\nb/\ninstance-id\npublic-keys/");
	assert_int_equal(get(1, "/2020-10-27/meta-data/instance-id"), 200);
	assert_string_equal(body(), "i-1");
	get(1, "/latest/meta-data/instance-id/");
	assert_string_equal(body(), "i-1");
	get(1, "//latest//meta-data/a%2Db?x=y");
	assert_string_equal(body(), "\xc3\xa9");
	get(1, "http://169.254.169.254/latest/meta-data/public-keys/");
	assert_string_equal(body(), "0=my-key");
	get(1, "/latest/meta-data/public-keys/0/");
	assert_string_equal(body(), "openssh-key");
	get(1, "/latest/meta-data/public-keys/0=my-key/openssh-key");
	assert_string_equal(body(), "ssh-rsa AAAA");
	assert_int_equal(get(1, "/latest/meta-data/b/leaf"), 200);
	assert_string_equal(body(), "");
	get(1, "/latest/");
	assert_string_equal(body(), "dynamic\nmeta-data\nuser-data");
	get(1, "/");
	assert_memory_equal(body(), "1.0\n2007-01-19\n", 15);
	assert_string_equal(body() + strlen(body()) - 7, "\nlatest");
}

static void nothing_there(void **state)
{
	static const char *const paths[] = {
	        "/latest/meta-data/none",
	        "/latest/meta-data/instance-id/more",
	        "/newest/meta-data/",
	        "/latest/meta-data/..",
	        "/latest/api",
	        "/latest/meta-data/public-keys/1",
	        "/latest/meta-data/public-keys/=my-key",
	        "/1.0/user-data/x",
	        "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t/u/v/w/x/y/z/a/b/c/d/e/f/g/h/i/j"};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		assert_int_equal(get(1, paths[i]), 404);
		assert_non_null(strstr(body(), "<title>404 - Not Found</title>"));
		assert_true(says("Content-Type: text/html\r\n"));
	}
	assert_int_equal(get(3, "/latest/user-data"), 401);
}

static void user_data(void **state)
{
	assert_int_equal(get(1, "/latest/user-data"), 200);
	assert_true(says("Content-Type: application/octet-stream\r\n") && says("Content-Length: 4\r\n"));
	assert_memory_equal(body(), "\0\1\2\xff", 4);
}

static void head_has_no_body(void **state)
{
	assert_int_equal(ask(1, "HEAD /latest/meta-data/instance-id HTTP/1.0\r\n\r\n"), 200);
	assert_true(says("Content-Length: 3\r\n") && says("Connection: close\r\n"));
	assert_string_equal(body(), "");
}

static int put_token(unsigned n, const char *ttl, const char *more)
{
	char text[512];

	snprintf(text, sizeof(text),
	         "PUT /latest/api/token HTTP/1.1\r\nX-AWS-EC2-Metadata-Token-TTL-Seconds: %s\r\n%s\r\n", ttl,
	         more);
	return ask(n, text);
}

static int get_with(unsigned n, const char *token)
{
	char text[512];

	snprintf(text, sizeof(text),
	         "GET /latest/meta-data/instance-id HTTP/1.1\r\nX-aws-ec2-metadata-token: %s\r\n\r\n", token);
	return ask(n, text);
}

static void tokens(void **state)
{
	char token[64];

	assert_int_equal(put_token(3, "60", ""), 200);
	assert_int_equal(hops, 1);
	assert_true(says("X-Aws-Ec2-Metadata-Token-Ttl-Seconds: 60\r\n"));
	snprintf(token, sizeof(token), "%s", body());
	assert_int_equal(strlen(token), 56);
	assert_int_equal(get(3, "/latest/meta-data/instance-id"), 401);
	assert_int_equal(get_with(3, token), 200);
	assert_string_equal(body(), "i-3");
	assert_int_equal(hops, 0);
	assert_int_equal(get_with(1, token), 401);
	service.now += 59;
	assert_int_equal(get_with(3, token), 200);
	assert_true(says("X-Aws-Ec2-Metadata-Token-Ttl-Seconds: 1\r\n"));
	service.now++;
	assert_int_equal(get_with(3, token), 401);
	service.now = 1000;
	/* No bit of it may be another (but those that Base64 does not use). */
	for (unsigned i = 0; i < 53; i++) {
		char kept = token[i];

		token[i] = kept == 'A' ? 'B' : 'A';
		assert_int_equal(get_with(3, token), 401);
		token[i] = kept;
	}
	assert_int_equal(get_with(1, ""), 401);
	assert_int_equal(put_token(1, "21600", ""), 200);
	assert_int_equal(hops, 2);
}

static void token_refusals(void **state)
{
	static const char *const bad[] = {"0", "21601", "-1", "+1", "1.0", "", "x", "0x10", "4294967297"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(put_token(1, bad[i], ""), 400);
	assert_int_equal(ask(1, "PUT /latest/api/token HTTP/1.1\r\n\r\n"), 400);
	assert_int_equal(put_token(1, "60", "X-Forwarded-For: 10.0.0.1\r\n"), 403);
	assert_int_equal(hops, 0);
	assert_int_equal(ask(1, "PUT /latest/meta-data/ HTTP/1.1\r\n\r\n"), 405);
	assert_int_equal(get(1, "/latest/api/token"), 405);
	assert_int_equal(ask(1, "POST /latest/api/token HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"), 405);
	assert_int_equal(get(2, "/latest/meta-data/"), 403);
	assert_int_equal(put_token(2, "60", ""), 403);
}

static enum web_result parse(const char *text)
{
	struct web_request r;

	return web_parse((const u8 *)text, strlen(text), &r);
}

static void http(void **state)
{
	static const char *const bad[] = {
	        "GET\r\n",
	        "GET /\r\n",
	        "GET  HTTP/1.1\r\n",
	        "GET / HTTP/2.0\r\n",
	        "G(T / HTTP/1.1\r\n",
	        "GET x HTTP/1.1\r\n",
	        "GET /%2 HTTP/1.1\r\n",
	        "GET /%00 HTTP/1.1\r\n",
	        "GET / HTTP/1.1\r\nA\r\n",
	        "GET / HTTP/1.1\r\n: b\r\n",
	        "GET / HTTP/1.1\r\nA : b\r\n",
	        "GET / HTTP/1.1\r\nA: b\r\n c\r\n",
	        "PUT / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
	        "PUT / HTTP/1.1\r\nContent-Length: +1\r\n",
	        "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n",
	        "GET / HTTP/1.1\r\nX-aws-ec2-metadata-token: a\r\nX-aws-ec2-metadata-token: b\r\n",
	};
	static const char whole[] = "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab";
	struct web_request r;
	struct buffer long_one = {0};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(parse(bad[i]), WEB_BAD);
	for (size_t n = 0; n < sizeof(whole) - 1; n++)
		assert_int_equal(web_parse((const u8 *)whole, n, &r),
		                 n < sizeof(whole) - 3 ? WEB_MORE : WEB_MORE_BODY);
	assert_int_equal(web_parse((const u8 *)whole, sizeof(whole) - 1, &r), WEB_OK);
	assert_int_equal(parse("PUT / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n"),
	                 WEB_TOO_LARGE);
	while (long_one.length < WEB_HEAD_MAX)
		buffer_text(&long_one, long_one.length ? "A: b\r\n" : "GET / HTTP/1.1\r\n");
	assert_int_equal(parse(long_one.bytes), WEB_TOO_LARGE);
	buffer_release(&long_one);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(tree),      cmocka_unit_test(nothing_there),
	        cmocka_unit_test(user_data), cmocka_unit_test(head_has_no_body),
	        cmocka_unit_test(tokens),    cmocka_unit_test(token_refusals),
	        cmocka_unit_test(http),
	};

	return cmocka_run_group_tests(tests, open_config, close_config);
}
