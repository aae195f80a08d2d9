/* Attributes of images: DescribeImageAttribute, ModifyImageAttribute, ResetImageAttribute, deprecation. */
#include "model/scalar.h"
#include "region/image.h"
#include "region/link.h"
#include "region/permission.h"

#include <string.h>

enum { DESCRIPTION_MAX = 255 };

static struct resource *own_image(struct request *r)
{
	return image_own(r, value_string(r->in, "ImageId"));
}

ACTION(ec2, DescribeImageAttribute)
{
	static const char *const empty[] = {
	        "kernel",           "KernelId",         "ramdisk",     "RamdiskId",
	        "sriovNetSupport",  "SriovNetSupport",  "bootMode",    "BootMode",
	        "tpmSupport",       "TpmSupport",       "uefiData",    "UefiData",
	        "lastLaunchedTime", "LastLaunchedTime", "imdsSupport", "ImdsSupport"};
	struct resource *image = image_get(r, value_string(r->in, "ImageId"), NULL);
	const char *attribute = value_string(r->in, "Attribute"), *text;

	if (!image)
		return -1;
	value_set_string(r->out, "ImageId", image->id);
	for (unsigned i = 0; i < ARRAY_SIZE(empty); i += 2)
		if (!strcmp(attribute, empty[i]))
			value_open(r->out, empty[i + 1]);
	if (!strcmp(attribute, "description")) {
		text = value_string(image->doc, "Description");
		value_set_string(value_open(r->out, "Description"), "Value", text ? text : "");
	} else if (!strcmp(attribute, "launchPermission")) {
		struct value *list = value_open(r->out, "LaunchPermissions");

		if (!strcmp(value_string(image->doc, "OwnerId"), r->account))
			permission_show(r, image->id, IMAGE_PERMISSION, list);
		if (!list->count && value_boolean(image->doc, "Public", false))
			value_set_string(value_append(list), "Group", "all");
	} else if (!strcmp(attribute, "productCodes")) {
		value_open(r->out, "ProductCodes");
	} else if (!strcmp(attribute, "blockDeviceMapping")) {
		if (value_get(image->doc, "BlockDeviceMappings"))
			value_put(r->out, "BlockDeviceMappings",
			          value_copy(r->arena, value_get(image->doc, "BlockDeviceMappings")));
	}
	return 0;
}

/* ---- launch permissions ---- */

static bool says_permission(struct request *r)
{
	static const char *const lists[] = {"UserIds", "UserGroups", "OrganizationArns",
	                                    "OrganizationalUnitArns"};
	const char *attribute = value_string(r->in, "Attribute");

	for (unsigned i = 0; i < ARRAY_SIZE(lists); i++)
		if (value_count(value_get(r->in, lists[i])))
			return true;
	return value_get(r->in, "LaunchPermission") || (attribute && !strcmp(attribute, "launchPermission"));
}

/* The region's own default key is not to be shared. */
static int check_encryption(struct request *r, const struct resource *image)
{
	const struct value *list = value_get(image->doc, "BlockDeviceMappings");

	for (unsigned i = 0; i < value_count(list); i++)
		if (value_boolean(value_get(value_item(list, i), "Ebs"), "Encrypted", false))
			return request_fail(r, "InvalidParameterValue",
			                    "Images with snapshots that are encrypted with the default key "
			                    "cannot be shared");
	return 0;
}

static int change_permissions(struct request *r, struct resource *image)
{
	static const char *const lists[] = {"UserIds", "UserGroups", "OrganizationArns",
	                                    "OrganizationalUnitArns"};
	const struct value *change = value_get(r->in, "LaunchPermission");
	const char *operation = value_string(r->in, "OperationType");
	bool add = operation && !strcmp(operation, "add"), listed = false;

	for (unsigned i = 0; i < ARRAY_SIZE(lists); i++)
		listed |= value_count(value_get(r->in, lists[i])) != 0;
	if (listed && !operation)
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter operationType");
	if (!listed && !value_count(value_get(change, "Add")) && !value_count(value_get(change, "Remove")))
		return request_fail(r, "InvalidParameterCombination",
		                    "No permissions to add or remove were specified");
	if ((add || value_count(value_get(change, "Add"))) && check_encryption(r, image) < 0)
		return -1;
	if (permission_change(r, image->id, IMAGE_PERMISSION, true, value_get(change, "Add")) < 0 ||
	    permission_change(r, image->id, IMAGE_PERMISSION, false, value_get(change, "Remove")) < 0)
		return -1;
	for (unsigned i = 0; i < ARRAY_SIZE(lists); i++)
		if (permission_change(r, image->id, IMAGE_PERMISSION, add, value_get(r->in, lists[i])) < 0)
			return -1;
	value_set_boolean(image->doc, "Public", permission_has(r, image->id, IMAGE_PERMISSION, "all"));
	resource_save(r, image);
	return 0;
}

