/* Programs that everybody runs, from start to end; and two processes at a time. */
#include "work.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define INPUT  "/tmp/bench-input"
#define OUTPUT "/tmp/bench-output"

/* 2 MiB of words of many lengths, some more frequent than others. */
static void input_setup(void)
{
	FILE *file = fopen(INPUT, "w");
	u32 state = 11;

	if (!file)
		die("%s", INPUT);
	for (long size = 0; size < 2 << 20;) {
		u32 r = next_random(&state) >> 8, word = (r & 63) * (r >> 6 & 63);

		size += fprintf(file, "%s%u%s", word % 3 ? "the " : "island", word * 7919,
		                r >> 12 & 7 ? " " : "\n");
	}
	if (fclose(file) != 0)
		die("%s", INPUT);
}

/* A program with its output in OUTPUT. */
static u64 run(char *const argv[])
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		int out = open(OUTPUT, O_WRONLY | O_CREAT | O_TRUNC, 0600);

		if (out < 0 || dup2(out, 1) < 0)
			_exit(126);
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		die("fork");
	if (status != 0)
		die("%s: status %d", argv[0], status);
	return 1;
}

static u64 output_check(void)
{
	FILE *file = fopen(OUTPUT, "r");
	u64 sum = 0;
	int c;

	if (!file)
		die("%s", OUTPUT);
	while ((c = getc(file)) != EOF)
		sum = mix(sum, (u64)c);
	fclose(file);
	return sum;
}

static u64 gzip_unit(void)
{
	return run((char *[]){"gzip", "-1", "-n", "-c", INPUT, NULL});
}

static u64 zstd_unit(void)
{
	return run((char *[]){"zstd", "-3", "-q", "--single-thread", "-c", INPUT, NULL});
}

static u64 python_unit(void)
{
	return run((char *[]){"/usr/bin/python3", "-I", "bench-python.py", NULL});
}

static u64 gcc_unit(void)
{
	return run((char *[]){"gcc", "-O1", "-c", "-x", "cpp-output", "-o", OUTPUT, "bench-unit.i", NULL});
}

/* ---- two CPUs ---- */

static void parallel_work(void)
{
	static u8 area[1 << 20];
	u32 state = 1, sum = 0;

	for (unsigned round = 0; round < 40; round++) {
		for (unsigned i = 0; i < 1 << 18; i++) {
			u32 r = next_random(&state);

			area[r >> 12] = (u8)(area[r >> 12] + sum);
			sum = sum * 33 ^ area[i];
		}
		getppid();
	}
	_exit(sum & 1);
}

static u64 parallel(unsigned count)
{
	u64 sum = 1;

	for (unsigned i = 0; i < count; i++)
		if (fork() == 0)
			parallel_work();
	for (unsigned i = 0; i < count; i++) {
		int status;

		if (wait(&status) < 0)
			die("fork");
		sum = mix(sum, (u64)status);
	}
	return sum;
}

static u64 parallel_1_unit(void)
{
	return parallel(1);
}

static u64 parallel_2_unit(void)
{
	return parallel(2);
}

const struct row rows_tool[] = {
        {.name = "gzip", .setup = input_setup, .unit = gzip_unit, .check = output_check},
        {.name = "zstd", .setup = input_setup, .unit = zstd_unit, .check = output_check},
        {.name = "python3", .unit = python_unit, .check = output_check},
        {.name = "gcc", .unit = gcc_unit, .check = output_check},
        {.name = "parallel-1", .unit = parallel_1_unit},
        {.name = "parallel-2", .unit = parallel_2_unit},
        {0},
};
