#include "cpu/soft/debug.h"

enum { RW_EXECUTE, RW_WRITE, RW_IO, RW_ACCESS };

u64 debug_read(const struct soft_cpu *c, unsigned n)
{
	return n < 4 ? c->dr[n] : n == 6 ? c->dr6 : c->dr7;
}

void debug_write(struct soft_cpu *c, unsigned n, u64 value)
{
	if (n < 4)
		c->dr[n] = value;
	else if (n == 6)
		c->dr6 = (value & DR6_EVENTS) | DR6_FIXED;
	else
		c->dr7 = (value & DR7_WRITABLE) | DR7_FIXED;
	soft_update(c);
}

/* DR6 bits of the enabled breakpoints of the kinds in the set (bit n: R/W field n) that [address, address +
 * size) touches. */
static u64 match(const struct soft_cpu *c, u64 address, unsigned size, unsigned kinds)
{
	static const u8 lengths[] = {1, 2, 8, 4};
	u64 hit = 0;

	for (unsigned n = 0; n < 4; n++) {
		unsigned control = c->dr7 >> (16 + 4 * n) & 0xf, length = lengths[control >> 2];
		u64 start = c->dr[n] & ~(u64)(length - 1);

		if (c->dr7 >> 2 * n & 3 && kinds >> (control & 3) & 1 && address < start + length &&
		    start < address + size)
			hit |= BIT(n);
	}
	return hit;
}

void soft_debug_before(struct soft_cpu *c)
{
	u64 linear, hit;

	if (c->shadow & SOFT_SHADOW_SS)
		return;
	if (c->db_pending & DR6_EVENTS) {
		u64 bits = c->db_pending & DR6_EVENTS;

		c->db_pending = 0;
		soft_raise_db(c, bits, c->rip);
	}
	if (c->rflags & FLAG_RF || !(c->dr7 & DR7_ENABLES))
		return;
	linear = c->long64 ? c->rip : (u32)(c->seg[SEG_CS].base + c->rip);
	hit = match(c, linear, 1, 1 << RW_EXECUTE);
	if (hit)
		soft_raise_db(c, hit, c->rip);
}

void soft_debug_after(struct soft_cpu *c, bool tf)
{
	u64 bits = c->db_pending;

	/* MOV SS: a single step is lost, breakpoints wait for the next instruction. */
	if (c->shadow & SOFT_SHADOW_SS)
		return;
	c->db_pending = 0;
	if (tf && !(bits & DB_NO_STEP))
		bits |= DR6_BS;
	bits &= DR6_EVENTS;
	if (bits)
		soft_raise_db(c, bits, c->rip);
}

void soft_debug_data(struct soft_cpu *c, u64 linear, unsigned size, bool write)
{
	c->db_pending |= match(c, linear, size, write ? 1 << RW_WRITE | 1 << RW_ACCESS : 1 << RW_ACCESS);
}

void soft_debug_io(struct soft_cpu *c, u16 port, unsigned size)
{
	if (c->cr4 & CR4_DE && c->dr7 & DR7_ENABLES)
		c->db_pending |= match(c, port, size, 1 << RW_IO);
}
