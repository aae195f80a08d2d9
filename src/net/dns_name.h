/*
 * Domain names as they are on the wire (RFC 1035 §3.1): labels, each behind its length, and an empty one at
 * the end. Letters are small ones here, so names are equal when their bytes are. Values.
 */
#pragma once

#include "base/cidr.h"

enum { DNS_NAME_MAX = 255 };

struct dns_name {
	u8 length; /* with the empty label; 1 is the root */
	u8 bytes[DNS_NAME_MAX];
};

/* -1: text is not a name. A dot at its end does not matter. */
int dns_name_parse(struct dns_name *n, const char *text);
/* Reads one that is written out at `at` of a packet (no pointers: in a question they have nothing to point
 * to). Returns the offset behind it, or 0: it is not one. */
size_t dns_name_read(struct dns_name *n, const u8 *packet, size_t length, size_t at);
/* As strcmp(): some order. */
int dns_name_compare(const struct dns_name *a, const struct dns_name *b);
/* Is it zone, or below it? */
bool dns_name_within(const struct dns_name *n, const struct dns_name *zone);
/* The offset in n's bytes where its last `labels` labels begin, not counting the empty one; it must have so
 * many. */
size_t dns_name_tail(const struct dns_name *n, unsigned labels);

/* The block that a name below in-addr.arpa or ip6.arpa is about: of one address if it is whole. False: it is
 * not such a name. */
bool dns_name_block(const struct dns_name *n, struct cidr *c);
