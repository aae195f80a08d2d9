/*
 * insula completion bash: a completion script, made from the table of verbs. What instances there are is
 * asked of the region when it is needed; options are the words that `insula VERB --help` shows.
 */
#include "cli/verbs.h"

#include <stdio.h>
#include <string.h>

static const char script[] =
        "_insula()\n"
        "{\n"
        "\tlocal word=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} words=\n"
        "\tif [ \"$COMP_CWORD\" -eq 1 ]; then\n"
        "\t\twords=$_insula_verbs\n"
        "\telif [ \"${word#-}\" != \"$word\" ]; then\n"
        "\t\twords=$(\"$1\" \"$verb\" --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]*' | sort -u)\n"
        "\telse\n"
        "\t\tcase $verb in\n"
        "\t\tshow|log|console|ssh|start|stop|reboot|rm)\n"
        "\t\t\twords=$(\"$1\" ls 2>/dev/null | awk 'NR > 1 { print $1; if ($2 !~ /^(pending|running|stop)/) "
        "print $2 }') ;;\n"
        "\t\timage) words='build import ls micro debian-12' ;;\n"
        "\t\trun) words='micro debian-12' ;;\n"
        "\t\tcompletion) words=bash ;;\n"
        "\t\tesac\n"
        "\tfi\n"
        "\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
        "\tif [ ${#COMPREPLY[@]} -eq 0 ]; then mapfile -t COMPREPLY < <(compgen -f -- \"$word\"); fi\n"
        "}\n"
        "complete -o filenames -F _insula insula\n";

int completion_main(int argc, char **argv)
{
	const char *name;

	if (argc == 2 && !strcmp(argv[1], "--help"))
		return puts("usage: source <(insula completion bash)") < 0;
	if (argc != 2 || strcmp(argv[1], "bash")) {
		fputs("usage: source <(insula completion bash)\n", stderr);
		return 2;
	}
	fputs("_insula_verbs='", stdout);
	for (unsigned i = 0; (name = verb_name(i)); i++)
		printf("%s%s", i ? " " : "", name);
	printf("'\n%s", script);
	return fflush(stdout) ? 1 : 0;
}
