#include "region/database_check.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct database_check {
	char path[4200];
	pthread_t thread;
	atomic_int state;
	atomic_bool stop;
	char why[256];
};

const char *integrity_name(enum integrity state)
{
	static const char *const names[] = {"none", "running", "good", "damaged", "failed"};

	return names[state];
}

static void mark(const struct database_check *c, bool damaged)
{
	char path[4300];
	int fd;

	snprintf(path, sizeof(path), "%s.damaged", c->path);
	if (!damaged) {
		unlink(path);
		return;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || fsync(fd) < 0)
		log_error("write %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

static bool is_marked(const struct database_check *c)
{
	char path[4300];

	snprintf(path, sizeof(path), "%s.damaged", c->path);
	return access(path, F_OK) == 0;
}

/* SQLite asks now and then whether to go on. */
static int tired(void *ctx)
{
	struct database_check *c = ctx;

	return atomic_load(&c->stop);
}

/* RUNNING: it was interrupted. */
static enum integrity run(struct database_check *c)
{
	enum { ASK_EACH = 10000 };
	enum integrity state = INTEGRITY_FAILED;
	sqlite3_stmt *statement = NULL;
	sqlite3 *handle;
	int code;

	code = sqlite3_open_v2(c->path, &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	if (code == SQLITE_OK) {
		sqlite3_busy_timeout(handle, 5000);
		sqlite3_progress_handler(handle, ASK_EACH, tired, c);
		code = sqlite3_prepare_v2(handle, "PRAGMA quick_check(1)", -1, &statement, NULL);
	}
	if (code == SQLITE_OK)
		code = sqlite3_step(statement);
	code &= 0xff;
	if (code == SQLITE_INTERRUPT) {
		state = INTEGRITY_RUNNING;
	} else if (code == SQLITE_ROW) {
		const char *text = (const char *)sqlite3_column_text(statement, 0);

		state = text && !strcmp(text, "ok") ? INTEGRITY_GOOD : INTEGRITY_DAMAGED;
		snprintf(c->why, sizeof(c->why), "%s", text ? text : "");
	} else {
		state = code == SQLITE_CORRUPT || code == SQLITE_NOTADB ? INTEGRITY_DAMAGED
		                                                        : INTEGRITY_FAILED;
		snprintf(c->why, sizeof(c->why), "%s", sqlite3_errmsg(handle));
	}
	for (char *p = c->why; *p; p++)
		if (*p == '\n')
			*p = ' ';
	sqlite3_finalize(statement);
	sqlite3_close(handle);
	return state;
}

static void *work(void *ctx)
{
	struct database_check *c = ctx;
	u64 begun_ns = clock_monotonic_ns();
	enum integrity state = run(c);
	double seconds = (double)(clock_monotonic_ns() - begun_ns) / 1e9;

	if (state == INTEGRITY_GOOD)
		log_info("database %s: checked in %.1f s, no damage", c->path, seconds);
	else if (state == INTEGRITY_FAILED)
		log_warn("database %s: could not be checked: %s", c->path, c->why);
	else if (state == INTEGRITY_DAMAGED)
		log_error("database %s: the file is damaged (%s): nothing is answered from it any more; put "
		          "back "
		          "a copy of it",
		          c->path, c->why);
	if (state == INTEGRITY_DAMAGED)
		mark(c, true);
	atomic_store(&c->state, (int)state);
	return NULL;
}

static int start(struct database_check *c)
{
	atomic_store(&c->state, INTEGRITY_RUNNING);
	if (pthread_create(&c->thread, NULL, work, c))
		return -1;
	log_info("database %s: is checked while it is served", c->path);
	return 0;
}

int database_check_begin(struct database_check **check, const char *path, s64 small_bytes, struct error *e)
{
	struct database_check *c = calloc(1, sizeof(*c));
	enum integrity state = INTEGRITY_GOOD;
	struct stat st;
	int result = 0;
	bool marked;

	*check = NULL;
	if (!c)
		return error_set(e, 0, "no memory for a check of the database");
	snprintf(c->path, sizeof(c->path), "%s", path);
	marked = is_marked(c);
	if (!marked && stat(path, &st) == 0 && st.st_size > small_bytes) {
		if (start(c) == 0) {
			*check = c;
			return 0;
		}
		result = error_set(e, 0, "no thread for a check of the database");
	} else {
		state = run(c); /* what cannot be read at all is said by who opens it next */
	}
	if (state == INTEGRITY_DAMAGED)
		result = error_set(
		        e, 0, "database %s: the file is damaged, and is left as it is; put back a copy of it",
		        path);
	if (result == 0 && state == INTEGRITY_GOOD && marked)
		mark(c, false);
	free(c);
	return result;
}

enum integrity database_check_state(const struct database_check *c)
{
	return c ? (enum integrity)atomic_load(&c->state) : INTEGRITY_GOOD;
}

void database_check_end(struct database_check *c)
{
	struct timespec until;

	if (!c)
		return;
	atomic_store(&c->stop, true);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec++;
	/* SQLite asks whether to go on between tables, not within one. */
	if (pthread_timedjoin_np(c->thread, NULL, &until) == 0)
		free(c);
}
