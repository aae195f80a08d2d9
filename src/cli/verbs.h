/* The verbs of the `insula` command, one file each; argv[0] is the verb, the result is the exit status: 0, 1
 * for a failure, 2 for wrong usage. */
#pragma once

int serve_main(int argc, char **argv);
int env_main(int argc, char **argv);
int key_main(int argc, char **argv);
int image_main(int argc, char **argv);
int up_main(int argc, char **argv);
int down_main(int argc, char **argv);
int run_main(int argc, char **argv);
int ls_main(int argc, char **argv);
int show_main(int argc, char **argv);
int log_main(int argc, char **argv);
int ssh_main(int argc, char **argv);
int net_main(int argc, char **argv);
int console_main(int argc, char **argv);
int start_main(int argc, char **argv);
int stop_main(int argc, char **argv);
int reboot_main(int argc, char **argv);
int rm_main(int argc, char **argv);
int types_main(int argc, char **argv);
int hosts_main(int argc, char **argv);
int usage_main(int argc, char **argv);
int doctor_main(int argc, char **argv);
int completion_main(int argc, char **argv);

/* The name of verb i of the table; NULL behind the last. */
const char *verb_name(unsigned i);
