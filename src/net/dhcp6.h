/*
 * DHCP for IPv6 (RFC 8415): what a subnet's server answers, as a function of a message's bytes. It gives an
 * interface all of its addresses, to the first association that asks (IA_NA). As with dhcp.h there is nothing
 * to remember. No prefixes are delegated by it: EC2's are routed without being asked for.
 */
#pragma once

#include "net/config.h"

enum {
	DHCP6_SERVER_PORT = 547,
	DHCP6_CLIENT_PORT = 546,
	DHCP6_PREFERRED_S = 140,
	DHCP6_VALID_S = 450,
	DHCP6_MAX = 1232, /* bytes of an answer: no fragments */
};

/* Writes the answer to a message that came in on the interface, by multicast or not, and returns its length;
 * 0: none. out: room for DHCP6_MAX bytes. */
size_t dhcp6_answer(const struct config *c, const struct config_interface *i, const u8 *in, size_t length,
                    u8 *out);
