/*
 * x87 instructions that save and load the environment (SDM vol. 1 8.1.10), and the control ones whose
 * operands need a look before the host sees them.
 *
 * The host runs FNSTENV and its like in the 32-bit protected-mode format; here it becomes the format of the
 * guest's mode and operand size, with the guest's own pointers. CS and DS selectors are stored as zero, as
 * CPUs that deprecate them do.
 */
#include "cpu/soft/mmu.h"
#include "cpu/soft/vec.h"

/* 32-bit protected-mode environment, as the host stores it in 64-bit mode. */
struct x87_env {
	u16 cw, pad0, sw, pad1, tw, pad2;
	u32 ip;
	u16 cs, op;
	u32 dp;
	u16 ds, pad3;
};
_Static_assert(sizeof(struct x87_env) == 28, "SDM vol. 1 figure 8-9");

struct x87_full {
	struct x87_env env;
	u8 st[80];
};

static bool is_16bit(const struct op *o)
{
	return o->osize == 2;
}
static unsigned env_size(const struct op *o)
{
	return is_16bit(o) ? 14 : 28;
}

/* The area is an array of words or doublewords, also for alignment checks (SDM vol. 3 table 6-7). */
static u64 area(struct soft_cpu *c, const struct op *o, unsigned size, enum soft_access access)
{
	u64 linear = op_linear(c, o, size, access);

	if (unlikely(c->cr0 & CR0_AM && c->rflags & FLAG_AC && c->cpl == 3 && linear & (is_16bit(o) ? 1 : 3)))
		soft_raise_error(c, EXC_AC, 0);
	return linear;
}

/* buf has room for 28 bytes. */
static void env_encode(const struct soft_cpu *c, const struct op *o, const struct x87_env *e, u8 *buf)
{
	bool real = soft_real(c);
	/* In real mode the pointers are linear addresses, of which there is no CS:IP any more; CS counts as
	 * zero. */
	u32 ip = (u32)c->fpu_ip, dp = (u32)c->fpu_dp;

	if (is_16bit(o)) {
		u16 *w = (u16 *)buf;

		w[0] = e->cw;
		w[1] = e->sw;
		w[2] = e->tw;
		w[3] = (u16)ip;
		w[4] = real ? (u16)((ip >> 4 & 0xf000) | c->fpu_op) : 0;
		w[5] = (u16)dp;
		w[6] = real ? (u16)(dp >> 4 & 0xf000) : 0;
		return;
	}
	u32 *d = (u32 *)buf;

	d[0] = 0xffff0000 | e->cw;
	d[1] = 0xffff0000 | e->sw;
	d[2] = 0xffff0000 | e->tw;
	if (real) {
		d[3] = 0xffff0000 | (ip & 0xffff);
		d[4] = (ip >> 16 << 12) | c->fpu_op;
		d[5] = 0xffff0000 | (dp & 0xffff);
		d[6] = dp >> 16 << 12;
	} else {
		d[3] = ip;
		d[4] = (u32)c->fpu_op << 16;
		d[5] = dp;
		d[6] = 0xffff0000;
	}
}

/* Into *e for the host, the pointers into c. */
static void env_decode(struct soft_cpu *c, const struct op *o, const u8 *buf, struct x87_env *e)
{
	const u16 *w = (const u16 *)buf;
	const u32 *d = (const u32 *)buf;
	bool real = soft_real(c), small = is_16bit(o);
	u32 ip, dp, op;

	*e = (struct x87_env){.cw = w[0], .sw = w[small ? 1 : 2], .tw = w[small ? 2 : 4]};
	if (small) {
		ip = w[3] | (real ? (u32)(w[4] & 0xf000) << 4 : 0);
		dp = w[5] | (real ? (u32)(w[6] & 0xf000) << 4 : 0);
		op = real ? w[4] : 0;
	} else {
		ip = real ? (d[3] & 0xffff) | (d[4] & 0x0ffff000) << 4 : d[3];
		dp = real ? (d[5] & 0xffff) | (d[6] & 0x0ffff000) << 4 : d[5];
		op = real ? d[4] : d[4] >> 16;
	}
	c->fpu_ip = ip;
	c->fpu_dp = dp;
	c->fpu_op = op & 0x7ff;
}

