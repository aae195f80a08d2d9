#include "model/model.h"

#include <string.h>

const struct model_action *model_action_find(const struct model *m, const char *name)
{
	unsigned from = 0, to = m->action_count;

	while (from < to) {
		unsigned middle = (from + to) / 2;
		int order = strcmp(name, model_text(m, m->actions[middle].name));

		if (!order)
			return &m->actions[middle];
		if (order < 0)
			to = middle;
		else
			from = middle + 1;
	}
	return NULL;
}

int model_member_find(const struct model *m, const struct model_shape *s, const char *name)
{
	unsigned from = 0, to = s->type == SHAPE_STRUCTURE ? s->count : 0;

	while (from < to) {
		unsigned middle = (from + to) / 2;
		int order = strcmp(name, model_text(m, model_member(m, s, middle)->name));

		if (!order)
			return (int)middle;
		if (order < 0)
			to = middle;
		else
			from = middle + 1;
	}
	return -1;
}

bool model_enum_has(const struct model *m, const struct model_shape *s, const char *value)
{
	if (s->type != SHAPE_STRING || !s->count)
		return true;
	for (unsigned i = 0; i < s->count; i++)
		if (!strcmp(value, model_text(m, m->enums[s->first + i])))
			return true;
	return false;
}

bool model_filter_known(const struct model *m, const struct model_action *a, const char *name)
{
	for (unsigned i = 0; i < a->filter_count; i++)
		if (!strcmp(name, model_text(m, m->filters[a->filter_first + i])))
			return true;
	return false;
}
