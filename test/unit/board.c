#include "machine/acpi_pm.h"
#include "machine/board.h"
#include "machine/lapic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct loop loop;
static struct board *board;
static struct cpu cpus[2];
static const struct cpu_board *io;
static unsigned told[3];
static int told_code;

static void event(void *ctx, enum board_event e, int code)
{
	told[e]++;
	told_code = code;
}

static int setup(void **state)
{
	struct board_config c = {.memory = 64 * MiB, .cpus = 2, .debug_exit = true, .event = event};
	struct error e;

	memset(told, 0, sizeof(told));
	memset(cpus, 0, sizeof(cpus));
	loop_init(&loop, &e);
	board = board_new(&c, &loop, &e);
	if (!board)
		return -1;
	io = board_cpu_interface(board);
	for (unsigned i = 0; i < 2; i++) {
		cpus[i].config.index = i;
		cpus[i].config.tsc_hz = 2000000000;
		board_add_cpu(board, &cpus[i]);
	}
	board_reset(board);
	return 0;
}

static int teardown(void **state)
{
	board_free(board);
	loop_release(&loop);
	return 0;
}

static void out(u16 port, u8 value)
{
	io->pio_write(io->ctx, &cpus[0], port, 1, value);
}

static u8 in(u16 port)
{
	return (u8)io->pio_read(io->ctx, &cpus[0], port, 1);
}

static u32 apic(unsigned cpu, u32 reg)
{
	return (u32)io->mmio_read(io->ctx, &cpus[cpu], BOARD_LAPIC_BASE + reg, 4);
}

static void apic_set(unsigned cpu, u32 reg, u32 value)
{
	io->mmio_write(io->ctx, &cpus[cpu], BOARD_LAPIC_BASE + reg, 4, value);
}

static void ioapic_set_entry(unsigned pin, u32 low)
{
	io->mmio_write(io->ctx, &cpus[0], BOARD_IOAPIC_BASE, 4, 0x10 + 2 * pin);
	io->mmio_write(io->ctx, &cpus[0], BOARD_IOAPIC_BASE + 0x10, 4, low);
}

static void each_cpu_sees_its_own_apic(void **state)
{
	assert_int_equal(apic(0, APIC_ID), 0);
	assert_int_equal(apic(1, APIC_ID), 1 << 24);
	assert_true(io->msr_write(io->ctx, &cpus[1], MSR_APIC_BASE, 0xfed40000 | APIC_BASE_ENABLE));
	assert_int_equal(apic(1, APIC_ID), 0xffffffff);
	assert_int_equal(io->mmio_read(io->ctx, &cpus[1], 0xfed40020, 4), 1 << 24);
	assert_int_equal(apic(0, APIC_VERSION), 0x50014);
}

static void unknown_msrs_are_refused(void **state)
{
	u64 v;

	assert_false(io->msr_read(io->ctx, &cpus[0], 0x802, &v)); /* not in x2APIC mode */
	assert_false(io->msr_read(io->ctx, &cpus[0], 0x123, &v));
	assert_true(io->msr_read(io->ctx, &cpus[0], 0x6e0, &v));
	assert_true(io->msr_read(io->ctx, &cpus[0], 0x4b564d01, &v));
}

static void pic_interrupt_through_lint0(void **state)
{
	board_write_tables(board);
	out(0x21, 0xff & ~BIT(4));
	struct irq_line com1 = board_gsi(board, 4);
	irq_set(&com1, true);
	assert_true(io->interrupt_pending(io->ctx, &cpus[0]));
	assert_false(io->interrupt_pending(io->ctx, &cpus[1]));
	assert_int_equal(io->interrupt_ack(io->ctx, &cpus[0]), 0x0c);
	assert_int_equal(io->interrupt_ack(io->ctx, &cpus[0]), -1);
	irq_set(&com1, false);
}

