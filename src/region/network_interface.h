/*
 * Network interfaces: what has addresses in a subnet, groups, and may be attached to an instance.
 *
 * An interface has its subnet as its parent; its state is its status. Links: "group" to its security groups,
 * "instance" to the instance it is attached to, "attachment" to the attachment's id, "public" to its VPC
 * while it has a public address. Its private addresses are taken in the subnet's address space.
 */
#pragma once

#include "region/resource.h"

extern const struct resource_kind network_interface_kind;
extern const struct resource_kind network_interface_permission_kind; /* a child */

struct instance_type;

struct network_interface_spec {
	struct resource *subnet;
	const char *private_address; /* NULL: any */
	const struct value *groups; /* list of ids; NULL: the VPC's default group, or none with a requester */
	const char *description;    /* NULL: "" */
	/* Further addresses: a structure with the members that CreateNetworkInterface and
	 * InstanceNetworkInterfaceSpecification share (PrivateIpAddresses, SecondaryPrivateIpAddressCount,
	 * Ipv6AddressCount, Ipv6Addresses, Ipv4Prefixes, …), or NULL. */
	const struct value *addresses;
	s64 ipv6_count; /* the same two for those who have no such structure */
	const struct value *ipv6;
	const char *instance; /* to attach it to; NULL: none. The rest is for that only. */
	unsigned device_index, network_card_index;
	bool delete_on_termination;
	bool public_address;   /* with one of the public pool, until it is detached */
	const char *requester; /* of a service of ours: its InterfaceType; NULL: the account */
};

/* An interface, stored; tags are those of the request. NULL with r->fault. */
struct resource *network_interface_create(struct request *r, const struct network_interface_spec *spec);
/* Stores it, and what its instance shows of it. */
void network_interface_save(struct request *r, struct resource *interface);
/* Its groups, which were checked. */
void network_interface_set_groups(struct request *r, struct resource *interface, struct resource **groups);
/* With its addresses, whatever it is attached to. */
void network_interface_delete(struct request *r, struct resource *interface);

/* Records only, no checks; stored. */
void network_interface_attach(struct request *r, struct resource *interface, const char *instance,
                              unsigned device_index, unsigned network_card_index, bool delete_on_termination);
void network_interface_detach(struct request *r, struct resource *interface);
/* Those of an instance by device index, in the request's arena, NULL at the end. */
struct resource **network_interface_list(struct request *r, const char *instance);
/* The instance is terminated: they are deleted or detached, as each says. */
void network_interface_terminate(struct request *r, const char *instance);

/* The public address that is not an Elastic IP: given at launch and start, given back at stop. Nothing
 * happens if there is an association already. -1 with r->fault: the pool is empty. */
int network_interface_public_assign(struct request *r, struct resource *interface);
void network_interface_public_release(struct request *r, struct resource *interface);
/* Has any interface in the VPC a public address? */
bool network_interface_public_in_vpc(struct request *r, const char *vpc);
/* What is shown of a public address of one of its private addresses, NULL: no association (any more). The
 * members are of NetworkInterfaceAssociation; stored. */
struct network_association {
	const char *public_address, *allocation, *association, *owner;
};
void network_interface_associate(struct request *r, struct resource *interface, const char *private_address,
                                 const struct network_association *a);
/* The item of PrivateIpAddresses, or NULL. */
struct value *network_interface_address(const struct resource *interface, const char *private_address);

/* "ip-10-0-0-5.ec2.internal"; in the request's arena. */
const char *private_dns_name(struct request *r, const char *address);
/* "i-0123456789abcdef0.ec2.internal", likewise. */
const char *resource_dns_name(struct request *r, const char *instance);

/* ---- network_interface_address.c ---- */

/* Takes the addresses that spec has for an interface that is not stored yet. -1 with r->fault. */
int network_interface_take_addresses(struct request *r, struct resource *interface,
                                     const struct network_interface_spec *spec);
/* Is an instance of this type, which is to have `count` interfaces, one for it? -1 with r->fault. NULL: any type. */
int network_interface_check_type(struct request *r, const struct resource *interface, unsigned count,
                                 const struct instance_type *type);
/* Whether instances of a VPC have names was changed: its interfaces, and instances, show it. */
void network_interface_rename(struct request *r, const char *vpc);
/* A secondary private address, `wanted` or any. NULL with r->fault. */
struct value *network_interface_add_address(struct request *r, struct resource *interface,
                                            const struct resource *subnet, const char *wanted);
