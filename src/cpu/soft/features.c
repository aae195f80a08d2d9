/*
 * The model in two tables: features[] is the one source of CPUID's feature bits, of CR4's permitted bits, and
 * of the instruction sets that decode; everything else that CPUID tells is built below (SDM vol. 2 CPUID).
 */
#include "cpu/soft/features.h"
#include "cpu/soft/vec.h"
#include "cpu/soft/walk.h"

#include <Zydis/Zydis.h>

enum { EAX, EBX, ECX, EDX };

/* Leaves with feature bits. */
enum { L1_ECX, L1_EDX, L7_EBX, L7_ECX, L7_EDX, L71_EAX, L72_EDX, LD1_EAX, LX1_ECX, LX1_EDX, LX7_EDX, WORDS };

static const struct {
	u32 leaf, subleaf;
	u8 reg;
} words[WORDS] = {
        [L1_ECX] = {1, 0, ECX},           [L1_EDX] = {1, 0, EDX},           [L7_EBX] = {7, 0, EBX},
        [L7_ECX] = {7, 0, ECX},           [L7_EDX] = {7, 0, EDX},           [L71_EAX] = {7, 1, EAX},
        [L72_EDX] = {7, 2, EDX},          [LD1_EAX] = {0xd, 1, EAX},        [LX1_ECX] = {0x80000001, 0, ECX},
        [LX1_EDX] = {0x80000001, 0, EDX}, [LX7_EDX] = {0x80000007, 0, EDX},
};

/* What the host must have too, because the instructions run there. */
enum {
	ANY,
	HOST,
	HOST_AVX,   /* and its OS saves YMM registers */
	HOST_AVX512 /* and it has all of F, CD, BW, DQ and VL, and its OS saves their registers */
};

#define ISA(x) ZYDIS_ISA_SET_##x
/* Of AVX-512's sets: by vector length; and for opmask instructions. */
#define ISA_VL(x)  ISA(x##_128), ISA(x##_256), ISA(x##_512)
#define ISA_VLK(x) ISA_VL(x), ISA(x##_128N), ISA(x##_KOP)

