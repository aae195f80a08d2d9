/* The 16550A and the host's side of serial lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "guest.h"

#include "device/chardev.h"
#include "device/serial.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PORT 0x3f8
#define IRQ  4

struct line {
	struct guest g;
	char dir[32], path[64];
	struct chardev *chardev;
	struct serial *serial;
	int client;
};

static void line_open(struct line *l, const char *kind, bool unbuffered)
{
	struct error e = {0};
	char spec[80];

	memset(l, 0, sizeof(*l));
	l->client = -1;
	guest_init(&l->g);
	strcpy(l->dir, "/tmp/insula-uart-XXXXXX");
	assert_non_null(mkdtemp(l->dir));
	snprintf(l->path, sizeof(l->path), "%s/line", l->dir);
	snprintf(spec, sizeof(spec), "%s%s%s", kind, strchr(kind, ':') ? l->path : "", "");
	l->chardev = chardev_new(spec, &l->g.loop, &e);
	assert_non_null(l->chardev);
	struct serial_config c = {.base = PORT,
	                          .irq = {.set = guest_line, .ctx = &l->g, .n = IRQ},
	                          .chardev = l->chardev,
	                          .unbuffered = unbuffered};
	l->serial = serial_new(&c, l->g.pio, &l->g.loop, &e);
	assert_non_null(l->serial);
}

static void line_connect(struct line *l)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	strcpy(a.sun_path, l->path);
	l->client = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(connect(l->client, (struct sockaddr *)&a, sizeof(a)), 0);
	guest_run(&l->g, 5);
}

static void line_close(struct line *l)
{
	if (l->client >= 0)
		close(l->client);
	serial_free(l->serial);
	chardev_free(l->chardev);
	guest_release(&l->g);
	unlink(l->path);
	rmdir(l->dir);
}

static u8 in(struct line *l, unsigned reg)
{
	return (u8)bus_read(l->g.pio, PORT + reg, 1);
}

static void out(struct line *l, unsigned reg, u8 v)
{
	bus_write(l->g.pio, PORT + reg, 1, v);
}

static bool irq(struct line *l)
{
	return l->g.line[IRQ];
}

static void registers_keep_what_is_theirs(void **state)
{
	struct line l;

	line_open(&l, "none", true);
	assert_int_equal(in(&l, 1), 0);
	assert_int_equal(in(&l, 2), 0x01);
	assert_int_equal(in(&l, 5), 0x60);
	assert_int_equal(in(&l, 6), 0xb0);
	out(&l, 7, 0x5a);
	assert_int_equal(in(&l, 7), 0x5a);
	out(&l, 1, 0xff);
	assert_int_equal(in(&l, 1), 0x0f);
	out(&l, 1, 0);
	out(&l, 3, 0x83);
	out(&l, 0, 0x34);
	out(&l, 1, 0x12);
	assert_int_equal(in(&l, 0), 0x34);
	assert_int_equal(in(&l, 1), 0x12);
	out(&l, 3, 0x03);
	assert_int_equal(in(&l, 1), 0);
	out(&l, 4, 0xff);
	assert_int_equal(in(&l, 4), 0x1f);
	line_close(&l);
}

/* The steps by which Linux's 8250 driver tells a 16550A from its relatives. */
static void linux_finds_a_16550a(void **state)
{
	struct line l;

	line_open(&l, "none", false);
	out(&l, 1, 0);
	out(&l, 1, 0x0f);
	assert_int_equal(in(&l, 1) & 0x0f, 0x0f);
	out(&l, 1, 0);
	out(&l, 4, 0x10 | 0x08 | 0x02);
	assert_int_equal(in(&l, 6) & 0xf0, 0x90);
	out(&l, 4, 0);
	out(&l, 2, 1);
	assert_int_equal(in(&l, 2) >> 6, 3);
	out(&l, 2, 0x21);
	assert_int_equal(in(&l, 2) & 0x20, 0);
	out(&l, 1, 0x40);
	assert_int_equal(in(&l, 1) & 0x40, 0);
	line_close(&l);
}

