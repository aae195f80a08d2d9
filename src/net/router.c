#include "net/router.h"
#include "net/wire.h"

enum { SOLICITATION = 133, ADVERTISEMENT = 134, MANAGED = 0x80, OTHER = 0x40 };
enum { OPTION_SOURCE = 1, OPTION_MTU = 5, MTU_BYTES = 9001 };

/* Of the host's end of all taps. */
static const u8 mac[6] = {6, 0, 0, 0, 0, 1};

void router_advertisement(u8 out[ROUTER_ADVERTISEMENT])
{
	struct wire w = {.bytes = out, .room = ROUTER_ADVERTISEMENT};

	wire_8(&w, ADVERTISEMENT);
	wire_8(&w, 0);
	wire_16(&w, 0);
	wire_8(&w, 64); /* hop limit */
	wire_8(&w, MANAGED | OTHER);
	wire_16(&w, ROUTER_LIFETIME_S);
	wire_32(&w, 0); /* reachable time and retransmission: as the guest likes */
	wire_32(&w, 0);
	wire_8(&w, OPTION_SOURCE);
	wire_8(&w, 1);
	wire_bytes(&w, mac, sizeof(mac));
	wire_8(&w, OPTION_MTU);
	wire_8(&w, 1);
	wire_16(&w, 0);
	wire_32(&w, MTU_BYTES);
}

bool router_is_solicitation(const u8 *in, size_t length, int hops)
{
	/* RFC 4861 §6.1.1: what came through a router is not from the link; options have a length. */
	if (hops != 255 || length < 8 || in[0] != SOLICITATION || in[1])
		return false;
	for (size_t at = 8; at < length; at += 8u * in[at + 1])
		if (length - at < 8 || !in[at + 1] || length - at < 8u * in[at + 1])
			return false;
	return true;
}
