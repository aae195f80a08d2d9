#include "host/process.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

u64 process_start_time(int pid)
{
	char path[64], text[2048], *p;
	u64 value = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	/* The second field is the program's name, in parentheses: whatever is in it, the last one ends it. */
	if (fgets(text, sizeof(text), file) && (p = strrchr(text, ')')) && p[1] && p[2] != 'Z')
		sscanf(p + 1,
		       "%*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64,
		       &value);
	fclose(file);
	return value;
}
