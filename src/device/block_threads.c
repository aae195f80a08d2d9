#include "device/block_engine.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define THREADS 4

struct block_list {
	struct block_io *first, **last;
};

struct block_threads {
	struct block_engine engine;
	struct block_list pushed; /* under the caller's lock */
	pthread_mutex_t lock;     /* the rest */
	pthread_cond_t work, finished;
	struct block_list todo, done;
	bool stop;
	unsigned count;
	pthread_t thread[THREADS];
};

static void list_init(struct block_list *l)
{
	l->first = NULL;
	l->last = &l->first;
}

static void list_add(struct block_list *l, struct block_io *io)
{
	io->next = NULL;
	*l->last = io;
	l->last = &io->next;
}

static struct block_io *list_take(struct block_list *l)
{
	struct block_io *io = l->first;

	if (io && !(l->first = io->next))
		l->last = &l->first;
	return io;
}

int block_io_run(const struct block_io *io)
{
	ssize_t n = -1;

	switch (io->kind) {
	case BLOCK_IO_READ:
		n = preadv(io->fd, io->iov, (int)io->iov_count, (off_t)io->offset);
		break;
	case BLOCK_IO_WRITE:
		n = pwritev2(io->fd, io->iov, (int)io->iov_count, (off_t)io->offset, io->flags);
		break;
	case BLOCK_IO_SYNC:
		n = fdatasync(io->fd);
		break;
	case BLOCK_IO_FALLOCATE:
		n = fallocate(io->fd, io->flags, (off_t)io->offset, (off_t)io->length);
		break;
	}
	return n < 0 ? -errno : (int)n;
}

static void *block_threads_main(void *arg)
{
	struct block_threads *t = arg;
	u64 one = 1;

	pthread_mutex_lock(&t->lock);
	while (!t->stop) {
		struct block_io *io = list_take(&t->todo);

		if (!io) {
			pthread_cond_wait(&t->work, &t->lock);
			continue;
		}
		pthread_mutex_unlock(&t->lock);
		io->result = block_io_run(io);
		pthread_mutex_lock(&t->lock);
		list_add(&t->done, io);
		pthread_cond_signal(&t->finished);
		(void)!write(t->engine.event_fd, &one, sizeof(one));
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

static void block_threads_push(struct block_engine *g, struct block_io *io)
{
	list_add(&container_of(g, struct block_threads, engine)->pushed, io);
}

static void block_threads_submit(struct block_engine *g)
{
	struct block_threads *t = container_of(g, struct block_threads, engine);
	struct block_io *io;

	if (!t->pushed.first)
		return;
	pthread_mutex_lock(&t->lock);
	while ((io = list_take(&t->pushed)))
		list_add(&t->todo, io);
	pthread_cond_broadcast(&t->work);
	pthread_mutex_unlock(&t->lock);
}

static struct block_io *block_threads_reap(struct block_engine *g, bool wait)
{
	struct block_threads *t = container_of(g, struct block_threads, engine);
	struct block_io *io;

	pthread_mutex_lock(&t->lock);
	while (!(io = list_take(&t->done)) && wait)
		pthread_cond_wait(&t->finished, &t->lock);
	pthread_mutex_unlock(&t->lock);
	return io;
}

static void block_threads_free(struct block_engine *g)
{
	struct block_threads *t = container_of(g, struct block_threads, engine);

	pthread_mutex_lock(&t->lock);
	t->stop = true;
	pthread_cond_broadcast(&t->work);
	pthread_mutex_unlock(&t->lock);
	for (unsigned i = 0; i < t->count; i++)
		pthread_join(t->thread[i], NULL);
	pthread_mutex_destroy(&t->lock);
	pthread_cond_destroy(&t->work);
	pthread_cond_destroy(&t->finished);
	if (g->event_fd >= 0)
		close(g->event_fd);
	free(t);
}

static const struct block_engine_ops block_threads_ops = {
        .free = block_threads_free,
        .push = block_threads_push,
        .submit = block_threads_submit,
        .reap = block_threads_reap,
};

struct block_engine *block_threads_new(struct error *e)
{
	struct block_threads *t = calloc(1, sizeof(*t));

	if (!t) {
		error_set(e, ENOMEM, "disk threads");
		return NULL;
	}
	t->engine.ops = &block_threads_ops;
	t->engine.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	list_init(&t->pushed);
	list_init(&t->todo);
	list_init(&t->done);
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->work, NULL);
	pthread_cond_init(&t->finished, NULL);
	int rc = t->engine.event_fd < 0 ? errno : 0;
	while (!rc && t->count < THREADS) {
		rc = pthread_create(&t->thread[t->count], NULL, block_threads_main, t);
		t->count += !rc;
	}
	if (rc) {
		error_set(e, rc, "disk threads");
		block_threads_free(&t->engine);
		return NULL;
	}
	return &t->engine;
}
