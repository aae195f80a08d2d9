#include "region/boot.h"
#include "region/link.h"

#include <string.h>

/* A property of one text: kernel, initrd and command line, each on a line. */
void boot_set(struct request *r, const char *id, const struct image_source *source)
{
	if (*source->kernel)
		property_set(r, id, "boot",
		             arena_printf(r->arena, "%s\n%s\n%s", source->kernel, source->initrd,
		                          source->cmdline));
}

bool boot_get(struct request *r, const char *id, struct image_source *source)
{
	const char *text = property_get(r, id, "boot");
	char *copy, *initrd, *cmdline;

	if (!text)
		return false;
	copy = arena_strdup(r->arena, text);
	initrd = strchr(copy, '\n');
	cmdline = initrd ? strchr(initrd + 1, '\n') : NULL;
	if (!cmdline)
		return false;
	*initrd++ = 0;
	*cmdline++ = 0;
	*source = (struct image_source){.kernel = copy, .initrd = initrd, .disk = "", .cmdline = cmdline};
	return true;
}

void boot_copy(struct request *r, const char *from, const char *to)
{
	property_set(r, to, "boot", property_get(r, from, "boot"));
}
