#include "region/network_worker.h"
#include "base/log.h"
#include "net/datapath.h"
#include "net/service.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum wish { NOTHING, WATCH, APPLY, REMOVE };

struct network_job {
	struct network_worker *worker;
	char vpc[64];
	/* Under the worker's lock: */
	enum wish wish;
	char *config;
	s64 generation;
	bool busy, dropped, peers;
	struct network_result result;
	struct network_job *next;
};

struct network_worker {
	char data[PATH_MAX];
	void (*done)(void *ctx);
	void *ctx;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct network_job *jobs;
	bool end, ended;
};

static const char *folder(const struct network_job *j, char path[PATH_MAX + 80])
{
	snprintf(path, PATH_MAX + 80, "%s/vpcs/%s", j->worker->data, j->vpc);
	return path;
}

/* ---- what it does; no lock is held ---- */

static int make_folder(const struct network_job *j, struct error *e)
{
	char path[PATH_MAX + 80];

	snprintf(path, sizeof(path), "%s/vpcs", j->worker->data);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return error_set(e, errno, "create %s", path);
	folder(j, path);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return error_set(e, errno, "create %s", path);
	return 0;
}

static int apply_plan(const struct network_job *j, const char *config, bool *made, bool *peers,
                      struct error *e)
{
	json_t *json = json_loads(config, 0, NULL);
	struct datapath_result result = {0};
	struct plan p = {0};
	struct arena a;
	int status;

	arena_init(&a);
	status = plan_read(&p, json_object_get(json, "plan"), &a, e);
	if (status == 0)
		status = datapath_apply(&p, j->worker->data, &result, e);
	arena_release(&a);
	json_decref(json);
	*made = result.made;
	*peers = result.peers;
	return status;
}

static int apply(const struct network_job *j, const char *config, bool *peers, struct error *e)
{
	char dir[PATH_MAX + 80];
	bool made = false;

	folder(j, dir);
	if (make_folder(j, e) < 0 || apply_plan(j, config, &made, peers, e) < 0)
		return -1;
	if (made && vpc_service_end(dir, e) < 0) /* it is in a namespace that has gone */
		return -1;
	if (vpc_service_config(dir, config, strlen(config), e) < 0) {
		/* One that does not answer makes way for another. */
		if (!e->code || vpc_service_end(dir, e) < 0 ||
		    vpc_service_config(dir, config, strlen(config), e) < 0)
			return -1;
	}
	return vpc_service_start(dir, j->vpc, e);
}

static int take_away(const struct network_job *j, struct error *e)
{
	char dir[PATH_MAX + 80];
	struct stat st;

	folder(j, dir);
	if (stat(dir, &st) < 0)
		return datapath_remove(j->vpc, e);
	if (vpc_service_end(dir, e) < 0 || datapath_remove(j->vpc, e) < 0)
		return -1;
	return vpc_service_remove(dir, e);
}

static int watch(const struct network_job *j, struct error *e)
{
	char dir[PATH_MAX + 80];

	folder(j, dir);
	if (vpc_service_running(dir))
		return 0;
	log_warn("%s: its services had ended; they are started again", j->vpc);
	return vpc_service_start(dir, j->vpc, e);
}

/* ---- the thread ---- */

static struct network_job *next_job(const struct network_worker *w)
{
	for (unsigned wish = REMOVE; wish > NOTHING; wish--) /* starts wait for the first two */
		for (struct network_job *j = w->jobs; j; j = j->next)
			if (j->wish == wish)
				return j;
	return NULL;
}

static void forget(struct network_job *j)
{
	struct network_job **p = &j->worker->jobs;

	while (*p != j)
		p = &(*p)->next;
	*p = j->next;
	free(j->config);
	free(j);
}

