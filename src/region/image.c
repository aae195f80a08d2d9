#include "region/image.h"
#include "model/scalar.h"
#include "region/describe.h"
#include "region/filter.h"
#include "region/permission.h"
#include "region/tag.h"
#include "region/volume.h"

#include <string.h>
#include <sys/stat.h>

static const char *const filters[] = {"state",
                                      "State",
                                      "is-public",
                                      "Public",
                                      "architecture",
                                      "Architecture",
                                      "owner-id",
                                      "OwnerId",
                                      "block-device-mapping.delete-on-termination",
                                      "BlockDeviceMappings.Ebs.DeleteOnTermination",
                                      "block-device-mapping.snapshot-id",
                                      "BlockDeviceMappings.Ebs.SnapshotId",
                                      "block-device-mapping.volume-size",
                                      "BlockDeviceMappings.Ebs.VolumeSize",
                                      "block-device-mapping.volume-type",
                                      "BlockDeviceMappings.Ebs.VolumeType",
                                      "block-device-mapping.encrypted",
                                      "BlockDeviceMappings.Ebs.Encrypted",
                                      "manifest-location",
                                      "ImageLocation",
                                      "owner-alias",
                                      "ImageOwnerAlias",
                                      "product-code",
                                      "ProductCodes.ProductCodeId",
                                      "product-code.type",
                                      "ProductCodes.ProductCodeType",
                                      "state-reason-code",
                                      "StateReason.Code",
                                      "state-reason-message",
                                      "StateReason.Message",
                                      NULL};

RESOURCE_KIND(image_kind) = {
        .name = "image",
        .prefix = "ami-",
        .shape = "Image",
        .id = "ImageId",
        .noun = "AMIID",
        .filters = filters,
};

/* The place of shared images among resources. */
static struct request shared(const struct request *r)
{
	struct request s = *r;

	s.account = "insula";
	s.region = "*";
	return s;
}

struct resource *image_get(struct request *r, const char *id, struct image_source *source)
{
	struct request all = shared(r);
	struct resource *image = NULL;
	struct query *q;

	if (resource_id_valid(image_kind.prefix, id)) {
		image = resource_find(&all, &image_kind, id);
		if (!image)
			image = permission_find(r, &image_kind, id, IMAGE_PERMISSION);
	}
	if (!image)
		image = resource_get(r, &image_kind, id);
	if (!image || !source)
		return image;
	*source = (struct image_source){"", "", "", ""};
	q = query_text(database_query(r->cloud->db, "SELECT kernel, initrd, disk, cmdline FROM machine_image "
	                                            "WHERE id = $1"),
	               id);
	if (query_row(q))
		*source = (struct image_source){arena_strdup(r->arena, query_column_text(q, 0)),
		                                arena_strdup(r->arena, query_column_text(q, 1)),
		                                arena_strdup(r->arena, query_column_text(q, 2)),
		                                arena_strdup(r->arena, query_column_text(q, 3))};
	query_end(q);
	return image;
}

struct resource *image_own(struct request *r, const char *id)
{
	struct resource *image;

	if (!resource_id_valid(image_kind.prefix, id))
		return resource_get(r, &image_kind, id);
	image = resource_find(r, &image_kind, id);
	if (!image && image_get(r, id, NULL))
		request_fail(r, "AuthFailure", "Not authorized for image:%s: it is not yours", id);
	return image;
}

bool image_is_secret(struct request *r, const char *id)
{
	struct query *q = database_query(r->cloud->db, "SELECT 1 FROM resource WHERE id = $1 AND kind = "
	                                               "'image' AND region = $2 AND account <> $3");
	bool found = query_row(query_text(query_text(query_text(q, id), r->region), r->account));

	query_end(q);
	return found && !image_get(r, id, NULL);
}

void image_set_source(struct request *r, const char *id, const struct image_source *source)
{
	struct query *q =
	        database_query(r->cloud->db, "INSERT INTO machine_image VALUES ($1, $2, $3, $4, $5) "
	                                     "ON CONFLICT (id) DO UPDATE SET kernel = $2, "
	                                     "initrd = $3, disk = $4, cmdline = $5");

	query_text(query_text(q, id), source->kernel);
	query_text(query_text(q, source->initrd), source->disk);
	query_run(query_text(q, source->cmdline));
}

struct resource *image_new(struct request *r, const char *name, const char *description)
{
	struct resource *image = resource_new(r, &image_kind);
	struct buffer b = {0};

	scalar_write_time(&b, r->now_ms);
	value_set_string(image->doc, "CreationDate", buffer_str(&b));
	buffer_release(&b);
	value_set_string(image->doc, "Name", name);
	value_set_string(image->doc, "Description", description);
	value_set_string(image->doc, "ImageLocation", arena_printf(r->arena, "%s/%s", r->account, name));
	value_set_string(image->doc, "State", "available");
	value_set_string(image->doc, "ImageType", "machine");
	value_set_string(image->doc, "Architecture", "x86_64");
	value_set_string(image->doc, "PlatformDetails", "Linux/UNIX");
	value_set_string(image->doc, "UsageOperation", "RunInstances");
	value_set_string(image->doc, "VirtualizationType", "hvm");
	value_set_string(image->doc, "Hypervisor", "xen");
	value_set_string(image->doc, "RootDeviceType", "ebs");
	value_set_string(image->doc, "RootDeviceName", "/dev/xvda");
	value_set_boolean(image->doc, "EnaSupport", true);
	value_set_boolean(image->doc, "Public", false);
	value_open(image->doc, "BlockDeviceMappings");
	value_open(image->doc, "ProductCodes");
	return image;
}

