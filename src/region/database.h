/*
 * The region's state in SQL. One connection, used by one thread. SQLite is the driver that is there
 * ("sqlite:PATH"); queries keep to what PostgreSQL understands as well: parameters $1, $2, …, types TEXT and
 * BIGINT, ON CONFLICT, texts in the order of their bytes (collation C).
 *
 * Failures are sticky: the first one is kept in `error`, all that follows does nothing and finds nothing, and
 * database_commit() says so. So those who read and write need not look, and nothing half done is ever
 * committed. Once damage is found, everything fails. A change that was committed is on the disk: it survives
 * kill -9 and a loss of power.
 */
#pragma once

#include "base/error.h"
#include "base/histogram.h"
#include "base/record.h"
#include "base/types.h"
#include "region/database_check.h"

struct database;
struct query;

struct database_stats {
	struct histogram commits; /* that wrote something or not */
	u64 failures;
	enum integrity check;
	s64 bytes, log_bytes; /* of the database, and of what is not merged into it yet */
};

struct database_options {
	bool check;      /* that the file is whole (database_check.h) */
	s64 check_bytes; /* up to this size, before it is used; a larger file, while it is */
};

/* Opens, and brings the schema up to date. options NULL: none. */
struct database *database_open(const char *url, const struct database_options *o, struct error *e);
void database_close(struct database *d);

void database_begin(struct database *d);
/* -1 with e: nothing since database_begin() has happened. */
int database_commit(struct database *d, struct error *e);
void database_rollback(struct database *d);
/* Within a transaction, one level: what has happened since can be taken back alone. */
void database_mark(struct database *d);
void database_take_back(struct database *d);
void database_release_mark(struct database *d);
/* A line of the log for when the transaction is committed; what is taken back is not said. */
void database_say(struct database *d, struct record *line);
bool database_failed(const struct database *d);
void database_stats(struct database *d, struct database_stats *stats);

/* sql is a literal: prepared once and kept. The query is good until the same sql is asked for again. */
struct query *database_query(struct database *d, const char *sql);
/* Parameters in order, from $1. NULL: SQL's NULL. Texts must stay until the query is done. */
struct query *query_text(struct query *q, const char *text);
struct query *query_integer(struct query *q, s64 integer);
/* The next row; false at the end. */
bool query_row(struct query *q);
/* Runs to its end; returns how many rows were changed. */
s64 query_run(struct query *q);
/* Columns from 0; texts are good until the next query_row(). NULL becomes "". */
const char *query_column_text(struct query *q, unsigned column);
size_t query_column_length(struct query *q, unsigned column);
s64 query_column_integer(struct query *q, unsigned column);
/* Ends it before its last row. */
void query_end(struct query *q);
