/*
 * Instances: the records, and the machine rows behind them.
 *
 * A machine row has what is wanted (running, stopped, terminated) and what is (pending, running, stopping,
 * stopped, shutting-down, terminated). Actions set what is wanted, and the state that EC2 shows at once;
 * the agent (agent.h) makes it true. Machines on simulated hosts are true at once.
 */
#pragma once

#include "region/resource.h"

extern const struct resource_kind instance_kind;

/* EC2's states and their codes (API Reference: InstanceState). */
enum instance_state {
	INSTANCE_PENDING = 0,
	INSTANCE_RUNNING = 16,
	INSTANCE_SHUTTING_DOWN = 32,
	INSTANCE_TERMINATED = 48,
	INSTANCE_STOPPING = 64,
	INSTANCE_STOPPED = 80,
};
const char *instance_state_name(enum instance_state state);
enum instance_state instance_state_of(const struct value *doc);
/* v: of shape InstanceState */
void instance_state_write(struct value *v, enum instance_state state);

/* A terminated one is not, after a while (termination.h). */
bool instance_is_shown(const struct request *r, const struct resource *instance);

struct machine {
	const char *instance, *account, *region, *host, *reservation, *group, *wanted, *status;
	s64 vcpus, memory, deadline, partition;
	const struct value *attributes; /* of shape InstanceAttribute */
	const char *kernel, *initrd, *disk, *cmdline;
	bool simulated;
};

/* NULL: there is none. Lives in the arena of r. */
struct machine *machine_find(struct request *r, const char *instance);
void machine_set(struct request *r, const char *instance, const char *wanted, const char *status,
                 s64 deadline);
void machine_set_attributes(struct request *r, const char *instance, const struct value *attributes);

/* A line of the log, once this is committed. from, code: NULL if there is none. */
void instance_say(struct request *r, const char *id, const char *from, const char *to, const char *code);
/* The instance is in this state from now on: document, reason ("" for none), usage, capacity. code, message:
 * of the StateReason, NULL for none. */
void instance_enter(struct request *r, struct resource *instance, enum instance_state state,
                    const char *transition, const char *code, const char *message);
