#include "api/digest.h"

#include <openssl/evp.h>

void digest_hex(char *out, const u8 *bytes, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
	out[2 * n] = 0;
}

void digest_sha256(char out[DIGEST_HEX], const void *bytes, size_t length)
{
	u8 digest[32];

	EVP_Digest(bytes, length, digest, NULL, EVP_sha256(), NULL);
	digest_hex(out, digest, sizeof(digest));
}
