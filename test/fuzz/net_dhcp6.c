/* DHCP for IPv6 and router solicitations as a guest reaches them. */
#include "net/dhcp6.h"
#include "net/router.h"

#include "../unit/net_fixture.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static struct config *c;
	u8 out[DHCP6_MAX];

	if (!c)
		c = net_fixture_new();
	for (unsigned n = 0; n < c->interfaces_count; n++) {
		size_t length = dhcp6_answer(c, &c->interfaces[n], data, size, out);

		if (length > DHCP6_MAX || (length && (length < 4 || memcmp(out + 1, data + 1, 3))))
			abort();
	}
	router_is_solicitation(data, size, 255);
	return 0;
}
