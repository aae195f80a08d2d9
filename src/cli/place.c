#include "cli/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const char *place_default(char *buf, size_t size)
{
	const char *xdg = getenv("XDG_DATA_HOME"), *home = getenv("HOME");

	if (geteuid() == 0)
		snprintf(buf, size, "/var/lib/insula");
	else if (xdg && *xdg)
		snprintf(buf, size, "%s/insula", xdg);
	else
		snprintf(buf, size, "%s/.local/share/insula", home ? home : "");
	return buf;
}
