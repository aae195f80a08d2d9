#include "net/imds.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Versions of the metadata's layout; all of them show the newest. */
static const char *const versions[] = {
        "1.0",        "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15",
        "2008-02-01", "2008-09-01", "2009-04-04", "2011-01-01", "2011-05-01", "2012-01-12",
        "2014-02-25", "2014-11-05", "2015-10-20", "2016-04-19", "2016-06-30", "2016-09-02",
        "2018-03-28", "2018-08-17", "2018-09-24", "2019-10-01", "2020-10-27", "2021-01-03",
        "2021-03-23", "2021-07-15", "2022-07-09", "2022-09-24", "2024-04-11", "latest",
};

enum { MAC = 32, TOKEN_BYTES = 8 + MAC, TOKEN_TEXT = 56, DEPTH = 32 };

/* ---- tokens ---- */

static void token_mac(const struct imds *s, const u8 expiry[8], u8 out[MAC])
{
	const struct metadata *m = s->instance;
	u8 text[256];
	size_t length = strlen(m->instance);
	unsigned size = MAC;

	length = length < sizeof(text) - 8 ? length : sizeof(text) - 8;
	memcpy(text, expiry, 8);
	memcpy(text + 8, m->instance, length);
	if (!HMAC(EVP_sha256(), m->secret_length ? m->secret : s->secret,
	          m->secret_length ? (int)m->secret_length : IMDS_SECRET, text, length + 8, out, &size))
		abort();
}

static void token_write(const struct imds *s, u64 expiry, char out[TOKEN_TEXT + 1])
{
	u8 bytes[TOKEN_BYTES];

	for (unsigned i = 0; i < 8; i++)
		bytes[i] = (u8)(expiry >> (56 - 8 * i));
	token_mac(s, bytes, bytes + 8);
	EVP_EncodeBlock((u8 *)out, bytes, TOKEN_BYTES);
}

/* Seconds that a token is still good for; 0: it is not. */
static u64 token_left(const struct imds *s, const char *text)
{
	u8 bytes[TOKEN_TEXT / 4 * 3], mac[MAC];
	u64 expiry = 0, now = (u64)s->now;

	if (strlen(text) != TOKEN_TEXT || EVP_DecodeBlock(bytes, (const u8 *)text, TOKEN_TEXT) < TOKEN_BYTES)
		return 0;
	token_mac(s, bytes, mac);
	if (CRYPTO_memcmp(mac, bytes + 8, MAC))
		return 0;
	for (unsigned i = 0; i < 8; i++)
		expiry = expiry << 8 | bytes[i];
	return expiry > now ? expiry - now : 0;
}

void imds_prepare(void)
{
	struct metadata none = {.instance = ""};
	u8 secret[IMDS_SECRET] = {0};
	struct imds s = {.instance = &none, .secret = secret};
	char token[TOKEN_TEXT + 1];

	tzset();
	token_write(&s, 1, token);
	if (token_left(&s, token) != 1)
		abort();
}

/* ---- answers ---- */

static void put_date(struct buffer *out, const char *field, time_t t)
{
	char text[64];
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	buffer_printf(out, "%s: %s\r\n", field, text);
}

struct answer {
	int status;
	const char *type;
	const void *body;
	size_t length;
	u64 token_left; /* 0: not said */
	bool close;
};

static void put_answer(const struct imds *s, const struct web_request *r, const struct answer *a,
                       struct buffer *out)
{
	bool close = a->close || !r || !r->keep_alive;

	buffer_printf(out, "HTTP/1.1 %d %s\r\n", a->status, web_reason(a->status));
	if (a->token_left)
		buffer_printf(out, "X-Aws-Ec2-Metadata-Token-Ttl-Seconds: %llu\r\n",
		              (unsigned long long)a->token_left);
	buffer_printf(out, "Content-Type: %s\r\n", a->type);
	if (a->status == 200) {
		buffer_text(out, "Accept-Ranges: none\r\n");
		put_date(out, "Last-Modified", s->since);
	}
	if (a->status == 405)
		buffer_text(out, "Allow: GET, HEAD, PUT\r\n");
	buffer_printf(out, "Content-Length: %zu\r\n", a->length);
	put_date(out, "Date", s->now);
	buffer_printf(out, "Server: EC2ws\r\nConnection: %s\r\n\r\n", close ? "close" : "keep-alive");
	if (!r || strcmp(r->method, "HEAD"))
		buffer_append(out, a->body, a->length);
}

