/*
 * Instance types: EC2's general purpose, compute, memory, storage and burstable families for x86-64, with the
 * figures of "Amazon EC2 instance types"; and a family of Insula's own, micro, whose smallest has the 64 MiB
 * that the micro image needs: dozens fit on a laptop.
 */
#pragma once

#include "region/action.h"

struct instance_type {
	const char *name;
	u16 vcpus, threads_per_core;
	u32 memory_mib;
	u16 ghz_tenths;
	u8 interfaces, addresses; /* network interfaces, IPv4 addresses on each */
	u8 disks;                 /* instance store */
	u16 disk_gb;              /* of each */
	u8 credits_per_hour;      /* burstable types: CPU credits earned, else 0 */
	u8 flags;                 /* TYPE_* */
	const char *network;      /* as EC2 words it */
};
enum { TYPE_XEN = 1, TYPE_CURRENT = 2, TYPE_METAL = 4, TYPE_FREE_TIER = 8 };

extern const struct instance_type instance_types[];
extern const unsigned instance_type_count;

/* Bytes a second of its network, in either direction: of what its words say, which for "Up to" is the most. */
u64 instance_type_bandwidth(const struct instance_type *t);
/* NULL: there is none of that name. */
const struct instance_type *instance_type_find(const char *name);
/* As a value of shape InstanceTypeInfo. */
struct value *instance_type_show(struct request *r, const struct instance_type *t);
