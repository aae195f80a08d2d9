#include "machine/acpi.h"
#include "machine/acpi_pm.h"
#include "machine/aml.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_SIZE 36
#define CHECKSUM_AT 9
#define FADT_SIZE   276
#define FACS_SIZE   64
#define RSDP_SUM_V1 20

/* Little-endian fields at byte offsets of a table: the offsets are the specification's. */
static void put(u8 *at, u64 v, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		at[i] = (u8)(v >> i * 8);
}

static u64 get(const u8 *at, unsigned len)
{
	u64 v = 0;

	for (unsigned i = 0; i < len; i++)
		v |= (u64)at[i] << i * 8;
	return v;
}

static u8 *file_data(struct acpi_tables *t, enum acpi_file file)
{
	return file == ACPI_RSDP ? t->rsdp : t->data;
}

static void add_link(struct acpi_tables *t, enum acpi_file file, u32 offset, u8 size, u32 to)
{
	assert(t->link_count < ACPI_MAX_LINKS);
	put(file_data(t, file) + offset, to, size);
	t->links[t->link_count++] = (struct acpi_link){file, offset, size};
}

static void add_sum(struct acpi_tables *t, enum acpi_file file, u32 offset, u32 start, u32 len)
{
	assert(t->sum_count < ACPI_MAX_SUMS);
	t->sums[t->sum_count++] = (struct acpi_sum){file, offset, start, len};
}

/* Room for size bytes of zeros at a multiple of align; its offset, or -1 with memory gone. */
static s64 reserve(struct acpi_tables *t, u32 size, u32 align)
{
	u32 at = align_up(t->size, align);
	u8 *grown = realloc(t->data, at + size);

	if (!grown)
		return -1;
	memset(grown + t->size, 0, at + size - t->size);
	t->data = grown;
	t->size = at + size;
	return at;
}

/* A table with a standard header; its checksum is noted. Its offset, or -1. */
static s64 table(struct acpi_tables *t, const char *signature, u8 revision, u32 size)
{
	s64 at = reserve(t, size, 16);

	if (at < 0)
		return -1;
	u8 *h = t->data + at;
	memcpy(h, signature, 4);
	put(h + 4, size, 4);
	h[8] = revision;
	memcpy(h + 10, "INSULA", 6);
	memcpy(h + 16, "INSULA  ", 8);
	put(h + 24, 1, 4);
	memcpy(h + 28, "INSU", 4);
	put(h + 32, 1, 4);
	add_sum(t, ACPI_TABLES, (u32)at + CHECKSUM_AT, (u32)at, size);
	return at;
}

/* A generic address in port space; access: 1 byte, 2 word, 3 dword. */
static void gas(u8 *at, u16 port, u8 bits, u8 access)
{
	at[0] = 1;
	at[1] = bits;
	at[3] = access;
	put(at + 4, port, 8);
}

static s64 build_facs(struct acpi_tables *t)
{
	s64 at = reserve(t, FACS_SIZE, ACPI_ALIGN);

	if (at < 0)
		return -1;
	memcpy(t->data + at, "FACS", 4);
	put(t->data + at + 4, FACS_SIZE, 4);
	t->data[at + 32] = 2; /* version */
	return at;
}

static s64 build_dsdt(struct acpi_tables *t, const struct acpi_config *c)
{
	struct aml a;
	s64 at = -1;

	aml_init(&a);
	dsdt_write(&a, c);
	if (aml_ok(&a))
		at = table(t, "DSDT", 2, (u32)(HEADER_SIZE + a.len));
	if (at >= 0)
		memcpy(t->data + at + HEADER_SIZE, a.data, a.len);
	aml_release(&a);
	return at;
}

enum {
	FADT_WBINVD = 1 << 0,
	FADT_PROC_C1 = 1 << 2,
	FADT_NO_SLEEP_BUTTON = 1 << 5,
	FADT_NO_FIXED_RTC = 1 << 6,
	FADT_TIMER_32BIT = 1 << 8,
	FADT_RESET_REG = 1 << 10,
};
enum { BOOT_LEGACY_DEVICES = 1 << 0, BOOT_NO_VGA = 1 << 2, BOOT_NO_ASPM = 1 << 4 };

