/* What a program asks its kernel for. */
#include "work.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static u64 getppid_unit(void)
{
	u64 same = 1;
	long parent = syscall(SYS_getppid);

	for (unsigned i = 0; i < 10000; i++)
		same &= syscall(SYS_getppid) == parent;
	return same;
}

static int zero = -1;

static void read_setup(void)
{
	if (zero < 0)
		zero = open("/dev/zero", O_RDONLY);
	if (zero < 0)
		die("/dev/zero");
}

static u64 read_unit(void)
{
	u64 sum = 0;
	char byte;

	for (unsigned i = 0; i < 10000; i++)
		sum += (u64)read(zero, &byte, 1);
	return sum;
}

static u64 wait_for(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		die("fork");
	return (u64)status;
}

static u64 fork_unit(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(5);
	return wait_for(pid);
}

static u64 exec_unit(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		execl("bench-exit", "bench-exit", NULL);
		_exit(1);
	}
	return wait_for(pid) + 1;
}

/* Pages of 4 KiB in any kernel. */
static volatile char *fresh(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	madvise(p, size, MADV_NOHUGEPAGE);
	return p;
}

/* 256 first touches. */
static u64 fault_unit(void)
{
	static volatile char *p;
	u64 sum = 0;

	if (!p)
		p = fresh(1 << 20);
	for (size_t i = 0; i < 1 << 20; i += 4096)
		sum += (u64)++p[i];
	madvise((void *)p, 1 << 20, MADV_DONTNEED);
	return sum;
}

/* Four pages come and go. */
static u64 mmap_unit(void)
{
	volatile char *p = fresh(16 << 10);
	u64 sum = 0;

	for (size_t i = 0; i < 16 << 10; i += 4096)
		sum += (u64)++p[i];
	munmap((void *)p, 16 << 10);
	return sum;
}

/* 1,000 bytes to a new process and back, both on one CPU. */
static void pipe_setup(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static u64 pipe_unit(void)
{
	int request[2], reply[2];
	u64 sum = 0;
	pid_t pid;
	char byte;

	if (pipe(request) != 0 || pipe(reply) != 0)
		die("pipe");
	pid = fork();
	if (pid == 0) {
		close(request[1]);
		while (read(request[0], &byte, 1) == 1)
			if (write(reply[1], &byte, 1) != 1)
				break;
		_exit(0);
	}
	for (unsigned i = 0; i < 1000; i++) {
		byte = (char)i;
		if (write(request[1], &byte, 1) != 1 || read(reply[0], &byte, 1) != 1)
			die("pipe");
		sum += (u64)(u8)byte;
	}
	close(request[0]);
	close(request[1]);
	close(reply[0]);
	close(reply[1]);
	return sum + wait_for(pid);
}

const struct row rows_kernel[] = {
        {.name = "getppid", .unit = getppid_unit},
        {.name = "read", .setup = read_setup, .unit = read_unit},
        {.name = "fork", .unit = fork_unit},
        {.name = "exec", .unit = exec_unit},
        {.name = "fault", .unit = fault_unit},
        {.name = "mmap", .unit = mmap_unit},
        {.name = "pipe", .setup = pipe_setup, .unit = pipe_unit},
        {0},
};
