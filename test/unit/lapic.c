#include "apics.h"

#include <unistd.h>

static void power_on_state(void **state)
{
	struct apics *a = apics_new();
	struct lapic *l = &a->lapic[2];
	u64 base;

	assert_int_equal(rd(l, APIC_ID), 2u << 24);
	assert_int_equal(rd(l, APIC_VERSION), 0x50014);
	assert_int_equal(rd(l, APIC_SVR), 0xff);
	assert_int_equal(rd(l, APIC_DFR), 0xffffffff);
	for (u32 reg = APIC_LVT_TIMER; reg <= APIC_LVT_ERROR; reg += 0x10)
		assert_int_equal(rd(l, reg), 0x10000);
	assert_int_equal(rd(l, APIC_TPR) | rd(l, APIC_PPR) | rd(l, APIC_LDR) | rd(l, APIC_ESR), 0);
	assert_true(lapic_msr_read(l, MSR_APIC_BASE, &base));
	assert_int_equal(base, 0xfee00800);
	lapic_msr_read(&a->lapic[0], MSR_APIC_BASE, &base);
	assert_int_equal(base, 0xfee00900);
	apics_free(a);
}

static void only_aligned_dwords_write(void **state)
{
	struct apics *a = apics_new();
	struct lapic *l = &a->lapic[0];

	lapic_write(l, APIC_TPR, 1, 0x20);
	lapic_write(l, APIC_TPR + 4, 4, 0x20);
	lapic_write(l, APIC_TPR, 8, 0x20);
	assert_int_equal(rd(l, APIC_TPR), 0);
	wr(l, APIC_TPR, 0x12345);
	assert_int_equal(rd(l, APIC_TPR), 0x45);
	assert_int_equal(lapic_read(l, APIC_VERSION + 2, 1), 5);
	apics_free(a);
}

static void software_disable_masks_lvt(void **state)
{
	struct apics *a = apics_new();
	struct lapic *l = &a->lapic[0];

	wr(l, APIC_LVT_TIMER, 0x30); /* cannot be unmasked yet */
	assert_int_equal(rd(l, APIC_LVT_TIMER), 0x10030);
	wr(l, APIC_SVR, 0x1ff);
	wr(l, APIC_LVT_TIMER, 0x30);
	wr(l, APIC_LVT_LINT0, 0x700);
	assert_int_equal(rd(l, APIC_LVT_TIMER), 0x30);
	wr(l, APIC_SVR, 0xff);
	assert_int_equal(rd(l, APIC_LVT_TIMER), 0x10030);
	assert_int_equal(rd(l, APIC_LVT_LINT0), 0x10700);
	wr(l, APIC_SVR, 0x1ff); /* they stay masked */
	assert_int_equal(rd(l, APIC_LVT_LINT0), 0x10700);
	apics_free(a);
}

static void self_ipi_goes_through_irr_and_isr(void **state)
{
	struct apics *a = apics_new();
	struct lapic *l = &a->lapic[1];

	enable_all(a);
	wr(l, APIC_ICR, 0x40000 | 0x41);
	assert_int_equal(events(a, 1), CPU_EV_INTR);
	assert_int_equal(rd(l, APIC_IRR + 0x20), BIT(1));
	assert_true(lapic_pending(l));
	assert_int_equal(lapic_ack(l), 0x41);
	assert_int_equal(rd(l, APIC_IRR + 0x20), 0);
	assert_int_equal(rd(l, APIC_ISR + 0x20), BIT(1));
	assert_int_equal(rd(l, APIC_PPR), 0x40);
	assert_false(lapic_pending(l));
	wr(l, APIC_EOI, 0);
	assert_int_equal(rd(l, APIC_ISR + 0x20), 0);
	assert_int_equal(rd(l, APIC_PPR), 0);
	assert_int_equal(lapic_ack(l), LAPIC_NONE);
	apics_free(a);
}

