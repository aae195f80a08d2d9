/*
 * Debug registers (SDM vol. 3 ch. 17.2): bits, and what may be written.
 */
#pragma once

#include "cpu/soft/soft.h"

#define DR6_TRAPS  0xfULL  /* B0–B3 */
#define DR6_BD     BIT(13) /* debug register access detected */
#define DR6_BS     BIT(14) /* single step */
#define DR6_BT     BIT(15) /* task switch */
#define DR6_EVENTS (DR6_TRAPS | DR6_BD | DR6_BS | DR6_BT)
#define DR6_FIXED  0xffff0ff0ULL

#define DR7_LOCAL    0x155ULL /* L0–L3, LE */
#define DR7_ENABLES  0xffULL
#define DR7_GD       BIT(13)
#define DR7_FIXED    0x400ULL
#define DR7_WRITABLE 0xffff23ffULL

#define DEBUGCTL_LBR BIT(0)
#define DEBUGCTL_BTF BIT(1)

/* In db_pending: SYSCALL and SYSRET do not trap by the TF of before. Not a DR6 bit. */
#define DB_NO_STEP BIT(63)

/* Value of debug register n as MOV reads and writes it (n: 0–3, 6, 7; upper halves were checked). */
u64 debug_read(const struct soft_cpu *c, unsigned n);
void debug_write(struct soft_cpu *c, unsigned n, u64 value);