/* What boots from a disk has it as its root volume; what runs from memory has none. */
static void map_root(struct resource *image, const struct image_source *source)
{
	struct value *list = value_open(image->doc, "BlockDeviceMappings"), *ebs;
	struct stat st;

	list->count = 0;
	if (!*source->disk || stat(source->disk, &st) < 0)
		return;
	list = value_append(list);
	value_set_string(list, "DeviceName", value_string(image->doc, "RootDeviceName"));
	ebs = value_open(list, "Ebs");
	value_set_boolean(ebs, "DeleteOnTermination", true);
	value_set_boolean(ebs, "Encrypted", false);
	value_set_integer(ebs, "VolumeSize", max((s64)1, (st.st_size + GIB - 1) / GIB));
	value_set_string(ebs, "VolumeType", "gp3");
}

const char *image_share(struct request *r, const char *name, const char *description,
                        const struct image_source *source)
{
	struct request all = shared(r);
	struct resource *image = resource_lookup(&all, &image_kind, "Name", name);

	if (!image) {
		image = image_new(&all, name, description);
		value_set_string(image->doc, "OwnerId", r->cloud->account);
		value_set_string(image->doc, "ImageOwnerAlias", "insula");
		value_set_string(image->doc, "ImageLocation", arena_printf(r->arena, "insula/%s", name));
		value_set_boolean(image->doc, "Public", true);
		resource_insert(&all, image);
	}
	map_root(image, source);
	resource_save(&all, image);
	image_set_source(r, image->id, source);
	return image->id;
}

/* ---- actions ---- */

struct listing {
	struct request *request;
	const struct filter *filter;
	struct value *list;
};

/* Owners: "self", an account, an alias. */
static bool owned_by(struct request *r, const struct value *doc, const struct value *owners)
{
	const char *alias = value_string(doc, "ImageOwnerAlias"), *owner = value_string(doc, "OwnerId");

	for (unsigned i = 0; i < value_count(owners); i++) {
		const char *text = value_item(owners, i)->text;

		if (!strcmp(text, owner) || (alias && !strcmp(text, alias)) ||
		    (!strcmp(text, "self") && !strcmp(owner, r->account)))
			return true;
	}
	return !value_count(owners);
}

/* ExecutableUsers: "self", "all", or an account, of whom the image says that they may launch it. */
static bool executable_by(struct request *r, const struct resource *image, const struct value *users)
{
	for (unsigned i = 0; i < value_count(users); i++) {
		const char *who = value_item(users, i)->text;

		if (!strcmp(who, "all") ? value_boolean(image->doc, "Public", false)
		                        : permission_has(r, image->id, IMAGE_PERMISSION,
		                                         strcmp(who, "self") ? who : r->account))
			return true;
	}
	return !value_count(users);
}

static bool visit(void *ctx, struct resource *res)
{
	struct listing *l = ctx;

	if (owned_by(l->request, res->doc, value_get(l->request->in, "Owners")) &&
	    executable_by(l->request, res, value_get(l->request->in, "ExecutableUsers")) &&
	    filter_match(l->filter, res->doc))
		value_append_value(l->list, value_copy(l->request->arena, res->doc));
	return true;
}

ACTION(ec2, DescribeImages)
{
	const struct value *ids = value_get(r->in, "ImageIds");
	struct listing l = {.request = r, .list = value_open(r->out, "Images")};
	struct request all = shared(r);
	struct filter *filter;

	if (filter_read(r, &image_kind, &filter) < 0)
		return -1;
	l.filter = filter;
	for (unsigned i = 0; i < value_count(ids); i++) {
		struct resource *image = image_get(r, value_item(ids, i)->text, NULL);

		if (!image)
			return -1;
		visit(&l, image);
	}
	if (!value_count(ids)) {
		const char **others = permission_visible(r, &image_kind, IMAGE_PERMISSION, 0);

		resource_each(&all, &image_kind, NULL, 0, visit, &l);
		for (unsigned i = 0; others[i]; i++) {
			struct resource *image = image_get(r, others[i], NULL);

			if (image)
				visit(&l, image);
		}
	}
	return 0;
}

ACTION(ec2, DeregisterImage)
{
	struct resource *image = image_own(r, value_string(r->in, "ImageId"));

	if (!image)
		return -1;
	resource_delete(r, image);
	query_run(query_text(database_query(r->cloud->db, "DELETE FROM machine_image WHERE id = $1"),
	                     image->id));
	return 0;
}
