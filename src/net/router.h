/*
 * Router advertisements (RFC 4861): a guest learns by them that there is a router on its link, that its
 * addresses come by DHCP, and how long packets may be. No prefix is on the link: each packet goes to the
 * router.
 */
#pragma once

#include "base/types.h"

enum {
	ROUTER_ADVERTISEMENT = 32, /* bytes */
	ROUTER_LIFETIME_S = 1800,
	ROUTER_EVERY_S = 200, /* unsolicited: on each link */
};

/* The ICMPv6 message; its checksum is the kernel's business. */
void router_advertisement(u8 out[ROUTER_ADVERTISEMENT]);
/* Is this a router solicitation? hops: of its packet. */
bool router_is_solicitation(const u8 *in, size_t length, int hops);
