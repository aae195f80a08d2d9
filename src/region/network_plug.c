#include "region/network_plug.h"
#include "base/clock.h"
#include "base/log.h"
#include "host/hosted.h"
#include "net/plan.h"
#include "region/agent.h"
#include "region/instance.h"
#include "region/instance_type.h"
#include "region/link.h"
#include "region/machine_ask.h"
#include "region/network_interface.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DETACH_MS = 10000, AGAIN_MS = 5000 };

/* A machine that is to be looked at, or is being asked. */
struct plug {
	struct machine_ask ask;
	struct network_plug *all;
	char instance[40];
	u64 not_before_ns; /* after a failure */
	bool again;        /* it was noted meanwhile */
	/* What is being asked. */
	bool attach;
	char dir[4200], net[256], interface[40], tap[PLAN_TAP];
	struct plug *next;
};

struct network_plug {
	struct cloud *cloud;
	struct plug *list;
	struct machine_asks asks;
};

struct network_plug *network_plug_new(struct cloud *c, void (*done)(void *ctx), void *ctx)
{
	struct network_plug *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->cloud = c;
	machine_asks_init(&p->asks, done, ctx);
	return p;
}

void network_plug_free(struct network_plug *p)
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

static int ask(struct machine_ask *a);

void network_plug_note(struct network_plug *p, const char *instance)
{
	struct plug *g = p->list;

	while (g && strcmp(g->instance, instance))
		g = g->next;
	if (g) {
		g->again = true;
		return;
	}
	g = calloc(1, sizeof(*g));
	if (!g)
		return;
	g->all = p;
	g->ask = (struct machine_ask){.ask = ask, .all = &p->asks};
	g->next = p->list;
	snprintf(g->instance, sizeof(g->instance), "%s", instance);
	p->list = g;
}

const char *network_plug_option(struct request *r, const struct resource *interface, const char *type)
{
	const struct instance_type *t = type ? instance_type_find(type) : NULL;
	u64 rate = t ? instance_type_bandwidth(t) : 0;
	char tap[PLAN_TAP];
	const char *text;

	plan_tap_name(tap, interface->id);
	text = arena_printf(r->arena, "tap=%s,mac=%s", tap, value_string(interface->doc, "MacAddress"));
	return rate ? arena_printf(r->arena, "%s,rx-rate=%llu,tx-rate=%llu", text, (unsigned long long)rate,
	                           (unsigned long long)rate)
	            : text;
}

/* ---- what a machine has ---- */

void network_plug_started(struct request *r, const char *instance, struct resource **interfaces)
{
	const char *text = "";

	for (; *interfaces; interfaces++)
		text = arena_printf(r->arena, "%s%s ", text, (*interfaces)->id);
	property_set(r, instance, "taps", text);
}

static void change_taps(struct request *r, const char *instance, const char *interface, bool has)
{
	const char *text = property_get(r, instance, "taps"), *at;

	text = text ? text : "";
	at = strstr(text, interface);
	if (has && !at)
		property_set(r, instance, "taps", arena_printf(r->arena, "%s%s ", text, interface));
	else if (!has && at)
		property_set(
		        r, instance, "taps",
		        arena_printf(r->arena, "%.*s%s", (int)(at - text), text, at + strcspn(at, " ") + 1));
}

/* ---- threads ---- */

static int detach(const struct plug *g, struct error *e)
{
	const struct timespec pause = {.tv_nsec = 50 * 1000 * 1000};
	u64 until = clock_monotonic_ns() + DETACH_MS * 1000000ULL;
	int status;

	/* The guest is asked first. Whoever detaches has been told that it is gone. */
	while ((status = hosted_detach_tap(g->dir, g->tap, false, e)) == 1 && clock_monotonic_ns() < until)
		nanosleep(&pause, NULL);
	return status == 0 ? 0 : hosted_detach_tap(g->dir, g->tap, true, e);
}

static int ask(struct machine_ask *a)
{
	struct plug *g = container_of(a, struct plug, ask);
	struct error e;
	int status = g->attach ? hosted_attach_tap(g->dir, g->net, g->tap, &e) : detach(g, &e);

	if (status < 0)
		log_warn("%s: %s %s: %s", g->instance, g->attach ? "attach" : "detach", g->interface, e.text);
	return status;
}

static void begin(struct plug *g, struct request *r, const struct resource *interface, const char *id)
{
	const struct resource *instance = resource_find(r, &instance_kind, g->instance);

	g->attach = interface != NULL;
	agent_folder(g->all->cloud, g->dir, sizeof(g->dir), g->instance);
	snprintf(g->interface, sizeof(g->interface), "%s", id);
	plan_tap_name(g->tap, id);
	if (interface)
		snprintf(g->net, sizeof(g->net), "%s",
		         network_plug_option(r, interface,
		                             instance ? value_string(instance->doc, "InstanceType") : NULL));
	machine_ask_begin(&g->ask);
}

/* ---- rounds ---- */

/* What is to be done first; false: nothing. */
static bool next(struct plug *g, struct request *r)
{
	struct resource **has = network_interface_list(r, g->instance);
	const char *taps = property_get(r, g->instance, "taps");

	if (!taps) /* it was started without a network */
		return false;
	for (const char *at = taps; *at; at += strcspn(at, " ") + 1) {
		size_t length = strcspn(at, " ");
		bool wanted = false;

		for (struct resource **i = has; *i; i++)
			wanted |= strlen((*i)->id) == length && !strncmp((*i)->id, at, length);
		if (!wanted) {
			begin(g, r, NULL, arena_text(r->arena, at, length));
			return true;
		}
		if (!at[length])
			break;
	}
	for (struct resource **i = has; *i; i++)
		if (!strstr(taps, (*i)->id)) {
			begin(g, r, *i, (*i)->id);
			return true;
		}
	return false;
}

/* Is there anything more to do for it? */
static bool step(struct plug *g, struct request *r)
{
	const struct machine *m = machine_find(r, g->instance);

	if (machine_ask_is_busy(&g->ask))
		return true;
	if (!m || strcmp(m->status, "running"))
		return false; /* its next start has what it is to have */
	r->account = m->account;
	r->region = m->region;
	if (g->ask.begun) {
		g->ask.begun = false;
		if (g->ask.status == 0)
			change_taps(r, g->instance, g->interface, g->attach);
		else
			g->not_before_ns = clock_monotonic_ns() + AGAIN_MS * 1000000ULL;
	}
	if (clock_monotonic_ns() < g->not_before_ns && !g->again)
		return true;
	g->again = false;
	return next(g, r);
}

void network_plug_run(struct network_plug *p, struct request *r)
{
	for (struct plug **at = &p->list, *g; (g = *at);) {
		if (step(g, r)) {
			at = &g->next;
			continue;
		}
		*at = g->next;
		free(g);
	}
}
