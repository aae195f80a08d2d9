/*
 * An ELF or multiboot kernel of any content; the first byte says how the rest is used.
 *   0  as the file
 *   1  spoils a good 64-bit file: each four bytes are an offset (16 bits), a byte and its neighbour
 *   2  the same with a 32-bit multiboot file
 * What parses is loaded into a small machine's memory.
 */
#include "../unit/image_maker.h"

#include "machine/boot_multiboot.h"
#include "machine/boot_pvh.h"

static struct memory memory;

static void boot(const u8 *data, size_t size)
{
	static const struct multiboot_modules no_modules;
	struct boot_env env = {
	        .memory = &memory,
	        .e820 = {{0, 0x9fc00, 1}, {1 * MiB, 3 * MiB, 1}},
	        .e820_count = 2,
	        .kernel = "kernel",
	};
	struct vcpu_state state;
	struct elf_image elf;
	struct multiboot mb;
	struct error e;

	vcpu_state_reset(&state, true);
	if (!elf_parse(&elf, data, size, &e) && !pvh_check(&elf, &e))
		pvh_start(&elf, &env, NULL, "", &state, &e);
	if (multiboot_detect(data, size) && !multiboot_parse(&mb, data, size, &e))
		multiboot_start(&mb, &env, &no_modules, "", &state, &e);
}

static void spoil(struct image *i, const u8 *data, size_t size)
{
	for (; size >= 4; data += 4, size -= 4) {
		size_t offset = (size_t)(data[0] | data[1] << 8) % 0x240;

		i->data[offset] = data[2];
		i->data[offset + 1] = data[3];
	}
	boot(i->data, i->size);
	image_release(i);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct error e;
	struct image i;

	if (!memory.map && memory_init(&memory, 4 * MiB, &e))
		abort();
	if (!size)
		return 0;
	switch (*data % 3) {
	case 0:
		boot(data + 1, size - 1);
		break;
	case 1:
		i = image_elf64(0x100000, 0x100000, 0x100000, 0x80, 0x80, 0x100000);
		spoil(&i, data + 1, size - 1);
		break;
	default:
		i = image_elf32(0x100000, 0x100000, 0x100000, 0x80, 0x80);
		image_multiboot(&i, 0x200, 1 << 16, 0x100000, 0x100000, 0x100080, 0x100100, 0x100000);
		spoil(&i, data + 1, size - 1);
		break;
	}
	return 0;
}
