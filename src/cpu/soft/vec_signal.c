#include "cpu/soft/vec_signal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

/* A signal handler gets no context pointer, so this is one of the few places with thread and process state.
 */
static _Thread_local struct vec_site current;
static struct sigaction previous;

static void on_sigfpe(int sig, siginfo_t *info, void *context)
{
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
	uintptr_t pc = (uintptr_t)regs[REG_RIP];

	if (pc >= current.start && pc < current.end) {
		/* Leave the stub as if it had called entry; its caller is left by longjmp from there. */
		regs[REG_RDI] = (greg_t)(uintptr_t)current.cpu;
		regs[REG_RSI] = regs[REG_TRAPNO];
		regs[REG_RSP] = (regs[REG_RSP] & ~15LL) - 8;
		regs[REG_RIP] = (greg_t)(uintptr_t)current.entry;
		return;
	}
	if (pc >= current.code && pc < current.code_end) {
		regs[REG_R10] = (greg_t)pc;
		regs[REG_R11] = regs[REG_TRAPNO];
		regs[REG_RIP] = (greg_t)current.code_entry;
		return;
	}
	if (previous.sa_flags & SA_SIGINFO) {
		previous.sa_sigaction(sig, info, context);
		return;
	}
	/* It may raise the signal again, or the fault does: not through here. */
	sigaction(SIGFPE, &previous, NULL);
	if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN)
		previous.sa_handler(sig);
}

int vec_signal_init(struct error *e)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct sigaction action = {.sa_sigaction = on_sigfpe,
	                           .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
	struct sigaction now;
	int ret = 0;

	sigemptyset(&action.sa_mask);
	pthread_mutex_lock(&lock);
	if (sigaction(SIGFPE, NULL, &now) < 0) {
		ret = error_set(e, errno, "SIGFPE handler");
	} else if (now.sa_sigaction != on_sigfpe) {
		previous = now;
		if (sigaction(SIGFPE, &action, NULL) < 0)
			ret = error_set(e, errno, "SIGFPE handler");
	}
	pthread_mutex_unlock(&lock);
	return ret;
}

void vec_signal_site(const struct vec_site *site)
{
	current = *site;
}

void vec_signal_stack(void *stack, size_t size)
{
	stack_t s = {.ss_sp = stack, .ss_size = size, .ss_flags = stack ? 0 : SS_DISABLE};
	struct error e;

	sigaltstack(&s, NULL);
	/* Whoever took SIGFPE since (a test's framework) would not know the stack. It was ours before, so it
	 * can be again. */
	if (stack)
		vec_signal_init(&e);
}
