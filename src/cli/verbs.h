/* The verbs of the `insula` command, one file each; argv[0] is the verb, the result is the exit status: 0, 1
 * for a failure, 2 for wrong usage. */
#pragma once

int serve_main(int argc, char **argv);
int env_main(int argc, char **argv);
int key_main(int argc, char **argv);
int image_main(int argc, char **argv);
