/*
 * The first process of an initrd: mounts the disk that has the ext file system of root=UUID=… and goes on
 * with its init. (Linux, Documentation/filesystems/ramfs-rootfs-initramfs.rst, and ext4/super.rst for where
 * the UUID is.) Without a C library: a machine of 64 MiB has no room for one.
 */
#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <linux/time_types.h>

#define NULL ((void *)0)

enum { LINE = 4096, TRIES = 400, WAIT_NS = 25000000 }; /* ten seconds */

static long call(long number, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	long result;

	__asm__ volatile("syscall"
	                 : "=a"(result)
	                 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
	                 : "rcx", "r11", "memory");
	return result;
}

#define CALL(name, a, b, c, d, e) call(__NR_##name, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e))

static unsigned long length(const char *s)
{
	unsigned long n = 0;

	while (s[n])
		n++;
	return n;
}

static void say(const char *s)
{
	CALL(write, 2, s, length(s), 0, 0);
}

/* An init that ends is a panic, which says why the machine stands still. */
static void __attribute__((noreturn)) give_up(const char *why, const char *what)
{
	say("find-root: ");
	say(why);
	say(what);
	say("\n");
	CALL(exit, 1, 0, 0, 0, 0);
	__builtin_unreachable();
}

static int mount(const char *from, const char *to, const char *type, unsigned long flags)
{
	return (int)CALL(mount, from, to, type, flags, NULL);
}

static int begins(const char *s, const char *with)
{
	for (; *with; s++, with++)
		if (*s != *with)
			return 0;
	return 1;
}

/* The words of the command line: the last root=UUID=…, ro or rw, init=…; each ends with a zero. */
struct wish {
	const char *uuid, *init;
	int read_only;
};

static void read_command_line(struct wish *w, char line[LINE])
{
	int fd = (int)CALL(open, "/proc/cmdline", O_RDONLY, 0, 0, 0);
	long n = fd < 0 ? 0 : CALL(read, fd, line, LINE - 1, 0, 0);
	char *p = line;

	*w = (struct wish){.init = "/sbin/init"};
	CALL(close, fd, 0, 0, 0, 0);
	line[n < 0 ? 0 : n] = 0;
	while (*p) {
		char *word = p;

		while (*p && *p != ' ' && *p != '\n')
			p++;
		if (*p)
			*p++ = 0;
		if (begins(word, "root=UUID="))
			w->uuid = word + length("root=UUID=");
		else if (begins(word, "init=/"))
			w->init = word + length("init=");
		else if (begins(word, "ro") && !word[2])
			w->read_only = 1;
		else if (begins(word, "rw") && !word[2])
			w->read_only = 0;
	}
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int parse_uuid(unsigned char uuid[16], const char *text)
{
	unsigned n = 0;

	for (; *text; text++) {
		if (*text == '-')
			continue;
		if (n == 32 || digit(*text) < 0)
			return -1;
		uuid[n / 2] = (unsigned char)(uuid[n / 2] << 4 | digit(*text));
		n++;
	}
	return n == 32 ? 0 : -1;
}

static int has_uuid(const char *device, const unsigned char uuid[16])
{
	unsigned char super[1024];
	int fd = (int)CALL(open, device, O_RDONLY, 0, 0, 0);
	long n = fd < 0 ? -1 : CALL(pread64, fd, super, sizeof(super), 1024, 0);

	CALL(close, fd, 0, 0, 0, 0);
	if (n != sizeof(super) || super[56] != 0x53 || super[57] != 0xef)
		return 0;
	for (unsigned i = 0; i < 16; i++)
		if (super[104 + i] != uuid[i])
			return 0;
	return 1;
}

/* "nvme12n1 259:0" and the like: names of all block devices, from /proc/partitions. */
static int find(char device[64], const unsigned char uuid[16])
{
	static char text[16384];
	int fd = (int)CALL(open, "/proc/partitions", O_RDONLY, 0, 0, 0);
	unsigned long n = 0;

	for (;;) {
		long more = fd < 0 ? 0 : CALL(read, fd, text + n, sizeof(text) - 1 - n, 0, 0);

		if (more <= 0)
			break;
		n += (unsigned long)more;
	}
	CALL(close, fd, 0, 0, 0, 0);
	text[n] = 0;
	/* The name is a line's last word. */
	for (char *p = text, *word = text; *p; p++) {
		if (*p == ' ')
			word = p + 1;
		if (*p != '\n')
			continue;
		*p = 0;
		if (length(word) && length(word) < 40) {
			unsigned long k = 0;

			for (const char *from = "/dev/"; *from; from++)
				device[k++] = *from;
			for (const char *from = word; *from; from++)
				device[k++] = *from;
			device[k] = 0;
			if (has_uuid(device, uuid))
				return 1;
		}
		word = p + 1;
	}
	return 0;
}

static void switch_root(const char *device, const struct wish *w, char **argv, char **envp)
{
	if (mount(device, "/root", "ext4", w->read_only ? MS_RDONLY : 0) < 0)
		give_up("cannot mount ", device);
	CALL(umount2, "/proc", 0, 0, 0, 0);
	/* One without /dev makes its own. */
	if (mount("/dev", "/root/dev", NULL, MS_MOVE) < 0)
		CALL(umount2, "/dev", 2 /* MNT_DETACH */, 0, 0, 0);
	CALL(unlink, "/init", 0, 0, 0, 0); /* its pages are free when it is over */
	CALL(chdir, "/root", 0, 0, 0, 0);
	if (mount(".", "/", NULL, MS_MOVE) < 0)
		give_up("cannot move ", device);
	CALL(chroot, ".", 0, 0, 0, 0);
	CALL(chdir, "/", 0, 0, 0, 0);
	argv[0] = (char *)w->init;
	CALL(execve, w->init, argv, envp, 0, 0);
	give_up("cannot run ", w->init);
}

static void __attribute__((noreturn, used)) run(long *stack)
{
	const struct __kernel_timespec pause = {.tv_nsec = WAIT_NS};
	char **argv = (char **)(stack + 1), **envp = argv + *stack + 1;
	static char line[LINE], device[64];
	unsigned char uuid[16];
	struct wish wish;

	if (mount("proc", "/proc", "proc", 0) < 0)
		give_up("cannot mount ", "/proc");
	mount("dev", "/dev", "devtmpfs", 0); /* the kernel may have */
	read_command_line(&wish, line);
	if (!wish.uuid || parse_uuid(uuid, wish.uuid) < 0)
		give_up("there is no root=UUID=... on the kernel's command line", "");
	for (unsigned i = 0; i < TRIES; i++) {
		if (find(device, uuid))
			switch_root(device, &wish, argv, envp);
		CALL(nanosleep, &pause, NULL, 0, 0, 0);
	}
	give_up("no disk has the file system ", wish.uuid);
}

__asm__(".globl _start\n"
        "_start:\n"
        "	mov %rsp, %rdi\n"
        "	and $-16, %rsp\n"
        "	call run\n");
