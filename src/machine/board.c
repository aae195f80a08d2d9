/*
 * Theory of operation. Lock order: device -> pci map -> pic, ioapic -> lapic -> loop. The PICs' output goes
 * to LINT0 of all local APICs. GSI n is pin n of the I/O APIC, and IRQ n of the PICs for n < 16, but for the
 * timer, which is IRQ 0 and pin 2.
 */
#include "machine/board.h"
#include "machine/acpi.h"
#include "machine/acpi_pm.h"
#include "machine/apic_bus.h"
#include "machine/fw_cfg.h"
#include "machine/i8042.h"
#include "machine/ioapic.h"
#include "machine/lapic.h"
#include "machine/pic.h"
#include "machine/pci_hotplug.h"
#include "machine/pit.h"
#include "machine/pvclock.h"
#include "machine/rtc.h"
#include "machine/smbios.h"
#include "machine/testdev.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GSIS        24
#define TIMER_PIN   2
#define FPU_IRQ     13
#define ACPI_GPA    0xe0000ULL /* RSDP, then the tables */
#define ACPI_SIZE   0x10000ULL
#define SMBIOS_GPA  0xf0000ULL /* anchor, then the structures */
#define EBDA_START  0x9fc00ULL
#define BIOS_START  0xe0000ULL
#define BIOS_END    0x100000ULL
#define PCI_IO_BASE 0xc000
#define PCI_IO_SIZE 0x4000
#define MEM64_SIZE  (64 * GiB)

struct board {
	struct board_config config;
	struct loop *loop;
	struct memory memory;
	struct bus *pio, *mmio;
	struct cpu_board interface;

	struct apic_bus apic_bus;
	struct lapic lapic[BOARD_MAX_CPUS];
	struct ioapic ioapic;
	struct bus_region ioapic_region, ferr_region;
	struct pic pic;
	struct pit pit;
	struct rtc rtc;
	struct i8042 i8042;
	struct acpi_pm pm;
	struct testdev *testdev; /* NULL without --debug-exit */
	struct fw_cfg fw_cfg;
	struct pvclock pvclock;
	struct pci_host *pci;
	struct pci_hotplug hotplug;
	struct smbios smbios;
	_Atomic u32 events; /* enum board_event bits told and not yet reset */

	/* What init calls succeeded, for board_free() of a half-made board. */
	struct {
		unsigned lapics;
		bool memory, pit, rtc, pm, chips, hotplug;
	} made;
};

/* ---- wires ---- */

static void gsi_set(void *ctx, unsigned n, bool level)
{
	struct board *b = ctx;

	if (n == 0) {
		pic_set(&b->pic, 0, level);
		ioapic_set(&b->ioapic, TIMER_PIN, level);
		return;
	}
	if (n < 16)
		pic_set(&b->pic, n, level);
	ioapic_set(&b->ioapic, n, level);
}

struct irq_line board_gsi(struct board *b, unsigned gsi)
{
	assert(gsi < GSIS);
	return (struct irq_line){gsi_set, b, gsi};
}

static void pic_output(void *ctx, bool level)
{
	struct board *b = ctx;

	for (unsigned i = 0; i < b->made.lapics; i++)
		lapic_lint(&b->lapic[i], 0, level);
}

static void msi(void *ctx, u64 address, u32 data)
{
	struct board *b = ctx;

	apic_msi(&b->apic_bus, address, data);
}

struct msi_sink board_msi(struct board *b)
{
	return (struct msi_sink){msi, b};
}

/* ---- events ---- */

static void tell(struct board *b, enum board_event event, int code)
{
	u32 bit = (u32)BIT(event);

	if (!(atomic_fetch_or(&b->events, bit) & bit) && b->config.event)
		b->config.event(b->config.event_ctx, event, code);
}

static void ask_reset(void *ctx)
{
	tell(ctx, BOARD_RESET, 0);
}

static void ask_poweroff(void *ctx)
{
	tell(ctx, BOARD_POWEROFF, 0);
}

