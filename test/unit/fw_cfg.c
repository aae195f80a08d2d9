#include "machine/fw_cfg.h"

#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct memory memory;
static struct bus *bus;
static struct fw_cfg f;

static int setup(void **state)
{
	struct error e;

	bus = bus_new();
	assert_int_equal(memory_init(&memory, 4 * MiB, &e), 0);
	fw_cfg_init(&f, &memory);
	return fw_cfg_map(&f, bus);
}

static int teardown(void **state)
{
	fw_cfg_release(&f);
	memory_release(&memory);
	bus_free(bus);
	return 0;
}

static void get(u16 key, void *buf, size_t len)
{
	bus_write(bus, 0x510, 2, key);
	for (size_t i = 0; i < len; i++)
		((u8 *)buf)[i] = (u8)bus_read(bus, 0x511, 1);
}

static u32 dma(u32 control, u32 length, u64 address)
{
	struct {
		u32 control, length;
		u64 address;
	} a = {htobe32(control), htobe32(length), htobe64(address)};

	memory_write(&memory, 0x8000, &a, sizeof(a));
	bus_write(bus, 0x514, 4, 0);
	bus_write(bus, 0x518, 4, htobe32(0x8000));
	memory_read(&memory, 0x8000, &a, sizeof(a));
	return be32toh(a.control);
}

static void signature_and_id(void **state)
{
	u8 buf[8];

	get(FW_CFG_SIGNATURE, buf, 8);
	assert_memory_equal(buf, "QEMU\0\0\0\0", 8);
	get(FW_CFG_ID, buf, 4);
	assert_int_equal(buf[0], 3);
	assert_int_equal(bus_read(bus, 0x514, 4), htobe32(0x51454d55));
	assert_int_equal(bus_read(bus, 0x518, 4), htobe32(0x20434647));
}

static void items_by_port(void **state)
{
	u8 buf[4];

	fw_cfg_add_int(&f, FW_CFG_NB_CPUS, 4, 2);
	get(FW_CFG_NB_CPUS, buf, 4);
	assert_memory_equal(buf, "\x04\0\0\0", 4);
	get(0x1234, buf, 4); /* no such item */
	assert_memory_equal(buf, "\0\0\0\0", 4);
	get(0x4000 | FW_CFG_NB_CPUS, buf, 2);
	assert_int_equal(buf[0], 4);
	bus_write(bus, 0x511, 1, 0xff); /* read-only */
	get(FW_CFG_NB_CPUS, buf, 2);
	assert_int_equal(buf[0], 4);
}

static void directory_lists_files(void **state)
{
	u8 dir[4 + 2 * 64], buf[5];

	fw_cfg_add_file(&f, "etc/one", "first", 5);
	fw_cfg_add_file(&f, "etc/two", "second!", 7);
	fw_cfg_add_file(&f, "etc/one", "FIRST", 5); /* replaces */
	get(FW_CFG_FILE_DIR, dir, sizeof(dir));
	assert_int_equal(dir[3], 2);
	assert_int_equal(dir[4 + 3], 5);
	assert_int_equal(dir[4 + 5], FW_CFG_FILE_FIRST);
	assert_string_equal(dir + 4 + 8, "etc/one");
	assert_int_equal(dir[4 + 64 + 3], 7);
	assert_string_equal(dir + 4 + 64 + 8, "etc/two");
	get(FW_CFG_FILE_FIRST, buf, 5);
	assert_memory_equal(buf, "FIRST", 5);
}

static void dma_reads_and_pads(void **state)
{
	u8 buf[8];

	fw_cfg_add_file(&f, "etc/one", "FIRST", 5);
	memory_fill(&memory, 0x9000, 0xee, 16);
	assert_int_equal(dma(FW_CFG_FILE_FIRST << 16 | 8 | 2, 8, 0x9000), 0);
	memory_read(&memory, 0x9000, buf, 8);
	assert_memory_equal(buf, "FIRST\0\0\0", 8);
	assert_int_equal(dma(FW_CFG_FILE_FIRST << 16 | 8 | 4, 2, 0), 0); /* select, skip 2 */
	assert_int_equal(dma(2, 2, 0x9000), 0);
	memory_read(&memory, 0x9000, buf, 3);
	assert_memory_equal(buf, "RSR", 3);
}

static void dma_refuses_nonsense(void **state)
{
	assert_int_equal(dma(8 | 2, 8, 0xa0000), 1);           /* no RAM there */
	assert_int_equal(dma(8 | 2, 0xffffffff, 0x100000), 1); /* more than there is */
	assert_int_equal(dma(8 | 2, 16, ~0ULL - 7), 1);        /* wraps */
	assert_int_equal(dma(8 | 16, 4, 0x9000), 1);           /* write */
	bus_write(bus, 0x514, 4, 0xffffffff);
	bus_write(bus, 0x518, 4, 0xffffffff); /* the request itself is nowhere */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(signature_and_id),      cmocka_unit_test(items_by_port),
	        cmocka_unit_test(directory_lists_files), cmocka_unit_test(dma_reads_and_pads),
	        cmocka_unit_test(dma_refuses_nonsense),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
