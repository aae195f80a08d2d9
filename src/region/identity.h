/*
 * The region's identity: an RSA key with which it signs what instances say of themselves (EC2 User Guide,
 * "Instance identity documents"), and the certificate that others check the signatures by. Both are made at
 * the first start, and kept:
 *   DATA/identity.key   the key, for the owner only
 *   DATA/identity.pem   the certificate, to be given to whoever checks:
 *       openssl smime -verify -inform PEM -in PKCS7 -certfile identity.pem -noverify
 */
#pragma once

#include "base/error.h"

struct identity;

struct identity_signature {    /* in base64, lines of 64 */
	const char *signature; /* RSA with SHA-256 */
	const char *pkcs7;     /* with the document in it, signed with SHA-256 */
};

/* NULL with e. */
struct identity *identity_open(const char *data, struct error *e);
void identity_free(struct identity *identity); /* NULL is allowed */

/* Signs a document; what was signed for the same name lately is remembered. Good until the next call. -1: it
 * cannot be done. */
int identity_sign(struct identity *identity, const char *name, const char *document,
                  struct identity_signature *out);
