/*
 * Hardware task switching, 16- and 32-bit (SDM vol. 3 ch. 8). Not in long mode.
 */
#pragma once

#include "cpu/soft/soft.h"

enum task_reason { TASK_JMP, TASK_CALL, TASK_IRET, TASK_EVENT };

/* Switches to the task whose TSS selector is given; rip is saved as the old task's. Faults found before the
 * switch are raised in the old task, later ones in the new. Afterwards c->rip is the new task's and no op is
 * active. Privileges were checked by the caller. The new stack gets *error_code if that is not NULL. */
void task_switch(struct soft_cpu *c, u16 selector, enum task_reason reason, u64 rip, const u32 *error_code);
/* The TSS selector in task gate d, which was found under `error`. */
u16 task_gate_selector(u64 d);