static void loopback_carries_bytes_and_modem_lines(void **state)
{
	struct line l;

	line_open(&l, "none", false);
	out(&l, 2, 0x07);
	out(&l, 4, 0x10);
	in(&l, 6);
	out(&l, 0, 'x');
	assert_int_equal(in(&l, 5) & 1, 1);
	assert_int_equal(in(&l, 0), 'x');
	assert_int_equal(in(&l, 5) & 1, 0);
	out(&l, 4, 0x10 | 0x01);
	assert_int_equal(in(&l, 6), 0x20 | 0x02); /* DSR and its delta */
	assert_int_equal(in(&l, 6), 0x20);
	for (int i = 0; i < 17; i++)
		out(&l, 0, (u8)i);
	assert_int_equal(in(&l, 5) & 0x03, 0x03); /* overrun, FIFO kept */
	assert_int_equal(in(&l, 5) & 0x02, 0);
	for (int i = 0; i < 16; i++)
		assert_int_equal(in(&l, 0), i);
	out(&l, 3, 0x43);
	assert_int_equal(in(&l, 5) & 0x91, 0x91); /* break at the FIFO's head */
	assert_int_equal(in(&l, 0), 0);
	line_close(&l);
}

static void interrupts_come_in_order_of_priority(void **state)
{
	struct line l;

	line_open(&l, "none", false);
	out(&l, 4, 0x10);
	in(&l, 6);
	out(&l, 2, 0x41); /* trigger level 4 */
	out(&l, 1, 0x0f);
	assert_true(irq(&l));
	assert_int_equal(in(&l, 2), 0xc2); /* THRE, cleared by that */
	assert_false(irq(&l));
	assert_int_equal(in(&l, 2), 0xc1);
	out(&l, 0, 'a');
	assert_int_equal(in(&l, 2), 0xcc); /* below the trigger: timeout */
	out(&l, 0, 'b');
	out(&l, 0, 'c');
	out(&l, 0, 'd');
	assert_int_equal(in(&l, 2), 0xc4);
	out(&l, 4, 0x12);
	assert_int_equal(in(&l, 2), 0xc4);
	for (int i = 0; i < 4; i++)
		in(&l, 0);
	assert_int_equal(in(&l, 2), 0xc2);
	assert_int_equal(in(&l, 2), 0xc0); /* modem */
	in(&l, 6);
	assert_false(irq(&l));
	/* Enabling THRE while the transmitter is empty raises it again. */
	out(&l, 1, 0);
	out(&l, 1, 2);
	assert_true(irq(&l));
	line_close(&l);
}

static void output_reaches_a_file(void **state)
{
	struct line l;
	char buf[64] = {0};

	for (int unbuffered = 0; unbuffered < 2; unbuffered++) {
		line_open(&l, "file:", unbuffered);
		for (const char *p = "hello\n"; *p; p++) {
			assert_int_equal(in(&l, 5) & 0x60, 0x60);
			out(&l, 0, (u8)*p);
		}
		FILE *f = fopen(l.path, "r");
		if (!unbuffered)
			guest_run(&l.g, 2);
		assert_int_equal(fread(buf, 1, sizeof(buf), f), 6);
		assert_memory_equal(buf, "hello\n", 6);
		fclose(f);
		line_close(&l);
	}
}

static size_t drain(struct line *l, u8 *buf, size_t at, size_t size)
{
	ssize_t n;

	while (at < size && (n = read(l->client, buf + at, size - at)) > 0)
		at += (size_t)n;
	return at;
}

static void a_slow_reader_loses_nothing(void **state)
{
	static u8 sent[1 << 20], got[1 << 20];
	struct line l;

	for (int unbuffered = 0; unbuffered < 2; unbuffered++) {
		size_t n = 0, m = 0;
		unsigned withheld = 0;

		line_open(&l, "unix:", unbuffered);
		line_connect(&l);
		while (n < sizeof(sent)) {
			if (in(&l, 5) & 0x20) {
				sent[n] = (u8)(n * 7 + n / 255);
				out(&l, 0, sent[n]);
				n++;
			} else {
				withheld++;
				size_t end = min(m + 5000, sizeof(got));
				m = drain(&l, got, m, end);
				guest_run(&l.g, 1);
			}
		}
		assert_true(withheld > 0);
		while (m < n) {
			m = drain(&l, got, m, sizeof(got));
			guest_run(&l.g, 1);
		}
		assert_memory_equal(sent, got, sizeof(sent));
		line_close(&l);
	}
}

