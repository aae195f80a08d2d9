/*
 * The vector unit of one vCPU: where its state is, and when it may be used.
 */
#include "cpu/soft/jit.h"
#include "cpu/soft/vec.h"
#include "cpu/soft/vec_signal.h"

#include <errno.h>
#include <string.h>

/* Legacy area and header that give XRSTOR the initial configuration of everything: what host code expects. */
static const u8 host_image[XSAVE_YMMH] __attribute__((aligned(64))) = {
        [XSAVE_FCW] = 0x7f,
        [XSAVE_FCW + 1] = 0x03,
        [XSAVE_MXCSR] = VEC_MXCSR_INIT & 0xff,
        [XSAVE_MXCSR + 1] = VEC_MXCSR_INIT >> 8,
};

static inline void xrstor(const void *image)
{
	__asm__ volatile("xrstor64 (%0)" : : "r"(image), "a"(XSTATE_ALL), "d"(0) : "memory");
}

void soft_vec_park(struct soft_cpu *c)
{
	if (!c->vec_live)
		return;
	__asm__ volatile("xsave64 (%0)" : : "r"(c->xsave), "a"(XSTATE_ALL), "d"(0) : "memory");
	xrstor(host_image);
	c->vec_live = false;
	soft_vec_note(c);
	*(u16 *)(c->xsave + XSAVE_FOP) = c->fpu_op;
	*(u64 *)(c->xsave + XSAVE_FIP) = c->fpu_ip;
	*(u64 *)(c->xsave + XSAVE_FDP) = c->fpu_dp;
	*(u32 *)(c->xsave + XSAVE_MXCSR_MASK) = VEC_MXCSR_MASK;
}

static void fault_entry(void *cpu, unsigned trap)
{
	soft_vec_fault(cpu, trap);
}

void soft_vec_unpark(struct soft_cpu *c)
{
	struct vec_site site = {.cpu = c,
	                        .start = (uintptr_t)vec_stub_at(c, 0),
	                        .end = (uintptr_t)vec_stub_at(c, 0x8000),
	                        .entry = fault_entry};

	if (c->vec_live)
		return;
	if (c->jit)
		soft_jit_site(c, &site.code, &site.code_end, &site.code_entry);
	vec_signal_site(&site);
	xrstor(c->xsave);
	c->vec_live = true;
	soft_vec_note(c);
}

bool soft_vec_sha_aligned(void)
{
	u32 eax = 0, ebx, ecx = 0, edx;

	__asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	return ebx != 0x68747541; /* "Auth"enticAMD */
}

int soft_vec_init(struct soft_cpu *c, struct error *e)
{
	u32 eax = 1, ebx, ecx = 0, edx, xcr0, high;

	__asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	if (!(ecx & BIT(27)))
		return error_set(e, ENOTSUP, "the host CPU has no XSAVE");
	__asm__("xgetbv" : "=a"(xcr0), "=d"(high) : "c"(0));
	if ((xcr0 & XSTATE_ALL) != XSTATE_ALL)
		return error_set(e, ENOTSUP, "the host CPU has no AVX");
	if (vec_signal_init(e) < 0 || vec_stubs_init(c, e) < 0)
		return -1;
	soft_vec_reset(c);
	return 0;
}

void soft_vec_release(struct soft_cpu *c)
{
	static const struct vec_site none;

	soft_vec_park(c);
	vec_signal_site(&none);
	vec_stubs_release(c);
}

void soft_vec_reset(struct soft_cpu *c)
{
	soft_vec_park(c);
	memset(c->xsave, 0, sizeof(c->xsave));
	/* RESET, not FNINIT: all registers are +0.0 and tagged as such (SDM vol. 3 table 9-1). */
	*(u16 *)(c->xsave + XSAVE_FCW) = 0x40;
	c->xsave[XSAVE_FTW] = 0xff;
	*(u32 *)(c->xsave + XSAVE_MXCSR) = VEC_MXCSR_INIT;
	*(u32 *)(c->xsave + XSAVE_MXCSR_MASK) = VEC_MXCSR_MASK;
	*(u64 *)(c->xsave + XSAVE_BV) = XSTATE_X87;
	c->fpu_ip = c->fpu_dp = 0;
	c->fpu_op = 0;
}

