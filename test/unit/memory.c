#include "machine/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void fresh(struct memory *m, u64 size)
{
	struct error e;

	assert_int_equal(memory_init(m, size, &e), 0);
}

static void sizes_are_checked(void **state)
{
	struct memory m;
	struct error e;

	assert_int_equal(memory_init(&m, MEMORY_MIN - PAGE_SIZE, &e), -1);
	assert_non_null(strstr(e.text, "too small"));
	assert_int_equal(memory_init(&m, MEMORY_MAX + PAGE_SIZE, &e), -1);
	assert_non_null(strstr(e.text, "too large"));
	assert_int_equal(memory_init(&m, 4 * MiB + 1, &e), -1);
	assert_int_equal(memory_init(&m, 0, &e), -1);
	fresh(&m, MEMORY_MIN);
	memory_release(&m);
}

static void largest_memory_costs_nothing(void **state)
{
	struct memory m;
	u8 byte = 7;

	fresh(&m, MEMORY_MAX);
	assert_int_equal(memory_write(&m, 4 * GiB + memory_high_size(&m) - 1, &byte, 1), 0);
	memory_release(&m);
}

static void holes_are_no_memory(void **state)
{
	struct memory m;
	u8 buf[16] = {0};

	fresh(&m, 16 * MiB);
	assert_int_equal(memory_read(&m, 0xa0000, buf, 1), -1);
	assert_int_equal(memory_read(&m, 0xbffff, buf, 1), -1);
	assert_int_equal(memory_read(&m, 0x9ffff, buf, 1), 0);
	assert_int_equal(memory_read(&m, 0x9ffff, buf, 2), -1);
	assert_int_equal(memory_read(&m, 0xc0000, buf, 16), 0);
	assert_int_equal(memory_read(&m, 16 * MiB - 1, buf, 1), 0);
	assert_int_equal(memory_read(&m, 16 * MiB - 1, buf, 2), -1);
	assert_int_equal(memory_read(&m, ~0ULL, buf, 2), -1);
	assert_int_equal(memory_read(&m, ~0ULL - 1, buf, 8), -1);
	assert_null(memory_range(&m, 0x9f000, 0x2000));
	assert_null(memory_range(&m, 0x1000, ~0ULL));
	assert_non_null(memory_range(&m, 0x9f000, 0x1000));
	memory_release(&m);
}

static void refused_write_changes_nothing(void **state)
{
	struct memory m;
	u8 ones[16], buf[8] = {0};

	memset(ones, 0xff, sizeof(ones));
	fresh(&m, 16 * MiB);
	assert_int_equal(memory_write(&m, 0x9fff8, ones, 16), -1);
	assert_int_equal(memory_fill(&m, 0x9fff8, 0xff, 16), -1);
	assert_int_equal(memory_read(&m, 0x9fff8, buf, 8), 0);
	for (int i = 0; i < 8; i++)
		assert_int_equal(buf[i], 0);
	memory_release(&m);
}

static void memory_goes_on_above_4g(void **state)
{
	struct memory m;
	u32 v = 0x12345678, r = 0;

	fresh(&m, 4 * GiB);
	assert_int_equal(memory_low_size(&m), MEMORY_HOLE_START);
	assert_int_equal(memory_high_size(&m), 1 * GiB);
	assert_int_equal(memory_write(&m, MEMORY_HOLE_START - 4, &v, 4), 0);
	assert_int_equal(memory_write(&m, MEMORY_HOLE_START, &v, 4), -1);
	assert_int_equal(memory_write(&m, 4 * GiB, &v, 4), 0);
	assert_int_equal(memory_read(&m, 4 * GiB, &r, 4), 0);
	assert_int_equal(r, v);
	assert_int_equal(memory_write(&m, 5 * GiB - 4, &v, 4), 0);
	assert_int_equal(memory_write(&m, 5 * GiB - 3, &v, 4), -1);
	memory_release(&m);
}

