#include "base/process.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The fields of /proc/PID/stat from the third on (proc(5)). The second is the program's name, in parentheses:
 * whatever is in it, the last one ends it. */
static const char *read_stat(int pid, char *text, size_t size)
{
	char path[64], *end = NULL;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return NULL;
	if (fgets(text, (int)size, file))
		end = strrchr(text, ')');
	fclose(file);
	return end && end[1] ? end + 2 : NULL;
}

u64 process_start_time(int pid)
{
	char text[2048];
	const char *fields = read_stat(pid, text, sizeof(text));
	u64 value = 0;

	if (fields && *fields != 'Z')
		sscanf(fields,
		       "%*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64,
		       &value);
	return value;
}

u64 process_cpu_us(int pid)
{
	char text[2048];
	const char *fields = read_stat(pid, text, sizeof(text));
	u64 user = 0, system = 0;

	if (fields)
		sscanf(fields, "%*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64 " %" SCNu64, &user,
		       &system);
	return (user + system) * 1000000 / (u64)sysconf(_SC_CLK_TCK);
}
