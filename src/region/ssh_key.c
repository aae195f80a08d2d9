#include "region/ssh_key.h"
#include "base/buffer.h"
#include "model/scalar.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <string.h>

/* ---- RFC 4251 §5 ---- */

static void put_u32(struct buffer *b, size_t v)
{
	const u8 bytes[4] = {(u8)(v >> 24), (u8)(v >> 16), (u8)(v >> 8), (u8)v};

	buffer_append(b, bytes, 4);
}

static void put_string(struct buffer *b, const void *bytes, size_t length)
{
	put_u32(b, length);
	buffer_append(b, bytes, length);
}

static void put_text(struct buffer *b, const char *text)
{
	put_string(b, text, strlen(text));
}

static void put_mpint(struct buffer *b, const BIGNUM *n)
{
	u8 bytes[1024];
	size_t length = (size_t)BN_num_bytes(n);

	bytes[0] = 0;
	if (length + 1 > sizeof(bytes))
		return;
	BN_bn2bin(n, bytes + 1);
	if (length && (bytes[1] & 0x80))
		put_string(b, bytes, length + 1);
	else
		put_string(b, bytes + 1, length);
}

static BIGNUM *number(EVP_PKEY *key, const char *name)
{
	BIGNUM *n = NULL;

	EVP_PKEY_get_bn_param(key, name, &n);
	return n;
}

static void put_number(struct buffer *b, EVP_PKEY *key, const char *name)
{
	BIGNUM *n = number(key, name);

	if (n)
		put_mpint(b, n);
	BN_clear_free(n);
}

static bool is_rsa(EVP_PKEY *key)
{
	return EVP_PKEY_is_a(key, "RSA");
}

/* RFC 4253 §6.6, RFC 8709 §4 */
static void public_blob(struct buffer *b, EVP_PKEY *key)
{
	u8 raw[32];
	size_t length = sizeof(raw);

	if (is_rsa(key)) {
		put_text(b, "ssh-rsa");
		put_number(b, key, OSSL_PKEY_PARAM_RSA_E);
		put_number(b, key, OSSL_PKEY_PARAM_RSA_N);
	} else {
		EVP_PKEY_get_raw_public_key(key, raw, &length);
		put_text(b, "ssh-ed25519");
		put_string(b, raw, length);
	}
}

static const char *public_line(struct arena *a, EVP_PKEY *key, const char *comment)
{
	struct buffer blob = {0}, line = {0};
	const char *out;

	public_blob(&blob, key);
	buffer_text(&line, is_rsa(key) ? "ssh-rsa " : "ssh-ed25519 ");
	base64_write(&line, blob.bytes, blob.length);
	if (comment && *comment)
		buffer_printf(&line, " %s", comment);
	out = arena_strdup(a, buffer_str(&line));
	buffer_release(&blob);
	buffer_release(&line);
	return out;
}

/* ---- fingerprints (EC2 User Guide, "Verify the fingerprint of your key pair") ---- */

static const char *colons(struct arena *a, const u8 *digest, unsigned length)
{
	char *text = arena_alloc(a, 3 * length + 1);

	for (unsigned i = 0; i < length; i++) {
		text[3 * i] = "0123456789abcdef"[digest[i] >> 4];
		text[3 * i + 1] = "0123456789abcdef"[digest[i] & 15];
		text[3 * i + 2] = i + 1 < length ? ':' : 0;
	}
	return text;
}

static const char *fingerprint(struct arena *a, EVP_PKEY *key, bool imported)
{
	struct buffer blob = {0}, text = {0};
	u8 digest[EVP_MAX_MD_SIZE], *der = NULL;
	unsigned length = 0;
	const char *out;
	int size;

	if (!is_rsa(key)) {
		public_blob(&blob, key);
		EVP_Digest(blob.bytes, blob.length, digest, &length, EVP_sha256(), NULL);
		base64_write(&text, digest, length);
		out = arena_strdup(a, buffer_str(&text));
	} else {
		PKCS8_PRIV_KEY_INFO *info = imported ? NULL : EVP_PKEY2PKCS8(key);

		size = imported ? i2d_PUBKEY(key, &der) : i2d_PKCS8_PRIV_KEY_INFO(info, &der);
		EVP_Digest(der, (size_t)size, digest, &length, imported ? EVP_md5() : EVP_sha1(), NULL);
		out = colons(a, digest, length);
		OPENSSL_clear_free(der, (size_t)size);
		PKCS8_PRIV_KEY_INFO_free(info);
	}
	buffer_release(&blob);
	buffer_release(&text);
	return out;
}

/* ---- private formats ---- */

static const char *pkcs1(struct arena *a, EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());
	const char *out = NULL;
	char *text;
	long length;

	if (bio && PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0, NULL, NULL)) {
		length = BIO_get_mem_data(bio, &text);
		out = arena_text(a, text, (size_t)length);
	}
	BIO_free(bio);
	return out;
}

