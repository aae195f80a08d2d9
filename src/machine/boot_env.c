#include "machine/boot_env.h"

#include <string.h>

u64 boot_place(const struct boot_env *env, u64 size, u64 align, u64 low, u64 high)
{
	u64 best = 0;

	for (unsigned i = 0; i < env->e820_count; i++) {
		const struct board_e820 *r = &env->e820[i];
		u64 start = max(r->addr, low), end = min(r->addr + r->size, high);

		if (r->type != 1 || end < start || end - start < size)
			continue;
		u64 at = align_down(end - size, align);

		if (at >= start)
			best = max(best, at);
	}
	return best;
}

u64 boot_place_beside(const struct boot_env *env, u64 size, u64 start, u64 end, u64 high)
{
	u64 at = boot_place(env, size, PAGE_SIZE, align_up(max(end, 1 * MiB), PAGE_SIZE), high);

	return at ? at : boot_place(env, size, PAGE_SIZE, 1 * MiB, min(start, high));
}

int boot_fits(const struct boot_env *env, u64 low, u64 high, struct error *e)
{
	u64 from = max(low, 1 * MiB);

	if (from >= high || boot_place(env, high - from, 1, from, high) == from)
		return 0;
	return error_set(e, 0, "%s: does not fit in memory: needs 0x%llx to 0x%llx", env->kernel,
	                 (unsigned long long)low, (unsigned long long)high);
}

u64 boot_descriptor(u32 base, u32 limit, u32 attr)
{
	u64 l = attr & SEG_ATTR_G ? limit >> 12 : limit;

	return (l & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)(attr & 0xff) << 40 |
	       (l >> 16 & 0xf) << 48 | (u64)(attr >> 12 & 0xf) << 52 | (u64)(base >> 24) << 56;
}

static struct vcpu_segment segment_of(u64 descriptor, u16 selector)
{
	u32 attr = (u32)(descriptor >> 40 & 0xf0ff),
	    limit = (u32)(descriptor & 0xffff) | (u32)(descriptor >> 32 & 0xf0000);

	return (struct vcpu_segment){
	        .base = (descriptor >> 16 & 0xffffff) | (descriptor >> 56) << 24,
	        .limit = attr & SEG_ATTR_G ? limit << 12 | 0xfff : limit,
	        .attr = attr | SEG_ATTR_ACCESSED,
	        .selector = selector,
	};
}

int boot_segments(const struct boot_env *env, struct vcpu_state *state, u64 gdt, const u64 *table,
                  unsigned count, u16 code, u16 data)
{
	if (memory_write(env->memory, gdt, table, count * sizeof(*table)))
		return -1;
	state->gdtr = (struct vcpu_table){.base = gdt, .limit = (u32)(count * sizeof(*table) - 1)};
	for (int i = 0; i < SEG_COUNT; i++)
		state->seg[i] = segment_of(table[data / 8], data);
	state->seg[SEG_CS] = segment_of(table[code / 8], code);
	return 0;
}

void boot_mode32(struct vcpu_state *state)
{
	state->cr0 = CR0_PE | CR0_ET;
	state->cr3 = state->cr4 = state->efer = 0;
	state->rflags = FLAG_ONE;
	memset(state->regs, 0, sizeof(state->regs));
}

int boot_mode64(const struct boot_env *env, struct vcpu_state *state)
{
	enum { PRESENT_WRITE = 3, LARGE = 0x80 };
	const u64 pml4 = BOOT_PAGE_TABLES, pdpt = pml4 + PAGE_SIZE, pd = pdpt + PAGE_SIZE;
	u64 entry[512] = {pdpt | PRESENT_WRITE};

	if (memory_write(env->memory, pml4, entry, sizeof(entry)))
		return -1;
	for (u64 i = 0; i < 4; i++)
		entry[i] = (pd + i * PAGE_SIZE) | PRESENT_WRITE;
	if (memory_write(env->memory, pdpt, entry, sizeof(entry)))
		return -1;
	for (u64 i = 0; i < 4; i++) {
		for (u64 j = 0; j < 512; j++)
			entry[j] = i * GiB + j * 2 * MiB + (PRESENT_WRITE | LARGE);
		if (memory_write(env->memory, pd + i * PAGE_SIZE, entry, sizeof(entry)))
			return -1;
	}
	boot_mode32(state);
	state->cr0 |= CR0_PG;
	state->cr3 = pml4;
	state->cr4 = CR4_PAE;
	state->efer = EFER_LME | EFER_LMA;
	return 0;
}

void boot_mtrrs(struct vcpu_state *state)
{
	enum { UC = 0, WB = 6, FIXED_ENABLE = 1 << 10, ENABLE = 1 << 11 };
	const u64 all_wb = 0x0101010101010101 * WB;

	/* SDM vol. 3 table 11-9: 64K at 0, 16K at 0x80000 and 0xa0000, then 4K from 0xc0000. */
	for (unsigned i = 0; i < ARRAY_SIZE(state->mtrr_fixed); i++)
		state->mtrr_fixed[i] = i == 2 ? UC : all_wb;
	state->mtrr_base[0] = MEMORY_HOLE_START | UC;
	state->mtrr_mask[0] = (MASK(BOOT_PHYS_BITS) & ~(4 * GiB - MEMORY_HOLE_START - 1)) | ENABLE;
	state->mtrr_def_type = WB | FIXED_ENABLE | ENABLE;
}
