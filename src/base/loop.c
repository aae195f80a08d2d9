/*
 * Theory of operation: timers are a binary heap; timer_fd is always set to the heap's top, so arming from
 * another thread needs no wake-up: epoll waits on timer_fd itself.
 */
#include "base/loop.h"
#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

static int loop_watch(struct loop *l, int fd, void *ptr, struct error *e)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = ptr};

	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return error_set(e, errno, "epoll_ctl");
	return 0;
}

int loop_init(struct loop *l, struct error *e)
{
	memset(l, 0, sizeof(*l));
	pthread_mutex_init(&l->lock, NULL);
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->epoll_fd < 0 || l->timer_fd < 0 || l->wake_fd < 0) {
		error_set(e, errno, "event loop");
		goto fail;
	}
	/* The loop's own descriptors are told apart by pointers into the loop itself. */
	if (loop_watch(l, l->timer_fd, &l->timer_fd, e) < 0 || loop_watch(l, l->wake_fd, &l->wake_fd, e) < 0)
		goto fail;
	return 0;
fail:
	loop_release(l);
	return -1;
}

void loop_release(struct loop *l)
{
	if (l->epoll_fd >= 0)
		close(l->epoll_fd);
	if (l->timer_fd >= 0)
		close(l->timer_fd);
	if (l->wake_fd >= 0)
		close(l->wake_fd);
	free(l->heap);
	pthread_mutex_destroy(&l->lock);
	l->heap = NULL;
	l->epoll_fd = l->timer_fd = l->wake_fd = -1;
}

/* ---- heap; all with l->lock held ---- */

static void heap_put(struct loop *l, size_t i, struct loop_timer *t)
{
	l->heap[i] = t;
	t->slot = i + 1;
}