static void work(struct network_worker *w, struct network_job *j)
{
	const enum wish wish = j->wish;
	const s64 generation = j->generation;
	char *config = j->config;
	struct error e = {0};
	bool peers = false;
	int status = 0;

	j->wish = NOTHING;
	j->config = NULL;
	j->busy = true;
	pthread_mutex_unlock(&w->lock);
	if (wish == APPLY)
		status = apply(j, config, &peers, &e);
	else if (wish == REMOVE)
		status = take_away(j, &e);
	else
		status = watch(j, &e);
	free(config);
	if (status < 0)
		log_error("%s: %s", j->vpc, e.text);
	pthread_mutex_lock(&w->lock);
	j->busy = false;
	if (j->dropped) {
		forget(j);
		return;
	}
	j->result.failed = status < 0;
	j->peers |= peers;
	if (status < 0) {
		j->result.failed_generation = generation;
		snprintf(j->result.why, sizeof(j->result.why), "%s", e.text);
	} else if (wish == APPLY) {
		j->result.applied = generation;
	} else if (wish == REMOVE) {
		j->result.applied = 0;
		j->result.gone = j->wish == NOTHING;
	}
}

static void *run(void *arg)
{
	struct network_worker *w = arg;
	struct network_job *j;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		j = next_job(w);
		if (w->end && (!j || j->wish != REMOVE)) /* what nobody wants does not stay */
			break;
		if (!j) {
			pthread_cond_wait(&w->wake, &w->lock);
			continue;
		}
		work(w, j);
		pthread_mutex_unlock(&w->lock);
		w->done(w->ctx);
		pthread_mutex_lock(&w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* ---- the other side ---- */

struct network_worker *network_worker_new(const char *data, void (*done)(void *ctx), void *ctx,
                                          struct error *e)
{
	struct network_worker *w = calloc(1, sizeof(*w));

	if (!w) {
		error_set(e, ENOMEM, "a thread for networks");
		return NULL;
	}
	snprintf(w->data, sizeof(w->data), "%s", data);
	w->done = done;
	w->ctx = ctx;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wake, NULL);
	if ((errno = pthread_create(&w->thread, NULL, run, w)) != 0) {
		error_set(e, errno, "a thread for networks");
		free(w);
		return NULL;
	}
	return w;
}

void network_worker_end(struct network_worker *w)
{
	if (!w || w->ended)
		return;
	pthread_mutex_lock(&w->lock);
	w->end = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	w->ended = true;
}

void network_worker_free(struct network_worker *w)
{
	if (!w)
		return;
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->wake);
	free(w);
}

struct network_job *network_worker_add(struct network_worker *w, const char *vpc)
{
	struct network_job *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->worker = w;
	snprintf(j->vpc, sizeof(j->vpc), "%s", vpc);
	pthread_mutex_lock(&w->lock);
	j->next = w->jobs;
	w->jobs = j;
	pthread_mutex_unlock(&w->lock);
	return j;
}

void network_worker_drop(struct network_job *j)
{
	struct network_worker *w = j->worker;

	pthread_mutex_lock(&w->lock);
	j->wish = NOTHING;
	j->dropped = true;
	if (!j->busy)
		forget(j);
	pthread_mutex_unlock(&w->lock);
}

static void ask(struct network_job *j, enum wish wish, char *config, s64 generation)
{
	struct network_worker *w = j->worker;

	pthread_mutex_lock(&w->lock);
	if (wish != WATCH || j->wish == NOTHING) {
		free(j->config);
		j->config = config;
		j->wish = wish;
		if (wish != WATCH) {
			j->generation = generation;
			j->result.gone = false;
			j->result.failed = false;
		}
		pthread_cond_signal(&w->wake);
	}
	pthread_mutex_unlock(&w->lock);
}

void network_worker_apply(struct network_job *j, char *config, s64 generation)
{
	ask(j, APPLY, config, generation);
}

void network_worker_remove(struct network_job *j)
{
	ask(j, REMOVE, NULL, 0);
}

void network_worker_watch(struct network_job *j)
{
	ask(j, WATCH, NULL, 0);
}

void network_worker_look(struct network_job *j, struct network_result *result)
{
	pthread_mutex_lock(&j->worker->lock);
	*result = j->result;
	result->busy = j->busy || j->wish != NOTHING;
	pthread_mutex_unlock(&j->worker->lock);
}

bool network_worker_peers(struct network_job *j)
{
	bool peers;

	pthread_mutex_lock(&j->worker->lock);
	peers = j->peers;
	j->peers = false;
	pthread_mutex_unlock(&j->worker->lock);
	return peers;
}
