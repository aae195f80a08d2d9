/*
 * A map of translated code for profilers: with INSULA_PERF_MAP set (to anything) in the environment, each
 * piece of code gets a line in /tmp/perf-PID.map, as "perf" defined it: start and size in hexadecimal, and a
 * name. vCPU thread only; all vCPUs of a process append to one file.
 *
 *   translated block   guest_RIP (CPL 0) or user_RIP: the linear address where the guest's block begins
 *   trampolines        jit_trampolines
 *   cells that gave up jit_tlb: their check, behind a jump (jit_cell.h)
 *   state              jit_rip, jit_op: where struct soft_cpu has these (how code was left, and what was
 *                      interpreted)
 *   code flushed       flush_SIZE_NS, of size 0: lines in front of it about the SIZE (hexadecimal) bytes from
 *                      here held until NS of CLOCK_MONOTONIC
 *
 * A file that cannot be written is no error: then there is no map.
 */
#pragma once

#include "cpu/soft/soft.h"

struct jit_map;

/* NULL: not wanted. */
struct jit_map *jit_map_new(void);
void jit_map_free(struct jit_map *m);
/* With m NULL these do nothing. */
void jit_map_block(struct jit_map *m, u64 start, u64 end, u64 rip, unsigned cpl);
void jit_map_name(struct jit_map *m, u64 start, u64 end, const char *name);
void jit_map_flush(struct jit_map *m, u64 start, u64 size);
