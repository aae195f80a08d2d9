#include "region/instance_metadata.h"
#include "region/instance.h"

#include <string.h>

enum { HOPS_MAX = 64 };

static const struct {
	const char *member, *otherwise;
} texts[] = {{"HttpTokens", "optional"},
             {"HttpEndpoint", "enabled"},
             {"HttpProtocolIpv6", "disabled"},
             {"InstanceMetadataTags", "disabled"}};

int instance_metadata_read(struct request *r, const struct value *from, struct value *options)
{
	s64 hops = value_integer(from, "HttpPutResponseHopLimit", 1);

	if (hops < 1 || hops > HOPS_MAX)
		return request_fail(
		        r, "InvalidParameterValue",
		        "Value (%lld) for parameter HttpPutResponseHopLimit is invalid. Expecting "
		        "a value from 1 to %d.",
		        (long long)hops, HOPS_MAX);
	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++) {
		const char *said = value_string(from, texts[i].member);

		if (said || !value_get(options, texts[i].member))
			value_set_string(options, texts[i].member, said ? said : texts[i].otherwise);
	}
	if (!value_get(options, "HttpPutResponseHopLimit") ||
	    (from && value_get(from, "HttpPutResponseHopLimit")))
		value_set_integer(options, "HttpPutResponseHopLimit", hops);
	value_set_string(options, "State", "applied");
	return 0;
}

static bool is_name(const char *key)
{
	static const char letters[] =
	        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_+=,.@:";

	return key[strspn(key, letters)] == 0 && strcmp(key, ".") && strcmp(key, "..") &&
	       strcmp(key, "_index");
}

int instance_metadata_check_tags(struct request *r, const struct value *instance)
{
	const char *shown = value_path(instance, "MetadataOptions.InstanceMetadataTags");
	const struct value *tags = value_get(instance, "Tags");

	for (unsigned i = 0; shown && !strcmp(shown, "enabled") && i < value_count(tags); i++) {
		const char *key = value_string(value_item(tags, i), "Key");

		if (!is_name(key))
			return request_fail(r, "InvalidParameterValue",
			                    "'%.128s' is not a valid tag key. Tag keys must match pattern "
			                    "([0-9a-zA-Z\\-_+=,.@:]{1,255}), and must not be a reserved name "
			                    "('.', '..', '_index')",
			                    key);
	}
	return 0;
}

ACTION(ec2, ModifyInstanceMetadataOptions)
{
	struct resource *instance = resource_of(r, &instance_kind, "InstanceId");
	struct value *options;

	if (!instance)
		return -1;
	if (instance_state_of(instance->doc) == INSTANCE_TERMINATED)
		return request_fail(r, "IncorrectInstanceState", "The instance '%s' is terminated.",
		                    instance->id);
	options = value_open(instance->doc, "MetadataOptions");
	if (instance_metadata_read(r, r->in, options) < 0 ||
	    instance_metadata_check_tags(r, instance->doc) < 0)
		return -1;
	resource_save(r, instance);
	value_set_string(r->out, "InstanceId", instance->id);
	value_put(r->out, "InstanceMetadataOptions", value_copy(r->arena, options));
	return 0;
}
