#include "machine/pci.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ECAM 0xe0000000ULL
#define MEM  0xc0000000ULL

static struct bus *pio, *mmio;
static struct pci_host *host;
static unsigned resets, sends;
static u64 sent_address;
static u32 sent_data;
static u32 lines;

static void set_line(void *ctx, unsigned n, bool level)
{
	lines = level ? lines | (u32)BIT(n) : lines & ~(u32)BIT(n);
}

static void send(void *ctx, u64 address, u32 data)
{
	sends++;
	sent_address = address;
	sent_data = data;
}

static void reset(void *ctx)
{
	resets++;
}

static int setup(void **state)
{
	struct error e;

	pio = bus_new();
	mmio = bus_new();
	resets = sends = lines = 0;
	struct pci_host_config c = {
	        .pio = pio,
	        .mmio = mmio,
	        .ecam_base = ECAM,
	        .ecam_size = 0x10000000,
	        .mem_base = MEM,
	        .mem_size = 0x20000000,
	        .mem64_base = 0x100000000,
	        .mem64_size = 64 * GiB,
	        .io_base = 0xc000,
	        .io_size = 0x4000,
	        .msi = {send, NULL},
	        .reset = reset,
	};
	for (unsigned i = 0; i < 8; i++)
		c.intx[i] = (struct irq_line){set_line, NULL, i};
	host = pci_host_new(&c, &e);
	return host ? 0 : -1;
}

static int teardown(void **state)
{
	pci_host_free(host);
	bus_free(pio);
	bus_free(mmio);
	return 0;
}

/* A device with a register in BAR 0, MSI-X behind it, a large BAR 2 and ports in BAR 4. */
struct toy {
	struct pci_device pci;
	u64 reg;
	u64 last_offset;
	unsigned written_at, resets;
};

static u64 toy_read(void *ctx, u64 offset, unsigned size)
{
	struct toy *t = ctx;

	t->last_offset = offset;
	return t->reg;
}

static void toy_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	struct toy *t = ctx;

	t->last_offset = offset;
	t->reg = value;
}

static void toy_written(void *ctx, unsigned offset, unsigned size)
{
	((struct toy *)ctx)->written_at = offset;
}

static void toy_reset(void *ctx)
{
	((struct toy *)ctx)->resets++;
}

static const struct bus_ops toy_ops = {toy_read, toy_write};

static struct toy *toy_new(void)
{
	struct toy *t = calloc(1, sizeof(*t));
	struct error e;

	t->pci = (struct pci_device){
	        .name = "toy",
	        .vendor = 0x1234,
	        .device = 0x5678,
	        .subvendor = 0x9abc,
	        .subdevice = 0xdef0,
	        .class_code = 0x010802,
	        .revision = 3,
	        .ctx = t,
	        .bar = {[0] = {.size = 16 * KiB, .is64 = true, .ops = &toy_ops},
	                [2] = {.size = 1 * GiB, .is64 = true, .prefetch = true, .ops = &toy_ops},
	                [4] = {.size = 32, .io = true, .ops = &toy_ops}},
	        .msix_vectors = 5,
	        .msix_bar = 0,
	        .msix_offset = 0x2000,
	        .msix_pba = 0x3000,
	        .config_written = toy_written,
	        .reset = toy_reset,
	};
	assert_int_equal(pci_add(host, &t->pci, &e), 0);
	return t;
}

static void toy_free(struct toy *t)
{
	pci_remove(&t->pci);
	free(t);
}

static u32 ecam(unsigned slot, unsigned reg, unsigned size)
{
	return (u32)bus_read(mmio, ECAM + slot * 0x8000 + reg, size);
}

static void ecam_set(unsigned slot, unsigned reg, unsigned size, u32 v)
{
	bus_write(mmio, ECAM + slot * 0x8000 + reg, size, v);
}

static void bridge_answers_on_both_ways(void **state)
{
	assert_int_equal(ecam(0, 0, 4), 0x0d578086);
	assert_int_equal(ecam(0, 8, 4), 0x06000000);
	bus_write(pio, 0xcf8, 4, 0x80000000);
	assert_int_equal(bus_read(pio, 0xcf8, 4), 0x80000000);
	assert_int_equal(bus_read(pio, 0xcfc, 4), 0x0d578086);
	assert_int_equal(bus_read(pio, 0xcfe, 2), 0x0d57);
	assert_int_equal(bus_read(pio, 0xcff, 1), 0x0d);
	bus_write(pio, 0xcf8, 4, 0); /* not enabled */
	assert_int_equal(bus_read(pio, 0xcfc, 4), 0xffffffff);
	bus_write(pio, 0xcf8, 4, 0x80010000); /* bus 1 */
	assert_int_equal(bus_read(pio, 0xcfc, 4), 0xffffffff);
	bus_write(pio, 0xcf8, 4, 0x80000100); /* function 1 */
	assert_int_equal(bus_read(pio, 0xcfc, 4), 0xffffffff);
	assert_int_equal(ecam(1, 0, 4), 0xffffffff);
	assert_int_equal(bus_read(mmio, ECAM + 0x1000, 4), 0xffffffff);
	assert_int_equal(bus_read(mmio, ECAM + 0x100000, 4), 0xffffffff);
	assert_true(bus_read(mmio, ECAM, 8) == ((u64)ecam(0, 4, 4) << 32 | 0x0d578086));
}

