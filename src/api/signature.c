#include "api/signature.h"
#include "api/digest.h"
#include "api/form.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define ALGORITHM "AWS4-HMAC-SHA256"

/* ---- what is claimed ---- */

static int incomplete(struct fault *f, const char *what)
{
	return fault_set(f, "IncompleteSignature",
	                 "The request signature does not conform to AWS standards: %s", what);
}

/* KEY/YYYYMMDD/region/service/aws4_request */
static int read_scope(struct signature *s, struct arena *a, const char *text, struct fault *f)
{
	const char **parts[] = {&s->key_id, &s->date, &s->region, &s->service};

	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
		size_t length = strcspn(text, "/");

		if (!length || !text[length] || length > 128)
			return incomplete(f, "Credential must be KEY/DATE/REGION/SERVICE/aws4_request");
		*parts[i] = arena_text(a, text, length);
		text += length + 1;
	}
	if (strcmp(text, "aws4_request") || strlen(s->date) != 8)
		return incomplete(f, "Credential must be KEY/DATE/REGION/SERVICE/aws4_request");
	return 0;
}

/* The value of NAME= in an Authorization header, NULL if it is not there. */
static const char *parameter(struct arena *a, const char *text, const char *name)
{
	size_t length = strlen(name);

	while (*text) {
		size_t end;

		text += strspn(text, " ,\t");
		end = strcspn(text, ",");
		if (!strncmp(text, name, length) && text[length] == '=') {
			while (end && (text[end - 1] == ' ' || text[end - 1] == '\t'))
				end--;
			return end > length ? arena_text(a, text + length + 1, end - length - 1) : NULL;
		}
		text += end;
	}
	return NULL;
}

static int read_presigned(struct signature *s, const struct http_request *r, struct fault *f)
{
	struct form form = {0};
	const char *credential, *expires, *algorithm;

	if (form_parse(&form, r->arena, r->query, strlen(r->query)) < 0)
		return incomplete(f, "the query string is malformed");
	algorithm = form_get(&form, "X-Amz-Algorithm");
	credential = form_get(&form, "X-Amz-Credential");
	expires = form_get(&form, "X-Amz-Expires");
	s->time = form_get(&form, "X-Amz-Date");
	s->signed_headers = form_get(&form, "X-Amz-SignedHeaders");
	s->hex = form_get(&form, "X-Amz-Signature");
	s->token = form_get(&form, "X-Amz-Security-Token");
	if (!algorithm || strcmp(algorithm, ALGORITHM))
		return incomplete(f, "X-Amz-Algorithm must be " ALGORITHM);
	if (!credential || !s->time || !s->signed_headers || !s->hex)
		return incomplete(f,
		                  "X-Amz-Credential, X-Amz-Date, X-Amz-SignedHeaders and X-Amz-Signature are "
		                  "needed");
	s->presigned = true;
	s->expires_s = expires ? strtoll(expires, NULL, 10) : SIGNATURE_SKEW_S;
	if (s->expires_s < 1 || s->expires_s > SIGNATURE_EXPIRES_MAX_S)
		return incomplete(f, "X-Amz-Expires must be from 1 to 604800");
	return read_scope(s, r->arena, credential, f);
}

int signature_read(struct signature *s, const struct http_request *r, struct fault *f)
{
	const char *header = http_header(r, "authorization"), *credential;

	*s = (struct signature){0};
	if (!header) {
		if (strstr(r->query, "X-Amz-Signature="))
			return read_presigned(s, r, f);
		return fault_set(f, "MissingAuthenticationToken", "Request is missing Authentication Token");
	}
	if (strncmp(header, ALGORITHM " ", sizeof(ALGORITHM)))
		return incomplete(f, "Authorization must begin with " ALGORITHM);
	header += sizeof(ALGORITHM);
	credential = parameter(r->arena, header, "Credential");
	s->signed_headers = parameter(r->arena, header, "SignedHeaders");
	s->hex = parameter(r->arena, header, "Signature");
	s->time = http_header(r, "x-amz-date");
	s->token = http_header(r, "x-amz-security-token");
	if (!credential || !s->signed_headers || !s->hex)
		return incomplete(f, "Authorization must have Credential, SignedHeaders and Signature");
	if (!s->time)
		return incomplete(f, "the header X-Amz-Date is missing");
	return read_scope(s, r->arena, credential, f);
}

