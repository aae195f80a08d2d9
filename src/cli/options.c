#include "cli/options.h"
#include "base/error.h"
#include "cli/place.h"

#include <assert.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

enum { OPTIONS_MAX = 16, HELP = 1000 };

int options_read(int argc, char **argv, const struct verb_option *options, const char *usage, int least,
                 int most)
{
	struct option longs[OPTIONS_MAX + 2] = {{"help", no_argument, 0, HELP}};
	static char place[4096];
	int which;

	for (int i = 0; options[i].name; i++) {
		assert(i < OPTIONS_MAX);
		longs[i + 1] = (struct option){options[i].name,
		                               options[i].text ? required_argument : no_argument, NULL, i};
		if (!strcmp(options[i].name, "data") && !*options[i].text)
			*options[i].text = place_default(place, sizeof(place));
	}
	while ((which = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (which == 'h' || which == HELP)
			return fputs(usage, stdout) < 0 || fflush(stdout);
		if (which == '?')
			return 2;
		if (options[which].text)
			*options[which].text = optarg;
		else
			*options[which].flag = true;
	}
	if (argc - optind < least || argc - optind > most) {
		fputs(usage, stderr);
		return 2;
	}
	return -1;
}

int verb_failed(const char *verb, const struct error *e)
{
	fprintf(stderr, "insula %s: %s\n", verb, e->text);
	return 1;
}
