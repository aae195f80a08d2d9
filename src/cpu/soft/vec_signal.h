/*
 * SIGFPE of vector stubs. Apart from the rest of the room because <signal.h> and cpu/state.h both name
 * registers REG_RAX.
 *
 * The handler belongs to the process: vec_signal_init() installs it unless it is there, and it hands foreign
 * faults to whoever was there before.
 */
#pragma once

#include "base/error.h"
#include "base/types.h"

/* Where the current thread's stubs lie, and where to go on when one faults: entry(cpu, trap number). */
struct vec_site {
	void *cpu;
	uintptr_t start, end;
	void (*entry)(void *cpu, unsigned trap);
	/* Translated code, likewise: goes on at code_entry with pc in r10, trap number in r11, all else as it
	 * was. */
	uintptr_t code, code_end, code_entry;
};

int vec_signal_init(struct error *e);
void vec_signal_site(const struct vec_site *site);
/* Signals of this thread are taken on `stack` (NULL: on its own again). */
void vec_signal_stack(void *stack, size_t size);
