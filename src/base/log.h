/*
 * The log: one fact a line, on standard error, "insula: LEVEL: text"; or structured, in a file (log_open()).
 *
 * log_guest() is for what a guest or a client can cause: it is rate-limited per call site (a handful a
 * second), so a hostile guest cannot fill a disk. Any thread.
 */
#pragma once

#include "base/error.h"
#include "base/types.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level level); /* default LOG_WARN */
const char *log_level_name(enum log_level level);
/* From now on the log goes to this file ("-": standard output) and is structured: a JSON object a line, with
 * time, level, event and more; lines of log_write() are of the event "message". */
int log_open(const char *path, struct error *e);
/* Opens the file anew, where somebody has put the old one aside. */
int log_reopen(struct error *e);
bool log_is_structured(void);
/* Lines that are complete (record.h), in one write. */
void log_lines(const char *lines, size_t length);
bool log_enabled(enum log_level level);
void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)

struct log_rate {
	_Atomic u64 window_ns;
	_Atomic u32 count;
};
bool log_rate_ok(struct log_rate *r);

/* Guest nonsense: shown from LOG_INFO on, at most five lines a second from each place. */
#define log_guest(...)                                            \
	do {                                                      \
		static struct log_rate _rate;                     \
		if (log_enabled(LOG_INFO) && log_rate_ok(&_rate)) \
			log_write(LOG_INFO, __VA_ARGS__);         \
	} while (0)