ACTION(ec2, ModifyImageAttribute)
{
	struct resource *image = own_image(r);
	const struct value *description = value_get(r->in, "Description");
	const char *attribute = value_string(r->in, "Attribute"), *text = NULL;

	if (!image)
		return -1;
	if (says_permission(r))
		return change_permissions(r, image);
	if (value_count(value_get(r->in, "ProductCodes")))
		return request_fail(r, "UnsupportedOperation", "There are no product codes here");
	if (description)
		text = value_string(description, "Value");
	else if (attribute && !strcmp(attribute, "description"))
		text = value_string(r->in, "Value");
	if (!text)
		return request_fail(r, "InvalidParameterCombination",
		                    "No attribute that can be modified was specified: description, "
		                    "launchPermission");
	if (strlen(text) > DESCRIPTION_MAX)
		return request_fail(r, "InvalidParameterValue",
		                    "The description of an image has at most %d characters", DESCRIPTION_MAX);
	value_set_string(image->doc, "Description", text);
	resource_save(r, image);
	return 0;
}

ACTION(ec2, ResetImageAttribute)
{
	struct resource *image = own_image(r);

	if (!image)
		return -1;
	link_remove(r, image->id, IMAGE_PERMISSION, NULL);
	value_set_boolean(image->doc, "Public", false);
	resource_save(r, image);
	return 0;
}

ACTION(ec2, EnableImageDeprecation)
{
	struct resource *image = own_image(r);
	const struct value *at = value_get(r->in, "DeprecateAt");
	struct buffer b = {0};

	if (!image)
		return -1;
	if (at->integer < r->now_ms)
		return request_fail(r, "InvalidParameterValue", "The deprecation time must be in the future");
	scalar_write_time(&b, at->integer);
	value_set_string(image->doc, "DeprecationTime", buffer_str(&b));
	buffer_release(&b);
	resource_save(r, image);
	value_set_boolean(r->out, "Return", true);
	return 0;
}

ACTION(ec2, DisableImageDeprecation)
{
	struct resource *image = own_image(r);

	if (!image)
		return -1;
	value_remove(image->doc, "DeprecationTime");
	resource_save(r, image);
	value_set_boolean(r->out, "Return", true);
	return 0;
}

/* Nothing is kept of images that were deregistered. */
ACTION(ec2, ListImagesInRecycleBin)
{
	const struct value *ids = value_get(r->in, "ImageIds");

	if (value_count(ids)) {
		if (image_get(r, value_item(ids, 0)->text, NULL))
			request_fail(r, "InvalidAMIID.NotFound", "The image '%s' is not in the recycle bin",
			             value_item(ids, 0)->text);
		return -1;
	}
	value_open(r->out, "Images");
	return 0;
}

ACTION(ec2, RestoreImageFromRecycleBin)
{
	struct resource *image = image_get(r, value_string(r->in, "ImageId"), NULL);

	if (!image)
		return -1;
	return request_fail(r, "IncorrectState", "The image '%s' is not in the recycle bin", image->id);
}

/* By the account that was let in. */
ACTION(ec2, CancelImageLaunchPermission)
{
	struct resource *image = image_get(r, value_string(r->in, "ImageId"), NULL);

	if (!image)
		return -1;
	if (!permission_has(r, image->id, IMAGE_PERMISSION, r->account))
		return request_fail(r, "InvalidParameterValue",
		                    "The image '%s' is not shared with your account by another", image->id);
	link_remove(r, image->id, IMAGE_PERMISSION, r->account);
	value_set_boolean(r->out, "Return", true);
	return 0;
}
