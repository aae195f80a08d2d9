#include "machine/acpi.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GPA 0xe0040ULL

static const struct acpi_config config = {
        .cpus = 4,
        .lapic_base = 0xfee00000,
        .ioapic_base = 0xfec00000,
        .ecam_base = 0xe0000000,
        .ecam_size = 0x10000000,
        .pci_mem_base = 0xc0000000,
        .pci_mem_size = 0x20000000,
        .pci_mem64_base = 0x140000000,
        .pci_mem64_size = 0x1000000000,
};

static u64 le(const u8 *p, unsigned n)
{
	u64 v = 0;

	for (unsigned i = 0; i < n; i++)
		v |= (u64)p[i] << i * 8;
	return v;
}

static u8 sum(const u8 *p, size_t n)
{
	u8 s = 0;

	while (n--)
		s += *p++;
	return s;
}

static const u8 *at(const struct acpi_tables *t, u64 gpa)
{
	assert_in_range(gpa, GPA, GPA + t->size - 36);
	return t->data + (gpa - GPA);
}

/* A table by way of RSDP and XSDT, checksums checked. */
static const u8 *find(const struct acpi_tables *t, const char *signature)
{
	assert_int_equal(sum(t->rsdp, 20), 0);
	assert_int_equal(sum(t->rsdp, 36), 0);
	const u8 *xsdt = at(t, le(t->rsdp + 24, 8)), *rsdt = at(t, le(t->rsdp + 16, 4));
	assert_memory_equal(xsdt, "XSDT", 4);
	assert_memory_equal(rsdt, "RSDT", 4);
	assert_int_equal(sum(xsdt, le(xsdt + 4, 4)), 0);
	assert_int_equal(sum(rsdt, le(rsdt + 4, 4)), 0);
	unsigned n = (unsigned)(le(xsdt + 4, 4) - 36) / 8;
	assert_int_equal((le(rsdt + 4, 4) - 36) / 4, n);
	for (unsigned i = 0; i < n; i++) {
		u64 gpa = le(xsdt + 36 + i * 8, 8);
		const u8 *table = at(t, gpa);

		assert_int_equal(le(rsdt + 36 + i * 4, 4), gpa);
		assert_int_equal(sum(table, le(table + 4, 4)), 0);
		if (!memcmp(table, signature, 4))
			return table;
	}
	return NULL;
}

static void build(struct acpi_tables *t)
{
	struct error e;

	assert_int_equal(acpi_build(t, &config, &e), 0);
	acpi_place(t, GPA);
}

static void fadt_names_the_ports(void **state)
{
	struct acpi_tables t;

	build(&t);
	const u8 *f = find(&t, "FACP");
	assert_non_null(f);
	assert_int_equal(le(f + 56, 4), 0x600);
	assert_int_equal(le(f + 64, 4), 0x604);
	assert_int_equal(le(f + 76, 4), 0x608);
	assert_int_equal(le(f + 152, 8), 0x600);
	assert_int_equal(le(f + 120, 8), 0xcf9);
	assert_int_equal(le(f + 46, 2), 9);
	const u8 *facs = at(&t, le(f + 36, 4));
	assert_memory_equal(facs, "FACS", 4);
	assert_int_equal(le(f + 36, 4) % 64, 0);
	const u8 *dsdt = at(&t, le(f + 40, 4));
	assert_memory_equal(dsdt, "DSDT", 4);
	assert_int_equal(le(f + 140, 8), le(f + 40, 4));
	assert_int_equal(sum(dsdt, le(dsdt + 4, 4)), 0);
	acpi_release(&t);
}