void soft_vec_get_image(struct soft_cpu *c, u8 image[VCPU_XSAVE_SIZE])
{
	soft_vec_park(c);
	memcpy(image, c->xsave, VCPU_XSAVE_SIZE);
}

void soft_vec_set_image(struct soft_cpu *c, const u8 image[VCPU_XSAVE_SIZE])
{
	u64 present;

	soft_vec_park(c);
	memcpy(c->xsave, image, VCPU_XSAVE_SIZE);
	present = *(u64 *)(c->xsave + XSAVE_BV) & XSTATE_ALL;
	memset(c->xsave + XSAVE_BV, 0, XSAVE_YMMH - XSAVE_BV);
	*(u64 *)(c->xsave + XSAVE_BV) = present;
	if (!(present & XSTATE_X87)) {
		memset(c->xsave, 0, XSAVE_MXCSR);
		memset(c->xsave + XSAVE_ST, 0, XSAVE_XMM - XSAVE_ST);
		*(u16 *)(c->xsave + XSAVE_FCW) = 0x37f;
	}
	if (!(present & XSTATE_SSE))
		memset(c->xsave + XSAVE_XMM, 0, XSAVE_LEGACY_END - XSAVE_XMM);
	if (!(present & XSTATE_AVX))
		memset(c->xsave + XSAVE_YMMH, 0, XSAVE_END - XSAVE_YMMH);
	*(u32 *)(c->xsave + XSAVE_MXCSR) &= VEC_MXCSR_MASK;
	*(u32 *)(c->xsave + XSAVE_MXCSR_MASK) = VEC_MXCSR_MASK;
	c->fpu_op = *(u16 *)(c->xsave + XSAVE_FOP) & 0x7ff;
	c->fpu_ip = *(u64 *)(c->xsave + XSAVE_FIP);
	c->fpu_dp = *(u64 *)(c->xsave + XSAVE_FDP);
}

void soft_vec_update(struct soft_cpu *c)
{
	unsigned deny = 0;

	if (c->cr0 & CR0_EM)
		deny |= VEC_DENY_X87_EM | VEC_DENY_MMX | VEC_DENY_SSE;
	if (c->cr0 & CR0_TS)
		deny |= VEC_DENY_TS | (c->cr0 & CR0_MP ? VEC_DENY_WAIT : 0);
	if (!(c->cr4 & CR4_OSFXSR))
		deny |= VEC_DENY_SSE;
	if (!(c->cr4 & CR4_OSXSAVE) || (c->xcr0 & 6) != 6 || soft_real(c))
		deny |= VEC_DENY_AVX;
	c->vec_deny = (u8)deny;
	soft_vec_note(c);
}

/* #UD goes before #NM. */
void vec_denied(struct soft_cpu *c, unsigned vclass)
{
	if (c->vec_deny & vclass & (VEC_DENY_SSE | VEC_DENY_AVX | VEC_DENY_MMX))
		soft_raise(c, EXC_UD);
	soft_raise(c, EXC_NM);
}

void vec_wait(struct soft_cpu *c)
{
	vec_enter(c);
	((vec_stub_fn)vec_stub_at(c, VEC_STUB_FWAIT))(NULL);
}

void soft_vec_fault(struct soft_cpu *c, unsigned trap)
{
	const struct cpu_board *board;

	if (trap == EXC_XM)
		soft_raise(c, c->cr4 & CR4_OSXMMEXCPT ? EXC_XM : EXC_UD);
	if (c->cr0 & CR0_NE)
		soft_raise(c, EXC_MF);
	/* The PC way (SDM vol. 3 8.6.1.1, vol. 1 8.7): FERR# goes up and the CPU waits before this
	 * instruction. */
	board = soft_board(c);
	board->ferr(board->ctx, &c->base);
	c->rip = soft_op_rip(c, c->op);
	c->op = NULL;
	soft_longjmp(c->jmp);
}
