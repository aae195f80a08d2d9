#include "region/launch_template.h"
#include "model/json.h"
#include "region/describe.h"
#include "region/filter.h"
#include "region/instance.h"
#include "region/tag.h"

#include <stdlib.h>
#include <string.h>

RESOURCE_KIND(launch_template_kind) = {
        .name = "launch-template",
        .prefix = "lt-",
        .shape = "LaunchTemplate",
        .id = "LaunchTemplateId",
        .noun = "LaunchTemplateId",
        .not_found = "InvalidLaunchTemplateId.NotFound",
        .malformed = "InvalidLaunchTemplateId.Malformed",
};

static const char *const version_filters[] = {
        "http-protocol-ipv4",
        "LaunchTemplateData.MetadataOptions.HttpEndpoint",
        "host-resource-group-arn",
        "LaunchTemplateData.Placement.HostResourceGroupArn",
        "iam-instance-profile",
        "LaunchTemplateData.IamInstanceProfile.Arn",
        "license-configuration-arn",
        "LaunchTemplateData.LicenseSpecifications.LicenseConfigurationArn",
        "network-card-index",
        "LaunchTemplateData.NetworkInterfaces.NetworkCardIndex",
        "is-default-version",
        "DefaultVersion",
        "ebs-optimized",
        "LaunchTemplateData.EbsOptimized",
        "image-id",
        "LaunchTemplateData.ImageId",
        "instance-type",
        "LaunchTemplateData.InstanceType",
        "kernel-id",
        "LaunchTemplateData.KernelId",
        "ram-disk-id",
        "LaunchTemplateData.RamDiskId",
        "http-endpoint",
        "LaunchTemplateData.MetadataOptions.HttpEndpoint",
        "http-tokens",
        "LaunchTemplateData.MetadataOptions.HttpTokens",
        NULL};

/* Its own id is never shown: the member holds the template's. */
RESOURCE_KIND(launch_template_version_kind) = {
        .name = "launch-template-version",
        .prefix = "ltv-",
        .shape = "LaunchTemplateVersion",
        .id = "LaunchTemplateId",
        .noun = "LaunchTemplateId",
        .filters = version_filters,
};

enum { TEMPLATES_MAX = 5000, VERSIONS_MAX = 10000, NAME_LEAST = 3, NAME_MOST = 128 };

/* The same members in another of the API's shapes. */
static struct value *reshape(struct request *r, const struct value *v, const char *shape)
{
	const struct resource_kind kind = {.shape = shape};
	struct buffer b = {0};
	struct value *out;

	json_write(&b, v);
	out = json_parse(r->arena, r->model, resource_shape(r->model, &kind), buffer_str(&b), b.length);
	buffer_release(&b);
	return out;
}

/* Members of `over` in the place of those that `v` has; the same shape. */
static void lay_over(struct request *r, struct value *v, const struct value *over)
{
	for (unsigned i = 0; i < over->count; i++)
		value_put_at(v, over->fields[i].member, value_copy(r->arena, over->fields[i].value));
}

/* ---- which ---- */

static struct resource *template_of(struct request *r, const struct value *in)
{
	const char *id = value_string(in, "LaunchTemplateId"), *name = value_string(in, "LaunchTemplateName");
	struct resource *found;

	if (id && name) {
		request_fail(r, "InvalidParameterCombination",
		             "Specify the launch template's ID or its name, not both");
		return NULL;
	}
	if (id)
		return resource_get(r, &launch_template_kind, id);
	if (!name) {
		request_fail(r, "MissingParameter",
		             "The request must contain LaunchTemplateId or LaunchTemplateName");
		return NULL;
	}
	found = resource_lookup(r, &launch_template_kind, "LaunchTemplateName", name);
	if (!found)
		request_fail(r, "InvalidLaunchTemplateName.NotFoundException",
		             "The specified launch template, with template name %.128s, does not exist.",
		             name);
	return found;
}

/* 0: the text is no version. */
static s64 version_number(const struct resource *template, const char *text)
{
	char *end;
	s64 number;

	if (!strcmp(text, "$Latest"))
		return value_integer(template->doc, "LatestVersionNumber", 1);
	if (!strcmp(text, "$Default"))
		return value_integer(template->doc, "DefaultVersionNumber", 1);
	number = strtoll(text, &end, 10);
	return *end || end == text || number < 1 ? 0 : number;
}

static struct resource *version_find(struct request *r, const struct resource *template, s64 number)
{
	struct resource **list = resource_list(r, &launch_template_version_kind, template->id);

	for (; *list; list++)
		if (value_integer((*list)->doc, "VersionNumber", 0) == number)
			return *list;
	return NULL;
}