static void priority_classes_nest(void **state)
{
	struct apics *a = apics_new();
	struct lapic *l = &a->lapic[0];

	enable_all(a);
	wr(l, APIC_ICR, 0x40000 | 0x51);
	assert_int_equal(lapic_ack(l), 0x51);
	wr(l, APIC_ICR, 0x40000 | 0x5f); /* same class: waits */
	assert_false(lapic_pending(l));
	wr(l, APIC_ICR, 0x40000 | 0x60); /* higher: interrupts */
	assert_int_equal(lapic_ack(l), 0x60);
	events(a, 0);
	wr(l, APIC_EOI, 0); /* ends 0x60; 0x51 still holds 0x5f back */
	assert_int_equal(events(a, 0), 0);
	assert_int_equal(rd(l, APIC_PPR), 0x50);
	wr(l, APIC_EOI, 0);
	assert_int_equal(events(a, 0), CPU_EV_INTR);
	expect(l, 0x5f);
	apics_free(a);
}

static void tpr_holds_back_and_lets_go(void **state)
{
	struct apics *a = apics_new();
	struct lapic *l = &a->lapic[0];

	enable_all(a);
	lapic_cr8_write(l, 5);
	assert_int_equal(rd(l, APIC_TPR), 0x50);
	assert_int_equal(rd(l, APIC_PPR), 0x50);
	wr(l, APIC_ICR, 0x40000 | 0x5f);
	assert_int_equal(events(a, 0), 0);
	assert_int_equal(lapic_ack(l), LAPIC_NONE);
	wr(l, APIC_TPR, 0x4f);
	assert_int_equal(lapic_cr8_read(l), 4);
	assert_int_equal(events(a, 0), CPU_EV_INTR);
	expect(l, 0x5f);
	wr(l, APIC_TPR, 0x35);
	assert_int_equal(rd(l, APIC_PPR), 0x35);
	apics_free(a);
}

static void destinations_physical(void **state)
{
	struct apics *a = apics_new();

	enable_all(a);
	wr(&a->lapic[0], APIC_ICR2, 2u << 24);
	wr(&a->lapic[0], APIC_ICR, 0x31);
	for (unsigned i = 0; i < APICS; i++)
		assert_int_equal(lapic_ack(&a->lapic[i]), i == 2 ? 0x31 : LAPIC_NONE);
	wr(&a->lapic[0], APIC_ICR2, 0xffu << 24);
	wr(&a->lapic[0], APIC_ICR, 0x42);
	for (unsigned i = 0; i < APICS; i++)
		assert_int_equal(lapic_ack(&a->lapic[i]), 0x42);
	apics_free(a);
}

static void destinations_shorthand(void **state)
{
	struct apics *a = apics_new();

	enable_all(a);
	wr(&a->lapic[1], APIC_ICR, 0xc0000 | 0x31);
	for (unsigned i = 0; i < APICS; i++)
		expect(&a->lapic[i], i == 1 ? LAPIC_NONE : 0x31);
	wr(&a->lapic[1], APIC_ICR, 0x80000 | 0x32);
	for (unsigned i = 0; i < APICS; i++)
		expect(&a->lapic[i], 0x32);
	apics_free(a);
}

static void destinations_logical_flat(void **state)
{
	struct apics *a = apics_new();

	enable_all(a);
	for (unsigned i = 0; i < APICS; i++)
		wr(&a->lapic[i], APIC_LDR, 1u << (24 + i));
	wr(&a->lapic[0], APIC_ICR2, 0x0au << 24);
	wr(&a->lapic[0], APIC_ICR, 0x800 | 0x31);
	for (unsigned i = 0; i < APICS; i++)
		expect(&a->lapic[i], i & 1 ? 0x31 : LAPIC_NONE);
	wr(&a->lapic[0], APIC_ICR2, 0xffu << 24);
	wr(&a->lapic[0], APIC_ICR, 0x800 | 0x32);
	for (unsigned i = 0; i < APICS; i++)
		expect(&a->lapic[i], 0x32);
	apics_free(a);
}

static void destinations_logical_cluster(void **state)
{
	struct apics *a = apics_new();

	enable_all(a);
	for (unsigned i = 0; i < APICS; i++) {
		wr(&a->lapic[i], APIC_DFR, 0);
		assert_int_equal(rd(&a->lapic[i], APIC_DFR), 0x0fffffff);
		wr(&a->lapic[i], APIC_LDR, (i / 2) << 28 | 1u << (24 + i % 2));
	}
	wr(&a->lapic[0], APIC_ICR2, 0x12u << 24); /* cluster 1, member 1 */
	wr(&a->lapic[0], APIC_ICR, 0x800 | 0x31);
	for (unsigned i = 0; i < APICS; i++)
		expect(&a->lapic[i], i == 3 ? 0x31 : LAPIC_NONE);
	wr(&a->lapic[0], APIC_ICR2, 0xf1u << 24); /* member 0 of all clusters */
	wr(&a->lapic[0], APIC_ICR, 0x800 | 0x32);
	for (unsigned i = 0; i < APICS; i++)
		expect(&a->lapic[i], i % 2 ? LAPIC_NONE : 0x32);
	apics_free(a);
}

