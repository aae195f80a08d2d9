/*
 * A guest at a serial port and somebody at its other end, who reads and writes in pieces of any size, or not
 * at all. The input is a list of operations of some bytes each. What the host side is given must be what the
 * guest wrote, as long as it waited for room.
 */
#include "machine.h"

#include "device/chardev.h"
#include "device/serial.h"

#define PORT 0x3f8

/* ---- the other end: these stand in for src/device/chardev.c ---- */

struct chardev {
	struct chardev_client client;
	size_t room, ready; /* bytes it would take and give now */
	bool told;          /* a transfer fell short: the client waits to be called */
	u8 next;
};

void chardev_attach(struct chardev *c, const struct chardev_client *client)
{
	c->client = client ? *client : (struct chardev_client){0};
}

size_t chardev_write(struct chardev *c, const void *buf, size_t len)
{
	size_t n = min(len, c->room);
	volatile u8 sink;

	for (size_t i = 0; i < n; i++)
		sink = ((const u8 *)buf)[i];
	(void)sink;
	c->room -= n;
	return n;
}

size_t chardev_read(struct chardev *c, void *buf, size_t len)
{
	size_t n = min(len, c->ready);

	memset(buf, c->next++, n);
	c->ready -= n;
	return n;
}

bool chardev_wait(struct chardev *c, int timeout_ms)
{
	c->room += c->next % 7;
	return c->room;
}

/* ---- */

static void operation(struct input *in, struct serial *s, struct chardev *c)
{
	u8 how = in8(in);
	u64 value;

	switch (how & 15) {
	default:
		pio(0, PORT + (how >> 4 & 7), 1, how & 0x80, how & 0x80 ? in8(in) : 0);
		break;
	case 8:
		pio(0, PORT + (how >> 4 & 7), 1u << in8(in) % 3, how & 0x80, in32(in));
		break;
	case 9:
		for (unsigned n = in16(in); n; n--)
			pio(0, PORT, 1, true, n);
		break;
	case 10:
		for (unsigned i = 0; i < 9; i++)
			pio(0, PORT + 5, 1, false, 0);
		break;
	case 11:
		c->room = in16(in);
		if (c->client.writable)
			c->client.writable(c->client.ctx);
		break;
	case 12:
		c->ready = in8(in);
		if (c->client.readable)
			c->client.readable(c->client.ctx);
		break;
	case 13:
		pump();
		break;
	case 14:
		if (how > 0xe0)
			serial_reset(s);
		break;
	case 15:
		value = in8(in);
		pio(0, PORT + 1, 1, true, value & 15);
		pio(0, PORT + 2, 1, true, in8(in));
		break;
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct input in = {data, data + size};
	u8 how = in8(&in);
	struct chardev c = {.room = how & 2 ? 0 : 1 << 20};
	struct error e;

	machine_up(false);
	struct serial_config config = {
	        .base = PORT, .irq = board_gsi(board, 4), .chardev = &c, .unbuffered = how & 1};
	struct serial *s = serial_new(&config, board_pio(board), &loop, &e);
	if (!s)
		abort();
	while (in_left(&in))
		operation(&in, s, &c);
	c.room = 1 << 20;
	pump();
	serial_free(s);
	machine_down();
	return 0;
}
