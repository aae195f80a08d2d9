#include "region/metadata.h"
#include "base/buffer.h"
#include "model/scalar.h"
#include "region/credential.h"
#include "region/identity.h"
#include "region/instance.h"
#include "region/key_pair.h"
#include "region/link.h"
#include "region/region.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct metadata_maker {
	struct identity *identity;
};

struct metadata_maker *metadata_maker_new(const char *data, struct error *e)
{
	struct metadata_maker *m = calloc(1, sizeof(*m));

	if (m && (m->identity = identity_open(data, e)))
		return m;
	free(m);
	return NULL;
}

void metadata_maker_free(struct metadata_maker *m)
{
	if (m)
		identity_free(m->identity);
	free(m);
}

struct making {
	struct request *r;
	struct metadata_maker *maker;
	const struct plan *plan;
	const struct resource *instance;
	const struct machine *machine;
	s64 *renew_ms;
};

/* "2026-01-31T12:00:00Z" */
static const char *time_text(struct request *r, s64 ms)
{
	time_t at = (time_t)(ms / 1000);
	struct tm tm;
	char text[32];

	gmtime_r(&at, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return arena_strdup(r->arena, text);
}

static const char *json_text(struct request *r, json_t *object)
{
	char *text = json_dumps(object, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	const char *kept = arena_strdup(r->arena, text ? text : "{}");

	free(text);
	json_decref(object);
	return kept;
}

/* ---- names ---- */

/* The host name: its first label, and the domain of the DHCP options. */
static const char *host_name(const struct making *k)
{
	const struct plan *p = k->plan;

	for (unsigned i = 0; i < p->interfaces_count; i++) {
		const struct plan_interface *interface = &p->interfaces[i];
		const char *domain = p->dhcp.domain;

		if (interface->device || strcmp(interface->instance, k->instance->id))
			continue;
		return *domain ? arena_printf(k->r->arena, "%s.%.*s", interface->name,
		                              (int)strcspn(domain, " "), domain)
		               : interface->name;
	}
	return value_string(k->instance->doc, "PrivateDnsName");
}

/* The line of the key that it was launched with: the pair may be deleted since. */
static const char *public_key(struct request *r, const struct resource *instance, const char *name)
{
	const char *kept = property_get(r, instance->id, "public-key"), *line;
	struct resource *pair;

	if (kept)
		return kept;
	pair = key_pair_named(r, name);
	line = pair ? value_string(pair->doc, "PublicKey") : NULL;
	if (line)
		property_set(r, instance->id, "public-key", line);
	return line;
}

static void keys(const struct making *k, json_t *root)
{
	const char *name = value_string(k->instance->doc, "KeyName");
	const char *line = name && *name ? public_key(k->r, k->instance, name) : NULL;

	if (!line)
		return;
	/* With its name as a comment, as EC2 gives it. */
	if (strchr(line, ' ') == strrchr(line, ' '))
		line = arena_printf(k->r->arena, "%s %s", line, name);
	metadata_leaf(metadata_directory(metadata_directory(root, "public-keys"),
	                                 arena_printf(k->r->arena, "0=%s", name)),
	              "openssh-key", line);
}

static void groups(const struct making *k, json_t *root)
{
	const struct value *list = value_get(k->instance->doc, "SecurityGroups");
	struct buffer names = {0};

	for (unsigned i = 0; i < value_count(list); i++)
		buffer_printf(&names, "%s%s", i ? "\n" : "", value_string(value_item(list, i), "GroupName"));
	metadata_leaf(root, "security-groups", buffer_str(&names));
	buffer_release(&names);
}

/* ---- roles ---- */

static const char *credentials(const struct making *k, const char *role, const char *policy)
{
	struct credential c;
	s64 renewal;

	credential_for(k->r, k->instance->id, role, policy, &c);
	renewal = credential_renewal(&c);
	if (!*k->renew_ms || renewal < *k->renew_ms)
		*k->renew_ms = renewal;
	return json_text(k->r, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "Code", "Success",
	                                 "LastUpdated", time_text(k->r, c.made_ms), "Type", "AWS-HMAC",
	                                 "AccessKeyId", c.id, "SecretAccessKey", c.secret, "Token", c.token,
	                                 "Expiration", time_text(k->r, c.expires_ms)));
}

static void iam(const struct making *k, json_t *root)
{
	const struct value *profile = value_get(k->instance->doc, "IamInstanceProfile");
	const char *arn = profile ? value_string(profile, "Arn") : NULL, *role, *policy;
	struct request *r = k->r;
	json_t *of;

	/* What the machine itself may do is nothing: some tools want it to be there. */
	of = metadata_directory(metadata_directory(root, "identity-credentials"), "ec2");
	metadata_leaf(
	        of, "info",
	        json_text(r, json_pack("{s:s, s:s, s:s}", "Code", "Success", "LastUpdated",
	                               time_text(r, k->instance->created_ms), "AccountId", r->account)));
	metadata_leaf(metadata_directory(of, "security-credentials"), "ec2-instance",
	              credentials(k, "aws:ec2-instance", "deny * *\n"));
	if (!arn)
		return;
	role = strrchr(arn, '/') + 1;
	policy = property_get(r, k->instance->id, "role-policy");
	of = metadata_directory(root, "iam");
	metadata_leaf(metadata_directory(of, "security-credentials"), role,
	              credentials(k, role, policy ? policy : ""));
	metadata_leaf(of, "info",
	              json_text(r, json_pack("{s:s, s:s, s:s, s:s}", "Code", "Success", "LastUpdated",
	                                     time_text(r, k->instance->created_ms), "InstanceProfileArn", arn,
	                                     "InstanceProfileId", value_string(profile, "Id"))));
}

/* ---- the rest of meta-data ---- */

static void placement(const struct making *k, json_t *root)
{
	const struct value *of = value_get(k->instance->doc, "Placement");
	const char *zone = value_string(of, "AvailabilityZone"), *group = value_string(of, "GroupName");
	s64 partition = value_integer(of, "PartitionNumber", 0);
	struct request *r = k->r;
	json_t *to = metadata_directory(root, "placement");

	metadata_leaf(to, "availability-zone", zone);
	metadata_leaf(to, "availability-zone-id",
	              zone ? region_zone_id(r->arena, r->region, zone[strlen(zone) - 1]) : NULL);
	metadata_leaf(to, "region", r->region);
	metadata_leaf(to, "group-name", group && *group ? group : NULL);
	metadata_leaf(to, "host-id", value_string(of, "HostId"));
	metadata_leaf(to, "partition-number",
	              partition ? arena_printf(r->arena, "%lld", (long long)partition) : NULL);
}

static void devices(const struct making *k, json_t *root)
{
	const struct value *list = value_get(k->instance->doc, "BlockDeviceMappings");
	const char *root_device = value_string(k->instance->doc, "RootDeviceName");
	json_t *to = metadata_directory(root, "block-device-mapping");
	unsigned count = 0;

	metadata_leaf(to, "ami", root_device);
	metadata_leaf(to, "root", root_device);
	for (unsigned i = 0; i < value_count(list); i++) {
		const char *name = value_string(value_item(list, i), "DeviceName");

		if (name && (!root_device || strcmp(name, root_device)))
			metadata_leaf(to, arena_printf(k->r->arena, "ebs%u", ++count),
			              !strncmp(name, "/dev/", 5) ? name + 5 : name);
	}
}

static void tags(const struct making *k, json_t *root)
{
	const struct value *list = value_get(k->instance->doc, "Tags");
	json_t *to = metadata_directory(metadata_directory(root, "tags"), "instance");

	for (unsigned i = 0; i < value_count(list); i++) {
		const char *key = value_string(value_item(list, i), "Key"),
		           *text = value_string(value_item(list, i), "Value");

		if (!strchr(key, '/'))
			metadata_leaf(to, key, text ? text : "");
	}
}

static json_t *meta_data(const struct making *k, bool with_tags)
{
	const struct value *doc = k->instance->doc;
	const char *name = host_name(k), *public = value_string(doc, "PublicDnsName"), *mac = NULL, *of;
	json_t *root = json_object();
	struct request *r = k->r;

	for (unsigned i = 0; i < k->plan->interfaces_count; i++)
		if (!k->plan->interfaces[i].device &&
		    !strcmp(k->plan->interfaces[i].instance, k->instance->id))
			mac = k->plan->interfaces[i].mac;
	metadata_leaf(root, "ami-id", value_string(doc, "ImageId"));
	metadata_leaf(root, "ami-launch-index",
	              arena_printf(r->arena, "%lld", (long long)value_integer(doc, "AmiLaunchIndex", 0)));
	metadata_leaf(root, "ami-manifest-path", "(unknown)");
	devices(k, root);
	of = "[]";
	metadata_leaf(metadata_directory(metadata_directory(root, "events"), "maintenance"), "history", of);
	metadata_leaf(metadata_directory(metadata_directory(root, "events"), "maintenance"), "scheduled", of);
	metadata_directory(metadata_directory(root, "events"), "recommendations");
	metadata_leaf(root, "hostname", name);
	iam(k, root);
	metadata_leaf(root, "instance-action", "none");
	metadata_leaf(root, "instance-id", k->instance->id);
	metadata_leaf(root, "instance-life-cycle", "on-demand");
	metadata_leaf(root, "instance-type", value_string(doc, "InstanceType"));
	metadata_leaf(root, "local-hostname", name);
	metadata_leaf(root, "local-ipv4", value_string(doc, "PrivateIpAddress"));
	metadata_leaf(root, "ipv6", value_string(doc, "Ipv6Address"));
	metadata_leaf(root, "mac", mac);
	metadata_leaf(metadata_directory(root, "metrics"), "vhostmd",
	              "<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
	metadata_network(
	        r, k->plan,
	        metadata_directory(metadata_directory(metadata_directory(root, "network"), "interfaces"),
	                           "macs"),
	        k->instance->id);
	placement(k, root);
	metadata_leaf(root, "profile", "default-hvm");
	metadata_leaf(root, "public-hostname", k->plan->dns_names && public && *public ? public : NULL);
	metadata_leaf(root, "public-ipv4", value_string(doc, "PublicIpAddress"));
	keys(k, root);
	metadata_leaf(root, "reservation-id", k->machine->reservation);
	groups(k, root);
	metadata_leaf(metadata_directory(root, "services"), "domain", "amazonaws.com");
	metadata_leaf(metadata_directory(root, "services"), "partition", "aws");
	metadata_leaf(root, "system", "nitro");
	if (with_tags)
		tags(k, root);
	return root;
}

/* ---- dynamic ---- */

/* Laid out as EC2 lays it out. */
static const char *document(const struct making *k)
{
	const struct value *doc = k->instance->doc, *launched = value_get(doc, "LaunchTime");
	const char *address = value_string(doc, "PrivateIpAddress");
	struct request *r = k->r;

	return arena_printf(r->arena,
	                    "{\n"
	                    "  \"accountId\" : \"%s\",\n"
	                    "  \"architecture\" : \"x86_64\",\n"
	                    "  \"availabilityZone\" : \"%s\",\n"
	                    "  \"billingProducts\" : null,\n"
	                    "  \"devpayProductCodes\" : null,\n"
	                    "  \"marketplaceProductCodes\" : null,\n"
	                    "  \"imageId\" : \"%s\",\n"
	                    "  \"instanceId\" : \"%s\",\n"
	                    "  \"instanceType\" : \"%s\",\n"
	                    "  \"kernelId\" : null,\n"
	                    "  \"pendingTime\" : \"%s\",\n"
	                    "  \"privateIp\" : %s,\n"
	                    "  \"ramdiskId\" : null,\n"
	                    "  \"region\" : \"%s\",\n"
	                    "  \"version\" : \"2017-09-30\"\n"
	                    "}",
	                    r->account, value_path(doc, "Placement.AvailabilityZone"),
	                    value_string(doc, "ImageId"), k->instance->id, value_string(doc, "InstanceType"),
	                    time_text(r, launched ? launched->integer : k->instance->created_ms),
	                    address ? arena_printf(r->arena, "\"%s\"", address) : "null", r->region);
}

static json_t *dynamic(const struct making *k)
{
	const char *text = document(k), *monitoring = value_path(k->instance->doc, "Monitoring.State");
	json_t *root = json_object(), *to = metadata_directory(root, "instance-identity");
	struct identity_signature s;

	metadata_leaf(to, "document", text);
	if (identity_sign(k->maker->identity, k->instance->id, text, &s) == 0) {
		metadata_leaf(to, "signature", s.signature);
		metadata_leaf(to, "pkcs7", s.pkcs7);
		metadata_leaf(to, "rsa2048", s.pkcs7);
	}
	metadata_leaf(metadata_directory(root, "fws"), "instance-monitoring",
	              monitoring && !strcmp(monitoring, "enabled") ? "enabled" : "disabled");
	return root;
}

/* ---- the whole ---- */

static bool is(const struct value *options, const char *name, const char *text)
{
	const char *said = options ? value_string(options, name) : NULL;

	return said && !strcmp(said, text);
}

/* Tokens go on being good when the services start anew. */
static const char *secret(struct request *r, const char *instance)
{
	const char *kept = property_get(r, instance, "metadata-secret");
	char made[65];

	if (kept)
		return kept;
	cloud_random_hex(made, 64);
	property_set(r, instance, "metadata-secret", made);
	return arena_strdup(r->arena, made);
}

/* What the API takes may have line ends; the services take none. */
static json_t *user_data(const struct making *k)
{
	const char *text = value_string(value_get(k->machine->attributes, "UserData"), "Value");
	struct buffer clean = {0};
	json_t *v = json_null();
	size_t length;
	char *bytes;

	if (!text || !*text || !(bytes = base64_parse(k->r->arena, text, strlen(text), &length)))
		return v;
	base64_write(&clean, bytes, length);
	v = json_string(buffer_str(&clean));
	buffer_release(&clean);
	return v;
}

json_t *metadata_make(struct metadata_maker *m, struct request *r, const struct plan *p, const char *id,
                      s64 *renew_ms)
{
	struct making k = {.r = r, .maker = m, .plan = p, .renew_ms = renew_ms};
	const struct value *options;

	k.instance = resource_find(r, &instance_kind, id);
	k.machine = machine_find(r, id);
	if (!k.instance || !k.machine)
		return NULL;
	options = value_get(k.instance->doc, "MetadataOptions");
	return json_pack("{s:{s:b, s:s, s:I, s:b}, s:s, s:o, s:{s:o, s:o}}", "options", "endpoint",
	                 !is(options, "HttpEndpoint", "disabled"), "tokens",
	                 is(options, "HttpTokens", "required") ? "required" : "optional", "hops",
	                 (json_int_t)(options ? value_integer(options, "HttpPutResponseHopLimit", 1) : 1),
	                 "ipv6", is(options, "HttpProtocolIpv6", "enabled"), "secret", secret(r, id),
	                 "user_data", user_data(&k), "tree", "meta-data",
	                 meta_data(&k, is(options, "InstanceMetadataTags", "enabled")), "dynamic",
	                 dynamic(&k));
}
