#include "cpu/soft/msr.h"
#include "base/clock.h"
#include "cpu/soft/segment.h"
#include "cpu/soft/sys.h"
#include "cpu/soft/walk.h"

/* MSR numbers, SDM vol. 4 ch. 2.1. */
enum {
	MSR_TSC = 0x10,
	MSR_PLATFORM_ID = 0x17,
	MSR_FEATURE_CONTROL = 0x3a,
	MSR_TSC_ADJUST = 0x3b,
	MSR_SPEC_CTRL = 0x48,
	MSR_PRED_CMD = 0x49,
	MSR_UCODE_REV = 0x8b,
	MSR_PLATFORM_INFO = 0xce,
	MSR_MTRRCAP = 0xfe,
	MSR_ARCH_CAPABILITIES = 0x10a,
	MSR_FLUSH_CMD = 0x10b,
	MSR_MISC_FEATURES = 0x140,
	MSR_SYSENTER_CS = 0x174,
	MSR_SYSENTER_ESP = 0x175,
	MSR_SYSENTER_EIP = 0x176,
	MSR_MCG_CAP = 0x179,
	MSR_MCG_STATUS = 0x17a,
	MSR_MISC_ENABLE = 0x1a0,
	MSR_DEBUGCTL = 0x1d9,
	MSR_MTRR_PHYS = 0x200,
	MSR_MTRR_FIX64K = 0x250,
	MSR_MTRR_FIX16K = 0x258,
	MSR_MTRR_FIX4K = 0x268,
	MSR_PAT = 0x277,
	MSR_MTRR_DEF_TYPE = 0x2ff,
	MSR_XSS = 0xda0,
	MSR_EFER = 0xc0000080,
	MSR_STAR,
	MSR_LSTAR,
	MSR_CSTAR,
	MSR_SFMASK,
	MSR_FS_BASE = 0xc0000100,
	MSR_GS_BASE,
	MSR_KERNEL_GS_BASE,
	MSR_TSC_AUX,
};

/*
 * IA32_ARCH_CAPABILITIES: what this processor is not vulnerable to, so that guests choose the cheap
 * mitigations: RDCL_NO, IBRS_ALL, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO, PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO,
 * FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO.
 */
#define ARCH_CAPABILITIES                                                                             \
	(BIT(0) | BIT(1) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(13) | BIT(14) | BIT(15) | \
	 BIT(20) | BIT(24) | BIT(26) | BIT(27) | BIT(62))

#define UCODE_REV        (0x0d000404ULL << 32)
#define FEATURE_LOCKED   1
#define SPEC_CTRL_BITS   (7 | BIT(10))          /* IBRS, STIBP, SSBD, BHI_DIS_S */
#define MTRRCAP          (8 | BIT(8) | BIT(10)) /* variable ranges, fixed ranges, WC */
#define MTRR_DEF_BITS    0xcffULL
#define MISC_ENABLE_BITS 0x400c50809ULL
#define MISC_ENABLE_RO   0x1880ULL /* performance monitoring; BTS, PEBS unavailable */
#define MISC_ENABLE_SET  0x1800ULL
#define DEBUGCTL_BITS    3ULL /* LBR, BTF */
#define MCG_STATUS_BITS  7ULL

enum { R = 1, W = 2, RW = R | W };

struct row {
	u32 first;
	u16 count;
	u8 access;                              /* R, W */
	u16 offset;                             /* of count u64s in struct soft_cpu; 0: none */
	u64 mask;                               /* bits that may be written as 1 */
	u64 constant;                           /* what is read if there is neither function nor offset */
	u64 (*read)(struct soft_cpu *c, u32 n); /* n: number - first */
	bool (*write)(struct soft_cpu *c, u32 n, u64 value);
};

/* ---- time ---- */

static u64 read_tsc(struct soft_cpu *c, u32 n)
{
	return clock_tsc() + atomic_load(&c->base.tsc_offset);
}

/* A write to either moves the other by as much. */
static bool write_tsc(struct soft_cpu *c, u32 n, u64 v)
{
	u64 offset = v - clock_tsc();

	c->tsc_adjust += offset - atomic_load(&c->base.tsc_offset);
	atomic_store(&c->base.tsc_offset, offset);
	return true;
}

static bool write_tsc_adjust(struct soft_cpu *c, u32 n, u64 v)
{
	atomic_fetch_add(&c->base.tsc_offset, v - c->tsc_adjust);
	c->tsc_adjust = v;
	return true;
}

/* ---- memory types ---- */

static bool mtrr_type(u64 t)
{
	return t == 0 || t == 1 || t == 4 || t == 5 || t == 6;
}
static bool pat_type(u64 t)
{
	return mtrr_type(t) || t == 7;
}

static bool all_bytes(u64 v, bool (*ok)(u64))
{
	for (unsigned i = 0; i < 8; i++)
		if (!ok(v >> 8 * i & 0xff))
			return false;
	return true;
}

