/*
 * A ring of tasks in memory that both processes share, with two counting semaphores.
 */
#include "oracle.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 128, BATCH = 64 };

struct stream {
	sem_t room, sent;
	pid_t child; /* the parent's, as out is; in is the child's */
	unsigned in, out;
	struct task ring[ROOM];
};

static void await(sem_t *s)
{
	while (sem_wait(s) < 0 && errno == EINTR)
		;
}

struct stream *stream_new(void (*make)(struct stream *t, void *ctx), void *ctx)
{
	struct stream *t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t child;

	if (t == MAP_FAILED || sem_init(&t->room, 1, ROOM) < 0 || sem_init(&t->sent, 1, 0) < 0) {
		perror("oracle: a ring");
		exit(2);
	}
	child = fork();
	if (child < 0) {
		perror("oracle: fork");
		exit(2);
	}
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		make(t, ctx);
		_exit(0);
	}
	t->child = child;
	return t;
}

void stream_free(struct stream *t)
{
	int status;

	kill(t->child, SIGKILL);
	waitpid(t->child, &status, 0);
	munmap(t, sizeof(*t));
}

struct task *stream_room(struct stream *t)
{
	await(&t->room);
	return &t->ring[t->in % ROOM];
}

void stream_send(struct stream *t)
{
	t->in++;
	sem_post(&t->sent);
}

/* The child ended too early: it has said why. */
static void check_child(struct stream *t)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 1;
	while (sem_timedwait(&t->sent, &until) < 0) {
		int status, value;

		if (errno == ETIMEDOUT) {
			if (waitpid(t->child, &status, WNOHANG) == t->child &&
			    (sem_getvalue(&t->sent, &value) < 0 || value == 0)) {
				fprintf(stderr, "oracle: the native side ended, status %x\n",
				        (unsigned)status);
				exit(2);
			}
			until.tv_sec += 1;
		}
	}
}

unsigned stream_receive(struct stream *t, struct task **tasks)
{
	unsigned n = 1, at = t->out % ROOM;

	check_child(t);
	while (n < BATCH && at + n < ROOM && sem_trywait(&t->sent) == 0)
		n++;
	*tasks = &t->ring[at];
	return n;
}

void stream_done(struct stream *t, unsigned count)
{
	t->out += count;
	while (count--)
		sem_post(&t->room);
}
