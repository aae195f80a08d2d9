#include "machine/boot_pvh.h"

#include <string.h>

#define START_INFO_MAGIC 0x336ec578u

struct hvm_start_info {
	u32 magic, version, flags, module_count;
	u64 modules, cmdline, rsdp;
	u64 memory_map;
	u32 memory_map_entries, reserved;
};

struct hvm_module {
	u64 paddr, size, cmdline, reserved;
};

struct hvm_memory_map_entry {
	u64 addr, size;
	u32 type, reserved;
};

_Static_assert(sizeof(struct hvm_start_info) == 56 && sizeof(struct hvm_module) == 32 &&
                       sizeof(struct hvm_memory_map_entry) == 24,
               "the layout that guests expect");
_Static_assert(BOOT_MEMORY_MAP + BOOT_MAX_E820 * sizeof(struct hvm_memory_map_entry) <= BOOT_ZERO_PAGE,
               "the memory map has its page to itself");

enum { PVH_CS = 0x08, PVH_DS = 0x10, PVH_TSS = 0x18 };

int pvh_check(const struct elf_image *image, struct error *e)
{
	if (!image->has_pvh)
		return error_set(e, 0, "an ELF file with neither a PVH entry nor a multiboot header");
	if (image->low < BOOT_LOW_END)
		return error_set(e, 0, "loads at 0x%llx, where boot data lie",
		                 (unsigned long long)image->low);
	return 0;
}

int pvh_start(const struct elf_image *image, const struct boot_env *env, const struct boot_file *initrd,
              const char *cmdline, struct vcpu_state *state, struct error *e)
{
	const u64 gdt[] = {0, boot_descriptor(0, ~0u, BOOT_CODE32), boot_descriptor(0, ~0u, BOOT_DATA32),
	                   boot_descriptor(0, 0x67, 0xb | SEG_ATTR_P)};
	struct hvm_start_info info = {
	        .magic = START_INFO_MAGIC,
	        .version = 1,
	        .cmdline = BOOT_CMDLINE,
	        .rsdp = env->rsdp,
	        .memory_map = BOOT_MEMORY_MAP,
	        .memory_map_entries = env->e820_count,
	};
	struct hvm_module module = {0};
	struct hvm_memory_map_entry map[BOOT_MAX_E820] = {0};

	if (boot_fits(env, image->low, image->high, e))
		return -1;
	if (elf_load(image, env->memory, e))
		return error_prefix(e, "%s", env->kernel);
	if (initrd) {
		module.size = initrd->size;
		module.paddr =
		        boot_place_beside(env, initrd->size, image->low, image->high, MEMORY_HOLE_START);
		if (!module.paddr)
			return error_set(
			        e, 0, "%s: an initrd of %llu bytes does not fit in memory beside the kernel",
			        initrd->path, (unsigned long long)initrd->size);
		if (boot_file_load(initrd, env->memory, module.paddr, e))
			return -1;
		info.module_count = 1;
		info.modules = BOOT_MODULES;
	}
	for (unsigned i = 0; i < env->e820_count; i++)
		map[i] = (struct hvm_memory_map_entry){env->e820[i].addr, env->e820[i].size,
		                                       env->e820[i].type, 0};
	if (memory_write(env->memory, BOOT_CMDLINE, cmdline, strlen(cmdline) + 1) ||
	    memory_write(env->memory, BOOT_MODULES, &module, sizeof(module)) ||
	    memory_write(env->memory, BOOT_MEMORY_MAP, map, sizeof(map)) ||
	    memory_write(env->memory, BOOT_START_INFO, &info, sizeof(info)))
		return error_set(e, 0, "%s: no memory for boot data", env->kernel);

	boot_mode32(state);
	if (boot_segments(env, state, BOOT_GDT, gdt, ARRAY_SIZE(gdt), PVH_CS, PVH_DS))
		return error_set(e, 0, "%s: no memory for boot data", env->kernel);
	state->tr = (struct vcpu_segment){.selector = PVH_TSS, .limit = 0x67, .attr = 0xb | SEG_ATTR_P};
	state->regs[REG_RBX] = BOOT_START_INFO;
	state->rip = image->pvh_entry;
	return 0;
}
