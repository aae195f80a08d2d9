/*
 * virtio-net on a real tap in a network namespace of the test's own; skipped where that is not allowed.
 * Frames are exchanged with the host's end through a packet socket.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "virtio_driver.h"

#include "device/virtio/virtio.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define TAP "insula-t0"

#define EVENTS  BIT(29)
#define MRG     BIT(15)
#define TSO     (BIT(1) | BIT(7) | BIT(8))
#define CONTROL (BIT(17) | BIT(18) | BIT(23) | BIT(2))

struct port {
	struct guest g;
	struct driver d;
	struct virtio_net *n;
	int wire;
	u64 buf;
	u8 *p;
};

static bool possible;

static int setup(void **state)
{
	struct ifreq r = {0};

	if (unshare(CLONE_NEWNET) < 0)
		return 0;
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	strcpy(r.ifr_name, TAP);
	r.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	if (fd < 0 || ioctl(fd, TUNSETIFF, &r) < 0 || ioctl(fd, TUNSETPERSIST, 1) < 0)
		return 0;
	close(fd);
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	/* No IPv6 chatter on it: that would be frames nobody sent. */
	FILE *f = fopen("/proc/sys/net/ipv6/conf/" TAP "/disable_ipv6", "w");
	if (f) {
		fputs("1", f);
		fclose(f);
	}
	ioctl(s, SIOCGIFFLAGS, &r);
	r.ifr_flags |= IFF_UP;
	possible = ioctl(s, SIOCSIFFLAGS, &r) == 0;
	close(s);
	return 0;
}

static void port_open(struct port *t)
{
	struct error e = {0};
	struct virtio_net_config c = {.tap = TAP, .tap_fd = -1, .has_mac = true, .mac = {2, 0, 0, 0, 0, 9}};

	if (!possible)
		skip();
	memset(t, 0, sizeof(*t));
	guest_init(&t->g);
	t->n = virtio_net_new(&c, t->g.pci, &t->g.mem, &t->g.loop, &e);
	if (!t->n)
		print_error("%s\n", e.text);
	assert_non_null(t->n);
	driver_find(&t->d, &t->g, 1);
	t->buf = guest_alloc(&t->g, 4 * MiB);
	t->p = guest_ptr(&t->g, t->buf);
	t->wire = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_ALL));
	struct sockaddr_ll a = {.sll_family = AF_PACKET,
	                        .sll_protocol = htons(ETH_P_ALL),
	                        .sll_ifindex = (int)if_nametoindex(TAP)};
	assert_int_equal(bind(t->wire, (struct sockaddr *)&a, sizeof(a)), 0);
}

static void port_close(struct port *t)
{
	close(t->wire);
	virtio_net_free(t->n);
	guest_release(&t->g);
}

static size_t frame(u8 *f, size_t len, unsigned seed)
{
	static const u8 head[14] = {2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 0x88, 0xb5};

	memcpy(f, head, 14);
	for (size_t i = 14; i < len; i++)
		f[i] = (u8)(i * 3 + seed);
	return len;
}

static void it_says_what_it_is(void **state)
{
	struct port t;

	port_open(&t);
	assert_int_equal(bus_read(t.g.mmio, t.d.device, 4), 2);
	assert_int_equal(bus_read(t.g.mmio, t.d.device + 4, 2), 0x0900);
	assert_int_equal(bus_read(t.g.mmio, t.d.device + 6, 2), 1);
	assert_int_equal(bus_read(t.g.mmio, t.d.device + 10, 2), 1500);
	assert_int_equal(common_get(&t.d, 0x12, 2), 3);
	port_close(&t);
}

static void frames_go_out(void **state)
{
	struct port t;
	u8 want[2000], got[2000];

	port_open(&t);
	driver_start(&t.d, EVENTS | CONTROL, 3);
	for (unsigned i = 0; i < 400; i++) {
		size_t len = frame(want, 60 + i, i);
		memset(t.p, 0, 12);
		memcpy(t.p + 12, want, 20);
		memcpy(t.p + 4096, want + 20, len - 20);
		struct part parts[2] = {{t.buf, 32, false}, {t.buf + 4096, (u32)len - 20, false}};
		driver_do(&t.d, 1, parts, 2);
		ssize_t n;
		guest_until(&t.g, (n = recv(t.wire, got, sizeof(got), 0)) > 0);
		assert_int_equal(n, len);
		assert_memory_equal(got, want, len);
	}
	/* What is no frame is dropped and returned. */
	struct part bad[1] = {{t.buf, 5, false}};
	driver_do(&t.d, 1, bad, 1);
	struct part none[1] = {{t.buf, 64, true}};
	driver_do(&t.d, 1, none, 1);
	assert_int_equal(common_get(&t.d, 0x14, 1), 15);
	port_close(&t);
}