static void rom_can_be_read_only(void **state)
{
	struct memory m;
	struct error e;
	u8 rom[2 * 4096], buf[4] = {0};

	memset(rom, 0x90, sizeof(rom));
	fresh(&m, 16 * MiB);
	assert_int_equal(memory_add_rom(&m, 0xffffe000, rom, sizeof(rom), &e), 0);
	assert_int_equal(memory_read(&m, 0xfffffffc, buf, 4), 0);
	assert_int_equal(buf[3], 0x90);
	assert_int_equal(memory_write(&m, 0xfffff000, buf, 4), -1);
	assert_null(memory_range(&m, 0xfffff000, 4));
	assert_int_equal(memory_add_rom(&m, 0xffffd000, rom, sizeof(rom), &e), -1);
	assert_int_equal(memory_add_rom(&m, 0xe0000, rom, sizeof(rom), &e), -1);
	assert_int_equal(memory_add_rom(&m, 0xf0000000, rom, 100, &e), -1);
	memory_release(&m);
}

static void rom_next_to_ram_is_read_across(void **state)
{
	struct memory m;
	struct error e;
	u8 rom[4096], buf[8] = {0};

	memset(rom, 0x55, sizeof(rom));
	fresh(&m, 16 * MiB);
	assert_int_equal(memory_add_rom(&m, 16 * MiB, rom, sizeof(rom), &e), 0);
	assert_int_equal(memory_read(&m, 16 * MiB - 4, buf, 8), 0);
	assert_int_equal(buf[3], 0);
	assert_int_equal(buf[4], 0x55);
	assert_int_equal(memory_write(&m, 16 * MiB - 4, buf, 8), -1);
	memory_release(&m);
}

static void zero_forgets_all_and_code_dies(void **state)
{
	struct memory m;
	u32 v = 0xdeadbeef, r = 1;

	fresh(&m, 8 * MiB);
	memory_write(&m, 5 * MiB, &v, 4);
	const struct physmem_slot *s = physmem_find(&m.phys, 5 * MiB);
	_Atomic u32 *page = physmem_page(&m.phys, s, 5 * MiB);
	atomic_fetch_or(page, PHYSMEM_PAGE_CODE);
	memory_zero(&m);
	assert_int_equal(memory_read(&m, 5 * MiB, &r, 4), 0);
	assert_int_equal(r, 0);
	assert_int_equal(atomic_load(page), PHYSMEM_PAGE_STEP);
	memory_release(&m);
}

static void write_kills_code_of_each_page_touched(void **state)
{
	struct memory m;
	u8 buf[4096 + 2] = {0};

	fresh(&m, 8 * MiB);
	const struct physmem_slot *s = physmem_find(&m.phys, 0x200000);
	for (int i = 0; i < 4; i++)
		atomic_fetch_or(physmem_page(&m.phys, s, 0x200000 + i * PAGE_SIZE), PHYSMEM_PAGE_CODE);
	memory_write(&m, 0x200fff, buf, sizeof(buf)); /* last byte of page 0, all of 1, first of 2 */
	for (int i = 0; i < 3; i++)
		assert_int_equal(atomic_load(physmem_page(&m.phys, s, 0x200000 + i * PAGE_SIZE)),
		                 PHYSMEM_PAGE_STEP);
	assert_int_equal(atomic_load(physmem_page(&m.phys, s, 0x203000)), PHYSMEM_PAGE_CODE);
	memory_release(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(sizes_are_checked),
	        cmocka_unit_test(largest_memory_costs_nothing),
	        cmocka_unit_test(holes_are_no_memory),
	        cmocka_unit_test(refused_write_changes_nothing),
	        cmocka_unit_test(memory_goes_on_above_4g),
	        cmocka_unit_test(rom_can_be_read_only),
	        cmocka_unit_test(rom_next_to_ram_is_read_across),
	        cmocka_unit_test(zero_forgets_all_and_code_dies),
	        cmocka_unit_test(write_kills_code_of_each_page_touched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
