#include "net/command.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* In the child, which shares memory until it is another program. Should we be killed, it is too: a
 * transaction must not come after the ones that follow ours. */
static void become(const char *path, const char *const argv[], const int fds[3], const sigset_t *signals)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < 3; i++)
		dup2(fds[i], i);
	sigprocmask(SIG_SETMASK, signals, NULL);
	execv(path, (char *const *)argv);
	if (errno == ENOENT)
		execvp(argv[0], (char *const *)argv);
	_exit(127);
}

static pid_t start(const char *const argv[], const int fds[3])
{
	sigset_t all, none, own;
	char path[64];
	pid_t pid;

	snprintf(path, sizeof(path), "/usr/sbin/%s", argv[0]);
	sigfillset(&all);
	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &all, &own);
	pid = vfork();
	if (pid == 0)
		become(path, argv, fds, &none);
	pthread_sigmask(SIG_SETMASK, &own, NULL);
	return pid;
}

static void close_files(struct command *c)
{
	for (int i = 0; i < 3; i++)
		if (c->fds[i] >= 0)
			close(c->fds[i]);
}

int command_start(struct command *c, const char *const argv[], const char *input, size_t length,
                  struct error *e)
{
	*c = (struct command){argv[0], {-1, -1, -1}, -1};
	if ((c->fds[0] = memory_file("input", input, length, e)) >= 0 &&
	    (c->fds[1] = memory_file("output", "", 0, e)) >= 0 &&
	    (c->fds[2] = memory_file("errors", "", 0, e)) >= 0) {
		c->pid = start(argv, c->fds);
		if (c->pid >= 0)
			return 0;
		error_set(e, errno, "%s", argv[0]);
	}
	close_files(c);
	return -1;
}

int command_end(struct command *c, struct buffer *output, struct error *e)
{
	struct buffer said = {0};
	int status = -1, code;

	while (waitpid(c->pid, &code, 0) < 0 && errno == EINTR)
		;
	if (output)
		read_all(c->fds[1], output);
	if (WIFEXITED(code) && WEXITSTATUS(code) == 0) {
		status = 0;
	} else if (WIFEXITED(code) && WEXITSTATUS(code) == 127) {
		error_set(e, 0, "%s: there is no such program", c->name);
	} else {
		read_all(c->fds[2], &said);
		while (said.length && said.bytes[said.length - 1] == '\n')
			said.bytes[--said.length] = 0;
		error_set(e, 0, "%s: %.400s", c->name, said.length ? said.bytes : "it failed");
	}
	close_files(c);
	buffer_release(&said);
	return status;
}

int command_run(const char *const argv[], const char *input, size_t length, struct buffer *output,
                struct error *e)
{
	struct command c;

	return command_start(&c, argv, input, length, e) < 0 ? -1 : command_end(&c, output, e);
}
