/*
 * The event loop: epoll, timers and calls from other threads. One loop per process, run by the main thread;
 * callbacks run on that thread, one at a time, with no lock of the loop held.
 *
 * Which functions are safe from any thread is said at each. A loop_fd, a loop_timer and a loop_call are owned
 * by the caller and must outlive their registration.
 */
#pragma once

#include "base/error.h"
#include "base/types.h"

#include <pthread.h>
#include <sys/epoll.h>

struct loop_timer;

struct loop {
	int epoll_fd;
	int timer_fd;
	int wake_fd;
	bool stop;
	pthread_mutex_t lock; /* timers heap, calls list, stop */
	struct loop_timer **heap;
	size_t heap_count, heap_size;
	struct loop_call *calls;
};

int loop_init(struct loop *l, struct error *e);
void loop_release(struct loop *l);

/* Runs until loop_stop(). Returns 0, or -1 with e on an epoll failure. */
int loop_run(struct loop *l, struct error *e);
/* Any thread. */
void loop_stop(struct loop *l);

struct loop_fd {
	int fd;
	u32 events; /* EPOLLIN, EPOLLOUT, … */
	void (*fn)(void *ctx, u32 events);
	void *ctx;
};
/* Any thread; but a removal on another thread than the loop's does not wait for a callback that runs. */
int loop_add(struct loop *l, struct loop_fd *f, struct error *e);
void loop_modify(struct loop *l, struct loop_fd *f, u32 events);
void loop_remove(struct loop *l, struct loop_fd *f);

struct loop_timer {
	struct loop *loop;
	void (*fn)(void *ctx);
	void *ctx;
	u64 deadline_ns; /* CLOCK_MONOTONIC */
	size_t slot;     /* position in the heap + 1, 0 if not armed */
};
/* Loop memory for one more timer is reserved here, so that arming cannot fail. */
int loop_timer_init(struct loop *l, struct loop_timer *t, void (*fn)(void *ctx), void *ctx, struct error *e);
void loop_timer_release(struct loop_timer *t);
/* Any thread. Arming an armed timer moves it. One shot: it is disarmed when fn is called. */
void loop_timer_arm(struct loop_timer *t, u64 deadline_ns);
/* Any thread. Does not wait for a callback that is already running: callbacks must check their own state. */
void loop_timer_disarm(struct loop_timer *t);

struct loop_call {
	void (*fn)(void *ctx);
	void *ctx;
	struct loop_call *next;
	bool queued;
};
/* The loop's thread, or none that runs it: takes a call back that has not run. */
void loop_unpost(struct loop *l, struct loop_call *c);
/* Any thread: fn(ctx) runs soon on the loop's thread. Posting a queued call again is a no-op. */
void loop_post(struct loop *l, struct loop_call *c);