static void wrapped(struct buffer *out, const struct buffer *bytes, unsigned width)
{
	struct buffer text = {0};

	base64_write(&text, bytes->bytes, bytes->length);
	for (size_t i = 0; i < text.length; i += width) {
		buffer_append(out, text.bytes + i, min(text.length - i, (size_t)width));
		buffer_char(out, '\n');
	}
	buffer_release(&text);
}

/* OpenSSH's PROTOCOL.key, not encrypted */
static const char *openssh(struct arena *a, EVP_PKEY *key, const char *comment)
{
	struct buffer all = {0}, inner = {0}, blob = {0}, text = {0};
	u8 secret[64], check[4];
	size_t length = 32;
	const char *out;

	RAND_bytes(check, sizeof(check));
	EVP_PKEY_get_raw_private_key(key, secret, &length);
	length = 32;
	EVP_PKEY_get_raw_public_key(key, secret + 32, &length);
	public_blob(&blob, key);
	buffer_append(&inner, check, 4);
	buffer_append(&inner, check, 4);
	buffer_append(&inner, blob.bytes, blob.length);
	put_string(&inner, secret, sizeof(secret));
	put_text(&inner, comment);
	for (u8 pad = 1; inner.length % 8; pad++)
		buffer_append(&inner, &pad, 1);
	buffer_append(&all, "openssh-key-v1", 15);
	put_text(&all, "none");
	put_text(&all, "none");
	put_text(&all, "");
	put_u32(&all, 1);
	put_string(&all, blob.bytes, blob.length);
	put_string(&all, inner.bytes, inner.length);
	buffer_text(&text, "-----BEGIN OPENSSH PRIVATE KEY-----\n");
	wrapped(&text, &all, 70);
	buffer_text(&text, "-----END OPENSSH PRIVATE KEY-----\n");
	out = arena_strdup(a, buffer_str(&text));
	buffer_release(&all);
	buffer_release(&inner);
	buffer_release(&blob);
	buffer_release(&text);
	return out;
}

static unsigned lines_of(size_t bytes)
{
	return (unsigned)(((bytes + 2) / 3 * 4 + 63) / 64);
}

/* PuTTY's manual, appendix C; version 2 with SHA-1, which every PuTTY reads */
static const char *putty(struct arena *a, EVP_PKEY *key, const char *comment)
{
	const char *type = is_rsa(key) ? "ssh-rsa" : "ssh-ed25519", *out;
	struct buffer blob = {0}, secret = {0}, mac = {0}, text = {0};
	u8 digest[EVP_MAX_MD_SIZE], raw[32];
	size_t raw_length = sizeof(raw);
	unsigned length = 0;

	public_blob(&blob, key);
	if (is_rsa(key)) {
		put_number(&secret, key, OSSL_PKEY_PARAM_RSA_D);
		put_number(&secret, key, OSSL_PKEY_PARAM_RSA_FACTOR1);
		put_number(&secret, key, OSSL_PKEY_PARAM_RSA_FACTOR2);
		put_number(&secret, key, OSSL_PKEY_PARAM_RSA_COEFFICIENT1);
	} else {
		EVP_PKEY_get_raw_private_key(key, raw, &raw_length);
		put_string(&secret, raw, raw_length);
	}
	put_text(&mac, type);
	put_text(&mac, "none");
	put_text(&mac, comment);
	put_string(&mac, blob.bytes, blob.length);
	put_string(&mac, secret.bytes, secret.length);
	EVP_Digest("putty-private-key-file-mac-key", 30, digest, &length, EVP_sha1(), NULL);
	HMAC(EVP_sha1(), digest, (int)length, (const u8 *)mac.bytes, mac.length, digest, &length);
	buffer_printf(&text, "PuTTY-User-Key-File-2: %s\nEncryption: none\nComment: %s\nPublic-Lines: %u\n",
	              type, comment, lines_of(blob.length));
	wrapped(&text, &blob, 64);
	buffer_printf(&text, "Private-Lines: %u\n", lines_of(secret.length));
	wrapped(&text, &secret, 64);
	buffer_text(&text, "Private-MAC: ");
	for (unsigned i = 0; i < length; i++)
		buffer_printf(&text, "%02x", digest[i]);
	buffer_char(&text, '\n');
	out = arena_strdup(a, buffer_str(&text));
	buffer_release(&blob);
	buffer_release(&secret);
	buffer_release(&mac);
	buffer_release(&text);
	return out;
}

int ssh_key_create(struct ssh_key *k, struct arena *a, enum ssh_key_type type, const char *format,
                   const char *comment, struct error *e)
{
	EVP_PKEY *key = type == SSH_KEY_RSA ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048)
	                                    : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

	if (!key)
		return error_set(e, 0, "the key could not be made");
	*k = (struct ssh_key){.type = type};
	k->public_line = public_line(a, key, comment);
	k->fingerprint = fingerprint(a, key, false);
	k->secret = !strcmp(format, "ppk") ? putty(a, key, comment)
	            : type == SSH_KEY_RSA  ? pkcs1(a, key)
	                                   : openssh(a, key, comment);
	EVP_PKEY_free(key);
	return k->secret ? 0 : error_set(e, 0, "the key could not be written");
}

