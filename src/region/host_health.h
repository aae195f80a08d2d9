/*
 * Hosts that no longer answer. A host whose agent has not been heard for a time is lost: nothing is placed
 * there any more, its instances go on as `running` with a StateReason that says so, and
 * DescribeInstanceStatus shows them impaired. When it answers again, all that is taken back.
 *
 * The agent of this machine is part of the region's process, so this machine is there whenever anybody asks.
 * Simulated hosts answer until they are told to be silent.
 */
#pragma once

#include "base/buffer.h"
#include "region/action.h"

enum { HOST_TIMEOUT_S = 15 }; /* default */

/* A simulated host stops answering, or does again. -1 with r->fault. */
int host_silence(struct request *r, const char *host, bool silent);
/* Notices what is lost, and what is back. */
void host_watch(struct request *r, s64 timeout_ms);

struct host_health {
	bool up;
	s64 lost_ms; /* when that was noticed; 0: not lost */
};
struct host_health host_health(struct request *r, const char *host);

/* A JSON document: Hosts: [{HostId, Zone, State, Simulated, Vcpus, UsedVcpus, MemoryMiB, UsedMemoryMiB}] and
 * NextToken, if there is more behind `after`. */
enum { HOST_PAGE = 1000 };
void host_write(struct request *r, const char *after, struct buffer *out);
