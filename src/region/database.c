#include "region/database.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"
#include "region/schema.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { QUERIES = 512 };

struct query {
	struct database *database;
	const char *sql;
	sqlite3_stmt *statement; /* NULL: it could not be prepared */
	int bound;
};

struct database {
	sqlite3 *handle;
	struct query queries[QUERIES]; /* hashed by address of the text */
	bool failed;
	struct database_check *check; /* that goes on; NULL: none */
	bool checked;
	struct error error;
	struct histogram commits;
	u64 failures;
	struct buffer said; /* lines of database_say() */
	size_t said_at_mark;
};

static void fail(struct database *d, const char *what)
{
	if (d->failed)
		return;
	d->failed = true;
	error_set(&d->error, 0, "database: %s: %s", what, sqlite3_errmsg(d->handle));
	log_error("%s", d->error.text);
}

bool database_failed(const struct database *d)
{
	return d->failed;
}

static void simple(struct database *d, const char *sql)
{
	if (!d->failed && sqlite3_exec(d->handle, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail(d, sql);
}

static bool has_schema(struct database *d)
{
	struct query *q = database_query(d, "SELECT 1 FROM pragma_table_info('schema_version') LIMIT 1");
	bool has = query_row(q);

	query_end(q);
	return has;
}

static s64 schema_version(struct database *d)
{
	struct query *q;
	s64 version = 0;

	q = database_query(d, "SELECT MAX(version) FROM schema_version");
	if (query_row(q))
		version = query_column_integer(q, 0);
	query_end(q);
	return version;
}

static int migrate(struct database *d, struct error *e)
{
	s64 version;

	/* One that is up to date is not waited for. */
	if (has_schema(d) && schema_version(d) == (s64)schema_steps_count)
		return 0;
	simple(d, "BEGIN IMMEDIATE");
	simple(d, "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)");
	version = schema_version(d);
	if (version > (s64)schema_steps_count) {
		simple(d, "ROLLBACK");
		return error_set(e, 0, "database: made by a newer insula (schema %lld, this one knows %u)",
		                 (long long)version, schema_steps_count);
	}
	for (unsigned i = (unsigned)version; i < schema_steps_count; i++) {
		simple(d, schema_steps[i]);
		query_run(query_integer(database_query(d, "INSERT INTO schema_version VALUES ($1)"), i + 1));
	}
	return database_commit(d, e);
}

static void explain(const struct database *d, const char *path, struct error *e)
{
	int code = sqlite3_errcode(d->handle) & 0xff;

	if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB)
		error_set(e, 0,
		          "database %s: the file is damaged, and is left as it is; put back a copy of it",
		          path);
	else
		error_set(e, 0, "database %s: %s", path, sqlite3_errmsg(d->handle));
}

struct database *database_open(const char *url, const struct database_options *o, struct error *e)
{
	struct database *d = calloc(1, sizeof(*d));
	const char *path;

	if (!d) {
		error_set(e, 0, "no memory for a database");
		return NULL;
	}
	if (strncmp(url, "sqlite:", 7)) {
		error_set(e, 0, "database `%s`: only sqlite:PATH is built", url);
		free(d);
		return NULL;
	}
	if (sqlite3_open_v2(url + 7, &d->handle,
	                    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL)) {
		error_set(e, 0, "database %s: %s", url + 7, sqlite3_errmsg(d->handle));
		database_close(d);
		return NULL;
	}
	sqlite3_busy_timeout(d->handle, 5000);
	simple(d, "PRAGMA journal_mode = WAL");
	simple(d, "PRAGMA synchronous = FULL");
	simple(d, "PRAGMA foreign_keys = ON");
	simple(d, "PRAGMA cache_size = -65536");
	path = sqlite3_db_filename(d->handle, "main");
	if (!d->failed && o && o->check && path && *path) {
		if (database_check_begin(&d->check, path, o->check_bytes, e) < 0) {
			database_close(d);
			return NULL;
		}
		d->checked = true;
	}
	if (d->failed || migrate(d, e) < 0) {
		if (d->failed)
			explain(d, url + 7, e);
		database_close(d);
		return NULL;
	}
	return d;
}

void database_close(struct database *d)
{
	if (!d)
		return;
	database_check_end(d->check);
	for (unsigned i = 0; i < QUERIES; i++)
		sqlite3_finalize(d->queries[i].statement);
	sqlite3_close(d->handle);
	buffer_release(&d->said);
	free(d);
}

void database_stats(struct database *d, struct database_stats *stats)
{
	const char *path = sqlite3_db_filename(d->handle, "main"), *log;
	struct stat st;

	*stats = (struct database_stats){.commits = d->commits, .failures = d->failures};
	stats->check = d->checked ? database_check_state(d->check) : INTEGRITY_NONE;
	if (!path)
		return;
	if (stat(path, &st) == 0)
		stats->bytes = st.st_size;
	log = sqlite3_filename_wal(path);
	if (log && stat(log, &st) == 0)
		stats->log_bytes = st.st_size;
}

/* ---- transactions ---- */

void database_begin(struct database *d)
{
	if (database_check_state(d->check) == INTEGRITY_DAMAGED && !d->failed) {
		d->failed = true;
		error_set(&d->error, 0, "database: the file is damaged; put back a copy of it");
	}
	/* What is read first and written then could not be, if another process wrote in between. */
	simple(d, "BEGIN IMMEDIATE");
}

/* A query that was not ended would hold on to the state it began with. */
static void end_queries(struct database *d)
{
	for (sqlite3_stmt *s = sqlite3_next_stmt(d->handle, NULL); s; s = sqlite3_next_stmt(d->handle, s))
		if (sqlite3_stmt_busy(s))
			sqlite3_reset(s);
}

void database_rollback(struct database *d)
{
	end_queries(d);
	if (!sqlite3_get_autocommit(d->handle))
		sqlite3_exec(d->handle, "ROLLBACK", NULL, NULL, NULL);
	d->failed = false;
	buffer_clear(&d->said);
}

int database_commit(struct database *d, struct error *e)
{
	u64 begun_ns = clock_monotonic_ns();

	end_queries(d);
	simple(d, "COMMIT");
	histogram_add(&d->commits, clock_monotonic_ns() - begun_ns);
	if (!d->failed) {
		if (d->said.length)
			log_lines(buffer_str(&d->said), d->said.length);
		buffer_clear(&d->said);
		return 0;
	}
	d->failures++;
	buffer_clear(&d->said);
	*e = d->error;
	database_rollback(d);
	return -1;
}

void database_mark(struct database *d)
{
	simple(d, "SAVEPOINT mark");
	d->said_at_mark = d->said.length;
}

void database_take_back(struct database *d)
{
	simple(d, "ROLLBACK TO mark");
	d->said.length = d->said_at_mark;
	simple(d, "RELEASE mark");
}

void database_release_mark(struct database *d)
{
	simple(d, "RELEASE mark");
}

void database_say(struct database *d, struct record *line)
{
	record_close(line);
	buffer_append(&d->said, line->text, line->length);
}

/* ---- queries ---- */

struct query *database_query(struct database *d, const char *sql)
{
	unsigned slot = (unsigned)((uintptr_t)sql >> 3) % QUERIES;
	struct query *q;

	for (;; slot = (slot + 1) % QUERIES) {
		q = &d->queries[slot];
		if (!q->sql || q->sql == sql)
			break;
	}
	q->database = d;
	q->bound = 0;
	if (q->statement) {
		sqlite3_reset(q->statement);
		sqlite3_clear_bindings(q->statement);
	} else if (!d->failed) {
		q->sql = sql;
		if (sqlite3_prepare_v3(d->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &q->statement, NULL) !=
		    SQLITE_OK)
			fail(d, sql);
	}
	return q;
}

/* SQLite numbers $1, $2 … by where they first stand in the text, so they are found by name. */
static int position(struct query *q)
{
	char name[16];

	snprintf(name, sizeof(name), "$%d", ++q->bound);
	return sqlite3_bind_parameter_index(q->statement, name);
}

struct query *query_text(struct query *q, const char *text)
{
	int result;

	if (q->database->failed)
		return q;
	result = text ? sqlite3_bind_text(q->statement, position(q), text, -1, SQLITE_STATIC)
	              : sqlite3_bind_null(q->statement, position(q));
	if (result != SQLITE_OK)
		fail(q->database, q->sql);
	return q;
}

struct query *query_integer(struct query *q, s64 integer)
{
	if (!q->database->failed && sqlite3_bind_int64(q->statement, position(q), integer) != SQLITE_OK)
		fail(q->database, q->sql);
	return q;
}

bool query_row(struct query *q)
{
	int result;

	if (q->database->failed)
		return false;
	result = sqlite3_step(q->statement);
	if (result == SQLITE_ROW)
		return true;
	if (result != SQLITE_DONE)
		fail(q->database, q->sql);
	sqlite3_reset(q->statement);
	return false;
}

s64 query_run(struct query *q)
{
	while (query_row(q))
		;
	return q->database->failed ? 0 : sqlite3_changes64(q->database->handle);
}

const char *query_column_text(struct query *q, unsigned column)
{
	const unsigned char *text = sqlite3_column_text(q->statement, (int)column);

	return text ? (const char *)text : "";
}

size_t query_column_length(struct query *q, unsigned column)
{
	return (size_t)sqlite3_column_bytes(q->statement, (int)column);
}

s64 query_column_integer(struct query *q, unsigned column)
{
	return sqlite3_column_int64(q->statement, (int)column);
}

void query_end(struct query *q)
{
	if (q->statement)
		sqlite3_reset(q->statement);
}
