/* A public key that a client imports. */
#include "region/ssh_key.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct ssh_key key;
	struct arena arena;
	struct error e = {0};

	arena_init(&arena);
	if (ssh_key_import(&key, &arena, (const char *)data, size, &e) == 0) {
		if (!key.public_line || !key.fingerprint || key.secret)
			abort();
	} else if (!e.text[0]) {
		abort();
	}
	arena_release(&arena);
	return 0;
}
