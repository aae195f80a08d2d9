/* A command line of `insula vmm`: words are separated by zero bytes, or newlines as the dictionary has them.
 */
#include "vmm/options.h"

#include <stdlib.h>
#include <string.h>

#define WORDS 64

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	char *text = malloc(size + 1), *words[WORDS + 2] = {(char *)"vmm"};
	struct vmm_config config;
	struct error e = {0};
	int count = 1;

	if (!text || vmm_config_init(&config, &e))
		abort();
	memcpy(text, data, size);
	text[size] = 0;
	for (size_t at = 0; at < size && count <= WORDS; at += strlen(text + at) + 1) {
		for (char *p = text + at; *p; p++)
			if (*p == '\n')
				*p = 0;
		words[count++] = text + at;
	}
	/* As in main(): behind the last word is a NULL. */
	switch (options_parse(&config, count, words, &e)) {
	case OPTIONS_RUN:
		if (config.cpus < 1 || config.cpus > 64 || !config.memory ||
		    (!config.kernel && !config.firmware && !config.api_socket))
			abort();
		free(vmm_config_cmdline(&config));
		break;
	case OPTIONS_HELP:
		break;
	case OPTIONS_ERROR:
		if (!e.text[0] || strlen(e.text) >= sizeof(e.text))
			abort();
		break;
	}
	vmm_config_release(&config);
	free(text);
	return 0;
}
