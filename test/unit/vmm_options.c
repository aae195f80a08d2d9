#include "vmm/options.h"

#include "machine/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAX_WORDS 80

/* Words are separated by '|'. */
static enum options_result parse(struct vmm_config *c, const char *line, struct error *e)
{
	static char words[4096];
	char *argv[MAX_WORDS + 1] = {(char *)"vmm"};
	int argc = 1;

	snprintf(words, sizeof(words), "%s", line);
	for (char *p = words; *line && p; argc++) {
		argv[argc] = strsep(&p, "|");
		assert_true(argc < MAX_WORDS);
	}
	assert_int_equal(vmm_config_init(c, e), 0);
	e->text[0] = 0;
	return options_parse(c, argc, argv, e);
}

static void defaults(void **state)
{
	struct vmm_config c;
	struct error e;

	assert_int_equal(parse(&c, "--kernel|k", &e), OPTIONS_RUN);
	assert_string_equal(c.kernel, "k");
	assert_null(c.initrd);
	assert_null(c.cmdline);
	assert_int_equal(c.memory, 512 * MiB);
	assert_int_equal(c.cpus, 1);
	assert_string_equal(c.serial, "stdio");
	assert_int_equal(c.accel, VMM_ACCEL_AUTO);
	assert_int_equal(c.disk_count + c.net_count, 0);
	assert_false(c.debug_exit || c.no_reboot || c.verbose || c.soft_check || c.soft_interpret);
	assert_null(c.api_socket);
	vmm_config_release(&c);
}

static void every_option(void **state)
{
	struct vmm_config c;
	struct error e;

	assert_int_equal(
	        parse(&c,
	              "--kernel|k|--initrd|i|--cmdline|root=/dev/x --help|--memory|2G|--cpus|64|"
	              "--disk|path=a,,b,readonly,id=vol-1,type=virtio|--disk=path=c=d|"
	              "--net|tap=t0,mac=02:00:5E:00:00:0f|--net|tap=t1|--accel|soft|--serial|file:log|"
	              "--api|sock|--debug-exit|--no-reboot|--verbose|--soft-check|--soft-engine|interpret",
	              &e),
	        OPTIONS_RUN);
	assert_string_equal(c.cmdline, "root=/dev/x --help");
	assert_int_equal(c.memory, 2 * GiB);
	assert_int_equal(c.cpus, 64);
	assert_int_equal(c.disk_count, 2);
	assert_string_equal(c.disk[0].path, "a,b");
	assert_string_equal(c.disk[0].id, "vol-1");
	assert_true(c.disk[0].readonly);
	assert_int_equal(c.disk[0].type, VMM_DISK_VIRTIO);
	assert_string_equal(c.disk[1].path, "c=d");
	assert_false(c.disk[1].readonly);
	assert_int_equal(c.disk[1].type, VMM_DISK_NVME);
	assert_int_equal(c.net_count, 2);
	assert_string_equal(c.net[0].tap, "t0");
	assert_memory_equal(c.net[0].mac, "\x02\x00\x5e\x00\x00\x0f", 6);
	assert_false(c.net[1].has_mac);
	assert_int_equal(c.accel, VMM_ACCEL_SOFT);
	assert_string_equal(c.serial, "file:log");
	assert_string_equal(c.api_socket, "sock");
	assert_true(c.debug_exit && c.no_reboot && c.verbose && c.soft_check && c.soft_interpret);
	vmm_config_release(&c);
}

static void the_last_one_counts(void **state)
{
	struct vmm_config c;
	struct error e;

	assert_int_equal(parse(&c, "--kernel|a|--kernel=b|--memory|1G|--memory=64M|--cmdline=a=b", &e),
	                 OPTIONS_RUN);
	assert_string_equal(c.kernel, "b");
	assert_int_equal(c.memory, 64 * MiB);
	assert_string_equal(c.cmdline, "a=b");
	vmm_config_release(&c);
}

static void good_sizes(void **state)
{
	static const struct {
		const char *text;
		u64 bytes;
	} sizes[] = {
	        {"512M", 512 * MiB},   {"2G", 2 * GiB},     {"512m", 512 * MiB},
	        {"1g", GiB},           {"128", 128 * MiB},  {"2M", 2 * MiB},
	        {"2052K", 2052 * KiB}, {"512G", 512 * GiB}, {"0512M", 512 * MiB},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct error e;
		u64 bytes = 0;

		assert_int_equal(vmm_parse_memory(sizes[i].text, &bytes, &e), 0);
		assert_int_equal(bytes, sizes[i].bytes);
	}
}

