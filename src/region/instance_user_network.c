#include "region/instance_user_network.h"
#include "base/cidr.h"
#include "region/network_interface.h"
#include "region/subnet.h"

bool instance_user_network(struct request *r, const struct resource *instance, struct user_network *n)
{
	struct resource *interface = network_interface_list(r, instance->id)[0], *subnet;
	struct cidr block;

	subnet = interface ? resource_find(r, &subnet_kind, interface->parent) : NULL;
	if (!subnet || cidr_parse(&block, value_string(subnet->doc, "CidrBlock")) < 0)
		return false;
	*n = (struct user_network){.address = value_string(interface->doc, "PrivateIpAddress"),
	                           .gateway = ip_text(r->arena, cidr_nth(block, 1)),
	                           .prefix = block.length,
	                           .mac = value_string(interface->doc, "MacAddress"),
	                           .ssh_port = user_network_port()};
	return n->address && n->mac;
}
