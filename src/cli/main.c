/* The `insula` command: a table of verbs, each of which is a program of its own. */
#include "base/types.h"
#include "cli/verbs.h"
#include "host/keeper.h"
#include "vmm/vmm.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct verb {
	const char *name, *summary;
	int (*main)(int argc, char **argv); /* argv[0] is the verb; returns the exit status */
};

static int version_main(int argc, char **argv);
static int help_main(int argc, char **argv);
static int machine_main(int argc, char **argv);

static const struct verb verbs[] = {
        {"up", "the region, in the background", up_main},
        {"down", "end the region; instances go on", down_main},
        {"run", "start an instance: run IMAGE", run_main},
        {"ls", "list instances", ls_main},
        {"show", "what there is to know of an instance", show_main},
        {"log", "what an instance said on its console", log_main},
        {"console", "an instance's console, both ways", console_main},
        {"start", "start a stopped instance", start_main},
        {"stop", "shut an instance down", stop_main},
        {"reboot", "reboot an instance", reboot_main},
        {"rm", "terminate an instance", rm_main},
        {"types", "list instance types", types_main},
        {"usage", "what ran for how long", usage_main},
        {"hosts", "what instances run on", hosts_main},
        {"doctor", "what this machine offers", doctor_main},
        {"serve", "the region: answer AWS's tools", serve_main},
        {"env", "print shell exports for AWS's tools", env_main},
        {"key", "make access keys", key_main},
        {"image", "make machine images", image_main},
        {"keep", "run one machine of a region (serve starts it)", keeper_main},
        {"vmm", "run one virtual machine", machine_main},
        {"completion", "completion for bash", completion_main},
        {"version", "print the version", version_main},
        {"help", "print this text", help_main},
};

const char *verb_name(unsigned i)
{
	return i < ARRAY_SIZE(verbs) ? verbs[i].name : NULL;
}

static int version_main(int argc, char **argv)
{
	return printf("insula %s\n", INSULA_VERSION) < 0 || fflush(stdout);
}

static void usage(FILE *to)
{
	fputs("usage: insula VERB [OPTION]...\n\n", to);
	for (unsigned i = 0; i < ARRAY_SIZE(verbs); i++)
		fprintf(to, "  %-10s %s\n", verbs[i].name, verbs[i].summary);
	fputs("\n`insula VERB --help` says more of one.\n", to);
}

static int help_main(int argc, char **argv)
{
	usage(stdout);
	return fflush(stdout) ? 1 : 0;
}

/* The program beside this one is the same but for the region and its libraries, which no machine should hold.
 */
static int machine_main(int argc, char **argv)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - sizeof("-vmm"));

	if (n > 0) {
		strcpy(path + n, "-vmm");
		execv(path, argv - 1);
	}
	return vmm_main(argc, argv);
}

/* --help and --version are what people try first. */
static const char *verb_of(const char *word)
{
	if (!strcmp(word, "--help") || !strcmp(word, "-h"))
		return "help";
	if (!strcmp(word, "--version") || !strcmp(word, "-V"))
		return "version";
	return word;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		usage(stderr);
		return 2;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(verbs); i++)
		if (!strcmp(verbs[i].name, verb_of(argv[1])))
			return verbs[i].main(argc - 1, argv + 1);
	fprintf(stderr, "insula: unknown verb '%s' (see 'insula help')\n", argv[1]);
	return 2;
}
