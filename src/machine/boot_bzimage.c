#include "machine/boot_bzimage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* More than any kernel unpacks to; less than what the 32-bit counters of the unpackers hold. */
#define VMLINUX_MAX (1 * GiB)

/* Where its headers are to be. */
#define VMLINUX_HEAD (64 * KiB)

/* Offsets in the boot sector and setup header, and in struct boot_params, which shares them from 0x1f1 on. */
enum {
	ZP_ACPI_RSDP = 0x070,
	ZP_EXT_RAMDISK_IMAGE = 0x0c0,
	ZP_EXT_RAMDISK_SIZE = 0x0c4,
	ZP_E820_ENTRIES = 0x1e8,
	HDR_SETUP_SECTS = 0x1f1,
	HDR_BOOT_FLAG = 0x1fe,
	HDR_JUMP_LENGTH = 0x201, /* of the short jump at 0x200: where the header ends */
	HDR_MAGIC = 0x202,
	HDR_VERSION = 0x206,
	HDR_TYPE_OF_LOADER = 0x210,
	HDR_LOADFLAGS = 0x211,
	HDR_RAMDISK_IMAGE = 0x218,
	HDR_RAMDISK_SIZE = 0x21c,
	HDR_CMD_LINE_PTR = 0x228,
	HDR_INITRD_ADDR_MAX = 0x22c,
	HDR_XLOADFLAGS = 0x236,
	HDR_CMDLINE_SIZE = 0x238,
	HDR_PAYLOAD_OFFSET = 0x248,
	HDR_PAYLOAD_LENGTH = 0x24c,
	HDR_PREF_ADDRESS = 0x258,
	HDR_INIT_SIZE = 0x260,
	HDR_MIN_END = 0x264, /* all of the above is there from protocol 2.12 on */
	ZP_E820_TABLE = 0x2d0,
	ZP_E820_MAX = 128,
	ZP_SIZE = 0x1000,
};

enum { LOADFLAG_HIGH = 1 << 0, LOADFLAG_KASLR = 1 << 1 };
enum { XLF_KERNEL_64 = 1 << 0, XLF_ABOVE_4G = 1 << 1 };

/* Selectors that the 64-bit boot protocol asks for. */
enum { BOOT_CS = 0x10, BOOT_DS = 0x18 };

#define ENTRY64_OFFSET 0x200
#define KERNEL_LOWEST  (1 * MiB)

static u16 get16(const u8 *p)
{
	return (u16)(p[0] | p[1] << 8);
}
static u32 get32(const u8 *p)
{
	return get16(p) | (u32)get16(p + 2) << 16;
}
static u64 get64(const u8 *p)
{
	return get32(p) | (u64)get32(p + 4) << 32;
}

static void put32(u8 *p, u32 v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (u8)(v >> 8 * i);
}

static void put64(u8 *p, u64 v)
{
	put32(p, (u32)v);
	put32(p + 4, (u32)(v >> 32));
}

bool bzimage_detect(const u8 *data, size_t size)
{
	return size >= HDR_VERSION && get16(data + HDR_BOOT_FLAG) == 0xaa55 &&
	       !memcmp(data + HDR_MAGIC, "HdrS", 4);
}

/* Of a vmlinux: its headers are in it. */
struct head {
	struct unpack_sink sink;
	size_t size;
	u8 data[VMLINUX_HEAD];
};

static int head_take(struct unpack_sink *sink, const u8 *data, size_t size)
{
	struct head *h = container_of(sink, struct head, sink);
	size_t n = min(size, sizeof(h->data) - h->size);

	memcpy(h->data + h->size, data, n);
	h->size += n;
	return 0;
}

static int vmlinux_parse(struct bzimage *b, struct error *e)
{
	struct head *h = malloc(sizeof(*h));
	int r;

	if (!h)
		return error_set(e, ENOMEM, "kernel headers");
	h->sink = (struct unpack_sink){head_take, sizeof(h->data)};
	h->size = 0;
	r = unpack(&h->sink, b->format, b->payload, b->payload_size, b->unpacked, VMLINUX_MAX, e);
	if (!r && elf_parse_head(&b->vmlinux, h->data, h->size, b->unpacked, e))
		r = error_prefix(e, "its payload");
	free(h);
	return r;
}

