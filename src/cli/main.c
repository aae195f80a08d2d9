/* The `insula` command: a table of verbs, each of which is a program of its own. */
#include "base/types.h"
#include "cli/verbs.h"
#include "host/keeper.h"
#include "net/vpc.h"
#include "vmm/vmm.h"

#include <getopt.h>
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
static int run(int argc, char **argv);

static const struct verb verbs[] = {
        {"up", "the region, in the background", up_main},
        {"down", "end the region; instances go on", down_main},
        {"run", "start an instance: run IMAGE", run_main},
        {"ls", "list instances", ls_main},
        {"show", "what there is to know of an instance", show_main},
        {"log", "what an instance said on its console", log_main},
        {"console", "an instance's console, both ways", console_main},
        {"ssh", "a shell in an instance", ssh_main},
        {"net", "draw VPCs", net_main},
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
        {"vpc", "serve one VPC of a region (serve starts it)", vpc_main},
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
	if (argc == 2 && !strcmp(argv[1], "--json"))
		return printf("{\"version\": \"%s\"}\n", INSULA_VERSION) < 0 || fflush(stdout);
	if (argc > 1 && strcmp(argv[1], "--help")) {
		fputs("usage: insula version [--json]\n", stderr);
		return 2;
	}
	return printf("insula %s\n", INSULA_VERSION) < 0 || fflush(stdout);
}

static void usage(FILE *to)
{
	fputs("usage: insula VERB [OPTION]...\n\n", to);
	for (unsigned i = 0; i < ARRAY_SIZE(verbs); i++)
		fprintf(to, "  %-10s %s\n", verbs[i].name, verbs[i].summary);
	fputs("\n`insula VERB --help` says more of one.\n", to);
}

/* help VERB: what `insula VERB --help` says. */
static int help_main(int argc, char **argv)
{
	char *words[] = {argc > 1 ? argv[1] : NULL, "--help", NULL};

	if (argc > 1)
		return run(2, words);
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

/* Verbs that begin as a word that is none. */
static void unknown(const char *word)
{
	const char *before = "; did you mean";

	fprintf(stderr, "insula: unknown verb '%s' (see 'insula help'", word);
	for (unsigned i = 0; i < ARRAY_SIZE(verbs); i++) {
		size_t length = strlen(word) < 3 ? strlen(word) : 3;

		if (length && !strncmp(word, verbs[i].name, length)) {
			fprintf(stderr, "%s '%s'", before, verbs[i].name);
			before = " or";
		}
	}
	fputs(")\n", stderr);
}

static int run(int argc, char **argv)
{
	const char *name = verb_of(argv[0]);
	char label[64];
	int status;

	for (unsigned i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (strcmp(verbs[i].name, name))
			continue;
		if (verbs[i].main == machine_main) /* it is told its verb by its arguments */
			return machine_main(argc, argv);
		/* What getopt() says begins with it. */
		snprintf(label, sizeof(label), "insula %s", name);
		argv[0] = label;
		optind = 1;
		status = verbs[i].main(argc, argv);
		if (status == 2 && optind > 1 && optind <= argc && argv[optind - 1][0] == '-')
			fprintf(stderr, "`insula %s --help` says what there is\n", name);
		return status;
	}
	unknown(argv[0]);
	return 2;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		usage(stderr);
		return 2;
	}
	return run(argc - 1, argv + 1);
}