static const struct feature {
	u8 word, bit, host;
	u32 cr4;
	u16 isa[10];
} features[] = {
        {L1_ECX, 0, HOST, 0, {ISA(SSE3), ISA(SSE3X87)}},
        {L1_ECX, 1, HOST, 0, {ISA(PCLMULQDQ)}},
        {L1_ECX, 9, HOST, 0, {ISA(SSSE3), ISA(SSSE3MMX)}},
        {L1_ECX, 12, HOST_AVX, 0, {ISA(FMA)}},
        {L1_ECX, 13, ANY, 0, {ISA(CMPXCHG16B)}},
        {L1_ECX, 17, ANY, CR4_PCIDE, {0}},
        {L1_ECX, 19, HOST, 0, {ISA(SSE4)}},
        {L1_ECX, 20, HOST, 0, {ISA(SSE42)}},
        {L1_ECX, 21, ANY, 0, {0}}, /* x2APIC */
        {L1_ECX, 22, ANY, 0, {ISA(MOVBE)}},
        {L1_ECX, 23, ANY, 0, {ISA(POPCNT)}},
        {L1_ECX, 24, ANY, 0, {0}}, /* TSC deadline */
        {L1_ECX, 25, HOST, 0, {ISA(AES)}},
        {L1_ECX, 26, HOST, CR4_OSXSAVE, {ISA(XSAVE)}},
        {L1_ECX, 28, HOST_AVX, 0, {ISA(AVX), ISA(AVXAES)}},
        {L1_ECX, 29, HOST_AVX, 0, {ISA(F16C)}},
        {L1_ECX, 30, HOST, 0, {ISA(RDRAND)}},
        {L1_ECX, 31, ANY, 0, {0}}, /* hypervisor present */

        {L1_EDX, 0, ANY, 0, {ISA(X87)}},
        {L1_EDX, 2, ANY, CR4_DE, {0}},
        {L1_EDX, 3, ANY, CR4_PSE, {0}},
        {L1_EDX, 4, ANY, CR4_TSD, {0}},
        {L1_EDX, 5, ANY, 0, {0}}, /* MSR */
        {L1_EDX, 6, ANY, CR4_PAE, {0}},
        {L1_EDX, 7, ANY, CR4_MCE, {0}},
        {L1_EDX, 8, ANY, 0, {0}},  /* CMPXCHG8B: in PENTIUMREAL */
        {L1_EDX, 9, ANY, 0, {0}},  /* APIC: if it is enabled */
        {L1_EDX, 11, ANY, 0, {0}}, /* SYSENTER: in PPRO */
        {L1_EDX, 12, ANY, 0, {0}}, /* MTRR */
        {L1_EDX, 13, ANY, CR4_PGE, {0}},
        {L1_EDX, 14, ANY, 0, {0}}, /* MCA */
        {L1_EDX, 15, ANY, 0, {ISA(CMOV), ISA(FCMOV)}},
        {L1_EDX, 16, ANY, 0, {0}}, /* PAT */
        {L1_EDX, 17, ANY, 0, {0}}, /* PSE-36 */
        {L1_EDX, 19, ANY, 0, {ISA(CLFSH)}},
        {L1_EDX, 23, HOST, 0, {ISA(PENTIUMMMX)}},
        {L1_EDX, 24, HOST, CR4_OSFXSR, {ISA(FXSAVE), ISA(FXSAVE64)}},
        {L1_EDX, 25, HOST, CR4_OSXMMEXCPT, {ISA(SSE), ISA(SSEMXCSR), ISA(SSE_PREFETCH)}},
        {L1_EDX, 26, HOST, 0, {ISA(SSE2), ISA(SSE2MMX)}},
        {L1_EDX, 27, ANY, 0, {0}}, /* self snoop */

        {L7_EBX, 0, ANY, CR4_FSGSBASE, {ISA(RDWRFSGS)}},
        {L7_EBX, 1, ANY, 0, {0}}, /* TSC_ADJUST */
        {L7_EBX, 3, ANY, 0, {ISA(BMI1)}},
        {L7_EBX, 5, HOST_AVX, 0, {ISA(AVX2), ISA(AVX2GATHER)}},
        {L7_EBX, 7, ANY, CR4_SMEP, {0}},
        {L7_EBX, 8, ANY, 0, {ISA(BMI2)}},
        {L7_EBX, 9, ANY, 0, {0}}, /* ERMS */
        {L7_EBX, 10, ANY, 0, {ISA(INVPCID)}},
        {L7_EBX, 13, ANY, 0, {0}}, /* FCS and FDS are saved as zero */
        {L7_EBX, 16, HOST_AVX512, 0, {ISA_VLK(AVX512F), ISA(AVX512F_SCALAR)}},
        {L7_EBX, 17, HOST_AVX512, 0, {ISA_VLK(AVX512DQ), ISA(AVX512DQ_SCALAR)}},
        {L7_EBX, 18, HOST, 0, {ISA(RDSEED)}},
        {L7_EBX, 19, ANY, 0, {ISA(ADOX_ADCX)}},
        {L7_EBX, 20, ANY, CR4_SMAP, {ISA(SMAP)}},
        {L7_EBX, 21, HOST_AVX512, 0, {ISA_VL(AVX512_IFMA)}},
        {L7_EBX, 23, ANY, 0, {ISA(CLFLUSHOPT)}},
        {L7_EBX, 24, ANY, 0, {ISA(CLWB)}},
        {L7_EBX, 28, HOST_AVX512, 0, {ISA_VL(AVX512CD)}},
        {L7_EBX, 29, HOST, 0, {ISA(SHA)}},
        {L7_EBX, 30, HOST_AVX512, 0, {ISA_VLK(AVX512BW)}},
        {L7_EBX, 31, HOST_AVX512, 0, {0}}, /* VL: in the sets of 128 and 256 bits */

        {L7_ECX, 1, HOST_AVX512, 0, {ISA_VL(AVX512_VBMI)}},
        {L7_ECX, 6, HOST_AVX512, 0, {ISA_VL(AVX512_VBMI2)}},
        {L7_ECX, 8, HOST, 0, {ISA(GFNI)}},
        {L7_ECX, 8, HOST_AVX, 0, {ISA(AVX_GFNI)}},
        {L7_ECX, 8, HOST_AVX512, 0, {ISA_VL(AVX512_GFNI)}},
        {L7_ECX, 9, HOST_AVX, 0, {ISA(VAES)}},
        {L7_ECX, 9, HOST_AVX512, 0, {ISA_VL(AVX512_VAES)}},
        {L7_ECX, 10, HOST_AVX, 0, {ISA(VPCLMULQDQ)}},
        {L7_ECX, 10, HOST_AVX512, 0, {ISA_VL(AVX512_VPCLMULQDQ)}},
        {L7_ECX, 11, HOST_AVX512, 0, {ISA_VL(AVX512_VNNI)}},
        {L7_ECX, 12, HOST_AVX512, 0, {ISA_VL(AVX512_BITALG)}},
        {L7_ECX, 14, HOST_AVX512, 0, {ISA_VL(AVX512_VPOPCNTDQ)}},
        {L7_ECX, 2, ANY, CR4_UMIP, {0}},
        {L7_ECX, 22, ANY, 0, {ISA(RDPID)}},

        {L7_EDX, 4, ANY, 0, {0}},  /* FSRM */
        {L7_EDX, 26, ANY, 0, {0}}, /* IBRS, IBPB */
        {L7_EDX, 27, ANY, 0, {0}}, /* STIBP */
        {L7_EDX, 28, ANY, 0, {0}}, /* L1D_FLUSH */
        {L7_EDX, 29, ANY, 0, {0}}, /* ARCH_CAPABILITIES */
        {L7_EDX, 31, ANY, 0, {0}}, /* SSBD */

        {L71_EAX, 4, HOST_AVX, 0, {ISA(AVX_VNNI)}},
        {L71_EAX, 5, HOST_AVX512, 0, {ISA_VL(AVX512_BF16)}},

        {L72_EDX, 4, ANY, 0, {0}}, /* BHI_CTRL */
        {L72_EDX, 5, ANY, 0, {0}}, /* MCDT_NO */

        {LD1_EAX, 0, HOST, 0, {ISA(XSAVEOPT)}},
        {LD1_EAX, 1, HOST, 0, {ISA(XSAVEC)}},
        {LD1_EAX, 2, ANY, 0, {0}}, /* XGETBV with ECX = 1 */
        {LD1_EAX, 3, HOST, 0, {ISA(XSAVES)}},

        {LX1_ECX, 0, ANY, 0, {ISA(LAHF)}},
        {LX1_ECX, 5, ANY, 0, {ISA(LZCNT)}},
        {LX1_ECX, 8, ANY, 0, {ISA(PREFETCH_NOP)}},
        {LX1_EDX, 11, ANY, 0, {0}}, /* SYSCALL: in LONGMODE */
        {LX1_EDX, 20, ANY, 0, {0}}, /* NX */
        {LX1_EDX, 26, ANY, 0, {0}}, /* 1 GiB pages */
        {LX1_EDX, 27, ANY, 0, {ISA(RDTSCP)}},
        {LX1_EDX, 29, ANY, 0, {ISA(LONGMODE)}},
        {LX7_EDX, 8, ANY, 0, {0}}, /* invariant TSC */
};

