/* Control and debug registers (SDM vol. 3 ch. 2.5, 4.1, 17.2; vol. 2 MOV—Move to/from Control Registers). */
#include "cpu/soft/debug.h"
#include "cpu/soft/features.h"
#include "cpu/soft/sys.h"
#include "cpu/soft/walk.h"

#define CR0_KNOWN \
	(CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)

#define CR3_NO_FLUSH BIT(63)

static _Noreturn void gp0(struct soft_cpu *c)
{
	soft_raise_error(c, EXC_GP, 0);
}

static bool pae_paging(u64 cr0, u64 cr4, u64 efer)
{
	return cr0 & CR0_PG && cr4 & CR4_PAE && !(efer & EFER_LME);
}

static void load_pdptes(struct soft_cpu *c, u64 cr3)
{
	if (!soft_mmu_load_pdptes(c, cr3))
		gp0(c);
}

/* Paging goes on: may it, and in long mode? */
static void check_enable_paging(struct soft_cpu *c)
{
	if (!(c->efer & EFER_LME))
		return;
	if (!(c->cr4 & CR4_PAE) || c->seg[SEG_CS].attr & SEG_ATTR_L || (c->tr.attr & 0xf) < DESC_TSS32)
		gp0(c);
}

void control_write_cr0(struct soft_cpu *c, u64 value)
{
	u64 old = c->cr0, changed;

	if (value >> 32)
		gp0(c);
	value = (value & CR0_KNOWN) | CR0_ET;
	changed = value ^ old;
	if ((value & CR0_PG && !(value & CR0_PE)) || (value & CR0_NW && !(value & CR0_CD)))
		gp0(c);
	if (changed & value & CR0_PG)
		check_enable_paging(c);
	if (changed & old & CR0_PG && (c->long64 || c->cr4 & CR4_PCIDE))
		gp0(c);
	if (pae_paging(value, c->cr4, c->efer) && changed & (CR0_CD | CR0_NW | CR0_PG))
		load_pdptes(c, c->cr3);

	c->cr0 = value;
	if (changed & CR0_PG) {
		c->efer &= ~EFER_LMA;
		if (value & CR0_PG && c->efer & EFER_LME)
			c->efer |= EFER_LMA;
	}
	if (changed & (CR0_PG | CR0_WP))
		soft_mmu_flush_all(c);
	soft_update(c);
}

void control_write_cr3(struct soft_cpu *c, u64 value)
{
	bool no_flush = false;

	if (soft_long_active(c)) {
		if (c->cr4 & CR4_PCIDE) {
			no_flush = value & CR3_NO_FLUSH;
			value &= ~CR3_NO_FLUSH;
		}
		if (value >> SOFT_PHYS_BITS)
			gp0(c);
	} else {
		value = c->efer & EFER_LME ? value & MASK(SOFT_PHYS_BITS) : (u32)value;
		if (pae_paging(c->cr0, c->cr4, c->efer))
			load_pdptes(c, value);
	}
	soft_mmu_load_cr3(c, value, no_flush);
}

void control_write_cr4(struct soft_cpu *c, u64 value)
{
	u64 changed = value ^ c->cr4;

	if (value & ~soft_feature_cr4())
		gp0(c);
	if (soft_long_active(c) && !(value & CR4_PAE))
		gp0(c);
	if (changed & value & CR4_PCIDE && (!soft_long_active(c) || c->cr3 & 0xfff))
		gp0(c);
	if (pae_paging(c->cr0, value, c->efer) && changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP))
		load_pdptes(c, c->cr3);
	c->cr4 = value;
	soft_syscall_changed(c);
	if (changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_PCIDE | CR4_SMEP | CR4_SMAP))
		soft_mmu_flush_all(c);
	soft_update(c);
}

bool control_write_efer(struct soft_cpu *c, u64 value)
{
	if (value & ~(soft_feature_efer() | EFER_LMA))
		return false;
	if ((value ^ c->efer) & EFER_LME && c->cr0 & CR0_PG)
		return false;
	value = (value & ~EFER_LMA) | (c->efer & EFER_LMA);
	if ((value ^ c->efer) & EFER_NXE) {
		c->efer = value;
		soft_mmu_flush_all(c);
	}
	c->efer = value;
	soft_syscall_changed(c);
	soft_update(c);
	return true;
}

/* ---- MOV CRn ---- */

