#include "base/log.h"
#include "base/clock.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

/* The one global of this room: where a process's log goes is a property of the process. */
static _Atomic int current_level = LOG_WARN;

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&current_level, memory_order_relaxed);
}

void log_write(enum log_level level, const char *fmt, ...)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};
	char line[1024];
	va_list ap;

	if (!log_enabled(level))
		return;
	int n = snprintf(line, sizeof(line), "insula: %s: ", names[level]);
	va_start(ap, fmt);
	int m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	if (m < 0)
		return;
	size_t len = min((size_t)(n + m), sizeof(line) - 2);
	line[len++] = '\n';
	/* One write, so that lines of several threads do not mix. */
	(void)!write(STDERR_FILENO, line, len);
}

bool log_rate_ok(struct log_rate *r)
{
	u64 now = clock_monotonic_ns();
	u64 start = atomic_load_explicit(&r->window_ns, memory_order_relaxed);

	if (now - start > 1000000000ULL) {
		atomic_store_explicit(&r->window_ns, now, memory_order_relaxed);
		atomic_store_explicit(&r->count, 0, memory_order_relaxed);
	}
	return atomic_fetch_add_explicit(&r->count, 1, memory_order_relaxed) < 5;
}
