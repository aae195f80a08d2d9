/* insula image: what instances are started from. */
#include "cli/place.h"
#include "cli/verbs.h"
#include "region/image.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char usage[] = "usage: insula image build micro|debian-12 [--data DIR]\n";

/* The recipes: in the tree that the program was built in, at some depth, or …/share/insula/images beside
 * …/bin. */
static int find_recipes(char buf[PATH_MAX], struct error *e)
{
	static const char *const places[] = {"../images/build", "../../images/build", "../../../images/build",
	                                     "../share/insula/images/build"};
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[n > 0 ? n : 0] = 0;
	if (strrchr(self, '/'))
		*strrchr(self, '/') = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		char path[2 * PATH_MAX];

		snprintf(path, sizeof(path), "%s/%s", self, places[i]);
		if (access(path, X_OK) == 0 && realpath(path, buf))
			return 0;
	}
	return error_set(e, 0, "the recipes (images/build) are not beside %s", self);
}

static int run(const char *const *argv, struct error *e)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return error_set(e, errno, "run %s", argv[0]);
	return status ? error_set(e, 0, "%s: failed", argv[0]) : 0;
}

/* Copies what was built to DATA/images/NAME: a region does not depend on a source tree. */
static int keep(const char *from, const char *to, struct error *e)
{
	const char *const copy[] = {"cp", "--reflink=auto", "--sparse=always", from, to, NULL};

	return access(from, R_OK) < 0 ? 0 : run(copy, e);
}

static int build(const char *data, const char *name, struct image_source *source, struct arena *a,
                 struct error *e)
{
	static const char *const files[] = {"vmlinuz", "initrd.img", "disk.raw"};
	char recipes[PATH_MAX], root[PATH_MAX];
	const char *folder, *paths[ARRAY_SIZE(files)];

	if (find_recipes(recipes, e) < 0)
		return -1;
	const char *const argv[] = {recipes, name, NULL};
	if (run(argv, e) < 0)
		return -1;
	snprintf(root, sizeof(root), "%s", recipes);
	*strrchr(root, '/') = 0; /* …/images */
	*strrchr(root, '/') = 0;
	folder = arena_printf(a, "%s/images", data);
	if (mkdir(folder, 0755) < 0 && errno != EEXIST)
		return error_set(e, errno, "create %s", folder);
	folder = arena_printf(a, "%s/images/%s", data, name);
	if (mkdir(folder, 0755) < 0 && errno != EEXIST)
		return error_set(e, errno, "create %s", folder);
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++) {
		const char *to = arena_printf(a, "%s/%s", folder, files[i]);

		if (keep(arena_printf(a, "%s/build/images/%s/%s", root, name, files[i]), to, e) < 0)
			return -1;
		paths[i] = access(to, R_OK) == 0 ? to : "";
	}
	/* Debian's kernel finds its root on NVMe without the initrd. */
	*source = (struct image_source){
	        .kernel = paths[0], .initrd = *paths[2] ? "" : paths[1], .disk = paths[2]};
	/* A locked-down kernel makes no files for tracing, which leaves 9 MiB more of 64. */
	source->cmdline = !strcmp(name, "micro")
	                          ? "root=/dev/nvme0n1 rw console=ttyS0 quiet lockdown=confidentiality"
	                          : "root=/dev/nvme0n1 rw console=ttyS0 quiet";
	return 0;
}

int image_main(int argc, char **argv)
{
	static const struct option longs[] = {
	        {"data", required_argument, 0, 'd'}, {"help", no_argument, 0, 'h'}, {0}};
	char place[PATH_MAX], absolute[PATH_MAX];
	const char *data = place_default(place, sizeof(place)), *id;
	struct image_source source;
	struct arena arena;
	struct fault fault;
	struct cloud c;
	struct error e;
	int option, status = 0;

	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (option == 'd')
			data = optarg;
		else if (option == 'h')
			return fputs(usage, stdout) < 0;
		else
			return 2;
	}
	if (argc - optind != 2 || strcmp(argv[optind], "build") ||
	    (strcmp(argv[optind + 1], "micro") && strcmp(argv[optind + 1], "debian-12"))) {
		fputs(usage, stderr);
		return 2;
	}
	if (cloud_open(&c, &(struct cloud_options){.data = data}, &e) < 0) {
		fprintf(stderr, "insula image: %s\n", e.text);
		return 1;
	}
	arena_init(&arena);
	if (!realpath(data, absolute) || build(absolute, argv[optind + 1], &source, &arena, &e) < 0) {
		status = 1;
	} else {
		struct request r = {.cloud = &c,
		                    .arena = &arena,
		                    .model = &model_ec2,
		                    .fault = &fault,
		                    .account = c.account,
		                    .region = "*",
		                    .now_ms = cloud_now_ms(),
		                    .id = "image"};

		database_begin(c.db);
		id = image_share(&r, argv[optind + 1], "made by insula image build", &source);
		if (database_commit(c.db, &e) < 0)
			status = 1;
		else
			printf("%s\n", id);
	}
	if (status)
		fprintf(stderr, "insula image: %s\n", e.text);
	arena_release(&arena);
	cloud_close(&c);
	return status;
}