static void test_device_line_to_ioapic(void **state)
{
	apic_set(0, APIC_SVR, 0x1ff);
	ioapic_set_entry(14, 0x81);
	out(0x200e, 1);
	assert_int_equal(io->interrupt_ack(io->ctx, &cpus[0]), 0x81);
	apic_set(0, APIC_EOI, 0);
	out(0x200e, 0);
	/* level: again after EOI */
	ioapic_set_entry(14, 0x8000 | 0x82);
	out(0x200e, 1);
	assert_int_equal(io->interrupt_ack(io->ctx, &cpus[0]), 0x82);
	apic_set(0, APIC_EOI, 0);
	assert_int_equal(io->interrupt_ack(io->ctx, &cpus[0]), 0x82);
	out(0x200e, 0);
	apic_set(0, APIC_EOI, 0);
	assert_int_equal(io->interrupt_ack(io->ctx, &cpus[0]), -1);
}

static void timer_is_pin_2(void **state)
{
	apic_set(0, APIC_SVR, 0x1ff);
	ioapic_set_entry(2, 0x30);
	struct irq_line timer = board_gsi(board, 0);
	irq_set(&timer, false);
	irq_set(&timer, true);
	assert_int_equal(io->interrupt_ack(io->ctx, &cpus[0]), 0x30);
}

static void ferr_is_irq_13(void **state)
{
	apic_set(0, APIC_SVR, 0x1ff);
	ioapic_set_entry(13, 0x3d);
	io->ferr(io->ctx, &cpus[0]);
	assert_int_equal(io->interrupt_ack(io->ctx, &cpus[0]), 0x3d);
	apic_set(0, APIC_EOI, 0);
	io->ferr(io->ctx, &cpus[0]); /* still asserted: no edge */
	assert_int_equal(io->interrupt_ack(io->ctx, &cpus[0]), -1);
	out(0xf0, 0);
	io->ferr(io->ctx, &cpus[0]);
	assert_int_equal(io->interrupt_ack(io->ctx, &cpus[0]), 0x3d);
}

static void events_are_told_once(void **state)
{
	out(0x64, 0xfe);
	out(0xcf9, 6);
	out(0x92, 1);
	assert_int_equal(told[BOARD_RESET], 1);
	board_reset(board);
	out(0xcf9, 6);
	assert_int_equal(told[BOARD_RESET], 2);
	io->pio_write(io->ctx, &cpus[0], ACPI_PM1_CNT, 2, ACPI_S5_TYPE << 10 | 1 << 13);
	assert_int_equal(told[BOARD_POWEROFF], 1);
	io->pio_write(io->ctx, &cpus[0], 0xf4, 4, 3);
	assert_int_equal(told[BOARD_DEBUG_EXIT], 1);
	assert_int_equal(told_code, 7);
}

static void e820_is_sorted_and_covers_ram(void **state)
{
	struct board_e820 map[8];
	unsigned n = board_e820(board, map, 8);
	u64 ram = 0;

	for (unsigned i = 0; i < n; i++) {
		assert_true(map[i].size);
		if (i)
			assert_true(map[i - 1].addr + map[i - 1].size <= map[i].addr);
		ram += map[i].type == 1 ? map[i].size : 0;
	}
	assert_int_equal(ram, 63 * MiB + 0x9fc00);
	assert_int_equal(board_e820(board, map, 2), 2);
}

static void tables_are_where_systems_look(void **state)
{
	char buf[8];
	u64 rsdp = board_write_tables(board);

	assert_in_range(rsdp, 0xe0000, 0xfffff);
	memory_read(board_memory(board), rsdp, buf, 8);
	assert_memory_equal(buf, "RSD PTR ", 8);
	memory_read(board_memory(board), 0xf0000, buf, 5);
	assert_memory_equal(buf, "_SM3_", 5);
	assert_int_equal(board_write_tables(board), rsdp);
}

static void fw_cfg_tells_cpus_and_memory(void **state)
{
	io->pio_write(io->ctx, &cpus[0], 0x510, 2, 5);
	assert_int_equal(in(0x511), 2);
	io->pio_write(io->ctx, &cpus[0], 0x510, 2, 3);
	u64 v = 0;
	for (unsigned i = 0; i < 8; i++)
		v |= (u64)in(0x511) << i * 8;
	assert_int_equal(v, 64 * MiB);
}

