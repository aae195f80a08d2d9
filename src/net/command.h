/* Programs that are run for what they do: nft. Any thread; the program is in the network namespace of the
 * thread, and ends if we are killed. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"

/* argv ends with NULL; argv[0] is looked for in /usr/sbin first. input (may be NULL) is its standard input,
 * what it writes goes to output (may be NULL). -1 with e: what it wrote to standard error, its first lines.
 */
int command_run(const char *const argv[], const char *input, size_t length, struct buffer *output,
                struct error *e);
