#include "region/instance_user_network.h"
#include "base/cidr.h"
#include "base/buffer.h"
#include "model/scalar.h"
#include "region/key_pair.h"
#include "region/network_interface.h"
#include "region/subnet.h"

#include <string.h>

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

const char *instance_user_cmdline(struct request *r, const struct resource *instance, const char *cmdline)
{
	const char *name = value_string(instance->doc, "KeyName"), *key, *told;
	struct resource *pair = name && *name ? key_pair_named(r, name) : NULL;
	struct buffer text = {0};

	if (!cmdline)
		return NULL;
	key = pair ? value_string(pair->doc, "PublicKey") : NULL;
	if (key)
		base64_write(&text, key, strlen(key));
	else
		buffer_text(&text, "none");
	told = arena_printf(r->arena, "%s cloud-init=disabled insula.key=%s", cmdline, buffer_str(&text));
	buffer_release(&text);
	return told;
}
