#include "region/volume_plug.h"
#include "base/clock.h"
#include "base/log.h"
#include "host/hosted.h"
#include "region/agent.h"
#include "region/block_file.h"
#include "region/instance.h"
#include "region/machine_ask.h"
#include "region/volume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A guest that has not given a volume back after BUSY_MS is busy with it; what a machine has not taken after
 * TAKE_MS it does not get. */
enum { ASK_MS = 250, AGAIN_MS = 2000, BUSY_MS = 10000, TAKE_MS = 60000 };

/* An attachment that is on its way, in this process. */
struct plug {
	struct machine_ask ask;
	struct volume_plug *all;
	char volume[32], instance[40];
	enum volume_plug_what what; /* that is being asked, or was */
	u64 since_ns, not_before_ns;
	bool seen; /* in this round */
	char dir[4200], path[64], serial[40];
	struct error error;
	struct plug *next;
};

struct volume_plug {
	struct cloud *cloud;
	struct plug *list;
	struct machine_asks asks;
};

struct volume_plug *volume_plug_new(struct cloud *c, void (*done)(void *ctx), void *ctx)
{
	struct volume_plug *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->cloud = c;
	machine_asks_init(&p->asks, done, ctx);
	return p;
}

void volume_plug_free(struct volume_plug *p)
{
	if (!p)
		return;
	machine_asks_end(&p->asks);
	while (p->list) {
		struct plug *g = p->list;

		p->list = g->next;
		free(g);
	}
	free(p);
}

/* ---- rows ---- */

static const char *const words[] = {
        [VOLUME_PLUG_IN] = "in", [VOLUME_PLUG_OUT] = "out", [VOLUME_PLUG_TEAR_OUT] = "tear-out"};

static enum volume_plug_what what_of(const char *word)
{
	unsigned i = ARRAY_SIZE(words) - 1;

	while (i && strcmp(words[i], word))
		i--;
	return i;
}

void volume_plug_want(struct request *r, const char *volume, const char *instance, enum volume_plug_what what)
{
	struct query *q = database_query(
	        r->cloud->db, "INSERT INTO volume_plug (volume, instance, account, region, what) VALUES ($1, "
	                      "$2, $3, $4, $5) ON CONFLICT (volume, instance) DO UPDATE SET what = $5");

	query_text(query_text(query_text(query_text(q, volume), instance), r->account), r->region);
	query_run(query_text(q, words[what]));
	r->cloud->wake = true;
}

void volume_plug_forget(struct request *r, const char *volume, const char *instance)
{
	struct query *q =
	        database_query(r->cloud->db, "DELETE FROM volume_plug WHERE volume = $1 AND instance = $2");

	query_run(query_text(query_text(q, volume), instance));
}

bool volume_plug_wanted(struct request *r, const char *volume, const char *instance,
                        enum volume_plug_what *what)
{
	struct query *q = database_query(r->cloud->db,
	                                 "SELECT what FROM volume_plug WHERE volume = $1 AND instance = $2");
	bool wanted = query_row(query_text(query_text(q, volume), instance));

	if (wanted)
		*what = what_of(query_column_text(q, 0));
	query_end(q);
	return wanted;
}

struct row {
	const char *volume, *instance, *account, *region;
	enum volume_plug_what what;
};

static struct row *rows(struct request *r, size_t *count)
{
	struct query *q = database_query(r->cloud->db, "SELECT volume, instance, account, region, what FROM "
	                                               "volume_plug ORDER BY volume, instance");
	struct row *list = NULL;
	size_t room = 0;

	for (*count = 0; query_row(q); ++*count) {
		if (*count == room) {
			struct row *more =
			        arena_alloc(r->arena, (room = room ? 2 * room : 16) * sizeof(*more));

			if (*count)
				memcpy(more, list, *count * sizeof(*more));
			list = more;
		}
		list[*count] = (struct row){.volume = arena_strdup(r->arena, query_column_text(q, 0)),
		                            .instance = arena_strdup(r->arena, query_column_text(q, 1)),
		                            .account = arena_strdup(r->arena, query_column_text(q, 2)),
		                            .region = arena_strdup(r->arena, query_column_text(q, 3)),
		                            .what = what_of(query_column_text(q, 4))};
	}
	return list;
}

/* ---- what records say ---- */

static void set_state(struct request *r, const struct row *row, const char *state)
{
	struct resource *volume = resource_find(r, &volume_kind, row->volume),
	                *instance = resource_find(r, &instance_kind, row->instance);

	if (!volume || !instance)
		return;
	volume_set_state(volume, instance, state);
	resource_save(r, volume);
	resource_save(r, instance);
}

/* It is as it was wanted. */
static void settle(struct request *r, const struct row *row)
{
	struct resource *volume, *instance;

	volume_plug_forget(r, row->volume, row->instance);
	if (row->what == VOLUME_PLUG_IN) {
		set_state(r, row, "attached");
		return;
	}
	volume = resource_find(r, &volume_kind, row->volume);
	instance = resource_find(r, &instance_kind, row->instance);
	if (!volume || !instance)
		return;
	volume_detach(r, volume, instance);
	resource_save(r, instance);
}

