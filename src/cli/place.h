/* Where a verb works: the data folder, which every verb takes with --data. */
#pragma once

#include "base/types.h"

/* /var/lib/insula for root, $XDG_DATA_HOME/insula (or ~/.local/share/insula) for others. */
const char *place_default(char *buf, size_t size);