static void lowest_priority_picks_one(void **state)
{
	struct apics *a = apics_new();
	unsigned got[APICS] = {0};

	enable_all(a);
	for (unsigned i = 0; i < APICS; i++)
		wr(&a->lapic[i], APIC_LDR, 1u << (24 + i));
	wr(&a->lapic[3], APIC_TPR, 0x20); /* is never the lowest */
	wr(&a->lapic[0], APIC_ICR2, 0x0fu << 24);
	for (int n = 0; n < 30; n++) {
		unsigned takers = 0;

		wr(&a->lapic[0], APIC_ICR, 0x900 | 0x51);
		for (unsigned i = 0; i < APICS; i++) {
			if (lapic_ack(&a->lapic[i]) == 0x51) {
				wr(&a->lapic[i], APIC_EOI, 0);
				got[i]++;
				takers++;
			}
		}
		assert_int_equal(takers, 1);
	}
	assert_int_equal(got[3], 0);
	assert_true(got[0] && got[1] && got[2]);
	apics_free(a);
}

static void nmi_init_sipi_are_events(void **state)
{
	struct apics *a = apics_new();

	/* They come even to an APIC that is software-disabled. */
	wr(&a->lapic[0], APIC_ICR2, 1u << 24);
	wr(&a->lapic[0], APIC_ICR, 0x400);
	assert_int_equal(events(a, 1), CPU_EV_NMI);
	wr(&a->lapic[0], APIC_ICR, 0xc500); /* INIT, level assert */
	assert_int_equal(events(a, 1), CPU_EV_INIT);
	wr(&a->lapic[0], APIC_ICR, 0x8500); /* level de-assert: nothing */
	assert_int_equal(events(a, 1), 0);
	wr(&a->lapic[0], APIC_ICR, 0x69a);
	assert_int_equal(events(a, 1), CPU_EV_SIPI);
	assert_int_equal(a->cpu[1].sipi_vector, 0x9a);
	assert_int_equal(events(a, 0) | events(a, 2) | events(a, 3), 0);
	apics_free(a);
}

/* The CPU can hold one NMI in service and one pending, so two that come at once must not become one. */
static void second_nmi_is_told(void **state)
{
	struct apics *a = apics_new();
	struct apic_message m = {.dest = 1, .mode = APIC_DM_NMI};

	for (int i = 0; i < 5; i++)
		apic_send(&a->bus, &m, APIC_TO_DEST, NULL);
	assert_int_equal(events(a, 1), CPU_EV_NMI | CPU_EV_NMI_AGAIN);
	apic_send(&a->bus, &m, APIC_TO_DEST, NULL);
	assert_int_equal(events(a, 1), CPU_EV_NMI);
	apics_free(a);
}

static void disabled_takes_no_fixed_but_keeps_pending(void **state)
{
	struct apics *a = apics_new();
	struct lapic *l = &a->lapic[1];

	enable_all(a);
	wr(l, APIC_ICR, 0x40000 | 0x61);
	wr(l, APIC_SVR, 0xff);
	wr(&a->lapic[0], APIC_ICR, 0xc0000 | 0x71);
	assert_int_equal(lapic_ack(l), 0x61); /* held, and handled by the CPU (10.4.7.2) */
	wr(l, APIC_EOI, 0);
	assert_int_equal(lapic_ack(l), LAPIC_NONE);
	apics_free(a);
}

