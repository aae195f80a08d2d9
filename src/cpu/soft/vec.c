/*
 * The vector unit of one vCPU: where its state is, and when it may be used.
 */
#include "cpu/soft/features.h"
#include "cpu/soft/jit.h"
#include "cpu/soft/vec.h"
#include "cpu/soft/vec_signal.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

/* Legacy area and header that give XRSTOR the initial configuration of everything: what host code expects. */
static const u8 host_image[XSAVE_YMMH] __attribute__((aligned(64))) = {
        [XSAVE_FCW] = 0x7f,
        [XSAVE_FCW + 1] = 0x03,
        [XSAVE_MXCSR] = VEC_MXCSR_INIT & 0xff,
        [XSAVE_MXCSR + 1] = VEC_MXCSR_INIT >> 8,
};

const struct xstate_component xstate_components[XSTATE_COMPONENTS] = {
        {2, 576, 256}, {5, 1088, 64}, {6, 1152, 512}, {7, 1664, 1024}};

struct vec_layout vec_layout = {.components = XSTATE_LOW, .offset = {XSAVE_YMMH}};

static inline void xrstor(const void *image)
{
	__asm__ volatile("xrstor64 (%0)" : : "r"(image), "a"(vec_layout.components), "d"(0) : "memory");
}

/* Of AVX-512's, those that are not in their initial configuration. */
static inline u32 high_in_use(void)
{
	u32 used, high;

	if (!(vec_layout.components & XSTATE_AVX512))
		return 0;
	__asm__ volatile("xgetbv" : "=a"(used), "=d"(high) : "c"(1));
	return used & vec_layout.components & XSTATE_AVX512;
}

static void high_clear(struct soft_cpu *c, u32 components)
{
	for (unsigned i = 0; i < XSTATE_COMPONENTS; i++)
		if (components >> xstate_components[i].bit & 1)
			memset(c->xsave + vec_layout.offset[i], 0, xstate_components[i].size);
}

void soft_vec_park(struct soft_cpu *c)
{
	u32 high;

	if (!c->vec_live)
		return;
	high = high_in_use();
	*(u64 *)(c->xsave + XSAVE_BV) = 0;
	__asm__ volatile("xsave64 (%0)" : : "r"(c->xsave), "a"(XSTATE_LOW | high), "d"(0) : "memory");
	xrstor(host_image);
	if (unlikely(c->vec_high & ~high))
		high_clear(c, c->vec_high & ~high);
	c->vec_high = (u8)high;
	c->vec_live = false;
	soft_vec_note(c);
	*(u16 *)(c->xsave + XSAVE_FOP) = c->fpu_op;
	*(u64 *)(c->xsave + XSAVE_FIP) = c->fpu_ip;
	*(u64 *)(c->xsave + XSAVE_FDP) = c->fpu_dp;
	*(u32 *)(c->xsave + XSAVE_MXCSR_MASK) = VEC_MXCSR_MASK;
}

u32 *vec_lane(struct soft_cpu *c, unsigned reg, unsigned dword)
{
	u8 *x = c->xsave;

	if (reg >= 16)
		return (u32 *)(x + vec_layout.offset[3] + (reg - 16) * 64 + dword * 4);
	if (dword < 4)
		return (u32 *)(x + XSAVE_XMM + reg * 16 + dword * 4);
	if (dword < 8)
		return (u32 *)(x + XSAVE_YMMH + reg * 16 + (dword - 4) * 4);
	return (u32 *)(x + vec_layout.offset[2] + reg * 32 + (dword - 8) * 4);
}

void vec_lanes_written(struct soft_cpu *c)
{
	u32 high = vec_layout.components & XSTATE_AVX512;

	*(u64 *)(c->xsave + XSAVE_BV) |= XSTATE_SSE | XSTATE_AVX | high;
	c->vec_high |= (u8)high;
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

static void layout_init(void)
{
	u32 high = (u32)soft_feature_xcr0() & XSTATE_AVX512;

	for (unsigned i = 1; i < XSTATE_COMPONENTS && high; i++) {
		u32 eax = 0xd, ebx, ecx = xstate_components[i].bit, edx;

		__asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
		vec_layout.offset[i] = (u16)ebx;
	}
	vec_layout.components = XSTATE_LOW | high;
}

int soft_vec_init(struct soft_cpu *c, struct error *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	u32 eax = 1, ebx, ecx = 0, edx, xcr0, high;

	__asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	if (!(ecx & BIT(27)))
		return error_set(e, ENOTSUP, "the host CPU has no XSAVE");
	__asm__("xgetbv" : "=a"(xcr0), "=d"(high) : "c"(0));
	if ((xcr0 & XSTATE_LOW) != XSTATE_LOW)
		return error_set(e, ENOTSUP, "the host CPU has no AVX");
	pthread_once(&once, layout_init);
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
	c->vec_high = 0;
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
	memset(image, 0, VCPU_XSAVE_SIZE);
	memcpy(image, c->xsave, XSAVE_YMMH);
	for (unsigned i = 0; i < XSTATE_COMPONENTS; i++)
		if (vec_layout.components >> xstate_components[i].bit & 1)
			memcpy(image + xstate_components[i].offset, c->xsave + vec_layout.offset[i],
			       xstate_components[i].size);
}

void soft_vec_set_image(struct soft_cpu *c, const u8 image[VCPU_XSAVE_SIZE])
{
	u64 present;

	soft_vec_park(c);
	memset(c->xsave, 0, sizeof(c->xsave));
	memcpy(c->xsave, image, XSAVE_YMMH);
	present = *(u64 *)(c->xsave + XSAVE_BV) & vec_layout.components;
	memset(c->xsave + XSAVE_BV, 0, XSAVE_YMMH - XSAVE_BV);
	*(u64 *)(c->xsave + XSAVE_BV) = present;
	c->vec_high = (u8)present & XSTATE_AVX512;
	if (!(present & XSTATE_X87)) {
		memset(c->xsave, 0, XSAVE_MXCSR);
		memset(c->xsave + XSAVE_ST, 0, XSAVE_XMM - XSAVE_ST);
		*(u16 *)(c->xsave + XSAVE_FCW) = 0x37f;
	}
	if (!(present & XSTATE_SSE))
		memset(c->xsave + XSAVE_XMM, 0, XSAVE_LEGACY_END - XSAVE_XMM);
	for (unsigned i = 0; i < XSTATE_COMPONENTS; i++)
		if (present >> xstate_components[i].bit & 1)
			memcpy(c->xsave + vec_layout.offset[i], image + xstate_components[i].offset,
			       xstate_components[i].size);
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
	if (deny & VEC_DENY_AVX || (c->xcr0 & XSTATE_AVX512) != XSTATE_AVX512)
		deny |= VEC_DENY_AVX512;
	c->vec_deny = (u8)deny;
	soft_vec_note(c);
}

/* #UD goes before #NM. */
void vec_denied(struct soft_cpu *c, unsigned vclass)
{
	if (c->vec_deny & vclass & (VEC_DENY_SSE | VEC_DENY_AVX | VEC_DENY_AVX512 | VEC_DENY_MMX))
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
