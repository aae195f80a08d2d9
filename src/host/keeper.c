#include "host/keeper.h"
#include "host/cgroup.h"
#include "host/guest_watch.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/process.h"
#include "host/user_network.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGUMENTS = 256, BACKLOG = 64 << 10 };

struct client {
	struct keeper *keeper;
	struct loop_fd fd; /* fd.fd < 0: free */
	/* What it has not taken yet; one that falls further behind loses output. */
	char *backlog;
	size_t length;
};

struct keeper {
	struct loop loop;
	int dir;
	pid_t vmm, passt; /* passt: 0: none */
	struct loop_fd line, listener, signals;
	int log;
	off_t log_size;
	struct client clients[KEEPER_CLIENTS];
	int status;        /* of the VMM, as wait() has it */
	struct rusage use; /* of it, when it has ended */
	struct guest_watch guest;
};

/* ---- console.log ---- */

static void rotate(struct keeper *k)
{
	char from[32], to[32];

	for (int i = KEEPER_LOGS - 1; i >= 0; i--) {
		snprintf(from, sizeof(from), i ? "console.log.%d" : "console.log", i);
		snprintf(to, sizeof(to), "console.log.%d", i + 1);
		renameat(k->dir, from, k->dir, to);
	}
}

static int open_log(struct keeper *k, struct error *e)
{
	struct stat st;

	k->log = openat(k->dir, "console.log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (k->log < 0 || fstat(k->log, &st) < 0)
		return error_set(e, errno, "open console.log");
	k->log_size = st.st_size;
	return 0;
}

/* A full disk loses lines of the log, not the machine. */
static void keep_output(struct keeper *k, const char *bytes, size_t length)
{
	ssize_t n = k->log >= 0 ? write(k->log, bytes, length) : -1;
	struct error e;

	if (n > 0)
		k->log_size += n;
	if (k->log >= 0 && k->log_size >= KEEPER_LOG_SIZE) {
		close(k->log);
		rotate(k);
		if (open_log(k, &e) < 0)
			log_error("%s", e.text);
	}
}

/* Not made durable: it is good for as long as the machine runs. */
static void note_guest(struct keeper *k)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "%s %llu\n", guest_state_name(k->guest.state),
	                 (unsigned long long)(clock_realtime_ns() / 1000000));
	int fd = openat(k->dir, "guest.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return;
	if (write(fd, text, (size_t)n) == n)
		renameat(k->dir, "guest.new", k->dir, "guest");
	close(fd);
}

/* ---- clients of console.sock ---- */

static void drop(struct client *c)
{
	loop_remove(&c->keeper->loop, &c->fd);
	close(c->fd.fd);
	c->fd.fd = -1;
	free(c->backlog);
	c->backlog = NULL;
	c->length = 0;
}

static void send_to(struct client *c, const char *bytes, size_t length)
{
	ssize_t n = 0;

	if (!c->length) {
		n = send(c->fd.fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN) {
			drop(c);
			return;
		}
		n = n < 0 ? 0 : n;
	}
	length -= (size_t)n;
	length = min(length, (size_t)BACKLOG - c->length);
	if (!length)
		return;
	if (!c->backlog)
		c->backlog = malloc(BACKLOG);
	if (!c->backlog)
		return;
	memcpy(c->backlog + c->length, bytes + n, length);
	c->length += length;
	loop_modify(&c->keeper->loop, &c->fd, EPOLLIN | EPOLLOUT);
}