static void errors_show_after_a_write(void **state)
{
	struct apics *a = apics_new();
	struct lapic *l = &a->lapic[0];

	enable_all(a);
	wr(l, APIC_LVT_ERROR, 0x2e);
	wr(l, APIC_ICR, 0x40000 | 0x0f); /* illegal vector */
	assert_int_equal(rd(l, APIC_ESR), 0);
	wr(l, APIC_ESR, 0);
	assert_int_equal(rd(l, APIC_ESR), APIC_ESR_SEND_ILLEGAL);
	wr(l, APIC_ESR, 0);
	assert_int_equal(rd(l, APIC_ESR), 0);
	expect(l, 0x2e);

	struct apic_message m = {.dest = 0, .mode = APIC_DM_FIXED, .vector = 3};
	apic_send(&a->bus, &m, APIC_TO_DEST, NULL);
	assert_int_equal(rd(l, 0x3f0), 0); /* not a register of xAPIC mode */
	wr(l, APIC_ESR, 0);
	assert_int_equal(rd(l, APIC_ESR), APIC_ESR_RECV_ILLEGAL | APIC_ESR_REGISTER);
	expect(l, 0x2e);
	apics_free(a);
}

static void base_follows_figure_10_27(void **state)
{
	struct apics *a = apics_new();
	struct lapic *l = &a->lapic[0];
	const u64 off = 0xfee00100, x = off | APIC_BASE_ENABLE, x2 = x | APIC_BASE_X2APIC;
	u64 v;

	assert_false(lapic_msr_write(l, MSR_APIC_BASE, off | APIC_BASE_X2APIC)); /* EXTD without EN */
	assert_false(lapic_msr_write(l, MSR_APIC_BASE, x | 1));
	assert_false(lapic_msr_write(l, MSR_APIC_BASE, x | BIT(9)));
	assert_false(lapic_msr_write(l, MSR_APIC_BASE, x | BIT(40)));
	assert_true(lapic_msr_write(l, MSR_APIC_BASE, x));
	assert_true(lapic_msr_write(l, MSR_APIC_BASE, x2));
	assert_false(lapic_msr_write(l, MSR_APIC_BASE, x));
	assert_true(lapic_msr_write(l, MSR_APIC_BASE, off));
	assert_false(lapic_msr_write(l, MSR_APIC_BASE, x2));
	lapic_msr_read(l, MSR_APIC_BASE, &v);
	assert_int_equal(v, off);
	assert_true(lapic_msr_write(l, MSR_APIC_BASE, x));
	/* relocation */
	assert_true(lapic_claims(l, 0xfee00020));
	assert_true(lapic_msr_write(l, MSR_APIC_BASE, 0xfed40000 | APIC_BASE_ENABLE | APIC_BASE_BSP));
	assert_false(lapic_claims(l, 0xfee00020));
	assert_true(lapic_claims(l, 0xfed40ff0));
	assert_false(lapic_claims(l, 0xfed41000));
	apics_free(a);
}

static void hardware_disable_loses_all_but_cr8(void **state)
{
	struct apics *a = apics_new();
	struct lapic *l = &a->lapic[0];
	u64 v;

	enable_all(a);
	lapic_cr8_write(l, 3);
	wr(l, APIC_LVT_TIMER, 0x20055);
	assert_true(lapic_msr_write(l, MSR_APIC_BASE, 0xfee00100));
	assert_false(lapic_claims(l, 0xfee00000));
	assert_int_equal(lapic_cr8_read(l), 3);
	assert_false(lapic_msr_read(l, 0x802, &v));
	/* The bootstrap processor's LINT0 is INTR now, LINT1 is NMI. */
	events(a, 0);
	lapic_lint(l, 0, true);
	assert_int_equal(events(a, 0), CPU_EV_INTR);
	assert_int_equal(lapic_ack(l), LAPIC_EXTINT);
	lapic_lint(l, 1, true);
	assert_true(events(a, 0) & CPU_EV_NMI);
	lapic_lint(&a->lapic[1], 0, true);
	lapic_msr_write(&a->lapic[1], MSR_APIC_BASE, 0xfee00000);
	assert_false(lapic_pending(&a->lapic[1]));
	lapic_msr_write(l, MSR_APIC_BASE, 0xfee00900);
	assert_int_equal(rd(l, APIC_LVT_TIMER), 0x10000);
	assert_int_equal(rd(l, APIC_SVR), 0xff);
	apics_free(a);
}

