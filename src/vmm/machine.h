/*
 * The running machine: a board with its devices and vCPUs, a host thread for each vCPU, and its life from
 * power-on to its end. Everything that can fail for a reason outside (a kernel that is none, a missing disk)
 * fails in machine_new(), before a vCPU exists; devices open their files there and later use nothing but
 * descriptors.
 *
 * Threads: all functions are for the loop's thread. Events (power-off, reset, …) come from any thread, stop
 * the vCPUs at once, and reach the listener on the loop's thread. While vCPUs are stopped, each stands parked
 * outside of cpu_run(), which is when their state may be touched.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "device/chardev.h"
#include "vmm/config.h"

enum machine_event {
	MACHINE_POWEROFF,     /* the guest's ACPI S5 */
	MACHINE_RESET,        /* the guest asked for one */
	MACHINE_DEBUG_EXIT,   /* code is the exit status */
	MACHINE_TRIPLE_FAULT, /* text says where */
	MACHINE_FAILED,       /* our own fault; text says what */
};

struct machine_listener {
	/* The vCPUs are stopping or stopped; the next event comes after machine_reset(). text may be "". */
	void (*event)(void *ctx, enum machine_event event, int code, const char *text);
	/* The guest has given back the n-th of a list of the configuration: it is to be taken off the list.
	 */
	void (*unplugged)(void *ctx, enum vmm_part part, unsigned n);
	void *ctx;
};

struct machine;

/* Builds and loads, starts nothing. console and config are borrowed, and must outlive the machine. */
struct machine *machine_new(const struct vmm_config *config, struct chardev *console, struct loop *loop,
                            const struct machine_listener *listener, struct error *e);
/* Stops the vCPUs, lets devices finish what they have taken (disks are flushed), frees all. NULL is allowed.
 */
void machine_free(struct machine *m);

/* Starts the vCPUs' threads, once; the vCPUs run. The threads inherit the caller's signal mask. */
int machine_start(struct machine *m, struct error *e);

/* Returns when all vCPUs stand. */
void machine_pause(struct machine *m);
void machine_resume(struct machine *m);
bool machine_running(const struct machine *m);

/* Power-on again: RAM cleared, chips and devices reset, the kernel loaded anew; the vCPUs run. -1: it cannot
 * be loaded any more, and the machine stays stopped. */
int machine_reset(struct machine *m, struct error *e);

void machine_power_button(struct machine *m);

/* As devices_plug() and devices_unplug() have it (devices.h). */
int machine_plug(struct machine *m, enum vmm_part part, unsigned n, struct error *e);
int machine_unplug(struct machine *m, enum vmm_part part, unsigned n, bool force, struct error *e);
/* The n-th network's limits are as the configuration says now; what is false stays as it is. */
void machine_limit_net(struct machine *m, unsigned n, bool rx, bool tx);
