#include "net/namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define FOLDER "/run/netns"
#define OWN    "/proc/thread-self/ns/net"

enum { PATH = 256 };

static void path_of(char out[PATH], const char *name)
{
	snprintf(out, PATH, FOLDER "/%s", name);
}

bool namespace_exists(const char *name)
{
	struct statfs fs;
	char path[PATH];

	path_of(path, name);
	return statfs(path, &fs) == 0 && fs.f_type == NSFS_MAGIC;
}

u64 namespace_cookie(void)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t length = sizeof(u64);
	u64 cookie;

	if (fd < 0)
		return 0;
	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) < 0)
		cookie = 0;
	close(fd);
	return cookie;
}

int namespace_open(const char *name, struct error *e)
{
	char path[PATH] = OWN;
	int fd;

	if (name)
		path_of(path, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? error_set(e, errno, "namespace '%s'", path) : fd;
}

/* ---- threads within ---- */

struct visit {
	int fd; /* -1: a new namespace */
	int (*call)(void *);
	void *arg;
	int status, code;
};

static void *visitor(void *arg)
{
	struct visit *v = arg;

	if ((v->fd < 0 ? unshare(CLONE_NEWNET) : setns(v->fd, CLONE_NEWNET)) < 0)
		v->code = errno;
	else
		v->status = v->call(v->arg);
	return NULL;
}

static int visit(int fd, const char *name, int (*call)(void *), void *arg, struct error *e)
{
	struct visit v = {fd, call, arg, -1, 0};
	pthread_t thread;
	int code = pthread_create(&thread, NULL, visitor, &v);

	if (code)
		return error_set(e, code, "a thread");
	pthread_join(thread, NULL);
	return v.code ? error_set(e, v.code, "namespace '%s'", name) : v.status;
}

int namespace_call(const char *name, int (*call)(void *arg), void *arg, struct error *e)
{
	int fd = namespace_open(name, e), status;

	if (fd < 0)
		return -1;
	status = visit(fd, name, call, arg, e);
	close(fd);
	return status;
}

/* ---- making and removing ---- */

/* The folder's mounts are seen in other mount namespaces, and theirs here: only so does one that is taken
 * away here go everywhere. */
static int make_folder(struct error *e)
{
	if (mkdir(FOLDER, 0755) < 0 && errno != EEXIST)
		return error_set(e, errno, FOLDER);
	if (mount("", FOLDER, "none", MS_SHARED | MS_REC, NULL) == 0)
		return 0;
	if (errno != EINVAL || mount(FOLDER, FOLDER, "none", MS_BIND | MS_REC, NULL) < 0 ||
	    mount("", FOLDER, "none", MS_SHARED | MS_REC, NULL) < 0)
		return error_set(e, errno, FOLDER);
	return 0;
}

static int bind_own(void *arg)
{
	return mount(OWN, arg, "none", MS_BIND, NULL) < 0 ? errno : 0;
}

int namespace_make(const char *name, bool *made, struct error *e)
{
	char path[PATH];
	int fd, code;

	*made = false;
	if (namespace_exists(name))
		return 0;
	path_of(path, name);
	if (make_folder(e) < 0)
		return -1;
	fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0);
	if (fd < 0)
		return error_set(e, errno, "%s", path);
	close(fd);
	code = visit(-1, name, bind_own, path, e);
	if (code) {
		unlink(path);
		return code < 0 ? -1 : error_set(e, code, "%s", path);
	}
	*made = true;
	return 0;
}

int namespace_remove(const char *name, struct error *e)
{
	char path[PATH];

	path_of(path, name);
	while (namespace_exists(name))
		if (umount2(path, MNT_DETACH) < 0)
			return error_set(e, errno, "%s", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return error_set(e, errno, "%s", path);
	return 0;
}

/* ---- parameters ---- */

int namespace_set(const char *path, const char *value, struct error *e)
{
	char whole[PATH];
	int fd, code = 0;

	snprintf(whole, sizeof(whole), "/proc/sys/net/%s", path);
	fd = open(whole, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || dprintf(fd, "%s", value) < 0)
		code = errno;
	if (fd >= 0)
		close(fd);
	return code ? error_set(e, code, "%s", whole) : 0;
}

int namespace_get(const char *path, int otherwise)
{
	char whole[PATH], text[32] = "";
	int fd;

	snprintf(whole, sizeof(whole), "/proc/sys/net/%s", path);
	fd = open(whole, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return otherwise;
	if (read(fd, text, sizeof(text) - 1) <= 0)
		text[0] = 0;
	close(fd);
	return *text ? atoi(text) : otherwise;
}
