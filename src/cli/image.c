/* insula image: what instances are started from. */
#include "cli/client.h"
#include "cli/options.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "host/disk_image.h"
#include "host/firmware.h"
#include "region/image.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char usage[] =
        "usage: insula image build micro|debian-12 [--json] [--data DIR]\n"
        "       insula image import FILE [--name NAME] [--kernel FILE [--initrd FILE] [--cmdline STR]] "
        "[--data "
        "DIR]\n"
        "       insula image ls [--json] [--data DIR]\n"
        "\n"
        "FILE is a disk: raw, or qcow2, vmdk, vhd or vhdx, which qemu-img (package qemu-utils) converts.\n"
        "It boots as on a PC, by its own boot loader, or the kernel that is named here is started at once.\n";

struct image_options {
	const char *data, *name, *kernel, *initrd, *cmdline;
	bool json;
};

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

/* What it says of its progress is for people: standard output is for the image's id. */
static int run(const char *const *argv, struct error *e)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		dup2(2, 1);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return error_set(e, errno, "run %s", argv[0]);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return error_set(e, 0, "there is no %s", argv[0]);
	return status ? error_set(e, 0, "%s: failed", argv[0]) : 0;
}

/* DATA/images/NAME, made. */
static const char *folder_make(struct arena *a, const char *data, const char *name, struct error *e)
{
	const char *folder = arena_printf(a, "%s/images", data);

	if (mkdir(folder, 0755) < 0 && errno != EEXIST) {
		error_set(e, errno, "create %s", folder);
		return NULL;
	}
	folder = arena_printf(a, "%s/images/%s", data, name);
	if (mkdir(folder, 0755) < 0 && errno != EEXIST) {
		error_set(e, errno, "create %s", folder);
		return NULL;
	}
	return folder;
}

/* Copies what was built to DATA/images/NAME: a region does not depend on a source tree. */
static int keep(const char *from, const char *to, struct error *e)
{
	const char *const copy[] = {"cp", "--reflink=auto", "--sparse=always", from, to, NULL};

	return access(from, R_OK) < 0 ? 0 : run(copy, e);
}

/* Runs the recipe `name` of the images' folder, and keeps these files of it; what it does not make is "". */
static int make(const char *recipes, const char *name, const char *folder, const char *const *files,
                unsigned count, const char **paths, struct arena *a, struct error *e)
{
	const char *const argv[] = {recipes, name, NULL};
	char root[PATH_MAX];

	if (run(argv, e) < 0)
		return -1;
	snprintf(root, sizeof(root), "%s", recipes);
	*strrchr(root, '/') = 0; /* …/images */
	*strrchr(root, '/') = 0;
	for (unsigned i = 0; i < count; i++) {
		const char *to = arena_printf(a, "%s/%s", folder, files[i]);

		if (keep(arena_printf(a, "%s/build/images/%s/%s", root, name, files[i]), to, e) < 0)
			return -1;
		paths[i] = access(to, R_OK) == 0 ? to : "";
	}
	return 0;
}

static int build(const char *data, const char *name, struct image_source *source, struct arena *a,
                 struct error *e)
{
	static const char *const files[] = {"vmlinuz", "disk.raw"}, *const initrd = "initrd.img";
	char recipes[PATH_MAX], uuid[DISK_IMAGE_UUID];
	const char *folder, *paths[ARRAY_SIZE(files)];
	bool known;
	int fd;

