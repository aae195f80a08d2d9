/*
 * AWS Signature Version 4 (AWS General Reference, "Signature Version 4 signing process"): in the
 * Authorization header, or in the query string (presigned).
 */
#pragma once

#include "api/http.h"
#include "base/types.h"
#include "model/fault.h"

/* How far a client's clock may be off, and how long a signature in a header is good for. */
enum { SIGNATURE_SKEW_S = 900, SIGNATURE_EXPIRES_MAX_S = 7 * 86400 };

/* What the signature claims, in the request's arena. */
struct signature {
	const char *key_id, *date, *region, *service; /* the credential scope; date: YYYYMMDD */
	const char *signed_headers, *hex;
	const char *token; /* X-Amz-Security-Token; NULL: none */
	const char *time; /* X-Amz-Date: YYYYMMDD'T'HHMMSS'Z' */
	s64 expires_s;    /* presigned, else 0 */
	bool presigned;
};

/* Finds and takes apart the signature. -1 with f filled: MissingAuthenticationToken, IncompleteSignature. */
int signature_read(struct signature *s, const struct http_request *r, struct fault *f);

/* Is it made with the secret, over this request, at a time that is not past? -1 with f filled:
 * SignatureDoesNotMatch, RequestExpired, IncompleteSignature. */
int signature_check(const struct signature *s, const struct http_request *r, const char *secret, s64 now_s,
                    struct fault *f);
