/* Programs that are run for what they do: nft. Any thread; the program is in the network namespace of the
 * thread, and ends if we are killed. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"

#include <sys/types.h>

struct command {
	const char *name;
	int fds[3];
	pid_t pid;
};

/* argv ends with NULL; argv[0] is looked for in /usr/sbin first. input (may be NULL) is its standard input.
 * Started, it must be ended, by the same thread. */
int command_start(struct command *c, const char *const argv[], const char *input, size_t length,
                  struct error *e);
/* Waits for it. What it wrote goes to output (may be NULL). -1 with e: what it wrote to standard error, its
 * first lines. */
int command_end(struct command *c, struct buffer *output, struct error *e);
/* Both. */
int command_run(const char *const argv[], const char *input, size_t length, struct buffer *output,
                struct error *e);