static void thre_interrupt_comes_when_the_reader_moves(void **state)
{
	static u8 got[1 << 20];
	struct line l;

	line_open(&l, "unix:", true);
	line_connect(&l);
	out(&l, 1, 2);
	while (in(&l, 5) & 0x20)
		out(&l, 0, 'x');
	in(&l, 2);
	assert_false(irq(&l));
	size_t m = drain(&l, got, 0, sizeof(got));
	assert_true(m > 100);
	guest_until(&l.g, irq(&l));
	assert_int_equal(in(&l, 2) & 0x0f, 2);
	line_close(&l);
}

/* Blind writes to a reader that has stopped end in a bounded time. */
static void a_stopped_reader_does_not_stop_the_guest(void **state)
{
	struct line l;

	line_open(&l, "unix:", true);
	line_connect(&l);
	u64 start = clock_monotonic_ns();
	for (unsigned i = 0; i < 1 << 20; i++)
		out(&l, 0, 'x');
	assert_true(clock_monotonic_ns() - start < 60000000000ULL);
	close(l.client);
	l.client = -1;
	line_close(&l);
}

static void input_waits_until_the_guest_listens(void **state)
{
	struct line l;
	char buf[101] = {0};

	line_open(&l, "unix:", false);
	line_connect(&l);
	for (int i = 0; i < 100; i++)
		buf[i] = (char)('!' + i % 90);
	assert_int_equal(write(l.client, buf, 100), 100);
	guest_run(&l.g, 5);
	assert_int_equal(in(&l, 5) & 1, 0);
	out(&l, 2, 0x87);
	out(&l, 1, 1);
	assert_true(irq(&l));
	for (int i = 0; i < 100; i++) {
		assert_true(irq(&l));
		assert_int_equal(in(&l, 2), 100 - i >= 8 ? 0xc4 : 0xcc);
		assert_int_equal(in(&l, 0), buf[i]);
	}
	assert_false(irq(&l));
	assert_int_equal(write(l.client, "z", 1), 1);
	guest_until(&l.g, irq(&l));
	assert_int_equal(in(&l, 0), 'z');
	line_close(&l);
}

static void input_can_be_polled_for(void **state)
{
	struct line l;
	unsigned polls = 0;

	line_open(&l, "unix:", false);
	line_connect(&l);
	assert_int_equal(write(l.client, "q", 1), 1);
	guest_run(&l.g, 5);
	while (!(in(&l, 5) & 1))
		assert_true(++polls < 100);
	assert_int_equal(in(&l, 0), 'q');
	line_close(&l);
}

static void clients_come_and_go(void **state)
{
	struct line l;
	char buf[16];

	line_open(&l, "unix:", true);
	out(&l, 0, '0'); /* nobody there */
	assert_int_equal(in(&l, 5) & 0x20, 0x20);
	for (int i = 0; i < 3; i++) {
		line_connect(&l);
		out(&l, 0, (u8)('1' + i));
		assert_int_equal(read(l.client, buf, sizeof(buf)), 1);
		assert_int_equal(buf[0], '1' + i);
		close(l.client);
		l.client = -1;
		guest_run(&l.g, 5);
	}
	out(&l, 0, 'x');
	assert_int_equal(in(&l, 5) & 0x20, 0x20);
	line_close(&l);
}

static void a_stale_socket_is_taken_over_and_a_live_one_is_not(void **state)
{
	struct line l;
	struct error e = {0};
	char spec[80];

	line_open(&l, "unix:", true);
	snprintf(spec, sizeof(spec), "unix:%s", l.path);
	assert_null(chardev_new(spec, &l.g.loop, &e));
	assert_non_null(strstr(e.text, l.path));
	snprintf(spec, sizeof(spec), "unix:%s2", l.path);
	/* A socket that nobody listens on. */
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	strcpy(a.sun_path, spec + 5);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	close(fd);
	struct chardev *c = chardev_new(spec, &l.g.loop, &e);
	assert_non_null(c);
	chardev_free(c);
	line_close(&l);
}

