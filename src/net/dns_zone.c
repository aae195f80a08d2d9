#include "net/dns_zone.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int compare_ip(struct ip a, struct ip b)
{
	if (a.v6 != b.v6)
		return a.v6 ? 1 : -1;
	return a.bits < b.bits ? -1 : a.bits > b.bits;
}

/* In the order of the plan where they are equal: the arena's addresses grow with it, or do not matter. */
static int by_name(const void *a, const void *b)
{
	const struct dns_entry *x = *(const struct dns_entry *const *)a,
	                       *y = *(const struct dns_entry *const *)b;
	int order = dns_name_compare(&x->name, &y->name);

	return order ? order : x < y ? -1 : x > y;
}

static int by_address(const void *a, const void *b)
{
	const struct dns_entry *x = *(const struct dns_entry *const *)a,
	                       *y = *(const struct dns_entry *const *)b;
	int order = compare_ip(x->address, y->address);

	return order ? order : x < y ? -1 : x > y;
}

static int add(struct dns_zone *z, struct dns_entry *entry, const char *name, const char *address,
               bool reverse, struct error *e)
{
	if (!*name || dns_name_parse(&entry->name, name) < 0 || ip_parse(&entry->address, address) < 0)
		return error_set(e, 0, "the plan: names: '%.80s' is not a name of an address", name);
	entry->reverse = reverse;
	z->by_name[z->name_count++] = entry;
	if (reverse)
		z->by_address[z->address_count++] = entry;
	return 0;
}

int dns_zone_make(struct dns_zone *z, const struct plan *p, const struct cidr *blocks, unsigned block_count,
                  struct arena *a, struct error *e)
{
	unsigned count = p->names_count + 1;
	struct dns_entry *entries = arena_alloc(a, count * sizeof(*entries));
	char zone[128], data[160];

	*z = (struct dns_zone){.blocks = blocks, .block_count = block_count, .serial = (u32)p->generation};
	z->by_name = arena_alloc(a, count * sizeof(*z->by_name));
	z->by_address = arena_alloc(a, count * sizeof(*z->by_address));
	if (!*p->region || !strcmp(p->region, "us-east-1"))
		snprintf(zone, sizeof(zone), "ec2.internal");
	else
		snprintf(zone, sizeof(zone), "%s.compute.internal", p->region);
	snprintf(data, sizeof(data), "instance-data.%s", zone);
	if (dns_name_parse(&z->internal, zone) < 0)
		return error_set(e, 0, "the plan: region: not what belongs there");
	for (unsigned i = 0; i < p->names_count; i++)
		if (add(z, &entries[i], p->names[i].name, p->names[i].address, p->names[i].reverse, e) < 0)
			return -1;
	if (add(z, &entries[count - 1], data, "169.254.169.254", true, e) < 0)
		return -1;
	qsort(z->by_name, z->name_count, sizeof(*z->by_name), by_name);
	qsort(z->by_address, z->address_count, sizeof(*z->by_address), by_address);
	return 0;
}

const struct dns_entry **dns_zone_name(const struct dns_zone *z, const struct dns_name *n, unsigned *count)
{
	unsigned low = 0, high = z->name_count;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (dns_name_compare(&z->by_name[middle]->name, n) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (high = low; high < z->name_count && !dns_name_compare(&z->by_name[high]->name, n);)
		high++;
	*count = high - low;
	return high > low ? z->by_name + low : NULL;
}

const struct dns_entry **dns_zone_address(const struct dns_zone *z, struct ip a, unsigned *count)
{
	unsigned low = 0, high = z->address_count;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (compare_ip(z->by_address[middle]->address, a) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (high = low; high < z->address_count && ip_equal(z->by_address[high]->address, a);)
		high++;
	*count = high - low;
	return high > low ? z->by_address + low : NULL;
}

bool dns_zone_owns(const struct dns_zone *z, const struct dns_name *n, size_t *apex, bool *empty)
{
	struct cidr c;

	*empty = false;
	if (dns_name_within(n, &z->internal)) {
		*apex = (size_t)(n->length - z->internal.length);
		*empty = !*apex;
		return true;
	}
	if (!dns_name_block(n, &c))
		return false;
	for (unsigned i = 0; i < z->block_count; i++) {
		unsigned width = c.first.v6 ? 4 : 8;

		if (!cidr_covers(z->blocks[i], c))
			continue;
		/* A zone ends at whole labels: that of 10.0.16.0/20 is 0.10.in-addr.arpa. */
		*apex = dns_name_tail(n, z->blocks[i].length / width + 2);
		*empty = c.length < ip_width(c.first);
		return true;
	}
	return false;
}