static struct resource *version_of(struct request *r, const struct resource *template, const char *text)
{
	struct resource *version = version_find(r, template, version_number(template, text));

	if (!version)
		request_fail(r, "InvalidLaunchTemplateId.VersionNotFound",
		             "Could not find the specified version %.32s for the launch template with ID %s.",
		             text, template->id);
	return version;
}

/* ---- make ---- */

static struct resource *version_new(struct request *r, const struct resource *template, s64 number,
                                    struct value *data)
{
	struct resource *version = resource_new(r, &launch_template_version_kind);
	struct value *doc = version->doc;

	version->parent = template->id;
	value_set_string(doc, "LaunchTemplateId", template->id);
	value_set_string(doc, "LaunchTemplateName", value_string(template->doc, "LaunchTemplateName"));
	value_set_integer(doc, "VersionNumber", number);
	value_set_string(doc, "VersionDescription", value_string(r->in, "VersionDescription"));
	value_set_time(doc, "CreateTime", r->now_ms);
	value_set_string(doc, "CreatedBy", arena_printf(r->arena, "arn:aws:iam::%s:root", r->account));
	value_set_boolean(doc, "DefaultVersion",
	                  number == value_integer(template->doc, "DefaultVersionNumber", 1));
	value_put(doc, "LaunchTemplateData", data);
	resource_insert(r, version);
	return version;
}

static int read_data(struct request *r, struct value **data)
{
	*data = reshape(r, value_get(r->in, "LaunchTemplateData"), "ResponseLaunchTemplateData");
	if (*data)
		return 0;
	return request_fail(r, "InvalidParameterValue", "The launch template data is not valid");
}