	if (find_recipes(recipes, e) < 0)
		return -1;
	folder = folder_make(a, data, name, e);
	if (!folder || make(recipes, name, folder, files, ARRAY_SIZE(files), paths, a, e) < 0 ||
	    make(recipes, "find-root", folder, &initrd, 1, &source->initrd, a, e) < 0)
		return -1;
	source->kernel = paths[0];
	source->disk = paths[1];
	fd = open(source->disk, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set(e, errno, "open %s", source->disk);
	known = disk_image_uuid(fd, uuid);
	close(fd);
	if (!known)
		return error_set(e, 0, "%s: is no ext4 file system", source->disk);
	/* The root by what it is: which disk is nvme0n1 is chance when there are several. A locked-down
	 * kernel makes no files for tracing, which leaves 9 MiB more of 64. */
	source->cmdline = arena_printf(a, "root=UUID=%s rw console=ttyS0 quiet%s", uuid,
	                               strcmp(name, "micro") ? "" : " lockdown=confidentiality");
	return 0;
}

/* The disk in `file`, raw, as `to`. */
static int import_disk(const char *file, const char *to, bool *partitioned, bool *boots, struct error *e)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK), result = -1;
	struct disk_image image;

	if (fd < 0)
		return error_set(e, errno, "open %s", file);
	/* By its descriptor, so that what is converted is what was looked at. */
	char path[40];
	const char *const convert[] = {
	        "qemu-img", "convert", isatty(2) ? "-p" : "-q", "-f", NULL, "-O", "raw", path, to, NULL};
	const char *const copy[] = {"cp", "--reflink=auto", "--sparse=always", path, to, NULL};
	const char *words[ARRAY_SIZE(convert)];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
	if (disk_image_inspect(fd, &image, e) == 0) {
		memcpy(words, convert, sizeof(words));
		words[4] = image.format;
		result = run(strcmp(image.format, "raw") ? words : copy, e);
		if (result < 0 && access("/usr/bin/qemu-img", X_OK) < 0 && strcmp(image.format, "raw"))
			error_set(e, 0, "%s is what qemu-img converts: apt-get install qemu-utils",
			          image.format);
	}
	close(fd);
	if (result < 0)
		return error_prefix(e, "%s", file);
	fd = open(to, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set(e, errno, "open %s", to);
	*partitioned = disk_image_partitioned(fd);
	*boots = disk_image_boots(fd);
	close(fd);
	return 0;
}

/* -1: nothing would come of starting it. */
static int check_boots(const struct image_options *o, const char *file, bool boots, struct error *e)
{
	if (o->kernel)
		return 0;
	if (!boots)
		return error_set(
		        e, 0,
		        "%s: has no boot loader in its first sector (one for UEFI alone does not count): "
		        "name its kernel with --kernel, and what it needs with --initrd and --cmdline",
		        file);
	return firmware_find(NULL, e) ? 0 : -1;
}

static int import(const struct image_options *o, const char *data, const char *file, const char *name,
                  struct image_source *source, struct arena *a, struct error *e)
{
	const char *folder = folder_make(a, data, name, e), *kernel, *initrd;
	bool partitioned = false, boots = false;

	if (!folder)
		return -1;
	/* One that is there already is in use until the new one is whole. */
	source->disk = arena_printf(a, "%s/disk.raw", folder);
	const char *fresh = arena_printf(a, "%s/disk.new", folder);

	if (import_disk(file, fresh, &partitioned, &boots, e) < 0 || check_boots(o, file, boots, e) < 0) {
		unlink(fresh);
		return -1;
	}
	if (!o->kernel)
		return rename(fresh, source->disk) < 0 ? error_set(e, errno, "rename %s", fresh) : 0;
	kernel = arena_printf(a, "%s/vmlinuz", folder);
	initrd = arena_printf(a, "%s/initrd.img", folder);
	if (access(o->kernel, R_OK) < 0)
		return error_set(e, errno, "open %s", o->kernel);
	if (o->initrd && access(o->initrd, R_OK) < 0)
		return error_set(e, errno, "open %s", o->initrd);
	if (keep(o->kernel, kernel, e) < 0 || (o->initrd && keep(o->initrd, initrd, e) < 0))
		return -1;
	if (rename(fresh, source->disk) < 0)
		return error_set(e, errno, "rename %s", fresh);
	source->kernel = kernel;
	source->initrd = o->initrd ? initrd : "";
	source->cmdline =
	        o->cmdline ? o->cmdline
	                   : arena_printf(a, "root=/dev/nvme0n1%s rw console=ttyS0", partitioned ? "p1" : "");
	return 0;
}

/* The name of a file without its folder and its ending. */
static const char *name_of(struct arena *a, const char *file)
{
	const char *base = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
	const char *dot = strrchr(base, '.');

	return arena_printf(a, "%.*s", (int)(dot && dot != base ? (size_t)(dot - base) : strlen(base)), base);
}

static bool name_valid(const char *name)
{
	return *name && *name != '.' && strlen(name) <= 128 && !strchr(name, '/');
}

