#include "machine/pci_hotplug.h"
#include "machine/board.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct loop loop;
static struct board *board;
static struct pci_hotplug *hotplug;
static struct pci_device device;
static unsigned gone_slot, gone_times;

static void gone(void *ctx, unsigned slot)
{
	gone_slot = slot;
	gone_times++;
	pci_remove(&device);
}

static void stop(void *ctx)
{
	loop_stop(&loop);
}

/* Lets the loop do what was posted. */
static void pump(void)
{
	struct loop_call call = {.fn = stop};
	struct error e;

	loop.stop = false;
	loop_post(&loop, &call);
	assert_int_equal(loop_run(&loop, &e), 0);
}

static u32 port(u16 number)
{
	return (u32)bus_read(board_pio(board), number, 4);
}

static void eject(u32 slots)
{
	bus_write(board_pio(board), PCI_HOTPLUG_EJECT, 4, slots);
}

static void plug(void)
{
	static const struct bus_ops ops;
	struct error e;

	device = (struct pci_device){
	        .name = "test", .vendor = 0x1af4, .device = 0x1041, .class_code = 0x020000};
	device.bar[0] = (struct pci_bar){.size = 4096, .ops = &ops};
	assert_int_equal(pci_add(board_pci(board), &device, &e), 0);
	pci_hotplug_changed(hotplug, device.slot);
}

static int setup(void **state)
{
	struct board_config config = {.memory = 16 * MiB, .cpus = 1};
	struct error e;

	loop_init(&loop, &e);
	board = board_new(&config, &loop, &e);
	assert_non_null(board);
	hotplug = board_hotplug(board);
	pci_hotplug_listen(hotplug, gone, NULL);
	gone_times = 0;
	plug();
	return 0;
}

static int teardown(void **state)
{
	pci_remove(&device);
	board_free(board);
	loop_release(&loop);
	return 0;
}

static u32 id_in(unsigned slot)
{
	return pci_config_read(board_pci(board), slot, 0, 4);
}

static void the_guest_is_told_once(void **state)
{
	u16 status = (u16)bus_read(board_pio(board), ACPI_GPE0, 2);

	assert_int_equal(status, 1 << PCI_HOTPLUG_GPE);
	assert_int_equal(port(PCI_HOTPLUG_UP), 1 << device.slot);
	assert_int_equal(port(PCI_HOTPLUG_UP), 0);
	pci_hotplug_changed(hotplug, device.slot);
	assert_int_equal(port(PCI_HOTPLUG_UP), 1 << device.slot);
}

static void it_gives_back_what_it_is_asked_for(void **state)
{
	unsigned slot = device.slot;

	pci_hotplug_ask(hotplug, slot);
	assert_int_equal(port(PCI_HOTPLUG_DOWN), 1 << slot);
	assert_int_equal(port(PCI_HOTPLUG_DOWN), 1 << slot);
	assert_true(pci_hotplug_asked(hotplug, slot));
	eject((u32)BIT(slot));
	/* At once out of sight; the owner hears of it from the loop. */
	assert_int_equal(id_in(slot), 0xffffffff);
	assert_int_equal(port(PCI_HOTPLUG_DOWN), 0);
	assert_false(pci_hotplug_asked(hotplug, slot));
	assert_int_equal(gone_times, 0);
	pump();
	assert_int_equal(gone_times, 1);
	assert_int_equal(gone_slot, slot);
	/* The next one does not stand in the same place. */
	plug();
	assert_int_not_equal(device.slot, slot);
}

static void it_cannot_rid_itself_of_the_rest(void **state)
{
	eject(0xffffffff);
	pump();
	assert_int_equal(gone_times, 0);
	assert_int_equal(id_in(device.slot), 0x10411af4);
	assert_int_equal(id_in(0) & 0xffff, 0x8086);
	pci_hotplug_ask(hotplug, device.slot);
	pci_hotplug_forget(hotplug, device.slot);
	eject(0xffffffff);
	pump();
	assert_int_equal(gone_times, 0);
}

static void twice_is_once(void **state)
{
	pci_hotplug_ask(hotplug, device.slot);
	eject(0xffffffff);
	eject(0xffffffff);
	pump();
	pump();
	assert_int_equal(gone_times, 1);
}

static void a_reset_gives_back(void **state)
{
	pci_hotplug_ask(hotplug, device.slot);
	board_reset(board);
	assert_int_equal(id_in(device.slot), 0xffffffff);
	pump();
	assert_int_equal(gone_times, 1);
	assert_int_equal(port(PCI_HOTPLUG_UP) | port(PCI_HOTPLUG_DOWN), 0);
}

static void narrow_and_odd_accesses_do_nothing(void **state)
{
	pci_hotplug_ask(hotplug, device.slot);
	for (unsigned size = 1; size < 4; size *= 2)
		for (u16 at = PCI_HOTPLUG_UP; at + size <= PCI_HOTPLUG_UP + PCI_HOTPLUG_PORTS; at++) {
			bus_write(board_pio(board), at, size, ~0ULL);
			assert_int_equal(bus_read(board_pio(board), at, size), 0);
		}
	pump();
	assert_int_equal(gone_times, 0);
	assert_int_equal(port(PCI_HOTPLUG_EJECT), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	        TEST(the_guest_is_told_once),
	        TEST(it_gives_back_what_it_is_asked_for),
	        TEST(it_cannot_rid_itself_of_the_rest),
	        TEST(twice_is_once),
	        TEST(a_reset_gives_back),
	        TEST(narrow_and_odd_accesses_do_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