static void ask_exit(void *ctx, int status)
{
	tell(ctx, BOARD_DEBUG_EXIT, status);
}

void board_power_button(struct board *b)
{
	acpi_pm_power_button(&b->pm);
}

/* ---- what CPUs see ---- */

static struct lapic *lapic_of(struct cpu *cpu)
{
	return cpu->board_data;
}

static u64 mmio_read(void *ctx, struct cpu *cpu, u64 gpa, unsigned size)
{
	struct board *b = ctx;

	if (lapic_claims(lapic_of(cpu), gpa))
		return lapic_read(lapic_of(cpu), gpa & 0xfff, size) & MASK(size * 8);
	return bus_read(b->mmio, gpa, size);
}

static void mmio_write(void *ctx, struct cpu *cpu, u64 gpa, unsigned size, u64 value)
{
	struct board *b = ctx;

	if (lapic_claims(lapic_of(cpu), gpa))
		lapic_write(lapic_of(cpu), gpa & 0xfff, size, value);
	else
		bus_write(b->mmio, gpa, size, value);
}

static u32 pio_read(void *ctx, struct cpu *cpu, u16 port, unsigned size)
{
	struct board *b = ctx;

	return (u32)bus_read(b->pio, port, size);
}

static void pio_write(void *ctx, struct cpu *cpu, u16 port, unsigned size, u32 value)
{
	struct board *b = ctx;

	bus_write(b->pio, port, size, value);
}

static bool msr_read(void *ctx, struct cpu *cpu, u32 msr, u64 *value)
{
	struct board *b = ctx;

	return lapic_msr_read(lapic_of(cpu), msr, value) || pvclock_msr_read(&b->pvclock, cpu, msr, value);
}

static bool msr_write(void *ctx, struct cpu *cpu, u32 msr, u64 value)
{
	struct board *b = ctx;

	return lapic_msr_write(lapic_of(cpu), msr, value) || pvclock_msr_write(&b->pvclock, cpu, msr, value);
}

static int interrupt_ack(void *ctx, struct cpu *cpu)
{
	struct board *b = ctx;
	int vector = lapic_ack(lapic_of(cpu));

	return vector == LAPIC_EXTINT ? pic_ack(&b->pic) : vector;
}

static bool interrupt_pending(void *ctx, struct cpu *cpu)
{
	return lapic_pending(lapic_of(cpu));
}

static u8 tpr_read(void *ctx, struct cpu *cpu)
{
	return lapic_cr8_read(lapic_of(cpu));
}

static void tpr_write(void *ctx, struct cpu *cpu, u8 value)
{
	lapic_cr8_write(lapic_of(cpu), value);
}

static void cpu_init(void *ctx, struct cpu *cpu)
{
	lapic_init_reset(lapic_of(cpu));
}

static void ferr(void *ctx, struct cpu *cpu)
{
	gsi_set(ctx, FPU_IRQ, true);
}

/* Port 0xf0: the interrupt handler of FERR# takes the request back. */
static void ferr_clear(void *ctx, u64 offset, unsigned size, u64 value)
{
	gsi_set(ctx, FPU_IRQ, false);
}

/* KVM's hypercalls, Documentation/virt/kvm/x86/hypercalls.rst. Only IPIs to a set of APICs exist: two words
 * of bits for IDs from args[2] on, an ICR; what it returns is how many took it. */
static s64 hypercall(void *ctx, struct cpu *cpu, u64 number, const u64 args[4])
{
	enum { SEND_IPI = 10, ENOSYS_KVM = 1000, EINVAL_KVM = 22 };
	struct board *b = ctx;
	u64 first = args[2];
	s64 sent = 0;

	if (number != SEND_IPI)
		return -ENOSYS_KVM;
	if (args[3] & ~0x47ffULL ||
	    ((args[3] >> 8 & 7) != APIC_DM_FIXED && (args[3] >> 8 & 7) != APIC_DM_NMI))
		return -EINVAL_KVM;
	for (unsigned i = 0; i < 128 && first < b->config.cpus && i < b->config.cpus - first; i++) {
		struct apic_message m = {.dest = (u32)first + i,
		                         .wide = true,
		                         .mode = args[3] >> 8 & 7,
		                         .vector = (u8)args[3]};

		if (args[i / 64] >> (i % 64) & 1)
			sent += apic_send(&b->apic_bus, &m, APIC_TO_DEST, NULL);
	}
	return sent;
}

