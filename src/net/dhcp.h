/*
 * DHCP for IPv4 (RFC 2131, RFC 2132): what a subnet's router answers, as a function of a message's bytes. An
 * interface has its addresses for as long as it is; a lease is only how often it asks. There is nothing to
 * remember, so whoever answers may be replaced at any time.
 */
#pragma once

#include "net/config.h"

enum {
	DHCP_SERVER_PORT = 67,
	DHCP_CLIENT_PORT = 68,
	DHCP_LEASE_S = 3600,
	DHCP_MAX = 1500, /* bytes of an answer */
};

struct dhcp_answer {
	u8 bytes[DHCP_MAX];
	size_t length;  /* 0: none */
	struct ip from; /* the subnet's router */
	struct ip to;   /* 255.255.255.255: all who are there */
};

/* The answer to a message that came in on the interface. None to what is not a client's message, is another
 * MAC's or another server's business, nor where the subnet has no IPv4. */
void dhcp_answer(const struct config *c, const struct config_interface *i, const u8 *in, size_t length,
                 struct dhcp_answer *a);
