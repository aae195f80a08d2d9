#include "net/command.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int memory_file(const char *name, const char *bytes, size_t length, struct error *e)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	if (fd < 0)
		return error_set(e, errno, "memfd");
	while (length) {
		ssize_t n = write(fd, bytes, length);

		if (n < 0) {
			error_set(e, errno, "memfd");
			close(fd);
			return -1;
		}
		bytes += n;
		length -= (size_t)n;
	}
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static void read_all(int fd, struct buffer *to)
{
	ssize_t n;

	lseek(fd, 0, SEEK_SET);
	while ((n = read(fd, buffer_reserve(to, 65536), 65536)) > 0) {
		to->length += (size_t)n;
		to->bytes[to->length] = 0;
	}
}

static int start(const char *const argv[], const int fds[3], pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	char path[64];
	int code;

	posix_spawn_file_actions_init(&actions);
	for (int i = 0; i < 3; i++)
		posix_spawn_file_actions_adddup2(&actions, fds[i], i);
	posix_spawnattr_init(&attributes);
	sigemptyset(&none);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	snprintf(path, sizeof(path), "/usr/sbin/%s", argv[0]);
	code = posix_spawn(pid, path, &actions, &attributes, (char *const *)argv, environ);
	if (code == ENOENT)
		code = posix_spawnp(pid, argv[0], &actions, &attributes, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	return code;
}

int command_run(const char *const argv[], const char *input, size_t length, struct buffer *output,
                struct error *e)
{
	int fds[3] = {-1, -1, -1}, status = -1, code;
	struct buffer said = {0};
	pid_t pid;

	if ((fds[0] = memory_file("input", input, length, e)) < 0 ||
	    (fds[1] = memory_file("output", "", 0, e)) < 0 || (fds[2] = memory_file("errors", "", 0, e)) < 0)
		goto out;
	code = start(argv, fds, &pid);
	if (code) {
		error_set(e, code, "%s", argv[0]);
		goto out;
	}
	while (waitpid(pid, &code, 0) < 0 && errno == EINTR)
		;
	if (output)
		read_all(fds[1], output);
	if (WIFEXITED(code) && WEXITSTATUS(code) == 0) {
		status = 0;
	} else {
		read_all(fds[2], &said);
		while (said.length && said.bytes[said.length - 1] == '\n')
			said.bytes[--said.length] = 0;
		error_set(e, 0, "%s: %.400s", argv[0], said.length ? said.bytes : "it failed");
	}
out:
	for (int i = 0; i < 3; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	buffer_release(&said);
	return status;
}
