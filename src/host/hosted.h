/*
 * A machine of this host, as a folder (keeper.h). These functions start, watch and end it; they keep nothing
 * in memory, so whoever calls can be killed at any time and begin anew.
 *
 * The file `lock` in it is locked from before a keeper is started until it has ended: who starts takes the
 * lock, and the keeper inherits it. So there is never a second one, and no folder goes away under one that
 * begins.
 */
#pragma once

#include "base/error.h"
#include "base/types.h"
#include "host/guest_watch.h"
#include "host/user_network.h"

enum { HOSTED_DISKS_MAX = 24 }; /* that a machine has room for */

enum hosted_status { HOSTED_NONE, HOSTED_STARTING, HOSTED_RUNNING, HOSTED_ENDED, HOSTED_LOST };

struct hosted_state {
	enum hosted_status status; /* STARTING: the keeper is there, and has not said what it keeps; LOST: it
	                            * is gone and said nothing */
	int keeper, vmm;           /* pids, while RUNNING */
	bool by_signal;            /* ENDED: */
	int code;                  /* exit status or signal */
	s64 at_ms, at_up_ms;       /* by CLOCK_REALTIME and CLOCK_BOOTTIME */
	s64 cpu_us;                /* ENDED: CPU time that its VMM took; -1: not known */
	char run[48];              /* which run of the machine this is; "": none */
};

struct hosted_guest {
	enum guest_state state;
	s64 at_ms; /* since when */
};

struct hosted_disk {
	const char *path, *id; /* id: serial number, a volume's without the dash */
	bool readonly;
};

struct hosted_spec {
	unsigned cpus, memory_mib;
	const char *kernel, *initrd, *cmdline, *firmware; /* initrd, cmdline, firmware may be NULL */
	const char *accel, *engine;                       /* --accel, --soft-engine; NULL: the default */
	const struct hosted_disk *disks;
	unsigned disk_count;
	const char *const *taps; /* "tap=NAME,mac=MAC", as --net takes it */
	unsigned tap_count;
	const char *netns; /* the network namespace that taps are in, by its name in /run/netns; NULL: that of
	                    * the caller */
	const struct user_network *user; /* a network of its own without taps, or NULL */
	const char *smbios;              /* as --smbios takes it; NULL: nobody's */
};

/* Makes the folder, and writes down what to run. */
int hosted_write(const char *dir, const struct hosted_spec *spec, struct error *e);
/* The control group that the machine is to be in from its next start, "" for none. */
int hosted_set_cgroup(const char *dir, const char *path, struct error *e);
/* Starts the keeper; returns when it is on its way. Nothing if one is there. */
int hosted_start(const char *dir, struct error *e);
int hosted_state(const char *dir, struct hosted_state *state, struct error *e);
/* CPU time that the VMM has taken in this run: of one that runs or has ended; -1: not known. */
s64 hosted_cpu_us(const struct hosted_state *state);
/* What its serial line says of the guest of this run; STARTING if nothing. */
void hosted_guest(const char *dir, struct hosted_guest *guest);
/* Presses the power button. */
int hosted_press_power(const char *dir, struct error *e);
/*
 * Plugs an interface in, or pulls it out, while the machine runs. `net` is as --net takes it
 * ("tap=NAME,mac=MAC,…"), `id` names it from then on; one that was there from the start is named by its tap.
 * What is attached already is told to the guest once more. The machine forgets all this when it ends:
 * hosted_write() says what the next run has.
 */
int hosted_attach_tap(const char *dir, const char *net, const char *id, struct error *e);
/* 0: it is gone, or was not there; 1: the guest was asked for it: call again; -1: the guest does not give it
 * back, or the machine is not there. By force, it is gone at once. */
int hosted_detach_tap(const char *dir, const char *id, bool force, struct error *e);
/* The same of a disk, by its id; its path is as hosted_spec has it. */
int hosted_attach_disk(const char *dir, const struct hosted_disk *disk, struct error *e);
int hosted_detach_disk(const char *dir, const char *id, bool force, struct error *e);
/* Ends it now; returns without waiting. */
int hosted_kill(const char *dir, struct error *e);
/* Connects to the serial line. */
int hosted_console(const char *dir, struct error *e);
/* The last bytes of the serial line's log; returns how many. */
size_t hosted_console_tail(const char *dir, char *buf, size_t size);
/* Removes the folder with all in it. The machine must have ended; -1 with EAGAIN while its keeper is there.
 */
int hosted_remove(const char *dir, struct error *e);
