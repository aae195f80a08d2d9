/*
 * Page walks: linear to guest-physical addresses by the guest's paging structures (SDM vol. 3 ch. 4):
 * 4-level, PAE, 32-bit with PSE-36, or none. Sets accessed and dirty flags. Owner: the vCPU's thread; nothing
 * here is cached.
 */
#pragma once

#include "cpu/soft/soft.h"

/* MAXPHYADDR of the CPU model. */
#define SOFT_PHYS_BITS 46

/* Page-fault error code bits. */
enum { PF_P = 1, PF_W = 2, PF_U = 4, PF_RSVD = 8, PF_I = 16 };

struct soft_walk {
	u64 gpa;       /* of the byte */
	u64 page_size; /* of the guest's page: 4 KiB to 1 GiB; 4 KiB without paging */
	bool write;    /* stores may go on without another walk: permitted, and the dirty flag is set */
	bool global;
};

/* mode says whose access it is; linear must be canonical. False: *error is the page fault's error code. */
bool soft_walk(struct soft_cpu *c, u64 linear, enum soft_access access, enum soft_tlb_mode mode,
               const u64 pdptes[4], struct soft_walk *w, u32 *error);
/* Reads the four PDPTEs at cr3; false if one has a reserved bit set. */
bool soft_walk_pdptes(struct soft_cpu *c, u64 cr3, u64 pdptes[4]);