/* Unpacks the payload's start and looks at the vmlinux in it. */
static int payload_parse(struct bzimage *b, struct error *e)
{
	u64 offset = get32(b->data + HDR_PAYLOAD_OFFSET), len = get32(b->data + HDR_PAYLOAD_LENGTH);

	if (offset > b->code_size || len > b->code_size - offset)
		return error_set(e, 0, "truncated: its payload ends at 0x%llx, the file at 0x%zx",
		                 (unsigned long long)(b->code + offset + len), b->size);
	if (len < 4)
		return error_set(e, 0, "no payload");

	const u8 *payload = b->data + b->code + offset;

	b->format = unpack_detect(payload, len);
	if (!unpack_supported(b->format)) {
		b->self_unpacking = true;
		return 0;
	}
	/* The last four bytes are the unpacked size: gzip's own trailer, for the others appended by the
	 * build. */
	u32 unpacked = get32(payload + len - 4);

	if (b->format != UNPACK_GZIP)
		len -= 4;
	b->payload = payload;
	b->payload_size = len;
	b->unpacked = unpacked;
	if (vmlinux_parse(b, e))
		return -1;
	if (!b->vmlinux.is64)
		return error_set(e, 0, "its payload is no 64-bit kernel");
	if (b->vmlinux.low < BOOT_LOW_END)
		return error_set(e, 0, "its payload loads at 0x%llx, where boot data lie",
		                 (unsigned long long)b->vmlinux.low);
	b->end = b->vmlinux.high;
	return 0;
}

int bzimage_parse(struct bzimage *b, const u8 *data, size_t size, struct error *e)
{
	memset(b, 0, sizeof(*b));
	b->data = data;
	b->size = size;
	if (size < HDR_MIN_END)
		return error_set(e, 0, "truncated: shorter than a kernel's setup header");

	unsigned version = get16(data + HDR_VERSION), xloadflags = get16(data + HDR_XLOADFLAGS);
	unsigned sectors = data[HDR_SETUP_SECTS] ? data[HDR_SETUP_SECTS] : 4;

	if (version < 0x20c)
		return error_set(e, 0, "boot protocol %u.%02u is too old: 2.12 is needed", version >> 8,
		                 version & 0xff);
	if (!(xloadflags & XLF_KERNEL_64))
		return error_set(e, 0, "a 32-bit kernel: only those with a 64-bit entry can be booted");
	b->header_end = HDR_MAGIC + data[HDR_JUMP_LENGTH];
	if (b->header_end < HDR_MIN_END || b->header_end > BZIMAGE_HEADER_END || b->header_end > size)
		return error_set(e, 0, "its setup header has an impossible length");
	b->code = (sectors + 1) * 512ULL;
	if (b->code >= size || size - b->code <= ENTRY64_OFFSET)
		return error_set(e, 0, "truncated: only its setup code is there");
	b->code_size = size - b->code;
	b->cmdline_max = min((u64)get32(data + HDR_CMDLINE_SIZE), (u64)BOOT_CMDLINE_MAX - 1);
	b->initrd_max = get32(data + HDR_INITRD_ADDR_MAX);
	b->above_4g = xloadflags & XLF_ABOVE_4G;
	if (payload_parse(b, e))
		return -1;
	if (b->self_unpacking) {
		u64 init_size = get32(data + HDR_INIT_SIZE);

		b->load_address = get64(data + HDR_PREF_ADDRESS);
		if (b->load_address < KERNEL_LOWEST || b->load_address >= MEMORY_HOLE_START)
			return error_set(e, 0, "its preferred address 0x%llx is impossible",
			                 (unsigned long long)b->load_address);
		b->end = b->load_address + max(b->code_size, init_size);
	}
	return 0;
}

/* As high as the kernel allows. 0: nowhere. */
static u64 initrd_place(const struct bzimage *b, const struct boot_env *env, u64 size)
{
	u64 start = b->self_unpacking ? b->load_address : b->vmlinux.low;
	u64 at = boot_place_beside(env, size, start, b->end, b->initrd_max + 1);

	if (!at && b->above_4g)
		at = boot_place_beside(env, size, start, b->end, ~0ULL);
	return at;
}

static int zero_page_write(const struct bzimage *b, const struct boot_env *env, u64 initrd, u64 initrd_size,
                           struct error *e)
{
	u8 zp[ZP_SIZE] = {0};
	unsigned count = min(env->e820_count, (unsigned)ZP_E820_MAX);

