/*
 * A host failure as an object: errno and one line that names the thing.
 *
 * Functions that can fail take a `struct error *` last, fill it, and return -1 (or NULL); the text is turned
 * into output once, by the caller that decides what the failure means. The text has no trailing newline.
 */
#pragma once

struct error {
	int code; /* errno value, 0 if none applies */
	char text[512];
};

/* Fills e; returns -1 so that `return error_set(…)` reads well. With code != 0 ": strerror" is appended. */
int error_set(struct error *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the text that is there. Returns -1. */
int error_prefix(struct error *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