static bool write_pat(struct soft_cpu *c, u32 n, u64 v)
{
	if (!all_bytes(v, pat_type))
		return false;
	c->pat = v;
	return true;
}

static u64 read_mtrr_phys(struct soft_cpu *c, u32 n)
{
	return n & 1 ? c->mtrr_mask[n / 2] : c->mtrr_base[n / 2];
}

static bool write_mtrr_phys(struct soft_cpu *c, u32 n, u64 v)
{
	u64 address = MASK(SOFT_PHYS_BITS) & ~0xfffULL;

	if (n & 1) {
		if (v & ~(address | BIT(11)))
			return false;
		c->mtrr_mask[n / 2] = v;
	} else {
		if (v & ~(address | 0xff) || !mtrr_type(v & 0xff))
			return false;
		c->mtrr_base[n / 2] = v;
	}
	return true;
}

static bool write_fixed(struct soft_cpu *c, unsigned at, u64 v)
{
	if (!all_bytes(v, mtrr_type))
		return false;
	c->mtrr_fixed[at] = v;
	return true;
}

static bool write_fix64k(struct soft_cpu *c, u32 n, u64 v)
{
	return write_fixed(c, n, v);
}
static bool write_fix16k(struct soft_cpu *c, u32 n, u64 v)
{
	return write_fixed(c, 1 + n, v);
}
static bool write_fix4k(struct soft_cpu *c, u32 n, u64 v)
{
	return write_fixed(c, 3 + n, v);
}

static bool write_mtrr_def(struct soft_cpu *c, u32 n, u64 v)
{
	if (!mtrr_type(v & 0xff))
		return false;
	c->mtrr_def_type = v;
	return true;
}

/* ---- bits with a life of their own ---- */

static u64 read_misc_enable(struct soft_cpu *c, u32 n)
{
	return c->misc_enable | MISC_ENABLE_SET;
}

static bool write_misc_enable(struct soft_cpu *c, u32 n, u64 v)
{
	c->misc_enable = v & MISC_ENABLE_BITS & ~MISC_ENABLE_RO;
	return true;
}

static u64 read_platform_info(struct soft_cpu *c, u32 n)
{
	return (c->base.config.tsc_hz / 100000000 & 0xff) << 8;
}

static bool write_efer(struct soft_cpu *c, u32 n, u64 v)
{
	return control_write_efer(c, v);
}

/* ---- bases, entry points ---- */

static bool write_base(struct soft_cpu *c, unsigned seg, u64 v)
{
	if (!canonical(v))
		return false;
	c->seg[seg].base = v;
	soft_update(c);
	return true;
}

static u64 read_fs(struct soft_cpu *c, u32 n)
{
	return c->seg[SEG_FS].base;
}
static u64 read_gs(struct soft_cpu *c, u32 n)
{
	return c->seg[SEG_GS].base;
}
static bool write_fs(struct soft_cpu *c, u32 n, u64 v)
{
	return write_base(c, SEG_FS, v);
}
static bool write_gs(struct soft_cpu *c, u32 n, u64 v)
{
	return write_base(c, SEG_GS, v);
}

static bool set_canonical(u64 *at, u64 v)
{
	if (!canonical(v))
		return false;
	*at = v;
	return true;
}

static bool write_kernel_gs(struct soft_cpu *c, u32 n, u64 v)
{
	return set_canonical(&c->kernel_gs_base, v);
}
static bool write_star(struct soft_cpu *c, u32 n, u64 v)
{
	c->star = v;
	soft_syscall_changed(c);
	return true;
}
static bool write_sfmask(struct soft_cpu *c, u32 n, u64 v)
{
	c->sfmask = v;
	soft_syscall_changed(c);
	return true;
}
static bool write_lstar(struct soft_cpu *c, u32 n, u64 v)
{
	return set_canonical(&c->lstar, v);
}
static bool write_cstar(struct soft_cpu *c, u32 n, u64 v)
{
	return set_canonical(&c->cstar, v);
}
static bool write_sysenter_esp(struct soft_cpu *c, u32 n, u64 v)
{
	return set_canonical(&c->sysenter_esp, v);
}
static bool write_sysenter_eip(struct soft_cpu *c, u32 n, u64 v)
{
	return set_canonical(&c->sysenter_eip, v);
}

#define AT(field) offsetof(struct soft_cpu, field)

#define ALL (~0ULL)

