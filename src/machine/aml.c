#include "machine/aml.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
	OP_NAME = 0x08,
	OP_BYTE = 0x0a,
	OP_WORD = 0x0b,
	OP_DWORD = 0x0c,
	OP_STRING = 0x0d,
	OP_QWORD = 0x0e,
	OP_SCOPE = 0x10,
	OP_BUFFER = 0x11,
	OP_PACKAGE = 0x12,
	OP_METHOD = 0x14,
	OP_DUAL_NAME = 0x2e,
	OP_MULTI_NAME = 0x2f,
	OP_EXT = 0x5b,
	OP_LOCAL0 = 0x60,
	OP_ARG0 = 0x68,
	OP_STORE = 0x70,
	OP_AND = 0x7b,
	OP_NOTIFY = 0x86,
	OP_EQUAL = 0x93,
	OP_IF = 0xa0,
	OP_ELSE = 0xa1,
	OP_RETURN = 0xa4,
	EXT_REGION = 0x80,
	EXT_FIELD = 0x81,
	EXT_DEVICE = 0x82,
};

void aml_init(struct aml *a)
{
	memset(a, 0, sizeof(*a));
}

void aml_release(struct aml *a)
{
	free(a->data);
	memset(a, 0, sizeof(*a));
}

void aml_bytes(struct aml *a, const void *data, size_t len)
{
	if (a->failed)
		return;
	if (len > a->size - a->len) {
		size_t size = max(a->size * 2, a->len + len + 1024);
		u8 *grown = realloc(a->data, size);

		if (!grown) {
			a->failed = true;
			return;
		}
		a->data = grown;
		a->size = size;
	}
	memcpy(a->data + a->len, data, len);
	a->len += len;
}

void aml_byte(struct aml *a, u8 v)
{
	aml_bytes(a, &v, 1);
}

/* Little-endian, len bytes. */
static void put(struct aml *a, u64 v, size_t len)
{
	for (size_t i = 0; i < len; i++)
		aml_byte(a, (u8)(v >> i * 8));
}

void aml_path(struct aml *a, const char *path)
{
	unsigned segments = 1;

	if (*path == '\\')
		aml_byte(a, (u8)*path++);
	for (const char *p = path; *p; p++)
		segments += *p == '.';
	if (!*path) {
		aml_byte(a, 0);
		return;
	}
	if (segments == 2) {
		aml_byte(a, OP_DUAL_NAME);
	} else if (segments > 2) {
		aml_byte(a, OP_MULTI_NAME);
		aml_byte(a, (u8)segments);
	}
	while (segments--) {
		size_t len = strcspn(path, ".");

		assert(len >= 1 && len <= 4);
		aml_bytes(a, path, len);
		aml_bytes(a, "____", 4 - len);
		path += len + (path[len] == '.');
	}
}

void aml_int(struct aml *a, u64 v)
{
	if (v <= 1) {
		aml_byte(a, (u8)v);
	} else if (v <= 0xff) {
		aml_byte(a, OP_BYTE);
		put(a, v, 1);
	} else if (v <= 0xffff) {
		aml_byte(a, OP_WORD);
		put(a, v, 2);
	} else if (v <= 0xffffffff) {
		aml_byte(a, OP_DWORD);
		put(a, v, 4);
	} else {
		aml_byte(a, OP_QWORD);
		put(a, v, 8);
	}
}

void aml_string(struct aml *a, const char *s)
{
	aml_byte(a, OP_STRING);
	aml_bytes(a, s, strlen(s) + 1);
}

static unsigned hex_digit(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : c - 'A' + 10);
}

void aml_eisa_id(struct aml *a, const char *id)
{
	u32 v = 0;

	for (int i = 0; i < 3; i++)
		v = v << 5 | (u32)(id[i] - '@');
	for (int i = 3; i < 7; i++)
		v = v << 4 | hex_digit(id[i]);
	aml_byte(a, OP_DWORD);
	put(a, __builtin_bswap32(v), 4);
}

void aml_name(struct aml *a, const char *path)
{
	aml_byte(a, OP_NAME);
	aml_path(a, path);
}

void aml_name_int(struct aml *a, const char *path, u64 v)
{
	aml_name(a, path);
	aml_int(a, v);
}

void aml_name_string(struct aml *a, const char *path, const char *s)
{
	aml_name(a, path);
	aml_string(a, s);
}

void aml_name_eisa_id(struct aml *a, const char *path, const char *id)
{
	aml_name(a, path);
	aml_eisa_id(a, id);
}

/* ---- blocks ---- */

/* Package lengths are always written in the three-byte form, so that they can be filled in afterwards. */
static void begin(struct aml *a)
{
	assert(a->depth < AML_MAX_DEPTH);
	a->open[a->depth].length_at = a->len;
	a->open[a->depth].size_at = 0;
	a->depth++;
	put(a, 0, 3);
}

void aml_end(struct aml *a)
{
	assert(a->depth);
	a->depth--;
	size_t size_at = a->open[a->depth].size_at, length_at = a->open[a->depth].length_at;

	if (size_at) {
		static const u8 end_tag[2] = {0x79, 0}; /* checksum 0: none */

		aml_bytes(a, end_tag, sizeof(end_tag));
	}
	if (a->failed)
		return;
	if (size_at) {
		size_t size = a->len - (size_at + 2);

		a->data[size_at] = (u8)size;
		a->data[size_at + 1] = (u8)(size >> 8);
	}
	size_t len = a->len - length_at;
	a->data[length_at] = (u8)(2 << 6 | (len & 0xf));
	a->data[length_at + 1] = (u8)(len >> 4);
	a->data[length_at + 2] = (u8)(len >> 12);
}

