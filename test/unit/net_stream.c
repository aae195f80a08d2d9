/* Frames over a stream, as passt speaks: whole ones, in pieces, many at once, and what is none. */
#include "device/virtio/net_stream.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { HEADER = 12 };

struct net {
	struct loop loop;
	struct net_stream *stream;
	int far, device; /* the other end; the device's */
};

static int open_net(void **state)
{
	static struct net n;
	struct error e;
	int pair[2];

	assert_int_equal(loop_init(&n.loop, &e), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	n.far = pair[0];
	n.stream = net_stream_adopt(pair[1], &n.loop, &n.device, &e);
	assert_non_null(n.stream);
	*state = &n;
	return 0;
}

static int close_net(void **state)
{
	struct net *n = *state;

	net_stream_free(n->stream);
	loop_release(&n->loop);
	close(n->far);
	close(n->device);
	return 0;
}

static void stop(void *loop)
{
	loop_stop(loop);
}

/* What has come is handled. */
static void turn(struct net *n)
{
	struct loop_timer timer = {0};
	struct error e;

	assert_int_equal(loop_timer_init(&n->loop, &timer, stop, &n->loop, &e), 0);
	n->loop.stop = false;
	loop_timer_arm(&timer, 1);
	loop_run(&n->loop, &e);
	n->loop.stop = false;
	loop_timer_arm(&timer, 1);
	loop_run(&n->loop, &e);
	loop_timer_release(&timer);
}

static size_t put(u8 *to, size_t length, u8 fill)
{
	to[0] = (u8)(length >> 24);
	to[1] = (u8)(length >> 16);
	to[2] = (u8)(length >> 8);
	to[3] = (u8)length;
	memset(to + 4, fill, length);
	return length + 4;
}

static void expect_frame(struct net *n, size_t length, u8 fill)
{
	static u8 frame[HEADER + NET_STREAM_FRAME + 1];

	assert_int_equal(recv(n->device, frame, sizeof(frame), MSG_DONTWAIT), HEADER + length);
	for (unsigned i = 0; i < HEADER; i++)
		assert_int_equal(frame[i], 0);
	assert_int_equal(frame[HEADER], fill);
	assert_int_equal(frame[HEADER + length - 1], fill);
}

static void expect_none(struct net *n)
{
	u8 byte;

	assert_int_equal(recv(n->device, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

static void in_pieces(void **state)
{
	struct net *n = *state;
	u8 bytes[4096];
	size_t length = put(bytes, 60, 1);

	length += put(bytes + length, 1500, 2);
	for (size_t i = 0; i < length; i++) {
		assert_int_equal(write(n->far, bytes + i, 1), 1);
		if (i % 97 == 0 || i == 2 || i == 63)
			turn(n);
		if (i == 62)
			expect_none(n);
	}
	turn(n);
	expect_frame(n, 60, 1);
	expect_frame(n, 1500, 2);
	expect_none(n);
}

/* More than the device takes: nothing is lost, and nothing overtakes. */
static void many(void **state)
{
	struct net *n = *state;
	static u8 bytes[4 + NET_STREAM_FRAME];
	unsigned sent = 0, got = 0;

	while (got < 600) {
		size_t length = put(bytes, 200 + sent % 900, (u8)sent);

		if (sent < 600 && send(n->far, bytes, length, MSG_DONTWAIT) == (ssize_t)length) {
			sent++;
			continue;
		}
		for (unsigned i = 0; i < 4; i++)
			turn(n);
		while (got < sent) {
			u8 frame[2000];
			ssize_t k = recv(n->device, frame, sizeof(frame), MSG_DONTWAIT);

			if (k < 0)
				break;
			assert_int_equal(k, HEADER + 200 + got % 900);
			assert_int_equal(frame[HEADER + 7], (u8)got);
			got++;
		}
	}
	assert_int_equal(put(bytes, NET_STREAM_FRAME, 9), sizeof(bytes));
	for (size_t at = 0; at < sizeof(bytes);) {
		ssize_t k = send(n->far, bytes + at, sizeof(bytes) - at, MSG_DONTWAIT);

		at += k > 0 ? (size_t)k : 0;
		turn(n);
	}
	turn(n);
	expect_frame(n, NET_STREAM_FRAME, 9);
}

static void to_the_stream(void **state)
{
	struct net *n = *state;
	u8 frame[HEADER + 100] = {0}, bytes[300];

	memset(frame, 7, sizeof(frame)); /* whatever the header says */
	assert_int_equal(write(n->device, frame, sizeof(frame)), sizeof(frame));
	assert_int_equal(write(n->device, frame, HEADER), HEADER); /* no frame */
	assert_int_equal(write(n->device, frame, 3), 3);
	assert_int_equal(write(n->device, frame, HEADER + 20), HEADER + 20);
	turn(n);
	turn(n);
	assert_int_equal(recv(n->far, bytes, sizeof(bytes), MSG_DONTWAIT), 4 + 100 + 4 + 20);
	assert_int_equal(bytes[3], 100);
	assert_int_equal(bytes[4], 7);
	assert_int_equal(bytes[4 + 100 + 3], 20);
}

static void what_is_no_frame(void **state)
{
	struct net *n = *state;
	u8 bytes[8] = {0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}, byte;

	assert_int_equal(write(n->far, bytes, sizeof(bytes)), sizeof(bytes));
	turn(n);
	expect_none(n);
	/* and nothing more comes of it */
	put(bytes, 4, 1);
	assert_int_equal(write(n->far, bytes, 8), 8);
	turn(n);
	expect_none(n);
	assert_int_equal(recv(n->far, &byte, 1, MSG_DONTWAIT), -1);
}

static void the_end(void **state)
{
	struct net *n = *state;

	shutdown(n->far, SHUT_RDWR);
	turn(n);
	turn(n);
	expect_none(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(in_pieces, open_net, close_net),
	        cmocka_unit_test_setup_teardown(many, open_net, close_net),
	        cmocka_unit_test_setup_teardown(to_the_stream, open_net, close_net),
	        cmocka_unit_test_setup_teardown(what_is_no_frame, open_net, close_net),
	        cmocka_unit_test_setup_teardown(the_end, open_net, close_net),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