static void receive(void **state, u64 features, u32 size, unsigned count)
{
	struct port t;
	u8 want[1514];
	u32 id, len;

	port_open(&t);
	driver_start(&t.d, features, 3);
	for (unsigned i = 0; i < count; i++) {
		struct part b = {t.buf + i * size, size, true};
		driver_add(&t.d, 0, &b, 1);
	}
	driver_notify(&t.d, 0);
	for (unsigned i = 0; i < 500; i++) {
		size_t n = frame(want, 60 + (i * 97) % 1454, i);
		assert_int_equal(send(t.wire, want, n, 0), n);
		u8 got[12 + 1514];
		size_t at = 0;
		unsigned buffers = 0, expected = 1;
		while (buffers < expected) {
			guest_until(&t.g, driver_used(&t.d, 0, &id, &len));
			u64 gpa = t.d.ring[0].desc[id].addr;
			assert_true(at + len <= sizeof(got));
			memcpy(got + at, guest_ptr(&t.g, gpa), len);
			if (!buffers)
				expected = got[10] | got[11] << 8;
			at += len;
			buffers++;
			/* All buffers of a frame are there when the first is. */
			if (buffers < expected)
				assert_int_not_equal(t.d.ring[0].used->idx, t.d.ring[0].seen);
			struct part b = {gpa, size, true};
			driver_add(&t.d, 0, &b, 1);
			driver_notify(&t.d, 0);
		}
		assert_int_equal(at, n + 12);
		assert_memory_equal(got + 12, want, n);
	}
	assert_true(t.g.msi[1] > 0);
	port_close(&t);
}

static void frames_come_in(void **state)
{
	receive(state, EVENTS | CONTROL, 2048, 64);
}

static void frames_are_spread_over_buffers(void **state)
{
	receive(state, EVENTS | CONTROL | MRG, 256, 200);
}

static void frames_are_spread_with_offloads(void **state)
{
	receive(state, EVENTS | CONTROL | MRG | TSO, 1536, 200);
}

/* Few buffers: a frame waits until there are enough, and none is torn. */
static void a_frame_waits_for_buffers(void **state)
{
	struct port t;
	u8 want[1000];
	u32 id, len, total = 0;

	port_open(&t);
	driver_start(&t.d, EVENTS | CONTROL | MRG, 3);
	for (unsigned i = 0; i < 3; i++) {
		struct part b = {t.buf + i * 4096, 256, true};
		driver_add(&t.d, 0, &b, 1);
	}
	driver_notify(&t.d, 0);
	frame(want, sizeof(want), 5);
	assert_int_equal(send(t.wire, want, sizeof(want), 0), sizeof(want));
	guest_run(&t.g, 20);
	assert_false(driver_used(&t.d, 0, &id, &len));
	for (unsigned i = 3; i < 6; i++) {
		struct part b = {t.buf + i * 4096, 256, true};
		driver_add(&t.d, 0, &b, 1);
		driver_notify(&t.d, 0);
	}
	guest_until(&t.g, t.d.ring[0].used->idx == 4);
	u8 got[1012];
	while (driver_used(&t.d, 0, &id, &len)) {
		memcpy(got + total, guest_ptr(&t.g, t.d.ring[0].desc[id].addr), len);
		total += len;
	}
	assert_int_equal(total, 1012);
	assert_int_equal(got[10], 4);
	assert_memory_equal(got + 12, want, 1000);
	/* No buffers at all, many frames: the oldest wait in the tap. */
	for (unsigned i = 0; i < 10; i++)
		send(t.wire, want, 100, 0);
	guest_run(&t.g, 5);
	for (unsigned i = 0; i < 20; i++) {
		struct part b = {t.buf + i * 4096, 256, true};
		driver_add(&t.d, 0, &b, 1);
	}
	driver_notify(&t.d, 0);
	guest_until(&t.g, t.d.ring[0].used->idx == 14);
	port_close(&t);
}

