/*
 * Model-specific registers: one table in msr.c; what it does not have is asked of the board (APIC,
 * paravirtual clock), and what nobody has is #GP(0). vCPU thread only.
 */
#pragma once

#include "cpu/soft/soft.h"

/* False: #GP(0). */
bool msr_read(struct soft_cpu *c, u32 number, u64 *value);
bool msr_write(struct soft_cpu *c, u32 number, u64 value);