void aml_scope(struct aml *a, const char *path)
{
	aml_byte(a, OP_SCOPE);
	begin(a);
	aml_path(a, path);
}

void aml_device(struct aml *a, const char *path)
{
	aml_byte(a, OP_EXT);
	aml_byte(a, EXT_DEVICE);
	begin(a);
	aml_path(a, path);
}

void aml_method(struct aml *a, const char *path, unsigned args)
{
	aml_byte(a, OP_METHOD);
	begin(a);
	aml_path(a, path);
	aml_byte(a, (u8)args);
}

void aml_package(struct aml *a, u8 elements)
{
	aml_byte(a, OP_PACKAGE);
	begin(a);
	aml_byte(a, elements);
}

void aml_if(struct aml *a)
{
	aml_byte(a, OP_IF);
	begin(a);
}

void aml_else(struct aml *a)
{
	aml_byte(a, OP_ELSE);
	begin(a);
}

void aml_resources(struct aml *a)
{
	aml_byte(a, OP_BUFFER);
	begin(a);
	aml_byte(a, OP_WORD);
	a->open[a->depth - 1].size_at = a->len;
	put(a, 0, 2);
}

void aml_buffer(struct aml *a, const void *data, u8 len)
{
	aml_byte(a, OP_BUFFER);
	begin(a);
	aml_int(a, len);
	aml_bytes(a, data, len);
	aml_end(a);
}

void aml_io_registers(struct aml *a, const char *path, u16 base, u8 len, const char *const *names)
{
	enum { SYSTEM_IO = 1, DWORD_ACCESS = 3, WRITE_AS_ZEROS = 2 << 5 };

	aml_byte(a, OP_EXT);
	aml_byte(a, EXT_REGION);
	aml_path(a, path);
	aml_byte(a, SYSTEM_IO);
	aml_int(a, base);
	aml_int(a, len);
	aml_byte(a, OP_EXT);
	aml_byte(a, EXT_FIELD);
	begin(a);
	aml_path(a, path);
	aml_byte(a, DWORD_ACCESS | WRITE_AS_ZEROS);
	for (; *names; names++) {
		aml_path(a, *names);
		aml_byte(a, 32); /* bits, as a package length */
	}
	aml_end(a);
}

void aml_store(struct aml *a)
{
	aml_byte(a, OP_STORE);
}

void aml_local(struct aml *a, unsigned n)
{
	aml_byte(a, (u8)(OP_LOCAL0 + n));
}

void aml_and(struct aml *a, unsigned local, u64 mask)
{
	aml_byte(a, OP_AND);
	aml_local(a, local);
	aml_int(a, mask);
	aml_byte(a, 0); /* the result goes nowhere else */
}

void aml_notify(struct aml *a, const char *path, u8 value)
{
	aml_byte(a, OP_NOTIFY);
	aml_path(a, path);
	aml_int(a, value);
}

void aml_arg(struct aml *a, unsigned n)
{
	aml_byte(a, (u8)(OP_ARG0 + n));
}

void aml_return(struct aml *a)
{
	aml_byte(a, OP_RETURN);
}

void aml_equal(struct aml *a)
{
	aml_byte(a, OP_EQUAL);
}

/* ---- resources ---- */

void aml_io(struct aml *a, u16 base, u8 len)
{
	aml_byte(a, 0x47);
	aml_byte(a, 1); /* decodes 16 bits */
	put(a, base, 2);
	put(a, base, 2);
	aml_byte(a, 1); /* alignment */
	aml_byte(a, len);
}

void aml_irq(struct aml *a, unsigned irq)
{
	aml_byte(a, 0x22); /* no flags: edge, active high, exclusive */
	put(a, BIT(irq), 2);
}

void aml_memory32_fixed(struct aml *a, u32 base, u32 len)
{
	aml_byte(a, 0x86);
	put(a, 9, 2);
	aml_byte(a, 1); /* read-write */
	put(a, base, 4);
	put(a, len, 4);
}

/* An address space descriptor whose numbers have width bytes: fixed at both ends, decoded positively. */
static void window(struct aml *a, u8 tag, u8 type, u8 flags, size_t width, u64 first, u64 last)
{
	aml_byte(a, tag);
	put(a, 3 + 5 * width, 2);
	aml_byte(a, type);
	aml_byte(a, 0x0c); /* minimum and maximum fixed, producer */
	aml_byte(a, flags);
	put(a, 0, width); /* granularity */
	put(a, first, width);
	put(a, last, width);
	put(a, 0, width); /* translation */
	put(a, last - first + 1, width);
}

void aml_bus_range(struct aml *a, u16 first, u16 last)
{
	window(a, 0x88, 2, 0, 2, first, last);
}

void aml_io_window(struct aml *a, u16 first, u16 last)
{
	window(a, 0x88, 1, 3 /* the entire range */, 2, first, last);
}

void aml_memory_window(struct aml *a, u32 first, u32 last)
{
	window(a, 0x87, 0, 1 /* read-write, not cacheable */, 4, first, last);
}

void aml_memory_window64(struct aml *a, u64 first, u64 last)
{
	window(a, 0x8a, 0, 1, 8, first, last);
}