static void port_cf9_resets(void **state)
{
	bus_write(pio, 0xcf9, 1, 2);
	assert_int_equal(resets, 0);
	assert_int_equal(bus_read(pio, 0xcf9, 1), 2);
	bus_write(pio, 0xcf9, 1, 6);
	assert_int_equal(resets, 1);
	bus_write(pio, 0xcf8, 4, 0x80000600); /* no reset by the address register */
	assert_int_equal(resets, 1);
}

static void header_and_chain(void **state)
{
	struct toy *t = toy_new();

	assert_int_equal(t->pci.slot, 1);
	assert_int_equal(ecam(1, 0, 4), 0x56781234);
	assert_int_equal(ecam(1, 8, 4), 0x01080203);
	assert_int_equal(ecam(1, 0x2c, 4), 0xdef09abc);
	assert_int_equal(ecam(1, 0x3d, 1), 1);
	assert_int_equal(ecam(1, 6, 2) & 0x10, 0x10);
	unsigned cap = ecam(1, 0x34, 1);
	assert_int_equal(cap, 0x40);
	assert_int_equal(ecam(1, cap, 1), 0x11);
	assert_int_equal(ecam(1, cap + 2, 2), 4); /* five vectors */
	assert_int_equal(ecam(1, cap + 4, 4), 0x2000);
	unsigned second = pci_add_capability(&t->pci, 0x09, 20);
	assert_int_equal(second, 0x4c);
	assert_int_equal(ecam(1, cap + 1, 1), second);
	assert_int_equal(ecam(1, second + 1, 1), 0);
	assert_int_equal(pci_add_capability(&t->pci, 0x09, 200), 0);
	ecam_set(1, 0, 4, 0); /* read-only */
	assert_int_equal(ecam(1, 0, 4), 0x56781234);
	toy_free(t);
	assert_int_equal(ecam(1, 0, 4), 0xffffffff);
}

static void bars_have_addresses_and_sizes(void **state)
{
	struct toy *t = toy_new(), *u = toy_new();

	assert_int_equal(ecam(1, 0x10, 4), MEM | 4);
	assert_int_equal(ecam(1, 0x18, 4) & 0xf, 0xc);
	assert_int_equal(ecam(1, 0x1c, 4), 1); /* 1 GiB is too large for the window below 4 GiB */
	assert_int_equal(ecam(1, 0x20, 4), 0xc000 | 1);
	assert_int_equal(ecam(2, 0x10, 4), (MEM + 0x4000) | 4);
	assert_int_equal(ecam(2, 0x20, 4), 0xc020 | 1);
	ecam_set(1, 4, 2, 0);
	ecam_set(1, 0x10, 4, 0xffffffff);
	ecam_set(1, 0x14, 4, 0xffffffff);
	ecam_set(1, 0x20, 4, 0xffffffff);
	assert_int_equal(ecam(1, 0x10, 4), 0xffffc004);
	assert_int_equal(ecam(1, 0x14, 4), 0xffffffff);
	assert_int_equal(ecam(1, 0x20, 4), 0xffe1);
	assert_int_equal(ecam(1, 0x24, 4), 0);
	toy_free(t);
	toy_free(u);
}

