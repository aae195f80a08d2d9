/*
 * Control groups of machines (Linux, "Control Group v2"): a group for each, with its share of the host's CPUs
 * and a bound for its memory, so that one machine takes nothing from another. They are made beside the
 * caller's own group, which must be the root of the hierarchy or delegated to it (systemd: Delegate=yes) with
 * none but the caller in it.
 *
 * Where that cannot be had, machines run without.
 */
#pragma once

#include "base/error.h"
#include "base/types.h"

struct cgroup_limits {
	unsigned weight;  /* cpu.weight */
	u64 quota_us;     /* of CPU time in each 100 ms: cpu.max */
	u64 memory_bytes; /* memory.max */
	unsigned tasks;   /* pids.max */
};

/* What a machine of so many vCPUs and so much memory gets: CPUs by vCPUs, half a one more for its devices;
 * memory with room for the VMM and what it keeps of translated code. */
struct cgroup_limits cgroup_limits_of(unsigned vcpus, u64 memory_mib);

/* Can groups be made? Changes nothing. -1 with e: why not. */
int cgroup_probe(struct error *e);
/* Makes `parent`, the group of all machines: its path goes to buf. -1 with e: they run without. */
int cgroup_setup(char *buf, size_t size, struct error *e);
/* Makes parent/name with its limits, or sets them anew. */
int cgroup_make(const char *parent, const char *name, const struct cgroup_limits *limits, struct error *e);
/* Writes the limits of a group that is there. */
int cgroup_limit(const char *path, const struct cgroup_limits *limits, struct error *e);
/* The calling process, and what it starts from now on. */
int cgroup_join(const char *path, struct error *e);
/* Nothing if there is none, or still somebody in it. */
void cgroup_remove(const char *parent, const char *name);