static u8 control(struct port *t, u8 class, u8 command, const void *data, u32 len)
{
	t->p[0] = class;
	t->p[1] = command;
	t->p[99] = 0xff;
	memcpy(t->p + 50, data, len);
	struct part parts[3] = {{t->buf, 2, false}, {t->buf + 50, len, false}, {t->buf + 99, 1, true}};
	assert_int_equal(driver_do(&t->d, 2, parts, 3), 1);
	return t->p[99];
}

static void the_control_queue_answers(void **state)
{
	struct port t;
	u64 offloads = BIT(1);

	port_open(&t);
	driver_start(&t.d, EVENTS | CONTROL | TSO, 3);
	assert_int_equal(control(&t, 0, 0, "\1", 1), 0);
	assert_int_equal(control(&t, 0, 0, "\1\1", 2), 1);
	assert_int_equal(control(&t, 1, 1, "\2\0\0\0\0\7", 6), 0);
	assert_int_equal(bus_read(t.g.mmio, t.d.device + 5, 1), 7);
	assert_int_equal(control(&t, 1, 0, "\0\0\0\0\0\0\0\0", 8), 0);
	assert_int_equal(control(&t, 5, 0, &offloads, 8), 0);
	offloads = BIT(10);
	assert_int_equal(control(&t, 5, 0, &offloads, 8), 1);
	assert_int_equal(control(&t, 9, 0, "\1", 1), 1);
	port_close(&t);
}

static void reset_and_go_on(void **state)
{
	struct port t;
	u8 want[100];

	port_open(&t);
	for (int i = 0; i < 20; i++) {
		u64 heap = t.g.heap;
		driver_start(&t.d, EVENTS | CONTROL | (i & 1 ? MRG | TSO : 0) | BIT(40), 3);
		for (unsigned k = 0; k < 40; k++) {
			struct part b = {t.buf + k * 4096, 2048, true};
			driver_add(&t.d, 0, &b, 1);
		}
		driver_notify(&t.d, 0);
		u16 before = t.d.ring[0].used->idx;
		frame(want, sizeof(want), 1);
		send(t.wire, want, sizeof(want), 0);
		guest_until(&t.g, t.d.ring[0].used->idx != before);
		common_set(&t.d, 0x16, 2, 0);
		common_set(&t.d, 0x3a, 2, 1);
		send(t.wire, want, sizeof(want), 0);
		guest_run(&t.g, 2);
		if (i & 1)
			pci_host_reset(t.g.pci);
		driver_find(&t.d, &t.g, 1);
		t.g.heap = heap;
	}
	port_close(&t);
}

static void a_tap_that_is_not_there(void **state)
{
	struct guest g;
	struct error e = {0};
	struct virtio_net_config c = {.tap = "insula-none", .tap_fd = -1};

	guest_init(&g);
	assert_null(virtio_net_new(&c, g.pci, &g.mem, &g.loop, &e));
	assert_non_null(strstr(e.text, "insula-none"));
	assert_int_equal(if_nametoindex("insula-none"), 0);
	c.tap = "lo";
	assert_null(virtio_net_new(&c, g.pci, &g.mem, &g.loop, &e));
	assert_non_null(strstr(e.text, "lo"));
	c.tap = "a-name-that-is-far-too-long-for-linux";
	assert_null(virtio_net_new(&c, g.pci, &g.mem, &g.loop, &e));
	guest_release(&g);
	if (!possible)
		skip();
	/* In use. */
	struct port t;
	port_open(&t);
	c.tap = TAP;
	assert_null(virtio_net_new(&c, t.g.pci, &t.g.mem, &t.g.loop, &e));
	assert_non_null(strstr(e.text, "in use"));
	port_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(it_says_what_it_is),
	        cmocka_unit_test(frames_go_out),
	        cmocka_unit_test(frames_come_in),
	        cmocka_unit_test(frames_are_spread_over_buffers),
	        cmocka_unit_test(frames_are_spread_with_offloads),
	        cmocka_unit_test(a_frame_waits_for_buffers),
	        cmocka_unit_test(the_control_queue_answers),
	        cmocka_unit_test(reset_and_go_on),
	        cmocka_unit_test(a_tap_that_is_not_there),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
