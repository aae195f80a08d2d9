/* What belongs together in a plan, and the numbers that stand for its ids in the kernel. */
#pragma once

#include "base/cidr.h"
#include "net/plan.h"

/* NULL: the plan has none. */
const struct plan_subnet *lookup_subnet(const struct plan *p, const char *id);
const struct plan_table *lookup_table(const struct plan *p, const char *id);
const struct plan_acl *lookup_acl(const struct plan *p, const char *id);
const struct plan_group *lookup_group(const struct plan *p, const char *id);
const struct plan_interface *lookup_interface(const struct plan *p, const char *id);

/* Texts of a plan are canonical, so these do not fail. */
struct cidr lookup_block(const char *text);
struct ip lookup_ip(const char *text);
struct cidr lookup_host(const char *address); /* as a block of one */
void lookup_mac(u8 out[6], const char *text);
/* The block has no bit: all addresses. */
static inline bool lookup_is_all(const char *cidr)
{
	size_t n = __builtin_strlen(cidr);

	return n > 2 && cidr[n - 1] == '0' && cidr[n - 2] == '/';
}
static inline bool lookup_is_v6(const char *text)
{
	return __builtin_strchr(text, ':') != NULL;
}

/* The first address of the block but n. */
struct ip lookup_nth(const char *cidr, unsigned n);

/* The link-local address by which the host reaches a guest of this MAC (RFC 4291, appendix A); only the host
 * uses it, as next hop of its routes. */
struct cidr lookup_hop(const u8 mac[6]);

/* Numbers that an id keeps, whatever else comes and goes. */
u32 lookup_table_number(const char *table); /* even; the odd one behind it is free for more */
/* Realms of routes, 16 bits: 1 is the internet gateway. */
enum { REALM_INTERNET = 1, REALM_FIRST_NAT = 16 };
u32 lookup_realm(const struct plan *p, const struct plan_nat *nat);
