/* Flow logs: packets of guests as the kernel's log shows them, and its messages around them. */
#include "net/flow_reader.h"

#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static const u16 types[] = {4 << 8 | 0, 1 << 8 | 2}; /* a packet, a connection's end */
	static _Alignas(8) u8 message[4096];
	struct nlmsghdr *head = (struct nlmsghdr *)(void *)message;
	struct flow f = {0}, both[2];
	u64 packets[2], bytes[2], length = 0;

	if (flow_read_packet(&f, data, size, &length) && length > 65535 + 40)
		abort();
	if (size > sizeof(message) - sizeof(*head))
		return 0;
	memcpy(message + sizeof(*head), data, size);
	for (unsigned i = 0; i < 2; i++) {
		head->nlmsg_len = (u32)(sizeof(*head) + size);
		head->nlmsg_type = types[i];
		if (flow_read_log(&f, head, &length) && (!*f.interface || strlen(f.interface) >= FLOW_ID))
			abort();
		flow_read_end(both, head, packets, bytes);
	}
	return 0;
}
