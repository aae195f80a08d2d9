/*
 * What a client did wrong (or what cannot be done now), in AWS's words: a code of the service's API Reference
 * ("InvalidParameterValue"), a message for people, and an HTTP status. It is passed up as a return value of
 * -1 with the struct filled, and becomes an answer once, in the wire's own format.
 */
#pragma once

struct fault {
	int status; /* HTTP, 0: none */
	char code[96];
	char message[1024];
};

/* 400, or what the code stands for (RequestLimitExceeded 503, InternalError 500, AuthFailure 401 …). Returns
 * -1. */
int fault_set(struct fault *f, const char *code, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