void board_add_cpu(struct board *b, struct cpu *cpu)
{
	struct lapic *l = &b->lapic[cpu->config.index];

	assert(cpu->config.index < b->config.cpus);
	l->cpu = cpu;
	cpu->board_data = l;
}

const struct cpu_board *board_cpu_interface(struct board *b)
{
	return &b->interface;
}

struct memory *board_memory(struct board *b)
{
	return &b->memory;
}

struct bus *board_pio(struct board *b)
{
	return b->pio;
}

struct bus *board_mmio(struct board *b)
{
	return b->mmio;
}

struct pci_host *board_pci(struct board *b)
{
	return b->pci;
}

struct pci_hotplug *board_hotplug(struct board *b)
{
	return &b->hotplug;
}

struct loop *board_loop(struct board *b)
{
	return b->loop;
}

/* ---- memory map ---- */

unsigned board_e820(const struct board *b, struct board_e820 *out, unsigned max)
{
	u64 low = memory_low_size(&b->memory), high = memory_high_size(&b->memory);
	const struct board_e820 map[] = {
	        {0, EBDA_START, 1},
	        {EBDA_START, 0xa0000 - EBDA_START, 2},
	        {BIOS_START, BIOS_END - BIOS_START, 2},
	        {BIOS_END, low - BIOS_END, 1},
	        {BOARD_ECAM_BASE, BOARD_ECAM_SIZE, 2},
	        {4 * GiB, high, 1},
	};
	unsigned n = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(map) && n < max; i++)
		if (map[i].size)
			out[n++] = map[i];
	return n;
}

static u64 mem64_base(const struct board *b)
{
	return 4 * GiB + align_up(memory_high_size(&b->memory), GiB);
}

/* ---- tables ---- */

static int build_acpi(const struct board *b, struct acpi_tables *t, struct error *e)
{
	return acpi_build(t,
	                  &(struct acpi_config){
	                          .cpus = b->config.cpus,
	                          .lapic_base = BOARD_LAPIC_BASE,
	                          .ioapic_base = BOARD_IOAPIC_BASE,
	                          .ecam_base = BOARD_ECAM_BASE,
	                          .ecam_size = BOARD_ECAM_SIZE,
	                          .pci_mem_base = BOARD_PCI_BASE,
	                          .pci_mem_size = BOARD_PCI_SIZE,
	                          .pci_mem64_base = mem64_base(b),
	                          .pci_mem64_size = MEM64_SIZE,
	                  },
	                  e);
}

static void post(struct board *b)
{
	static const struct {
		u16 port;
		u8 value;
	} chips[] = {
	        {0x20, 0x11}, {0x21, 0x08}, {0x21, 0x04}, {0x21, 0x01}, {0x21, 0xff}, /* master PIC */
	        {0xa0, 0x11}, {0xa1, 0x70}, {0xa1, 0x02}, {0xa1, 0x01}, {0xa1, 0xff}, /* slave */
	        {0x43, 0x34}, {0x40, 0x00}, {0x40, 0x00},                             /* timer */
	};

	for (unsigned i = 0; i < ARRAY_SIZE(chips); i++)
		bus_write(b->pio, chips[i].port, 1, chips[i].value);
	lapic_write(&b->lapic[0], APIC_SVR, 4, 0xff | APIC_SVR_ENABLE);
	lapic_write(&b->lapic[0], APIC_LVT_LINT0, 4, APIC_DM_EXTINT << 8);
	lapic_write(&b->lapic[0], APIC_LVT_LINT1, 4, APIC_DM_NMI << 8);
}