/* ---- import ---- */

struct blob {
	const u8 *p, *end;
};

static bool take(struct blob *b, const u8 **bytes, size_t *length)
{
	if (b->end - b->p < 4)
		return false;
	*length = (size_t)b->p[0] << 24 | (size_t)b->p[1] << 16 | (size_t)b->p[2] << 8 | b->p[3];
	b->p += 4;
	if (*length > (size_t)(b->end - b->p))
		return false;
	*bytes = b->p;
	b->p += *length;
	return true;
}

static EVP_PKEY *rsa_from(const u8 *e_bytes, size_t e_length, const u8 *n_bytes, size_t n_length)
{
	u8 e_little[1024], n_little[1024];
	EVP_PKEY_CTX *context;
	EVP_PKEY *key = NULL;
	OSSL_PARAM params[3];

	if (e_length > sizeof(e_little) || n_length > sizeof(n_little) || !e_length || !n_length)
		return NULL;
	for (size_t i = 0; i < e_length; i++)
		e_little[i] = e_bytes[e_length - 1 - i];
	for (size_t i = 0; i < n_length; i++)
		n_little[i] = n_bytes[n_length - 1 - i];
	params[0] = OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_N, n_little, n_length);
	params[1] = OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_E, e_little, e_length);
	params[2] = OSSL_PARAM_construct_end();
	context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	if (context && EVP_PKEY_fromdata_init(context) == 1)
		EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params);
	EVP_PKEY_CTX_free(context);
	return key;
}

static EVP_PKEY *from_blob(const char *bytes, size_t size)
{
	struct blob b = {(const u8 *)bytes, (const u8 *)bytes + size};
	const u8 *name, *first, *second;
	size_t name_length, first_length, second_length;

	if (!take(&b, &name, &name_length))
		return NULL;
	if (name_length == 7 && !memcmp(name, "ssh-rsa", 7) && take(&b, &first, &first_length) &&
	    take(&b, &second, &second_length) && b.p == b.end)
		return rsa_from(first, first_length, second, second_length);
	if (name_length == 11 && !memcmp(name, "ssh-ed25519", 11) && take(&b, &first, &first_length) &&
	    first_length == 32 && b.p == b.end)
		return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, first, 32);
	return NULL;
}

/* The base64 of a "type base64 comment" line, or of RFC 4716's block. */
static EVP_PKEY *from_text(struct arena *a, const char *text, const char **comment)
{
	static const char begin[] = "---- BEGIN SSH2 PUBLIC KEY ----", end[] = "---- END SSH2";
	char *body = arena_alloc(a, strlen(text) + 1), *bytes;
	size_t length = 0, size;

	*comment = "";
	if (!strncmp(text, begin, sizeof(begin) - 1)) {
		text += sizeof(begin) - 1;
		text += strspn(text, "\r\n");
		while (*text && strncmp(text, end, sizeof(end) - 1)) {
			size_t line = strcspn(text, "\r\n");

			if (!memchr(text, ':', line)) {
				memcpy(body + length, text, line);
				length += line;
			}
			text += line;
			text += strspn(text, "\r\n");
		}
	} else {
		text += strcspn(text, " \t");
		text += strspn(text, " \t");
		length = strcspn(text, " \t\r\n");
		memcpy(body, text, length);
		text += length;
		text += strspn(text, " \t");
		*comment = arena_text(a, text, strcspn(text, "\r\n"));
	}
	bytes = base64_parse(a, body, length, &size);
	return bytes ? from_blob(bytes, size) : NULL;
}

int ssh_key_import(struct ssh_key *k, struct arena *a, const char *text, size_t length, struct error *e)
{
	const char *comment = "";
	EVP_PKEY *key = NULL;
	int bits;

	text = arena_text(a, text, length);
	text += strspn(text, " \t\r\n");
	if (!strncmp(text, "-----BEGIN", 10)) {
		BIO *bio = BIO_new_mem_buf(text, -1);

		key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
		BIO_free(bio);
	} else {
		key = from_text(a, text, &comment);
	}
	if (!key || (!is_rsa(key) && !EVP_PKEY_is_a(key, "ED25519"))) {
		EVP_PKEY_free(key);
		return error_set(e, 0, "Key is not in valid OpenSSH public key format");
	}
	bits = EVP_PKEY_get_bits(key);
	if (is_rsa(key) && bits != 1024 && bits != 2048 && bits != 4096) {
		EVP_PKEY_free(key);
		return error_set(e, 0, "RSA keys must have 1024, 2048 or 4096 bits, not %d", bits);
	}
	*k = (struct ssh_key){.type = is_rsa(key) ? SSH_KEY_RSA : SSH_KEY_ED25519};
	k->public_line = public_line(a, key, comment);
	k->fingerprint = fingerprint(a, key, true);
	EVP_PKEY_free(key);
	return 0;
}
