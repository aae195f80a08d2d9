#include "api/traffic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct traffic *traffic_new(void)
{
	return calloc(1, sizeof(struct traffic));
}

void traffic_free(struct traffic *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < t->action_count; i++)
		free(t->actions[i]);
	for (unsigned i = 0; i < t->code_count; i++)
		free(t->codes[i]);
	free(t);
}

/* FNV-1a, over the zero byte as well. */
static u32 hash(u32 h, const char *text)
{
	do
		h = (h ^ (u8)*text) * 16777619u;
	while (*text++);
	return h;
}

static struct traffic_action *action_of(struct traffic *t, const char *service, const char *action)
{
	u32 slot = hash(hash(2166136261u, service), action) % TRAFFIC_SLOTS;
	struct traffic_action *a;

	for (; t->action_slots[slot]; slot = (slot + 1) % TRAFFIC_SLOTS) {
		a = t->actions[t->action_slots[slot] - 1];
		if (!strcmp(a->action, action) && !strcmp(a->service, service))
			return a;
	}
	/* The last place is for all that came too late. */
	if (t->action_count >= TRAFFIC_ACTIONS - 1 && strcmp(action, "other"))
		return action_of(t, "other", "other");
	if (t->action_count == TRAFFIC_ACTIONS || !(a = calloc(1, sizeof(*a))))
		return NULL;
	snprintf(a->service, sizeof(a->service), "%s", service);
	snprintf(a->action, sizeof(a->action), "%s", action);
	t->actions[t->action_count++] = a;
	t->action_slots[slot] = (u16)t->action_count;
	return a;
}

static struct traffic_code *code_of(struct traffic *t, const struct traffic_action *of, const char *code)
{
	u32 slot = hash(hash(hash(2166136261u, of->service), of->action), code) % TRAFFIC_SLOTS;
	struct traffic_code *c;

	for (; t->code_slots[slot]; slot = (slot + 1) % TRAFFIC_SLOTS) {
		c = t->codes[t->code_slots[slot] - 1];
		if (c->of == of && !strcmp(c->code, code))
			return c;
	}
	/* Room is left for each action's "other". */
	if (t->code_count >= TRAFFIC_CODES - TRAFFIC_ACTIONS && strcmp(code, "other"))
		return code_of(t, of, "other");
	if (t->code_count == TRAFFIC_CODES || !(c = calloc(1, sizeof(*c))))
		return NULL;
	c->of = of;
	snprintf(c->code, sizeof(c->code), "%s", code);
	t->codes[t->code_count++] = c;
	t->code_slots[slot] = (u16)t->code_count;
	return c;
}

void traffic_add(struct traffic *t, const char *service, const char *action, const char *code, u64 ns)
{
	char name[80], what[64]; /* as long as is kept, so that they are found again */
	struct traffic_action *a;
	struct traffic_code *c;

	snprintf(name, sizeof(name), "%s", action);
	snprintf(what, sizeof(what), "%s", code);
	a = action_of(t, service, name);
	if (!a)
		return;
	histogram_add(&a->latency, ns);
	c = code_of(t, a, what);
	if (c)
		c->count++;
}