static const struct op *x87_fnstenv(struct soft_cpu *c, const struct op *o)
{
	unsigned size = env_size(o);
	struct x87_env env;
	u8 buf[28] __attribute__((aligned(4)));
	u64 at;

	vec_check(c, o);
	at = area(c, o, size, SOFT_WRITE);
	soft_probe(c, at, size, SOFT_WRITE, o->seg);
	vec_enter(c);
	__asm__ volatile("fnstenv %0" : "=m"(env));
	vec_leave(c);
	env_encode(c, o, &env, buf);
	soft_write_bytes(c, at, buf, size, o->seg);
	return o + 1;
}

static const struct op *x87_fnsave(struct soft_cpu *c, const struct op *o)
{
	unsigned size = env_size(o);
	struct x87_full full;
	u8 buf[108] __attribute__((aligned(4)));
	u64 at;

	vec_check(c, o);
	at = area(c, o, size + 80, SOFT_WRITE);
	soft_probe(c, at, size + 80, SOFT_WRITE, o->seg);
	vec_enter(c);
	__asm__ volatile("fnsave %0" : "=m"(full));
	vec_leave(c);
	env_encode(c, o, &full.env, buf);
	vec_copy(buf + size, full.st, 80);
	c->fpu_ip = c->fpu_dp = 0;
	c->fpu_op = 0;
	soft_write_bytes(c, at, buf, size + 80, o->seg);
	return o + 1;
}

static const struct op *x87_fldenv(struct soft_cpu *c, const struct op *o)
{
	unsigned size = env_size(o);
	struct x87_env env;
	u8 buf[28] __attribute__((aligned(4)));

	vec_check(c, o);
	vec_wait(c);
	soft_read_bytes(c, area(c, o, size, SOFT_READ), buf, size, o->seg);
	env_decode(c, o, buf, &env);
	vec_enter(c);
	__asm__ volatile("fldenv %0" : : "m"(env));
	vec_leave(c);
	return o + 1;
}

static const struct op *x87_frstor(struct soft_cpu *c, const struct op *o)
{
	unsigned size = env_size(o);
	struct x87_full full;
	u8 buf[108] __attribute__((aligned(4)));

	vec_check(c, o);
	vec_wait(c);
	soft_read_bytes(c, area(c, o, size + 80, SOFT_READ), buf, size + 80, o->seg);
	env_decode(c, o, buf, &full.env);
	vec_copy(full.st, buf + size, 80);
	vec_enter(c);
	__asm__ volatile("frstor %0" : : "m"(full));
	vec_leave(c);
	return o + 1;
}

static const struct op *x87_fninit(struct soft_cpu *c, const struct op *o)
{
	vec_check(c, o);
	vec_enter(c);
	__asm__ volatile("fninit");
	vec_leave(c);
	c->fpu_ip = c->fpu_dp = 0;
	c->fpu_op = 0;
	return o + 1;
}

static const struct op *vec_ldmxcsr(struct soft_cpu *c, const struct op *o)
{
	u32 v;

	vec_check(c, o);
	v = soft_load32(c, op_linear(c, o, 4, SOFT_READ), o->seg);
	if (v & ~VEC_MXCSR_MASK)
		soft_raise_error(c, EXC_GP, 0);
	vec_enter(c);
	__asm__ volatile("ldmxcsr %0" : : "m"(v));
	vec_leave(c);
	return o + 1;
}

op_fn x87_control_fn(unsigned mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_FNSTENV:
		return x87_fnstenv;
	case ZYDIS_MNEMONIC_FNSAVE:
		return x87_fnsave;
	case ZYDIS_MNEMONIC_FLDENV:
		return x87_fldenv;
	case ZYDIS_MNEMONIC_FRSTOR:
		return x87_frstor;
	case ZYDIS_MNEMONIC_FNINIT:
		return x87_fninit;
	case ZYDIS_MNEMONIC_LDMXCSR:
	case ZYDIS_MNEMONIC_VLDMXCSR:
		return vec_ldmxcsr;
	default:
		return NULL;
	}
}