static void x2apic_registers_are_checked(void **state)
{
	static const u32 no_read[] = {0x800, 0x801, 0x804, 0x809, 0x80b, 0x80c, 0x80e,
	                              0x82f, 0x831, 0x83a, 0x83f, 0x840, 0x8ff};
	static const u32 no_write[] = {0x802, 0x803, 0x80a, 0x80d, 0x80e, 0x810,
	                               0x818, 0x820, 0x827, 0x831, 0x839, 0x840};
	static const struct {
		u32 msr;
		u64 value;
	} reserved[] = {{0x808, 0x100},  {0x80b, 1},       {0x80f, 0x1000},  {0x828, 1},
	                {0x830, 0x1000}, {0x830, 0x2000},  {0x830, BIT(20)}, {0x832, BIT(32)},
	                {0x832, 0x100},  {0x835, BIT(17)}, {0x838, BIT(32)}, {0x83e, 4},
	                {0x83f, 0x100},  {0x837, 0x400}};
	struct apics *a = apics_new();
	struct lapic *l = &a->lapic[3];
	u64 v;

	assert_false(lapic_msr_read(l, 0x802, &v)); /* in xAPIC mode */
	assert_false(lapic_msr_write(l, 0x808, 0));
	x2apic(l);
	assert_false(lapic_claims(l, 0xfee00000));
	for (unsigned i = 0; i < ARRAY_SIZE(no_read); i++)
		assert_false(lapic_msr_read(l, no_read[i], &v));
	for (unsigned i = 0; i < ARRAY_SIZE(no_write); i++)
		assert_false(lapic_msr_write(l, no_write[i], 0));
	for (unsigned i = 0; i < ARRAY_SIZE(reserved); i++)
		assert_false(lapic_msr_write(l, reserved[i].msr, reserved[i].value));
	assert_true(lapic_msr_read(l, 0x802, &v));
	assert_int_equal(v, 3);
	assert_true(lapic_msr_read(l, 0x80d, &v));
	assert_int_equal(v, 8);
	for (u32 msr = 0x810; msr <= 0x828; msr++)
		assert_true(lapic_msr_read(l, msr, &v));
	for (u32 msr = 0x832; msr <= 0x839; msr++)
		assert_true(lapic_msr_read(l, msr, &v));
	assert_true(lapic_msr_write(l, 0x80b, 0));
	assert_true(lapic_msr_write(l, 0x828, 0));
	apics_free(a);
}

static void x2apic_ids_have_clusters(void **state)
{
	struct apics *a = apics_new();
	struct lapic l;
	struct error e;
	u64 v;

	assert_int_equal(lapic_init(&l, &a->bus, 0x25, 40, &a->loop, &e), 0);
	x2apic(&l);
	lapic_msr_read(&l, 0x80d, &v);
	assert_int_equal(v, 0x20020);
	lapic_init_reset(&l);
	assert_true(lapic_x2apic(&l)); /* INIT keeps the mode and the logical ID */
	lapic_msr_read(&l, 0x80d, &v);
	assert_int_equal(v, 0x20020);
	lapic_release(&l);
	apics_free(a);
}

static void x2apic_ipis(void **state)
{
	struct apics *a = apics_new();
	u64 v;

	enable_all(a);
	for (unsigned i = 0; i < APICS; i++)
		x2apic(&a->lapic[i]);
	assert_true(lapic_msr_write(&a->lapic[0], 0x830, 2ULL << 32 | 0x31));
	lapic_msr_read(&a->lapic[0], 0x830, &v);
	assert_true(v == (2ULL << 32 | 0x31));
	for (unsigned i = 0; i < APICS; i++)
		assert_int_equal(lapic_ack(&a->lapic[i]), i == 2 ? 0x31 : LAPIC_NONE);
	lapic_msr_write(&a->lapic[2], 0x80b, 0);
	lapic_msr_write(&a->lapic[0], 0x830, 0x5ULL << 32 | 0x800 | 0x32); /* cluster 0: 0 and 2 */
	for (unsigned i = 0; i < APICS; i++)
		assert_int_equal(lapic_ack(&a->lapic[i]), i % 2 ? LAPIC_NONE : 0x32);
	lapic_msr_write(&a->lapic[0], 0x830, 0xffffffffULL << 32 | 0x51);
	for (unsigned i = 0; i < APICS; i++)
		assert_int_equal(lapic_ack(&a->lapic[i]), 0x51);
	lapic_msr_write(&a->lapic[1], 0x83f, 0x71);
	assert_int_equal(lapic_ack(&a->lapic[1]), 0x71);
	apics_free(a);
}