/* Sets that need no feature bit. VTX and SVM for VMCALL and VMMCALL: no table has the others. */
static const u16 base_sets[] = {
        ISA(I86),  ISA(I186),        ISA(I286REAL), ISA(I286PROTECTED), ISA(I386),  ISA(I486), ISA(I486REAL),
        ISA(PPRO), ISA(PENTIUMREAL), ISA(FAT_NOP),  ISA(PAUSE),         ISA(RDPMC), ISA(VTX),  ISA(SVM),
};

#define CR4_BASE (CR4_PCE)

/* What this process offers, found once: a function of the host alone, so racing threads write the same. */
static struct {
	u32 words[WORDS];
	u64 cr4, xcr0;
	bool isa[ZYDIS_ISA_SET_MAX_VALUE + 1];
	_Atomic bool ready;
} model;

static void host_cpuid(u32 leaf, u32 subleaf, u32 out[4])
{
	__asm__ volatile("cpuid"
	                 : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
	                 : "a"(leaf), "c"(subleaf));
}

static u64 host_xcr0(void)
{
	u32 lo, hi;

	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return (u64)hi << 32 | lo;
}

/* Does the host keep AVX-512's components where a vCPU has room for them? */
static bool zmm_fits(void)
{
	for (u32 component = 5; component < 8; component++) {
		u32 out[4];

		host_cpuid(0xd, component, out);
		if (!out[EAX] || out[EAX] + out[EBX] > VCPU_XSAVE_SIZE)
			return false;
	}
	return true;
}