u64 board_write_tables(struct board *b)
{
	struct acpi_tables t;
	struct error e;
	u64 tables = ACPI_GPA + align_up(ACPI_RSDP_SIZE, ACPI_ALIGN);

	/* They were built once by board_new(), so only a host without a few KiB of memory fails here. */
	if (build_acpi(b, &t, &e) < 0)
		abort();
	assert(t.size <= ACPI_GPA + ACPI_SIZE - tables);
	acpi_place(&t, tables);
	memory_write(&b->memory, ACPI_GPA, t.rsdp, sizeof(t.rsdp));
	memory_write(&b->memory, tables, t.data, t.size);
	acpi_release(&t);

	u64 structures = SMBIOS_GPA + align_up(SMBIOS_ANCHOR_SIZE, 16);
	assert(b->smbios.size <= BIOS_END - structures);
	smbios_place(&b->smbios, structures);
	memory_write(&b->memory, SMBIOS_GPA, b->smbios.anchor, sizeof(b->smbios.anchor));
	memory_write(&b->memory, structures, b->smbios.data, b->smbios.size);

	post(b);
	return ACPI_GPA;
}

/* For firmware, which makes its own tables of these. */
static int fill_fw_cfg(struct board *b, struct error *e)
{
	struct fw_cfg *f = &b->fw_cfg;
	struct board_e820 map[8];
	u8 e820[8 * 20];
	unsigned n = board_e820(b, map, ARRAY_SIZE(map));
	struct acpi_tables t;
	u32 script_size = 0;
	int rc = 0;

	for (unsigned i = 0; i < n; i++) {
		memcpy(e820 + i * 20, &map[i].addr, 8);
		memcpy(e820 + i * 20 + 8, &map[i].size, 8);
		memcpy(e820 + i * 20 + 16, &map[i].type, 4);
	}
	if (build_acpi(b, &t, e) < 0)
		return -1;
	u8 *script = acpi_loader_script(&t, &script_size);
	rc |= fw_cfg_add(f, FW_CFG_UUID, b->smbios.uuid, 16);
	rc |= fw_cfg_add_int(f, FW_CFG_RAM_SIZE, b->config.memory, 8);
	rc |= fw_cfg_add_int(f, FW_CFG_NOGRAPHIC, 1, 2);
	rc |= fw_cfg_add_int(f, FW_CFG_NB_CPUS, b->config.cpus, 2);
	rc |= fw_cfg_add_int(f, FW_CFG_BOOT_MENU, 0, 2);
	rc |= fw_cfg_add_int(f, FW_CFG_MAX_CPUS, b->config.cpus, 2);
	rc |= fw_cfg_add_int(f, FW_CFG_IRQ0_OVERRIDE, 1, 4);
	rc |= fw_cfg_add_file(f, "etc/e820", e820, n * 20);
	rc |= fw_cfg_add_file(f, "etc/acpi/rsdp", t.rsdp, sizeof(t.rsdp));
	rc |= fw_cfg_add_file(f, "etc/acpi/tables", t.data, t.size);
	rc |= script ? fw_cfg_add_file(f, "etc/table-loader", script, script_size) : -1;
	/* There is no screen: SeaBIOS talks on the serial port instead. */
	rc |= fw_cfg_add_file(f, "etc/sercon-port", "\xf8\x03", 2);
	rc |= fw_cfg_add_file(f, "etc/smbios/smbios-anchor", b->smbios.anchor, sizeof(b->smbios.anchor));
	rc |= fw_cfg_add_file(f, "etc/smbios/smbios-tables", b->smbios.data, b->smbios.size);
	free(script);
	acpi_release(&t);
	return rc < 0 ? error_set(e, ENOMEM, "firmware configuration") : 0;
}

/* ---- life ---- */

