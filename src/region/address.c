#include "region/address.h"
#include "region/describe.h"
#include "region/instance_network.h"
#include "region/link.h"
#include "region/network_interface.h"
#include "region/public_pool.h"
#include "region/tag.h"
#include "region/vpc.h"
#include "region/internet_gateway.h"

#include <string.h>

static void show(struct request *r, struct value *doc);

RESOURCE_KIND(address_kind) = {
        .name = "elastic-ip",
        .prefix = "eipalloc-",
        .shape = "Address",
        .id = "AllocationId",
        .noun = "AllocationID",
        .malformed = "InvalidAllocationID.Malformed",
        .show = show,
};

enum { ADDRESSES_MAX = 5000 };

/* Whose instance it is follows from the interface. */
static void show(struct request *r, struct value *doc)
{
	const char *interface = value_string(doc, "NetworkInterfaceId");

	value_set_string(doc, "InstanceId", interface ? link_target(r, interface, "instance") : NULL);
}

/* ---- finding them ---- */

static struct resource *by_public_address(struct request *r, const char *text)
{
	const char *id = link_source(r, text, "public-address");
	struct resource *address = id ? resource_find(r, &address_kind, id) : NULL;

	if (!address)
		request_fail(r, "InvalidAddress.NotFound", "Address '%.64s' not found.", text);
	return address;
}

/* The one that AllocationId or PublicIp says. */
static struct resource *address_of(struct request *r)
{
	const char *public_address = value_string(r->in, "PublicIp");

	if (value_get(r->in, "AllocationId") && public_address) {
		request_fail(r, "InvalidParameterCombination",
		             "You may specify public IP or allocation id, but not both in the same call");
		return NULL;
	}
	if (public_address)
		return by_public_address(r, public_address);
	if (!value_get(r->in, "AllocationId")) {
		request_fail(r, "MissingParameter", "Either public IP or allocation id must be specified");
		return NULL;
	}
	return resource_of(r, &address_kind, "AllocationId");
}

/* ---- life ---- */

ACTION(ec2, AllocateAddress)
{
	const char *domain = value_string(r->in, "Domain"), *pool = value_string(r->in, "PublicIpv4Pool");
	const char *border = value_string(r->in, "NetworkBorderGroup"), *public_address;
	struct resource *address;

	if (domain && strcmp(domain, "vpc"))
		return request_fail(r, "UnsupportedOperation",
		                    "There is no EC2-Classic here: use the domain 'vpc'");
	if (value_get(r->in, "CustomerOwnedIpv4Pool"))
		return request_fail(r, "UnsupportedOperation", "There are no outposts here");
	if (pool && strcmp(pool, "amazon"))
		return request_fail(r, "InvalidPublicIpv4PoolID.NotFound",
		                    "The pool ID '%.100s' does not exist", pool);
	if (border && strcmp(border, r->region))
		return request_fail(r, "InvalidParameterValue",
		                    "Value (%.64s) for parameter networkBorderGroup is invalid", border);
	if (resource_count(r, &address_kind, NULL) >= ADDRESSES_MAX)
		return request_fail(r, "AddressLimitExceeded",
		                    "The maximum number of addresses has been reached.");
	address = resource_new(r, &address_kind);
	public_address = public_address_take(r, address->id, value_string(r->in, "Address"));
	if (!public_address)
		return -1;
	value_set_string(address->doc, "PublicIp", public_address);
	value_set_string(address->doc, "PublicIpv4Pool", "amazon");
	value_set_string(address->doc, "NetworkBorderGroup", r->region);
	value_set_string(address->doc, "Domain", "vpc");
	if (tag_specifications(r, address, NULL) < 0)
		return -1;
	resource_insert(r, address);
	link_add(r, address->id, "public-address", public_address);
	value_set_string(r->out, "AllocationId", address->id);
	value_set_string(r->out, "PublicIp", public_address);
	value_set_string(r->out, "PublicIpv4Pool", "amazon");
	value_set_string(r->out, "NetworkBorderGroup", r->region);
	value_set_string(r->out, "Domain", "vpc");
	return 0;
}

