/* The runtime itself: faults are caught, user mode comes and goes, other processors start. guest: bits=both cpus=4 */
#include "lib/guest.h"

static void in_user(void *arg)
{
	u16 cs;

	asm volatile("mov %%cs, %0" : "=r"(cs));
	*(int *)arg = cs & 3;
	TRY("cli", : : "memory");
}

static volatile int seen;
static void ap(unsigned cpu) { __atomic_fetch_or(&seen, 1 << cpu, __ATOMIC_SEQ_CST); }

void test(void)
{
	int cpl = -1;

	TRY("ud2");
	check_fault(6, 0, "ud2");
	TRY("mov %0, %%ds", : "r"(0x1003));
	check_fault(13, 0x1000, "bad-selector");
	user_call(in_user, &cpl);
	check(cpl == 3, "user-mode", "cpl %d", cpl);
	check_fault(13, 0, "cli-in-user-mode");
	check(cpus_start(ap) == 3 && seen == 0xe, "processors", "mask %x", seen);
}
