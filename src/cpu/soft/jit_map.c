#include "cpu/soft/jit_map.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct jit_map {
	int fd;
};

struct jit_map *jit_map_new(void)
{
	struct jit_map *m;
	char path[64];

	if (!getenv("INSULA_PERF_MAP"))
		return NULL;
	m = malloc(sizeof(*m));
	if (!m)
		return NULL;
	snprintf(path, sizeof(path), "/tmp/perf-%d.map", getpid());
	m->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (m->fd < 0) {
		free(m);
		return NULL;
	}
	return m;
}

void jit_map_free(struct jit_map *m)
{
	if (!m)
		return;
	if (m->fd >= 0)
		close(m->fd);
	free(m);
}

/* One write a line, so lines of several vCPUs do not mix. Where one fails, the map ends. */
static void line(struct jit_map *m, const char *text, int size)
{
	if (size > 0 && m->fd >= 0 && write(m->fd, text, (size_t)size) != size) {
		close(m->fd);
		m->fd = -1;
	}
}

void jit_map_block(struct jit_map *m, u64 start, u64 end, u64 rip, unsigned cpl)
{
	char text[96];

	if (m)
		line(m, text,
		     snprintf(text, sizeof(text), "%llx %llx %s_%llx\n", (unsigned long long)start,
		              (unsigned long long)(end - start), cpl ? "user" : "guest",
		              (unsigned long long)rip));
}

void jit_map_name(struct jit_map *m, u64 start, u64 end, const char *name)
{
	char text[96];

	if (m && end > start)
		line(m, text,
		     snprintf(text, sizeof(text), "%llx %llx jit_%s\n", (unsigned long long)start,
		              (unsigned long long)(end - start), name));
}

void jit_map_flush(struct jit_map *m, u64 start, u64 size)
{
	struct timespec now;
	char text[96];

	if (!m)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	line(m, text,
	     snprintf(text, sizeof(text), "%llx 0 flush_%llx_%llu\n", (unsigned long long)start,
	              (unsigned long long)size,
	              (unsigned long long)now.tv_sec * 1000000000ULL + (unsigned long long)now.tv_nsec));
}