static void nonsense_is_named(void **state)
{
	struct guest g;
	struct error e = {0};

	guest_init(&g);
	assert_null(chardev_new("tcp:1", &g.loop, &e));
	assert_non_null(strstr(e.text, "tcp:1"));
	assert_null(chardev_new("file:/nonexistent/x", &g.loop, &e));
	assert_non_null(strstr(e.text, "/nonexistent/x"));
	guest_release(&g);
}

static size_t upper(void *ctx, u8 *buf, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		if (buf[i] != '-')
			buf[n++] = (u8)(buf[i] - 32);
	*(size_t *)ctx += len;
	return n;
}

static void a_filter_sees_input_first(void **state)
{
	struct line l;
	size_t seen = 0;
	u8 buf[8];

	line_open(&l, "unix:", true);
	chardev_set_filter(l.chardev, upper, &seen);
	line_connect(&l);
	assert_int_equal(write(l.client, "a-b", 3), 3);
	guest_until(&l.g, seen == 3);
	assert_int_equal(chardev_read(l.chardev, buf, sizeof(buf)), 2);
	assert_memory_equal(buf, "AB", 2);
	line_close(&l);
}

/* A pipe as standard output, then as standard input. */
static void stdio_takes_pipes(void **state)
{
	struct guest g;
	struct error e = {0};
	int in_pipe[2], out_pipe[2], saved_in = dup(0), saved_out = dup(1);
	static u8 buf[1 << 18];
	size_t sent = 0, got = 0;

	guest_init(&g);
	assert_int_equal(pipe(in_pipe) | pipe(out_pipe), 0);
	fflush(stdout);
	dup2(in_pipe[0], 0);
	dup2(out_pipe[1], 1);
	struct chardev *c = chardev_new("stdio", &g.loop, &e);
	/* cmocka prints through the same descriptor: nothing may fail before it is back. */
	memset(buf, 'y', sizeof(buf));
	sent = chardev_write(c, buf, sizeof(buf));
	while (got < sent) {
		ssize_t n = read(out_pipe[0], buf, min(sizeof(buf), sent - got));
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	bool block = fcntl(out_pipe[1], F_GETFL) & O_NONBLOCK;
	(void)!write(in_pipe[1], "input", 5);
	guest_run(&g, 5);
	u8 line[16];
	size_t n = chardev_read(c, line, sizeof(line));
	close(in_pipe[1]);
	guest_run(&g, 5);
	chardev_free(c);
	dup2(saved_in, 0);
	dup2(saved_out, 1);
	assert_true(sent > 1000 && sent < sizeof(buf));
	assert_int_equal(got, sent);
	assert_false(block);
	assert_int_equal(n, 5);
	assert_memory_equal(line, "input", 5);
	close(in_pipe[0]);
	close(out_pipe[0]);
	close(out_pipe[1]);
	close(saved_in);
	close(saved_out);
	guest_release(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(registers_keep_what_is_theirs),
	        cmocka_unit_test(linux_finds_a_16550a),
	        cmocka_unit_test(loopback_carries_bytes_and_modem_lines),
	        cmocka_unit_test(interrupts_come_in_order_of_priority),
	        cmocka_unit_test(output_reaches_a_file),
	        cmocka_unit_test(a_slow_reader_loses_nothing),
	        cmocka_unit_test(thre_interrupt_comes_when_the_reader_moves),
	        cmocka_unit_test(a_stopped_reader_does_not_stop_the_guest),
	        cmocka_unit_test(input_waits_until_the_guest_listens),
	        cmocka_unit_test(input_can_be_polled_for),
	        cmocka_unit_test(clients_come_and_go),
	        cmocka_unit_test(a_stale_socket_is_taken_over_and_a_live_one_is_not),
	        cmocka_unit_test(nonsense_is_named),
	        cmocka_unit_test(a_filter_sees_input_first),
	        cmocka_unit_test(stdio_takes_pipes),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