static void bars_decode_and_move(void **state)
{
	struct toy *t = toy_new();

	bus_write(mmio, MEM + 0x10, 4, 0x55);
	assert_int_equal(t->reg, 0x55);
	assert_int_equal(t->last_offset, 0x10);
	bus_write(pio, 0xc004, 2, 0x66);
	assert_int_equal(t->reg, 0x66);
	assert_int_equal(t->last_offset, 4);
	bus_read(mmio, 0x100000008ULL, 4);
	assert_int_equal(t->last_offset, 8);
	ecam_set(1, 0x10, 4, 0xd0000000);
	assert_int_equal(bus_read(mmio, MEM + 0x10, 4), 0xffffffff);
	assert_int_equal(bus_read(mmio, 0xd0000010, 4), 0x66);
	ecam_set(1, 4, 2, 1); /* no memory decoding */
	assert_int_equal(bus_read(mmio, 0xd0000010, 4), 0xffffffff);
	assert_int_equal(bus_read(pio, 0xc000, 1), 0x66);
	ecam_set(1, 4, 2, 2);
	assert_int_equal(bus_read(mmio, 0xd0000010, 4), 0x66);
	assert_int_equal(bus_read(pio, 0xc000, 1), 0xff);
	toy_free(t);
	assert_int_equal(bus_read(mmio, 0xd0000010, 4), 0xffffffff);
}

static void bar_on_top_of_another_waits(void **state)
{
	struct toy *t = toy_new(), *u = toy_new();

	t->reg = 1;
	u->reg = 2;
	ecam_set(2, 0x10, 4, (u32)MEM); /* onto the other's */
	assert_int_equal(bus_read(mmio, MEM, 1), 1);
	ecam_set(1, 0x10, 4, 0xd0000000);
	assert_int_equal(bus_read(mmio, MEM, 1), 2);
	assert_int_equal(bus_read(mmio, 0xd0000000, 1), 1);
	ecam_set(1, 0x10, 4, (u32)ECAM); /* onto the bridge's */
	assert_int_equal(ecam(0, 0, 4), 0x0d578086);
	toy_free(t);
	toy_free(u);
}

static void write_msix(unsigned v, u64 address, u32 data, u32 control)
{
	bus_write(mmio, MEM + 0x2000 + v * 16, 8, address);
	bus_write(mmio, MEM + 0x2008 + v * 16, 4, data);
	bus_write(mmio, MEM + 0x200c + v * 16, 4, control);
}

static void msix_sends(void **state)
{
	struct toy *t = toy_new();

	assert_int_equal(bus_read(mmio, MEM + 0x200c, 4), 1); /* masked after reset */
	pci_msix_notify(&t->pci, 2);                          /* not enabled: gone */
	write_msix(2, 0xfee01003, 0x41, 0);
	assert_true(bus_read(mmio, MEM + 0x2020, 8) == 0xfee01000);
	ecam_set(1, 0x42, 2, 0x8000);
	assert_true(pci_msix_on(&t->pci));
	assert_int_equal(sends, 0);
	pci_msix_notify(&t->pci, 2);
	assert_int_equal(sends, 1);
	assert_int_equal(sent_address, 0xfee01000);
	assert_int_equal(sent_data, 0x41);
	pci_msix_notify(&t->pci, 5); /* no such vector */
	assert_int_equal(sends, 1);
	assert_int_equal(t->last_offset, 0); /* nothing of this reached the device */
	toy_free(t);
}

static void msix_masks_pend(void **state)
{
	struct toy *t = toy_new();

	write_msix(1, 0xfee00000, 0x51, 1);
	ecam_set(1, 0x42, 2, 0xc000); /* enabled, all masked */
	pci_msix_notify(&t->pci, 1);
	assert_int_equal(bus_read(mmio, MEM + 0x3000, 4), 2);
	ecam_set(1, 0x42, 2, 0x8000);
	assert_int_equal(sends, 0); /* the vector's own mask */
	bus_write(mmio, MEM + 0x3000, 4, 0);
	assert_int_equal(bus_read(mmio, MEM + 0x3000, 8), 2);
	bus_write(mmio, MEM + 0x201c, 4, 0);
	assert_int_equal(sends, 1);
	assert_int_equal(bus_read(mmio, MEM + 0x3000, 4), 0);
	toy_free(t);
}

static void intx_is_shared_and_gated(void **state)
{
	struct toy *t[9];

	for (int i = 0; i < 9; i++)
		t[i] = toy_new(); /* slots 1 … 9; 1 and 9 share */
	pci_intx_set(&t[0]->pci, true);
	assert_int_equal(lines, BIT(1));
	assert_int_equal(ecam(1, 6, 2) & 8, 8);
	pci_intx_set(&t[8]->pci, true);
	pci_intx_set(&t[0]->pci, false);
	assert_int_equal(lines, BIT(1));
	ecam_set(9, 4, 2, 0x400); /* INTx disable */
	assert_int_equal(lines, 0);
	ecam_set(9, 4, 2, 0);
	assert_int_equal(lines, BIT(1));
	ecam_set(9, 0x42, 2, 0x8000); /* MSI-X on */
	assert_int_equal(lines, 0);
	for (int i = 0; i < 9; i++)
		toy_free(t[i]);
	assert_int_equal(lines, 0);
}

