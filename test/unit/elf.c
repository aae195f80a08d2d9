#include "image_maker.h"

#include "machine/elf.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void parses_64(void **state)
{
	struct image f = image_elf64(0x1000000, 0xffffffff81000000, 0x1000040, 0x1000, 0x5000, 0x1000100);
	struct elf_image i;
	struct error e;

	assert_int_equal(elf_parse(&i, f.data, f.size, &e), 0);
	assert_true(i.is64);
	assert_int_equal(i.entry, 0x1000040);
	assert_int_equal(i.low, 0x1000000);
	assert_int_equal(i.high, 0x1006000);
	assert_true(i.has_pvh);
	assert_int_equal(i.pvh_entry, 0x1000100);
	image_release(&f);
}

static void parses_32(void **state)
{
	struct image f = image_elf32(0x100000, 0x100000, 0x100010, 64, 64);
	struct elf_image i;
	struct error e;

	assert_int_equal(elf_parse(&i, f.data, f.size, &e), 0);
	assert_false(i.is64 || i.has_pvh);
	assert_int_equal(i.entry, 0x100010);
	assert_int_equal(i.high, 0x100080);
	image_release(&f);
}

static void translates_a_virtual_entry(void **state)
{
	struct image f = image_elf32(0x100000, 0xc0100000, 0xc0100010, 64, 0);
	struct elf_image i;
	struct error e;

	assert_int_equal(elf_parse(&i, f.data, f.size, &e), 0);
	assert_int_equal(i.entry, 0x100010);
	image_release(&f);
}

/* Each byte is behind a fresh allocation's end, so that a sanitizer sees reads past it. */
static void refuses_every_truncation(void **state)
{
	struct image f = image_elf64(0x1000000, 0x1000000, 0x1000000, 64, 0, 0x1000000);

	for (size_t len = 0; len < f.size; len++) {
		u8 *cut = malloc(len ? len : 1);
		struct elf_image i;
		struct error e;

		memcpy(cut, f.data, len);
		assert_int_equal(elf_parse(&i, cut, len, &e), -1);
		free(cut);
	}
	image_release(&f);
}

static void refuses_nonsense(void **state)
{
	static const struct {
		size_t offset;
		u8 byte;
	} spoil[] = {
	        {0, 0x7e},                                       /* magic */
	        {EI_CLASS, 3},                                   /* class */
	        {EI_DATA, ELFDATA2MSB},                          /* big endian */
	        {offsetof(Elf64_Ehdr, e_type), ET_REL},          /* object file */
	        {offsetof(Elf64_Ehdr, e_machine), EM_ARM},       /* another machine */
	        {offsetof(Elf64_Ehdr, e_phnum), 0},              /* no segments */
	        {offsetof(Elf64_Ehdr, e_phentsize), 8},          /* entries too small */
	        {offsetof(Elf64_Ehdr, e_phoff) + 7, 0xff},       /* table outside */
	        {64 + offsetof(Elf64_Phdr, p_type), 9},          /* nothing to load */
	        {64 + offsetof(Elf64_Phdr, p_offset) + 7, 0xff}, /* data outside */
	        {64 + offsetof(Elf64_Phdr, p_filesz) + 7, 0xff}, /* too long */
	        {64 + offsetof(Elf64_Phdr, p_memsz), 1},         /* less memory than file */
	        {64 + offsetof(Elf64_Phdr, p_memsz) + 7, 0xff},  /* address wraps, with the next */
	};

	for (unsigned n = 0; n < ARRAY_SIZE(spoil); n++) {
		struct image f = image_elf64(~0ULL << 60, 0, 0, 64, 0, 0);
		struct elf_image i;
		struct error e;

		assert_int_equal(elf_parse(&i, f.data, f.size, &e), 0);
		f.data[spoil[n].offset] = spoil[n].byte;
		e.text[0] = 0;
		assert_int_equal(elf_parse(&i, f.data, f.size, &e), -1);
		assert_true(e.text[0]);
		image_release(&f);
	}
}

static void ignores_notes_that_overrun(void **state)
{
	/* name size, description size */
	static const u32 sizes[][2] = {
	        {0xffffffff, 4}, {4, 0xffffffff}, {0xfffffffd, 0xfffffffd}, {4, 24}, {40, 0}};

	for (unsigned n = 0; n < ARRAY_SIZE(sizes); n++) {
		struct image f = image_elf64(0x100000, 0x100000, 0x100000, 64, 0, 0x1234);
		struct elf_image i;
		struct error e;

		image_put32(&f, 0x100, sizes[n][0]);
		image_put32(&f, 0x104, sizes[n][1]);
		assert_int_equal(elf_parse(&i, f.data, f.size, &e), 0);
		assert_false(i.has_pvh);
		image_release(&f);
	}
}

static void loads_into_memory(void **state)
{
	struct image f = image_elf64(0x100000, 0x100000, 0x100000, 0x1800, 0x800, 0);
	struct memory m;
	struct elf_image i;
	struct error e;
	u8 got[0x2001];

	assert_int_equal(memory_init(&m, 4 * MiB, &e), 0);
	assert_int_equal(elf_parse(&i, f.data, f.size, &e), 0);
	assert_int_equal(elf_load(&i, &m, &e), 0);
	assert_int_equal(memory_read(&m, 0x100000, got, sizeof(got)), 0);
	for (unsigned n = 0; n < sizeof(got); n++)
		assert_int_equal(got[n], n < 0x1800 ? 'T' : 0);
	memory_release(&m);
	image_release(&f);
}

static void refuses_what_does_not_fit(void **state)
{
	static const u64 places[] = {4 * MiB, 4 * MiB - 0x1000,  0xa0000,
	                             0x9f000, MEMORY_HOLE_START, ~0ULL - 0x10000};

	for (unsigned n = 0; n < ARRAY_SIZE(places); n++) {
		struct image f = image_elf64(places[n], 0, 0, 16, 0x1800, 0);
		struct memory m;
		struct elf_image i;
		struct error e;

		assert_int_equal(memory_init(&m, 4 * MiB, &e), 0);
		assert_int_equal(elf_parse(&i, f.data, f.size, &e), 0);
		assert_int_equal(elf_load(&i, &m, &e), -1);
		assert_non_null(strstr(e.text, "does not fit in memory"));
		memory_release(&m);
		image_release(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(parses_64),
	        cmocka_unit_test(parses_32),
	        cmocka_unit_test(translates_a_virtual_entry),
	        cmocka_unit_test(refuses_every_truncation),
	        cmocka_unit_test(refuses_nonsense),
	        cmocka_unit_test(ignores_notes_that_overrun),
	        cmocka_unit_test(loads_into_memory),
	        cmocka_unit_test(refuses_what_does_not_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
