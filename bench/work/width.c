/*
 * How many instructions a cycle the host has to give just now: independent ones, against the cycles of a chain of
 * multiplications, three each. Other users of the same core take their part: where it has two threads, most of half.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

int main(void)
{
	const uint64_t chains = 200000, groups = 400000;
	uint64_t n = chains, x = 1;
	double start = now(), between, end;

	__asm__ volatile("1: .rept 10; imul %1, %1; .endr; dec %0; jnz 1b" : "+r"(n), "+r"(x) : : "cc");
	between = now();
	n = groups;
	__asm__ volatile("1: .rept 10\n"
	                 "lea 1(%%rax), %%rcx; lea 2(%%rax), %%rdx; lea 3(%%rax), %%rsi\n"
	                 "lea 4(%%rax), %%rdi; lea 5(%%rax), %%r8; lea 6(%%rax), %%r9\n"
	                 ".endr; dec %0; jnz 1b"
	                 : "+r"(n)
	                 :
	                 : "rcx", "rdx", "rsi", "rdi", "r8", "r9", "cc");
	end = now();
	printf("%.3f\n", (double)groups * 60 / (end - between) * (between - start) / ((double)chains * 30));
	return 0;
}
