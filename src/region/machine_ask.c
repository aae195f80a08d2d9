#include "region/machine_ask.h"

enum { THREADS_MAX = 16 };

void machine_asks_init(struct machine_asks *all, void (*done)(void *ctx), void *ctx)
{
	*all = (struct machine_asks){.done = done, .ctx = ctx};
	pthread_mutex_init(&all->lock, NULL);
	pthread_cond_init(&all->idle, NULL);
}

void machine_asks_end(struct machine_asks *all)
{
	pthread_mutex_lock(&all->lock);
	all->end = true;
	while (all->threads)
		pthread_cond_wait(&all->idle, &all->lock);
	pthread_mutex_unlock(&all->lock);
	pthread_mutex_destroy(&all->lock);
	pthread_cond_destroy(&all->idle);
}

static void *run(void *arg)
{
	struct machine_ask *a = arg;
	struct machine_asks *all = a->all;
	int status = a->ask(a);

	pthread_mutex_lock(&all->lock);
	a->status = status;
	a->finished = true;
	if (!all->end)
		all->done(all->ctx);
	all->threads--;
	pthread_cond_signal(&all->idle);
	pthread_mutex_unlock(&all->lock);
	return NULL;
}

bool machine_ask_begin(struct machine_ask *a)
{
	struct machine_asks *all = a->all;
	pthread_t thread;

	pthread_mutex_lock(&all->lock);
	a->finished = false;
	a->begun = all->threads < THREADS_MAX && pthread_create(&thread, NULL, run, a) == 0;
	all->threads += a->begun;
	pthread_mutex_unlock(&all->lock);
	if (a->begun)
		pthread_detach(thread);
	return a->begun;
}

bool machine_ask_is_busy(struct machine_ask *a)
{
	bool finished;

	pthread_mutex_lock(&a->all->lock);
	finished = a->finished;
	pthread_mutex_unlock(&a->all->lock);
	return a->begun && !finished;
}
