#include "net/state.h"
#include "net/namespace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER "/run/insula/net"

enum { PATH = 512 };

static int make_folder(const char *path, struct error *e)
{
	return mkdir(path, 0700) < 0 && errno != EEXIST ? error_set(e, errno, "%s", path) : 0;
}

int state_lock(struct error *e)
{
	int fd;

	if (mkdir("/run/insula", 0755) < 0 && errno != EEXIST)
		return error_set(e, errno, "/run/insula");
	if (make_folder(FOLDER, e) < 0)
		return -1;
	fd = open(FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_set(e, errno, FOLDER);
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR) {
			error_set(e, errno, FOLDER);
			close(fd);
			return -1;
		}
	return fd;
}

char *state_read(const char *vpc, const char *name, struct arena *a)
{
	char path[PATH], *text = NULL;
	struct stat s;
	int fd;

	snprintf(path, sizeof(path), FOLDER "/%s/%s", vpc, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	if (fstat(fd, &s) == 0) {
		text = arena_alloc(a, (size_t)s.st_size + 1);
		if (read(fd, text, (size_t)s.st_size) != s.st_size)
			text = NULL;
	}
	close(fd);
	return text;
}

static void paths(char path[PATH], char temporary[PATH + 8], const char *vpc, const char *name)
{
	snprintf(path, PATH, FOLDER "/%s/%s", vpc, name);
	snprintf(temporary, PATH + 8, "%s.new", path);
}

int state_prepare(const char *vpc, const char *name, const char *text, struct error *e)
{
	size_t length = strlen(text);
	char path[PATH], temporary[PATH + 8];
	bool good;
	int fd;

	paths(path, temporary, vpc, name);
	/* Over what was there before the last one: pages of a memory file system are dear to get. */
	fd = open(temporary, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set(e, errno, "%s", temporary);
	good = write(fd, text, length) == (ssize_t)length && ftruncate(fd, (off_t)length) == 0;
	if (!good)
		error_set(e, errno, "%s", temporary);
	close(fd);
	return good ? 0 : -1;
}

int state_commit(const char *vpc, const char *name, const char *head, struct error *e)
{
	size_t length = strlen(head);
	char path[PATH], temporary[PATH + 8];
	bool good = true;
	int fd;

	paths(path, temporary, vpc, name);
	if (length) {
		fd = open(temporary, O_WRONLY | O_CLOEXEC);
		good = fd >= 0 && pwrite(fd, head, length, 0) == (ssize_t)length;
		if (fd >= 0)
			close(fd);
	}
	if (good && (renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_EXCHANGE) == 0 ||
	             rename(temporary, path) == 0))
		return 0;
	return error_set(e, errno, "%s", path);
}

int state_write(const char *vpc, const char *name, const char *text, struct error *e)
{
	return state_prepare(vpc, name, text, e) < 0 ? -1 : state_commit(vpc, name, "", e);
}

void state_drop(const char *vpc, const char *name)
{
	char path[PATH];

	snprintf(path, sizeof(path), FOLDER "/%s/%s", vpc, name);
	unlink(path);
}

/* Two lines: the owner, and the host's network namespace. */
static int identity(const char *owner, char *text, size_t size, struct error *e)
{
	u64 host = namespace_cookie();

	if (!host)
		return error_set(e, errno, "the cookie of the network namespace");
	snprintf(text, size, "%s\n%llu\n", owner, (unsigned long long)host);
	return 0;
}

int state_claim(const char *vpc, const char *owner, struct error *e)
{
	char path[PATH], text[PATH + 32], *there;
	struct arena a;
	int status = 0;

	snprintf(path, sizeof(path), FOLDER "/%s", vpc);
	if (identity(owner, text, sizeof(text), e) < 0 || make_folder(path, e) < 0)
		return -1;
	arena_init(&a);
	there = state_read(vpc, "owner", &a);
	if (!there)
		status = state_write(vpc, "owner", text, e);
	else if (strcmp(there, text))
		status = error_set(e, 0, "%s: it belongs to %.*s", vpc, (int)strcspn(there, "\n"), there);
	arena_release(&a);
	return status;
}

int state_remove(const char *vpc, struct error *e)
{
	/* The owner is known as long as anything is there. */
	static const char *const names[] = {"rules", "host", "rules.new", "host.new", "owner.new", "owner"};
	char path[PATH];

	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), FOLDER "/%s/%s", vpc, names[i]);
		if (unlink(path) < 0 && errno != ENOENT && errno != ENOTDIR)
			return error_set(e, errno, "%s", path);
	}
	snprintf(path, sizeof(path), FOLDER "/%s", vpc);
	return rmdir(path) < 0 && errno != ENOENT ? error_set(e, errno, "%s", path) : 0;
}

int state_list(const char *owner, struct arena *a, const char ***vpcs, unsigned *count, struct error *e)
{
	char text[PATH + 32];
	struct dirent *d;
	unsigned room = 0;
	DIR *folder;

	*vpcs = NULL;
	*count = 0;
	if (identity(owner ? owner : "", text, sizeof(text), e) < 0)
		return -1;
	folder = opendir(FOLDER);
	if (!folder)
		return errno == ENOENT ? 0 : error_set(e, errno, FOLDER);
	while ((d = readdir(folder))) {
		const char *there = *d->d_name == '.' ? NULL : state_read(d->d_name, "owner", a);

		if (!there || strcmp(owner ? there : there + strcspn(there, "\n"), text))
			continue;
		if (*count == room) {
			const char **more = arena_alloc(a, (room = room * 2 + 16) * sizeof(*more));

			if (*count)
				memcpy(more, *vpcs, *count * sizeof(*more));
			*vpcs = more;
		}
		(*vpcs)[(*count)++] = arena_strdup(a, d->d_name);
	}
	closedir(folder);
	return 0;
}