static void msi_reaches_both_modes(void **state)
{
	struct apics *a = apics_new();

	enable_all(a);
	x2apic(&a->lapic[1]);
	apic_msi(&a->bus, 0xfee01000, 0x45);
	assert_int_equal(lapic_ack(&a->lapic[1]), 0x45);
	apic_msi(&a->bus, 0xfee00000, 0x46);
	assert_int_equal(lapic_ack(&a->lapic[0]), 0x46);
	apic_msi(&a->bus, 0xfed01000, 0x67); /* not an MSI address */
	assert_int_equal(lapic_ack(&a->lapic[1]), LAPIC_NONE);
	apic_msi(&a->bus, 0xfee02000, 0x400);
	assert_int_equal(events(a, 2), CPU_EV_NMI);
	apics_free(a);
}

static void lint_modes(void **state)
{
	struct apics *a = apics_new();
	struct lapic *l = &a->lapic[0];

	enable_all(a);
	wr(l, APIC_LVT_LINT1, 0x400);
	lapic_lint(l, 1, true);
	assert_int_equal(events(a, 0), CPU_EV_NMI);
	lapic_lint(l, 1, true); /* no edge */
	assert_int_equal(events(a, 0), 0);
	wr(l, APIC_LVT_LINT0, 0x700);
	lapic_lint(l, 0, true);
	assert_int_equal(events(a, 0), CPU_EV_INTR);
	assert_int_equal(lapic_ack(l), LAPIC_EXTINT);
	lapic_lint(l, 0, false);
	assert_int_equal(lapic_ack(l), LAPIC_NONE);
	/* fixed, level: again after each EOI while the pin is high */
	wr(l, APIC_LVT_LINT0, 0x8044);
	lapic_lint(l, 0, true);
	assert_int_equal(rd(l, APIC_LVT_LINT0), 0xc044);
	expect(l, 0x44);
	assert_int_equal(lapic_ack(l), 0x44);
	lapic_lint(l, 0, false);
	wr(l, APIC_EOI, 0);
	assert_int_equal(lapic_ack(l), LAPIC_NONE);
	assert_int_equal(rd(l, APIC_LVT_LINT0), 0x8044);
	apics_free(a);
}

static void init_keeps_id_and_base(void **state)
{
	struct apics *a = apics_new();
	struct lapic *l = &a->lapic[2];

	enable_all(a);
	wr(l, APIC_TPR, 0x30);
	wr(l, APIC_LDR, 0x04000000);
	wr(l, APIC_ICR, 0x40000 | 0x99);
	wr(l, APIC_TMICT, 1000000);
	lapic_init_reset(l);
	assert_int_equal(rd(l, APIC_ID), 2u << 24);
	assert_int_equal(rd(l, APIC_TPR) | rd(l, APIC_LDR) | rd(l, APIC_TMICT) | rd(l, APIC_TMCCT), 0);
	assert_int_equal(rd(l, APIC_SVR), 0xff);
	assert_int_equal(lapic_ack(l), LAPIC_NONE);
	assert_int_equal(l->base, 0xfee00800);
	apics_free(a);
}

/* ---- timer ---- */

static void *run_loop(void *ctx)
{
	struct error e;

	loop_run(ctx, &e);
	return NULL;
}

static bool wait_for(struct apics *a, unsigned cpu, u32 event)
{
	for (int i = 0; i < 5000; i++) {
		if (events(a, cpu) & event)
			return true;
		usleep(1000);
	}
	return false;
}

static void one_shot_counts_once(void **state)
{
	struct apics *a = apics_new();
	struct lapic *l = &a->lapic[0];
	pthread_t t;

	pthread_create(&t, NULL, run_loop, &a->loop);
	enable_all(a);
	wr(l, APIC_TDCR, 0xb); /* divide by 1 */
	wr(l, APIC_LVT_TIMER, 0x55);
	/* A count a nanosecond; none is left when the host let that much time pass. */
	u64 ns = clock_monotonic_ns();
	wr(l, APIC_TMICT, 20000000);
	u32 first = rd(l, APIC_TMCCT);
	ns = clock_monotonic_ns() - ns;
	assert_in_range(first, ns < 20000000 ? 20000000 - ns : 0, 20000000);
	usleep(1000);
	assert_true(rd(l, APIC_TMCCT) < max(first, 900000u) - 899999);
	assert_true(wait_for(a, 0, CPU_EV_INTR));
	assert_int_equal(rd(l, APIC_TMCCT), 0);
	expect(l, 0x55);
	usleep(30000);
	assert_int_equal(lapic_ack(l), LAPIC_NONE);
	/* Turning an ended count periodic does not start it. */
	wr(l, APIC_LVT_TIMER, 0x20055);
	assert_int_equal(rd(l, APIC_TMCCT), 0);
	assert_int_equal(rd(l, APIC_TMICT), 20000000);
	loop_stop(&a->loop);
	pthread_join(t, NULL);
	apics_free(a);
}

