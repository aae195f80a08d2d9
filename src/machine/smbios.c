#include "machine/smbios.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define VENDOR "Amazon EC2"

enum {
	TYPE_BIOS = 0,
	TYPE_SYSTEM = 1,
	TYPE_BOARD = 2,
	TYPE_CHASSIS = 3,
	TYPE_PROCESSOR = 4,
	TYPE_MEMORY_ARRAY = 16,
	TYPE_MEMORY_DEVICE = 17,
	TYPE_MEMORY_MAPPED = 19,
	TYPE_BOOT = 32,
	TYPE_END = 127,
};

/* A structure's handle: its type, as there is one of each. */
#define HANDLE(type) ((u16)((type) << 8))
#define NO_HANDLE    0xfffe

static void put(u8 *at, u64 v, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		at[i] = (u8)(v >> i * 8);
}

static u8 *grow(struct smbios *s, size_t len)
{
	u8 *grown = s->failed ? NULL : realloc(s->data, s->size + len);

	if (!grown) {
		s->failed = true;
		return NULL;
	}
	s->data = grown;
	s->size += (u32)len;
	memset(grown + s->size - len, 0, len);
	return grown + s->size - len;
}

/* A structure: the formatted part, whose header is filled in here, then its strings, numbered from 1. */
static void structure(struct smbios *s, u8 type, u8 *formatted, u8 len, const char *const *strings)
{
	formatted[0] = type;
	formatted[1] = len;
	put(formatted + 2, HANDLE(type), 2);
	u8 *at = grow(s, len);
	if (at)
		memcpy(at, formatted, len);
	for (unsigned i = 0; strings && strings[i]; i++) {
		at = grow(s, strlen(strings[i]) + 1);
		if (at)
			memcpy(at, strings[i], strlen(strings[i]));
	}
	grow(s, strings && strings[0] ? 1 : 2);
}

static void bios(struct smbios *s)
{
	static const char *const strings[] = {VENDOR, "1.0", "01/01/2026", NULL};
	u8 f[0x18] = {0};

	f[4] = 1; /* vendor */
	f[5] = 2; /* version */
	put(f + 6, 0xf000, 2);
	f[8] = 3;           /* release date */
	put(f + 0xa, 8, 8); /* characteristics: not supported, but for: */
	f[0x12] = 1;        /* ACPI */
	f[0x13] = 0x10;     /* virtual machine */
	f[0x14] = 1;        /* release 1.0; no embedded controller */
	f[0x16] = f[0x17] = 0xff;
	structure(s, TYPE_BIOS, f, sizeof(f), strings);
}

/* serial and asset may be NULL. */
static void board(struct smbios *s, const char *product, const char *serial, const char *asset)
{
	const char *const strings[] = {VENDOR, product, serial, NULL};
	u8 f[0x1b] = {0};

	f[4] = 1;              /* manufacturer */
	f[5] = 2;              /* product */
	f[7] = serial ? 3 : 0; /* serial number */
	memcpy(f + 8, s->uuid, 16);
	/* The first three fields are little-endian (7.2.1). */
	for (unsigned i = 0; i < 4; i++)
		f[8 + i] = s->uuid[3 - i];
	f[12] = s->uuid[5];
	f[13] = s->uuid[4];
	f[14] = s->uuid[7];
	f[15] = s->uuid[6];
	f[0x18] = 6; /* woken by the power switch */
	structure(s, TYPE_SYSTEM, f, sizeof(f), strings);

	const char *const vendor[] = {VENDOR, NULL}, *const tagged[] = {VENDOR, asset, NULL};
	u8 b[0x0f] = {0};
	b[4] = 1;
	b[8] = asset ? 2 : 0;
	b[9] = 1; /* hosting board */
	put(b + 0xb, HANDLE(TYPE_CHASSIS), 2);
	b[0xd] = 0xa; /* motherboard */
	structure(s, TYPE_BOARD, b, sizeof(b), tagged);

	u8 c[0x15] = {0};
	c[4] = 1;
	c[5] = 1;                   /* type: other */
	c[9] = c[0xa] = c[0xb] = 3; /* boot-up, power, thermal state: safe */
	c[0xc] = 2;                 /* security: unknown */
	structure(s, TYPE_CHASSIS, c, sizeof(c), vendor);
}

static void processor(struct smbios *s, unsigned cpus)
{
	static const char *const strings[] = {"CPU 0", "Insula", NULL};
	u8 f[0x30] = {0};

	f[4] = 1;                 /* socket */
	f[5] = 3;                 /* central processor */
	f[6] = 0x1;               /* family: other */
	f[7] = 2;                 /* manufacturer */
	f[0x18] = 0x41;           /* populated, enabled */
	f[0x19] = 1;              /* upgrade: other */
	put(f + 0x1a, 0xffff, 2); /* no cache structures */
	put(f + 0x1c, 0xffff, 2);
	put(f + 0x1e, 0xffff, 2);
	f[0x23] = f[0x24] = f[0x25] = (u8)cpus; /* cores, enabled cores, threads */
	put(f + 0x26, 4, 2);                    /* 64-bit */
	put(f + 0x28, 1, 2);
	put(f + 0x2a, cpus, 2);
	put(f + 0x2c, cpus, 2);
	put(f + 0x2e, cpus, 2);
	structure(s, TYPE_PROCESSOR, f, sizeof(f), strings);
}

