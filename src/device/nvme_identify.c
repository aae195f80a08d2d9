/* What the controller says of itself: Identify (§5.15) and log pages (§5.14). Tables by byte offset, as in
 * the specification's figures. */
#include "device/nvme_internal.h"

#include <stdio.h>
#include <string.h>

#define DATA_SIZE 4096u

#define KELVIN          273u
#define TEMPERATURE     (40 + KELVIN)
#define WARNING_KELVIN  (70 + KELVIN)
#define CRITICAL_KELVIN (80 + KELVIN)

static void put16(u8 *p, u16 v)
{
	memcpy(p, &v, sizeof(v));
}

static void put32(u8 *p, u32 v)
{
	memcpy(p, &v, sizeof(v));
}

static void put64(u8 *p, u64 v)
{
	memcpy(p, &v, sizeof(v));
}

/* ASCII fields are filled up with spaces. */
static void put_text(u8 *p, size_t size, const char *text)
{
	size_t n = min(strlen(text), size);

	memset(p, ' ', size);
	memcpy(p, text, n);
}

/* 64 and 128 bits that name the volume for ever, made from its id; the top bytes carry Amazon's OUI, as is
 * the format's rule (IEEE EUI-64). */
static void nvme_eui64(const struct nvme *n, u8 out[8])
{
	u64 h = disk_hash(n->id, 0x65756936);

	out[0] = 0xa0;
	out[1] = 0x02;
	out[2] = 0xdc;
	memcpy(out + 3, &h, 5);
}

static void nvme_nguid(const struct nvme *n, u8 out[16])
{
	u64 h = disk_hash(n->id, 0x6e677569);

	memcpy(out, &h, 8);
	nvme_eui64(n, out + 8);
}

static void nvme_identify_controller(const struct nvme *n, u8 *d)
{
	u64 a = disk_hash(n->id, 1), b = disk_hash(n->id, 2);

	put16(d + 0, n->pci.vendor);
	put16(d + 2, n->pci.subvendor);
	put_text(d + 4, 20, n->id);
	put_text(d + 24, 40, "Amazon Elastic Block Store");
	put_text(d + 64, 8, "1.0");
	d[72] = 3;                                /* recommended arbitration burst: 8 */
	d[73] = 0xdc, d[74] = 0x02, d[75] = 0xa0; /* IEEE OUI, little-endian */
	d[77] = NVME_MDTS_SHIFT;
	put32(d + 80, 0x00010400); /* version */
	put32(d + 84, 1000000);    /* RTD3 resume and entry latency, µs: none worth speaking of */
	put32(d + 88, 1000000);
	d[111] = 1; /* an I/O controller */
	d[258] = 3; /* abort limit 4 */
	d[259] = NVME_MAX_AER - 1;
	d[260] = 1 << 1 | 1;      /* one firmware slot, read-only */
	d[261] = 1 << 1 | 1 << 2; /* commands log, extended log pages */
	d[262] = NVME_ERROR_LOG - 1;
	put16(d + 266, WARNING_KELVIN);
	put16(d + 268, CRITICAL_KELVIN);
	d[512] = 0x66;     /* submission entries: 64 bytes */
	d[513] = 0x44;     /* completion entries: 16 bytes */
	put32(d + 516, 1); /* one namespace */
	put16(d + 520,
	      (u16)((block_can_discard(n->block) ? 1 << 2 : 0) | 1 << 3 | 1 << 4)); /* DSM, zeroes, select */
	d[525] = 1 | 3 << 1; /* volatile write cache; Flush takes all namespaces */
	put32(d + 536, 1);   /* SGLs, no alignment needed */
	snprintf((char *)d + 768, 256, "nqn.2014-08.org.nvmexpress:uuid:%08x-%04x-4%03x-8%03x-%012llx",
	         (u32)a, (unsigned)(a >> 32 & 0xffff), (unsigned)(a >> 48 & 0xfff), (unsigned)(b & 0xfff),
	         (unsigned long long)(b >> 16));
	put16(d + 2048, 2500); /* power state 0: 25 W */
	put_text(d + 3072, 32, n->device_name);
	if (!n->device_name[0])
		memset(d + 3072, 0, 32);
}

static void nvme_identify_namespace(const struct nvme *n, u8 *d)
{
	put64(d + 0, n->blocks);
	put64(d + 8, n->blocks);
	put64(d + 16, n->blocks);
	d[24] = 1 << 4; /* the granularities below count */
	/* Deallocated blocks read as zeroes; Write Zeroes may deallocate. */
	d[33] = block_can_discard(n->block) ? 1 | 1 << 3 : 0;
	u64 bytes = n->blocks * BLOCK_SECTOR;
	put64(d + 48, bytes);
	/* Host pages: preferred write and deallocate granularity and alignment, optimal write size: 4 KiB. */
	for (unsigned o = 64; o <= 72; o += 2)
		put16(d + o, 7);
	d[99] = block_readonly(n->block) ? 1 : 0;
	nvme_nguid(n, d + 104);
	nvme_eui64(n, d + 120);
	d[128 + 2] = 9; /* LBA format 0: 512 bytes, no metadata */
}

