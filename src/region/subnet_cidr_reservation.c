#include "region/subnet_cidr_reservation.h"
#include "base/cidr.h"
#include "region/describe.h"
#include "region/filter.h"
#include "region/subnet.h"
#include "region/tag.h"

#include <string.h>

static const char *const filters[] = {"reservationType",
                                      "ReservationType",
                                      "reservation-type",
                                      "ReservationType",
                                      "subnet-id",
                                      "SubnetId",
                                      "cidr",
                                      "Cidr",
                                      NULL};

RESOURCE_KIND(subnet_cidr_reservation_kind) = {
        .name = "subnet-cidr-reservation",
        .prefix = "scr-",
        .shape = "SubnetCidrReservation",
        .id = "SubnetCidrReservationId",
        .noun = "SubnetCidrReservationID",
        .filters = filters,
};

enum { RESERVATIONS_MAX = 100 };

ACTION(ec2, CreateSubnetCidrReservation)
{
	struct resource *subnet = resource_of(r, &subnet_kind, "SubnetId"), *reservation, **list;
	const char *text = value_string(r->in, "Cidr"), *type = value_string(r->in, "ReservationType"), *of;
	const char *description = value_string(r->in, "Description");
	struct cidr c, block;
	unsigned count = 0;

	if (!subnet)
		return -1;
	if (cidr_parse(&c, text) < 0)
		return request_fail(r, "InvalidParameterValue",
		                    "Value (%.64s) for parameter cidr is invalid. This is not a valid CIDR "
		                    "block.",
		                    text);
	of = c.first.v6 ? subnet_ipv6_block(subnet) : value_string(subnet->doc, "CidrBlock");
	if (!of || cidr_parse(&block, of) < 0 || !cidr_covers(block, c))
		return request_fail(r, "InvalidParameterValue",
		                    "The CIDR '%s' is not within the CIDR block of the subnet '%s'", text,
		                    subnet->id);
	for (list = resource_list(r, &subnet_cidr_reservation_kind, subnet->id); *list; list++, count++) {
		struct cidr has;

		if (cidr_parse(&has, value_string((*list)->doc, "Cidr")) == 0 && cidr_overlaps(has, c))
			return request_fail(r, "InvalidParameterValue",
			                    "The CIDR '%s' overlaps with the reservation '%s'", text,
			                    (*list)->id);
	}
	if (count >= RESERVATIONS_MAX)
		return request_fail(r, "SubnetCidrReservationLimitExceeded",
		                    "A subnet may have at most %d CIDR reservations", RESERVATIONS_MAX);
	reservation = resource_new(r, &subnet_cidr_reservation_kind);
	reservation->parent = subnet->id;
	value_set_string(reservation->doc, "SubnetId", subnet->id);
	value_set_string(reservation->doc, "Cidr", cidr_text(r->arena, c));
	value_set_string(reservation->doc, "ReservationType", type);
	value_set_string(reservation->doc, "Description", description);
	if (tag_specifications(r, reservation, NULL) < 0)
		return -1;
	resource_insert(r, reservation);
	value_put(r->out, "SubnetCidrReservation", reservation->doc);
	return 0;
}

ACTION(ec2, DeleteSubnetCidrReservation)
{
	struct resource *reservation =
	        resource_of(r, &subnet_cidr_reservation_kind, "SubnetCidrReservationId");

	if (!reservation)
		return -1;
	resource_delete(r, reservation);
	value_put(r->out, "DeletedSubnetCidrReservation", reservation->doc);
	return 0;
}

ACTION(ec2, GetSubnetCidrReservations)
{
	struct resource *subnet = resource_of(r, &subnet_kind, "SubnetId"), **list;
	struct filter *wanted;
	unsigned most, count = 0;
	s64 after, last = 0;

	if (!subnet || filter_read(r, &subnet_cidr_reservation_kind, &wanted) < 0 ||
	    describe_page(r, &most, &after) < 0)
		return -1;
	value_open(r->out, "SubnetIpv4CidrReservations");
	value_open(r->out, "SubnetIpv6CidrReservations");
	for (list = resource_list(r, &subnet_cidr_reservation_kind, subnet->id); *list; list++) {
		if ((*list)->seq <= after || !filter_match(wanted, (*list)->doc))
			continue;
		if (most && count++ == most) {
			describe_next(r, last);
			break;
		}
		last = (*list)->seq;
		value_append_value(value_get(r->out, strchr(value_string((*list)->doc, "Cidr"), ':')
		                                             ? "SubnetIpv6CidrReservations"
		                                             : "SubnetIpv4CidrReservations"),
		                   (*list)->doc);
	}
	return 0;
}
