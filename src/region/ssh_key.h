/*
 * Key pairs as EC2 has them: making, the formats of OpenSSH, PEM and PuTTY, fingerprints.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"

enum ssh_key_type { SSH_KEY_RSA, SSH_KEY_ED25519 };

struct ssh_key {
	enum ssh_key_type type;
	const char *public_line; /* "ssh-rsa AAAA… comment" */
	const char *fingerprint; /* RSA made here: SHA-1 of the private key; imported: MD5 of the public one;
	                            ED25519: SHA-256 */
	const char *secret;      /* private key, PEM or PPK; NULL if imported */
};

/* format: "pem" (PKCS #1 for RSA, OpenSSH for ED25519), "ppk" (PuTTY, version 2). */
int ssh_key_create(struct ssh_key *k, struct arena *a, enum ssh_key_type type, const char *format,
                   const char *comment, struct error *e);
/* From an OpenSSH public key line, RFC 4716, or a PEM public key. -1: it is none, or RSA of a length that is
 * not 1024, 2048 or 4096. */
int ssh_key_import(struct ssh_key *k, struct arena *a, const char *text, size_t length, struct error *e);
