/*
 * Values as JSON: how documents are stored, and what the JSON protocols speak. Member names are those of the
 * API Reference; times are seconds since 1970, with a fraction; blobs are base64.
 */
#pragma once

#include "base/buffer.h"
#include "model/value.h"

void json_write(struct buffer *b, const struct value *v);
void json_write_text(struct buffer *b, const char *text, size_t length);

/* A value of the shape. Members that the shape does not have are skipped. NULL: not JSON, a value that does
 * not fit its shape, or nested more than 64 deep. */
struct value *json_parse(struct arena *a, const struct model *m, unsigned shape, const char *text,
                         size_t length);