static void model_init(void)
{
	u32 host[WORDS], out[4];
	const u32 foundation = BIT(16) | BIT(17) | BIT(28) | BIT(30) | BIT(31);
	bool ymm, zmm;

	for (unsigned w = 0; w < WORDS; w++) {
		host_cpuid(words[w].leaf & 0x80000000, 0, out);
		host[w] = 0;
		if (out[EAX] < words[w].leaf)
			continue;
		host_cpuid(words[w].leaf, words[w].subleaf, out);
		host[w] = out[words[w].reg];
	}
	ymm = host[L1_ECX] >> 27 & 1 && host[L1_ECX] >> 28 & 1 && (host_xcr0() & 6) == 6;

	model.cr4 = CR4_BASE;
	zmm = ymm && (host[L7_EBX] & foundation) == foundation && (host_xcr0() & 0xe6) == 0xe6 &&
	      zmm_fits() && host[LD1_EAX] >> 2 & 1;
	model.xcr0 = zmm ? 0xe7 : ymm ? 7 : 3;
	for (unsigned i = 0; i < ARRAY_SIZE(base_sets); i++)
		model.isa[base_sets[i]] = true;
	for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
		const struct feature *f = &features[i];

		if ((f->host != ANY && !(host[f->word] >> f->bit & 1)) || (f->host == HOST_AVX && !ymm) ||
		    (f->host == HOST_AVX512 && !zmm))
			continue;
		model.words[f->word] |= 1u << f->bit;
		model.cr4 |= f->cr4;
		for (unsigned k = 0; k < ARRAY_SIZE(f->isa) && f->isa[k]; k++)
			model.isa[f->isa[k]] = true;
	}
	model.isa[ISA(AVXAES)] &= model.isa[ISA(AES)];
	atomic_store(&model.ready, true);
}

static void model_need(void)
{
	if (!atomic_load(&model.ready))
		model_init();
}

bool soft_feature_isa(unsigned isa_set)
{
	model_need();
	return isa_set <= ZYDIS_ISA_SET_MAX_VALUE && model.isa[isa_set];
}

u64 soft_feature_cr4(void)
{
	model_need();
	return model.cr4;
}

u64 soft_feature_efer(void)
{
	return EFER_SCE | EFER_LME | EFER_NXE;
}

u64 soft_feature_xcr0(void)
{
	model_need();
	return model.xcr0;
}

/* ---- leaves ---- */

#define MAX_BASIC    0x1fu
#define MAX_EXTENDED 0x80000008u
#define MAX_KVM      0x40000001u