static int add_pci(struct board *b, struct error *e)
{
	struct pci_host_config c = {
	        .pio = b->pio,
	        .mmio = b->mmio,
	        .ecam_base = BOARD_ECAM_BASE,
	        .ecam_size = BOARD_ECAM_SIZE,
	        .mem_base = BOARD_PCI_BASE,
	        .mem_size = BOARD_PCI_SIZE,
	        .mem64_base = mem64_base(b),
	        .mem64_size = MEM64_SIZE,
	        .io_base = PCI_IO_BASE,
	        .io_size = PCI_IO_SIZE,
	        .msi = board_msi(b),
	        .reset = ask_reset,
	        .ctx = b,
	};

	for (unsigned i = 0; i < ARRAY_SIZE(c.intx); i++)
		c.intx[i] = board_gsi(b, 16 + i);
	b->pci = pci_host_new(&c, e);
	return b->pci ? 0 : -1;
}

static int add_testdev(struct board *b, struct error *e)
{
	b->testdev = malloc(sizeof(*b->testdev));
	if (!b->testdev)
		return error_set(e, ENOMEM, "test device");
	testdev_init(b->testdev, ask_exit, b);
	for (unsigned i = 0; i < TESTDEV_LINES; i++)
		b->testdev->line[i] = board_gsi(b, i);
	return 0;
}

static int add_lapics(struct board *b, struct error *e)
{
	for (unsigned i = 0; i < b->config.cpus; i++) {
		if (lapic_init(&b->lapic[i], &b->apic_bus, i, BOARD_PHYS_BITS, b->loop, e) < 0)
			return -1;
		b->apic_bus.lapic[i] = &b->lapic[i];
		b->made.lapics = b->apic_bus.count = i + 1;
	}
	b->apic_bus.ioapic = &b->ioapic;
	return 0;
}

/* Chips that live in memory of the board alone: cannot fail. */
static void add_chips(struct board *b)
{
	ioapic_init(&b->ioapic, &b->apic_bus);
	pic_init(&b->pic, pic_output, b);
	i8042_init(&b->i8042, ask_reset, b);
	fw_cfg_init(&b->fw_cfg, &b->memory);
	pvclock_init(&b->pvclock, &b->memory);
	b->made.chips = true;
}

static int map_chips(struct board *b, struct error *e)
{
	static const struct bus_ops ferr_ops = {NULL, ferr_clear};

	b->ioapic_region = (struct bus_region){.name = "ioapic",
	                                       .base = BOARD_IOAPIC_BASE,
	                                       .size = 0x1000,
	                                       .ops = &ioapic_ops,
	                                       .ctx = &b->ioapic};
	b->ferr_region = (struct bus_region){
	        .name = "ferr", .base = 0xf0, .size = 2, .ops = &ferr_ops, .ctx = b, .max_size = 1};
	if (bus_add(b->mmio, &b->ioapic_region) < 0 || bus_add(b->pio, &b->ferr_region) < 0 ||
	    pic_map(&b->pic, b->pio) < 0 || pit_map(&b->pit, b->pio) < 0 || rtc_map(&b->rtc, b->pio) < 0 ||
	    i8042_map(&b->i8042, b->pio) < 0 || acpi_pm_map(&b->pm, b->pio) < 0 ||
	    fw_cfg_map(&b->fw_cfg, b->pio) < 0 ||
	    (b->testdev && testdev_map(b->testdev, b->pio, b->mmio, BOARD_TESTDEV_MEM) < 0))
		return error_set(e, ENOMEM, "board");
	return 0;
}

