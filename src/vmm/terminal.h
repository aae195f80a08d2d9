/*
 * The terminal that a serial console on stdio lives in: raw while the machine runs, as it was before at the
 * end, whatever the end is: return, exit(), or a signal that kills. And the escape key, on a terminal or not:
 *
 *   Ctrl-A x       leave
 *   Ctrl-A Ctrl-A  one Ctrl-A for the guest
 *   Ctrl-A other   nothing
 *
 * In raw mode Ctrl-C and the like are bytes for the guest. Without a terminal on standard input, or in a
 * background job, modes are left alone. One terminal per process; loop's thread.
 */
#pragma once

#include "base/types.h"

struct terminal {
	void (*leave)(void *ctx);
	void *ctx;
	bool escape; /* a Ctrl-A was the last byte */
};

void terminal_init(struct terminal *t, void (*leave)(void *ctx), void *ctx);

/* Raw mode, and its undoing at exit and on fatal signals whose action is still the default one. */
void terminal_raw(void);
void terminal_restore(void);
/* After SIGCONT: a shell may have changed the modes meanwhile. */
void terminal_resumed(void);

/* For chardev_set_filter(); ctx is the struct terminal. Calls leave() in passing. */
size_t terminal_filter(void *ctx, u8 *buf, size_t len);
