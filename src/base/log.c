#include "base/log.h"
#include "base/clock.h"
#include "base/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The globals of this room: where a process's log goes is a property of the process. */
static _Atomic int current_level = LOG_WARN;

static _Atomic int log_fd = STDERR_FILENO;
static _Atomic bool structured;
static char log_path[4096]; /* set once, before there are threads */

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&current_level, memory_order_relaxed);
}

const char *log_level_name(enum log_level level)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};

	return names[level];
}

int log_open(const char *path, struct error *e)
{
	if (strlen(path) >= sizeof(log_path))
		return error_set(e, ENAMETOOLONG, "open %s", path);
	strcpy(log_path, path);
	atomic_store(&structured, true);
	if (strcmp(path, "-"))
		return log_reopen(e);
	atomic_store(&log_fd, STDOUT_FILENO);
	return 0;
}

int log_reopen(struct error *e)
{
	int fd, old = atomic_load(&log_fd);

	if (!*log_path || !strcmp(log_path, "-"))
		return 0;
	fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set(e, errno, "open %s", log_path);
	if (old <= STDERR_FILENO) {
		atomic_store(&log_fd, fd);
		return 0;
	}
	/* In the old one's place, which other threads may be about to use. */
	dup3(fd, old, O_CLOEXEC);
	close(fd);
	return 0;
}

bool log_is_structured(void)
{
	return atomic_load_explicit(&structured, memory_order_relaxed);
}

void log_lines(const char *lines, size_t length)
{
	/* One write, so that lines of several threads do not mix. */
	(void)!write(atomic_load(&log_fd), lines, length);
}

void log_write(enum log_level level, const char *fmt, ...)
{
	char line[1024];
	int n = 0, m;
	size_t length;
	va_list ap;

	if (!log_enabled(level))
		return;
	if (!log_is_structured())
		n = snprintf(line, sizeof(line), "insula: %s: ", log_level_name(level));
	va_start(ap, fmt);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	if (m < 0)
		return;
	length = min((size_t)(n + m), sizeof(line) - 2);
	if (log_is_structured()) {
		struct record r;

		if (record_begin(&r, level, "message")) {
			record_message(&r, line);
			record_end(&r);
		}
		return;
	}
	line[length++] = '\n';
	log_lines(line, length);
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