	memcpy(zp + BZIMAGE_HEADER, b->data + BZIMAGE_HEADER, b->header_end - BZIMAGE_HEADER);
	zp[HDR_TYPE_OF_LOADER] = 0xff;
	zp[HDR_LOADFLAGS] = (u8)((zp[HDR_LOADFLAGS] & ~LOADFLAG_KASLR) | LOADFLAG_HIGH);
	put32(zp + HDR_CMD_LINE_PTR, BOOT_CMDLINE);
	put32(zp + HDR_RAMDISK_IMAGE, (u32)initrd);
	put32(zp + ZP_EXT_RAMDISK_IMAGE, (u32)(initrd >> 32));
	put32(zp + HDR_RAMDISK_SIZE, (u32)initrd_size);
	put32(zp + ZP_EXT_RAMDISK_SIZE, (u32)(initrd_size >> 32));
	put64(zp + ZP_ACPI_RSDP, env->rsdp);
	zp[ZP_E820_ENTRIES] = (u8)count;
	for (unsigned i = 0; i < count; i++) {
		u8 *entry = zp + ZP_E820_TABLE + i * 20;

		put64(entry, env->e820[i].addr);
		put64(entry + 8, env->e820[i].size);
		put32(entry + 16, env->e820[i].type);
	}
	if (memory_write(env->memory, BOOT_ZERO_PAGE, zp, sizeof(zp)))
		return error_set(e, 0, "%s: no memory for boot data", env->kernel);
	return 0;
}

struct loading {
	struct unpack_sink sink;
	const struct bzimage *bzimage;
	const struct memory *memory;
	u64 at;
	struct error *e;
};

static int load_take(struct unpack_sink *sink, const u8 *data, size_t size)
{
	struct loading *l = container_of(sink, struct loading, sink);
	u64 at = l->at;

	l->at += size;
	return elf_load_piece(&l->bzimage->vmlinux, l->memory, at, data, size, l->e);
}

static int kernel_write(const struct bzimage *b, const struct boot_env *env, struct error *e)
{
	if (boot_fits(env, b->self_unpacking ? b->load_address : b->vmlinux.low, b->end, e))
		return -1;
	if (!b->self_unpacking) {
		struct loading l = {{load_take, 0}, b, env->memory, 0, e};

		if (unpack(&l.sink, b->format, b->payload, b->payload_size, b->unpacked, VMLINUX_MAX, e))
			return error_prefix(e, "%s", env->kernel);
		return 0;
	}
	if (memory_write(env->memory, b->load_address, b->data + b->code, b->code_size))
		return error_set(e, 0, "%s: does not fit in memory", env->kernel);
	return 0;
}

int bzimage_start(const struct bzimage *b, const struct boot_env *env, const struct boot_file *initrd,
                  const char *cmdline, struct vcpu_state *state, struct error *e)
{
	u64 gdt[4] = {0, 0, boot_descriptor(0, ~0u, BOOT_CODE64), boot_descriptor(0, ~0u, BOOT_DATA32)};
	u64 at = 0;

	if (kernel_write(b, env, e))
		return -1;
	if (initrd) {
		at = initrd_place(b, env, initrd->size);
		if (!at)
			return error_set(
			        e, 0, "%s: an initrd of %llu bytes does not fit in memory beside the kernel",
			        initrd->path, (unsigned long long)initrd->size);
		if (boot_file_load(initrd, env->memory, at, e))
			return -1;
	}
	if (memory_write(env->memory, BOOT_CMDLINE, cmdline, strlen(cmdline) + 1))
		return error_set(e, 0, "%s: no memory for boot data", env->kernel);
	if (zero_page_write(b, env, at, initrd ? initrd->size : 0, e))
		return -1;
	if (boot_mode64(env, state) ||
	    boot_segments(env, state, BOOT_GDT, gdt, ARRAY_SIZE(gdt), BOOT_CS, BOOT_DS))
		return error_set(e, 0, "%s: no memory for boot data", env->kernel);
	state->regs[REG_RSI] = BOOT_ZERO_PAGE;
	state->rip = b->self_unpacking ? b->load_address + ENTRY64_OFFSET : b->vmlinux.entry;
	return 0;
}