ACTION(ec2, ReleaseAddress)
{
	const char *border = value_string(r->in, "NetworkBorderGroup");
	struct resource *address = address_of(r);

	if (!address)
		return -1;
	if (border && strcmp(border, value_string(address->doc, "NetworkBorderGroup")))
		return request_fail(r, "InvalidParameterValue",
		                    "Value (%.64s) for parameter networkBorderGroup is invalid", border);
	if (value_get(address->doc, "AssociationId"))
		return request_fail(r, "InvalidIPAddress.InUse", "Address %s is in use.",
		                    value_string(address->doc, "PublicIp"));
	public_address_give_back(r, value_string(address->doc, "PublicIp"));
	resource_delete(r, address);
	return 0;
}

ACTION(ec2, DescribeAddresses)
{
	static const struct describe d = {.kind = &address_kind,
	                                  .list = "Addresses",
	                                  .ids = "AllocationIds",
	                                  .names = "PublicIps",
	                                  .name_path = "PublicIp",
	                                  .name_not_found = "InvalidAddress.NotFound"};

	return describe_run(r, &d);
}

/* ---- associations ---- */

void address_associate(struct request *r, struct resource *address, struct resource *interface,
                       const char *private_address)
{
	const char *id = resource_id_new(r, "eipassoc-");
	struct network_association a = {.public_address = value_string(address->doc, "PublicIp"),
	                                .allocation = address->id,
	                                .association = id,
	                                .owner = r->account};

	if (value_boolean(network_interface_address(interface, private_address), "Primary", false))
		network_interface_public_release(r, interface);
	network_interface_associate(r, interface, private_address, &a);
	value_set_string(address->doc, "AssociationId", id);
	value_set_string(address->doc, "NetworkInterfaceId", interface->id);
	value_set_string(address->doc, "NetworkInterfaceOwnerId", r->account);
	value_set_string(address->doc, "PrivateIpAddress", private_address);
	link_add(r, address->id, "interface", interface->id);
	link_add(r, address->id, "association", id);
	resource_save(r, address);
}

static void clear(struct request *r, struct resource *address)
{
	static const char *const members[] = {"AssociationId", "NetworkInterfaceId",
	                                      "NetworkInterfaceOwnerId", "PrivateIpAddress", "InstanceId"};

	for (unsigned i = 0; i < ARRAY_SIZE(members); i++)
		value_remove(address->doc, members[i]);
	link_remove(r, address->id, "interface", NULL);
	link_remove(r, address->id, "association", NULL);
	resource_save(r, address);
}

void address_disassociate(struct request *r, struct resource *address)
{
	const char *id = value_string(address->doc, "NetworkInterfaceId");
	struct resource *interface = id ? resource_find(r, &network_interface_kind, id) : NULL;

	if (interface)
		network_interface_associate(r, interface, value_string(address->doc, "PrivateIpAddress"),
		                            NULL);
	clear(r, address);
	id = interface ? value_path(interface->doc, "Attachment.InstanceId") : NULL;
	if (id)
		instance_network_public_back(r, id);
}

void address_private_gone(struct request *r, struct resource *interface, const char *private_address)
{
	for (const char **ids = link_sources(r, interface->id, "interface"); *ids; ids++) {
		struct resource *address = resource_find(r, &address_kind, *ids);

		if (!address || (private_address &&
		                 strcmp(value_string(address->doc, "PrivateIpAddress"), private_address)))
			continue;
		network_interface_associate(r, interface, value_string(address->doc, "PrivateIpAddress"),
		                            NULL);
		clear(r, address);
	}
}

void address_interface_gone(struct request *r, struct resource *interface)
{
	address_private_gone(r, interface, NULL);
}

/* The interface that the request wants: its own, or that of the instance. NULL with r->fault. */
static struct resource *wanted_interface(struct request *r)
{
	const struct resource_kind *kind = resource_kind_of("i-00000000");
	const char *id = value_string(r->in, "InstanceId"), *state;
	struct resource *instance, **list;

