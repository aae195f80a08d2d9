#include "host/user_network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ARGUMENTS = 64, COMMAND_MAX = 4096, LISTEN_MS = 5000 };

bool user_network_possible(void)
{
	return access("/usr/bin/passt", X_OK) == 0;
}

unsigned user_network_port(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t length = sizeof(at);
	unsigned port = 0;

	if (s >= 0 && bind(s, (struct sockaddr *)&at, sizeof(at)) == 0 &&
	    getsockname(s, (struct sockaddr *)&at, &length) == 0)
		port = ntohs(at.sin_port);
	if (s >= 0)
		close(s);
	return port;
}

/* 0: there is none. */
static ssize_t read_command(int dir, char *bytes, size_t size, char **argv, struct error *e)
{
	int fd = openat(dir, "passt", O_RDONLY | O_CLOEXEC);
	unsigned count = 0;
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT ? 0 : error_set(e, errno, "open passt");
	n = read(fd, bytes, size - 1);
	close(fd);
	if (n <= 0)
		return error_set(e, n ? errno : 0, "passt: empty");
	bytes[n] = 0;
	for (char *p = bytes; p < bytes + n && count + 1 < ARGUMENTS; p += strlen(p) + 1)
		argv[count++] = p;
	argv[count] = NULL;
	return n;
}

unsigned user_network_ssh_port(const char *path)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char bytes[COMMAND_MAX], *argv[ARGUMENTS];
	unsigned port = 0;
	struct error e;

	if (dir < 0)
		return 0;
	if (read_command(dir, bytes, sizeof(bytes), argv, &e) > 0)
		for (char **word = argv; *word; word++)
			if (sscanf(*word, "127.0.0.1/%u:22", &port) == 1)
				break;
	close(dir);
	return port;
}

static void become(int dir, char **argv)
{
	int log = openat(dir, "passt.log", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (log >= 0) {
		dup2(log, 1);
		dup2(log, 2);
	}
	execvp(argv[0], argv);
	dprintf(2, "run %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

pid_t user_network_start(int dir, struct error *e)
{
	const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
	char bytes[COMMAND_MAX], *argv[ARGUMENTS];
	ssize_t n = read_command(dir, bytes, sizeof(bytes), argv, e);
	struct stat st;
	pid_t pid;

	if (n <= 0)
		return (pid_t)n;
	unlinkat(dir, "net.sock", 0);
	pid = fork();
	if (pid == 0)
		become(dir, argv);
	if (pid < 0)
		return error_set(e, errno, "start %s", argv[0]);
	for (unsigned ms = 0; ms < LISTEN_MS; ms += 10) {
		if (fstatat(dir, "net.sock", &st, 0) == 0)
			return pid;
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return error_set(e, 0, "%s has ended; passt.log says why", argv[0]);
		nanosleep(&pause, NULL);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return error_set(e, 0, "%s does not listen", argv[0]);
}