static int check_name(struct request *r, const char *name)
{
	size_t length = strlen(name);

	if (length < NAME_LEAST || length > NAME_MOST ||
	    strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789().-/_") != length)
		return request_fail(r, "InvalidLaunchTemplateName.MalformedException",
		                    "A launch template name has %d to %d letters, digits and ( ) . - / _",
		                    NAME_LEAST, NAME_MOST);
	if (resource_lookup(r, &launch_template_kind, "LaunchTemplateName", name))
		return request_fail(r, "InvalidLaunchTemplateName.AlreadyExistsException",
		                    "Launch template name already in use.");
	if (resource_count(r, &launch_template_kind, NULL) >= TEMPLATES_MAX)
		return request_fail(r, "LaunchTemplateLimitExceeded",
		                    "You may have at most %d launch templates", TEMPLATES_MAX);
	return 0;
}

ACTION(ec2, CreateLaunchTemplate)
{
	const char *name = value_string(r->in, "LaunchTemplateName");
	struct resource *template;
	struct value *data;

	if (check_name(r, name) < 0 || read_data(r, &data) < 0)
		return -1;
	template = resource_new(r, &launch_template_kind);
	value_set_string(template->doc, "LaunchTemplateName", name);
	value_set_time(template->doc, "CreateTime", r->now_ms);
	value_set_string(template->doc, "CreatedBy",
	                 arena_printf(r->arena, "arn:aws:iam::%s:root", r->account));
	value_set_integer(template->doc, "DefaultVersionNumber", 1);
	value_set_integer(template->doc, "LatestVersionNumber", 1);
	if (tag_specifications(r, template, NULL) < 0)
		return -1;
	resource_insert(r, template);
	version_new(r, template, 1, data);
	value_put(r->out, "LaunchTemplate", value_copy(r->arena, template->doc));
	return 0;
}

ACTION(ec2, CreateLaunchTemplateVersion)
{
	const char *from = value_string(r->in, "SourceVersion");
	struct resource *template = template_of(r, r->in), *source = NULL;
	struct value *data, *base;
	s64 number;

	if (!template || read_data(r, &data) < 0)
		return -1;
	if (from) {
		source = version_of(r, template, from);
		if (!source)
			return -1;
		base = value_copy(r->arena, value_get(source->doc, "LaunchTemplateData"));
		lay_over(r, base, data);
		data = base;
	}
	if (resource_count(r, &launch_template_version_kind, template->id) >= VERSIONS_MAX)
		return request_fail(r, "LaunchTemplateVersionLimitExceeded",
		                    "A launch template has at most %d versions", VERSIONS_MAX);
	number = value_integer(template->doc, "LatestVersionNumber", 0) + 1;
	value_set_integer(template->doc, "LatestVersionNumber", number);
	resource_save(r, template);
	value_put(r->out, "LaunchTemplateVersion",
	          value_copy(r->arena, version_new(r, template, number, data)->doc));
	return 0;
}

ACTION(ec2, ModifyLaunchTemplate)
{
	const char *text = value_string(r->in, "DefaultVersion");
	struct resource *template = template_of(r, r->in), *wanted, **list;

	if (!template)
		return -1;
	if (!text)
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter SetDefaultVersion");
	wanted = version_of(r, template, text);
	if (!wanted)
		return -1;
	value_set_integer(template->doc, "DefaultVersionNumber",
	                  value_integer(wanted->doc, "VersionNumber", 1));
	resource_save(r, template);
	for (list = resource_list(r, &launch_template_version_kind, template->id); *list; list++) {
		bool is = (*list)->seq == wanted->seq;

		if (value_boolean((*list)->doc, "DefaultVersion", false) == is)
			continue;
		value_set_boolean((*list)->doc, "DefaultVersion", is);
		resource_save(r, *list);
	}
	value_put(r->out, "LaunchTemplate", value_copy(r->arena, template->doc));
	return 0;
}

/* ---- delete ---- */

ACTION(ec2, DeleteLaunchTemplate)
{
	struct resource *template = template_of(r, r->in), **list;

	if (!template)
		return -1;
	for (list = resource_list(r, &launch_template_version_kind, template->id); *list; list++)
		resource_delete(r, *list);
	value_put(r->out, "LaunchTemplate", value_copy(r->arena, template->doc));
	resource_delete(r, template);
	return 0;
}

ACTION(ec2, DeleteLaunchTemplateVersions)
{
	const struct value *versions = value_get(r->in, "Versions");
	struct resource *template = template_of(r, r->in);
	struct value *good, *bad, *item, *error;

	if (!template)
		return -1;
	good = value_open(r->out, "SuccessfullyDeletedLaunchTemplateVersions");
	bad = value_open(r->out, "UnsuccessfullyDeletedLaunchTemplateVersions");
	for (unsigned i = 0; i < value_count(versions); i++) {
		s64 number = version_number(template, value_item(versions, i)->text);
		struct resource *version = version_find(r, template, number);
		bool is_default = version && value_boolean(version->doc, "DefaultVersion", false);

		item = value_append(version && !is_default ? good : bad);
		value_set_string(item, "LaunchTemplateId", template->id);
		value_set_string(item, "LaunchTemplateName",
		                 value_string(template->doc, "LaunchTemplateName"));
		value_set_integer(item, "VersionNumber", number);
		if (version && !is_default) {
			resource_delete(r, version);
			continue;
		}
		error = value_open(item, "ResponseError");
		value_set_string(error, "Code",
		                 version ? "unexpectedError" : "launchTemplateVersionDoesNotExist");
		value_set_string(error, "Message",
		                 version ? "The default version cannot be deleted."
		                         : "The version does not exist.");
	}
	return 0;
}

/* ---- describe ---- */

ACTION(ec2, DescribeLaunchTemplates)
{
	static const struct describe d = {.kind = &launch_template_kind,
	                                  .list = "LaunchTemplates",
	                                  .ids = "LaunchTemplateIds",
	                                  .names = "LaunchTemplateNames",
	                                  .name_path = "LaunchTemplateName",
	                                  .name_not_found = "InvalidLaunchTemplateName.NotFoundException"};

	return describe_run(r, &d);
}

static bool version_wanted(struct request *r, const struct resource *template, s64 number)
{
	const struct value *versions = value_get(r->in, "Versions");
	const char *least = value_string(r->in, "MinVersion"), *most = value_string(r->in, "MaxVersion");
	bool named = !value_count(versions);

	for (unsigned i = 0; i < value_count(versions); i++)
		named |= version_number(template, value_item(versions, i)->text) == number;
	return named && (!least || number >= version_number(template, least)) &&
	       (!most || number <= version_number(template, most));
}

ACTION(ec2, DescribeLaunchTemplateVersions)
{
	bool one = value_get(r->in, "LaunchTemplateId") || value_get(r->in, "LaunchTemplateName");
	const struct value *versions = value_get(r->in, "Versions");
	struct value *out = value_open(r->out, "LaunchTemplateVersions");
	struct resource *template = NULL, **list;
	struct filter *filter;
	unsigned most;
	s64 after, last = 0;

	if (filter_read(r, &launch_template_version_kind, &filter) < 0 || describe_page(r, &most, &after) < 0)
		return -1;
	if (one && !(template = template_of(r, r->in)))
		return -1;
	if (!one && !value_count(versions))
		return request_fail(r, "MissingParameter",
		                    "The request must contain a launch template, or Versions");
	for (unsigned i = 0; i < value_count(versions); i++) {
		const char *text = value_item(versions, i)->text;

		if (template && !version_of(r, template, text))
			return -1;
		if (!template && *text != '$')
			return request_fail(
			        r, "InvalidParameterCombination",
			        "Of all launch templates only $Latest and $Default can be listed");
	}
	for (list = resource_list(r, &launch_template_version_kind, one ? template->id : NULL); *list;
	     list++) {
		struct resource *version = *list;

		if (!one)
			template = resource_find(r, &launch_template_kind, version->parent);
		if (version->seq <= after || !template ||
		    !version_wanted(r, template, value_integer(version->doc, "VersionNumber", 0)) ||
		    !filter_match(filter, version->doc))
			continue;
		if (most && out->count == most) {
			describe_next(r, last);
			break;
		}
		value_append_value(out, value_copy(r->arena, version->doc));
		last = version->seq;
	}
	return 0;
}

ACTION(ec2, GetLaunchTemplateData)
{
	static const char *const texts[] = {"ImageId", "InstanceType", "KeyName"};
	static const struct {
		const char *member, *shape;
	} parts[] = {{"Placement", "LaunchTemplatePlacement"},
	             {"CpuOptions", "LaunchTemplateCpuOptions"},
	             {"MetadataOptions", "LaunchTemplateInstanceMetadataOptions"}};
	static const struct resource_kind data_kind = {.shape = "ResponseLaunchTemplateData"};
	struct resource *instance = resource_of(r, &instance_kind, "InstanceId");
	struct machine *m = instance ? machine_find(r, instance->id) : NULL;
	struct value *v, *tags;

	if (!instance)
		return -1;
	if (!m)
		return request_fail(r, "IncorrectInstanceState", "The instance '%s' has no launch data",
		                    instance->id);
	v = value_new(r->arena, r->model, resource_shape(r->model, &data_kind));
	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++)
		value_set_string(v, texts[i], value_string(instance->doc, texts[i]));
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
		const struct value *part = value_get(instance->doc, parts[i].member);
		struct value *shaped = part ? reshape(r, part, parts[i].shape) : NULL;

		if (shaped)
			value_put(v, parts[i].member, shaped);
	}
	value_set_boolean(value_open(v, "Monitoring"), "Enabled",
	                  !strcmp(value_path(instance->doc, "Monitoring.State"), "enabled"));
	value_set_boolean(v, "EbsOptimized", value_boolean(instance->doc, "EbsOptimized", false));
	value_set_boolean(v, "DisableApiTermination",
	                  value_boolean(value_get(m->attributes, "DisableApiTermination"), "Value", false));
	value_set_string(v, "InstanceInitiatedShutdownBehavior",
	                 value_path(m->attributes, "InstanceInitiatedShutdownBehavior.Value"));
	value_set_string(v, "UserData", value_string(value_get(m->attributes, "UserData"), "Value"));
	for (unsigned i = 0; i < value_count(value_get(instance->doc, "SecurityGroups")); i++)
		value_append_string(
		        value_open(v, "SecurityGroupIds"),
		        value_string(value_item(value_get(instance->doc, "SecurityGroups"), i), "GroupId"));
	tags = value_get(instance->doc, "Tags");
	if (value_count(tags)) {
		struct value *specification = value_append(value_open(v, "TagSpecifications"));

		value_set_string(specification, "ResourceType", "instance");
		value_put(specification, "Tags", value_copy(r->arena, tags));
	}
	value_put(r->out, "LaunchTemplateData", v);
	return 0;
}

/* ---- launch ---- */

int launch_template_apply(struct request *r)
{
	static const char *const not_yet[] = {"InstanceRequirements", "ElasticGpuSpecifications",
	                                      "RamDiskId"};
	const struct value *which = value_get(r->in, "LaunchTemplate"), *data;
	const char *number = value_string(which, "Version");
	struct resource *template, *version;
	struct value *merged;

	if (!which)
		return 0;
	template = template_of(r, which);
	version = template ? version_of(r, template, number ? number : "$Default") : NULL;
	if (!version)
		return -1;
	data = value_get(version->doc, "LaunchTemplateData");
	for (unsigned i = 0; i < ARRAY_SIZE(not_yet); i++)
		if (value_get(data, not_yet[i]))
			return request_fail(r, "UnsupportedOperation",
			                    "%s of a launch template is not offered here yet", not_yet[i]);
	merged = reshape(r, data, "RunInstancesRequest");
	if (!merged)
		return request_fail(r, "InvalidParameterValue", "The launch template %s is not valid",
		                    template->id);
	lay_over(r, merged, r->in);
	value_remove(merged, "LaunchTemplate");
	r->in = merged;
	return 0;
}