static void power_button_reaches_the_cpu(void **state)
{
	apic_set(0, APIC_SVR, 0x1ff);
	ioapic_set_entry(9, 0x8000 | 0x39);
	io->pio_write(io->ctx, &cpus[0], ACPI_PM1_EVT + 2, 2, PM1_PWRBTN);
	out(ACPI_SMI_CMD, ACPI_ENABLE);
	board_power_button(board);
	assert_int_equal(io->interrupt_ack(io->ctx, &cpus[0]), 0x39);
}

static void bad_configurations_are_refused(void **state)
{
	struct error e;
	struct board_config none = {.memory = 64 * MiB, .cpus = 0}, many = {.memory = 64 * MiB, .cpus = 65},
	                    small = {.memory = 1 * MiB, .cpus = 1},
	                    uuid = {.memory = 64 * MiB, .cpus = 1, .smbios_uuid = "nonsense"};

	assert_null(board_new(&none, &loop, &e));
	assert_null(board_new(&many, &loop, &e));
	assert_null(board_new(&small, &loop, &e));
	assert_non_null(strstr(e.text, "too small"));
	assert_null(board_new(&uuid, &loop, &e));
}

/* Every port and much of MMIO, written at random by a hostile guest. */
static void random_accesses_do_no_harm(void **state)
{
	static const u64 places[] = {BOARD_LAPIC_BASE, BOARD_IOAPIC_BASE, BOARD_ECAM_BASE,
	                             BOARD_PCI_BASE,   BOARD_TESTDEV_MEM, 0xa0000};
	u64 seed = 5, v;

	for (int i = 0; i < 400000; i++) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		struct cpu *c = &cpus[seed >> 63];
		unsigned size = 1u << (seed >> 58 & 3);
		u64 gpa = places[(seed >> 20) % ARRAY_SIZE(places)] + (seed >> 40 & 0xfff);
		u16 port = (u16)(seed >> 30 & (seed & BIT(29) ? 0xffff : 0xff));
		switch (seed >> 54 & 7) {
		case 0:
			io->mmio_read(io->ctx, c, gpa, size);
			break;
		case 1:
			io->mmio_write(io->ctx, c, gpa, size, seed * 3);
			break;
		case 2:
		case 3:
			io->pio_write(io->ctx, c, port, min(size, 4u), (u32)(seed * 5));
			break;
		case 4:
			io->pio_read(io->ctx, c, port, min(size, 4u));
			break;
		case 5:
			io->interrupt_ack(io->ctx, c);
			break;
		case 6:
			io->msr_write(io->ctx, c, 0x800 + (seed >> 40 & 0x3f), seed * 7 >> 40);
			break;
		default:
			io->msr_read(io->ctx, c, 0x4b564d00 + (seed >> 40 & 3), &v);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(each_cpu_sees_its_own_apic, setup, teardown),
	        cmocka_unit_test_setup_teardown(unknown_msrs_are_refused, setup, teardown),
	        cmocka_unit_test_setup_teardown(pic_interrupt_through_lint0, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_device_line_to_ioapic, setup, teardown),
	        cmocka_unit_test_setup_teardown(timer_is_pin_2, setup, teardown),
	        cmocka_unit_test_setup_teardown(ferr_is_irq_13, setup, teardown),
	        cmocka_unit_test_setup_teardown(events_are_told_once, setup, teardown),
	        cmocka_unit_test_setup_teardown(e820_is_sorted_and_covers_ram, setup, teardown),
	        cmocka_unit_test_setup_teardown(tables_are_where_systems_look, setup, teardown),
	        cmocka_unit_test_setup_teardown(fw_cfg_tells_cpus_and_memory, setup, teardown),
	        cmocka_unit_test_setup_teardown(power_button_reaches_the_cpu, setup, teardown),
	        cmocka_unit_test_setup_teardown(bad_configurations_are_refused, setup, teardown),
	        cmocka_unit_test_setup_teardown(random_accesses_do_no_harm, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
