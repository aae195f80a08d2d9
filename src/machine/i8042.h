/*
 * What is left of a PC's keyboard controller: ports 0x60 and 0x64 of an 8042 with nothing plugged in, which
 * can still reset the machine (command 0xfe), and port 0x92 (system control port A: A20, fast reset). The A20
 * gate is stored for who reads it back; address line 20 is always on. Own lock.
 */
#pragma once

#include "base/types.h"
#include "machine/bus.h"

#include <pthread.h>

struct i8042 {
	pthread_mutex_t lock;
	u8 command; /* 0x60-type command that waits for its data byte, 0: none */
	u8 config;  /* command byte */
	u8 output;  /* byte at port 0x60 */
	bool full;  /* it was not read yet */
	u8 outport; /* output port: bit 1 A20 */
	void (*reset)(void *ctx);
	void *ctx;
	struct bus_region data, control, port92;
};

void i8042_init(struct i8042 *k, void (*reset)(void *ctx), void *ctx);
void i8042_release(struct i8042 *k);
void i8042_reset(struct i8042 *k);
int i8042_map(struct i8042 *k, struct bus *pio);

u8 i8042_read(struct i8042 *k, u16 port);
void i8042_write(struct i8042 *k, u16 port, u8 value);
