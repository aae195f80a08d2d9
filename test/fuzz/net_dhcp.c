/* DHCP for IPv4 as a guest reaches it: whatever it says, it is told of its own addresses alone. */
#include "net/dhcp.h"
#include "net/wire.h"

#include "../unit/net_fixture.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static struct config *c;
	const struct config_interface *i;
	struct dhcp_answer a;
	u8 bytes[1500];

	if (!c)
		c = net_fixture_new();
	i = config_interface(c, "eni1");
	size = size < sizeof(bytes) ? size : sizeof(bytes);
	memcpy(bytes, data, size);
	if (size >= 240) { /* past what it would take long to guess */
		memcpy(bytes, "\1\1\6", 3);
		memset(bytes + 24, 0, 4);
		memcpy(bytes + 28, i->mac, 6);
		memcpy(bytes + 236, "\x63\x82\x53\x63", 4);
	}
	dhcp_answer(c, i, bytes, size, &a);
	if (a.length) {
		u32 given = wire_get32(a.bytes + 16);

		if (a.length < 300 || a.length > DHCP_MAX || (given && given != 0x0a000005) || a.to.v6 ||
		    (a.to.bits != 0xffffffff && a.to.bits != 0x0a000005 && a.to.bits != 0x0a000006))
			abort();
	}
	dhcp_answer(c, config_interface(c, "eni2"), bytes, size, &a);
	if (a.length) /* it has no IPv4 */
		abort();
	return 0;
}