static void reset_restores(void **state)
{
	struct toy *t = toy_new();

	unsigned cap = pci_add_capability(&t->pci, 9, 8);
	t->pci.wmask[cap + 4] = 0xff;
	t->pci.config[cap + 4] = 0x5a;
	ecam_set(1, cap + 4, 1, 0xa5);
	assert_int_equal(t->written_at, cap + 4);
	ecam_set(1, 0x10, 4, 0xd0000000);
	ecam_set(1, 4, 2, 0x507);
	ecam_set(1, 0x42, 2, 0x8000);
	bus_write(mmio, 0xd000200c, 4, 0);
	pci_intx_set(&t->pci, true);
	pci_host_reset(host);
	assert_int_equal(t->resets, 1);
	assert_int_equal(ecam(1, cap + 4, 1), 0x5a);
	assert_int_equal(ecam(1, 0x10, 4), MEM | 4);
	assert_int_equal(ecam(1, 4, 2), 3);
	assert_int_equal(ecam(1, 0x42, 2), 4);
	assert_int_equal(bus_read(mmio, MEM + 0x200c, 4), 1);
	assert_false(pci_msix_on(&t->pci));
	assert_int_equal(lines, 0);
	toy_free(t);
}

static void bad_devices_are_refused(void **state)
{
	static struct pci_device d;
	struct error e;
	const struct pci_bar bad[] = {
	        {.size = 3000}, {.size = 8}, {.size = 4 * GiB}, {.size = 512 * MiB, .io = true}};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		d = (struct pci_device){.name = "bad", .bar = {bad[i]}};
		assert_int_equal(pci_add(host, &d, &e), -1);
	}
	d = (struct pci_device){
	        .name = "bad", .bar = {{.size = 4096}}, .msix_vectors = 5, .msix_offset = 4090};
	assert_int_equal(pci_add(host, &d, &e), -1);
	d = (struct pci_device){.name = "bad", .slot = 32};
	assert_int_equal(pci_add(host, &d, &e), -1);
	struct toy *t[31];
	for (int i = 0; i < 31; i++)
		t[i] = toy_new();
	d = (struct pci_device){.name = "one more"};
	assert_int_equal(pci_add(host, &d, &e), -1);
	for (int i = 0; i < 31; i++)
		toy_free(t[i]);
}

static void random_accesses_do_no_harm(void **state)
{
	struct toy *t = toy_new(), *u = toy_new();
	u64 seed = 11;

	for (int i = 0; i < 200000; i++) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		unsigned size = 1u << (seed >> 60 & 3), reg = seed >> 20 & 0x7f;
		switch (seed >> 57 & 7) {
		case 0:
			bus_read(mmio, ECAM + (seed >> 20 & 0x1ffff), size);
			break;
		case 1:
			bus_write(mmio, MEM + (seed >> 20 & 0x7fff), size, seed);
			break;
		case 2:
			bus_write(pio, 0xcf8, 4, 0x80000000 | (seed >> 20 & 0x1ffc));
			break;
		case 3:
			bus_write(pio, 0xcfc + (seed >> 20 & 3), size & 7, seed >> 30);
			break;
		case 4:
			pci_msix_notify(&t->pci, seed >> 20 & 7);
			break;
		case 5:
			pci_intx_set(&u->pci, seed >> 20 & 1);
			break;
		default:
			bus_write(mmio, ECAM + 0x8000 * (1 + (seed >> 40 & 1)) + reg, size, seed >> 25);
		}
	}
	toy_free(t);
	toy_free(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(bridge_answers_on_both_ways, setup, teardown),
	        cmocka_unit_test_setup_teardown(port_cf9_resets, setup, teardown),
	        cmocka_unit_test_setup_teardown(header_and_chain, setup, teardown),
	        cmocka_unit_test_setup_teardown(bars_have_addresses_and_sizes, setup, teardown),
	        cmocka_unit_test_setup_teardown(bars_decode_and_move, setup, teardown),
	        cmocka_unit_test_setup_teardown(bar_on_top_of_another_waits, setup, teardown),
	        cmocka_unit_test_setup_teardown(msix_sends, setup, teardown),
	        cmocka_unit_test_setup_teardown(msix_masks_pend, setup, teardown),
	        cmocka_unit_test_setup_teardown(intx_is_shared_and_gated, setup, teardown),
	        cmocka_unit_test_setup_teardown(reset_restores, setup, teardown),
	        cmocka_unit_test_setup_teardown(bad_devices_are_refused, setup, teardown),
	        cmocka_unit_test_setup_teardown(random_accesses_do_no_harm, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
