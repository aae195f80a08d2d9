#include "base/cidr.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>

int ip_parse(struct ip *a, const char *text)
{
	u8 bytes[16];
	unsigned count;

	a->v6 = strchr(text, ':') != NULL;
	a->bits = 0;
	if (inet_pton(a->v6 ? AF_INET6 : AF_INET, text, bytes) != 1)
		return -1;
	count = a->v6 ? 16 : 4;
	for (unsigned i = 0; i < count; i++)
		a->bits = a->bits << 8 | bytes[i];
	return 0;
}

/* Bits of the prefix, among the lower `width`. */
static ip_bits mask_of(unsigned width, unsigned length)
{
	ip_bits all = width == 128 ? ~(ip_bits)0 : ((ip_bits)1 << width) - 1;

	return length ? all & ~(length == width ? 0 : ((ip_bits)1 << (width - length)) - 1) : 0;
}

int cidr_parse(struct cidr *c, const char *text)
{
	const char *slash = strchr(text, '/'), *digits;
	char address[IP_TEXT];
	unsigned length = 0;

	if (!slash || (size_t)(slash - text) >= sizeof(address))
		return -1;
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = 0;
	if (ip_parse(&c->first, address) < 0)
		return -1;
	digits = slash + 1;
	if (!*digits || strlen(digits) > 3 || digits[strspn(digits, "0123456789")] ||
	    (digits[0] == '0' && digits[1]))
		return -1;
	for (; *digits; digits++)
		length = 10 * length + (unsigned)(*digits - '0');
	if (length > ip_width(c->first))
		return -1;
	c->length = (u8)length;
	c->first.bits &= mask_of(ip_width(c->first), length);
	return 0;
}

void ip_write(char out[IP_TEXT], struct ip a)
{
	u8 bytes[16];
	unsigned count = a.v6 ? 16 : 4;

	for (unsigned i = count; i-- > 0; a.bits >>= 8)
		bytes[i] = (u8)a.bits;
	inet_ntop(a.v6 ? AF_INET6 : AF_INET, bytes, out, IP_TEXT);
}

void cidr_write(char out[CIDR_TEXT], struct cidr c)
{
	ip_write(out, c.first);
	snprintf(out + strlen(out), 5, "/%u", c.length);
}

const char *ip_text(struct arena *arena, struct ip a)
{
	char text[IP_TEXT];

	ip_write(text, a);
	return arena_strdup(arena, text);
}

const char *cidr_text(struct arena *arena, struct cidr c)
{
	char text[CIDR_TEXT];

	cidr_write(text, c);
	return arena_strdup(arena, text);
}

const char *cidr_canonical(struct arena *arena, const char *text)
{
	struct cidr c;

	return cidr_parse(&c, text) < 0 ? NULL : cidr_text(arena, c);
}

bool cidr_contains(struct cidr c, struct ip a)
{
	return c.first.v6 == a.v6 && (a.bits & mask_of(ip_width(a), c.length)) == c.first.bits;
}

bool cidr_covers(struct cidr outer, struct cidr inner)
{
	return outer.length <= inner.length && cidr_contains(outer, inner.first);
}

bool cidr_overlaps(struct cidr a, struct cidr b)
{
	return cidr_covers(a, b) || cidr_covers(b, a);
}

u64 cidr_size(struct cidr c)
{
	unsigned bits = ip_width(c.first) - c.length;

	return bits >= 64 ? UINT64_MAX : (u64)1 << bits;
}

struct ip cidr_nth(struct cidr c, ip_bits n)
{
	c.first.bits += n;
	return c.first;
}

struct ip cidr_last(struct cidr c)
{
	c.first.bits |= mask_of(ip_width(c.first), ip_width(c.first)) & ~mask_of(ip_width(c.first), c.length);
	return c.first;
}

struct cidr cidr_part(struct cidr c, unsigned length, ip_bits n)
{
	unsigned width = ip_width(c.first);

	assert(length >= c.length && length <= width);
	if (length)
		c.first.bits += length == width ? n : n << (width - length);
	c.length = (u8)length;
	return c;
}

void ip_key(char out[IP_KEY], struct ip a)
{
	if (a.v6)
		snprintf(out, IP_KEY, "%016llx%016llx", (unsigned long long)(a.bits >> 64),
		         (unsigned long long)a.bits);
	else
		snprintf(out, IP_KEY, "%08x", (u32)a.bits);
}

struct ip ip_of_key(const char *key)
{
	struct ip a = {.v6 = strlen(key) > 8};

	for (; *key; key++)
		a.bits = a.bits << 4 | (ip_bits)(*key <= '9' ? *key - '0' : *key - 'a' + 10);
	return a;
}
