/*
 * The files behind volumes and snapshots: DATA/volumes/vol-…, DATA/snapshots/snap-…, raw and sparse.
 *
 * Actions only write down which files there are to be (table block_file: wanted present or absent, status
 * todo, done or failed); the agent makes it so: new files under another name, renamed when they are whole, so
 * that it can be killed at any time and begin anew. Long copies are made by threads of their own. A volume
 * that is being copied from does not change: its machine starts when the copy is made.
 *
 * On simulated hosts there are no files: records are all there is.
 */
#pragma once

#include "region/action.h"

#include <pthread.h>
#include <stdatomic.h>

/* Do volumes have bytes in this region? */
bool block_files_are_real(struct request *r);

/* The file shall be there: empty, or a copy of source (an id, or an absolute path; NULL: empty), with room
 * for bytes, which only grow. */
void block_file_want(struct request *r, const char *id, const char *source, s64 bytes);
/* It shall go. */
void block_file_drop(struct request *r, const char *id);

enum block_file_state { BLOCK_FILE_NONE, BLOCK_FILE_TODO, BLOCK_FILE_READY, BLOCK_FILE_FAILED };
/* READY: it may be written to: it is whole, and nothing is being copied from it. */
enum block_file_state block_file_state(struct request *r, const char *id);

const char *block_file_path(const struct cloud *c, char *buf, size_t size, const char *id);

/* ---- the agent's side ---- */

enum { BLOCK_JOBS = 2 };

struct block_job {
	char id[32], from[4200], to[4200], why[512];
	s64 bytes;
	pthread_t thread;
	bool used;
	atomic_int done; /* 1: made, -1: failed */
	atomic_int *stop;
};

struct block_jobs {
	struct block_job job[BLOCK_JOBS];
	atomic_int stop;
};

/* One round, within a transaction. */
void block_file_run(struct request *r, struct block_jobs *jobs);
/* Waits for the threads; what they made so far is thrown away. */
void block_jobs_end(struct block_jobs *jobs);
