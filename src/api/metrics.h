/*
 * What Prometheus scrapes: GET /metrics at the region's endpoint, text format 0.0.4 ("Exposition formats").
 * Series are bounded: actions, codes, types and states are those that exist; of zones only the largest are
 * named, the rest is "other".
 */
#pragma once

#include "api/front.h"

enum { METRICS_INSTANCE_SERIES = 1000 };
#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

void metrics_write(struct front *a, struct buffer *out);
/* The value of a label, escaped. */
void metrics_escape(struct buffer *out, const char *text);
