/* libcrypto as everybody uses it: it picks the instructions that the CPU says it has. */
#include "work.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

enum { CHUNK = 16 << 10, CHUNKS = 16 };

static u8 plain[CHUNK], sealed[CHUNK + 32];

static u64 first_word(const u8 *p)
{
	u64 w;

	memcpy(&w, p, sizeof(w));
	return w;
}

static EVP_CIPHER_CTX *cipher;

static void aes_setup(void)
{
	if (!cipher)
		cipher = EVP_CIPHER_CTX_new();
	memset(plain, 0x5a, sizeof(plain));
}

static u64 aes_unit(void)
{
	static const u8 key[32] = {1, 2, 3}, nonce[12] = {4, 5, 6};
	u8 tag[16];
	int n;

	if (EVP_EncryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, key, nonce) != 1)
		die("AES-256-GCM");
	for (unsigned i = 0; i < CHUNKS; i++)
		EVP_EncryptUpdate(cipher, sealed, &n, plain, CHUNK);
	EVP_EncryptFinal_ex(cipher, sealed, &n);
	EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_GET_TAG, sizeof(tag), tag);
	return first_word(tag);
}

static u64 sha_unit(void)
{
	static EVP_MD_CTX *digest;
	u8 out[32];

	if (!digest)
		digest = EVP_MD_CTX_new();
	EVP_DigestInit_ex(digest, EVP_sha256(), NULL);
	for (unsigned i = 0; i < CHUNKS; i++)
		EVP_DigestUpdate(digest, plain, CHUNK);
	EVP_DigestFinal_ex(digest, out, NULL);
	return first_word(out);
}

static EVP_PKEY *key;
static EVP_PKEY_CTX *signer;

/* The key is made with the rest of the bench, so all machines sign with the same. */
static void rsa_setup(void)
{
	FILE *file;

	if (key)
		return;
	file = fopen("bench-rsa.pem", "r");
	key = file ? PEM_read_PrivateKey(file, NULL, NULL, NULL) : NULL;
	signer = key ? EVP_PKEY_CTX_new(key, NULL) : NULL;
	if (!signer || EVP_PKEY_sign_init(signer) != 1 ||
	    EVP_PKEY_CTX_set_signature_md(signer, EVP_sha256()) != 1)
		die("bench-rsa.pem");
	fclose(file);
}

static u64 rsa_unit(void)
{
	static const u8 digest[32] = {7, 8, 9};
	u8 signature[256];
	size_t size = sizeof(signature);

	if (EVP_PKEY_sign(signer, signature, &size, digest, sizeof(digest)) != 1)
		die("RSA");
	return first_word(signature);
}

const struct row rows_crypto[] = {
        {.name = "aes-256-gcm", .setup = aes_setup, .unit = aes_unit},
        {.name = "sha-256", .setup = aes_setup, .unit = sha_unit},
        {.name = "rsa-2048", .setup = rsa_setup, .unit = rsa_unit},
        {0},
};
