/*
 * Control groups of machines: a group for each, with its share of the host's CPUs and a bound for its memory,
 * so that one machine takes nothing from another.
 *
 * Of version 2 (Linux, "Control Group v2") where it has the controllers: groups are made beside the caller's
 * own, which must be the root of the hierarchy or delegated to it (systemd: Delegate=yes) with none but the
 * caller in it. Else of version 1 ("Control Groups version 1"), where each controller has a tree of its own:
 * below the caller's group. Of those `cpu` is needed; a `memory` or `pids` tree in which the caller was put
 * below the root is somebody else's to divide, and bounds machines with the caller.
 *
 * Where neither can be had, machines run without.
 *
 * A group is said by where it is: the folder of version 2, or "cpu=FOLDER:memory=FOLDER:pids=FOLDER".
 */
#pragma once

#include "base/error.h"
#include "base/types.h"

enum { CGROUP_PATH = 8192, CGROUP_PERIOD_US = 100000 };

struct cgroup_limits {
	unsigned weight;  /* cpu.weight */
	u64 quota_us;     /* of CPU time in each CGROUP_PERIOD_US: cpu.max */
	u64 memory_bytes; /* memory.max */
	unsigned tasks;   /* pids.max */
};

/* What a machine of so many vCPUs and so much memory gets: CPUs by vCPUs, half a one more for its devices;
 * memory with room for the VMM and what it keeps of translated code. */
struct cgroup_limits cgroup_limits_of(unsigned vcpus, u64 memory_mib);

/* Can groups be made? Changes nothing. -1 with e: why not. root: what stands before the paths of the system,
 * "" but for tests. */
int cgroup_probe(const char *root, struct error *e);
/* Makes `parent`, the group of all machines: it goes to buf. -1 with e: they run without. */
int cgroup_setup(const char *root, char *buf, size_t size, struct error *e);
/* The group of that name in parent. -1: it is too long. */
int cgroup_child(const char *parent, const char *name, char *buf, size_t size, struct error *e);
/* Makes a group with its limits, or sets them anew. */
int cgroup_make(const char *group, const struct cgroup_limits *limits, struct error *e);
/* Writes one limit of a group that is there: CPU time in each period. */
int cgroup_set_quota(const char *group, u64 quota_us, struct error *e);
/* The calling process, and what it starts from now on. */
int cgroup_join(const char *group, struct error *e);
/* Nothing if there is none, or still somebody in it. */
void cgroup_remove(const char *group);
