/*
 * Elastic IPs: public addresses that belong to an account until they are released, and may be associated with
 * a private address of a network interface. An address is linked to its interface ("interface") and to the id
 * of the association ("association").
 */
#pragma once

#include "region/resource.h"

extern const struct resource_kind address_kind;

/* An interface is gone: its addresses are free. */
void address_interface_gone(struct request *r, struct resource *interface);
/* A private address of it is gone. */
void address_private_gone(struct request *r, struct resource *interface, const char *private_address);
/* Associates one with a private address that was checked; for NAT gateways, too. */
void address_associate(struct request *r, struct resource *address, struct resource *interface,
                       const char *private_address);
void address_disassociate(struct request *r, struct resource *address);