static void madt_lists_apics(void **state)
{
	struct acpi_tables t;
	unsigned lapics = 0, ioapics = 0, overrides = 0, nmis = 0;

	build(&t);
	const u8 *m = find(&t, "APIC");
	assert_int_equal(le(m + 36, 4), 0xfee00000);
	for (const u8 *e = m + 44; e < m + le(m + 4, 4); e += e[1]) {
		assert_true(e[1] >= 2);
		if (e[0] == 0)
			assert_int_equal(e[3], lapics++);
		ioapics += e[0] == 1 && le(e + 4, 4) == 0xfec00000;
		overrides += e[0] == 2 && (e[3] == 0 ? le(e + 4, 4) == 2 : le(e + 4, 4) == e[3]);
		nmis += e[0] == 4 && e[5] == 1;
	}
	assert_int_equal(lapics, 4);
	assert_int_equal(ioapics, 1);
	assert_int_equal(overrides, 2);
	assert_int_equal(nmis, 1);
	acpi_release(&t);
}

static void mcfg_covers_all_buses(void **state)
{
	struct acpi_tables t;

	build(&t);
	const u8 *m = find(&t, "MCFG");
	assert_int_equal(le(m + 44, 8), 0xe0000000);
	assert_int_equal(m[54], 0);
	assert_int_equal(m[55], 255);
	acpi_release(&t);
}

/* The script, done as firmware would, gives the same bytes as placing the tables ourselves. */
static void loader_script_equals_placing(void **state)
{
	struct acpi_tables placed, linked;
	struct error e;
	u32 size;

	build(&placed);
	assert_int_equal(acpi_build(&linked, &config, &e), 0);
	u8 *script = acpi_loader_script(&linked, &size);
	assert_int_equal(size % 128, 0);
	for (u8 *c = script; c < script + size; c += 128) {
		u8 *file = !strcmp((char *)c + 4, "etc/acpi/rsdp") ? linked.rsdp : linked.data;
		u64 v;

		switch (le(c, 4)) {
		case 1:
			break;
		case 2:
			assert_string_equal((char *)c + 60, "etc/acpi/tables");
			v = le(file + le(c + 116, 4), c[120]) + GPA;
			memcpy(file + le(c + 116, 4), &v, c[120]);
			break;
		case 3:
			file[le(c + 60, 4)] -= sum(file + le(c + 64, 4), le(c + 68, 4));
			break;
		default:
			fail();
		}
	}
	assert_memory_equal(linked.rsdp, placed.rsdp, ACPI_RSDP_SIZE);
	assert_int_equal(linked.size, placed.size);
	assert_memory_equal(linked.data, placed.data, placed.size);
	free(script);
	acpi_release(&placed);
	acpi_release(&linked);
}

static void most_cpus_fit(void **state)
{
	struct acpi_config c = config;
	struct acpi_tables t;
	struct error e;

	c.cpus = 64;
	assert_int_equal(acpi_build(&t, &c, &e), 0);
	assert_in_range(t.size, 2000, 0xff00);
	acpi_release(&t);
}

/* For a look with iasl: ACPI_DUMP=DIR writes each table to a file of its own. */
static void dump(void **state)
{
	static const char *const names[] = {"FACP", "APIC", "MCFG"};
	const char *dir = getenv("ACPI_DUMP");
	struct acpi_tables t;
	char path[300];

	if (!dir)
		skip();
	build(&t);
	for (unsigned i = 0; i <= ARRAY_SIZE(names); i++) {
		const u8 *table =
		        i < ARRAY_SIZE(names) ? find(&t, names[i]) : at(&t, le(find(&t, "FACP") + 40, 4));
		snprintf(path, sizeof(path), "%s/%.4s.dat", dir, (const char *)table);
		FILE *f = fopen(path, "wb");
		assert_non_null(f);
		fwrite(table, 1, le(table + 4, 4), f);
		fclose(f);
	}
	acpi_release(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(fadt_names_the_ports),  cmocka_unit_test(madt_lists_apics),
	        cmocka_unit_test(mcfg_covers_all_buses), cmocka_unit_test(loader_script_equals_placing),
	        cmocka_unit_test(most_cpus_fit),         cmocka_unit_test(dump),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