static int board_init(struct board *b, struct error *e)
{
	const struct board_config *c = &b->config;
	struct smbios_config smbios = {.product = c->smbios_product,
	                               .uuid = c->smbios_uuid,
	                               .asset = c->smbios_asset,
	                               .memory = c->memory,
	                               .cpus = c->cpus};

	if (c->cpus < 1 || c->cpus > BOARD_MAX_CPUS)
		return error_set(e, 0, "%u CPUs: 1 to %u are possible", c->cpus, BOARD_MAX_CPUS);
	if (memory_init(&b->memory, c->memory, e) < 0)
		return -1;
	b->made.memory = true;
	b->memory.phys.single_vcpu = c->cpus == 1;
	b->pio = bus_new();
	b->mmio = bus_new();
	if (!b->pio || !b->mmio)
		return error_set(e, ENOMEM, "board");
	if (add_lapics(b, e) < 0)
		return -1;
	add_chips(b);
	if (pit_init(&b->pit, board_gsi(b, 0), b->loop, e) < 0)
		return -1;
	b->made.pit = true;
	if (rtc_init(&b->rtc, board_gsi(b, 8), b->loop, memory_low_size(&b->memory),
	             memory_high_size(&b->memory), c->cpus, e) < 0)
		return -1;
	b->made.rtc = true;
	if (acpi_pm_init(&b->pm, board_gsi(b, ACPI_SCI), ask_poweroff, b, b->loop, e) < 0)
		return -1;
	b->made.pm = true;
	if (c->debug_exit && add_testdev(b, e) < 0)
		return -1;
	if (map_chips(b, e) < 0 || add_pci(b, e) < 0)
		return -1;
	pci_hotplug_init(&b->hotplug, b->pci, &b->pm, b->loop);
	b->made.hotplug = true;
	if (pci_hotplug_map(&b->hotplug, b->pio) < 0)
		return error_set(e, ENOMEM, "board");
	if (smbios_build(&b->smbios, &smbios, e) < 0 || fill_fw_cfg(b, e) < 0)
		return -1;
	b->interface = (struct cpu_board){
	        .ctx = b,
	        .mem = &b->memory.phys,
	        .mmio_read = mmio_read,
	        .mmio_write = mmio_write,
	        .pio_read = pio_read,
	        .pio_write = pio_write,
	        .msr_read = msr_read,
	        .msr_write = msr_write,
	        .interrupt_ack = interrupt_ack,
	        .interrupt_pending = interrupt_pending,
	        .tpr_read = tpr_read,
	        .tpr_write = tpr_write,
	        .init = cpu_init,
	        .ferr = ferr,
	        .hypercall = hypercall,
	};
	return 0;
}

struct board *board_new(const struct board_config *config, struct loop *loop, struct error *e)
{
	struct board *b = calloc(1, sizeof(*b));

	if (!b) {
		error_set(e, ENOMEM, "board");
		return NULL;
	}
	b->config = *config;
	b->loop = loop;
	b->memory.memfd = -1;
	if (board_init(b, e) < 0) {
		board_free(b);
		return NULL;
	}
	return b;
}

void board_free(struct board *b)
{
	if (!b)
		return;
	if (b->made.hotplug)
		pci_hotplug_release(&b->hotplug);
	pci_host_free(b->pci);
	if (b->testdev)
		testdev_release(b->testdev);
	free(b->testdev);
	smbios_release(&b->smbios);
	if (b->made.pm)
		acpi_pm_release(&b->pm);
	if (b->made.rtc)
		rtc_release(&b->rtc);
	if (b->made.pit)
		pit_release(&b->pit);
	if (b->made.chips) {
		fw_cfg_release(&b->fw_cfg);
		i8042_release(&b->i8042);
		pic_release(&b->pic);
		ioapic_release(&b->ioapic);
	}
	for (unsigned i = 0; i < b->made.lapics; i++)
		lapic_release(&b->lapic[i]);
	bus_free(b->mmio);
	bus_free(b->pio);
	if (b->made.memory)
		memory_release(&b->memory);
	free(b);
}

void board_reset(struct board *b)
{
	/* Devices first, so that their lines are low when the controllers forget what was pending. */
	pci_hotplug_reset(&b->hotplug);
	pci_host_reset(b->pci);
	pit_reset(&b->pit);
	rtc_reset(&b->rtc);
	i8042_reset(&b->i8042);
	acpi_pm_reset(&b->pm);
	fw_cfg_reset(&b->fw_cfg);
	gsi_set(b, FPU_IRQ, false);
	pic_reset(&b->pic);
	ioapic_reset(&b->ioapic);
	for (unsigned i = 0; i < b->made.lapics; i++)
		lapic_reset(&b->lapic[i]);
	pvclock_reset(&b->pvclock);
	atomic_store(&b->events, 0);
}