static int share(struct cloud *c, struct arena *arena, const char *name, const char *how,
                 const struct image_source *source, bool json, struct error *e)
{
	struct fault fault = {0};
	struct request r = {.cloud = c,
	                    .arena = arena,
	                    .model = &model_ec2,
	                    .fault = &fault,
	                    .account = c->account,
	                    .region = "*",
	                    .now_ms = cloud_now_ms(),
	                    .id = "image"};
	const char *id;

	database_begin(c->db);
	id = image_share(&r, name, how, source);
	if (database_commit(c->db, e) < 0)
		return -1;
	if (json)
		printf("{\"ImageId\": \"%s\"}\n", id);
	else
		printf("%s\n", id);
	return 0;
}

static int list(const char *data, bool json, struct error *e)
{
	static const char *const headings[] = {"ID", "NAME", "STATE", "SIZE", "CREATED", "DESCRIPTION"};
	json_t *answer, *image, *all;
	struct table table;
	struct client c;
	size_t i;

	if (client_open(&c, data, e) < 0)
		return -1;
	answer = client_call(&c, e, "DescribeImages", NULL);
	client_close(&c);
	if (!answer)
		return -1;
	all = json_object_get(answer, "Images");
	if (json) {
		client_print(all ? all : json_array());
	} else {
		table_begin(&table, headings, ARRAY_SIZE(headings));
		table.right = 1 << 3;
		json_array_foreach(all, i, image)
		{
			json_t *ebs = json_object_get(
			        json_array_get(json_object_get(image, "BlockDeviceMappings"), 0), "Ebs");

			table_cell(&table, "%s", client_text(image, "ImageId"));
			table_cell(&table, "%s", client_text(image, "Name"));
			table_cell(&table, "%s", client_text(image, "State"));
			table_cell(&table, "%lld GiB",
			           (long long)json_integer_value(json_object_get(ebs, "VolumeSize")));
			table_cell(&table, "%.10s", client_text(image, "CreationDate"));
			table_cell(&table, "%s", client_text(image, "Description"));
		}
		table_end(&table);
	}
	json_decref(answer);
	return 0;
}

int image_main(int argc, char **argv)
{
	struct image_options o = {0};
	const struct verb_option options[] = {{"data", &o.data, NULL},
	                                      {"name", &o.name, NULL},
	                                      {"kernel", &o.kernel, NULL},
	                                      {"initrd", &o.initrd, NULL},
	                                      {"cmdline", &o.cmdline, NULL},
	                                      {"json", NULL, &o.json},
	                                      {0}};
	int status = options_read(argc, argv, options, usage, 1, 2);
	const char *verb, *what, *name;
	struct image_source source = {"", "", "", ""};
	char absolute[PATH_MAX];
	struct arena arena;
	struct cloud c;
	struct error e;
	bool builds;

	if (status >= 0)
		return status;
	if (argc - optind == 1 && !strcmp(argv[optind], "ls")) {
		if (list(o.data, o.json, &e) == 0)
			return fflush(stdout) ? 1 : 0;
		return verb_failed("image", &e);
	}
	verb = argc - optind == 2 ? argv[optind] : "";
	what = argc - optind == 2 ? argv[optind + 1] : "";
	builds = !strcmp(verb, "build") && (!strcmp(what, "micro") || !strcmp(what, "debian-12"));
	if (!builds && strcmp(verb, "import")) {
		fputs(usage, stderr);
		return 2;
	}
	if (!builds && !o.kernel && (o.initrd || o.cmdline)) {
		fprintf(stderr, "insula image: %s goes with --kernel: a boot loader has its own\n",
		        o.initrd ? "--initrd" : "--cmdline");
		return 2;
	}
	arena_init(&arena);
	name = builds ? what : o.name ? o.name : name_of(&arena, what);
	if (!name_valid(name)) {
		fprintf(stderr, "insula image: '%s' is no name for an image: say one with --name\n", name);
		arena_release(&arena);
		return 2;
	}
	status = cloud_open(&c, &(struct cloud_options){.data = o.data}, &e);
	if (status == 0) {
		if (!realpath(o.data, absolute))
			status = error_set(&e, errno, "open %s", o.data);
		else if (builds)
			status = build(absolute, what, &source, &arena, &e);
		else
			status = import(&o, absolute, what, name, &source, &arena, &e);
		if (status == 0)
			status = share(&c, &arena, name,
			               builds ? "made by insula image build" : "made by insula image import",
			               &source, o.json, &e);
		cloud_close(&c);
	}
	if (status)
		fprintf(stderr, "insula image: %s\n", e.text);
	arena_release(&arena);
	return status ? 1 : 0;
}
