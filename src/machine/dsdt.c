/* The DSDT: what is on the board, as far as buses and standard headers do not tell. */
#include "machine/acpi.h"
#include "machine/acpi_pm.h"
#include "machine/aml.h"
#include "machine/pci_hotplug.h"

#include <stdio.h>

#define PCI_FIRST_GSI 16
#define PCI_SLOTS     32

/* INTA# of each slot; no link devices, as the lines end at fixed I/O APIC pins. */
static void write_prt(struct aml *a)
{
	aml_name(a, "_PRT");
	aml_package(a, PCI_SLOTS);
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		aml_package(a, 4);
		aml_int(a, slot << 16 | 0xffff);
		aml_int(a, 0);
		aml_int(a, 0);
		aml_int(a, PCI_FIRST_GSI + slot % 8);
		aml_end(a);
	}
	aml_end(a);
}

/* _OSC (PCI Firmware 3.2 §4.5): the system may control all that it asks for; other interfaces are unknown. */
static void write_osc(struct aml *a)
{
	/* 33db4d5b-1ff7-401c-9657-7441c03dd766 */
	static const u8 uuid[16] = {0x5b, 0x4d, 0xdb, 0x33, 0xf7, 0x1f, 0x1c, 0x40,
	                            0x96, 0x57, 0x74, 0x41, 0xc0, 0x3d, 0xd7, 0x66};
	static const u8 unknown[4] = {4, 0, 0, 0}; /* status: unrecognised UUID */

	aml_method(a, "_OSC", 4);
	aml_if(a);
	aml_equal(a);
	aml_arg(a, 0);
	aml_buffer(a, uuid, sizeof(uuid));
	aml_return(a);
	aml_arg(a, 3);
	aml_end(a);
	aml_return(a);
	aml_buffer(a, unknown, sizeof(unknown));
	aml_end(a);
}

/* Slots, which the guest can be asked to give back (pci_hotplug.h). Slot 0 is the host bridge. */
static void write_slots(struct aml *a)
{
	enum { DEVICE_CHECK = 1, EJECT_REQUEST = 3 };
	static const char *const registers[] = {"HPUP", "HPDN", "HPEJ", NULL};
	static const struct {
		const char *name;
		u8 notification;
	} changes[] = {{"HPUP", DEVICE_CHECK}, {"HPDN", EJECT_REQUEST}};
	char name[8];

	aml_io_registers(a, "HPRG", PCI_HOTPLUG_UP, PCI_HOTPLUG_PORTS, registers);
	for (unsigned slot = 1; slot < PCI_SLOTS; slot++) {
		snprintf(name, sizeof(name), "S%02X", slot & 0xff);
		aml_device(a, name);
		aml_name_int(a, "_ADR", slot << 16);
		aml_name_int(a, "_SUN", slot);
		aml_method(a, "_EJ0", 1);
		aml_store(a);
		aml_int(a, 1U << slot);
		aml_path(a, "HPEJ");
		aml_end(a);
		aml_end(a);
	}
	aml_method(a, "HPNT", 0);
	for (unsigned i = 0; i < ARRAY_SIZE(changes); i++) {
		aml_store(a);
		aml_path(a, changes[i].name);
		aml_local(a, 0);
		aml_if(a);
		aml_local(a, 0);
		for (unsigned slot = 1; slot < PCI_SLOTS; slot++) {
			snprintf(name, sizeof(name), "S%02X", slot & 0xff);
			aml_if(a);
			aml_and(a, 0, 1U << slot);
			aml_notify(a, name, changes[i].notification);
			aml_end(a);
		}
		aml_end(a);
	}
	aml_end(a);
}

static void write_pci(struct aml *a, const struct acpi_config *c)
{
	aml_device(a, "PCI0");
	aml_name_eisa_id(a, "_HID", "PNP0A08");
	aml_name_eisa_id(a, "_CID", "PNP0A03");
	aml_name_int(a, "_UID", 0);
	aml_name_int(a, "_SEG", 0);
	aml_name_int(a, "_BBN", 0);
	/* DMA is coherent. */
	aml_name_int(a, "_CCA", 1);
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_bus_range(a, 0, (u16)(c->ecam_size / (1 << 20) - 1));
	aml_io(a, 0xcf8, 8);
	aml_io_window(a, 0, 0xcf7);
	aml_io_window(a, 0xd00, 0xffff);
	aml_memory_window(a, (u32)c->pci_mem_base, (u32)(c->pci_mem_base + c->pci_mem_size - 1));
	if (c->pci_mem64_size)
		aml_memory_window64(a, c->pci_mem64_base, c->pci_mem64_base + c->pci_mem64_size - 1);
	aml_end(a);
	write_prt(a);
	write_osc(a);
	write_slots(a);
	aml_end(a);
}

/* Board registers that belong to no device, so that nobody gives their addresses away. */
static void write_reserved(struct aml *a, const struct acpi_config *c)
{
	aml_device(a, "MBRD");
	aml_name_eisa_id(a, "_HID", "PNP0C02");
	aml_name_int(a, "_UID", 0);
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_memory32_fixed(a, (u32)c->ecam_base, (u32)c->ecam_size);
	aml_io(a, ACPI_PM1_EVT, 0x40);
	aml_io(a, ACPI_SMI_CMD, 2);
	aml_end(a);
	aml_end(a);
}

static void write_isa(struct aml *a)
{
	aml_device(a, "COM1");
	aml_name_eisa_id(a, "_HID", "PNP0501");
	aml_name_int(a, "_UID", 1);
	aml_name_int(a, "_STA", 0xf);
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_io(a, 0x3f8, 8);
	aml_irq(a, 4);
	aml_end(a);
	aml_end(a);

	aml_device(a, "RTC");
	aml_name_eisa_id(a, "_HID", "PNP0B00");
	aml_name_int(a, "_STA", 0xf);
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_io(a, 0x70, 4);
	aml_irq(a, 8);
	aml_end(a);
	aml_end(a);
}

static void write_cpus(struct aml *a, unsigned cpus)
{
	for (unsigned i = 0; i < cpus; i++) {
		char name[8];

		snprintf(name, sizeof(name), "C%03X", i & 0xfff);
		aml_device(a, name);
		aml_name_string(a, "_HID", "ACPI0007");
		aml_name_int(a, "_UID", i);
		aml_end(a);
	}
}

void dsdt_write(struct aml *a, const struct acpi_config *c)
{
	aml_scope(a, "\\_SB");
	write_pci(a, c);
	write_reserved(a, c);
	write_isa(a);
	write_cpus(a, c->cpus);
	aml_end(a);

	/* The event's method, by its number: _E for an edge. */
	aml_scope(a, "\\_GPE");
	aml_method(a, "_E01", 0);
	aml_path(a, "\\_SB.PCI0.HPNT");
	aml_end(a);
	aml_end(a);

	aml_name(a, "\\_S5");
	aml_package(a, 4);
	aml_int(a, ACPI_S5_TYPE);
	aml_int(a, ACPI_S5_TYPE);
	aml_int(a, 0);
	aml_int(a, 0);
	aml_end(a);
}