/* The machine does not take it: whatever it has of it is torn out. */
static void give_up(struct request *r, const struct row *row, const char *why)
{
	log_error("%s: %s is not attached: %s", row->instance, row->volume, why);
	volume_plug_want(r, row->volume, row->instance, VOLUME_PLUG_TEAR_OUT);
	set_state(r, row, "detaching");
}

/* ---- threads ---- */

static int ask(struct machine_ask *a)
{
	struct plug *g = container_of(a, struct plug, ask);
	const struct hosted_disk disk = {.path = g->path, .id = g->serial};

	if (g->what == VOLUME_PLUG_IN)
		return hosted_attach_disk(g->dir, &disk, &g->error);
	return hosted_detach_disk(g->dir, g->serial, g->what == VOLUME_PLUG_TEAR_OUT, &g->error);
}

static void begin(struct plug *g, enum volume_plug_what what)
{
	if (!g->since_ns || g->what != what)
		g->since_ns = clock_monotonic_ns();
	g->what = what;
	/* As the machine has those that it was started with (agent.c). */
	agent_folder(g->all->cloud, g->dir, sizeof(g->dir), g->instance);
	snprintf(g->path, sizeof(g->path), VOLUME_PATH, g->volume);
	snprintf(g->serial, sizeof(g->serial), VOLUME_SERIAL, g->volume + strlen("vol-"));
	machine_ask_begin(&g->ask);
}

/* ---- rounds ---- */

static struct plug *plug_of(struct volume_plug *p, const struct row *row)
{
	struct plug *g = p->list;

	while (g && (strcmp(g->volume, row->volume) || strcmp(g->instance, row->instance)))
		g = g->next;
	if (g || !(g = calloc(1, sizeof(*g))))
		return g;
	g->all = p;
	g->ask = (struct machine_ask){.ask = ask, .all = &p->asks};
	snprintf(g->volume, sizeof(g->volume), "%s", row->volume);
	snprintf(g->instance, sizeof(g->instance), "%s", row->instance);
	g->next = p->list;
	p->list = g;
	return g;
}

/* The machine has answered what is wanted still. True: that is all. */
static bool answered(struct plug *g, struct request *r, const struct row *row)
{
	u64 now = clock_monotonic_ns();
	s64 taken_ms = (s64)((now - g->since_ns) / 1000000);

	if (g->ask.status == 0) {
		settle(r, row);
		return true;
	}
	g->not_before_ns = now + (g->ask.status < 0 ? AGAIN_MS : ASK_MS) * 1000000ULL;
	if (row->what == VOLUME_PLUG_IN) {
		if (taken_ms > TAKE_MS)
			give_up(r, row, g->error.text);
		return false;
	}
	/* What it says before it has taken long is of no interest: the machine may be about to end. */
	if (taken_ms > BUSY_MS) {
		struct resource *volume = resource_find(r, &volume_kind, row->volume);
		const struct value *a = volume ? volume_attachment(volume, row->instance) : NULL;

		g->not_before_ns = now + AGAIN_MS * 1000000ULL;
		if (a && strcmp(value_string(a, "State"), "busy")) {
			log_warn("%s: it does not give %s back", row->instance, row->volume);
			set_state(r, row, "busy");
		}
	}
	return false;
}

static void step(struct volume_plug *p, struct request *r, const struct row *row)
{
	const struct machine *m = machine_find(r, row->instance);
	struct plug *g = plug_of(p, row);

	if (!g)
		return;
	g->seen = true;
	/* Whatever the records have become, nothing is settled while a machine may be about to do something. */
	if (machine_ask_is_busy(&g->ask))
		return;
	r->account = row->account;
	r->region = row->region;
	if (g->ask.begun) {
		g->ask.begun = false;
		if (g->what == row->what && answered(g, r, row))
			return;
		if (g->what != row->what)
			g->not_before_ns = 0;
	}
	if (!m || !strcmp(m->status, "stopped") || !strcmp(m->status, "terminated")) {
		settle(r, row);
		return;
	}
	if (strcmp(m->status, "running") || (g->what == row->what && clock_monotonic_ns() < g->not_before_ns))
		return;
	if (row->what == VOLUME_PLUG_IN) {
		enum block_file_state file = block_file_state(r, row->volume);

		if (file == BLOCK_FILE_NONE || file == BLOCK_FILE_FAILED)
			give_up(r, row, "it has no file");
		if (file != BLOCK_FILE_READY)
			return;
	}
	begin(g, row->what);
}

void volume_plug_run(struct volume_plug *p, struct request *r)
{
	struct row *list;
	size_t count;

	list = rows(r, &count);
	for (size_t i = 0; i < count; i++)
		step(p, r, &list[i]);
	for (struct plug **at = &p->list, *g; (g = *at);) {
		bool keep = g->seen || machine_ask_is_busy(&g->ask);

		g->seen = false;
		if (keep) {
			at = &g->next;
			continue;
		}
		*at = g->next;
		free(g);
	}
}
