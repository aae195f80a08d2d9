/*
 * Answers of the ec2 and query protocols.
 */
#pragma once

#include "model/fault.h"
#include "model/value.h"
#include "base/buffer.h"

/* Text with what XML gives a meaning escaped; bytes that XML 1.0 cannot hold become U+FFFD. */
void xml_text(struct buffer *b, const char *text, size_t length);

/* v: of the action's output shape, NULL if it has none. version: of the request; the namespace carries it. */
void xml_answer(struct buffer *b, const struct model *m, const struct model_action *action,
                const char *version, const char *request_id, const struct value *v);
void xml_fault(struct buffer *b, const struct model *m, const struct fault *f, const char *request_id);
/* As S3 says it (REST-XML). */
void xml_fault_rest(struct buffer *b, const struct fault *f, const char *request_id);
