/* The jail: what a process in it cannot do, each tried by a process of its own. Needs root. */
#include "net/jail.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { DONE = 7, REFUSED = 8, KILLED = 256 };

static int sock; /* of UDP, opened before */

/* What became of a process that goes to jail and does this there: its status, or KILLED by the filter. */
static int in_jail(enum jail_kind kind, int (*deed)(void))
{
	char folder[] = "/tmp/insula-jail-XXXXXX";
	struct error e = {0};
	int status, root;
	pid_t pid;

	assert_non_null(mkdtemp(folder));
	root = open(folder, O_RDONLY | O_DIRECTORY);
	sock = socket(AF_INET, SOCK_DGRAM, 0);
	assert_true(root >= 0 && sock >= 0);
	pid = fork();
	if (!pid) {
		if (jail_enter(kind, jail_user("vpc-test"), root, &e) < 0)
			_exit(99);
		_exit(deed());
	}
	close(root);
	close(sock);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	rmdir(folder);
	if (WIFSIGNALED(status)) {
		assert_int_equal(WTERMSIG(status), SIGSYS);
		return KILLED;
	}
	return WEXITSTATUS(status);
}

static int said(bool done)
{
	return done ? DONE : REFUSED;
}

static int do_nothing(void)
{
	return said(getpid() > 0 && malloc(1 << 20));
}

static int do_open(void)
{
	return said(open("/", O_RDONLY) >= 0 || open("/etc/passwd", O_RDONLY) >= 0 ||
	            open("x", O_CREAT | O_WRONLY, 0600) >= 0);
}

static int do_connect(void)
{
	struct sockaddr_in at = {
	        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	return said(connect(sock, (struct sockaddr *)&at, sizeof(at)) == 0);
}

static int do_sendto(void)
{
	struct sockaddr_in at = {
	        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	return said(sendto(sock, "x", 1, 0, (struct sockaddr *)&at, sizeof(at)) == 1);
}

static int do_socket(void)
{
	return said(socket(AF_INET, SOCK_DGRAM, 0) >= 0);
}

static int do_raw_socket(void)
{
	return said(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) >= 0);
}

static int do_unix_socket(void)
{
	return said(socket(AF_UNIX, SOCK_STREAM, 0) >= 0);
}

static int do_exec(void)
{
	execl("/bin/true", "true", NULL);
	return REFUSED;
}

static int do_fork(void)
{
	return said(fork() >= 0);
}

static int do_kill(void)
{
	return said(kill(getppid(), 0) == 0);
}

static int do_setuid(void)
{
	return said(setuid(0) == 0);
}

static int do_chroot(void)
{
	return said(chroot("/") == 0);
}

static int do_code(void)
{
	return said(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
	            MAP_FAILED);
}

static void services(void **state)
{
	static int (*const deadly[])(void) = {do_connect,     do_sendto, do_socket, do_raw_socket,
	                                      do_unix_socket, do_exec,   do_fork,   do_kill,
	                                      do_setuid,      do_chroot, do_code};

	assert_int_equal(in_jail(JAIL_SERVICES, do_nothing), DONE);
	assert_int_equal(in_jail(JAIL_SERVICES, do_open), REFUSED);
	for (size_t i = 0; i < ARRAY_SIZE(deadly); i++)
		assert_int_equal(in_jail(JAIL_SERVICES, deadly[i]), KILLED);
}

static void resolver(void **state)
{
	static int (*const deadly[])(void) = {do_sendto, do_raw_socket, do_unix_socket, do_exec, do_fork,
	                                      do_kill,   do_setuid,     do_chroot,      do_code};

	assert_int_equal(in_jail(JAIL_RESOLVER, do_socket), DONE);
	assert_int_equal(in_jail(JAIL_RESOLVER, do_connect), DONE);
	assert_int_equal(in_jail(JAIL_RESOLVER, do_open), REFUSED);
	for (size_t i = 0; i < ARRAY_SIZE(deadly); i++)
		assert_int_equal(in_jail(JAIL_RESOLVER, deadly[i]), KILLED);
}

static void users(void **state)
{
	assert_int_equal(jail_user("vpc-1"), jail_user("vpc-1"));
	assert_int_not_equal(jail_user("vpc-1"), jail_user("vpc-2"));
	assert_int_equal(jail_user("") >> 28, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(services),
	        cmocka_unit_test(resolver),
	        cmocka_unit_test(users),
	};

	return geteuid() ? 77 /* skipped */ : cmocka_run_group_tests(tests, NULL, NULL);
}
