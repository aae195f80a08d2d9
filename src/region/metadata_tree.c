/* meta-data/network/interfaces/macs: what the interfaces of an instance are. */
#include "base/buffer.h"
#include "region/metadata.h"
#include "region/network_interface.h"
#include "region/public_pool.h"

#include <string.h>

void metadata_leaf(json_t *directory, const char *name, const char *text)
{
	if (text)
		json_object_set_new(directory, name, json_string(text));
}

json_t *metadata_directory(json_t *in, const char *name)
{
	json_t *of = json_object_get(in, name);

	if (!of)
		json_object_set_new(in, name, of = json_object());
	return of;
}

/* One on each line; nothing if there is none. */
static void lines(json_t *to, const char *name, const char *const *list, unsigned count)
{
	struct buffer b = {0};

	for (unsigned i = 0; i < count; i++)
		buffer_printf(&b, "%s%s", i ? "\n" : "", list[i]);
	if (count)
		metadata_leaf(to, name, buffer_str(&b));
	buffer_release(&b);
}

/* The delegated prefixes of one family. */
static void prefixes(json_t *to, const char *name, const struct plan_interface *i, bool v6)
{
	struct buffer b = {0};

	for (unsigned k = 0; k < i->prefixes_count; k++)
		if ((strchr(i->prefixes[k], ':') != NULL) == v6)
			buffer_printf(&b, "%s%s", b.length ? "\n" : "", i->prefixes[k]);
	if (b.length)
		metadata_leaf(to, name, buffer_str(&b));
	buffer_release(&b);
}

static void groups(json_t *to, const struct resource *interface)
{
	const struct value *list = value_get(interface->doc, "Groups");
	struct buffer ids = {0}, names = {0};

	for (unsigned i = 0; i < value_count(list); i++) {
		buffer_printf(&ids, "%s%s", i ? "\n" : "", value_string(value_item(list, i), "GroupId"));
		buffer_printf(&names, "%s%s", i ? "\n" : "", value_string(value_item(list, i), "GroupName"));
	}
	metadata_leaf(to, "security-group-ids", buffer_str(&ids));
	metadata_leaf(to, "security-groups", buffer_str(&names));
	buffer_release(&ids);
	buffer_release(&names);
}

/* Public addresses, and which private ones they lead to. */
static void publics(struct request *r, const struct plan *p, json_t *to, const struct plan_interface *i)
{
	const char *addresses[256] = {0};
	unsigned count = 0;

	for (unsigned k = 0; k < i->publics_count; k++) {
		metadata_leaf(metadata_directory(to, "ipv4-associations"), i->publics[k].address,
		              i->publics[k].private);
		if (count < ARRAY_SIZE(addresses))
			addresses[count++] = i->publics[k].address;
	}
	lines(to, "public-ipv4s", addresses, count);
	if (count && p->dns_names)
		metadata_leaf(to, "public-hostname", public_dns_name(r, addresses[0]));
}

static const struct plan_subnet *subnet_of(const struct plan *p, const char *id)
{
	for (unsigned i = 0; i < p->subnets_count; i++)
		if (!strcmp(p->subnets[i].id, id))
			return &p->subnets[i];
	return NULL;
}

static const char *text_or_null(const char *text)
{
	return *text ? text : NULL;
}

void metadata_network(struct request *r, const struct plan *p, json_t *macs, const char *instance)
{
	for (unsigned k = 0; k < p->interfaces_count; k++) {
		const struct plan_interface *i = &p->interfaces[k];
		const struct plan_subnet *subnet = subnet_of(p, i->subnet);
		struct resource *interface;
		json_t *to;

		if (strcmp(i->instance, instance))
			continue;
		interface = resource_find(r, &network_interface_kind, i->id);
		if (!interface)
			continue;
		to = metadata_directory(macs, i->mac);
		metadata_leaf(to, "device-number", arena_printf(r->arena, "%lld", (long long)i->device));
		metadata_leaf(to, "interface-id", i->id);
		publics(r, p, to, i);
		lines(to, "ipv6s", i->addresses6, i->addresses6_count);
		prefixes(to, "ipv4-prefix", i, false);
		prefixes(to, "ipv6-prefix", i, true);
		metadata_leaf(to, "local-hostname", value_string(interface->doc, "PrivateDnsName"));
		lines(to, "local-ipv4s", i->addresses, i->addresses_count);
		metadata_leaf(to, "mac", i->mac);
		metadata_leaf(to, "network-card", "0");
		metadata_leaf(to, "owner-id", p->account);
		groups(to, interface);
		metadata_leaf(to, "subnet-id", i->subnet);
		if (subnet) {
			metadata_leaf(to, "subnet-ipv4-cidr-block", text_or_null(subnet->cidr));
			metadata_leaf(to, "subnet-ipv6-cidr-blocks", text_or_null(subnet->cidr6));
		}
		metadata_leaf(to, "vpc-id", p->vpc);
		metadata_leaf(to, "vpc-ipv4-cidr-block", p->cidrs_count ? p->cidrs[0] : NULL);
		lines(to, "vpc-ipv4-cidr-blocks", p->cidrs, p->cidrs_count);
		lines(to, "vpc-ipv6-cidr-blocks", p->cidrs6, p->cidrs6_count);
	}
}
