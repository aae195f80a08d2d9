#include "region/block_file.h"
#include "base/log.h"
#include "region/schedule.h"
#include "region/snapshot.h"
#include "region/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- records ---- */

bool block_files_are_real(struct request *r)
{
	struct query *q = query_text(
	        database_query(r->cloud->db, "SELECT 1 FROM host WHERE id = $1 AND state <> 'down'"),
	        HOST_LOCAL);
	bool real = query_row(q);

	query_end(q);
	return real;
}

void block_file_want(struct request *r, const char *id, const char *source, s64 bytes)
{
	struct query *q = database_query(
	        r->cloud->db, "INSERT INTO block_file VALUES ($1, $2, $3, $4, $5, 'present', "
	                      "'todo') ON CONFLICT (id) DO UPDATE SET bytes = $5, status = 'todo'");

	query_text(query_text(query_text(q, id), r->account), r->region);
	query_run(query_integer(query_text(q, source ? source : ""), bytes));
	r->cloud->wake = true;
}

void block_file_drop(struct request *r, const char *id)
{
	query_run(query_text(database_query(r->cloud->db, "UPDATE block_file SET wanted = 'absent', "
	                                                  "status = 'todo' WHERE id = $1"),
	                     id));
	r->cloud->wake = true;
}

/* Is something still to be copied from it? */
static bool is_source(struct request *r, const char *id)
{
	struct query *q =
	        query_text(database_query(r->cloud->db, "SELECT 1 FROM block_file WHERE source = $1 AND "
	                                                "status = 'todo' AND wanted = 'present'"),
	                   id);
	bool found = query_row(q);

	query_end(q);
	return found;
}

enum block_file_state block_file_state(struct request *r, const char *id)
{
	struct query *q = query_text(
	        database_query(r->cloud->db, "SELECT status, wanted FROM block_file WHERE id = $1"), id);
	enum block_file_state state = BLOCK_FILE_NONE;

	if (query_row(q))
		state = !strcmp(query_column_text(q, 0), "failed") ? BLOCK_FILE_FAILED
		        : !strcmp(query_column_text(q, 0), "done") ? BLOCK_FILE_READY
		                                                   : BLOCK_FILE_TODO;
	query_end(q);
	return state == BLOCK_FILE_READY && is_source(r, id) ? BLOCK_FILE_TODO : state;
}

const char *block_file_path(const struct cloud *c, char *buf, size_t size, const char *id)
{
	snprintf(buf, size, "%s/%s/%s", c->data, !strncmp(id, "snap-", 5) ? "snapshots" : "volumes", id);
	return buf;
}

/* ---- bytes ---- */

/* By the kernel, or by hand between file systems that it does not copy between. */
static ssize_t copy_some(int from, int to, off_t at, size_t length)
{
	char bytes[1 << 16];
	off_t in = at, out = at;
	ssize_t n = copy_file_range(from, &in, to, &out, length, 0);

	if (n >= 0 || (errno != EXDEV && errno != ENOSYS && errno != EOPNOTSUPP && errno != EINVAL))
		return n;
	n = pread(from, bytes, min(length, sizeof(bytes)), at);
	return n > 0 ? pwrite(to, bytes, (size_t)n, at) : n;
}

/* What is not a hole. */
static int copy_data(int from, int to, atomic_int *stop)
{
	enum { STEP = 16 << 20 };
	off_t at = 0, end;

	while ((at = lseek(from, at, SEEK_DATA)) >= 0) {
		end = lseek(from, at, SEEK_HOLE);
		if (end < 0)
			return -1;
		while (at < end) {
			ssize_t n = copy_some(from, to, at, (size_t)min(end - at, (off_t)STEP));

			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0 || atomic_load(stop)) {
				errno = n < 0 ? errno : n ? ECANCELED : EIO;
				return -1;
			}
			at += n;
		}
	}
	return errno == ENXIO ? 0 : -1;
}

/* Where the file system shares blocks, a copy is made at once. */
static int copy_all(int from, int to, atomic_int *stop)
{
	return ioctl(to, FICLONE, from) == 0 ? 0 : copy_data(from, to, stop);
}

static int sync_folder(const char *path)
{
	char folder[4200];
	int fd, result;

	snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(path, '/') - path), path);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	result = fd < 0 ? -1 : fsync(fd);
	if (fd >= 0)
		close(fd);
	return result;
}

