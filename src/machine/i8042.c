#include "machine/i8042.h"

#include <string.h>

enum { STATUS_FULL = 1, STATUS_SYSTEM = 4, STATUS_COMMAND = 8, STATUS_UNLOCKED = 0x10 };

/* Both interfaces' clocks off, translation on: as the self-test leaves it. */
#define CONFIG_RESET 0x74
#define OUTPORT_A20  0x02

void i8042_init(struct i8042 *k, void (*reset)(void *ctx), void *ctx)
{
	memset(k, 0, sizeof(*k));
	pthread_mutex_init(&k->lock, NULL);
	k->reset = reset;
	k->ctx = ctx;
	i8042_reset(k);
}

void i8042_release(struct i8042 *k)
{
	pthread_mutex_destroy(&k->lock);
}

void i8042_reset(struct i8042 *k)
{
	pthread_mutex_lock(&k->lock);
	k->command = k->output = 0;
	k->full = false;
	k->config = CONFIG_RESET;
	k->outport = 1 | OUTPORT_A20;
	pthread_mutex_unlock(&k->lock);
}

static void answer(struct i8042 *k, u8 value)
{
	k->output = value;
	k->full = true;
}

/* Returns true if the machine is to be reset. */
static bool command(struct i8042 *k, u8 value)
{
	switch (value) {
	case 0x20:
		answer(k, k->config);
		break;
	case 0x60:
	case 0xd1:
	case 0xd2:
	case 0xd3:
	case 0xd4:
		k->command = value;
		break;
	case 0xa7:
		k->config |= 0x20;
		break;
	case 0xa8:
		k->config &= (u8)~0x20;
		break;
	case 0xa9:
	case 0xab:
		answer(k, 1);
		break; /* interface test: clock line stuck low, as with no device */
	case 0xaa:
		k->config = CONFIG_RESET;
		answer(k, 0x55);
		break;
	case 0xad:
		k->config |= 0x10;
		break;
	case 0xae:
		k->config &= (u8)~0x10;
		break;
	case 0xc0:
		answer(k, 0x80);
		break;
	case 0xd0:
		answer(k, k->outport);
		break;
	case 0xdd:
		k->outport &= (u8)~OUTPORT_A20;
		break;
	case 0xdf:
		k->outport |= OUTPORT_A20;
		break;
	default:
		/* Pulse output lines 3:0 low; line 0 is the processor's reset. */
		if (value >= 0xf0 && !(value & 1))
			return true;
	}
	return false;
}

static bool data(struct i8042 *k, u8 value)
{
	u8 to = k->command;
	bool reset = false;

	k->command = 0;
	switch (to) {
	case 0x60:
		k->config = value;
		break;
	case 0xd1:
		reset = !(value & 1);
		k->outport = value | 1;
		break;
	case 0xd2:
	case 0xd3:
		answer(k, value);
		break;
	}
	/* Anything else goes to a keyboard or mouse that is not there, and never answers. */
	return reset;
}

u8 i8042_read(struct i8042 *k, u16 port)
{
	u8 value;

	pthread_mutex_lock(&k->lock);
	switch (port) {
	case 0x60:
		value = k->output;
		k->full = false;
		break;
	case 0x64:
		value = STATUS_SYSTEM | STATUS_UNLOCKED | (k->full ? STATUS_FULL : 0);
		break;
	default:
		value = k->outport & OUTPORT_A20;
	}
	pthread_mutex_unlock(&k->lock);
	return value;
}

void i8042_write(struct i8042 *k, u16 port, u8 value)
{
	bool reset;

	pthread_mutex_lock(&k->lock);
	switch (port) {
	case 0x60:
		reset = data(k, value);
		break;
	case 0x64:
		reset = command(k, value);
		break;
	default:
		k->outport = (u8)((k->outport & ~OUTPORT_A20) | (value & OUTPORT_A20));
		reset = value & 1;
	}
	pthread_mutex_unlock(&k->lock);
	if (reset)
		k->reset(k->ctx);
}

#define I8042_PORT(name, port)                                                    \
	static u64 name##_read(void *ctx, u64 offset, unsigned size)              \
	{                                                                         \
		return i8042_read(ctx, port);                                     \
	}                                                                         \
	static void name##_write(void *ctx, u64 offset, unsigned size, u64 value) \
	{                                                                         \
		i8042_write(ctx, port, (u8)value);                                \
	}                                                                         \
	static const struct bus_ops name##_ops = {name##_read, name##_write};

I8042_PORT(data, 0x60)
I8042_PORT(control, 0x64)
I8042_PORT(port92, 0x92)

int i8042_map(struct i8042 *k, struct bus *pio)
{
	k->data = (struct bus_region){
	        .name = "i8042 data", .base = 0x60, .size = 1, .ops = &data_ops, .ctx = k, .max_size = 1};
	k->control = (struct bus_region){.name = "i8042 control",
	                                 .base = 0x64,
	                                 .size = 1,
	                                 .ops = &control_ops,
	                                 .ctx = k,
	                                 .max_size = 1};
	k->port92 = (struct bus_region){
	        .name = "port 0x92", .base = 0x92, .size = 1, .ops = &port92_ops, .ctx = k, .max_size = 1};
	if (bus_add(pio, &k->data) < 0 || bus_add(pio, &k->control) < 0 || bus_add(pio, &k->port92) < 0)
		return -1;
	return 0;
}
