/*
 * A bzImage of any content: the first byte says how the rest is used.
 *   0  the file itself
 *   1  a compressed payload in a good file
 *   2  a vmlinux, which is packed (LZ4, stored) into a good file
 * What parses is loaded into a small machine's memory.
 */
#include "../unit/image_maker.h"

#include "machine/boot_bzimage.h"

static struct memory memory;

static void boot(const u8 *data, size_t size)
{
	struct boot_env env = {
	        .memory = &memory,
	        .e820 = {{0, 0x9fc00, 1}, {1 * MiB, 31 * MiB, 1}},
	        .e820_count = 2,
	        .kernel = "kernel",
	};
	struct vcpu_state state;
	struct bzimage b;
	struct error e;

	vcpu_state_reset(&state, true);
	if (!bzimage_parse(&b, data, size, &e)) {
		bzimage_start(&b, &env, NULL, "console=ttyS0", &state, &e);
		memory_zero(&memory);
	}
}

/* An LZ4 block of literals only, as format says: a token, the length in bytes of 255, the bytes. */
static struct image store(const u8 *data, size_t size)
{
	struct image i = {malloc(size + size / 255 + 32), 8};

	i.data[i.size++] = 0xf0;
	if (size < 15) {
		i.data[i.size - 1] = (u8)(size << 4);
	} else {
		size_t left = size - 15;

		for (; left >= 255; left -= 255)
			i.data[i.size++] = 255;
		i.data[i.size++] = (u8)left;
	}
	image_put(&i, i.size, data, size);
	i.size += size;
	image_put32(&i, 0, 0x184c2102);
	image_put32(&i, 4, (u32)(i.size - 8));
	image_put32(&i, i.size, (u32)size);
	i.size += 4;
	return i;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct error e;

	if (!memory.map && memory_init(&memory, 32 * MiB, &e))
		abort();
	if (!size)
		return 0;
	u8 way = *data++ % 3;

	size--;
	if (way == 0) {
		if (bzimage_detect(data, size))
			boot(data, size);
	} else if (way == 1) {
		struct image file = image_bzimage(data, size);

		boot(file.data, file.size);
		image_release(&file);
	} else {
		struct image payload = store(data, size), file = image_bzimage(payload.data, payload.size);

		boot(file.data, file.size);
		image_release(&file);
		image_release(&payload);
	}
	return 0;
}
