#include "image_maker.h"

#include "machine/boot.h"
#include "machine/boot_bzimage.h"
#include "machine/boot_env.h"
#include "machine/boot_multiboot.h"
#include "machine/boot_pvh.h"

#include <fcntl.h>
#include <lz4.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- a machine without a board: memory and a map ---- */

static struct memory memory;
static struct boot_env env;
static struct vcpu_state state;
static char dir[64];

static void machine_make(u64 size)
{
	struct error e;
	u64 low = min(size, MEMORY_HOLE_START);

	assert_int_equal(memory_init(&memory, size, &e), 0);
	env = (struct boot_env){
	        .memory = &memory,
	        .e820 = {{0, 0x9fc00, 1},
	                 {0x9fc00, 0x400, 2},
	                 {0xe0000, 0x20000, 2},
	                 {1 * MiB, low - 2 * MiB, 1},
	                 {low - 1 * MiB, 1 * MiB, 3},
	                 {4 * GiB, size - low, 1}},
	        .e820_count = size > low ? 6 : 5,
	        .rsdp = 0xe0010,
	        .kernel = "KERNEL",
	};
	vcpu_state_reset(&state, true);
}

static u32 read32(u64 gpa)
{
	u32 v = 0xdeadbeef;

	assert_int_equal(memory_read(&memory, gpa, &v, sizeof(v)), 0);
	return v;
}

static u64 read64(u64 gpa)
{
	return read32(gpa) | (u64)read32(gpa + 4) << 32;
}

static void assert_text_at(u64 gpa, const char *text)
{
	char got[256] = {0};

	assert_true(strlen(text) + 1 <= sizeof(got));
	assert_int_equal(memory_read(&memory, gpa, got, strlen(text) + 1), 0);
	assert_string_equal(got, text);
}

/* A file in the test's folder; its path is static. */
static const char *file_make(const char *name, const void *data, size_t size)
{
	static char path[16][128];
	static unsigned turn;
	char *p = path[turn++ % 16];

	snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
	int fd = open(p, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, size), size);
	close(fd);
	return p;
}

/* Of `size` bytes, all holes. */
static const char *file_sparse(const char *name, u64 size)
{
	const char *path = file_make(name, "", 0);

	assert_int_equal(truncate(path, (off_t)size), 0);
	return path;
}