static s64 build_fadt(struct acpi_tables *t, u32 facs, u32 dsdt)
{
	s64 at = table(t, "FACP", 6, FADT_SIZE);

	if (at < 0)
		return -1;
	u8 *f = t->data + at;
	add_link(t, ACPI_TABLES, (u32)at + 36, 4, facs);
	add_link(t, ACPI_TABLES, (u32)at + 40, 4, dsdt);
	put(f + 46, ACPI_SCI, 2);
	put(f + 48, ACPI_SMI_CMD, 4);
	f[52] = ACPI_ENABLE;
	f[53] = ACPI_DISABLE;
	put(f + 56, ACPI_PM1_EVT, 4);
	put(f + 64, ACPI_PM1_CNT, 4);
	put(f + 76, ACPI_PM_TMR, 4);
	put(f + 80, ACPI_GPE0, 4);
	f[88] = 4; /* lengths of the blocks */
	f[89] = 2;
	f[91] = 4;
	f[92] = ACPI_GPE0_BYTES;
	put(f + 96, 0xfff, 2); /* no C2, no C3 */
	put(f + 98, 0xfff, 2);
	f[108] = 0x32; /* CMOS cell of the century */
	put(f + 109, BOOT_LEGACY_DEVICES | BOOT_NO_VGA | BOOT_NO_ASPM, 2);
	put(f + 112,
	    FADT_WBINVD | FADT_PROC_C1 | FADT_NO_SLEEP_BUTTON | FADT_NO_FIXED_RTC | FADT_TIMER_32BIT |
	            FADT_RESET_REG,
	    4);
	gas(f + 116, 0xcf9, 8, 1);
	f[128] = 6; /* reset value */
	f[131] = 3; /* minor version: 6.3 */
	add_link(t, ACPI_TABLES, (u32)at + 140, 8, dsdt);
	gas(f + 148, ACPI_PM1_EVT, 32, 2);
	gas(f + 172, ACPI_PM1_CNT, 16, 2);
	gas(f + 208, ACPI_PM_TMR, 32, 3);
	gas(f + 220, ACPI_GPE0, ACPI_GPE0_BYTES * 8, 1);
	return at;
}

/* Interrupt source override: an ISA IRQ arrives elsewhere or otherwise than edge, active high. */
static u8 *madt_override(u8 *e, u8 irq, u32 gsi, u16 flags)
{
	e[0] = 2;
	e[1] = 10;
	e[3] = irq;
	put(e + 4, gsi, 4);
	put(e + 8, flags, 2);
	return e + 10;
}

static s64 build_madt(struct acpi_tables *t, const struct acpi_config *c)
{
	u32 size = HEADER_SIZE + 8 + c->cpus * 8 + 12 + 2 * 10 + 6;
	s64 at = table(t, "APIC", 5, size);

	if (at < 0)
		return -1;
	u8 *e = t->data + at + HEADER_SIZE;
	put(e, c->lapic_base, 4);
	put(e + 4, 1, 4); /* there are two 8259 too */
	e += 8;
	for (unsigned i = 0; i < c->cpus; i++, e += 8) {
		e[1] = 8;
		e[2] = (u8)i; /* UID, as in the DSDT */
		e[3] = (u8)i; /* APIC ID */
		put(e + 4, 1, 4);
	}
	e[0] = 1; /* I/O APIC, ID 0, from GSI 0 */
	e[1] = 12;
	put(e + 4, c->ioapic_base, 4);
	e += 12;
	e = madt_override(e, 0, 2, 0);
	e = madt_override(e, ACPI_SCI, ACPI_SCI, 0xd); /* active high, level */
	e[0] = 4;                                      /* LINT1 of all processors is NMI */
	e[1] = 6;
	e[2] = 0xff;
	e[5] = 1;
	assert(e + 6 == t->data + at + size);
	return at;
}

static s64 build_mcfg(struct acpi_tables *t, const struct acpi_config *c)
{
	s64 at = table(t, "MCFG", 1, HEADER_SIZE + 8 + 16);

	if (at < 0)
		return -1;
	u8 *e = t->data + at + HEADER_SIZE + 8;
	put(e, c->ecam_base, 8);
	e[11] = (u8)(c->ecam_size / (1 << 20) - 1); /* segment 0, buses 0 to this */
	return at;
}

/* RSDT or XSDT: pointers of size bytes to tables. */
static s64 build_root(struct acpi_tables *t, const char *signature, u8 size, const u32 *to, unsigned count)
{
	s64 at = table(t, signature, 1, HEADER_SIZE + count * size);

	for (unsigned i = 0; at >= 0 && i < count; i++)
		add_link(t, ACPI_TABLES, (u32)at + HEADER_SIZE + i * size, size, to[i]);
	return at;
}

static void build_rsdp(struct acpi_tables *t, u32 rsdt, u32 xsdt)
{
	memcpy(t->rsdp, "RSD PTR ", 8);
	memcpy(t->rsdp + 9, "INSULA", 6);
	t->rsdp[15] = 2; /* revision */
	put(t->rsdp + 20, ACPI_RSDP_SIZE, 4);
	add_link(t, ACPI_RSDP, 16, 4, rsdt);
	add_link(t, ACPI_RSDP, 24, 8, xsdt);
	add_sum(t, ACPI_RSDP, 8, 0, RSDP_SUM_V1);
	add_sum(t, ACPI_RSDP, 32, 0, ACPI_RSDP_SIZE);
}

