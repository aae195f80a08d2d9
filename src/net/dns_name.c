#include "net/dns_name.h"

#include <string.h>

static u8 small(u8 c)
{
	return c >= 'A' && c <= 'Z' ? (u8)(c + 32) : c;
}

int dns_name_parse(struct dns_name *n, const char *text)
{
	size_t at = 0;

	while (*text) {
		size_t label = strcspn(text, ".");

		if (!label || label > 63 || at + label + 2 > DNS_NAME_MAX)
			return -1;
		n->bytes[at++] = (u8)label;
		for (size_t i = 0; i < label; i++)
			n->bytes[at++] = small((u8)text[i]);
		text += label;
		text += *text == '.';
	}
	n->bytes[at++] = 0;
	n->length = (u8)at;
	return 0;
}

size_t dns_name_read(struct dns_name *n, const u8 *packet, size_t length, size_t at)
{
	size_t used = 0;

	for (;;) {
		u8 label;

		if (at >= length)
			return 0;
		label = packet[at++];
		if (label > 63 || used + label + 1 > DNS_NAME_MAX || length - at < label)
			return 0;
		n->bytes[used++] = label;
		for (unsigned i = 0; i < label; i++)
			n->bytes[used++] = small(packet[at++]);
		if (!label)
			break;
		if (used == DNS_NAME_MAX)
			return 0;
	}
	n->length = (u8)used;
	return at;
}

int dns_name_compare(const struct dns_name *a, const struct dns_name *b)
{
	return a->length != b->length ? (int)a->length - (int)b->length
	                              : memcmp(a->bytes, b->bytes, a->length);
}

bool dns_name_within(const struct dns_name *n, const struct dns_name *zone)
{
	size_t at = 0;

	while (n->length - at > zone->length)
		at += n->bytes[at] + 1u;
	return n->length - at == zone->length && !memcmp(n->bytes + at, zone->bytes, zone->length);
}

static unsigned count_labels(const struct dns_name *n)
{
	unsigned count = 0;

	for (size_t at = 0; n->bytes[at]; at += n->bytes[at] + 1u)
		count++;
	return count;
}

size_t dns_name_tail(const struct dns_name *n, unsigned labels)
{
	unsigned skip = count_labels(n) - labels;
	size_t at = 0;

	while (skip--)
		at += n->bytes[at] + 1u;
	return at;
}

/* A label's number in its shortest form, below `limit`; -1: it is none. */
static int label_number(const u8 *label, unsigned base, int limit)
{
	int value = 0;

	if (!label[0] || label[0] > 3 || (label[0] > 1 && (label[1] == '0' || base == 16)))
		return -1;
	for (unsigned i = 1; i <= label[0]; i++) {
		int digit = label[i] >= '0' && label[i] <= '9'                 ? label[i] - '0'
		            : base == 16 && label[i] >= 'a' && label[i] <= 'f' ? label[i] - 'a' + 10
		                                                               : -1;

		if (digit < 0)
			return -1;
		value = value * (int)base + digit;
	}
	return value < limit ? value : -1;
}

bool dns_name_block(const struct dns_name *n, struct cidr *c)
{
	static const struct dns_name v4 = {14, "\7in-addr\4arpa"}, v6 = {10, "\3ip6\4arpa"};
	bool is6 = dns_name_within(n, &v6);
	unsigned labels = count_labels(n), width = is6 ? 4 : 8, most = is6 ? 32 : 4;
	size_t at = 0;

	if ((!is6 && !dns_name_within(n, &v4)) || labels < 3 || labels - 2 > most)
		return false;
	labels -= 2;
	*c = (struct cidr){.first.v6 = is6, .length = (u8)(labels * width)};
	/* The first label is the last part of the address. */
	for (unsigned i = 0; i < labels; i++) {
		int part = label_number(n->bytes + at, is6 ? 16 : 10, is6 ? 16 : 256);

		if (part < 0)
			return false;
		c->first.bits |= (ip_bits)part << (width * (most - labels + i));
		at += n->bytes[at] + 1u;
	}
	return true;
}