static void memory(struct smbios *s, u64 bytes)
{
	static const char *const strings[] = {"DIMM 0", VENDOR, NULL};
	u64 kib = bytes / KiB, mib = bytes / MiB;
	u8 a[0x17] = {0}, d[0x28] = {0}, m[0x1f] = {0};

	a[4] = 1; /* location: other */
	a[5] = 3; /* system memory */
	a[6] = 6; /* multi-bit ECC */
	put(a + 7, kib < 0x80000000 ? kib : 0x80000000, 4);
	put(a + 0xb, NO_HANDLE, 2);
	put(a + 0xd, 1, 2);
	put(a + 0xf, kib < 0x80000000 ? 0 : bytes, 8);
	structure(s, TYPE_MEMORY_ARRAY, a, sizeof(a), NULL);

	put(d + 4, HANDLE(TYPE_MEMORY_ARRAY), 2);
	put(d + 6, NO_HANDLE, 2);
	put(d + 8, 72, 2);
	put(d + 0xa, 64, 2);
	put(d + 0xc, mib < 0x7fff ? mib : 0x7fff, 2);
	d[0xe] = 9;  /* DIMM */
	d[0x10] = 1; /* locator */
	d[0x12] = 7; /* RAM */
	put(d + 0x13, 2, 2);
	d[0x17] = 2; /* manufacturer */
	put(d + 0x1c, mib < 0x7fff ? 0 : mib, 4);
	structure(s, TYPE_MEMORY_DEVICE, d, sizeof(d), strings);

	put(m + 4, kib < 0xffffffff ? 0 : 0xffffffff, 4);
	put(m + 8, kib < 0xffffffff ? kib - 1 : 0xffffffff, 4);
	put(m + 0xc, HANDLE(TYPE_MEMORY_ARRAY), 2);
	m[0xe] = 1; /* one device wide */
	put(m + 0xf, 0, 8);
	put(m + 0x17, kib < 0xffffffff ? 0 : bytes - 1, 8);
	structure(s, TYPE_MEMORY_MAPPED, m, sizeof(m), NULL);
}

/* 8-4-4-4-12 hexadecimal digits. */
static int parse_uuid(const char *text, u8 out[16])
{
	unsigned n = 0;

	for (const char *p = text; *p;) {
		unsigned v;

		if (*p == '-' && (n == 4 || n == 6 || n == 8 || n == 10))
			p++;
		if (n == 16 || strspn(p, "0123456789abcdefABCDEF") < 2 || sscanf(p, "%2x", &v) != 1)
			return -1;
		out[n++] = (u8)v;
		p += 2;
	}
	return n == 16 ? 0 : -1;
}

static void make_uuid(u8 out[16])
{
	if (getrandom(out, 16, 0) != 16)
		memset(out, 0x5a, 16);
	out[0] = 0xec;
	out[1] = (u8)(0x20 | (out[1] & 0xf));
	out[6] = (u8)(0x40 | (out[6] & 0xf)); /* version 4, variant 1 */
	out[8] = (u8)(0x80 | (out[8] & 0x3f));
}

int smbios_build(struct smbios *s, const struct smbios_config *c, struct error *e)
{
	char text[40];
	u8 f[0x0b] = {0}, end[4] = {0};

	memset(s, 0, sizeof(*s));
	if (!c->uuid)
		make_uuid(s->uuid);
	else if (parse_uuid(c->uuid, s->uuid) < 0)
		return error_set(e, 0, "UUID \"%s\" is malformed", c->uuid);
	const u8 *u = s->uuid;
	snprintf(text, sizeof(text), "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
	         u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13],
	         u[14], u[15]);

	bios(s);
	board(s, c->product ? c->product : "insula", c->uuid ? text : NULL, c->asset);
	processor(s, c->cpus);
	memory(s, c->memory);
	structure(s, TYPE_BOOT, f, sizeof(f), NULL); /* status 0: no errors */
	structure(s, TYPE_END, end, sizeof(end), NULL);
	if (s->failed) {
		smbios_release(s);
		return error_set(e, ENOMEM, "SMBIOS tables");
	}
	memcpy(s->anchor, "_SM3_", 5);
	s->anchor[6] = SMBIOS_ANCHOR_SIZE;
	s->anchor[7] = 3;  /* version 3.0 */
	s->anchor[10] = 1; /* entry point revision */
	put(s->anchor + 12, s->size, 4);
	return 0;
}

void smbios_release(struct smbios *s)
{
	free(s->data);
	s->data = NULL;
	s->size = 0;
}

void smbios_place(struct smbios *s, u64 gpa)
{
	u8 sum = 0;

	put(s->anchor + 16, gpa, 8);
	s->anchor[5] = 0;
	for (unsigned i = 0; i < SMBIOS_ANCHOR_SIZE; i++)
		sum += s->anchor[i];
	s->anchor[5] = (u8)-sum;
}
