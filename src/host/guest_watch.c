#include "host/guest_watch.h"

#include <string.h>

static const struct {
	const char *text;
	enum guest_state state;
} words[] = {{"Linux version ", GUEST_STARTING},
             {"INSULA-INIT-REACHED", GUEST_UP},
             {" login: ", GUEST_UP},
             {"multi-user.target", GUEST_UP},
             {"Kernel panic - not syncing", GUEST_FAILED},
             {"You are in emergency mode", GUEST_FAILED}};

const char *guest_state_name(enum guest_state state)
{
	static const char *const names[] = {"starting", "up", "failed"};

	return names[state];
}

/* The word that ends last within text, but not in its first `old` bytes, decides. */
static void look(struct guest_watch *w, const char *text, size_t length, size_t old)
{
	const char *last = text + old;

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
		size_t size = strlen(words[i].text);
		const char *at = text;

		while ((at = memmem(at, length - (size_t)(at - text), words[i].text, size))) {
			if (at + size > last) {
				last = at + size;
				w->state = words[i].state;
			}
			at++;
		}
	}
}

bool guest_watch_feed(struct guest_watch *w, const char *bytes, size_t length)
{
	enum guest_state before = w->state;
	char joint[2 * GUEST_WORD_MAX];
	size_t part = min(length, (size_t)GUEST_WORD_MAX);

	/* Across the seam first, then what is new. */
	memcpy(joint, w->tail, w->length);
	memcpy(joint + w->length, bytes, part);
	look(w, joint, w->length + part, w->length);
	if (length > part)
		look(w, bytes, length, part);
	if (length >= GUEST_WORD_MAX) {
		memcpy(w->tail, bytes + length - GUEST_WORD_MAX, GUEST_WORD_MAX);
		w->length = GUEST_WORD_MAX;
	} else {
		size_t keep = min(w->length, GUEST_WORD_MAX - length);

		memmove(w->tail, w->tail + w->length - keep, keep);
		memcpy(w->tail + keep, bytes, length);
		w->length = keep + length;
	}
	return w->state != before;
}