static void heap_up(struct loop *l, size_t i)
{
	struct loop_timer *t = l->heap[i];

	while (i && l->heap[(i - 1) / 2]->deadline_ns > t->deadline_ns) {
		heap_put(l, i, l->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	heap_put(l, i, t);
}

static void heap_down(struct loop *l, size_t i)
{
	struct loop_timer *t = l->heap[i];

	for (;;) {
		size_t c = 2 * i + 1;

		if (c >= l->heap_count)
			break;
		if (c + 1 < l->heap_count && l->heap[c + 1]->deadline_ns < l->heap[c]->deadline_ns)
			c++;
		if (l->heap[c]->deadline_ns >= t->deadline_ns)
			break;
		heap_put(l, i, l->heap[c]);
		i = c;
	}
	heap_put(l, i, t);
}

static void heap_remove(struct loop *l, struct loop_timer *t)
{
	size_t i = t->slot - 1;
	struct loop_timer *last = l->heap[--l->heap_count];

	t->slot = 0;
	if (last == t)
		return;
	heap_put(l, i, last);
	heap_up(l, i);
	heap_down(l, last->slot - 1);
}

static void timer_program(struct loop *l)
{
	struct itimerspec its = {0};

	if (l->heap_count) {
		u64 d = max(l->heap[0]->deadline_ns, (u64)1);

		its.it_value.tv_sec = (time_t)min(d / 1000000000ULL, (u64)INT32_MAX);
		its.it_value.tv_nsec = (long)(d % 1000000000ULL);
	}
	timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &its, NULL);
}

int loop_timer_init(struct loop *l, struct loop_timer *t, void (*fn)(void *ctx), void *ctx, struct error *e)
{
	int rc = 0;

	*t = (struct loop_timer){.loop = l, .fn = fn, .ctx = ctx};
	pthread_mutex_lock(&l->lock);
	struct loop_timer **h = realloc(l->heap, (l->heap_size + 1) * sizeof(*h));
	if (h) {
		l->heap = h;
		l->heap_size++;
	} else {
		rc = error_set(e, ENOMEM, "timer");
	}
	pthread_mutex_unlock(&l->lock);
	return rc;
}

void loop_timer_release(struct loop_timer *t)
{
	if (t->loop)
		loop_timer_disarm(t);
	t->loop = NULL;
}

void loop_timer_arm(struct loop_timer *t, u64 deadline_ns)
{
	struct loop *l = t->loop;

	pthread_mutex_lock(&l->lock);
	if (t->slot)
		heap_remove(l, t);
	t->deadline_ns = deadline_ns;
	heap_put(l, l->heap_count++, t);
	heap_up(l, l->heap_count - 1);
	if (t->slot == 1)
		timer_program(l);
	pthread_mutex_unlock(&l->lock);
}

void loop_timer_disarm(struct loop_timer *t)
{
	struct loop *l = t->loop;

	pthread_mutex_lock(&l->lock);
	if (t->slot)
		heap_remove(l, t);
	/* timer_fd may fire early then: harmless, it is set anew when it does. */
	pthread_mutex_unlock(&l->lock);
}

static void loop_run_timers(struct loop *l)
{
	u64 expirations;

	(void)!read(l->timer_fd, &expirations, sizeof(expirations));
	pthread_mutex_lock(&l->lock);
	u64 now = clock_monotonic_ns();
	while (l->heap_count && l->heap[0]->deadline_ns <= now) {
		struct loop_timer *t = l->heap[0];
		void (*fn)(void *) = t->fn;
		void *ctx = t->ctx;

		heap_remove(l, t);
		pthread_mutex_unlock(&l->lock);
		fn(ctx);
		pthread_mutex_lock(&l->lock);
	}
	timer_program(l);
	pthread_mutex_unlock(&l->lock);
}

/* ---- calls ---- */

static void loop_wake(struct loop *l)
{
	u64 one = 1;

	(void)!write(l->wake_fd, &one, sizeof(one));
}

void loop_post(struct loop *l, struct loop_call *c)
{
	pthread_mutex_lock(&l->lock);
	bool fresh = !c->queued;
	if (fresh) {
		c->queued = true;
		c->next = l->calls;
		l->calls = c;
	}
	pthread_mutex_unlock(&l->lock);
	if (fresh)
		loop_wake(l);
}

void loop_unpost(struct loop *l, struct loop_call *c)
{
	pthread_mutex_lock(&l->lock);
	struct loop_call **at = &l->calls;

	while (*at && *at != c)
		at = &(*at)->next;
	if (*at)
		*at = c->next;
	c->queued = false;
	pthread_mutex_unlock(&l->lock);
}

static void loop_run_calls(struct loop *l)
{
	u64 count;

	(void)!read(l->wake_fd, &count, sizeof(count));
	for (;;) {
		pthread_mutex_lock(&l->lock);
		struct loop_call **last = &l->calls; /* oldest is at the end */
		while (*last && (*last)->next)
			last = &(*last)->next;
		struct loop_call *c = *last;
		if (c) {
			*last = NULL;
			c->queued = false;
		}
		pthread_mutex_unlock(&l->lock);
		if (!c)
			return;
		c->fn(c->ctx);
	}
}

/* ---- descriptors ---- */

int loop_add(struct loop *l, struct loop_fd *f, struct error *e)
{
	struct epoll_event ev = {.events = f->events, .data.ptr = f};

	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, f->fd, &ev) < 0)
		return error_set(e, errno, "epoll_ctl");
	return 0;
}

void loop_modify(struct loop *l, struct loop_fd *f, u32 events)
{
	struct epoll_event ev = {.events = events, .data.ptr = f};

	f->events = events;
	epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, f->fd, &ev);
}

void loop_remove(struct loop *l, struct loop_fd *f)
{
	epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, f->fd, NULL);
}

void loop_stop(struct loop *l)
{
	pthread_mutex_lock(&l->lock);
	l->stop = true;
	pthread_mutex_unlock(&l->lock);
	loop_wake(l);
}

static bool loop_stopped(struct loop *l)
{
	pthread_mutex_lock(&l->lock);
	bool stop = l->stop;
	pthread_mutex_unlock(&l->lock);
	return stop;
}

int loop_run(struct loop *l, struct error *e)
{
	while (!loop_stopped(l)) {
		/* One event a turn: a callback may remove (and free) what a later event would point to. */
		struct epoll_event ev;
		int n = epoll_wait(l->epoll_fd, &ev, 1, -1);

		if (n < 0 && errno != EINTR)
			return error_set(e, errno, "epoll_wait");
		if (n <= 0)
			continue;
		if (ev.data.ptr == &l->timer_fd) {
			loop_run_timers(l);
		} else if (ev.data.ptr == &l->wake_fd) {
			loop_run_calls(l);
		} else {
			struct loop_fd *f = ev.data.ptr;
			f->fn(f->ctx, ev.events);
		}
	}
	return 0;
}
