/*
 * A guest that writes to any register of the board: ports, MMIO, PCI configuration, APIC and clock MSRs, DMA
 * of the firmware configuration device; that takes interrupts, or not; that is asked for a device and gets it
 * anew; and a machine that is reset now and then. The input is a list of operations of some bytes each.
 */
#include "machine.h"

#include "device/virtio/virtio.h"
#include "machine/pci_hotplug.h"

/* First and last port of each chip. */
static const u16 ports[][2] = {
        {0x20, 0x21}, {0xa0, 0xa1},   {0x4d0, 0x4d1},   {0x40, 0x43},     {0x61, 0x61},   {0x60, 0x64},
        {0x70, 0x71}, {0x92, 0x92},   {0xcf8, 0xcff},   {0x510, 0x51b},   {0xb2, 0xb3},   {0xe0, 0xf7},
        {0x80, 0x80}, {0x600, 0x67f}, {0x2000, 0x2017}, {0xc000, 0xc0ff}, {0x3f8, 0x3ff}, {0, 0xffff},
};

static const u64 places[] = {
        BOARD_LAPIC_BASE,  BOARD_LAPIC_BASE, BOARD_IOAPIC_BASE, BOARD_ECAM_BASE,    BOARD_ECAM_BASE + 0x8000,
        BOARD_TESTDEV_MEM, BOARD_PCI_BASE,   0xa0000,           0xffffffffffffff00,
};

static const u32 msrs[] = {0x1b, 0x6e0, 0x11, 0x12, 0x4b564d00, 0x4b564d01, 0x800, 0x830, 0x8ff, 0xc0000080};

static void in_port(struct input *in, unsigned cpu)
{
	const u16 *range = ports[in_below(in, ARRAY_SIZE(ports))];
	u8 how = in8(in);
	unsigned size = 1u << (how & 3) % 3;
	u16 port = (u16)(range[0] + (how & 0x80 ? in16(in) : how >> 2 & 15) % (range[1] - range[0] + 1u));

	pio(cpu, port, size, how & 0x40, how & 0x40 ? (u32)in_value(in) : 0);
}

static void in_mmio(struct input *in, unsigned cpu)
{
	u64 place = places[in_below(in, ARRAY_SIZE(places))];
	u8 how = in8(in);
	u64 offset = how & 4 ? in16(in) : (u64)in8(in) << 4;

	mmio(cpu, place + offset, 1u << (how & 3), how & 8, how & 8 ? in_value(in) : 0);
}

static void in_msr(struct input *in, unsigned cpu)
{
	const struct cpu_board *b = board_cpu_interface(board);
	u8 which = in8(in);
	u32 msr = which & 0x80 ? 0x800 + (which & 0x7fu) : msrs[(which & 0x3f) % ARRAY_SIZE(msrs)];
	u64 value;

	if (which & 0x40)
		b->msr_write(b->ctx, &cpus[cpu], msr, in_value(in));
	else
		b->msr_read(b->ctx, &cpus[cpu], msr, &value);
}

static void in_interrupt(struct input *in, unsigned cpu)
{
	const struct cpu_board *b = board_cpu_interface(board);

	if (b->interrupt_pending(b->ctx, &cpus[cpu])) {
		int vector = b->interrupt_ack(b->ctx, &cpus[cpu]);

		if (vector < -1 || vector > 255)
			abort();
	}
}

/* The device that comes and goes. */
static struct virtio_rng *rng;
static unsigned rng_slot;

static void rng_plug(unsigned slot)
{
	struct virtio_rng_config config = {.slot = slot};
	struct error e;

	rng = virtio_rng_new(&config, board_pci(board), board_memory(board), &loop, &e);
	if (!rng)
		abort();
	rng_slot = slot;
	pci_hotplug_changed(board_hotplug(board), slot);
}

static void rng_gone(void *ctx, unsigned slot)
{
	if (slot != rng_slot || !rng)
		abort();
	virtio_rng_free(rng);
	rng = NULL;
}

static void in_hotplug(struct input *in)
{
	u8 how = in8(in);

	if (!rng)
		rng_plug(how % 2 + 1);
	else if (how & 1)
		pci_hotplug_ask(board_hotplug(board), rng_slot);
	else if (how & 2)
		pci_hotplug_forget(board_hotplug(board), rng_slot);
	else if (how & 4)
		pio(0, PCI_HOTPLUG_EJECT, 4, true, (u32)BIT(rng_slot));
}

static void operation(struct input *in)
{
	const struct cpu_board *b = board_cpu_interface(board);
	u8 how = in8(in);
	unsigned cpu = how >> 7;
	struct irq_line line;
	struct msi_sink sink = board_msi(board);
	u64 address;

	switch ((how & 0x7f) % 20) {
	default:
		in_port(in, cpu);
		break;
	case 4:
	case 5:
	case 6:
		in_mmio(in, cpu);
		break;
	case 7:
		in_config(in, in_below(in, 3));
		break;
	case 8:
		in_msr(in, cpu);
		break;
	case 9:
		in_interrupt(in, cpu);
		break;
	case 10:
		line = board_gsi(board, in_below(in, 24));
		irq_set(&line, in8(in) & 1);
		break;
	case 11:
		address = 0xfee00000 | in32(in);
		msi_send(&sink, address, in32(in));
		break;
	case 12:
		in_memory(in);
		break;
	case 13:
		b->tpr_write(b->ctx, &cpus[cpu], in8(in) & 15);
		b->tpr_read(b->ctx, &cpus[cpu]);
		break;
	case 14:
		pump();
		break;
	case 15:
		board_power_button(board);
		break;
	case 16:
		b->init(b->ctx, &cpus[cpu]);
		b->ferr(b->ctx, &cpus[cpu]);
		break;
	case 18:
	case 19:
		in_hotplug(in);
		break;
	case 17:
		if (how & 0x40)
			board_reset(board);
		break;
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct input in = {data, data + size};

	machine_up(true);
	pci_hotplug_listen(board_hotplug(board), rng_gone, NULL);
	rng_plug(1);
	board_write_tables(board);
	while (in_left(&in))
		operation(&in);
	pump();
	if (rng)
		virtio_rng_free(rng);
	rng = NULL;
	machine_down();
	return 0;
}
