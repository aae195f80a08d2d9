/*
 * A machine of this host, as a folder (keeper.h). These functions start, watch and end it; they keep nothing
 * in memory, so whoever calls can be killed at any time and begin anew.
 */
#pragma once

#include "base/error.h"
#include "base/types.h"

enum machine_status { MACHINE_NONE, MACHINE_STARTING, MACHINE_RUNNING, MACHINE_ENDED, MACHINE_LOST };

struct machine_state {
	enum machine_status status; /* LOST: the keeper is gone and said nothing */
	int keeper, vmm;            /* pids, while RUNNING */
	bool by_signal;             /* ENDED: */
	int code;                   /* exit status or signal */
	s64 at_ms;
};

struct machine_disk {
	const char *path, *id; /* id: serial number, a volume's without the dash */
	bool readonly;
};

struct machine_spec {
	unsigned cpus, memory_mib;
	const char *kernel, *initrd, *cmdline, *firmware; /* initrd, cmdline, firmware may be NULL */
	const struct machine_disk *disks;
	unsigned disk_count;
	const char *const *taps; /* "tap=NAME,mac=MAC" */
	unsigned tap_count;
};

/* Makes the folder, and writes down what to run. */
int machine_write(const char *dir, const struct machine_spec *spec, struct error *e);
/* Starts the keeper; returns when it is on its way. Nothing if one is there. */
int machine_start(const char *dir, struct error *e);
int machine_state(const char *dir, struct machine_state *state, struct error *e);
/* Presses the power button. */
int machine_press_power(const char *dir, struct error *e);
/* Ends it now; returns without waiting. */
int machine_kill(const char *dir, struct error *e);
/* A descriptor that becomes readable when the keeper ends; -1: there is none. */
int machine_watch(const char *dir);
/* Connects to the serial line. */
int machine_console(const char *dir, struct error *e);
/* Removes the folder with all in it. The machine must have ended. */
int machine_remove(const char *dir, struct error *e);
