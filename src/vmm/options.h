/*
 * The command line of `insula vmm`. Its options are fixed: docs/insula-vmm.1 says what each one means. A
 * value follows its option as the next word or behind "="; of an option given twice the last one counts, but
 * for --disk and --net, which add up.
 */
#pragma once

#include "vmm/config.h"

enum options_result {
	OPTIONS_RUN,
	OPTIONS_HELP,  /* --help was among them */
	OPTIONS_ERROR, /* e says which word is wrong */
};

/* argv[0] is the verb. Fills a configuration that vmm_config_init() made. */
enum options_result options_parse(struct vmm_config *c, int argc, char **argv, struct error *e);

/* The text of --help. */
const char *options_help(void);
