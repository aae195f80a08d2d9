#include "machine/smbios.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The first structure of a type, or NULL; walks as the specification says. */
static const u8 *find(const struct smbios *s, u8 type)
{
	const u8 *p = s->data, *end = s->data + s->size;

	while (p + 4 <= end) {
		if (p[0] == type)
			return p;
		assert_true(p[1] >= 4);
		p += p[1];
		while (p[0] || p[1])
			p++;
		p += 2;
	}
	return NULL;
}

static const char *string(const u8 *structure, unsigned n)
{
	const char *s = (const char *)structure + structure[1];

	while (--n)
		s += strlen(s) + 1;
	return s;
}

static void names_and_uuid(void **state)
{
	static const u8 uuid[16] = {0x33, 0x22, 0x11, 0xec, 0x55, 0x44, 0x77, 0x66,
	                            0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
	struct smbios_config c = {.product = "t3.micro",
	                          .uuid = "ec112233-4455-6677-8899-aabbccddeeff",
	                          .asset = "i-0123456789abcdef0",
	                          .memory = 512 * MiB,
	                          .cpus = 2};
	struct smbios s;
	struct error e;

	assert_int_equal(smbios_build(&s, &c, &e), 0);
	const u8 *system = find(&s, 1);
	assert_string_equal(string(system, system[4]), "Amazon EC2");
	assert_string_equal(string(system, system[5]), "t3.micro");
	assert_memory_equal(system + 8, uuid, 16);
	/* What cloud-init's ds-identify looks at: the serial number is the UUID. */
	assert_string_equal(string(system, system[7]), c.uuid);
	const u8 *baseboard = find(&s, 2);
	assert_string_equal(string(baseboard, baseboard[8]), "i-0123456789abcdef0");
	const u8 *bios = find(&s, 0);
	assert_string_equal(string(bios, bios[4]), "Amazon EC2");
	smbios_release(&s);
}

static void chain_ends_with_127(void **state)
{
	struct smbios_config c = {.memory = 6 * GiB, .cpus = 1};
	static const u8 types[] = {0, 1, 2, 3, 4, 16, 17, 19, 32};
	struct smbios s;
	struct error e;

	assert_int_equal(smbios_build(&s, &c, &e), 0);
	for (unsigned i = 0; i < sizeof(types); i++)
		assert_non_null(find(&s, types[i]));
	const u8 *end = find(&s, 127);
	assert_ptr_equal(end + 6, s.data + s.size);
	assert_int_equal(s.uuid[0], 0xec);
	assert_int_equal(s.uuid[1] >> 4, 2);
	assert_int_equal(find(&s, 1)[7], 0); /* a machine of nobody's cloud */
	const u8 *dimm = find(&s, 17);
	assert_int_equal(dimm[0xc] | dimm[0xd] << 8, 6144);
	smbios_release(&s);
}

static void anchor_sums_to_zero(void **state)
{
	struct smbios_config c = {.memory = 1 * GiB, .cpus = 64};
	struct smbios s;
	struct error e;
	u8 sum = 0;

	assert_int_equal(smbios_build(&s, &c, &e), 0);
	smbios_place(&s, 0xf0020);
	smbios_place(&s, 0xf0020); /* again at a reboot */
	for (unsigned i = 0; i < SMBIOS_ANCHOR_SIZE; i++)
		sum += s.anchor[i];
	assert_int_equal(sum, 0);
	assert_memory_equal(s.anchor, "_SM3_", 5);
	assert_int_equal(s.anchor[16] | s.anchor[17] << 8 | s.anchor[18] << 16, 0xf0020);
	smbios_release(&s);
}

static void bad_uuids_are_refused(void **state)
{
	static const char *const bad[] = {"",
	                                  "ec2",
	                                  "ec112233-4455-6677-8899-aabbccddeef",
	                                  "ec112233-4455-6677-8899-aabbccddeegg",
	                                  "ec112233-4455-6677-8899-aabbccddeeff00",
	                                  "ec11223-34455-6677-8899-aabbccddeeff"};
	struct smbios s;
	struct error e;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct smbios_config c = {.uuid = bad[i], .memory = GiB, .cpus = 1};
		assert_int_equal(smbios_build(&s, &c, &e), -1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(names_and_uuid),
	        cmocka_unit_test(chain_ends_with_127),
	        cmocka_unit_test(anchor_sums_to_zero),
	        cmocka_unit_test(bad_uuids_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