int acpi_build(struct acpi_tables *t, const struct acpi_config *c, struct error *e)
{
	memset(t, 0, sizeof(*t));
	s64 facs = build_facs(t);
	s64 dsdt = facs < 0 ? -1 : build_dsdt(t, c);
	s64 fadt = dsdt < 0 ? -1 : build_fadt(t, (u32)facs, (u32)dsdt);
	s64 madt = fadt < 0 ? -1 : build_madt(t, c);
	s64 mcfg = madt < 0 ? -1 : build_mcfg(t, c);
	u32 list[] = {(u32)fadt, (u32)madt, (u32)mcfg};
	s64 rsdt = mcfg < 0 ? -1 : build_root(t, "RSDT", 4, list, ARRAY_SIZE(list));
	s64 xsdt = rsdt < 0 ? -1 : build_root(t, "XSDT", 8, list, ARRAY_SIZE(list));

	if (xsdt < 0) {
		acpi_release(t);
		return error_set(e, ENOMEM, "ACPI tables");
	}
	build_rsdp(t, (u32)rsdt, (u32)xsdt);
	return 0;
}

void acpi_release(struct acpi_tables *t)
{
	free(t->data);
	memset(t, 0, sizeof(*t));
}

void acpi_place(struct acpi_tables *t, u64 gpa)
{
	for (unsigned i = 0; i < t->link_count; i++) {
		const struct acpi_link *l = &t->links[i];
		u8 *at = file_data(t, l->file) + l->offset;

		put(at, get(at, l->size) + gpa, l->size);
	}
	for (unsigned i = 0; i < t->sum_count; i++) {
		const struct acpi_sum *s = &t->sums[i];
		u8 *data = file_data(t, s->file);
		u8 sum = 0;

		data[s->offset] = 0;
		for (u32 b = 0; b < s->len; b++)
			sum += data[s->start + b];
		data[s->offset] = (u8)-sum;
	}
}

/* ---- the loader script: commands of 128 bytes ---- */

#define COMMAND_SIZE 128
#define NAME_SIZE    56
enum { LOADER_ALLOCATE = 1, LOADER_ADD_POINTER = 2, LOADER_ADD_CHECKSUM = 3 };
enum { ZONE_HIGH = 1, ZONE_FSEG = 2 };

static const char *file_name(enum acpi_file file)
{
	return file == ACPI_RSDP ? "etc/acpi/rsdp" : "etc/acpi/tables";
}

static void script_allocate(u8 *c, enum acpi_file file, u32 align, u8 zone)
{
	put(c, LOADER_ALLOCATE, 4);
	strcpy((char *)c + 4, file_name(file));
	put(c + 4 + NAME_SIZE, align, 4);
	c[8 + NAME_SIZE] = zone;
}

u8 *acpi_loader_script(const struct acpi_tables *t, u32 *size)
{
	u32 commands = 2 + t->link_count + t->sum_count;
	u8 *script = calloc(commands, COMMAND_SIZE), *c = script;

	if (!script)
		return NULL;
	*size = commands * COMMAND_SIZE;
	script_allocate(c, ACPI_TABLES, ACPI_ALIGN, ZONE_HIGH);
	script_allocate(c + COMMAND_SIZE, ACPI_RSDP, 16, ZONE_FSEG);
	c += 2 * COMMAND_SIZE;
	for (unsigned i = 0; i < t->link_count; i++, c += COMMAND_SIZE) {
		put(c, LOADER_ADD_POINTER, 4);
		strcpy((char *)c + 4, file_name(t->links[i].file));
		strcpy((char *)c + 4 + NAME_SIZE, file_name(ACPI_TABLES));
		put(c + 4 + 2 * NAME_SIZE, t->links[i].offset, 4);
		c[8 + 2 * NAME_SIZE] = t->links[i].size;
	}
	for (unsigned i = 0; i < t->sum_count; i++, c += COMMAND_SIZE) {
		put(c, LOADER_ADD_CHECKSUM, 4);
		strcpy((char *)c + 4, file_name(t->sums[i].file));
		put(c + 4 + NAME_SIZE, t->sums[i].offset, 4);
		put(c + 8 + NAME_SIZE, t->sums[i].start, 4);
		put(c + 12 + NAME_SIZE, t->sums[i].len, 4);
	}
	return script;
}