#define SIGNATURE  0x000606a6u /* family 6, model 0x6a, stepping 6 */
#define CACHE_LINE 64u
#define KVM_FEATURES                                                                           \
	(1u << 0 | 1u << 1 | 1u << 3 | 1u << 24) /* clock, no I/O delay, clock 2, stable clock \
	                                          */
#define THERMAL_ARAT  (1u << 2)
#define EDX_APIC      (1u << 9)
#define EDX_HTT       (1u << 28)
#define ECX_OSXSAVE   (1u << 27)
#define MSR_APIC_BASE 0x1b
#define APIC_ENABLED  BIT(11)

/* Three registers' worth of text, in the order EBX, EDX, ECX or EBX, ECX, EDX. */
static u32 text(const char *s)
{
	return (u32)(u8)s[0] | (u32)(u8)s[1] << 8 | (u32)(u8)s[2] << 16 | (u32)(u8)s[3] << 24;
}

static const char brand[48] = "Insula vCPU";

static unsigned log2_up(unsigned n)
{
	unsigned bits = 0;

	while (1u << bits < n)
		bits++;
	return bits;
}

static bool apic_enabled(struct soft_cpu *c)
{
	const struct cpu_board *board = soft_board(c);
	u64 base = APIC_ENABLED;

	return !board || !board->msr_read(board->ctx, &c->base, MSR_APIC_BASE, &base) || base & APIC_ENABLED;
}

static void leaf_1(struct soft_cpu *c, u32 out[4])
{
	unsigned count = c->base.config.count;

	out[EAX] = SIGNATURE;
	out[EBX] = (CACHE_LINE / 8) << 8 | 1u << log2_up(count) << 16 | c->base.config.index << 24;
	out[ECX] = model.words[L1_ECX] | (c->cr4 & CR4_OSXSAVE ? ECX_OSXSAVE : 0);
	out[EDX] = model.words[L1_EDX] | (count > 1 ? EDX_HTT : 0);
	if (!apic_enabled(c))
		out[EDX] &= ~EDX_APIC;
}

/* Deterministic cache parameters. */
static void leaf_4(const struct soft_cpu *c, u32 subleaf, u32 out[4])
{
	static const struct {
		u8 type, level; /* type: 1 data, 2 instruction, 3 both */
		bool shared;    /* by all cores */
		u16 ways, sets;
	} caches[] = {{1, 1, false, 12, 64},
	              {2, 1, false, 8, 64},
	              {3, 2, false, 20, 1024},
	              {3, 3, true, 16, 16384}};
	u32 cores = (1u << log2_up(c->base.config.count)) - 1;

	if (subleaf >= ARRAY_SIZE(caches))
		return;
	out[EAX] = caches[subleaf].type | (u32)caches[subleaf].level << 5 | 1u << 8 |
	           (caches[subleaf].shared ? cores << 14 : 0) | cores << 26;
	out[EBX] = (CACHE_LINE - 1) | (caches[subleaf].ways - 1u) << 22;
	out[ECX] = caches[subleaf].sets - 1u;
}

static void leaf_7(u32 subleaf, u32 out[4])
{
	if (subleaf == 0) {
		out[EAX] = 2; /* the last subleaf */
		out[EBX] = model.words[L7_EBX];
		out[ECX] = model.words[L7_ECX];
		out[EDX] = model.words[L7_EDX];
	} else if (subleaf == 1) {
		out[EAX] = model.words[L71_EAX];
	} else if (subleaf == 2) {
		out[EDX] = model.words[L72_EDX];
	}
}

/* Topology: one thread a core, all cores in one package. */
static void leaf_b(const struct soft_cpu *c, u32 subleaf, u32 out[4])
{
	enum { LEVEL_SMT = 1, LEVEL_CORE = 2 };

	out[ECX] = subleaf & 0xff;
	out[EDX] = c->base.config.index;
	if (subleaf == 0) {
		out[EBX] = 1;
		out[ECX] |= LEVEL_SMT << 8;
	} else if (subleaf == 1) {
		out[EAX] = log2_up(c->base.config.count);
		out[EBX] = c->base.config.count;
		out[ECX] |= LEVEL_CORE << 8;
	}
}