static void put_error(const struct imds *s, const struct web_request *r, int status, bool close,
                      struct buffer *out)
{
	struct answer a = {.status = status, .type = "text/html", .close = close};
	struct buffer page = {0};

	buffer_printf(&page,
	              "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n"
	              "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\"\n"
	              "\t\"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">\n"
	              "<html xmlns=\"http://www.w3.org/1999/xhtml\" xml:lang=\"en\" lang=\"en\">\n"
	              " <head>\n  <title>%d - %s</title>\n </head>\n"
	              " <body>\n  <h1>%d - %s</h1>\n </body>\n</html>\n",
	              status, web_reason(status), status, web_reason(status));
	a.body = page.bytes;
	a.length = page.length;
	put_answer(s, r, &a, out);
	buffer_release(&page);
}

void imds_refuse(const struct imds *s, int status, struct buffer *out)
{
	put_error(s, NULL, status, true, out);
}

static void put_text(const struct imds *s, const struct web_request *r, const char *text, size_t length,
                     u64 left, struct buffer *out)
{
	struct answer a = {
	        .status = 200, .type = "text/plain", .body = text, .length = length, .token_left = left};

	put_answer(s, r, &a, out);
}

/* ---- the tree ---- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Does an entry's name end with a slash where it is listed? A directory's does, but for "0=my-key". */
static bool has_slash(const json_t *directory, const char *name)
{
	return json_is_object(json_object_get(directory, name)) && !strchr(name, '=');
}

/* The names in a directory, sorted, a line each. */
static void put_listing(const struct imds *s, const struct web_request *r, const json_t *directory, u64 left,
                        struct buffer *out)
{
	size_t count = json_object_size(directory), n = 0;
	const char **names = malloc((count + 1) * sizeof(*names));
	struct buffer text = {0};
	const char *name;
	json_t *v;

	if (!names)
		abort();
	json_object_foreach((json_t *)directory, name, v) names[n++] = name;
	qsort(names, n, sizeof(*names), by_text);
	for (size_t i = 0; i < n; i++)
		buffer_printf(&text, "%s%s%s", i ? "\n" : "", names[i],
		              has_slash(directory, names[i]) ? "/" : "");
	put_text(s, r, buffer_str(&text), text.length, left, out);
	buffer_release(&text);
	free(names);
}

/* An entry of a directory: of "0=my-key" the name is "0", too. */
static const json_t *find(const json_t *directory, const char *name)
{
	const json_t *found = json_object_get(directory, name);
	size_t length = strlen(name);
	const char *key;
	json_t *v;

	if (found || !json_is_object(directory))
		return found;
	json_object_foreach((json_t *)directory, key,
	                    v) if (!strncmp(key, name, length) && key[length] == '=') return v;
	return NULL;
}

/* Cuts a path into its parts; returns how many, DEPTH + 1 if they are too many. */
static unsigned split(char *path, const char *parts[DEPTH])
{
	unsigned count = 0;

	for (char *save, *part = strtok_r(path, "/", &save); part; part = strtok_r(NULL, "/", &save)) {
		if (count == DEPTH)
			return DEPTH + 1;
		parts[count++] = part;
	}
	return count;
}

static bool is_version(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(versions); i++)
		if (!strcmp(versions[i], name))
			return true;
	return false;
}

static void put_versions(const struct imds *s, const struct web_request *r, u64 left, struct buffer *out)
{
	struct buffer text = {0};

	for (size_t i = 0; i < ARRAY_SIZE(versions); i++)
		buffer_printf(&text, "%s%s", i ? "\n" : "", versions[i]);
	put_text(s, r, text.bytes, text.length, left, out);
	buffer_release(&text);
}

