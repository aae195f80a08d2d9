#include "region/identity.h"
#include "base/buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs7.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BITS = 2048, DAYS = 36500, REMEMBERED = 1024 /* a power of two */ };

struct signed_document {
	char *name, *document, *signature, *pkcs7;
};

struct identity {
	EVP_PKEY *key;
	X509 *certificate;
	struct signed_document remembered[REMEMBERED]; /* by a hash of the name */
};

/* ---- files ---- */

/* Whole or not at all. */
static int write_file(const char *path, mode_t mode, BIO *bio, struct error *e)
{
	char *bytes, other[4300];
	long length = BIO_get_mem_data(bio, &bytes);
	int fd;

	snprintf(other, sizeof(other), "%s.new", path);
	unlink(other);
	fd = open(other, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0 || write(fd, bytes, (size_t)length) != length || fsync(fd) < 0 ||
	    rename(other, path) < 0) {
		error_set(e, errno, "write %s", path);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	close(fd);
	return 0;
}

static int make_key(struct identity *i, const char *path, struct error *e)
{
	BIO *bio = BIO_new(BIO_s_mem());
	int status = -1;

	i->key = EVP_RSA_gen(BITS);
	if (!i->key || !bio || !PEM_write_bio_PrivateKey(bio, i->key, NULL, NULL, 0, NULL, NULL))
		error_set(e, 0, "make %s", path);
	else
		status = write_file(path, 0600, bio, e);
	BIO_free(bio);
	return status;
}

static int make_certificate(struct identity *i, const char *path, struct error *e)
{
	BIO *bio = BIO_new(BIO_s_mem());
	X509 *x = i->certificate = X509_new();
	X509_NAME *name = x ? X509_get_subject_name(x) : NULL;
	u64 serial;
	int status = -1;

	if (!bio || !x || RAND_bytes((unsigned char *)&serial, sizeof(serial)) != 1 ||
	    !X509_set_version(x, 2) || !ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial >> 1) ||
	    !X509_gmtime_adj(X509_getm_notBefore(x), -86400) ||
	    !X509_time_adj_ex(X509_getm_notAfter(x), DAYS, 0, NULL) || !X509_set_pubkey(x, i->key) ||
	    !X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const u8 *)"Insula", -1, -1, 0) ||
	    !X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const u8 *)"instance identity", -1, -1,
	                                0) ||
	    !X509_set_issuer_name(x, name) || !X509_sign(x, i->key, EVP_sha256()) ||
	    !PEM_write_bio_X509(bio, x))
		error_set(e, 0, "make %s", path);
	else
		status = write_file(path, 0644, bio, e);
	BIO_free(bio);
	return status;
}

struct identity *identity_open(const char *data, struct error *e)
{
	struct identity *i = calloc(1, sizeof(*i));
	char key[4200], certificate[4200];
	FILE *f;

	if (!i) {
		error_set(e, ENOMEM, "the region's identity");
		return NULL;
	}
	snprintf(key, sizeof(key), "%s/identity.key", data);
	snprintf(certificate, sizeof(certificate), "%s/identity.pem", data);
	f = fopen(key, "re");
	if (f) {
		i->key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
		fclose(f);
		if (!i->key) {
			error_set(e, 0, "%s is not a key", key);
			identity_free(i);
			return NULL;
		}
	}
	f = i->key ? fopen(certificate, "re") : NULL;
	if (f) {
		i->certificate = PEM_read_X509(f, NULL, NULL, NULL);
		fclose(f);
	}
	if (i->certificate && X509_check_private_key(i->certificate, i->key) != 1) {
		X509_free(i->certificate);
		i->certificate = NULL;
	}
	if ((!i->key && make_key(i, key, e) < 0) ||
	    (!i->certificate && make_certificate(i, certificate, e) < 0)) {
		identity_free(i);
		return NULL;
	}
	return i;
}

static void forget(struct signed_document *d)
{
	free(d->name);
	free(d->document);
	free(d->signature);
	free(d->pkcs7);
	*d = (struct signed_document){0};
}

void identity_free(struct identity *i)
{
	if (!i)
		return;
	for (unsigned k = 0; k < REMEMBERED; k++)
		forget(&i->remembered[k]);
	X509_free(i->certificate);
	EVP_PKEY_free(i->key);
	free(i);
}

/* ---- signatures ---- */

/* In lines; from malloc(). */
static char *base64(const u8 *bytes, size_t length)
{
	enum { LINE = 48 /* bytes, 64 characters */ };
	char *out = malloc(length / 3 * 4 + length / LINE + 16), *at = out;

	for (size_t done = 0; out && done < length; done += LINE) {
		if (done)
			*at++ = '\n';
		at += EVP_EncodeBlock((u8 *)at, bytes + done, (int)min(length - done, (size_t)LINE));
	}
	return out;
}

static char *sign(const struct identity *i, const char *document)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	u8 bytes[BITS / 8];
	size_t length = sizeof(bytes);
	char *text = NULL;

	if (ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, i->key) == 1 &&
	    EVP_DigestSign(ctx, bytes, &length, (const u8 *)document, strlen(document)) == 1)
		text = base64(bytes, length);
	EVP_MD_CTX_free(ctx);
	return text;
}

/* Without a time in it: the same for the same document. */
static char *envelop(const struct identity *i, const char *document)
{
	BIO *bio = BIO_new_mem_buf(document, -1);
	PKCS7 *p = bio ? PKCS7_sign(i->certificate, i->key, NULL, bio,
	                            PKCS7_BINARY | PKCS7_NOATTR | PKCS7_NOCERTS)
	               : NULL;
	u8 *bytes = NULL;
	int length = p ? i2d_PKCS7(p, &bytes) : -1;
	char *text = length > 0 ? base64(bytes, (size_t)length) : NULL;

	OPENSSL_free(bytes);
	PKCS7_free(p);
	BIO_free(bio);
	return text;
}

int identity_sign(struct identity *i, const char *name, const char *document, struct identity_signature *out)
{
	struct signed_document *d;
	u32 hash = 2166136261U;

	for (const char *p = name; *p; p++)
		hash = (hash ^ (u8)*p) * 16777619U;
	d = &i->remembered[hash % REMEMBERED];
	if (!d->name || strcmp(d->name, name) || strcmp(d->document, document)) {
		forget(d);
		d->signature = sign(i, document);
		d->pkcs7 = envelop(i, document);
		d->document = strdup(document);
		d->name = d->document && d->signature && d->pkcs7 ? strdup(name) : NULL;
	}
	if (!d->name) {
		forget(d);
		return -1;
	}
	*out = (struct identity_signature){d->signature, d->pkcs7};
	return 0;
}