static int dir_make(void **unused)
{
	snprintf(dir, sizeof(dir), "/tmp/insula-test-boot-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int dir_remove(void **unused)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static int memory_drop(void **unused)
{
	memory_release(&memory);
	return 0;
}

/* ---- bzImage ---- */

static struct image vmlinux_make(void)
{
	return image_elf64(0x1000000, 0xffffffff81000000, 0x1000040, 0x3000, 0x5000, 0);
}

/* LZ4 in the legacy frame, and the four bytes of size behind it. */
static struct image lz4_make(const struct image *plain)
{
	struct image i = {calloc(1, plain->size + 4096), 0};
	int n = LZ4_compress_default((char *)plain->data, (char *)i.data + 8, (int)plain->size,
	                             (int)plain->size + 4000);

	image_put32(&i, 0, 0x184c2102);
	image_put32(&i, 4, (u32)n);
	image_put32(&i, 8 + (size_t)n, (u32)plain->size);
	i.size = 12 + (size_t)n;
	return i;
}

static struct image bzimage_make(void)
{
	struct image vmlinux = vmlinux_make(), payload = lz4_make(&vmlinux),
	             i = image_bzimage(payload.data, payload.size);

	image_release(&vmlinux);
	image_release(&payload);
	return i;
}

static void bzimage_enters_the_vmlinux(void **unused)
{
	struct image f = bzimage_make();
	struct bzimage b;
	struct error e;

	machine_make(64 * MiB);
	assert_true(bzimage_detect(f.data, f.size));
	assert_int_equal(bzimage_parse(&b, f.data, f.size, &e), 0);
	assert_false(b.self_unpacking);
	assert_int_equal(bzimage_start(&b, &env, NULL, "console=ttyS0 x", &state, &e), 0);

	assert_int_equal(state.rip, 0x1000040);
	assert_int_equal(read32(0x1000000), 0x54545454);
	assert_int_equal(read32(0x1002ffc), 0x54545454);
	assert_int_equal(read32(0x1003000), 0);

	u64 zp = state.regs[REG_RSI];

	assert_int_equal(zp, BOOT_ZERO_PAGE);
	assert_int_equal(read32(zp + 0x202), 0x53726448);
	assert_int_equal(read32(zp + 0x210) & 0xff, 0xff);
	assert_text_at(read32(zp + 0x228), "console=ttyS0 x");
	assert_int_equal(read64(zp + 0x70), 0xe0010);
	assert_int_equal(read32(zp + 0x218), 0);
	assert_int_equal(read32(zp + 0x1e8) & 0xff, 5);
	assert_int_equal(read64(zp + 0x2d0 + 3 * 20), 1 * MiB);
	assert_int_equal(read64(zp + 0x2d0 + 3 * 20 + 8), 62 * MiB);
	assert_int_equal(read32(zp + 0x2d0 + 4 * 20 + 16), 3);
	/* Boot sector bytes do not come along, nor a stray sentinel. */
	assert_int_equal(read32(zp + 0x1ec), 0);
	image_release(&f);
}

static void long_mode_is_as_the_protocol_says(void **unused)
{
	struct image f = bzimage_make();
	struct bzimage b;
	struct error e;

	machine_make(64 * MiB);
	assert_int_equal(bzimage_parse(&b, f.data, f.size, &e), 0);
	assert_int_equal(bzimage_start(&b, &env, NULL, "", &state, &e), 0);
	assert_int_equal(state.cr0, CR0_PE | CR0_ET | CR0_PG);
	assert_int_equal(state.cr4, CR4_PAE);
	assert_int_equal(state.efer, EFER_LME | EFER_LMA);
	assert_int_equal(state.rflags, 2);
	assert_int_equal(state.seg[SEG_CS].selector, 0x10);
	assert_int_equal(state.seg[SEG_CS].attr, 0xa09b);
	assert_int_equal(state.seg[SEG_CS].limit, 0xffffffff);
	for (int s = 0; s < SEG_COUNT; s++)
		if (s != SEG_CS) {
			assert_int_equal(state.seg[s].selector, 0x18);
			assert_int_equal(state.seg[s].attr, 0xc093);
			assert_int_equal(state.seg[s].base, 0);
		}
	assert_int_equal(read64(state.gdtr.base + 0x10), 0x00af9b000000ffff);
	assert_int_equal(read64(state.gdtr.base + 0x18), 0x00cf93000000ffff);
	assert_int_equal(state.gdtr.limit, 31);

	/* Walk the tables for an address in each GiB. */
	for (u64 a = 0x12345678; a < 4 * GiB; a += GiB) {
		u64 pdpt = read64(state.cr3), pd = read64((pdpt & ~0xfffULL) + (a >> 30) * 8);
		u64 page = read64((pd & ~0xfffULL) + (a >> 21 & 511) * 8);

		assert_int_equal(pdpt & 1, 1);
		assert_int_equal(pd & 1, 1);
		assert_int_equal(page & 0xfff, 0x83);
		assert_int_equal((page & ~0xfffULL) + (a & 0x1fffff), a);
	}
	image_release(&f);
}

static u64 initrd_at(u64 memory_size, u32 initrd_max, u16 xloadflags, u64 size)
{
	struct image f = bzimage_make();
	struct boot_file initrd;
	struct bzimage b;
	struct error e;

	machine_make(memory_size);
	image_put32(&f, 0x22c, initrd_max);
	image_put(&f, 0x236, &xloadflags, 2);
	assert_int_equal(boot_file_open(&initrd, file_sparse("initrd", size), &e), 0);
	assert_int_equal(bzimage_parse(&b, f.data, f.size, &e), 0);

	int r = bzimage_start(&b, &env, &initrd, "", &state, &e);
	u64 at = r ? 0 : read32(BOOT_ZERO_PAGE + 0x218) | (u64)read32(BOOT_ZERO_PAGE + 0xc0) << 32;

	if (r)
		assert_non_null(strstr(e.text, "does not fit in memory"));
	else
		assert_int_equal(read32(BOOT_ZERO_PAGE + 0x21c) | (u64)read32(BOOT_ZERO_PAGE + 0xc4) << 32,
		                 size);
	memory_release(&memory);
	boot_file_release(&initrd);
	image_release(&f);
	return at;
}

static void initrd_lies_as_high_as_it_may(void **unused)
{
	/* Under the ACPI tables at the top of RAM. */
	assert_int_equal(initrd_at(64 * MiB, 0x7fffffff, 3, 5000), 63 * MiB - 8192);
	assert_int_equal(initrd_at(3 * GiB, 0x7fffffff, 3, 5000), 2 * GiB - 8192);
	assert_int_equal(initrd_at(64 * MiB, 0x2ffffff, 1, 4096), 48 * MiB - 4096);
	/* Only above 4 GiB there is room; or the kernel does not take it there. */
	assert_int_equal(initrd_at(8 * GiB, 0x17fffff, 3, 16 * MiB), 9 * GiB - 16 * MiB);
	assert_int_equal(initrd_at(8 * GiB, 0x17fffff, 1, 16 * MiB), 0);
	/* Never over the kernel, which ends at 16 MiB and 0x8000. */
	assert_int_equal(initrd_at(18 * MiB, 0x7fffffff, 3, 1 * MiB - 0x8000), 16 * MiB + 0x8000);
	/* Nothing left above the kernel: below it. */
	assert_int_equal(initrd_at(18 * MiB, 0x7fffffff, 3, 1 * MiB - 0x7fff), 15 * MiB + 0x7000);
	assert_int_equal(initrd_at(18 * MiB, 0x7fffffff, 3, 15 * MiB), 1 * MiB);
	assert_int_equal(initrd_at(18 * MiB, 0x7fffffff, 3, 15 * MiB + 1), 0);
}

static void initrd_content_is_loaded(void **unused)
{
	struct image f = bzimage_make();
	struct boot_file initrd;
	struct bzimage b;
	struct error e;

	machine_make(64 * MiB);
	assert_int_equal(boot_file_open(&initrd, file_make("initrd", "the initrd", 10), &e), 0);
	assert_int_equal(bzimage_parse(&b, f.data, f.size, &e), 0);
	assert_int_equal(bzimage_start(&b, &env, &initrd, "", &state, &e), 0);
	assert_text_at(read32(BOOT_ZERO_PAGE + 0x218), "the initrd");
	boot_file_release(&initrd);
	image_release(&f);
}

static void unknown_packing_unpacks_itself(void **unused)
{
	struct image f = image_bzimage("BZh91AY&SY and so on", 20);
	struct bzimage b;
	struct error e;

	machine_make(64 * MiB);
	assert_int_equal(bzimage_parse(&b, f.data, f.size, &e), 0);
	assert_true(b.self_unpacking);
	assert_int_equal(bzimage_start(&b, &env, NULL, "", &state, &e), 0);
	assert_int_equal(state.rip, 0x1000200);
	assert_text_at(0x1000300, "BZh91AY&SY and so on");
	memory_release(&memory);

	/* It needs init_size bytes, though it is shorter. */
	machine_make(18 * MiB);
	assert_int_equal(bzimage_start(&b, &env, NULL, "", &state, &e), -1);
	assert_string_equal(e.text, "KERNEL: does not fit in memory: needs 0x1000000 to 0x1200000");
	image_release(&f);
}

static void bzimage_refuses_every_truncation(void **unused)
{
	struct image f = bzimage_make();

	for (size_t len = 0; len < f.size; len++) {
		u8 *cut = malloc(len ? len : 1);
		struct bzimage b = {0};
		struct error e;

		memcpy(cut, f.data, len);
		if (bzimage_detect(cut, len))
			assert_int_equal(bzimage_parse(&b, cut, len, &e), -1);
		free(cut);
	}
	image_release(&f);
}

static void bzimage_refuses_nonsense(void **unused)
{
	static const struct {
		size_t offset;
		u32 value;
		const char *says;
	} spoil[] = {
	        {0x206, 0x20b, "too old"},
	        {0x206, 0, "too old"},
	        {0x236, 0, "32-bit kernel"},
	        {0x201, 0x53726400, "header"}, /* length 0; the magic's first bytes stay */
	        {0x248, 0xffffffff, "payload"},
	        {0x24c, 0xffffffff, "payload"},
	        {0x24c, 3, "no payload"},
	        {0x24c, 40, "lz4"},
	        {0x1f1, 0xff, "setup code"},
	        {0x700, 0x184c2102, NULL}, /* the magic it has: all is well */
	        {0x704, 0x7fffffff, "truncated"},
	        {0x704, 0x00000010, "lz4"},
	};

	for (unsigned n = 0; n < ARRAY_SIZE(spoil); n++) {
		struct image f = bzimage_make();
		struct bzimage b;
		struct error e;

		if (spoil[n].offset == 0x201)
			f.data[0x201] = 0;
		else if (spoil[n].offset == 0x1f1)
			f.data[0x1f1] = 0xff;
		else
			image_put32(&f, spoil[n].offset, spoil[n].value);

		int r = bzimage_parse(&b, f.data, f.size, &e);

		assert_int_equal(r, spoil[n].says ? -1 : 0);
		if (spoil[n].says && !strstr(e.text, spoil[n].says))
			fail_msg("case %u says '%s', not '%s'", n, e.text, spoil[n].says);
		image_release(&f);
	}
}

/* What is broken behind its headers is found when it is loaded. */
static void payload_that_breaks_off(void **unused)
{
	struct image vmlinux = image_elf64(0x1000000, 0x1000000, 0x1000000, 200 * KiB, 0, 0);
	u32 x = 1;

	for (size_t i = 0x200; i < vmlinux.size; i++) { /* so that it does not pack to nothing */
		x = x * 1664525 + 1013904223;
		vmlinux.data[i] = (u8)(i % 512 < 64 ? x >> 24 : i >> 9);
	}
	for (unsigned spoil = 0; spoil < 2; spoil++) {
		struct image payload = lz4_make(&vmlinux), f;
		struct bzimage b;
		struct error e;

		if (spoil)
			memset(payload.data + payload.size - 4096, 0xff, 4000);
		f = image_bzimage(payload.data, payload.size);
		machine_make(64 * MiB);
		assert_int_equal(bzimage_parse(&b, f.data, f.size, &e), 0);
		assert_int_equal(bzimage_start(&b, &env, NULL, "", &state, &e), spoil ? -1 : 0);
		if (spoil)
			assert_non_null(strstr(e.text, "KERNEL: lz4 payload"));
		else
			assert_int_equal(read32(0x1000000 + 200 * KiB - 4),
			                 *(u32 *)(vmlinux.data + vmlinux.size - 4));
		memory_release(&memory);
		image_release(&f);
		image_release(&payload);
	}
	image_release(&vmlinux);
}

static void payload_that_is_no_kernel(void **unused)
{
	struct image bad[] = {
	        {(u8 *)strdup("just text, and rather much of it so that it packs"), 49},
	        image_elf32(0x1000000, 0x1000000, 0x1000000, 64, 0),
	        image_elf64(0x8000, 0x8000, 0x8000, 64, 0, 0), /* where the zero page lies */
	};

	for (unsigned n = 0; n < ARRAY_SIZE(bad); n++) {
		struct image payload = lz4_make(&bad[n]), f = image_bzimage(payload.data, payload.size);
		struct bzimage b;
		struct error e;

		assert_int_equal(bzimage_parse(&b, f.data, f.size, &e), -1);
		assert_non_null(strstr(e.text, "its payload"));
		image_release(&f);
		image_release(&payload);
		image_release(&bad[n]);
	}
}

/* ---- PVH ---- */

static void pvh_gets_its_start_info(void **unused)
{
	struct image f = image_elf64(0x200000, 0x200000, 0x200000, 0x100, 0x100, 0x200010);
	struct boot_file initrd;
	struct elf_image i;
	struct error e;

	machine_make(64 * MiB);
	assert_int_equal(boot_file_open(&initrd, file_make("initrd", "the initrd", 10), &e), 0);
	assert_int_equal(elf_parse(&i, f.data, f.size, &e), 0);
	assert_int_equal(pvh_check(&i, &e), 0);
	assert_int_equal(pvh_start(&i, &env, &initrd, "hello", &state, &e), 0);
	assert_int_equal(state.rip, 0x200010);
	assert_int_equal(state.cr0, CR0_PE | CR0_ET);
	assert_int_equal(state.cr4, 0);
	assert_int_equal(state.efer, 0);
	assert_int_equal(state.seg[SEG_CS].attr, 0xc09b);
	assert_int_equal(state.seg[SEG_DS].attr, 0xc093);
	assert_int_equal(state.tr.attr, 0x8b);
	assert_int_equal(state.tr.limit, 0x67);

	u64 info = state.regs[REG_RBX];

	assert_int_equal(read32(info), 0x336ec578);
	assert_int_equal(read32(info + 4), 1);
	assert_int_equal(read32(info + 12), 1);
	assert_text_at(read64(read64(info + 16)), "the initrd");
	assert_int_equal(read64(read64(info + 16) + 8), 10);
	assert_text_at(read64(info + 24), "hello");
	assert_int_equal(read64(info + 32), 0xe0010);
	assert_int_equal(read32(info + 48), 5);

	u64 map = read64(info + 40);

	assert_int_equal(read64(map + 3 * 24), 1 * MiB);
	assert_int_equal(read64(map + 3 * 24 + 8), 62 * MiB);
	assert_int_equal(read32(map + 4 * 24 + 16), 3);
	boot_file_release(&initrd);
	image_release(&f);
}

static void pvh_refuses_a_kernel_on_boot_data(void **unused)
{
	struct image f = image_elf64(0x7000, 0, 0, 16, 0, 0x7000);
	struct elf_image i;
	struct error e;

	assert_int_equal(elf_parse(&i, f.data, f.size, &e), 0);
	assert_int_equal(pvh_check(&i, &e), -1);
	i.low = 1 * MiB;
	assert_int_equal(pvh_check(&i, &e), 0);
	i.has_pvh = false;
	assert_int_equal(pvh_check(&i, &e), -1);
	image_release(&f);
}

/* ---- multiboot ---- */

static void multiboot_start_ok(const struct image *f, const char *modules, const char *cmdline)
{
	static struct multiboot_modules m;
	struct multiboot mb;
	struct error e = {0};

	assert_true(multiboot_detect(f->data, f->size));
	assert_int_equal(multiboot_parse(&mb, f->data, f->size, &e), 0);
	assert_int_equal(multiboot_modules_open(&m, modules, &e), 0);
	if (multiboot_start(&mb, &env, &m, cmdline, &state, &e))
		fail_msg("%s", e.text);
	multiboot_modules_release(&m);
	assert_int_equal(state.regs[REG_RAX], 0x2badb002);
	assert_int_equal(state.cr0, CR0_PE | CR0_ET);
	assert_int_equal(state.rflags & FLAG_IF, 0);
	assert_int_equal(state.seg[SEG_CS].selector, 8);
	assert_int_equal(state.seg[SEG_SS].selector, 0x10);
}

static void multiboot_elf_as_qemu_does_it(void **unused)
{
	struct image f = image_elf32(0x400000, 0x400000, 0x40000c, 0x1234, 0x1000);

	image_multiboot(&f, 0x200, 0, 0, 0, 0, 0, 0);
	machine_make(64 * MiB);
	multiboot_start_ok(&f, NULL, "a b");

	u64 info = state.regs[REG_RBX];

	assert_int_equal(state.rip, 0x40000c);
	assert_int_equal(info, 0x9500);
	assert_int_equal(read32(info), 0x24f);
	assert_int_equal(read32(info + 4), 639);
	assert_int_equal(read32(info + 8), 62 * 1024);
	assert_int_equal(read32(info + 12), 0x8000ffff);
	assert_text_at(read32(info + 16), "KERNEL a b");
	assert_int_equal(read32(info + 20), 0);
	assert_int_equal(read32(info + 24), 0x403000); /* the image's end, page-aligned */
	assert_int_equal(read32(info + 44), 5 * 24);
	assert_int_equal(read32(info + 48), 0x9000);
	assert_text_at(read32(info + 64), "insula");
	assert_int_equal(read32(0x9000 + 3 * 24), 20);
	assert_int_equal(read64(0x9004 + 3 * 24), 1 * MiB);
	assert_int_equal(read64(0x900c + 3 * 24), 62 * MiB);
	assert_int_equal(read32(0x9014 + 3 * 24), 1);
	assert_int_equal(read32(0x40e) & 0xffff, 0x9fc0);
	assert_int_equal(read32(0x413) & 0xffff, 639);
	image_release(&f);
}

static void multiboot_without_cmdline_ends_in_a_space(void **unused)
{
	struct image f = image_elf32(0x400000, 0x400000, 0x400000, 64, 0);

	image_multiboot(&f, 0x200, 0, 0, 0, 0, 0, 0);
	machine_make(16 * MiB);
	multiboot_start_ok(&f, NULL, "");
	assert_text_at(read32(0x9510), "KERNEL ");
	image_release(&f);
}

static void multiboot_takes_64_bit_files(void **unused)
{
	struct image f = image_elf64(0x400000, 0xffff800000400000, 0xffff800000400010, 64, 0, 0);

	image_multiboot(&f, 0x200, 0, 0, 0, 0, 0, 0);
	machine_make(16 * MiB);
	multiboot_start_ok(&f, NULL, "");
	assert_int_equal(state.rip, 0x400010);
	assert_int_equal(state.efer, 0);
	image_release(&f);
}

static void multiboot_modules_lie_behind_it(void **unused)
{
	struct image f = image_elf32(0x400000, 0x400000, 0x400000, 64, 0);
	char list[400], first[150];

	image_multiboot(&f, 0x200, 3, 0, 0, 0, 0, 0);
	machine_make(16 * MiB);
	snprintf(first, sizeof(first), "%s with, comma", file_make("one", "module 1", 8));
	snprintf(list, sizeof(list), "%s with,, comma,%s", file_make("one", "module 1", 8),
	         file_make("two", "m2", 2));
	multiboot_start_ok(&f, list, "");

	u64 mods = read32(0x9518);

	assert_int_equal(read32(0x9514), 2);
	assert_int_equal(mods, 0x401000);
	assert_int_equal(read32(mods), 0x402000);
	assert_int_equal(read32(mods + 4), 0x402008);
	assert_text_at(read32(mods), "module 1");
	assert_text_at(read32(mods + 8), first);
	assert_int_equal(read32(mods + 16), 0x403000);
	assert_int_equal(read32(mods + 20), 0x403002);
	assert_text_at(read32(mods + 24), strrchr(list, ',') + 1);
	image_release(&f);
}

static void multiboot_flat_image(void **unused)
{
	struct image f = {calloc(1, 0x1000), 0x1000};

	memset(f.data, 'F', f.size);
	/* The header lies 0x100 into the file and 0x80 into what is loaded. */
	image_multiboot(&f, 0x100, 1 << 16, 0x200080, 0x200000, 0x200400, 0x201000, 0x200090);
	machine_make(16 * MiB);
	multiboot_start_ok(&f, NULL, "");
	assert_int_equal(state.rip, 0x200090);
	assert_int_equal(read32(0x200080), 0x1badb002);
	assert_int_equal(read32(0x2003fc), 0x46464646);
	assert_int_equal(read32(0x200400), 0);
	assert_int_equal(read32(0x9518), 0x201000);
	memory_release(&memory);

	/* Without an end address, all of the file. */
	image_multiboot(&f, 0x100, 1 << 16, 0x200080, 0x200000, 0, 0, 0x200090);
	machine_make(16 * MiB);
	multiboot_start_ok(&f, NULL, "");
	assert_int_equal(read32(0x200f7c), 0x46464646);
	assert_int_equal(read32(0x200f80), 0);
	image_release(&f);
}

static void multiboot_refuses_nonsense(void **unused)
{
	static const u32 bad[][5] = {
	        {0x1fffff, 0x200000, 0, 0, 0},        /* header before the load address */
	        {0x200101, 0x200000, 0, 0, 0},        /* load begins before the file */
	        {0x200000, 0x200000, 0x1fffff, 0, 0}, /* ends before it begins */
	        {0x200000, 0x200000, 0x200f01, 0, 0}, /* longer than the file */
	        {0x200000, 0x200000, 0, 0x200100, 0}, /* .bss ends within */
	};

	for (unsigned n = 0; n < ARRAY_SIZE(bad); n++) {
		struct image f = {calloc(1, 0x1000), 0x1000};
		struct multiboot mb;
		struct error e;

		image_multiboot(&f, 0x100, 1 << 16, bad[n][0], bad[n][1], bad[n][2], bad[n][3], bad[n][4]);
		assert_int_equal(multiboot_parse(&mb, f.data, f.size, &e), -1);
		image_release(&f);
	}
	struct image f = {calloc(1, 0x3000), 0x3000};
	struct multiboot mb;
	struct error e;

	image_multiboot(&f, 8192, 0, 0, 0, 0, 0, 0); /* too far in */
	assert_false(multiboot_detect(f.data, f.size));
	image_multiboot(&f, 8192 - 12, 0, 0, 0, 0, 0, 0);
	assert_true(multiboot_detect(f.data, f.size));
	assert_int_equal(multiboot_parse(&mb, f.data, f.size, &e), -1); /* no addresses, no ELF */
	f.data[8192 - 1] ^= 1;
	assert_false(multiboot_detect(f.data, f.size)); /* checksum */
	image_release(&f);
}

static void multiboot_refuses_every_truncation(void **unused)
{
	struct image f = image_elf32(0x400000, 0x400000, 0x400000, 64, 0);

	image_multiboot(&f, 0x200, 1 << 16, 0x400000, 0x400000, 0x400040, 0, 0x400000);
	for (size_t len = 0; len < f.size; len++) {
		u8 *cut = malloc(len ? len : 1);
		struct multiboot mb;
		struct error e;

		memcpy(cut, f.data, len);
		assert_int_equal(multiboot_parse(&mb, cut, len, &e), -1);
		free(cut);
	}
	image_release(&f);
}

static void multiboot_too_large_for_memory(void **unused)
{
	struct image f = image_elf32(0x400000, 0x400000, 0x400000, 64, 16 * MiB);
	struct multiboot_modules modules = {0};
	struct multiboot mb;
	struct error e;

	image_multiboot(&f, 0x200, 0, 0, 0, 0, 0, 0);
	machine_make(16 * MiB);
	assert_int_equal(multiboot_parse(&mb, f.data, f.size, &e), 0);
	assert_int_equal(multiboot_start(&mb, &env, &modules, "", &state, &e), -1);
	assert_string_equal(e.text, "KERNEL: does not fit in memory: needs 0x400000 to 0x1400040");
	image_release(&f);

	f = image_elf32(0x400000, 0x400000, 0x400000, 64, 0);
	image_multiboot(&f, 0x200, 0, 0, 0, 0, 0, 0);
	assert_int_equal(multiboot_parse(&mb, f.data, f.size, &e), 0);
	assert_int_equal(multiboot_modules_open(&modules, file_sparse("big", 12 * MiB), &e), 0);
	assert_int_equal(multiboot_start(&mb, &env, &modules, "", &state, &e), -1);
	assert_non_null(strstr(e.text, "/big: a module of"));
	multiboot_modules_release(&modules);
	image_release(&f);
}

/* ---- boot_load: files ---- */

static void assert_refused(const struct boot_config *config, u64 size, const char *says)
{
	struct error e = {0};
	struct boot *b = boot_load(config, size, &e);

	assert_null(b);
	if (!strstr(e.text, says))
		fail_msg("'%s' does not say '%s'", e.text, says);
	assert_null(strchr(e.text, '\n'));
}

static void load_says_what_is_wrong(void **unused)
{
	struct image bz = bzimage_make(), elf = image_elf64(0x200000, 0, 0, 16, 0, 0);
	struct image large = image_elf64(0x200000, 0, 0, 16, 1 * GiB, 0x200000);
	const char *kernel = file_make("bzImage", bz.data, bz.size);
	char long_line[3000];

	memset(long_line, 'x', sizeof(long_line) - 1);
	long_line[sizeof(long_line) - 1] = 0;
#define REFUSED(size, says, ...) assert_refused(&(struct boot_config){__VA_ARGS__}, size, says)
	REFUSED(64 * MiB, "/none: No such file", .kernel = "/none");
	REFUSED(64 * MiB, "Is a directory", .kernel = "/tmp");
	REFUSED(64 * MiB, "/empty: empty file", .kernel = file_make("empty", "", 0));
	REFUSED(64 * MiB, "/text: not a kernel image", .kernel = file_make("text", "hello\n", 6));
	REFUSED(64 * MiB, "not a kernel image that can be booted: truncated",
	        .kernel = file_make("cut", bz.data, 0x700));
	REFUSED(64 * MiB, "neither a PVH entry nor", .kernel = file_make("elf", elf.data, elf.size));
	REFUSED(64 * MiB, "/large: does not fit in memory",
	        .kernel = file_make("large", large.data, large.size));
	REFUSED(64 * MiB, "/none: No such file", .kernel = kernel, .initrd = "/none");
	REFUSED(64 * MiB, "/initrd: an initrd of 65 MiB does not fit", .kernel = kernel,
	        .initrd = file_sparse("initrd", 64 * MiB + 1));
	REFUSED(64 * MiB, "at most 2047 bytes", .kernel = kernel, .cmdline = long_line);
	REFUSED(64 * MiB, "not supported", .kernel = kernel, .firmware = kernel);
	REFUSED(64 * MiB, "neither a kernel nor firmware", .cmdline = "x");
	REFUSED(64 * MiB, "not a firmware image", .firmware = kernel);
	REFUSED(64 * MiB, "not a firmware image", .firmware = file_sparse("rom", 16 * MiB));
	image_release(&bz);
	image_release(&elf);
	image_release(&large);
}

static void load_knows_the_kinds(void **unused)
{
	struct image bz = bzimage_make(), elf = image_elf64(0x200000, 0, 0, 16, 0, 0x200000);
	const struct {
		struct boot_config config;
		enum boot_kind kind;
	} cases[] = {
	        {{.kernel = file_make("bzImage", bz.data, bz.size)}, BOOT_BZIMAGE},
	        {{.kernel = file_make("pvh", elf.data, elf.size)}, BOOT_PVH},
	        {{.firmware = file_sparse("rom", 128 * KiB)}, BOOT_FIRMWARE},
	};

	for (unsigned n = 0; n < ARRAY_SIZE(cases); n++) {
		struct error e;
		struct boot *b = boot_load(&cases[n].config, 64 * MiB, &e);

		assert_non_null(b);
		assert_int_equal(boot_kind(b), cases[n].kind);
		boot_free(b);
	}
	/* With a multiboot header, the PVH note does not count. */
	image_multiboot(&elf, 0x180, 0, 0, 0, 0, 0, 0);
	struct error e;
	struct boot_config config = {.kernel = file_make("both", elf.data, elf.size)};
	struct boot *b = boot_load(&config, 64 * MiB, &e);

	assert_int_equal(boot_kind(b), BOOT_MULTIBOOT);
	boot_free(b);
	image_release(&bz);
	image_release(&elf);
}

static void no_event(void *ctx, enum board_event event, int code) {}

/* The second boot reads the file again; a file that has become another is a fault of the host's. */
static void boots_again_on_a_board(void **unused)
{
	struct image f = bzimage_make();
	struct boot_config config = {.kernel = file_make("again", f.data, f.size), .cmdline = "x"};
	struct board_config board_config = {.memory = 64 * MiB, .cpus = 1, .event = no_event};
	struct loop loop;
	struct error e;
	struct boot *b = boot_load(&config, 64 * MiB, &e);

	assert_non_null(b);
	assert_int_equal(loop_init(&loop, &e), 0);
	struct board *board = board_new(&board_config, &loop, &e);

	assert_non_null(board);
	for (int round = 0; round < 3; round++) {
		u32 head = 0;

		memory_zero(board_memory(board));
		vcpu_state_reset(&state, true);
		assert_int_equal(boot_start(b, board, &state, &e), 0);
		assert_int_equal(state.rip, 0x1000040);
		assert_int_equal(state.mtrr_def_type, 0xc06);
		assert_int_equal(memory_read(board_memory(board), 0x1000000, &head, 4), 0);
		assert_int_equal(head, 0x54545454);
	}
	assert_int_equal(truncate(config.kernel, 100), 0);
	assert_int_equal(boot_start(b, board, &state, &e), -1);
	assert_non_null(strstr(e.text, "changed while in use"));
	board_free(board);
	loop_release(&loop);
	boot_free(b);
	image_release(&f);
}

static void firmware_is_a_rom_with_an_alias(void **unused)
{
	struct image f = {calloc(1, 256 * KiB), 256 * KiB};

	memset(f.data, 'R', f.size);
	f.data[f.size - 16] = 0xea;
	struct boot_config config = {.firmware = file_make("rom", f.data, f.size)};
	struct board_config board_config = {.memory = 64 * MiB, .cpus = 1, .event = no_event};
	struct loop loop;
	struct error e;
	struct boot *b = boot_load(&config, 64 * MiB, &e);

	assert_non_null(b);
	assert_int_equal(loop_init(&loop, &e), 0);
	struct board *board = board_new(&board_config, &loop, &e);

	assert_non_null(board);
	for (int round = 0; round < 2; round++) {
		u8 byte = 0;

		memory_zero(board_memory(board));
		vcpu_state_reset(&state, true);
		assert_int_equal(boot_start(b, board, &state, &e), 0);
		assert_int_equal(state.seg[SEG_CS].base + state.rip, 0xfffffff0);
		assert_int_equal(memory_read(board_memory(board), 0xfffffff0, &byte, 1), 0);
		assert_int_equal(byte, 0xea);
		assert_int_equal(memory_read(board_memory(board), 0xffff0, &byte, 1), 0);
		assert_int_equal(byte, 0xea);
		assert_int_equal(memory_read(board_memory(board), 0xe0000, &byte, 1), 0);
		assert_int_equal(byte, 'R');
	}
	board_free(board);
	loop_release(&loop);
	boot_free(b);
	image_release(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_teardown(bzimage_enters_the_vmlinux, memory_drop),
	        cmocka_unit_test_teardown(long_mode_is_as_the_protocol_says, memory_drop),
	        cmocka_unit_test(initrd_lies_as_high_as_it_may),
	        cmocka_unit_test_teardown(initrd_content_is_loaded, memory_drop),
	        cmocka_unit_test_teardown(unknown_packing_unpacks_itself, memory_drop),
	        cmocka_unit_test(bzimage_refuses_every_truncation),
	        cmocka_unit_test(bzimage_refuses_nonsense),
	        cmocka_unit_test(payload_that_breaks_off),
	        cmocka_unit_test(payload_that_is_no_kernel),
	        cmocka_unit_test_teardown(pvh_gets_its_start_info, memory_drop),
	        cmocka_unit_test(pvh_refuses_a_kernel_on_boot_data),
	        cmocka_unit_test_teardown(multiboot_elf_as_qemu_does_it, memory_drop),
	        cmocka_unit_test_teardown(multiboot_without_cmdline_ends_in_a_space, memory_drop),
	        cmocka_unit_test_teardown(multiboot_takes_64_bit_files, memory_drop),
	        cmocka_unit_test_teardown(multiboot_modules_lie_behind_it, memory_drop),
	        cmocka_unit_test_teardown(multiboot_flat_image, memory_drop),
	        cmocka_unit_test(multiboot_refuses_nonsense),
	        cmocka_unit_test(multiboot_refuses_every_truncation),
	        cmocka_unit_test_teardown(multiboot_too_large_for_memory, memory_drop),
	        cmocka_unit_test(load_says_what_is_wrong),
	        cmocka_unit_test(load_knows_the_kinds),
	        cmocka_unit_test(boots_again_on_a_board),
	        cmocka_unit_test(firmware_is_a_rom_with_an_alias),
	};

	return cmocka_run_group_tests(tests, dir_make, dir_remove);
}
