/* The disk backend: both engines' operations, errors, locks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "guest.h"

#include "device/block_backend.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

struct disk {
	struct guest g;
	pthread_mutex_t lock;
	char path[64];
	struct block *b;
	unsigned batches;
};

static unsigned finished;

static void disk_batch(void *ctx)
{
	((struct disk *)ctx)->batches++;
}

static void disk_image(struct disk *d, u64 size)
{
	strcpy(d->path, "/tmp/insula-block-XXXXXX");
	int fd = mkstemp(d->path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
}

static struct block *disk_try(struct disk *d, const char *path, bool readonly, bool direct, struct error *e)
{
	struct block_config c = {.disk = {.path = path, .readonly = readonly, .direct = direct},
	                         .lock = &d->lock,
	                         .batch = disk_batch,
	                         .ctx = d};

	return block_new(&c, &d->g.loop, e);
}

static void disk_open(struct disk *d, u64 size, bool direct)
{
	struct error e = {0};
	pthread_mutexattr_t a;

	memset(d, 0, sizeof(*d));
	guest_init(&d->g);
	pthread_mutexattr_init(&a);
	pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&d->lock, &a);
	disk_image(d, size);
	d->b = disk_try(d, d->path, false, direct, &e);
	assert_non_null(d->b);
	finished = 0;
}

static void disk_close(struct disk *d)
{
	block_free(d->b);
	guest_release(&d->g);
	unlink(d->path);
}

struct request {
	struct block_request r;
	struct iovec iov[8];
	int error;
	bool done;
};

static void request_done(struct block_request *r, int error)
{
	struct request *q = container_of(r, struct request, r);

	assert_false(q->done);
	q->done = true;
	q->error = error;
	finished++;
}

static int disk_do(struct disk *d, enum block_op op, u64 offset, void *buf, u64 len)
{
	struct request q = {.iov = {{buf, len}}};

	q.r = (struct block_request){.op = op,
	                             .offset = offset,
	                             .length = len,
	                             .iov = q.iov,
	                             .iov_count = 1,
	                             .done = request_done};
	pthread_mutex_lock(&d->lock);
	block_submit(d->b, &q.r);
	block_kick(d->b);
	pthread_mutex_unlock(&d->lock);
	guest_until(&d->g, q.done);
	return q.error;
}

static void fill(u8 *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (u8)(i * 31 + i / 251 + seed);
}

static void what_was_written_is_read(struct disk *d)
{
	static u8 a[3 * MiB], b[3 * MiB];

	fill(a, sizeof(a), 1);
	assert_int_equal(disk_do(d, BLOCK_WRITE, 512, a, sizeof(a)), 0);
	assert_int_equal(disk_do(d, BLOCK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(disk_do(d, BLOCK_READ, 512, b, sizeof(b)), 0);
	assert_memory_equal(a, b, sizeof(a));
	/* Odd addresses, many pieces. */
	struct request q = {.iov = {{b + 1, 511}, {b + 1000, 1}, {b + 4096, 4096}, {b + 9001, 512}}};
	q.r = (struct block_request){.op = BLOCK_READ,
	                             .offset = 1024,
	                             .length = 5120,
	                             .iov = q.iov,
	                             .iov_count = 4,
	                             .done = request_done};
	memset(b, 0, sizeof(b));
	block_submit(d->b, &q.r);
	block_drain(d->b);
	assert_true(q.done);
	assert_memory_equal(b + 1, a + 512, 511);
	assert_int_equal(b[1000], a[1023]);
	assert_memory_equal(b + 4096, a + 1024, 4096);
	assert_memory_equal(b + 9001, a + 5120, 512);
	assert_int_equal(b[512], 0);
}

static void buffered(void **state)
{
	struct disk d;

	disk_open(&d, 8 * MiB, false);
	what_was_written_is_read(&d);
	assert_true(d.batches > 0);
	disk_close(&d);
}

static void direct(void **state)
{
	struct disk d;

	disk_open(&d, 8 * MiB, true);
	what_was_written_is_read(&d);
	disk_close(&d);
}

