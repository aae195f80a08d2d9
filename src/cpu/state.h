/*
 * struct vcpu_state: everything architectural about one vCPU, neutral between engines. Boot code fills it,
 * engines load and store it, debug, snapshot and migration speak only this. Plain, fixed-width.
 * Register numbers are the hardware's encodings (SDM vol. 2 table 2-2..2-4).
 */
#pragma once

#include "base/types.h"

enum {
	REG_RAX,
	REG_RCX,
	REG_RDX,
	REG_RBX,
	REG_RSP,
	REG_RBP,
	REG_RSI,
	REG_RDI,
	REG_R8,
	REG_R15 = 15,
	REG_COUNT
};
enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_COUNT };

/* A segment register with its descriptor cache. attr has the layout of VMX access rights (SDM vol. 3 24.4.1):
 * type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15, unusable 16. limit is in bytes, scaled by G
 * already. */
struct vcpu_segment {
	u64 base;
	u32 limit;
	u32 attr;
	u16 selector;
	u16 pad[3];
};

enum {
	SEG_ATTR_TYPE = 0xf,
	SEG_ATTR_ACCESSED = 1 << 0,
	SEG_ATTR_WRITE = 1 << 1,  /* data: writable; code: readable */
	SEG_ATTR_EXPAND = 1 << 2, /* data: expand-down; code: conforming */
	SEG_ATTR_CODE = 1 << 3,
	SEG_ATTR_S = 1 << 4,
	SEG_ATTR_DPL_SHIFT = 5,
	SEG_ATTR_DPL = 3 << 5,
	SEG_ATTR_P = 1 << 7,
	SEG_ATTR_AVL = 1 << 12,
	SEG_ATTR_L = 1 << 13,
	SEG_ATTR_DB = 1 << 14,
	SEG_ATTR_G = 1 << 15,
	SEG_ATTR_UNUSABLE = 1 << 16,
};

struct vcpu_table {
	u64 base;
	u32 limit;
	u32 pad;
};

/* Standard format, offsets as Intel has them: legacy 512, header 64, AVX 256 at 576, opmask 64 at 1088, upper
 * halves of ZMM0-15 512 at 1152, ZMM16-31 1024 at 1664. */
#define VCPU_XSAVE_SIZE 2688

enum vcpu_activity { VCPU_RUNNING, VCPU_HALTED, VCPU_WAIT_SIPI, VCPU_SHUTDOWN };

struct vcpu_state {
	u64 regs[REG_COUNT];
	u64 rip, rflags;
	u64 cr0, cr2, cr3, cr4, cr8, xcr0;
	u64 dr[4], dr6, dr7;
	struct vcpu_segment seg[SEG_COUNT], ldtr, tr;
	struct vcpu_table gdtr, idtr;
	u64 efer, star, lstar, cstar, sfmask, kernel_gs_base;
	u64 sysenter_cs, sysenter_esp, sysenter_eip;
	u64 pat, tsc_offset, tsc_adjust, tsc_aux, misc_enable, debugctl, xss, spec_ctrl;
	u64 mtrr_def_type, mtrr_fixed[11], mtrr_base[8], mtrr_mask[8];
	u32 activity; /* enum vcpu_activity */
	u8 nmi_blocked, nmi_pending, interrupt_shadow, pad0;
	u8 xsave[VCPU_XSAVE_SIZE] __attribute__((aligned(64)));
};

/* RFLAGS */
enum {
	FLAG_CF = 1 << 0,
	FLAG_ONE = 1 << 1,
	FLAG_PF = 1 << 2,
	FLAG_AF = 1 << 4,
	FLAG_ZF = 1 << 6,
	FLAG_SF = 1 << 7,
	FLAG_TF = 1 << 8,
	FLAG_IF = 1 << 9,
	FLAG_DF = 1 << 10,
	FLAG_OF = 1 << 11,
	FLAG_IOPL = 3 << 12,
	FLAG_NT = 1 << 14,
	FLAG_RF = 1 << 16,
	FLAG_VM = 1 << 17,
	FLAG_AC = 1 << 18,
	FLAG_VIF = 1 << 19,
	FLAG_VIP = 1 << 20,
	FLAG_ID = 1 << 21,
	FLAG_ARITH = FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF,
};

#define CR0_PE BIT(0)
#define CR0_MP BIT(1)
#define CR0_EM BIT(2)
#define CR0_TS BIT(3)
#define CR0_ET BIT(4)
#define CR0_NE BIT(5)
#define CR0_WP BIT(16)
#define CR0_AM BIT(18)
#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR0_PG BIT(31)

#define CR4_VME        BIT(0)
#define CR4_PVI        BIT(1)
#define CR4_TSD        BIT(2)
#define CR4_DE         BIT(3)
#define CR4_PSE        BIT(4)
#define CR4_PAE        BIT(5)
#define CR4_MCE        BIT(6)
#define CR4_PGE        BIT(7)
#define CR4_PCE        BIT(8)
#define CR4_OSFXSR     BIT(9)
#define CR4_OSXMMEXCPT BIT(10)
#define CR4_UMIP       BIT(11)
#define CR4_FSGSBASE   BIT(16)
#define CR4_PCIDE      BIT(17)
#define CR4_OSXSAVE    BIT(18)
#define CR4_SMEP       BIT(20)
#define CR4_SMAP       BIT(21)

#define EFER_SCE BIT(0)
#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)
#define EFER_NXE BIT(11)

/* Exception vectors, SDM vol. 3 table 6-1 */
enum {
	EXC_DE = 0,
	EXC_DB = 1,
	EXC_NMI = 2,
	EXC_BP = 3,
	EXC_OF = 4,
	EXC_BR = 5,
	EXC_UD = 6,
	EXC_NM = 7,
	EXC_DF = 8,
	EXC_TS = 10,
	EXC_NP = 11,
	EXC_SS = 12,
	EXC_GP = 13,
	EXC_PF = 14,
	EXC_MF = 16,
	EXC_AC = 17,
	EXC_MC = 18,
	EXC_XM = 19,
};

/* The state after RESET (SDM vol. 3 table 9-1); INIT is the same but for what that table says stays. */
void vcpu_state_reset(struct vcpu_state *s, bool bsp);
