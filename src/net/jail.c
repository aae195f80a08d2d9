#include "net/jail.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A sanitizer's shadow memory is larger than any limit. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

u32 jail_user(const char *name)
{
	u32 hash = 2166136261;

	for (; *name; name++)
		hash = (hash ^ (u8)*name) * 16777619;
	return 0x70000000 | (hash & 0x0fffffff);
}

static int limit(int what, rlim_t most, struct error *e)
{
	struct rlimit r = {most, most};

	return setrlimit(what, &r) < 0 ? error_set(e, errno, "the jail's limits") : 0;
}

static int set_limits(struct error *e)
{
	if (!SANITIZED && limit(RLIMIT_AS, (rlim_t)JAIL_MEMORY_MIB << 20, e) < 0)
		return -1;
	return limit(RLIMIT_NOFILE, JAIL_FILES, e) < 0 || limit(RLIMIT_NPROC, 0, e) < 0 ||
	                       limit(RLIMIT_CORE, 0, e) < 0
	               ? -1
	               : 0;
}

static int drop_user(u32 user, struct error *e)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct none[2] = {0};

	for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
		prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	/* A user namespace may not have so many ids. */
	if (setgroups(0, NULL) < 0 ||
	    ((setresgid(user, user, user) < 0 || setresuid(user, user, user) < 0) &&
	     (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0)))
		return error_set(e, errno, "the jail's user");
	if (syscall(SYS_capset, &head, none) < 0 || !geteuid() || !getuid())
		return error_set(e, errno, "the jail's capabilities");
	return 0;
}

/* ---- system calls ---- */

static const int common[] = {
        SCMP_SYS(read),
        SCMP_SYS(write),
        SCMP_SYS(readv),
        SCMP_SYS(writev),
        SCMP_SYS(close),
        SCMP_SYS(recvfrom),
        SCMP_SYS(recvmsg),
        SCMP_SYS(epoll_wait),
        SCMP_SYS(epoll_pwait),
        SCMP_SYS(epoll_ctl),
        SCMP_SYS(timerfd_settime),
        SCMP_SYS(clock_gettime),
        SCMP_SYS(gettimeofday),
        SCMP_SYS(time),
        SCMP_SYS(brk),
        SCMP_SYS(munmap),
        SCMP_SYS(mremap),
        SCMP_SYS(madvise),
        SCMP_SYS(futex),
        SCMP_SYS(getrandom),
        SCMP_SYS(exit),
        SCMP_SYS(exit_group),
        SCMP_SYS(rt_sigreturn),
        SCMP_SYS(rt_sigprocmask),
        SCMP_SYS(restart_syscall),
        SCMP_SYS(getpid),
        SCMP_SYS(gettid),
        SCMP_SYS(shutdown),
        SCMP_SYS(getsockopt),
        SCMP_SYS(getsockname),
        SCMP_SYS(getpeername),
        SCMP_SYS(fcntl),
        SCMP_SYS(fstat),
        SCMP_SYS(lseek),
        SCMP_SYS(sched_yield),
        SCMP_SYS(sigaltstack),
        SCMP_SYS(sysinfo), /* qsort() */
};
static const int services_only[] = {
        SCMP_SYS(accept4),  SCMP_SYS(sendmsg),       SCMP_SYS(setsockopt),
        SCMP_SYS(adjtimex), SCMP_SYS(clock_adjtime), SCMP_SYS(ftruncate),
};
static const int resolver_only[] = {SCMP_SYS(connect)};
/* Libraries try some of these on their way, and live without. */
static const int refused[] = {
        SCMP_SYS(open),       SCMP_SYS(openat), SCMP_SYS(stat),      SCMP_SYS(newfstatat),
        SCMP_SYS(statx),      SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(readlink),
        SCMP_SYS(readlinkat), SCMP_SYS(ioctl),  SCMP_SYS(prlimit64),
};

static int add_list(scmp_filter_ctx f, u32 action, const int *calls, size_t count)
{
	int status = 0;

	for (size_t i = 0; i < count; i++)
		status |= seccomp_rule_add(f, action, calls[i], 0);
	return status;
}

static int add_rules(scmp_filter_ctx f, enum jail_kind kind)
{
	int status = add_list(f, SCMP_ACT_ALLOW, common, ARRAY_SIZE(common));

	status |= add_list(f, SCMP_ACT_ERRNO(EACCES), refused, ARRAY_SIZE(refused));
	/* No memory is ever executable but what is so already. */
	status |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
	                           SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	status |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
	                           SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	/* abort() */
	status |=
	        seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_EQ, (u64)getpid()));
	/* send() */
	status |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(sendto), 1, SCMP_A4(SCMP_CMP_EQ, 0));
	if (kind == JAIL_SERVICES)
		return status | add_list(f, SCMP_ACT_ALLOW, services_only, ARRAY_SIZE(services_only));
	status |= add_list(f, SCMP_ACT_ALLOW, resolver_only, ARRAY_SIZE(resolver_only));
	status |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2, SCMP_A0(SCMP_CMP_EQ, AF_INET),
	                           SCMP_A1(SCMP_CMP_MASKED_EQ, SOCK_RAW, SOCK_STREAM));
	status |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2, SCMP_A0(SCMP_CMP_EQ, AF_INET),
	                           SCMP_A1(SCMP_CMP_MASKED_EQ, SOCK_RAW, SOCK_DGRAM));
	status |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2, SCMP_A0(SCMP_CMP_EQ, AF_INET6),
	                           SCMP_A1(SCMP_CMP_MASKED_EQ, SOCK_RAW, SOCK_STREAM));
	status |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2, SCMP_A0(SCMP_CMP_EQ, AF_INET6),
	                           SCMP_A1(SCMP_CMP_MASKED_EQ, SOCK_RAW, SOCK_DGRAM));
	return status;
}

static int filter_calls(enum jail_kind kind, struct error *e)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int status = f ? add_rules(f, kind) : -ENOMEM;

	if (!status)
		status = seccomp_load(f);
	if (f)
		seccomp_release(f);
	return status ? error_set(e, status < 0 ? -status : EINVAL, "the jail's system calls") : 0;
}

int jail_enter(enum jail_kind kind, u32 user, int root, struct error *e)
{
	int status = fchdir(root) < 0 || chroot(".") < 0 || chdir("/") < 0
	                     ? error_set(e, errno, "the jail's root")
	                     : 0;

	close(root);
	if (status < 0 || set_limits(e) < 0 || drop_user(user, e) < 0)
		return -1;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return error_set(e, errno, "the jail");
	return filter_calls(kind, e);
}