static void zeroes_and_holes(void **state)
{
	struct disk d;
	static u8 a[1 * MiB], b[1 * MiB], zero[1 * MiB];
	struct stat before, after;

	disk_open(&d, 1 * MiB, false);
	assert_true(block_can_discard(d.b));
	fill(a, sizeof(a), 2);
	assert_int_equal(disk_do(&d, BLOCK_WRITE, 0, a, sizeof(a)), 0);
	assert_int_equal(disk_do(&d, BLOCK_FLUSH, 0, NULL, 0), 0);
	stat(d.path, &before);
	assert_int_equal(disk_do(&d, BLOCK_WRITE_ZEROES, 1536, NULL, 300 * 512), 0);
	assert_int_equal(disk_do(&d, BLOCK_READ, 0, b, sizeof(b)), 0);
	memset(a + 1536, 0, 300 * 512);
	assert_memory_equal(a, b, sizeof(a));
	assert_int_equal(disk_do(&d, BLOCK_DISCARD, 0, NULL, 1 * MiB), 0);
	assert_int_equal(disk_do(&d, BLOCK_READ, 0, b, sizeof(b)), 0);
	assert_memory_equal(b, zero, sizeof(b));
	stat(d.path, &after);
	assert_true(after.st_blocks < before.st_blocks);
	assert_int_equal(after.st_size, 1 * MiB);
	disk_close(&d);
}

/* More requests than fit into the ring at once, submitted in one go. */
static void a_crowd(void **state)
{
	struct disk d;
	static struct request q[1000];
	static u8 a[1000][512], b[1000][512];

	disk_open(&d, 1000 * 512, false);
	for (int pass = 0; pass < 2; pass++) {
		finished = 0;
		for (unsigned i = 0; i < 1000; i++) {
			if (!pass)
				fill(a[i], 512, i);
			q[i] = (struct request){.iov = {{pass ? b[i] : a[i], 512}}};
			q[i].r = (struct block_request){.op = pass ? BLOCK_READ : BLOCK_WRITE,
			                                .offset = (u64)(i * 7 % 1000) * 512,
			                                .length = 512,
			                                .iov = q[i].iov,
			                                .iov_count = 1,
			                                .done = request_done};
			pthread_mutex_lock(&d.lock);
			block_submit(d.b, &q[i].r);
			pthread_mutex_unlock(&d.lock);
		}
		pthread_mutex_lock(&d.lock);
		block_kick(d.b);
		pthread_mutex_unlock(&d.lock);
		guest_until(&d.g, finished == 1000);
	}
	assert_memory_equal(a, b, sizeof(a));
	disk_close(&d);
}

static void a_drain_leaves_nothing(void **state)
{
	struct disk d;
	static struct request q[300];
	static u8 a[300][4096];

	disk_open(&d, 300 * 4096, false);
	for (unsigned i = 0; i < 300; i++) {
		q[i] = (struct request){.iov = {{a[i], 4096}}};
		q[i].r = (struct block_request){.op = BLOCK_WRITE,
		                                .offset = i * 4096,
		                                .length = 4096,
		                                .iov = q[i].iov,
		                                .iov_count = 1,
		                                .fua = i % 16 == 0,
		                                .done = request_done};
		block_submit(d.b, &q[i].r);
	}
	block_drain(d.b);
	assert_int_equal(finished, 300);
	disk_close(&d);
}

static void a_full_disk_is_a_write_error(void **state)
{
	struct disk d;
	struct rlimit old, lim;
	static u8 a[64 * KiB];

	/* RLIMIT_FSIZE stands for the full disk: EFBIG instead of ENOSPC. */
	disk_open(&d, 1 * MiB, false);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	lim = old;
	lim.rlim_cur = 32 * KiB;
	setrlimit(RLIMIT_FSIZE, &lim);
	int error = disk_do(&d, BLOCK_WRITE, 0, a, sizeof(a));
	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_equal(error, EFBIG);
	assert_int_equal(disk_do(&d, BLOCK_WRITE, 0, a, sizeof(a)), 0);
	disk_close(&d);
}

static void a_file_that_shrinks_reads_as_zeroes(void **state)
{
	struct disk d;
	static u8 a[8192], zero[8192];

	disk_open(&d, 8192, false);
	memset(a, 1, sizeof(a));
	assert_int_equal(disk_do(&d, BLOCK_WRITE, 0, a, 8192), 0);
	assert_int_equal(truncate(d.path, 4096), 0);
	assert_int_equal(disk_do(&d, BLOCK_READ, 0, a, 8192), 0);
	assert_memory_equal(a + 4096, zero, 4096);
	assert_int_equal(a[4095], 1);
	disk_close(&d);
}

