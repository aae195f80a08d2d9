#include "region/instance_type.h"
#include "region/describe.h"
#include "region/filter.h"
#include "region/region.h"

#include <stdlib.h>
#include <string.h>

const struct instance_type *instance_type_find(const char *name)
{
	for (unsigned i = 0; i < instance_type_count; i++)
		if (!strcmp(instance_types[i].name, name))
			return &instance_types[i];
	return NULL;
}

static const char *const filters[] = {"auto-recovery-supported",
                                      "AutoRecoverySupported",
                                      "vcpu-info.default-vcpus",
                                      "VCpuInfo.DefaultVCpus",
                                      "vcpu-info.default-cores",
                                      "VCpuInfo.DefaultCores",
                                      "vcpu-info.default-threads-per-core",
                                      "VCpuInfo.DefaultThreadsPerCore",
                                      "processor-info.supported-architecture",
                                      "ProcessorInfo.SupportedArchitectures",
                                      "supported-usage-class",
                                      "SupportedUsageClasses",
                                      "supported-root-device-type",
                                      "SupportedRootDeviceTypes",
                                      "supported-virtualization-type",
                                      "SupportedVirtualizationTypes",
                                      NULL};
static const struct resource_kind type_kind = {
        .name = "instance-type", .shape = "InstanceTypeInfo", .filters = filters};
static const struct resource_kind offering_kind = {.name = "offering", .shape = "InstanceTypeOffering"};

u64 instance_type_bandwidth(const struct instance_type *t)
{
	static const struct {
		const char *words;
		u64 megabits;
	} older[] = {{"Low to Moderate", 300}, {"Moderate", 700}, {"High", 1000}};
	const char *words = t->network;

	for (unsigned i = 0; i < ARRAY_SIZE(older); i++)
		if (!strcmp(words, older[i].words))
			return older[i].megabits * 1000000 / 8;
	if (!strncmp(words, "Up to ", 6))
		words += 6;
	return (u64)(strtod(words, NULL) * 1000) * 1000000 / 8; /* Gigabit */
}

static void show_network(struct value *v, const struct instance_type *t)
{
	struct value *network = value_open(v, "NetworkInfo"), *card;

	value_set_string(network, "NetworkPerformance", t->network);
	value_set_integer(network, "MaximumNetworkInterfaces", t->interfaces);
	value_set_integer(network, "MaximumNetworkCards", 1);
	value_set_integer(network, "DefaultNetworkCardIndex", 0);
	card = value_append(value_open(network, "NetworkCards"));
	value_set_integer(card, "NetworkCardIndex", 0);
	value_set_string(card, "NetworkPerformance", t->network);
	value_set_integer(card, "MaximumNetworkInterfaces", t->interfaces);
	value_set_integer(network, "Ipv4AddressesPerInterface", t->addresses);
	value_set_integer(network, "Ipv6AddressesPerInterface", t->addresses);
	value_set_boolean(network, "Ipv6Supported", true);
	value_set_string(network, "EnaSupport", t->flags & TYPE_XEN ? "supported" : "required");
	value_set_boolean(network, "EfaSupported", false);
	value_set_boolean(network, "EncryptionInTransitSupported", false);
}

static void append_integer(struct value *list, unsigned number)
{
	value_append(list)->integer = number;
}

struct value *instance_type_show(struct request *r, const struct instance_type *t)
{
	struct value *v = value_new(r->arena, r->model, resource_shape(r->model, &type_kind)), *part;
	bool metal = t->flags & TYPE_METAL;

