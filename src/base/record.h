/*
 * A line of the log with fields: one fact that programs read as well. As JSON where the log is structured
 * (log_open()), else as name=value behind the usual head.
 *
 *   struct record r;
 *   if (record_begin(&r, LOG_INFO, "request")) {
 *           record_text(&r, "action", name);
 *           record_end(&r);
 *   }
 *
 * Bytes that are no printable ASCII are escaped, so a client cannot forge lines; a value is cut at 256 bytes.
 */
#pragma once

#include "base/log.h"

struct record {
	enum log_level level;
	bool json;
	size_t length;
	char text[4096]; /* complete, with its newline, after record_close() */
};

/* False: nobody wants lines of that level. */
bool record_begin(struct record *r, enum log_level level, const char *event);
/* NULL: left out. */
void record_text(struct record *r, const char *name, const char *text);
/* A longer one, for people: "text". */
void record_message(struct record *r, const char *text);
void record_integer(struct record *r, const char *name, s64 value);
void record_milliseconds(struct record *r, const char *name, u64 ns);
/* Ends the line, to be written later with log_lines(); record_end() writes it now. */
void record_close(struct record *r);
void record_end(struct record *r);