static void nvme_identify_descriptors(const struct nvme *n, u8 *d)
{
	d[0] = 1; /* EUI64 */
	d[1] = 8;
	nvme_eui64(n, d + 4);
	d[12] = 2; /* NGUID */
	d[13] = 16;
	nvme_nguid(n, d + 16);
}

u16 nvme_identify(struct nvme_request *r)
{
	struct nvme *n = r->n;
	u8 d[DATA_SIZE] = {0};
	u32 nsid = r->cmd.nsid;

	switch (r->cmd.cdw10 & 0xff) {
	case 0x00:
		if (nsid != 1)
			return NVME_INVALID_NAMESPACE | NVME_DNR;
		nvme_identify_namespace(n, d);
		break;
	case 0x01:
		nvme_identify_controller(n, d);
		break;
	case 0x02: /* active namespaces above nsid */
		if (nsid >= 0xfffffffe)
			return NVME_INVALID_NAMESPACE | NVME_DNR;
		if (nsid < 1)
			put32(d, 1);
		break;
	case 0x03:
		if (nsid != 1)
			return NVME_INVALID_NAMESPACE | NVME_DNR;
		nvme_identify_descriptors(n, d);
		break;
	default:
		return NVME_INVALID_FIELD | NVME_DNR;
	}
	return nvme_copy_out(r, DATA_SIZE, d, DATA_SIZE);
}

/* ---- log pages ---- */

bool nvme_temperature_alarm(const struct nvme *n)
{
	return TEMPERATURE >= n->features.temperature_over || TEMPERATURE <= n->features.temperature_under;
}

static unsigned nvme_log_errors(const struct nvme *n, u8 *d)
{
	for (unsigned i = 0; i < NVME_ERROR_LOG && i < n->error_count; i++)
		memcpy(d + i * 64, &n->errors[(n->error_count - 1 - i) % NVME_ERROR_LOG], 64);
	return NVME_ERROR_LOG * 64;
}

static unsigned nvme_log_smart(const struct nvme *n, u8 *d)
{
	d[0] = nvme_temperature_alarm(n) ? 1 << 1 : 0;
	put16(d + 1, TEMPERATURE);
	d[3] = 100; /* spare, percent */
	d[4] = 10;
	/* In thousands of 512 bytes, rounded up. */
	put64(d + 32, (n->units_read + 999) / 1000);
	put64(d + 48, (n->units_written + 999) / 1000);
	put64(d + 64, n->reads);
	put64(d + 80, n->writes);
	put64(d + 112, 1); /* power cycles */
	put64(d + 176, n->error_count);
	return 512;
}

static unsigned nvme_log_firmware(u8 *d)
{
	d[0] = 1; /* slot 1 is active */
	put_text(d + 8, 8, "1.0");
	return 512;
}

static unsigned nvme_log_commands(const struct nvme *n, u8 *d)
{
	static const u8 admin[] = {0x00, 0x01, 0x02, 0x04, 0x05, 0x06, 0x08, 0x09, 0x0a, 0x0c};

	for (unsigned i = 0; i < sizeof(admin); i++)
		put32(d + 4 * admin[i], 1);
	put32(d + 1024 + 4 * 0x00, 1);
	put32(d + 1024 + 4 * 0x01, 3); /* supported, changes content */
	put32(d + 1024 + 4 * 0x02, 1);
	put32(d + 1024 + 4 * 0x08, 3);
	if (block_can_discard(n->block))
		put32(d + 1024 + 4 * 0x09, 3);
	return 4096;
}

u16 nvme_get_log(struct nvme_request *r)
{
	struct nvme *n = r->n;
	const struct nvme_command *c = &r->cmd;
	u8 d[DATA_SIZE] = {0};
	u64 len = ((u64)(c->cdw10 >> 16 | (c->cdw11 & 0xffff) << 16) + 1) * 4;
	u64 offset = c->cdw12 | (u64)c->cdw13 << 32;
	bool retain = c->cdw10 & BIT(15);
	u8 id = (u8)c->cdw10;
	unsigned size;

	switch (id) {
	case 0x01:
		size = nvme_log_errors(n, d);
		break;
	case 0x02:
		/* Of the controller; single namespaces have none. */
		if (c->nsid && c->nsid != 0xffffffff)
			return NVME_INVALID_FIELD | NVME_DNR;
		size = nvme_log_smart(n, d);
		break;
	case 0x03:
		size = nvme_log_firmware(d);
		break;
	case 0x04:
		size = 4096; /* changed namespaces: none ever */
		break;
	case 0x05:
		size = nvme_log_commands(n, d);
		break;
	default:
		return NVME_LOG_INVALID | NVME_DNR;
	}
	if ((offset & 3) || offset > size || len > NVME_MAX_TRANSFER)
		return NVME_INVALID_FIELD | NVME_DNR;
	u16 status = nvme_copy_out(r, len, d + offset, size - offset);
	if (status || retain)
		return status;
	/* Reading the page re-enables the event that pointed to it. */
	for (unsigned i = 0; i < NVME_EVENT_TYPES; i++)
		if (n->event[i].masked && n->event[i].log == id)
			n->event[i] = (struct nvme_event){0};
	return status;
}