	value_set_string(v, "InstanceType", t->name);
	value_set_boolean(v, "CurrentGeneration", t->flags & TYPE_CURRENT);
	value_set_boolean(v, "FreeTierEligible", t->flags & TYPE_FREE_TIER);
	value_append_string(value_open(v, "SupportedUsageClasses"), "on-demand");
	value_append_string(value_open(v, "SupportedRootDeviceTypes"), "ebs");
	value_append_string(value_open(v, "SupportedVirtualizationTypes"), "hvm");
	value_set_boolean(v, "BareMetal", metal);
	if (!metal)
		value_set_string(v, "Hypervisor", t->flags & TYPE_XEN ? "xen" : "nitro");
	part = value_open(v, "ProcessorInfo");
	value_append_string(value_open(part, "SupportedArchitectures"), "x86_64");
	value_set_double(part, "SustainedClockSpeedInGhz", t->ghz_tenths / 10.0);
	part = value_open(v, "VCpuInfo");
	value_set_integer(part, "DefaultVCpus", t->vcpus);
	value_set_integer(part, "DefaultCores", t->vcpus / t->threads_per_core);
	value_set_integer(part, "DefaultThreadsPerCore", t->threads_per_core);
	/* What CpuOptions may say. */
	for (unsigned i = 1; i <= (unsigned)t->vcpus / t->threads_per_core && !metal; i++)
		append_integer(value_open(part, "ValidCores"), i);
	for (unsigned i = 1; i <= t->threads_per_core && !metal; i++)
		append_integer(value_open(part, "ValidThreadsPerCore"), i);
	value_set_integer(value_open(v, "MemoryInfo"), "SizeInMiB", t->memory_mib);
	value_set_boolean(v, "InstanceStorageSupported", t->disks != 0);
	if (t->disks) {
		struct value *disk;

		part = value_open(v, "InstanceStorageInfo");
		value_set_integer(part, "TotalSizeInGB", (s64)t->disks * t->disk_gb);
		disk = value_append(value_open(part, "Disks"));
		value_set_integer(disk, "SizeInGB", t->disk_gb);
		value_set_integer(disk, "Count", t->disks);
		value_set_string(disk, "Type", "ssd");
		value_set_string(part, "NvmeSupport", "required");
		value_set_string(part, "EncryptionSupport", t->flags & TYPE_XEN ? "unsupported" : "required");
	}
	part = value_open(v, "EbsInfo");
	value_set_string(part, "EbsOptimizedSupport", "default");
	value_set_string(part, "EncryptionSupport", "supported");
	value_set_string(part, "NvmeSupport", t->flags & TYPE_XEN ? "unsupported" : "required");
	show_network(v, t);
	part = value_open(value_open(v, "PlacementGroupInfo"), "SupportedStrategies");
	if (!t->credits_per_hour)
		value_append_string(part, "cluster");
	value_append_string(part, "partition");
	value_append_string(part, "spread");
	value_set_boolean(v, "HibernationSupported", false);
	value_set_boolean(v, "BurstablePerformanceSupported", t->credits_per_hour != 0);
	value_set_boolean(v, "DedicatedHostsSupported", !t->credits_per_hour || !strncmp(t->name, "t3.", 3));
	value_set_boolean(v, "AutoRecoverySupported", !metal);
	part = value_open(v, "SupportedBootModes");
	value_append_string(part, "legacy-bios");
	if (!(t->flags & TYPE_XEN))
		value_append_string(part, "uefi");
	return v;
}

/* Goes through the table, page by page. */
static int list_types(struct request *r, const struct value *names, const char *list_name,
                      struct value *(*show)(struct request *, const struct instance_type *),
                      const struct filter *filter)
{
	struct value *list = value_open(r->out, list_name);
	unsigned most;
	s64 after;

	if (describe_page(r, &most, &after) < 0)
		return -1;
	for (unsigned i = 0; i < value_count(names); i++)
		if (!instance_type_find(value_item(names, i)->text))
			return request_fail(r, "InvalidInstanceType",
			                    "The following supplied instance types do not exist: [%.100s]",
			                    value_item(names, i)->text);
	for (unsigned i = (unsigned)after; i < instance_type_count; i++) {
		struct value *v;

		if (value_count(names) && !value_has_string(names, instance_types[i].name))
			continue;
		v = show(r, &instance_types[i]);
		if (!filter_match(filter, v))
			continue;
		if (most && list->count == most) {
			describe_next(r, i);
			break;
		}
		value_append_value(list, v);
	}
	return 0;
}

ACTION(ec2, DescribeInstanceTypes)
{
	struct filter *filter;

	if (filter_read(r, &type_kind, &filter) < 0)
		return -1;
	return list_types(r, value_get(r->in, "InstanceTypes"), "InstanceTypes", instance_type_show, filter);
}

static struct value *show_offering(struct request *r, const struct instance_type *t)
{
	struct value *v = value_new(r->arena, r->model, resource_shape(r->model, &offering_kind));

	value_set_string(v, "InstanceType", t->name);
	value_set_string(v, "LocationType", "region");
	value_set_string(v, "Location", r->region);
	return v;
}

ACTION(ec2, DescribeInstanceTypeOfferings)
{
	const char *where = value_string(r->in, "LocationType");
	struct filter *filter;
	struct value *list;

	if (filter_read(r, &offering_kind, &filter) < 0)
		return -1;
	if (!where || !strcmp(where, "region"))
		return list_types(r, NULL, "InstanceTypeOfferings", show_offering, filter);
	if (strcmp(where, "availability-zone") && strcmp(where, "availability-zone-id"))
		return request_fail(r, "UnsupportedOperation",
		                    "Locations of the type '%s' are not offered here", where);
	list = value_open(r->out, "InstanceTypeOfferings");
	for (unsigned i = 0; i < instance_type_count; i++) {
		for (char letter = 'a'; letter < 'a' + REGION_ZONES; letter++) {
			struct value *v = show_offering(r, &instance_types[i]);

			value_set_string(v, "LocationType", where);
			value_set_string(v, "Location",
			                 strcmp(where, "availability-zone")
			                         ? region_zone_id(r->arena, r->region, letter)
			                         : arena_printf(r->arena, "%s%c", r->region, letter));
			if (filter_match(filter, v))
				value_append_value(list, v);
		}
	}
	return 0;
}