static void periodic_comes_again(void **state)
{
	struct apics *a = apics_new();
	struct lapic *l = &a->lapic[0];
	pthread_t t;

	pthread_create(&t, NULL, run_loop, &a->loop);
	enable_all(a);
	wr(l, APIC_TDCR, 0x1); /* divide by 4 */
	wr(l, APIC_LVT_TIMER, 0x20056);
	wr(l, APIC_TMICT, 500000);
	for (int i = 0; i < 3; i++) {
		assert_true(wait_for(a, 0, CPU_EV_INTR));
		expect(l, 0x56);
	}
	wr(l, APIC_TMICT, 0);
	events(a, 0);
	lapic_ack(l);
	usleep(10000);
	assert_int_equal(events(a, 0) & CPU_EV_INTR, 0);
	assert_int_equal(rd(l, APIC_TMCCT), 0);
	loop_stop(&a->loop);
	pthread_join(t, NULL);
	apics_free(a);
}

/* A read of the count that sees the end posts the interrupt, however late the loop is. */
static void expiry_is_seen_without_the_loop(void **state)
{
	struct apics *a = apics_new();
	struct lapic *l = &a->lapic[0];

	enable_all(a);
	wr(l, APIC_TDCR, 0xb);
	wr(l, APIC_LVT_TIMER, 0x57);
	wr(l, APIC_TMICT, 1000);
	while (rd(l, APIC_TMCCT))
		;
	assert_int_equal(lapic_ack(l), 0x57);
	apics_free(a);
}

static void divisor_scales(void **state)
{
	static const struct {
		u8 tdcr;
		unsigned divisor;
	} table[] = {{0, 2}, {1, 4}, {2, 8}, {3, 16}, {8, 32}, {9, 64}, {10, 128}, {11, 1}};
	struct apics *a = apics_new();
	struct lapic *l = &a->lapic[0];

	for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
		wr(l, APIC_TDCR, table[i].tdcr);
		wr(l, APIC_TMICT, 0xffffffff);
		u64 ns0 = clock_monotonic_ns();
		usleep(2000);
		u32 passed = 0xffffffff - rd(l, APIC_TMCCT);
		u64 ns = clock_monotonic_ns() - ns0;
		assert_in_range(passed, 2000000 / table[i].divisor, (ns + 2000000) / table[i].divisor + 1);
	}
	apics_free(a);
}

static void tsc_deadline(void **state)
{
	struct apics *a = apics_new();
	struct lapic *l = &a->lapic[0];
	u64 v = 1;
	pthread_t t;

	pthread_create(&t, NULL, run_loop, &a->loop);
	enable_all(a);
	assert_true(lapic_msr_write(l, MSR_TSC_DEADLINE, 12345)); /* ignored in other modes */
	assert_true(lapic_msr_read(l, MSR_TSC_DEADLINE, &v));
	assert_int_equal(v, 0);
	wr(l, APIC_LVT_TIMER, 0x40058);
	/* in the past: at once */
	lapic_msr_write(l, MSR_TSC_DEADLINE, 1);
	assert_int_equal(events(a, 0), CPU_EV_INTR);
	expect(l, 0x58);
	lapic_msr_read(l, MSR_TSC_DEADLINE, &v);
	assert_int_equal(v, 0);
	/* in 5 ms: not before */
	u64 deadline = cpu_guest_tsc(&a->cpu[0]) + clock_tsc_hz() / 200;
	lapic_msr_write(l, MSR_TSC_DEADLINE, deadline);
	lapic_msr_read(l, MSR_TSC_DEADLINE, &v);
	assert_true(v == deadline);
	assert_true(wait_for(a, 0, CPU_EV_INTR));
	assert_true(cpu_guest_tsc(&a->cpu[0]) >= deadline);
	expect(l, 0x58);
	/* never, and disarmed by 0 */
	lapic_msr_write(l, MSR_TSC_DEADLINE, ~0ULL);
	wr(l, APIC_TMICT, 1); /* ignored */
	assert_int_equal(rd(l, APIC_TMCCT), 0);
	assert_int_equal(rd(l, APIC_TMICT), 0);
	lapic_msr_write(l, MSR_TSC_DEADLINE, 0);
	lapic_msr_read(l, MSR_TSC_DEADLINE, &v);
	assert_int_equal(v, 0);
	/* leaving the mode disarms */
	lapic_msr_write(l, MSR_TSC_DEADLINE, ~0ULL);
	wr(l, APIC_LVT_TIMER, 0x58);
	wr(l, APIC_LVT_TIMER, 0x40058);
	lapic_msr_read(l, MSR_TSC_DEADLINE, &v);
	assert_int_equal(v, 0);
	loop_stop(&a->loop);
	pthread_join(t, NULL);
	apics_free(a);
}

