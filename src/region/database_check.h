/*
 * Is the database's file whole? SQLite's quick_check reads all of it: a second for some hundred MiB. That of
 * a small file is waited for; a larger one is read by a thread of its own, over a connection of its own,
 * while the region serves.
 *
 * What such a thread finds cannot undo what was answered before, so it is written down: the file
 * `PATH.damaged` is there until a check finds none, and while it is there the check is waited for whatever
 * the file's size.
 */
#pragma once

#include "base/error.h"
#include "base/types.h"

enum integrity { INTEGRITY_NONE, INTEGRITY_RUNNING, INTEGRITY_GOOD, INTEGRITY_DAMAGED, INTEGRITY_FAILED };

struct database_check;

/* Checks a file of up to small_bytes now, a larger one in a thread. -1 with e: it is damaged. *check: what
 * goes on, or NULL. */
int database_check_begin(struct database_check **check, const char *path, s64 small_bytes, struct error *e);
/* From any thread. NULL: INTEGRITY_GOOD. */
enum integrity database_check_state(const struct database_check *c);
/* Ends the thread, or leaves it behind if it does not hear: for when the process ends. */
void database_check_end(struct database_check *c);

/* "running", "good" … */
const char *integrity_name(enum integrity state);
