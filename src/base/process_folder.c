#include "base/process_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int process_folder_open(const char *dir, struct error *e)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? error_set(e, errno, "open %s", dir) : fd;
}

int process_folder_lock(int at, const char *dir, struct error *e)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = openat(at, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return error_set(e, errno, "open %s/lock", dir);
	if (fcntl(fd, F_OFD_SETLK, &whole) == 0)
		return fd;
	error_set(e, errno == EACCES ? EAGAIN : errno, "%s: its process is there", dir);
	close(fd);
	return -1;
}

bool process_folder_locked(int at)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = openat(at, "lock", O_RDONLY | O_CLOEXEC);
	bool locked = fd >= 0 && fcntl(fd, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;

	if (fd >= 0)
		close(fd);
	return locked;
}

int process_folder_remove(const char *dir, struct error *e)
{
	int at = process_folder_open(dir, e), lock;
	struct dirent *entry;
	DIR *list;

	if (at < 0)
		return e->code == ENOENT ? 0 : -1;
	lock = process_folder_lock(at, dir, e);
	if (lock < 0) {
		close(at);
		return -1;
	}
	list = fdopendir(at);
	while (list && (entry = readdir(list)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") &&
		    unlinkat(at, entry->d_name, 0) < 0)
			unlinkat(at, entry->d_name, AT_REMOVEDIR);
	if (list)
		closedir(list);
	close(lock);
	if (rmdir(dir) < 0 && errno != ENOENT)
		return error_set(e, errno, "remove %s", dir);
	return 0;
}
