/*
 * The CPU model: what CPUID offers, and by the same table which instructions exist (features.c). An
 * Intel-like x86-64-v3 server CPU under a KVM-signature hypervisor, restricted to what the host has.
 */
#pragma once

#include "cpu/soft/soft.h"

/* Is this Zydis ISA set (ZydisISASet) part of the model? */
bool soft_feature_isa(unsigned isa_set);
/* CPUID for leaf/subleaf: out[] = eax, ebx, ecx, edx. Dynamic bits (OSXSAVE, APIC, xsave sizes) from c. */
void soft_cpuid(struct soft_cpu *c, u32 leaf, u32 subleaf, u32 out[4]);
/* CR4 and EFER bits, XCR0 bits that the model has. */
u64 soft_feature_cr4(void);
u64 soft_feature_efer(void);
u64 soft_feature_xcr0(void);
