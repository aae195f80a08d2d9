#include "region/address_space.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Counts IPv4 only: what is free of an IPv6 block is nobody's question. */
static void count(struct request *r, const char *space, s64 by)
{
	struct query *q =
	        database_query(r->cloud->db, "INSERT INTO address_space (id, used, next) VALUES ($1, $2, '') "
	                                     "ON CONFLICT (id) DO UPDATE SET used = address_space.used + $2");

	query_run(query_integer(query_text(q, space), by));
}

const char *address_holder(struct request *r, const char *space, struct ip a)
{
	struct query *q = database_query(
	        r->cloud->db, "SELECT holder FROM space_address WHERE space = $1 AND address = $2");
	const char *holder = NULL;
	char key[IP_KEY];

	ip_key(key, a);
	query_text(query_text(q, space), key);
	if (query_row(q))
		holder = arena_strdup(r->arena, query_column_text(q, 0));
	query_end(q);
	return holder;
}

bool address_take(struct request *r, const char *space, struct ip a, const char *holder)
{
	struct query *q = database_query(r->cloud->db, "INSERT INTO space_address (space, address, holder) "
	                                               "VALUES ($1, $2, $3) "
	                                               "ON CONFLICT (space, address) DO NOTHING");
	char key[IP_KEY];

	ip_key(key, a);
	if (query_run(query_text(query_text(query_text(q, space), key), holder)) != 1)
		return false;
	if (!a.v6)
		count(r, space, 1);
	return true;
}

/* The first free one from `from` to `last`: the rows there are in order, so the first gap is it. */
static bool find_gap(struct request *r, const char *space, struct ip from, struct ip last, struct ip *out)
{
	struct query *q = database_query(
	        r->cloud->db, "SELECT address FROM space_address WHERE space = $1 AND address >= $2 "
	                      "AND address <= $3 AND length(address) = 8 ORDER BY address");
	char low[IP_KEY], high[IP_KEY];

	ip_key(low, from);
	ip_key(high, last);
	query_text(query_text(query_text(q, space), low), high);
	while (from.bits <= last.bits && query_row(q) && ip_of_key(query_column_text(q, 0)).bits == from.bits)
		from.bits++;
	query_end(q);
	*out = from;
	return from.bits <= last.bits;
}

bool address_take_any(struct request *r, const char *space, struct ip first, struct ip last,
                      const char *holder, struct ip *out)
{
	struct query *q = database_query(r->cloud->db, "SELECT next FROM address_space WHERE id = $1");
	struct ip from = first;
	char key[IP_KEY];

	query_text(q, space);
	if (query_row(q) && *query_column_text(q, 0))
		from = ip_of_key(query_column_text(q, 0));
	query_end(q);
	if (from.bits < first.bits || from.bits > last.bits)
		from = first;
	if (!find_gap(r, space, from, last, out) && !find_gap(r, space, first, last, out))
		return false;
	if (!address_take(r, space, *out, holder))
		return false; /* the database failed */
	from = *out;
	from.bits++;
	ip_key(key, from);
	query_run(query_text(
	        query_text(database_query(r->cloud->db, "UPDATE address_space SET next = $1 WHERE id = $2"),
	                   key),
	        space));
	return true;
}

bool address_take_random(struct request *r, const char *space, struct cidr block, const char *holder,
                         struct ip *out)
{
	for (unsigned i = 0; i < 64; i++) {
		ip_bits random;

		if (getrandom(&random, sizeof(random), 0) != sizeof(random))
			abort();
		*out = block.first;
		if (block.length < 128)
			out->bits |= block.length ? random >> block.length : random;
		/* the subnet's router and neighbours have the first ones */
		if (out->bits - block.first.bits > 0xffff && address_take(r, space, *out, holder))
			return true;
	}
	return false;
}

bool address_take_block(struct request *r, const char *space, struct cidr block, const char *holder)
{
	u64 size = cidr_size(block);

	if (size > 256 || address_any_taken(r, space, block))
		return false;
	for (u64 i = 0; i < size; i++)
		address_take(r, space, cidr_nth(block, i), holder);
	return true;
}

void address_give_back(struct request *r, const char *space, struct ip a)
{
	struct query *q =
	        database_query(r->cloud->db, "DELETE FROM space_address WHERE space = $1 AND address = $2");
	char key[IP_KEY];

	ip_key(key, a);
	if (query_run(query_text(query_text(q, space), key)) == 1 && !a.v6)
		count(r, space, -1);
}

/* What a space has taken of a block. */
#define OF_BLOCK \
	" FROM space_address WHERE space = $1 AND address >= $2 AND address <= $3 AND length(address) = $4"

static struct query *of_block(struct request *r, const char *sql, const char *space, struct cidr block)
{
	struct query *q = database_query(r->cloud->db, sql);
	char *low = arena_alloc(r->arena, IP_KEY), *high = arena_alloc(r->arena, IP_KEY);

	ip_key(low, block.first);
	ip_key(high, cidr_last(block));
	return query_integer(query_text(query_text(query_text(q, space), low), high), (s64)strlen(low));
}

void address_give_back_block(struct request *r, const char *space, struct cidr block)
{
	s64 gone = query_run(of_block(r, "DELETE" OF_BLOCK, space, block));

	if (!block.first.v6 && gone)
		count(r, space, -gone);
}

bool address_any_taken(struct request *r, const char *space, struct cidr block)
{
	struct query *q = of_block(r, "SELECT 1" OF_BLOCK " LIMIT 1", space, block);
	bool any = query_row(q);

	query_end(q);
	return any;
}

s64 address_used(struct request *r, const char *space)
{
	struct query *q = database_query(r->cloud->db, "SELECT used FROM address_space WHERE id = $1");
	s64 used = 0;

	query_text(q, space);
	if (query_row(q))
		used = query_column_integer(q, 0);
	query_end(q);
	return used;
}

void address_space_delete(struct request *r, const char *space)
{
	query_run(query_text(database_query(r->cloud->db, "DELETE FROM space_address WHERE space = $1"),
	                     space));
	query_run(query_text(database_query(r->cloud->db, "DELETE FROM address_space WHERE id = $1"), space));
}
