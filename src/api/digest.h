/* Digests as texts: lower-case hexadecimal digits. */
#pragma once

#include "base/types.h"

enum { DIGEST_HEX = 65 };

/* n bytes as 2n digits and a zero byte. */
void digest_hex(char *out, const u8 *bytes, size_t n);
/* SHA-256 (FIPS 180-4). */
void digest_sha256(char out[DIGEST_HEX], const void *bytes, size_t length);
