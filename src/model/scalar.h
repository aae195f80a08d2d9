/* Scalars as texts, as all of AWS's protocols write them. */
#pragma once

#include "base/buffer.h"
#include "model/value.h"

/* From text; the kind of v says how. -1: the text is none of that kind. */
int scalar_parse(struct value *v, const char *text, size_t length);
/* 2026-01-31T23:59:59.000Z */
void scalar_write_time(struct buffer *b, s64 ms);
/* -1: not an ISO 8601 date, or date and time */
int scalar_parse_time(const char *text, s64 *ms);
void scalar_write_double(struct buffer *b, double number);

void base64_write(struct buffer *b, const void *bytes, size_t length);
/* Line ends are skipped. NULL: not base64. */
char *base64_parse(struct arena *a, const char *text, size_t length, size_t *out_length);