/* ---- canonical request ---- */

/* RFC 3986 unreserved characters stay, all else is %XX. */
static void encode(struct buffer *b, const char *text, size_t length, bool slash)
{
	for (size_t i = 0; i < length; i++) {
		u8 c = (u8)text[i];

		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

		if (letter || (c >= '0' && c <= '9') || (c && strchr("-._~", c)) || (slash && c == '/'))
			buffer_char(b, (char)c);
		else
			buffer_printf(b, "%%%02X", c);
	}
}

struct encoded {
	const char *name, *value;
};

static int by_name(const void *a, const void *b)
{
	const struct encoded *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order ? order : strcmp(x->value, y->value);
}

static int canonical_query(struct buffer *b, const struct http_request *r)
{
	struct form form = {0};
	struct encoded *list;
	unsigned count = 0;

	if (form_parse(&form, r->arena, r->query, strlen(r->query)) < 0)
		return -1;
	list = arena_alloc(r->arena, (form.count + 1) * sizeof(*list));
	for (unsigned i = 0; i < form.count; i++) {
		struct buffer name = {0}, value = {0};

		if (!strcmp(form.pairs[i].name, "X-Amz-Signature"))
			continue;
		encode(&name, form.pairs[i].name, strlen(form.pairs[i].name), false);
		encode(&value, form.pairs[i].value, form.pairs[i].value_length, false);
		list[count++] = (struct encoded){arena_strdup(r->arena, buffer_str(&name)),
		                                 arena_strdup(r->arena, buffer_str(&value))};
		buffer_release(&name);
		buffer_release(&value);
	}
	qsort(list, count, sizeof(*list), by_name);
	for (unsigned i = 0; i < count; i++)
		buffer_printf(b, "%s%s=%s", i ? "&" : "", list[i].name, list[i].value);
	return 0;
}

/* Outer blanks go, inner runs of them become one. */
static void trimmed(struct buffer *b, const char *text)
{
	bool blank = false, first = true;

	for (; *text; text++) {
		if (*text == ' ' || *text == '\t') {
			blank = true;
			continue;
		}
		if (blank && !first)
			buffer_char(b, ' ');
		buffer_char(b, *text);
		blank = first = false;
	}
}

/* "host" must be signed, and every X-Amz-* header that is there. */
static bool is_signed(const char *list, const char *name)
{
	size_t length = strlen(name);

	while (*list) {
		size_t end = strcspn(list, ";");

		if (end == length && !strncasecmp(list, name, length))
			return true;
		list += end + (list[end] != 0);
	}
	return false;
}

static int canonical_headers(struct buffer *b, const struct signature *s, const struct http_request *r)
{
	const char *list = s->signed_headers;

	if (!is_signed(list, "host"))
		return -1;
	for (unsigned i = 0; i < r->header_count; i++)
		if (!strncasecmp(r->headers[i].name, "x-amz-", 6) && !is_signed(list, r->headers[i].name))
			return -1;
	while (*list) {
		size_t length = strcspn(list, ";");
		bool first = true;

		for (unsigned i = 0; i < r->header_count; i++) {
			const char *name = r->headers[i].name;

			if (strlen(name) != length || strncasecmp(name, list, length))
				continue;
			if (first) {
				buffer_append(b, list, length);
				buffer_char(b, ':');
			} else {
				buffer_char(b, ',');
			}
			trimmed(b, r->headers[i].value);
			first = false;
		}
		if (first)
			return -1;
		buffer_char(b, '\n');
		list += length + (list[length] != 0);
	}
	return 0;
}

