/* Bytes of network protocols, in network order: a reader and a writer that cannot leave their buffers. */
#pragma once

#include "base/cidr.h"

#include <string.h>

static inline u16 wire_get16(const u8 *p)
{
	return (u16)(p[0] << 8 | p[1]);
}
static inline u32 wire_get32(const u8 *p)
{
	return (u32)p[0] << 24 | (u32)p[1] << 16 | (u32)p[2] << 8 | p[3];
}
static inline void wire_put16(u8 *p, u16 v)
{
	p[0] = (u8)(v >> 8);
	p[1] = (u8)v;
}
static inline void wire_put32(u8 *p, u32 v)
{
	wire_put16(p, (u16)(v >> 16));
	wire_put16(p + 2, (u16)v);
}

/* An address as it is on the wire: 4 or 16 bytes, which is returned. */
static inline size_t wire_of_ip(u8 out[16], struct ip a)
{
	size_t size = a.v6 ? 16 : 4;

	for (size_t i = 0; i < size; i++)
		out[i] = (u8)(a.bits >> (8 * (size - 1 - i)));
	return size;
}
static inline struct ip wire_ip4(const u8 *p)
{
	return (struct ip){false, wire_get32(p)};
}
static inline struct ip wire_ip6(const u8 *p)
{
	struct ip a = {true, 0};

	for (unsigned i = 0; i < 16; i++)
		a.bits = a.bits << 8 | p[i];
	return a;
}

/* What does not fit is left out, and said in full. */
struct wire {
	u8 *bytes;
	size_t length, room;
	bool full;
};

static inline u8 *wire_reserve(struct wire *w, size_t more)
{
	u8 *at = w->bytes + w->length;

	if (w->full || w->room - w->length < more) {
		w->full = true;
		return NULL;
	}
	w->length += more;
	return at;
}
static inline void wire_bytes(struct wire *w, const void *bytes, size_t length)
{
	u8 *at = wire_reserve(w, length);

	if (at && length)
		memcpy(at, bytes, length);
}
static inline void wire_8(struct wire *w, u8 v)
{
	wire_bytes(w, &v, 1);
}
static inline void wire_16(struct wire *w, u16 v)
{
	u8 *at = wire_reserve(w, 2);

	if (at)
		wire_put16(at, v);
}
static inline void wire_32(struct wire *w, u32 v)
{
	u8 *at = wire_reserve(w, 4);

	if (at)
		wire_put32(at, v);
}
static inline void wire_address(struct wire *w, struct ip a)
{
	u8 bytes[16];

	wire_bytes(w, bytes, wire_of_ip(bytes, a));
}