/* from "": empty. -1 with errno. */
static int make_file(const char *from, const char *to, s64 bytes, atomic_int *stop)
{
	char new[4216];
	int in = -1, out, result = -1;

	snprintf(new, sizeof(new), "%s.new", to);
	if (*from && (in = open(from, O_RDONLY | O_CLOEXEC)) < 0)
		return -1;
	out = open(new, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (out >= 0 && (in < 0 || copy_all(in, out, stop) == 0) && ftruncate(out, bytes) == 0 &&
	    fsync(out) == 0 && rename(new, to) == 0)
		result = sync_folder(to);
	if (result < 0) {
		int why = errno;

		if (out >= 0)
			unlink(new);
		errno = why;
	}
	if (out >= 0)
		close(out);
	if (in >= 0)
		close(in);
	return result;
}

static void *run_job(void *ctx)
{
	struct block_job *job = ctx;
	int made = make_file(job->from, job->to, job->bytes, job->stop);

	if (made < 0)
		snprintf(job->why, sizeof(job->why), "%s", strerror(errno));
	atomic_store(&job->done, made < 0 ? -1 : 1);
	return NULL;
}

void block_jobs_end(struct block_jobs *jobs)
{
	atomic_store(&jobs->stop, 1);
	for (unsigned i = 0; i < BLOCK_JOBS; i++) {
		if (jobs->job[i].used)
			pthread_join(jobs->job[i].thread, NULL);
		jobs->job[i].used = false;
	}
}

/* ---- rounds ---- */

struct row {
	const char *id, *account, *region, *source;
	s64 bytes;
	bool wanted;
};

static void finish(struct request *r, const struct row *row, const char *why)
{
	struct query *q =
	        database_query(r->cloud->db, "UPDATE block_file SET status = $1 WHERE id = $2 AND wanted = "
	                                     "'present'");

	query_run(query_text(query_text(q, why ? "failed" : "done"), row->id));
	if (why)
		log_error("%s: its file was not made: %s", row->id, why);
	r->account = row->account;
	r->region = row->region;
	if (!strncmp(row->id, "snap-", 5))
		snapshot_finished(r, row->id, why);
	else
		volume_finished(r, row->id, why);
}

static struct block_job *job_of(struct block_jobs *jobs, const char *id)
{
	for (unsigned i = 0; i < BLOCK_JOBS; i++)
		if (jobs->job[i].used && !strcmp(jobs->job[i].id, id))
			return &jobs->job[i];
	return NULL;
}

static struct block_job *free_job(struct block_jobs *jobs)
{
	for (unsigned i = 0; i < BLOCK_JOBS; i++)
		if (!jobs->job[i].used)
			return &jobs->job[i];
	return NULL;
}

static void remove_file(struct request *r, const struct row *row)
{
	char path[4200];

	if (is_source(r, row->id))
		return;
	block_file_path(r->cloud, path, sizeof(path), row->id);
	if (unlink(path) < 0 && errno != ENOENT) {
		log_error("remove %s: %s", path, strerror(errno));
		return;
	}
	/* What a copy that was cut off has left. */
	snprintf(path + strlen(path), sizeof(path) - strlen(path), ".new");
	unlink(path);
	query_run(query_text(database_query(r->cloud->db, "DELETE FROM block_file WHERE id = $1"), row->id));
}

static void begin_copy(struct request *r, struct block_jobs *jobs, const struct row *row, const char *to)
{
	struct block_job *job = free_job(jobs);

	if (!job)
		return;
	snprintf(job->id, sizeof(job->id), "%s", row->id);
	snprintf(job->to, sizeof(job->to), "%s", to);
	if (*row->source == '/')
		snprintf(job->from, sizeof(job->from), "%s", row->source);
	else
		block_file_path(r->cloud, job->from, sizeof(job->from), row->source);
	job->bytes = row->bytes;
	job->why[0] = 0;
	job->stop = &jobs->stop;
	atomic_store(&job->done, 0);
	job->used = pthread_create(&job->thread, NULL, run_job, job) == 0;
}

static void ensure_folder(const char *path)
{
	char folder[4200];

	snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(path, '/') - path), path);
	if (mkdir(folder, 0700) < 0 && errno != EEXIST)
		log_error("create %s: %s", folder, strerror(errno));
	else
		sync_folder(folder);
}

static void make(struct request *r, struct block_jobs *jobs, const struct row *row)
{
	struct block_job *job = job_of(jobs, row->id);
	char path[4200];
	struct stat st;

	block_file_path(r->cloud, path, sizeof(path), row->id);
	if (job) {
		if (!atomic_load(&job->done))
			return;
		pthread_join(job->thread, NULL);
		job->used = false;
		finish(r, row, atomic_load(&job->done) < 0 ? job->why : NULL);
		return;
	}
	if (stat(path, &st) == 0) {
		bool grown = st.st_size >= row->bytes || truncate(path, row->bytes) == 0;

		finish(r, row, grown ? NULL : strerror(errno));
		return;
	}
	ensure_folder(path);
	if (*row->source)
		begin_copy(r, jobs, row, path);
	else
		finish(r, row, make_file("", path, row->bytes, &jobs->stop) < 0 ? strerror(errno) : NULL);
}

void block_file_run(struct request *r, struct block_jobs *jobs)
{
	struct row *rows = NULL;
	size_t count = 0, room = 0;
	struct query *q = database_query(r->cloud->db, "SELECT id, account, region, source, bytes, wanted "
	                                               "FROM block_file WHERE status = 'todo' ORDER BY id");

	while (query_row(q)) {
		if (count == room) {
			struct row *more =
			        arena_alloc(r->arena, (room = room ? 2 * room : 16) * sizeof(*more));

			if (count)
				memcpy(more, rows, count * sizeof(*more));
			rows = more;
		}
		rows[count++] = (struct row){arena_strdup(r->arena, query_column_text(q, 0)),
		                             arena_strdup(r->arena, query_column_text(q, 1)),
		                             arena_strdup(r->arena, query_column_text(q, 2)),
		                             arena_strdup(r->arena, query_column_text(q, 3)),
		                             query_column_integer(q, 4),
		                             !strcmp(query_column_text(q, 5), "present")};
	}
	for (size_t i = 0; i < count; i++) {
		struct block_job *job = job_of(jobs, rows[i].id);

		if (rows[i].wanted)
			make(r, jobs, &rows[i]);
		else if (!job)
			remove_file(r, &rows[i]);
		else if (atomic_load(&job->done)) {
			pthread_join(job->thread, NULL);
			job->used = false;
		}
	}
}