static const struct op *mov_from_cr(struct soft_cpu *c, const struct op *o)
{
	const struct cpu_board *board;
	u64 v;

	sys_need_cpl0(c);
	switch (o->r[1]) {
	case 0:
		v = c->cr0;
		break;
	case 2:
		v = c->cr2;
		break;
	case 3:
		v = c->cr3;
		break;
	case 4:
		v = c->cr4;
		break;
	default:
		board = soft_board(c);
		v = board->tpr_read(board->ctx, &c->base);
	}
	soft_reg_set(c, o->r[0], c->long64 ? 8 : 4, v);
	return soft_end(c, o);
}

static const struct op *mov_to_cr(struct soft_cpu *c, const struct op *o)
{
	u64 v = soft_reg_get(c, o->r[1], c->long64 ? 8 : 4);
	const struct cpu_board *board;

	sys_need_cpl0(c);
	switch (o->r[0]) {
	case 0:
		control_write_cr0(c, v);
		break;
	case 2:
		c->cr2 = v;
		break;
	case 3:
		control_write_cr3(c, v);
		break;
	case 4:
		control_write_cr4(c, v);
		break;
	default:
		if (v > 15)
			gp0(c);
		board = soft_board(c);
		board->tpr_write(board->ctx, &c->base, (u8)v);
	}
	return soft_end(c, o);
}

/* ---- MOV DRn ---- */

static unsigned check_dr(struct soft_cpu *c, unsigned n)
{
	if (n == 4 || n == 5) {
		if (c->cr4 & CR4_DE)
			soft_raise(c, EXC_UD);
		n += 2;
	}
	sys_need_cpl0(c);
	if (c->dr7 & DR7_GD)
		soft_raise_db(c, DR6_BD, soft_op_rip(c, c->op));
	return n;
}

static const struct op *mov_from_dr(struct soft_cpu *c, const struct op *o)
{
	unsigned n = check_dr(c, o->r[1]);

	soft_reg_set(c, o->r[0], c->long64 ? 8 : 4, debug_read(c, n));
	return soft_end(c, o);
}

static const struct op *mov_to_dr(struct soft_cpu *c, const struct op *o)
{
	unsigned n = check_dr(c, o->r[0]);
	u64 v = soft_reg_get(c, o->r[1], c->long64 ? 8 : 4);

	if (n >= 6 && v >> 32)
		gp0(c);
	debug_write(c, n, v);
	return soft_end(c, o);
}

bool sys_bind_mov(struct op *o, const struct insn *i)
{
	const ZydisDecodedOperand *ops = i->operands;
	ZydisRegisterClass to =
	        ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER ? ZydisRegisterGetClass(ops[0].reg.value) : 0;
	ZydisRegisterClass from =
	        ops[1].type == ZYDIS_OPERAND_TYPE_REGISTER ? ZydisRegisterGetClass(ops[1].reg.value) : 0;
	bool write = to == ZYDIS_REGCLASS_CONTROL || to == ZYDIS_REGCLASS_DEBUG;
	unsigned n;

	if (to == ZYDIS_REGCLASS_SEGMENT) {
		o->fn = sys_mov_to_seg;
		return o->r[0] != SEG_CS && o->r[0] < SEG_COUNT;
	}
	if (from == ZYDIS_REGCLASS_SEGMENT) {
		o->fn = sys_mov_from_seg;
		return o->r[1] < SEG_COUNT;
	}
	if (i->z.attributes & ZYDIS_ATTRIB_HAS_LOCK)
		return false;
	n = o->r[write ? 0 : 1];
	if (to == ZYDIS_REGCLASS_CONTROL || from == ZYDIS_REGCLASS_CONTROL) {
		o->fn = write ? mov_to_cr : mov_from_cr;
		return n == 0 || n == 2 || n == 3 || n == 4 || n == 8;
	}
	if (to == ZYDIS_REGCLASS_DEBUG || from == ZYDIS_REGCLASS_DEBUG) {
		o->fn = write ? mov_to_dr : mov_from_dr;
		return n < 8;
	}
	return false;
}

/* ---- CLTS, LMSW, SMSW ---- */

const struct op *sys_clts(struct soft_cpu *c, const struct op *o)
{
	sys_need_cpl0(c);
	c->cr0 &= ~CR0_TS;
	soft_update(c);
	return soft_end(c, o);
}

const struct op *sys_lmsw(struct soft_cpu *c, const struct op *o)
{
	u64 v;

	sys_need_cpl0(c);
	v = op_read(c, o, 0, 2);
	control_write_cr0(c,
	                  (c->cr0 & ~(CR0_MP | CR0_EM | CR0_TS)) | (v & (CR0_PE | CR0_MP | CR0_EM | CR0_TS)));
	return soft_end(c, o);
}

const struct op *sys_smsw(struct soft_cpu *c, const struct op *o)
{
	sys_need_umip(c);
	sys_write16(c, o, c->cr0);
	return soft_end(c, o);
}