static void bad_input_names_what_is_wrong(void **state)
{
	static const struct {
		const char *line, *says;
	} cases[] = {
	        {"", "nothing to boot"},
	        {"--memory|1G", "nothing to boot"},
	        {"--kernel", "--kernel needs a value"},
	        {"--kernel=", "--kernel : an empty file name"},
	        {"--kernel|", "--kernel : an empty file name"},
	        {"--kernal|k", "unknown option '--kernal'"},
	        {"--kernal=k", "unknown option '--kernal'"},
	        {"-k|k", "unknown option '-k'"},
	        {"-|k", "unknown option '-'"},
	        {"--kernel|k|extra", "unknown word 'extra'"},
	        {"--kernel|k|extra=1", "unknown word 'extra=1'"},
	        {"--kernel|k|", "unknown word ''"},
	        {"--kernel|k|--verbose=1", "--verbose takes no value"},
	        {"--kernel|k|--memory|", "--memory : not a size"},
	        {"--kernel|k|--memory|abc", "--memory abc: not a size"},
	        {"--kernel|k|--memory|512X", "not a size"},
	        {"--kernel|k|--memory|512MB", "not a size"},
	        {"--kernel|k|--memory|-1", "not a size"},
	        {"--kernel|k|--memory|+1", "not a size"},
	        {"--kernel|k|--memory| 1G", "not a size"},
	        {"--kernel|k|--memory|1.5G", "not a size"},
	        {"--kernel|k|--memory|M", "not a size"},
	        {"--kernel|k|--memory|0", "too little memory"},
	        {"--kernel|k|--memory|1M", "--memory 1M: too little memory: at least 2 MiB"},
	        {"--kernel|k|--memory|2049K", "multiple of 4 KiB"},
	        {"--kernel|k|--memory|1T", "too much memory"},
	        {"--kernel|k|--memory|18446744073709551615T", "too much memory"},
	        {"--kernel|k|--memory|17592186044416M", "too much memory"},
	        {"--kernel|k|--memory|99999999999999999999", "not a size"},
	        {"--kernel|k|--cpus|0", "--cpus 0: not a number of CPUs from 1 to 64"},
	        {"--kernel|k|--cpus|65", "--cpus 65: not a number"},
	        {"--kernel|k|--cpus|-1", "not a number"},
	        {"--kernel|k|--cpus|two", "not a number"},
	        {"--kernel|k|--cpus|2x", "not a number"},
	        {"--kernel|k|--cpus|", "not a number"},
	        {"--kernel|k|--cpus|4294967297", "not a number"},
	        {"--kernel|k|--disk|", "--disk : empty"},
	        {"--kernel|k|--disk|a.img", "unknown key 'a.img'"},
	        {"--kernel|k|--disk|path", "'path' needs a value"},
	        {"--kernel|k|--disk|path=", "an empty file name"},
	        {"--kernel|k|--disk|readonly", "path=FILE is missing"},
	        {"--kernel|k|--disk|path=a,readonly=yes", "'readonly' takes no value"},
	        {"--kernel|k|--disk|path=a,type=ide", "type=ide: not one of nvme, virtio"},
	        {"--kernel|k|--disk|path=a,id=", "1 to 20 characters"},
	        {"--kernel|k|--disk|path=a,id=123456789012345678901", "1 to 20 characters"},
	        {"--kernel|k|--disk|path=a,id=a b", "printable"},
	        {"--kernel|k|--disk|path=a,id=x|--disk|path=b,id=x", "another disk has this id"},
	        {"--kernel|k|--disk|path=a,size=3", "unknown key 'size'"},
	        {"--kernel|k|--net|", "--net : empty"},
	        {"--kernel|k|--net|tap0", "unknown key 'tap0'"},
	        {"--kernel|k|--net|mac=02:00:00:00:00:01", "tap=IFNAME or stream=SOCKET is missing"},
	        {"--kernel|k|--net|tap=t,stream=s", "or both are there"},
	        {"--kernel|k|--net|stream=", "an empty file name"},
	        {"--kernel|k|--net|tap=t,id=a b", "an id has 1 to 64"},
	        {"--kernel|k|--net|tap=t,id=x|--net|tap=u,id=x", "another network has this name"},
	        {"--kernel|k|--net|tap=t,rx-rate=0", "no rate"},
	        {"--kernel|k|--net|tap=t,tx-rate=5T", "not a rate"},
	        {"--kernel|k|--net|tap=t,tx-rate=99999999999999999G", "no rate"},
	        {"--kernel|k|--smbios|uuid=ec2", "not a UUID"},
	        {"--kernel|k|--smbios|product=", "1 to 64 characters"},
	        {"--kernel|k|--net|tap=", "not the name of a network interface"},
	        {"--kernel|k|--net|tap=a/b", "not the name of a network interface"},
	        {"--kernel|k|--net|tap=1234567890123456", "not the name of a network interface"},
	        {"--kernel|k|--net|tap=t,mac=02:00:00:00:00", "not a MAC address"},
	        {"--kernel|k|--net|tap=t,mac=02:00:00:00:00:0g", "not a MAC address"},
	        {"--kernel|k|--net|tap=t,mac=02-00-00-00-00-01", "not a MAC address"},
	        {"--kernel|k|--net|tap=t,mac=01:00:00:00:00:01", "of one machine"},
	        {"--kernel|k|--net|tap=t,mac=00:00:00:00:00:00", "of one machine"},
	        {"--kernel|k|--accel|hvf", "--accel hvf: not one of auto, kvm, soft"},
	        {"--kernel|k|--soft-engine|fast", "--soft-engine fast: not one of translate, interpret"},
	        {"--kernel|k|--serial|tty", "--serial tty: not one of"},
	        {"--kernel|k|--serial|file:", "an empty file name"},
	        {"--kernel|k|--serial|unix:", "an empty file name"},
	        {"--kernel|k|--api=", "an empty file name"},
	        {"--kernel|k|--firmware|f", "--firmware and --kernel together are not supported"},
	        {"--firmware|f|--initrd|i", "--initrd goes with --kernel"},
	        {"--firmware|f|--cmdline|i", "--cmdline goes with --kernel"},
	        {"--api|s|--initrd|i", "--initrd without --kernel"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vmm_config c;
		struct error e;

		if (parse(&c, cases[i].line, &e) != OPTIONS_ERROR)
			fail_msg("'%s' is taken", cases[i].line);
		if (!strstr(e.text, cases[i].says))
			fail_msg("'%s' gives '%s', not '%s'", cases[i].line, e.text, cases[i].says);
		vmm_config_release(&c);
	}
}

static void too_many(void **state)
{
	static const struct {
		const char *word, *says;
		unsigned most;
	} kinds[] = {{"|--disk|path=a", "more than 24 disks", VMM_MAX_DISKS},
	             {"|--net|tap=a", "more than 6", VMM_MAX_NETS}};

	for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
		char line[1024] = "--kernel|k";
		struct vmm_config c;
		struct error e;

		for (unsigned i = 0; i < kinds[k].most; i++)
			strcat(line, kinds[k].word);
		assert_int_equal(parse(&c, line, &e), OPTIONS_RUN);
		vmm_config_release(&c);
		strcat(line, kinds[k].word);
		assert_int_equal(parse(&c, line, &e), OPTIONS_ERROR);
		assert_non_null(strstr(e.text, kinds[k].says));
		vmm_config_release(&c);
	}
}

