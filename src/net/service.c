#include "net/service.h"
#include "base/clock.h"
#include "base/process_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_S = 10 };

bool vpc_service_running(const char *dir)
{
	struct error e;
	int at = process_folder_open(dir, &e);
	bool locked = at >= 0 && process_folder_locked(at);

	if (at >= 0)
		close(at);
	return locked;
}

/* ---- start ---- */

/* Puts a descriptor at `to`, to be inherited. */
static void hand_over(int fd, int to)
{
	if (fd == to)
		fcntl(fd, F_SETFD, 0);
	else
		dup2(fd, to);
}

static void __attribute__((noreturn)) become(const char *dir, const char *netns, int lock, int ready)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), log;
	char path[4200];

	/* Out of the way of where they are to be. */
	lock = fcntl(lock, F_DUPFD_CLOEXEC, 10);
	ready = fcntl(ready, F_DUPFD_CLOEXEC, 10);
	snprintf(path, sizeof(path), "%s/vpc.log", dir);
	log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	dup2(null, 0);
	dup2(log >= 0 ? log : null, 1);
	dup2(log >= 0 ? log : null, 2);
	hand_over(lock, VPC_SERVICE_LOCK);
	hand_over(ready, VPC_SERVICE_READY);
	if (netns)
		execl("/proc/self/exe", "insula", "vpc", "--started", "--netns", netns, dir, NULL);
	else
		execl("/proc/self/exe", "insula", "vpc", "--started", dir, NULL);
	_exit(127);
}

