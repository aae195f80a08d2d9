#include "host/firmware.h"
#include "base/types.h"

#include <errno.h>
#include <stddef.h>
#include <unistd.h>

const char *firmware_find(const char *given, struct error *e)
{
	static const char *const places[] = {
	        "/usr/share/seabios/bios-256k.bin", /* Debian, Fedora */
	        "/usr/share/qemu/bios-256k.bin",    /* SUSE, and QEMU's own */
	};

	if (given && access(given, R_OK) == 0)
		return given;
	if (given) {
		error_set(e, errno, "firmware %s", given);
		return NULL;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++)
		if (access(places[i], R_OK) == 0)
			return places[i];
	error_set(e, 0, "there is no firmware to boot a disk by: apt-get install seabios");
	return NULL;
}