static void a_writer_excludes_others(void **state)
{
	struct disk d;
	struct error e = {0};

	disk_open(&d, 4096, false);
	assert_null(disk_try(&d, d.path, false, false, &e));
	assert_non_null(strstr(e.text, d.path));
	assert_non_null(strstr(e.text, "in use"));
	assert_null(disk_try(&d, d.path, true, false, &e));
	block_free(d.b);
	d.b = disk_try(&d, d.path, true, false, &e);
	assert_non_null(d.b);
	struct block *second = disk_try(&d, d.path, true, false, &e);
	assert_non_null(second);
	assert_null(disk_try(&d, d.path, false, false, &e));
	block_free(second);
	disk_close(&d);
}

static void what_is_no_disk_is_refused_by_name(void **state)
{
	static const char *const paths[] = {"/nonexistent/disk", "/tmp", "/dev/null"};
	struct disk d;
	struct error e;
	char fifo[80];

	disk_open(&d, 4096, false);
	for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
		e = (struct error){0};
		assert_null(disk_try(&d, paths[i], false, false, &e));
		assert_non_null(strstr(e.text, paths[i]));
	}
	snprintf(fifo, sizeof(fifo), "%s.fifo", d.path);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_null(disk_try(&d, fifo, false, false, &e));
	assert_non_null(strstr(e.text, "neither"));
	unlink(fifo);
	block_free(d.b);
	assert_int_equal(truncate(d.path, 1000), 0);
	assert_null(disk_try(&d, d.path, false, false, &e));
	assert_non_null(strstr(e.text, "multiple of 512"));
	assert_int_equal(truncate(d.path, 0), 0);
	assert_null(disk_try(&d, d.path, false, false, &e));
	assert_non_null(strstr(e.text, "empty"));
	d.b = NULL;
	disk_close(&d);
}

/* The engine for hosts without io_uring. */
static void threads_do_the_same(void **state)
{
	struct error e = {0};
	struct block_engine *g = block_threads_new(&e);
	char path[] = "/tmp/insula-block-XXXXXX";
	int fd = mkstemp(path);
	static u8 a[16][4096], b[16][4096];
	struct iovec iov[16];
	struct block_io io[17];

	assert_non_null(g);
	for (int pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < 16; i++) {
			if (!pass)
				fill(a[i], 4096, i);
			iov[i] = (struct iovec){pass ? b[i] : a[i], 4096};
			io[i] = (struct block_io){.kind = pass ? BLOCK_IO_READ : BLOCK_IO_WRITE,
			                          .fd = fd,
			                          .iov = &iov[i],
			                          .iov_count = 1,
			                          .offset = i * 4096};
			g->ops->push(g, &io[i]);
		}
		io[16] = (struct block_io){.kind = BLOCK_IO_SYNC, .fd = -1};
		g->ops->push(g, &io[16]);
		g->ops->submit(g);
		for (unsigned i = 0; i < 17; i++) {
			struct block_io *done = g->ops->reap(g, true);
			assert_int_equal(done->result, done == &io[16] ? -EBADF : 4096);
		}
		assert_null(g->ops->reap(g, false));
	}
	assert_memory_equal(a, b, sizeof(a));
	g->ops->free(g);
	close(fd);
	unlink(path);
}

static void ids_are_stable(void **state)
{
	char a[DISK_ID_MAX + 1], b[DISK_ID_MAX + 1];

	disk_id(&(struct disk_config){.path = "/a"}, a);
	disk_id(&(struct disk_config){.path = "/a"}, b);
	assert_string_equal(a, b);
	assert_int_equal(strlen(a), 20);
	assert_memory_equal(a, "vol", 3);
	disk_id(&(struct disk_config){.path = "/b"}, b);
	assert_string_not_equal(a, b);
	disk_id(&(struct disk_config){.path = "/b", .id = "vol-1"}, b);
	assert_string_equal(b, "vol-1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(buffered),
	        cmocka_unit_test(direct),
	        cmocka_unit_test(zeroes_and_holes),
	        cmocka_unit_test(a_crowd),
	        cmocka_unit_test(a_drain_leaves_nothing),
	        cmocka_unit_test(a_full_disk_is_a_write_error),
	        cmocka_unit_test(a_file_that_shrinks_reads_as_zeroes),
	        cmocka_unit_test(a_writer_excludes_others),
	        cmocka_unit_test(what_is_no_disk_is_refused_by_name),
	        cmocka_unit_test(threads_do_the_same),
	        cmocka_unit_test(ids_are_stable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
