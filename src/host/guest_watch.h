/*
 * What a guest's serial output says of its state: has it come up, did it fail. A guest that reached its login
 * prompt, its multi-user target or our images' init is up; a kernel that panics or a system in emergency mode
 * has failed; a kernel that says its version starts anew. A guest can say what it likes, of itself only.
 */
#pragma once

#include "base/types.h"

enum guest_state { GUEST_STARTING, GUEST_UP, GUEST_FAILED };

enum { GUEST_WORD_MAX = 32 };

struct guest_watch {
	enum guest_state state;
	char tail[GUEST_WORD_MAX]; /* the last bytes seen, a word may go on */
	size_t length;
};

/* More output. True: the state has changed. */
bool guest_watch_feed(struct guest_watch *w, const char *bytes, size_t length);
const char *guest_state_name(enum guest_state state);
