#include "cpu/soft/walk.h"
#include "cpu/soft/lockstep.h"

enum { PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_A = 0x20, PTE_D = 0x40, PTE_PS = 0x80, PTE_G = 0x100 };
#define PTE_NX   BIT(63)
#define PTE_ADDR (MASK(SOFT_PHYS_BITS) & ~MASK(12))
/* Above the physical address width, below the bits that 4-level paging ignores. */
#define PTE_RSVD_HIGH (MASK(52) & ~MASK(SOFT_PHYS_BITS))
/* The same for PAE paging, which ignores none. */
#define PAE_RSVD_HIGH (MASK(63) & ~MASK(SOFT_PHYS_BITS))
#define PDPTE_RSVD    (~MASK(SOFT_PHYS_BITS) | 0x1e6)

struct step {
	void *ptr; /* NULL: not in memory that can be written */
	_Atomic u32 *page;
	u64 value;
};

/* An entry outside of memory reads as all ones, as an open bus does. */
static u64 entry_read(struct soft_cpu *c, u64 gpa, bool wide, struct step *s)
{
	const struct physmem *pm = c->base.config.board->mem;
	const struct physmem_slot *slot = physmem_find(pm, gpa);

	s->ptr = NULL;
	s->value = wide ? ~0ULL : 0xffffffffULL;
	if (slot) {
		u8 *p = slot->hva + (gpa - slot->gpa);

		if (unlikely(c->rehearsing))
			p = soft_lockstep_host(c, p, 8, false);
		if (!slot->readonly) {
			s->ptr = p;
			s->page = physmem_page(pm, slot, gpa);
		}
		s->value = wide ? *(const volatile u64 *)p : *(const volatile u32 *)p;
	}
	return s->value;
}

/* False if the entry is another by now. */
static bool entry_mark(struct soft_cpu *c, struct step *s, u64 bits, bool wide)
{
	bool same;

	if ((s->value & bits) == bits || !s->ptr)
		return true;
	if (unlikely(c->rehearsing))
		s->ptr = soft_lockstep_host(c, s->ptr, 8, true);
	if (wide) {
		u64 old = s->value;
		same = __atomic_compare_exchange_n((u64 *)s->ptr, &old, old | bits, false, __ATOMIC_SEQ_CST,
		                                   __ATOMIC_SEQ_CST);
	} else {
		u32 old = (u32)s->value;
		same = __atomic_compare_exchange_n((u32 *)s->ptr, &old, old | (u32)bits, false,
		                                   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	}
	if (same && likely(!c->rehearsing))
		physmem_page_changed(s->page);
	return same;
}

static u64 reserved_bits(const struct soft_cpu *c, bool pae, unsigned level, u64 e, bool leaf)
{
	u64 rsvd = pae ? PAE_RSVD_HIGH : PTE_RSVD_HIGH;

	if (!(c->efer & EFER_NXE))
		rsvd |= PTE_NX;
	if (level == 4)
		rsvd |= PTE_PS;
	if (leaf && level > 1)
		rsvd |= level == 3 ? MASK(30) & ~MASK(13) : MASK(21) & ~MASK(13);
	return e & rsvd;
}

bool soft_walk(struct soft_cpu *c, u64 linear, enum soft_access access, enum soft_tlb_mode mode,
               const u64 pdptes[4], struct soft_walk *w, u32 *error)
{
	bool pae = c->cr4 & CR4_PAE, four = soft_long_active(c), user_access = mode == SOFT_TLB_USER;
	struct step step;

	if (!(c->cr0 & CR0_PG)) {
		*w = (struct soft_walk){.gpa = (u32)linear, .page_size = PAGE_SIZE, .write = true};
		return true;
	}

	u32 code = (access == SOFT_WRITE ? PF_W : 0) | (user_access ? PF_U : 0);
	if (access == SOFT_EXEC && ((c->cr4 & CR4_SMEP) || (pae && (c->efer & EFER_NXE))))
		code |= PF_I;

again:;
	u64 user = PTE_U, write = PTE_W, nx = 0, e, size;
	unsigned level;
	u64 table;

	if (four) {
		table = c->cr3 & PTE_ADDR;
		level = 4;
	} else if (pae) {
		e = pdptes[linear >> 30 & 3];
		if (!(e & PTE_P)) {
			*error = code;
			return false;
		}
		table = e & PTE_ADDR;
		level = 2;
	} else {
		table = c->cr3 & 0xfffff000;
		level = 2;
	}

	for (;; level--) {
		bool leaf;

		if (pae) {
			unsigned shift = 12 + 9 * (level - 1);

			e = entry_read(c, table + (linear >> shift & 511) * 8, true, &step);
			leaf = level == 1 || (level < 4 && (e & PTE_PS));
			size = BIT(shift);
			if (e & PTE_P && reserved_bits(c, !four, level, e, leaf)) {
				*error = code | PF_P | PF_RSVD;
				return false;
			}
			nx |= e & PTE_NX;
		} else {
			unsigned shift = 12 + 10 * (level - 1);

			e = entry_read(c, table + (linear >> shift & 1023) * 4, false, &step);
			leaf = level == 1 || ((e & PTE_PS) && (c->cr4 & CR4_PSE));
			size = BIT(shift);
			/* PSE-36: bits 20:13 are address bits 39:32; bit 21 is reserved. */
			if (leaf && level == 2 && (e & PTE_P) && (e & BIT(21))) {
				*error = code | PF_P | PF_RSVD;
				return false;
			}
		}
		if (!(e & PTE_P)) {
			*error = code;
			return false;
		}
		user &= e;
		write &= e;
		if (leaf)
			break;
		/* Used for translation, whatever comes of it (SDM vol. 3 4.8). */
		if (!entry_mark(c, &step, PTE_A, pae))
			goto again;
		table = e & PTE_ADDR;
	}

	bool denied;
	bool may_write = user_access ? user && write : write || !(c->cr0 & CR0_WP);

	if (user_access)
		denied = !user;
	else
		denied = user &&
		         (access == SOFT_EXEC ? (c->cr4 & CR4_SMEP) != 0 : mode == SOFT_TLB_SUPER_SMAP);
	if (access == SOFT_WRITE)
		denied |= !may_write;
	if (access == SOFT_EXEC)
		denied |= nx != 0;
	if (denied) {
		*error = code | PF_P;
		return false;
	}

	if (!entry_mark(c, &step, PTE_A | (access == SOFT_WRITE ? PTE_D : 0), pae))
		goto again;

	u64 frame = e & PTE_ADDR;
	if (!pae && size > PAGE_SIZE)
		frame = (e & 0xffc00000) | (e >> 13 & 0xff) << 32;
	*w = (struct soft_walk){
	        .gpa = (frame & ~(size - 1)) | (linear & (size - 1)),
	        .page_size = size,
	        .write = may_write && (access == SOFT_WRITE || (e & PTE_D)),
	        .global = (e & PTE_G) && (c->cr4 & CR4_PGE),
	};
	return true;
}

bool soft_walk_pdptes(struct soft_cpu *c, u64 cr3, u64 pdptes[4])
{
	u64 v[4];

	for (unsigned i = 0; i < 4; i++) {
		struct step s;

		v[i] = entry_read(c, (cr3 & 0xffffffe0) + i * 8, true, &s);
		if ((v[i] & PTE_P) && (v[i] & PDPTE_RSVD))
			return false;
	}
	for (unsigned i = 0; i < 4; i++)
		pdptes[i] = v[i];
	return true;
}