static void leaf_d(const struct soft_cpu *c, u32 subleaf, u32 out[4])
{
	if (subleaf == 0) {
		out[EAX] = (u32)model.xcr0;
		out[EBX] = xstate_area_size(c->xcr0, 0);
		out[ECX] = xstate_area_size(model.xcr0, 0);
	} else if (subleaf == 1) {
		out[EAX] = model.words[LD1_EAX];
		out[EBX] = xstate_area_size(c->xcr0 | c->xss, c->xcr0 | c->xss);
	}
	for (unsigned i = 0; i < XSTATE_COMPONENTS; i++) {
		const struct xstate_component *x = &xstate_components[i];

		if (subleaf == x->bit && model.xcr0 >> x->bit & 1) {
			out[EAX] = x->size;
			out[EBX] = x->offset;
		}
	}
}

static void leaf_basic(struct soft_cpu *c, u32 leaf, u32 subleaf, u32 out[4])
{
	switch (leaf) {
	case 0:
		out[EAX] = MAX_BASIC;
		out[EBX] = text("Genu");
		out[EDX] = text("ineI");
		out[ECX] = text("ntel");
		break;
	case 1:
		leaf_1(c, out);
		break;
	case 2:
		out[EAX] = 0x00feff01;
		break; /* see leaf 4 */
	case 4:
		leaf_4(c, subleaf, out);
		break;
	case 6:
		out[EAX] = THERMAL_ARAT;
		break;
	case 7:
		leaf_7(subleaf, out);
		break;
	case 0xb:
	case 0x1f:
		leaf_b(c, subleaf, out);
		break;
	case 0xd:
		leaf_d(c, subleaf, out);
		break;
	case 0x16:
		out[EAX] = out[EBX] = (u32)(c->base.config.tsc_hz / 1000000) & 0xffff;
		out[ECX] = 100;
		break;
	}
}

static void leaf_extended(u32 leaf, u32 out[4])
{
	switch (leaf) {
	case 0x80000000:
		out[EAX] = MAX_EXTENDED;
		break;
	case 0x80000001:
		out[ECX] = model.words[LX1_ECX];
		out[EDX] = model.words[LX1_EDX];
		break;
	case 0x80000002:
	case 0x80000003:
	case 0x80000004:
		for (unsigned i = 0; i < 4; i++)
			out[i] = text(brand + (leaf - 0x80000002) * 16 + i * 4);
		break;
	case 0x80000006:
		out[ECX] = 1280u << 16 | 8u << 12 | CACHE_LINE;
		break;
	case 0x80000007:
		out[EDX] = model.words[LX7_EDX];
		break;
	case 0x80000008:
		out[EAX] = SOFT_PHYS_BITS | 48u << 8;
		break;
	}
}

static void leaf_kvm(u32 leaf, u32 out[4])
{
	if (leaf == 0x40000000) {
		out[EAX] = MAX_KVM;
		out[EBX] = text("KVMK");
		out[ECX] = text("VMKV");
		out[EDX] = text("M\0\0\0");
	} else if (leaf == 0x40000001) {
		out[EAX] = KVM_FEATURES;
	}
}

void soft_cpuid(struct soft_cpu *c, u32 leaf, u32 subleaf, u32 out[4])
{
	model_need();
	out[EAX] = out[EBX] = out[ECX] = out[EDX] = 0;
	/* Beyond the last leaf, Intel's processors answer as for the last basic one. */
	if (leaf >> 16 == 0x4000)
		leaf_kvm(leaf, out);
	else if (leaf >= 0x80000000 && leaf <= MAX_EXTENDED)
		leaf_extended(leaf, out);
	else
		leaf_basic(c, leaf <= MAX_BASIC ? leaf : MAX_BASIC, subleaf, out);
}