static void help_wins(void **state)
{
	struct vmm_config c;
	struct error e;

	assert_int_equal(parse(&c, "--help", &e), OPTIONS_HELP);
	vmm_config_release(&c);
	assert_int_equal(parse(&c, "--kernel|k|-h|nonsense", &e), OPTIONS_HELP);
	vmm_config_release(&c);
	assert_non_null(strstr(options_help(), "--kernel FILE"));
}

static void an_api_needs_no_kernel(void **state)
{
	struct vmm_config c;
	struct error e;

	assert_int_equal(parse(&c, "--api|s|--memory|1G", &e), OPTIONS_RUN);
	vmm_config_release(&c);
	assert_int_equal(parse(&c, "--firmware|rom", &e), OPTIONS_RUN);
	vmm_config_release(&c);
}

static void a_made_up_mac_is_stable_and_unicast(void **state)
{
	struct vmm_net a = {.tap = (char *)"tap0"}, b = {.tap = (char *)"tap1"};
	u8 first[6], again[6], other[6];

	vmm_net_mac(&a, first);
	vmm_net_mac(&a, again);
	vmm_net_mac(&b, other);
	assert_memory_equal(first, again, 6);
	assert_memory_not_equal(first, other, 6);
	assert_int_equal(first[0] & 3, 2);
}

static void root_drive_goes_into_the_command_line(void **state)
{
	static const struct {
		const char *cmdline;
		bool root, readonly;
		const char *partuuid, *gives;
	} cases[] = {
	        {"console=ttyS0", true, false, NULL, "console=ttyS0 root=/dev/nvme0n1 rw"},
	        {"pci=off console=ttyS0  pci=off", true, true, NULL, "console=ttyS0   root=/dev/nvme0n1 ro"},
	        {"x pci=offline", true, false, "1234-01", "x pci=offline root=PARTUUID=1234-01 rw"},
	        {"root=/dev/sda x", true, false, NULL, "root=/dev/sda x"},
	        {"x noroot=1", true, false, NULL, "x noroot=1 root=/dev/nvme0n1 rw"},
	        {"pci=off", false, false, NULL, "pci=off"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vmm_config c = {
		        .cmdline = (char *)cases[i].cmdline,
		        .disk_count = 1,
		        .disk[0] = {.root = cases[i].root,
		                    .readonly = cases[i].readonly,
		                    .partuuid = (char *)cases[i].partuuid},
		};
		char *line = vmm_config_cmdline(&c);

		assert_string_equal(line, cases[i].gives);
		free(line);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(defaults),
	        cmocka_unit_test(every_option),
	        cmocka_unit_test(the_last_one_counts),
	        cmocka_unit_test(good_sizes),
	        cmocka_unit_test(bad_input_names_what_is_wrong),
	        cmocka_unit_test(too_many),
	        cmocka_unit_test(help_wins),
	        cmocka_unit_test(an_api_needs_no_kernel),
	        cmocka_unit_test(a_made_up_mac_is_stable_and_unicast),
	        cmocka_unit_test(root_drive_goes_into_the_command_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