static void client_event(void *ctx, u32 events)
{
	struct client *c = ctx;
	char bytes[4096];
	ssize_t n;

	if (events & EPOLLOUT) {
		n = send(c->fd.fd, c->backlog, c->length, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0) {
			c->length -= (size_t)n;
			memmove(c->backlog, c->backlog + n, c->length);
		}
		if (!c->length)
			loop_modify(&c->keeper->loop, &c->fd, EPOLLIN);
	}
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	n = recv(c->fd.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		drop(c);
		return;
	}
	/* What the guest's serial port has no room for is lost, as on a line without flow control. */
	if (n > 0 && send(c->keeper->line.fd, bytes, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return;
}

static void accept_client(void *ctx, u32 events)
{
	struct keeper *k = ctx;
	int fd = accept4(k->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct error e;

	(void)events;
	if (fd < 0)
		return;
	for (unsigned i = 0; i < KEEPER_CLIENTS; i++) {
		struct client *c = &k->clients[i];

		if (c->fd.fd >= 0)
			continue;
		c->keeper = k;
		c->fd = (struct loop_fd){.fd = fd, .events = EPOLLIN, .fn = client_event, .ctx = c};
		if (loop_add(&k->loop, &c->fd, &e) < 0) {
			c->fd.fd = -1;
			break;
		}
		return;
	}
	close(fd);
}

/* ---- the machine ---- */

static void line_event(void *ctx, u32 events)
{
	struct keeper *k = ctx;
	char bytes[16384];
	ssize_t n = recv(k->line.fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	(void)events;
	if (n > 0) {
		keep_output(k, bytes, (size_t)n);
		if (guest_watch_feed(&k->guest, bytes, (size_t)n))
			note_guest(k);
		for (unsigned i = 0; i < KEEPER_CLIENTS; i++)
			if (k->clients[i].fd.fd >= 0)
				send_to(&k->clients[i], bytes, (size_t)n);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		loop_remove(&k->loop, &k->line); /* the VMM is gone, or going */
	}
}

static void signal_event(void *ctx, u32 events)
{
	struct keeper *k = ctx;
	struct signalfd_siginfo info;
	pid_t pid;

	(void)events;
	while (read(k->signals.fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo != SIGCHLD) {
			kill(k->vmm, SIGKILL);
			continue;
		}
		if (k->passt && waitpid(k->passt, NULL, WNOHANG) == k->passt)
			k->passt = 0; /* the guest has lost its network */
		pid = wait4(k->vmm, &k->status, WNOHANG, &k->use);
		if (pid != k->vmm)
			continue;
		while (recv(k->line.fd, &(char){0}, 1, MSG_DONTWAIT | MSG_PEEK) > 0)
			line_event(k, EPOLLIN);
		loop_stop(&k->loop);
	}
}

static int start(struct keeper *k, char **argv, struct error *e)
{
	int pair[2], log;
	sigset_t none;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return error_set(e, errno, "make a serial line");
	log = openat(k->dir, "vmm.log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	k->vmm = fork();
	if (k->vmm < 0)
		return error_set(e, errno, "start the machine");
	if (k->vmm == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		dup2(pair[1], 0);
		dup2(pair[1], 1);
		if (log >= 0)
			dup2(log, 2);
		execv(argv[0], argv);
		dprintf(2, "insula keep: run %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	close(pair[1]);
	if (log >= 0)
		close(log);
	fcntl(pair[0], F_SETFL, O_NONBLOCK);
	k->line = (struct loop_fd){.fd = pair[0], .events = EPOLLIN, .fn = line_event, .ctx = k};
	return loop_add(&k->loop, &k->line, e);
}

/* ---- life ---- */

static int listen_console(struct keeper *k, struct error *e)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "console.sock"};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	unlink(at.sun_path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 8) < 0)
		return error_set(e, errno, "listen at console.sock");
	k->listener = (struct loop_fd){.fd = fd, .events = EPOLLIN, .fn = accept_client, .ctx = k};
	return loop_add(&k->loop, &k->listener, e);
}

static int watch_signals(struct keeper *k, struct error *e)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_SETMASK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	k->signals = (struct loop_fd){.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
	                              .events = EPOLLIN,
	                              .fn = signal_event,
	                              .ctx = k};
	return loop_add(&k->loop, &k->signals, e);
}

/* Whole or not at all: under another name first. */
static int write_file(struct keeper *k, const char *name, const char *text, struct error *e)
{
	char draft[64];
	size_t length = strlen(text);
	int fd;

	snprintf(draft, sizeof(draft), "%s.new", name);
	fd = openat(k->dir, draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, text, length) != (ssize_t)length || fsync(fd) < 0) {
		error_set(e, errno, "write %s", name);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	close(fd);
	if (renameat(k->dir, draft, k->dir, name) < 0)
		return error_set(e, errno, "write %s", name);
	return 0;
}

static int read_command(struct keeper *k, char **buf, char **argv, struct error *e)
{
	int fd = openat(k->dir, "command", O_RDONLY | O_CLOEXEC);
	struct stat st;
	unsigned count = 0;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_set(e, errno, "open command");
	*buf = calloc(1, (size_t)st.st_size + 1);
	if (!*buf || read(fd, *buf, (size_t)st.st_size) != st.st_size) {
		close(fd);
		return error_set(e, errno, "read command");
	}
	close(fd);
	for (char *p = *buf; p < *buf + st.st_size && count < ARGUMENTS; p += strlen(p) + 1)
		argv[count++] = p;
	argv[count] = NULL;
	return count ? 0 : error_set(e, 0, "command: empty");
}

/* A machine in another network than its own is worse than none. This process stays there, too: it has no use
 * for any. */
static int enter_netns(struct keeper *k, struct error *e)
{
	char name[KEEPER_NETNS], path[KEEPER_NETNS + sizeof(KEEPER_NETNS_DIR)];
	int fd = openat(k->dir, "netns", O_RDONLY | O_CLOEXEC), rc = 0;
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT ? 0 : error_set(e, errno, "open netns");
	n = read(fd, name, sizeof(name) - 1);
	close(fd);
	name[n > 0 ? n : 0] = 0;
	if (!*name || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
		return error_set(e, 0, "netns: not the name of a namespace");
	snprintf(path, sizeof(path), KEEPER_NETNS_DIR "%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		rc = error_set(e, errno, "network namespace %s", name);
	if (fd >= 0)
		close(fd);
	return rc;
}

/* A machine without its limits is better than none. */
static void join_cgroup(struct keeper *k)
{
	int fd = openat(k->dir, "cgroup", O_RDONLY | O_CLOEXEC);
	char path[CGROUP_PATH];
	struct error e;
	ssize_t n;

	if (fd < 0)
		return;
	n = read(fd, path, sizeof(path) - 1);
	close(fd);
	path[n > 0 ? n : 0] = 0;
	if (cgroup_join(path, &e) < 0)
		log_warn("runs without limits: %s", e.text);
}

static long long cpu_us(const struct rusage *use)
{
	return (use->ru_utime.tv_sec + use->ru_stime.tv_sec) * 1000000LL + use->ru_utime.tv_usec +
	       use->ru_stime.tv_usec;
}

static int keep(struct keeper *k, const char *path, struct error *e)
{
	char text[128], *buf = NULL, *argv[ARGUMENTS + 1];
	struct client *c;

	/* Held as long as this process is; its VMM must not hold it. */
	fcntl(KEEPER_LOCK, F_SETFD, FD_CLOEXEC);
	k->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (k->dir < 0 || fchdir(k->dir) < 0)
		return error_set(e, errno, "open %s", path);
	if (loop_init(&k->loop, e) < 0 || read_command(k, &buf, argv, e) < 0 || open_log(k, e) < 0 ||
	    watch_signals(k, e) < 0 || listen_console(k, e) < 0)
		return -1;
	unlinkat(k->dir, "ended", 0);
	unlinkat(k->dir, "guest", 0);
	unlinkat(k->dir, "vmm.sock", 0);
	join_cgroup(k);
	k->passt = user_network_start(k->dir, e);
	if (k->passt < 0 || enter_netns(k, e) < 0 || start(k, argv, e) < 0)
		return -1;
	snprintf(text, sizeof(text), "%d %llu %d\n", getpid(),
	         (unsigned long long)process_start_time(getpid()), k->vmm);
	if (write_file(k, "keeper", text, e) < 0) {
		kill(k->vmm, SIGKILL);
		return -1;
	}
	if (loop_run(&k->loop, e) < 0)
		return -1;
	for (c = k->clients; c < k->clients + KEEPER_CLIENTS; c++)
		if (c->fd.fd >= 0)
			drop(c);
	if (k->passt)
		kill(k->passt, SIGTERM);
	unlinkat(k->dir, "console.sock", 0);
	unlinkat(k->dir, "vmm.sock", 0);
	snprintf(text, sizeof(text), "%s %d %llu %llu %lld\n", WIFSIGNALED(k->status) ? "signal" : "exit",
	         WIFSIGNALED(k->status) ? WTERMSIG(k->status) : WEXITSTATUS(k->status),
	         (unsigned long long)(clock_realtime_ns() / 1000000),
	         (unsigned long long)(clock_boot_ns() / 1000000), cpu_us(&k->use));
	free(buf);
	return write_file(k, "ended", text, e);
}

int keeper_main(int argc, char **argv)
{
	struct keeper *k = calloc(1, sizeof(*k));
	struct error e;

	if (argc != 2 || !k) {
		fputs("usage: insula keep DIR\n", stderr);
		return 2;
	}
	for (unsigned i = 0; i < KEEPER_CLIENTS; i++)
		k->clients[i].fd.fd = -1;
	if (keep(k, argv[1], &e) < 0) {
		fprintf(stderr, "insula keep: %s: %s\n", argv[1], e.text);
		return 1;
	}
	return 0;
}
