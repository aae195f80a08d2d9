#include "cli/client.h"
#include "base/buffer.h"
#include "region/cloud.h"

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { PAIRS_MAX = 256 };

/* libcurl is loaded by the verbs that use it: with the thirty libraries that it brings, `insula vmm` would
 * hold 4 MiB more for each machine. */
#define FUNCTIONS(X)    \
	X(easy_init)    \
	X(easy_cleanup) \
	X(easy_reset)   \
	X(easy_setopt)  \
	X(easy_perform) \
	X(easy_getinfo) X(easy_escape) X(easy_strerror) X(slist_append) X(slist_free_all) X(free)
#define POINTER(name) __typeof__(curl_##name) *name;
#define LOAD(name)    ok &= (curl.name = (__typeof__(curl.name))dlsym(library, "curl_" #name)) != NULL;
static struct {
	FUNCTIONS(POINTER)
} curl;

static bool load(struct error *e)
{
	void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
	bool ok = library;

	if (library) {
		FUNCTIONS(LOAD)
	}
	if (!ok)
		error_set(e, 0, "%s", dlerror());
	return ok;
}

static void take(char *to, size_t size, const char *name)
{
	const char *value = getenv(name);

	if (value && *value)
		snprintf(to, size, "%s", value);
}

static int open_client(struct client *c, const char *data, bool environment, struct error *e)
{
	struct cloud_options options = {.data = data, .existing = true};
	struct access_key key;
	const char *endpoint;
	struct cloud cloud;

	memset(c, 0, sizeof(*c));
	snprintf(c->region, sizeof(c->region), "us-east-1");
	take(c->region, sizeof(c->region), "AWS_DEFAULT_REGION");
	if (environment) {
		take(c->endpoint, sizeof(c->endpoint), "AWS_ENDPOINT_URL");
		take(c->key, sizeof(c->key), "AWS_ACCESS_KEY_ID");
		take(c->secret, sizeof(c->secret), "AWS_SECRET_ACCESS_KEY");
	}
	if (!c->endpoint[0] || !c->key[0] || !c->secret[0]) {
		if (cloud_open(&cloud, &options, e) < 0)
			return -1;
		endpoint = cloud_setting(&cloud, "endpoint");
		if (!c->endpoint[0])
			snprintf(c->endpoint, sizeof(c->endpoint), "%s",
			         endpoint ? endpoint : "http://127.0.0.1:8773");
		if (access_key_first(&cloud, &key)) {
			snprintf(c->key, sizeof(c->key), "%s", key.id);
			snprintf(c->secret, sizeof(c->secret), "%s", key.secret);
		}
		cloud_close(&cloud);
	}
	if (!load(e))
		return -1;
	c->curl = curl.easy_init();
	return c->curl ? 0 : error_set(e, 0, "libcurl cannot be set up");
}

int client_open(struct client *c, const char *data, struct error *e)
{
	return open_client(c, data, true, e);
}

int client_open_data(struct client *c, const char *data, struct error *e)
{
	return open_client(c, data, false, e);
}

void client_close(struct client *c)
{
	if (c->curl)
		curl.easy_cleanup(c->curl);
	c->curl = NULL;
}

static size_t received(char *bytes, size_t one, size_t count, void *ctx)
{
	buffer_append(ctx, bytes, one * count);
	return one * count;
}

static void add(struct client *c, struct buffer *body, const char *name, const char *value)
{
	char *text = curl.easy_escape(c->curl, value, 0);

	buffer_printf(body, "%s%s=%s", body->length ? "&" : "", name, text ? text : "");
	curl.free(text);
}

static json_t *call(struct client *c, struct error *e, const char *service, const char *version,
                    const char *action, const char *const *pairs)
{
	struct curl_slist *headers = curl.slist_append(NULL, "Accept: application/json");
	char provider[160], user[300], why[CURL_ERROR_SIZE] = "";
	struct buffer body = {0}, answer = {0};
	json_t *result = NULL;
	json_error_t je;
	long status = 0;
	CURLcode code;

	add(c, &body, "Action", action);
	add(c, &body, "Version", version);
	for (; pairs && pairs[0] && pairs[1]; pairs += 2)
		add(c, &body, pairs[0], pairs[1]);
	snprintf(provider, sizeof(provider), "aws:amz:%s:%s", c->region, service);
	snprintf(user, sizeof(user), "%s:%s", c->key, c->secret);
	curl.easy_reset(c->curl);
	curl.easy_setopt(c->curl, CURLOPT_URL, c->endpoint);
	curl.easy_setopt(c->curl, CURLOPT_POSTFIELDS, buffer_str(&body));
	curl.easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE, (long)body.length);
	curl.easy_setopt(c->curl, CURLOPT_HTTPHEADER, headers);
	curl.easy_setopt(c->curl, CURLOPT_AWS_SIGV4, provider);
	curl.easy_setopt(c->curl, CURLOPT_USERPWD, user);
	curl.easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, received);
	curl.easy_setopt(c->curl, CURLOPT_WRITEDATA, &answer);
	curl.easy_setopt(c->curl, CURLOPT_ERRORBUFFER, why);
	curl.easy_setopt(c->curl, CURLOPT_TIMEOUT, 60L);
	code = curl.easy_perform(c->curl);
	curl.easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
	curl.slist_free_all(headers);
	if (code == CURLE_COULDNT_CONNECT)
		error_set(e, 0, "no region answers at %s: start one with `insula up`", c->endpoint);
	else if (code != CURLE_OK)
		error_set(e, 0, "%s: %s", c->endpoint, *why ? why : curl.easy_strerror(code));
	else if (!(result = json_loadb(buffer_str(&answer), answer.length, 0, &je)))
		error_set(e, 0, "%s: not an answer of a region (status %ld)", c->endpoint, status);
	if (result && status != 200) {
		error_set(e, 0, "%s (%s)", client_text(result, "Message"), client_text(result, "Code"));
		json_decref(result);
		result = NULL;
	}
	buffer_release(&body);
	buffer_release(&answer);
	return result;
}

json_t *client_call_list(struct client *c, struct error *e, const char *action, const char *const *pairs)
{
	return call(c, e, "ec2", "2016-11-15", action, pairs);
}

json_t *client_operate(struct client *c, struct error *e, const char *action, const char *const *pairs)
{
	return call(c, e, "insula", "2026-01-01", action, pairs);
}

json_t *client_call(struct client *c, struct error *e, const char *action, ...)
{
	const char *pairs[PAIRS_MAX + 1];
	unsigned count = 0;
	va_list args;

	va_start(args, action);
	while (count < PAIRS_MAX && (pairs[count] = va_arg(args, const char *)))
		count++;
	va_end(args);
	pairs[count] = NULL;
	return client_call_list(c, e, action, pairs);
}

const char *client_text(const json_t *v, const char *path)
{
	char name[64];

	while (v && *path) {
		size_t length = strcspn(path, ".");

		snprintf(name, sizeof(name), "%.*s", (int)length, path);
		v = json_is_array(v) ? json_array_get(v, (size_t)atoi(name)) : json_object_get(v, name);
		path += length + (path[length] == '.');
	}
	return v && json_is_string(v) ? json_string_value(v) : "";
}

void client_print(const json_t *v)
{
	/* Times are milliseconds since 1970: 13 digits. */
	json_dumpf(v, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(13));
	putchar('\n');
}
