/*
 * Addresses and blocks of them, IPv4 and IPv6 (RFC 4632, RFC 4291; texts as RFC 5952 writes them). Values,
 * nothing to release.
 */
#pragma once

#include "base/arena.h"

/* IPv4: the lower 32. Aligned as arenas are. */
typedef unsigned __int128 ip_bits __attribute__((aligned(8)));

struct ip {
	bool v6;
	ip_bits bits;
};

struct cidr {
	struct ip first; /* what is behind the prefix is zero */
	u8 length;       /* of the prefix, in bits */
};

enum { IP_TEXT = 46, CIDR_TEXT = 50, IP_KEY = 33 };

/* -1: text is not an address. No leading zeros, no spaces, no zone index. */
int ip_parse(struct ip *a, const char *text);
/* -1: text is not ADDRESS/LENGTH. Bits behind the prefix are cleared, as EC2 does. */
int cidr_parse(struct cidr *c, const char *text);
void ip_write(char out[IP_TEXT], struct ip a);
void cidr_write(char out[CIDR_TEXT], struct cidr c);
const char *ip_text(struct arena *arena, struct ip a);
const char *cidr_text(struct arena *arena, struct cidr c);
/* The block in its canonical text, or NULL: not a block. */
const char *cidr_canonical(struct arena *arena, const char *text);

static inline bool ip_equal(struct ip a, struct ip b)
{
	return a.v6 == b.v6 && a.bits == b.bits;
}
static inline unsigned ip_width(struct ip a)
{
	return a.v6 ? 128 : 32;
}
bool cidr_contains(struct cidr c, struct ip a);
/* Does outer have all of inner? */
bool cidr_covers(struct cidr outer, struct cidr inner);
bool cidr_overlaps(struct cidr a, struct cidr b);
/* Addresses in it; UINT64_MAX if there are more. */
u64 cidr_size(struct cidr c);
/* The address n behind the first, which must be in it. */
struct ip cidr_nth(struct cidr c, ip_bits n);
/* The last address. */
struct ip cidr_last(struct cidr c);
/* The block of `length` (at least c's) with the number n among those that c is made of. */
struct cidr cidr_part(struct cidr c, unsigned length, ip_bits n);

/* Hexadecimal, 8 or 32 digits: in the order of the addresses, for tables. */
void ip_key(char out[IP_KEY], struct ip a);
/* What ip_key() wrote. */
struct ip ip_of_key(const char *key);