/* What is in each version; without slashes here. */
static void put_rooms(const struct imds *s, const struct web_request *r, u64 left, struct buffer *out)
{
	const struct metadata *m = s->instance;
	struct buffer text = {0};

	if (json_object_get(m->tree, "dynamic"))
		buffer_text(&text, "dynamic\n");
	buffer_text(&text, "meta-data");
	if (m->user_data)
		buffer_text(&text, "\nuser-data");
	put_text(s, r, text.bytes, text.length, left, out);
	buffer_release(&text);
}

static void get(const struct imds *s, const struct web_request *r, char *path, u64 left, struct buffer *out)
{
	const struct metadata *m = s->instance;
	const char *parts[DEPTH];
	unsigned count = split(path, parts);
	const json_t *at = m->tree;

	if (!count) {
		put_versions(s, r, left, out);
		return;
	}
	if (count > DEPTH || !is_version(parts[0])) {
		put_error(s, r, 404, false, out);
		return;
	}
	if (count == 1) {
		put_rooms(s, r, left, out);
		return;
	}
	if (count == 2 && !strcmp(parts[1], "user-data") && m->user_data) {
		struct answer a = {.status = 200,
		                   .type = "application/octet-stream",
		                   .body = m->user_data,
		                   .length = m->user_data_length,
		                   .token_left = left};

		put_answer(s, r, &a, out);
		return;
	}
	for (unsigned i = 1; at && i < count; i++)
		at = find(at, parts[i]);
	if (json_is_object(at))
		put_listing(s, r, at, left, out);
	else if (json_is_string(at))
		put_text(s, r, json_string_value(at), json_string_length(at), left, out);
	else
		put_error(s, r, 404, false, out);
}

/* ---- requests ---- */

/* Seconds, 0 if it is no number that one may ask for. */
static u64 read_ttl(const char *text)
{
	u64 n = 0;

	if (!*text || strlen(text) > 5)
		return 0;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return 0;
		n = n * 10 + (u64)(*text - '0');
	}
	return n <= IMDS_TOKEN_MAX_S ? n : 0;
}

static void put(const struct imds *s, const struct web_request *r, bool is_token, struct buffer *out,
                u8 *hops)
{
	u64 ttl = read_ttl(r->ttl);
	char token[TOKEN_TEXT + 1];

	if (r->forwarded) {
		put_error(s, r, 403, false, out);
	} else if (!is_token) {
		put_error(s, r, 405, false, out);
	} else if (!ttl) {
		put_error(s, r, 400, false, out);
	} else {
		*hops = s->instance->hops;
		token_write(s, (u64)s->now + ttl, token);
		put_text(s, r, token, TOKEN_TEXT, ttl, out);
	}
}

/* Is the path VERSION/api/token? */
static bool is_token_path(const char *path)
{
	char copy[WEB_PATH_MAX];
	const char *parts[DEPTH];

	snprintf(copy, sizeof(copy), "%s", path);
	return split(copy, parts) == 3 && is_version(parts[0]) && !strcmp(parts[1], "api") &&
	       !strcmp(parts[2], "token");
}

void imds_answer(const struct imds *s, const struct web_request *r, struct buffer *out, u8 *hops)
{
	bool token_path = is_token_path(r->path);
	char path[WEB_PATH_MAX];
	u64 left = 0;

	*hops = 0;
	snprintf(path, sizeof(path), "%s", r->path);
	if (!s->instance) {
		put_error(s, r, 404, false, out);
	} else if (!s->instance->endpoint) {
		put_error(s, r, 403, false, out);
	} else if (!strcmp(r->method, "PUT")) {
		put(s, r, token_path, out, hops);
	} else if ((strcmp(r->method, "GET") && strcmp(r->method, "HEAD")) || token_path) {
		put_error(s, r, 405, false, out);
	} else {
		left = r->has_token ? token_left(s, r->token) : 0;
		if (!left && (r->has_token || s->instance->tokens_required))
			put_error(s, r, 401, false, out);
		else
			get(s, r, path, left, out);
	}
}
