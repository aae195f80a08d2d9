#include "vmm/terminal.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define CTRL_A 0x01

/* Global because signal handlers and atexit() take no context, and a process has but one controlling
 * terminal. */
static struct termios saved, raw;
static volatile sig_atomic_t is_raw;

void terminal_init(struct terminal *t, void (*leave)(void *ctx), void *ctx)
{
	*t = (struct terminal){.leave = leave, .ctx = ctx};
}

void terminal_restore(void)
{
	if (is_raw) {
		is_raw = 0;
		tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	}
}

/* The handler was reset to the default action on entry, so raising again ends the process as if we were not
 * there. */
static void on_fatal_signal(int sig)
{
	terminal_restore();
	raise(sig);
}

static bool in_foreground(void)
{
	return tcgetpgrp(STDIN_FILENO) == getpgrp();
}

void terminal_raw(void)
{
	static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL,  SIGFPE, SIGABRT,
	                            SIGQUIT, SIGSYS, SIGXCPU, SIGXFSZ};
	struct sigaction action = {.sa_handler = on_fatal_signal,
	                           .sa_flags = (int)(SA_RESETHAND | SA_NODEFER | SA_ONSTACK)};

	if (!isatty(STDIN_FILENO) || !in_foreground() || tcgetattr(STDIN_FILENO, &saved))
		return;
	raw = saved;
	cfmakeraw(&raw);
	/* Output stays cooked: a guest's CR LF comes out the same, and our own lines begin at the left. */
	raw.c_oflag |= OPOST;
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(fatal); i++) {
		struct sigaction old;

		/* An engine may have its own use for some of these. */
		if (!sigaction(fatal[i], NULL, &old) && !(old.sa_flags & SA_SIGINFO) &&
		    old.sa_handler == SIG_DFL)
			sigaction(fatal[i], &action, NULL);
	}
	atexit(terminal_restore);
	if (!tcsetattr(STDIN_FILENO, TCSANOW, &raw))
		is_raw = 1;
}

void terminal_resumed(void)
{
	if (is_raw && in_foreground())
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

size_t terminal_filter(void *ctx, u8 *buf, size_t len)
{
	struct terminal *t = ctx;
	size_t out = 0;

	for (size_t i = 0; i < len; i++) {
		if (!t->escape) {
			t->escape = buf[i] == CTRL_A;
			if (!t->escape)
				buf[out++] = buf[i];
			continue;
		}
		t->escape = false;
		if (buf[i] == CTRL_A)
			buf[out++] = CTRL_A;
		else if (buf[i] == 'x' || buf[i] == 'X')
			t->leave(t->ctx);
	}
	return out;
}
