/*
 * The ACPI tables (ACPI 6.4): RSDP, RSDT, XSDT, FADT, FACS, MADT, MCFG and a DSDT. They are built once, free
 * of addresses, and then either placed at an address or described to firmware as a list of links and
 * checksums.
 */
#pragma once

#include "base/error.h"
#include "base/types.h"

#define ACPI_MAX_LINKS 24
#define ACPI_MAX_SUMS  12
#define ACPI_RSDP_SIZE 36
#define ACPI_ALIGN     64 /* of the tables as a whole (FACS comes first) */

struct acpi_config {
	unsigned cpus; /* APIC IDs 0 … cpus - 1 */
	u64 lapic_base, ioapic_base;
	u64 ecam_base, ecam_size;
	u64 pci_mem_base, pci_mem_size;
	u64 pci_mem64_base, pci_mem64_size;
};

enum acpi_file { ACPI_RSDP, ACPI_TABLES };

/* A pointer into the tables: size bytes at offset of file; holds an offset until it is placed. */
struct acpi_link {
	enum acpi_file file;
	u32 offset;
	u8 size;
};

/* A checksum byte that makes start … start + len of file sum up to 0. */
struct acpi_sum {
	enum acpi_file file;
	u32 offset, start, len;
};

struct acpi_tables {
	u8 rsdp[ACPI_RSDP_SIZE];
	u8 *data;
	u32 size;
	struct acpi_link links[ACPI_MAX_LINKS];
	unsigned link_count;
	struct acpi_sum sums[ACPI_MAX_SUMS];
	unsigned sum_count;
};

int acpi_build(struct acpi_tables *t, const struct acpi_config *c, struct error *e);
void acpi_release(struct acpi_tables *t);

/* Fills in addresses and checksums for tables that will lie at gpa. Once. */
void acpi_place(struct acpi_tables *t, u64 gpa);

/* The script for firmware (fw_cfg file "etc/table-loader") that does the same, with the files named
 * "etc/acpi/rsdp" and "etc/acpi/tables". Allocated; its length in *size. NULL: no memory. */
u8 *acpi_loader_script(const struct acpi_tables *t, u32 *size);

/* dsdt.c: appends the DSDT's AML. */
struct aml;
void dsdt_write(struct aml *a, const struct acpi_config *c);