static void masked_timer_counts_silently(void **state)
{
	struct apics *a = apics_new();
	struct lapic *l = &a->lapic[0];

	enable_all(a);
	wr(l, APIC_TDCR, 0xb);
	wr(l, APIC_LVT_TIMER, 0x10057);
	wr(l, APIC_TMICT, 1000);
	while (rd(l, APIC_TMCCT))
		;
	assert_int_equal(lapic_ack(l), LAPIC_NONE);
	apics_free(a);
}

/* Any register, any value, by a hostile guest: the sanitizers watch. */
static void random_accesses_do_no_harm(void **state)
{
	struct apics *a = apics_new();
	u64 seed = 88172645463325252ULL, v;

	for (int i = 0; i < 300000; i++) {
		struct lapic *l = &a->lapic[i % APICS];

		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		u32 value = (u32)(seed >> 32), reg = (u32)seed & 0xfff;
		switch (seed >> 29 & 7) {
		case 0:
			lapic_read(l, reg, 1u << (value & 3));
			break;
		case 1:
			lapic_msr_write(l, 0x800 + (reg & 0x3f), seed >> 20);
			break;
		case 2:
			lapic_msr_read(l, 0x800 + (reg & 0xff), &v);
			break;
		case 3:
			lapic_msr_write(l, MSR_APIC_BASE, 0xfee00000 | (reg & 0xd00));
			break;
		case 4:
			lapic_ack(l);
			break;
		case 5:
			lapic_msr_write(l, MSR_TSC_DEADLINE, seed);
			break;
		default:
			wr(l, reg & 0xff0, value);
		}
	}
	apics_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(power_on_state),
	        cmocka_unit_test(only_aligned_dwords_write),
	        cmocka_unit_test(software_disable_masks_lvt),
	        cmocka_unit_test(self_ipi_goes_through_irr_and_isr),
	        cmocka_unit_test(priority_classes_nest),
	        cmocka_unit_test(tpr_holds_back_and_lets_go),
	        cmocka_unit_test(destinations_physical),
	        cmocka_unit_test(destinations_shorthand),
	        cmocka_unit_test(destinations_logical_flat),
	        cmocka_unit_test(destinations_logical_cluster),
	        cmocka_unit_test(lowest_priority_picks_one),
	        cmocka_unit_test(nmi_init_sipi_are_events),
	        cmocka_unit_test(second_nmi_is_told),
	        cmocka_unit_test(disabled_takes_no_fixed_but_keeps_pending),
	        cmocka_unit_test(errors_show_after_a_write),
	        cmocka_unit_test(base_follows_figure_10_27),
	        cmocka_unit_test(hardware_disable_loses_all_but_cr8),
	        cmocka_unit_test(x2apic_registers_are_checked),
	        cmocka_unit_test(x2apic_ids_have_clusters),
	        cmocka_unit_test(x2apic_ipis),
	        cmocka_unit_test(msi_reaches_both_modes),
	        cmocka_unit_test(lint_modes),
	        cmocka_unit_test(init_keeps_id_and_base),
	        cmocka_unit_test(one_shot_counts_once),
	        cmocka_unit_test(periodic_comes_again),
	        cmocka_unit_test(expiry_is_seen_without_the_loop),
	        cmocka_unit_test(divisor_scales),
	        cmocka_unit_test(tsc_deadline),
	        cmocka_unit_test(masked_timer_counts_silently),
	        cmocka_unit_test(random_accesses_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