static int canonical(struct buffer *b, const struct signature *s, const struct http_request *r)
{
	const char *claimed = http_header(r, "x-amz-content-sha256");
	char digest[DIGEST_HEX];

	digest_sha256(digest, r->body, r->body_length);
	buffer_text(b, r->method);
	buffer_char(b, '\n');
	encode(b, r->path, strlen(r->path), true);
	buffer_char(b, '\n');
	if (canonical_query(b, r) < 0)
		return -1;
	buffer_char(b, '\n');
	if (canonical_headers(b, s, r) < 0)
		return -1;
	buffer_char(b, '\n');
	buffer_text(b, s->signed_headers);
	buffer_char(b, '\n');
	/* A digest that is said must be right; services that take unsigned bodies are not here. */
	if (claimed && strcmp(claimed, digest))
		return -1;
	buffer_text(b, digest);
	return 0;
}

/* ---- check ---- */

static void hmac(u8 out[32], const u8 *key, size_t key_length, const char *text)
{
	unsigned length = 32;

	HMAC(EVP_sha256(), key, (int)key_length, (const u8 *)text, strlen(text), out, &length);
}

static s64 seconds_of(const char *time)
{
	int year, month, day, hour, minute, second, used = 0;
	struct tm tm;

	if (sscanf(time, "%4d%2d%2dT%2d%2d%2dZ%n", &year, &month, &day, &hour, &minute, &second, &used) !=
	            6 ||
	    used != 16 || time[16])
		return -1;
	tm = (struct tm){.tm_year = year - 1900,
	                 .tm_mon = month - 1,
	                 .tm_mday = day,
	                 .tm_hour = hour,
	                 .tm_min = minute,
	                 .tm_sec = second};
	return (s64)timegm(&tm);
}

static int check_time(const struct signature *s, s64 now_s, struct fault *f)
{
	s64 at = seconds_of(s->time), until;

	if (at < 0 || strncmp(s->time, s->date, 8))
		return incomplete(f, "X-Amz-Date must be YYYYMMDD'T'HHMMSS'Z', on the day of the credential");
	until = at + (s->presigned ? s->expires_s : SIGNATURE_SKEW_S);
	if (now_s > until)
		return fault_set(f, "RequestExpired", "Request has expired: signed at %s, good for %lld s",
		                 s->time, (long long)(until - at));
	if (at > now_s + SIGNATURE_SKEW_S)
		return fault_set(f, "RequestExpired", "Signature not yet current: signed at %s", s->time);
	return 0;
}

int signature_check(const struct signature *s, const struct http_request *r, const char *secret, s64 now_s,
                    struct fault *f)
{
	struct buffer request = {0}, text = {0};
	char first[256], digest[DIGEST_HEX];
	u8 key[32];
	bool good = false;

	if (check_time(s, now_s, f) < 0)
		return -1;
	if (canonical(&request, s, r) == 0) {
		digest_sha256(digest, buffer_str(&request), request.length);
		buffer_printf(&text, ALGORITHM "\n%s\n%s/%s/%s/aws4_request\n%s", s->time, s->date, s->region,
		              s->service, digest);
		snprintf(first, sizeof(first), "AWS4%s", secret);
		hmac(key, (const u8 *)first, strlen(first), s->date);
		hmac(key, key, sizeof(key), s->region);
		hmac(key, key, sizeof(key), s->service);
		hmac(key, key, sizeof(key), "aws4_request");
		hmac(key, key, sizeof(key), buffer_str(&text));
		digest_hex(digest, key, sizeof(key));
		good = strlen(s->hex) == 64 && !CRYPTO_memcmp(digest, s->hex, 64);
		OPENSSL_cleanse(first, sizeof(first));
	}
	buffer_release(&request);
	buffer_release(&text);
	if (good)
		return 0;
	return fault_set(f, "SignatureDoesNotMatch",
	                 "The request signature we calculated does not match the signature you provided. "
	                 "Check your AWS Secret Access Key and signing method.");
}