/* What the process says before it serves: "ok\n", or why not, and then it ends. */
static int await_ready(int fd, const char *dir, struct error *e)
{
	u64 end = clock_monotonic_ns() + PATIENCE_S * 1000000000ULL;
	char text[512];
	size_t length = 0;

	for (;;) {
		u64 now = clock_monotonic_ns();
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;

		if (now >= end)
			return error_set(e, ETIMEDOUT, "start the services of %s", dir);
		if (poll(&p, 1, (int)((end - now) / 1000000 + 1)) <= 0)
			continue;
		n = read(fd, text + length, sizeof(text) - 1 - length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		length += (size_t)n;
		if (length == sizeof(text) - 1 || (length == 3 && !memcmp(text, "ok\n", 3)))
			break;
	}
	while (length && text[length - 1] == '\n')
		length--;
	text[length] = 0;
	if (!strcmp(text, "ok"))
		return 0;
	return error_set(e, 0, "start the services of %s: %s", dir, length ? text : "they ended at once");
}

int vpc_service_start(const char *dir, const char *netns, struct error *e)
{
	struct timespec pause = {.tv_nsec = 10000000};
	int ready[2], at, lock, result;
	pid_t pid;

	at = process_folder_open(dir, e);
	if (at < 0)
		return -1;
	lock = process_folder_lock(at, dir, e);
	if (lock >= 0)
		unlinkat(at, "vpc.pid", 0);
	close(at);
	if (lock < 0)
		return e->code == EAGAIN ? 0 : -1;
	if (pipe2(ready, O_CLOEXEC) < 0) {
		close(lock);
		return error_set(e, errno, "start the services of %s", dir);
	}
	/* Twice, so that the process is nobody's child and a session of its own. */
	pid = fork();
	if (pid == 0) {
		setsid();
		if (fork())
			_exit(0);
		become(dir, netns, lock, ready[1]);
	}
	close(ready[1]);
	close(lock);
	if (pid < 0) {
		close(ready[0]);
		return error_set(e, errno, "start the services of %s", dir);
	}
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	result = await_ready(ready[0], dir, e);
	close(ready[0]);
	/* One that fails lets go of the lock a moment after it has said so. */
	for (unsigned i = 0; result < 0 && i < 200 && vpc_service_running(dir); i++)
		nanosleep(&pause, NULL);
	return result;
}

/* ---- the control socket ---- */

static int connect_to(int at, const char *dir, struct error *e)
{
	struct timeval limit = {.tv_sec = PATIENCE_S};
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* Through /proc: a path in a data folder may be longer than a socket's address. */
	snprintf(name.sun_path, sizeof(name.sun_path), "/proc/self/fd/%d/vpc.sock", at);
	if (fd >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	}
	if (fd >= 0 && connect(fd, (struct sockaddr *)&name, sizeof(name)) == 0)
		return fd;
	error_set(e, errno, "connect to %s/vpc.sock", dir);
	if (fd >= 0)
		close(fd);
	return -1;
}

static int send_all(int fd, const char *bytes, size_t length)
{
	while (length) {
		ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		bytes += n;
		length -= (size_t)n;
	}
	return 0;
}

static int offer(int fd, const char *dir, const char *bytes, size_t length, struct error *e)
{
	u8 head[4] = {(u8)length, (u8)(length >> 8), (u8)(length >> 16), (u8)(length >> 24)};
	char line[600];
	size_t n = 0;

	/* Whoever refuses a length answers, and closes before it has read all. */
	if (send_all(fd, (char *)head, 4) == 0)
		(void)send_all(fd, bytes, length);
	while (n < sizeof(line) - 1 && !memchr(line, '\n', n)) {
		ssize_t got = recv(fd, line + n, sizeof(line) - 1 - n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return error_set(e, got < 0 ? errno : EPIPE, "configure the services of %s", dir);
		n += (size_t)got;
	}
	line[n] = 0;
	line[strcspn(line, "\n")] = 0;
	if (!strncmp(line, "ok ", 3))
		return 0;
	return error_set(e, 0, "%s", strncmp(line, "error ", 6) ? line : line + 6);
}

static int write_file(int at, const char *dir, const char *bytes, size_t length, struct error *e)
{
	int fd = openat(at, "config.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	size_t done = 0;

	while (fd >= 0 && done < length) {
		ssize_t n = write(fd, bytes + done, length - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	/* Not made durable: namespaces do not outlive a power cut either. */
	if (fd < 0 || done < length)
		error_set(e, errno, "write %s/config.json", dir);
	else
		done = SIZE_MAX;
	if (fd >= 0)
		close(fd);
	return done == SIZE_MAX ? 0 : -1;
}

int vpc_service_config(const char *dir, const char *bytes, size_t length, struct error *e)
{
	int at, fd, result;

	if (length > UINT32_MAX)
		return error_set(e, EFBIG, "configure the services of %s", dir);
	at = process_folder_open(dir, e);
	if (at < 0)
		return -1;
	/* Written first, and renamed when it was taken: what is on the disk is never behind what was refused.
	 */
	result = write_file(at, dir, bytes, length, e);
	if (result == 0 && vpc_service_running(dir)) {
		fd = connect_to(at, dir, e);
		result = fd < 0 ? -1 : offer(fd, dir, bytes, length, e);
		if (fd >= 0)
			close(fd);
	}
	if (result == 0 && renameat(at, "config.new", at, "config.json") < 0)
		result = error_set(e, errno, "write %s/config.json", dir);
	if (result < 0)
		unlinkat(at, "config.new", 0);
	close(at);
	return result;
}

/* ---- end ---- */

/* The process, by the pid that it wrote, as a descriptor: -1 if it is not there. Whoever takes the lock
 * removes the pid of the one before, so while it is locked the pid is not another's. */
static int open_process(int at, const char *dir)
{
	char text[64];
	int fd = openat(at, "vpc.pid", O_RDONLY | O_CLOEXEC), pid, process = -1;
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return -1;
	text[n] = 0;
	if (sscanf(text, "%d", &pid) == 1 && pid > 0)
		process = (int)syscall(SYS_pidfd_open, pid, 0);
	if (process >= 0 && !vpc_service_running(dir)) {
		close(process);
		process = -1;
	}
	return process;
}

static void end_process(int process)
{
	struct pollfd ended = {.fd = process, .events = POLLIN};

	syscall(SYS_pidfd_send_signal, process, SIGTERM, NULL, 0);
	if (poll(&ended, 1, 1000) == 0) {
		syscall(SYS_pidfd_send_signal, process, SIGKILL, NULL, 0);
		poll(&ended, 1, 5000);
	}
}

int vpc_service_end(const char *dir, struct error *e)
{
	u64 end = clock_monotonic_ns() + PATIENCE_S * 1000000000ULL;
	struct timespec pause = {.tv_nsec = 10000000};
	int at = process_folder_open(dir, e), process;

	if (at < 0)
		return e->code == ENOENT ? 0 : -1;
	/* One that begins has not written its pid yet. */
	while (vpc_service_running(dir) && clock_monotonic_ns() < end) {
		process = open_process(at, dir);
		if (process >= 0) {
			end_process(process);
			close(process);
		} else {
			nanosleep(&pause, NULL);
		}
	}
	close(at);
	if (vpc_service_running(dir))
		return error_set(e, ETIMEDOUT, "end the services of %s", dir);
	return 0;
}

int vpc_service_remove(const char *dir, struct error *e)
{
	return process_folder_remove(dir, e);
}
