/* Attributes of images: DescribeImageAttribute, ModifyImageAttribute, ResetImageAttribute, deprecation. */
#include "model/scalar.h"
#include "region/image.h"

#include <string.h>

enum { DESCRIPTION_MAX = 255 };

/* An image that the caller may change; those of the region belong to nobody's account. */
static struct resource *own_image(struct request *r)
{
	struct resource *image = image_get(r, value_string(r->in, "ImageId"), NULL);

	if (image && value_boolean(image->doc, "Public", false)) {
		request_fail(r, "AuthFailure", "Not authorized for image:%s: it belongs to the region",
		             image->id);
		return NULL;
	}
	return image;
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

		if (value_boolean(image->doc, "Public", false))
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

ACTION(ec2, ModifyImageAttribute)
{
	struct resource *image = own_image(r);
	const struct value *description = value_get(r->in, "Description");
	const char *attribute = value_string(r->in, "Attribute"), *text = NULL;

	if (!image)
		return -1;
	if (description)
		text = value_string(description, "Value");
	else if (attribute && !strcmp(attribute, "description"))
		text = value_string(r->in, "Value");
	if (value_get(r->in, "LaunchPermission") || (attribute && !strcmp(attribute, "launchPermission")))
		return request_fail(r, "UnsupportedOperation",
		                    "Images are not shared among accounts here yet");
	if (!text)
		return request_fail(r, "InvalidParameterCombination",
		                    "No attribute that can be modified was specified: description");
	if (strlen(text) > DESCRIPTION_MAX)
		return request_fail(r, "InvalidParameterValue",
		                    "The description of an image has at most %d characters", DESCRIPTION_MAX);
	value_set_string(image->doc, "Description", text);
	resource_save(r, image);
	return 0;
}

/* Nobody else has a permission, so what it was reset to is what it is. */
ACTION(ec2, ResetImageAttribute)
{
	return own_image(r) ? 0 : -1;
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

ACTION(ec2, CancelImageLaunchPermission)
{
	struct resource *image = image_get(r, value_string(r->in, "ImageId"), NULL);

	if (!image)
		return -1;
	return request_fail(r, "InvalidParameterValue",
	                    "The image '%s' is not shared with your account by another", image->id);
}
