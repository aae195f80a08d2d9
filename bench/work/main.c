/*
 * The protocol with bench/run, on standard input and output:
 *
 *   "NAME COUNT"  → "@ready", wait for a line, COUNT units, "@done CHECKSUM USER+SYS-MICROSECONDS
 * WALL-MICROSECONDS" "quit"        → ends, which is power-off for an init
 *
 * The wait before and the line after are where bench/run reads the clocks of the process that it measures.
 * The microseconds are those of this process and its dead children; in a guest they mean little.
 */
#include "work.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static const struct row *const tables[] = {rows_integer, rows_vector, rows_memory,
                                           rows_crypto,  rows_kernel, rows_tool};

void die(const char *format, ...)
{
	va_list ap;

	printf("@error ");
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	if (getpid() == 1)
		reboot(RB_POWER_OFF);
	exit(1);
}

static const struct row *row_find(const char *name)
{
	for (unsigned i = 0; i < sizeof(tables) / sizeof(*tables); i++)
		for (const struct row *r = tables[i]; r->name; r++)
			if (strcmp(r->name, name) == 0)
				return r;
	die("no row %s", name);
}

/* An init has a console in line mode, and no file systems. */
static void init(void)
{
	struct termios t;

	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/tmp", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mount("tmpfs", "/tmp", "tmpfs", 0, NULL);
	setenv("PATH", "/usr/bin:/bin", 1);
	setenv("HOME", "/tmp", 1);
	setenv("LC_ALL", "C", 1);
	if (tcgetattr(0, &t) == 0) {
		cfmakeraw(&t);
		t.c_iflag |= ICRNL;
		t.c_lflag |= ICANON;
		tcsetattr(0, TCSANOW, &t);
	}
}

static u64 microseconds(const struct timeval *t)
{
	return (u64)t->tv_sec * 1000000 + (u64)t->tv_usec;
}

static u64 cpu_time(void)
{
	struct rusage own, children;

	getrusage(RUSAGE_SELF, &own);
	getrusage(RUSAGE_CHILDREN, &children);
	return microseconds(&own.ru_utime) + microseconds(&own.ru_stime) + microseconds(&children.ru_utime) +
	       microseconds(&children.ru_stime);
}

static u64 wall_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000 + (u64)t.tv_nsec / 1000;
}

static void measure(const struct row *r, u64 count)
{
	static const struct row *ready;
	u64 sum = 0, cpu, wall;
	char line[64];

	if (ready != r) {
		if (ready && ready->release)
			ready->release();
		malloc_trim(0);
		if (r->setup)
			r->setup();
		ready = r;
	}
	printf("@ready\n");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		die("input ended");
	cpu = cpu_time();
	wall = wall_time();
	for (u64 i = 0; i < count; i++) {
		u64 one = r->unit();

		if (i > 0 && one != sum)
			die("%s: unit %llu gave %llx, others %llx", r->name, (unsigned long long)i,
			    (unsigned long long)one, (unsigned long long)sum);
		sum = one;
	}
	cpu = cpu_time() - cpu;
	wall = wall_time() - wall;
	/* What bench/run waits for comes before the check. */
	printf("@stop\n");
	fflush(stdout);
	if (r->check)
		sum = r->check();
	printf("@done %llx %llu %llu\n", (unsigned long long)sum, (unsigned long long)cpu,
	       (unsigned long long)wall);
	fflush(stdout);
}

/* What B has behind the end of A stays. */
static void copy(const char *from, const char *to)
{
	static char bytes[1 << 16];
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY);
	ssize_t size;

	if (in < 0 || out < 0)
		die("copy %s %s", from, to);
	while ((size = read(in, bytes, sizeof(bytes))) > 0)
		if (write(out, bytes, (size_t)size) != size)
			die("write %s", to);
	fsync(out);
	close(in);
	close(out);
	printf("@done\n");
	fflush(stdout);
}

int main(void)
{
	char line[128], name[64], other[64];
	unsigned long long count;

	if (getpid() == 1)
		init();
	setvbuf(stdout, NULL, _IOFBF, 4096);
	printf("@hello\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (strncmp(line, "quit", 4) == 0)
			break;
		if (sscanf(line, "copy %63s %63s", name, other) == 2) {
			copy(name, other);
			continue;
		}
		if (sscanf(line, "%63s %llu", name, &count) != 2)
			continue;
		measure(row_find(name), count);
	}
	if (getpid() == 1) {
		sync();
		reboot(RB_POWER_OFF);
	}
	return 0;
}
