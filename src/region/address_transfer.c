/*
 * Transfers of Elastic IPs to other accounts (EC2 User Guide, "Transfer Elastic IP addresses"): one account
 * offers an address, the other accepts it within seven days. Table address_transfer has an offer for each
 * address; one that was accepted is shown to who had the address for fourteen days.
 */
#include "region/address.h"
#include "region/describe.h"
#include "region/link.h"
#include "region/tag.h"

#include <string.h>

enum { DAY_MS = 86400000, OFFER_DAYS = 7, SHOWN_DAYS = 14 };

struct transfer {
	const char *allocation, *address, *account, *target;
	s64 expires_ms, accepted_ms; /* accepted 0: not yet */
};

#define COLUMNS "SELECT allocation, address, account, target, expires, accepted FROM address_transfer "

static struct transfer read_row(struct request *r, struct query *q)
{
	return (struct transfer){.allocation = arena_strdup(r->arena, query_column_text(q, 0)),
	                         .address = arena_strdup(r->arena, query_column_text(q, 1)),
	                         .account = arena_strdup(r->arena, query_column_text(q, 2)),
	                         .target = arena_strdup(r->arena, query_column_text(q, 3)),
	                         .expires_ms = query_column_integer(q, 4),
	                         .accepted_ms = query_column_integer(q, 5)};
}

/* Offers that are over, of the region. */
static void forget_old(struct request *r)
{
	struct query *q = database_query(
	        r->cloud->db, "DELETE FROM address_transfer WHERE region = $1 AND ((accepted = 0 AND expires "
	                      "<= $2) OR (accepted > 0 AND accepted <= $3))");

	query_integer(query_text(q, r->region), r->now_ms);
	query_run(query_integer(q, r->now_ms - (s64)SHOWN_DAYS * DAY_MS));
}

/* An offer that is still open. */
static bool find(struct request *r, const char *allocation, struct transfer *t)
{
	struct query *q = query_text(
	        database_query(r->cloud->db, COLUMNS "WHERE allocation = $1 AND accepted = 0"), allocation);
	bool found = query_row(q);

	if (found)
		*t = read_row(r, q);
	query_end(q);
	return found && t->expires_ms > r->now_ms;
}

static void show(struct value *v, const struct transfer *t, const char *status)
{
	value_set_string(v, "PublicIp", t->address);
	value_set_string(v, "AllocationId", t->allocation);
	value_set_string(v, "TransferAccountId", t->target);
	value_set_time(v, "TransferOfferExpirationTimestamp", t->expires_ms);
	if (t->accepted_ms)
		value_set_time(v, "TransferOfferAcceptedTimestamp", t->accepted_ms);
	value_set_string(v, "AddressTransferStatus", status);
}

ACTION(ec2, EnableAddressTransfer)
{
	struct resource *address = resource_of(r, &address_kind, "AllocationId");
	const char *target = value_string(r->in, "TransferAccountId");
	struct transfer t;
	struct query *q;

	if (!address)
		return -1;
	if (strlen(target) != 12 || strspn(target, "0123456789") != 12 || !strcmp(target, r->account))
		return request_fail(r, "InvalidParameterValue",
		                    "Value (%.64s) for parameter transferAccountId is invalid: the 12 digits "
		                    "of another account",
		                    target);
	if (value_get(address->doc, "AssociationId"))
		return request_fail(r, "InvalidTransfer.AddressAssociated",
		                    "The address %s is associated with a resource",
		                    value_string(address->doc, "PublicIp"));
	forget_old(r);
	t = (struct transfer){.allocation = address->id,
	                      .address = value_string(address->doc, "PublicIp"),
	                      .account = r->account,
	                      .target = target,
	                      .expires_ms = r->now_ms + (s64)OFFER_DAYS * DAY_MS};
	q = database_query(r->cloud->db, "INSERT INTO address_transfer VALUES ($1, $2, $3, $4, $5, $6, 0) ON "
	                                 "CONFLICT (allocation) DO UPDATE SET account = $3, target = $5, "
	                                 "expires = $6, accepted = 0");
	query_text(query_text(query_text(q, t.allocation), t.address), t.account);
	query_run(query_integer(query_text(query_text(q, r->region), target), t.expires_ms));
	show(value_open(r->out, "AddressTransfer"), &t, "pending");
	return 0;
}

ACTION(ec2, DisableAddressTransfer)
{
	struct resource *address = resource_of(r, &address_kind, "AllocationId");
	struct transfer t;

	if (!address)
		return -1;
	if (!find(r, address->id, &t))
		return request_fail(r, "IncorrectState", "The address '%s' is not offered to another account",
		                    address->id);
	query_run(
	        query_text(database_query(r->cloud->db, "DELETE FROM address_transfer WHERE allocation = $1"),
	                   address->id));
	show(value_open(r->out, "AddressTransfer"), &t, "disabled");
	return 0;
}

ACTION(ec2, DescribeAddressTransfers)
{
	const struct value *ids = value_get(r->in, "AllocationIds");
	struct value *list = value_open(r->out, "AddressTransfers");
	const char *after, *last = "";
	struct query *q;
	unsigned most;

	if (describe_page_text(r, &most, &after) < 0)
		return -1;
	for (unsigned i = 0; i < value_count(ids); i++)
		if (!resource_id_valid(address_kind.prefix, value_item(ids, i)->text) ||
		    !link_target(r, value_item(ids, i)->text, "public-address"))
			return resource_get(r, &address_kind, value_item(ids, i)->text) ? 0 : -1;
	forget_old(r);
	q = database_query(r->cloud->db, COLUMNS "WHERE account = $1 AND region = $2 AND allocation > $3 "
	                                         "ORDER BY allocation");
	query_text(query_text(query_text(q, r->account), r->region), after);
	while (query_row(q)) {
		struct transfer t = read_row(r, q);

		if (value_count(ids) && !value_has_string(ids, t.allocation))
			continue;
		if (most && list->count == most) {
			describe_next_text(r, last);
			break;
		}
		show(value_append(list), &t, t.accepted_ms ? "accepted" : "pending");
		last = t.allocation;
	}
	query_end(q);
	return 0;
}

ACTION(ec2, AcceptAddressTransfer)
{
	const char *text = value_string(r->in, "Address"), *id = link_source(r, text, "public-address");
	struct request owner = *r;
	struct resource *address;
	struct transfer t;
	struct query *q;

	if (!id || !find(r, id, &t) || strcmp(t.target, r->account))
		return request_fail(r, "InvalidAddress.NotFound",
		                    "The address %.64s is not offered to your account", text);
	owner.account = t.account;
	address = resource_find(&owner, &address_kind, id);
	if (!address)
		return request_fail(r, "InvalidAddress.NotFound",
		                    "The address %.64s is not offered to your account", text);
	if (value_get(address->doc, "AssociationId"))
		return request_fail(r, "InvalidTransfer.AddressAssociated",
		                    "The address %s is associated with a resource", text);
	/* Tags are the account's that set them. */
	value_remove(address->doc, "Tags");
	if (tag_specifications(r, address, NULL) < 0)
		return -1;
	q = database_query(r->cloud->db, "UPDATE resource SET account = $1 WHERE id = $2");
	query_run(query_text(query_text(q, r->account), id));
	resource_save(r, address);
	tag_store(r, address);
	t.accepted_ms = r->now_ms;
	q = database_query(r->cloud->db, "UPDATE address_transfer SET accepted = $1 WHERE allocation = $2");
	query_run(query_text(query_integer(q, r->now_ms), id));
	show(value_open(r->out, "AddressTransfer"), &t, "accepted");
	return 0;
}