	if (value_get(r->in, "NetworkInterfaceId"))
		return resource_of(r, &network_interface_kind, "NetworkInterfaceId");
	if (!id) {
		request_fail(r, "MissingParameter",
		             "Either instance ID or network interface id must be specified");
		return NULL;
	}
	if (!kind) {
		request_fail(r, "InvalidInstanceID.NotFound", "The instance ID '%.100s' does not exist", id);
		return NULL;
	}
	instance = resource_get(r, kind, id);
	if (!instance)
		return NULL;
	state = value_path(instance->doc, "State.Name");
	list = network_interface_list(r, id);
	if (!list[0] ||
	    (state && strcmp(state, "running") && strcmp(state, "stopped") && strcmp(state, "pending"))) {
		request_fail(r, "InvalidInstanceID",
		             "The instance '%s' is not in a valid state for this operation", id);
		return NULL;
	}
	if (list[1]) {
		request_fail(r, "InvalidInstanceID",
		             "There are multiple interfaces attached to instance '%s'. Please specify an "
		             "interface "
		             "ID for the operation instead.",
		             id);
		return NULL;
	}
	return list[0];
}

/* What a NAT gateway or another service has is theirs. interface: NULL: none. -1 with r->fault. */
static int check_unmanaged(struct request *r, const struct resource *address,
                           const struct resource *interface)
{
	if (!link_source(r, address->id, "nat-address") &&
	    !(interface && value_boolean(interface->doc, "RequesterManaged", false)))
		return 0;
	return request_fail(r, "AuthFailure",
	                    "You do not have permission to access the specified resource: it is managed by "
	                    "a service");
}

ACTION(ec2, AssociateAddress)
{
	const char *private_address = value_string(r->in, "PrivateIpAddress");
	bool again = value_boolean(r->in, "AllowReassociation", true);
	struct resource *address = address_of(r), *interface, *other;
	const struct value *item;
	const char *taken;

	if (!address)
		return -1;
	interface = wanted_interface(r);
	if (!interface)
		return -1;
	if (!private_address)
		private_address = value_string(interface->doc, "PrivateIpAddress");
	item = private_address ? network_interface_address(interface, private_address) : NULL;
	if (!item)
		return request_fail(r, "InvalidParameterValue",
		                    "The private address '%.64s' is not one of the network interface '%s'",
		                    private_address ? private_address : "", interface->id);
	if (!internet_gateway_of(r, value_string(interface->doc, "VpcId")))
		return request_fail(r, "Gateway.NotAttached",
		                    "Network %s is not attached to any internet gateway",
		                    value_string(interface->doc, "VpcId"));
	taken = value_string(value_get(item, "Association"), "AllocationId");
	if (taken && !strcmp(taken, address->id)) {
		value_set_string(r->out, "AssociationId", value_string(address->doc, "AssociationId"));
		return 0;
	}
	if (value_get(address->doc, "AssociationId") && !again)
		return request_fail(r, "Resource.AlreadyAssociated",
		                    "resource %s is already associated with associate-id %s", address->id,
		                    value_string(address->doc, "AssociationId"));
	if (taken && !again)
		return request_fail(r, "Resource.AlreadyAssociated",
		                    "resource %s is already associated with associate-id %s", interface->id,
		                    value_string(value_get(item, "Association"), "AssociationId"));
	if (check_unmanaged(r, address, interface) < 0)
		return -1;
	if (value_get(address->doc, "AssociationId"))
		address_disassociate(r, address);
	other = taken ? resource_find(r, &address_kind, taken) : NULL;
	if (other)
		clear(r, other);
	interface = resource_find(r, &network_interface_kind, interface->id);
	address_associate(r, address, interface, private_address);
	value_set_string(r->out, "AssociationId", value_string(address->doc, "AssociationId"));
	return 0;
}

ACTION(ec2, DisassociateAddress)
{
	const char *association = value_string(r->in, "AssociationId"),
	           *public_address = value_string(r->in, "PublicIp");
	struct resource *address;
	const char *id;

	if (!association && !public_address)
		return request_fail(r, "MissingParameter",
		                    "Either public IP or association id must be specified");
	if (association) {
		id = link_source(r, association, "association");
		address = id ? resource_find(r, &address_kind, id) : NULL;
		if (!address)
			return request_fail(r, "InvalidAssociationID.NotFound",
			                    "The association ID '%.100s' does not exist", association);
	} else {
		address = by_public_address(r, public_address);
		if (!address)
			return -1;
		if (!value_get(address->doc, "AssociationId"))
			return 0;
	}
	if (check_unmanaged(r, address, NULL) < 0)
		return -1;
	address_disassociate(r, address);
	return 0;
}