/* Sorted by number. What is written and has neither function nor offset is dropped. */
static const struct row rows[] = {
        {MSR_TSC, 1, RW, 0, ALL, 0, read_tsc, write_tsc},
        {MSR_PLATFORM_ID, 1, R},
        {MSR_FEATURE_CONTROL, 1, R, .constant = FEATURE_LOCKED},
        {MSR_TSC_ADJUST, 1, RW, AT(tsc_adjust), ALL, .write = write_tsc_adjust},
        {MSR_SPEC_CTRL, 1, RW, AT(spec_ctrl), SPEC_CTRL_BITS},
        {MSR_PRED_CMD, 1, W, 0, 1},
        {MSR_UCODE_REV, 1, RW, 0, ALL, UCODE_REV},
        {MSR_PLATFORM_INFO, 1, R, .read = read_platform_info},
        {MSR_MTRRCAP, 1, R, .constant = MTRRCAP},
        {MSR_ARCH_CAPABILITIES, 1, R, .constant = ARCH_CAPABILITIES},
        {MSR_FLUSH_CMD, 1, W, 0, 1},
        {MSR_MISC_FEATURES, 1, RW},
        {MSR_SYSENTER_CS, 1, RW, AT(sysenter_cs), ALL},
        {MSR_SYSENTER_ESP, 1, RW, AT(sysenter_esp), ALL, .write = write_sysenter_esp},
        {MSR_SYSENTER_EIP, 1, RW, AT(sysenter_eip), ALL, .write = write_sysenter_eip},
        {MSR_MCG_CAP, 1, R},
        {MSR_MCG_STATUS, 1, RW, 0, MCG_STATUS_BITS},
        {MSR_MISC_ENABLE, 1, RW, 0, MISC_ENABLE_BITS | MISC_ENABLE_RO, 0, read_misc_enable,
         write_misc_enable},
        {MSR_DEBUGCTL, 1, RW, AT(debugctl), DEBUGCTL_BITS},
        {MSR_MTRR_PHYS, 16, RW, 0, ALL, 0, read_mtrr_phys, write_mtrr_phys},
        {MSR_MTRR_FIX64K, 1, RW, AT(mtrr_fixed[0]), ALL, .write = write_fix64k},
        {MSR_MTRR_FIX16K, 2, RW, AT(mtrr_fixed[1]), ALL, .write = write_fix16k},
        {MSR_MTRR_FIX4K, 8, RW, AT(mtrr_fixed[3]), ALL, .write = write_fix4k},
        {MSR_PAT, 1, RW, AT(pat), ALL, .write = write_pat},
        {MSR_MTRR_DEF_TYPE, 1, RW, AT(mtrr_def_type), MTRR_DEF_BITS, .write = write_mtrr_def},
        {MSR_XSS, 1, RW, AT(xss), 0},
        {MSR_EFER, 1, RW, AT(efer), ALL, .write = write_efer},
        {MSR_STAR, 1, RW, AT(star), ALL, .write = write_star},
        {MSR_LSTAR, 1, RW, AT(lstar), ALL, .write = write_lstar},
        {MSR_CSTAR, 1, RW, AT(cstar), ALL, .write = write_cstar},
        {MSR_SFMASK, 1, RW, AT(sfmask), 0xffffffff, .write = write_sfmask},
        {MSR_FS_BASE, 1, RW, 0, ALL, 0, read_fs, write_fs},
        {MSR_GS_BASE, 1, RW, 0, ALL, 0, read_gs, write_gs},
        {MSR_KERNEL_GS_BASE, 1, RW, AT(kernel_gs_base), ALL, .write = write_kernel_gs},
        {MSR_TSC_AUX, 1, RW, AT(tsc_aux), 0xffffffff},
};

static const struct row *find(u32 number)
{
	unsigned low = 0, high = ARRAY_SIZE(rows);

	while (low < high) {
		unsigned mid = (low + high) / 2;

		if (number < rows[mid].first)
			high = mid;
		else if (number - rows[mid].first < rows[mid].count)
			return &rows[mid];
		else
			low = mid + 1;
	}
	return NULL;
}

static u64 *field(struct soft_cpu *c, const struct row *r, u32 n)
{
	return (u64 *)((u8 *)c + r->offset) + n;
}

bool msr_read(struct soft_cpu *c, u32 number, u64 *value)
{
	const struct row *r = find(number);
	u32 n;

	if (!r) {
		const struct cpu_board *board = soft_board(c);

		return board->msr_read(board->ctx, &c->base, number, value);
	}
	if (!(r->access & R))
		return false;
	n = number - r->first;
	*value = r->read ? r->read(c, n) : r->offset ? *field(c, r, n) : r->constant;
	return true;
}

bool msr_write(struct soft_cpu *c, u32 number, u64 value)
{
	const struct row *r = find(number);
	u32 n;

	if (!r) {
		const struct cpu_board *board = soft_board(c);

		return board->msr_write(board->ctx, &c->base, number, value);
	}
	if (!(r->access & W) || value & ~r->mask)
		return false;
	n = number - r->first;
	if (r->write)
		return r->write(c, n, value);
	if (r->offset)
		*field(c, r, n) = value;
	return true;
}
