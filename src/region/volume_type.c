/* What volumes of each type can be (EC2 API Reference: CreateVolume). */
#include "region/block_file.h"
#include "region/ebs_default.h"
#include "region/snapshot.h"
#include "region/volume.h"

#include <string.h>

enum { KEY_MAX = 2048 };

struct volume_type {
	const char *name;
	s64 least, most; /* GiB */
	s64 iops_least, iops_most, iops_per_gib, iops;
	s64 throughput_least, throughput_most, throughput;
	bool multi_attach, iops_said; /* may be attached more than once; iops must be given */
};

static const struct volume_type types[] = {
        {.name = "gp2", .least = 1, .most = 16384},
        {.name = "gp3",
         .least = 1,
         .most = 16384,
         .iops_least = 3000,
         .iops_most = 16000,
         .iops_per_gib = 500,
         .iops = 3000,
         .throughput_least = 125,
         .throughput_most = 1000,
         .throughput = 125},
        {.name = "io1",
         .least = 4,
         .most = 16384,
         .iops_least = 100,
         .iops_most = 64000,
         .iops_per_gib = 50,
         .multi_attach = true,
         .iops_said = true},
        {.name = "io2",
         .least = 4,
         .most = 65536,
         .iops_least = 100,
         .iops_most = 256000,
         .iops_per_gib = 1000,
         .multi_attach = true,
         .iops_said = true},
        {.name = "st1", .least = 125, .most = 16384},
        {.name = "sc1", .least = 125, .most = 16384},
        {.name = "standard", .least = 1, .most = 1024},
};

/* Throughput: a MiB/s for each four operations; gp2: three operations a second for each GiB. */
enum { IOPS_PER_MIB = 4, GP2_PER_GIB = 3, GP2_LEAST = 100, GP2_MOST = 16000 };

static const struct volume_type *find(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++)
		if (!strcmp(types[i].name, name))
			return &types[i];
	return NULL;
}

int volume_wish_read(struct request *r, const struct value *v, struct volume_wish *w)
{
	const char *size =
	        model_member_find(v->model, value_shape(v), "VolumeSize") >= 0 ? "VolumeSize" : "Size";
	const char *snapshot = value_string(v, "SnapshotId");

	w->type = value_string(v, "VolumeType") ? value_string(v, "VolumeType") : w->type;
	w->size = value_integer(v, size, w->size);
	w->iops = value_integer(v, "Iops", w->iops);
	w->throughput = value_integer(v, "Throughput", w->throughput);
	w->encrypted = value_boolean(v, "Encrypted", w->encrypted);
	w->kms = value_string(v, "KmsKeyId") ? value_string(v, "KmsKeyId") : w->kms;
	if (value_get(v, "OutpostArn"))
		return request_fail(r, "UnsupportedOperation", "There are no Outposts here");
	if (!snapshot || !*snapshot)
		return 0;
	w->snapshot = snapshot_get(r, snapshot);
	if (!w->snapshot)
		return -1;
	if (strcmp(value_string(w->snapshot->doc, "State"), "completed"))
		return request_fail(r, "IncorrectState", "Snapshot '%s' is not 'completed'.", snapshot);
	return 0;
}

static int check_size(struct request *r, const struct volume_type *t, struct volume_wish *w)
{
	s64 least = w->snapshot ? value_integer(w->snapshot->doc, "VolumeSize", 0) : 0;

	if (w->size < 0 && !w->snapshot)
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter size or snapshotId");
	if (w->size < 0)
		w->size = max(least, t->least);
	if (w->size < least)
		return request_fail(
		        r, "InvalidParameterValue",
		        "Volume of size %lldGB is smaller than snapshot '%s', expect size >= %lldGB",
		        (long long)w->size, w->snapshot->id, (long long)least);
	if (w->size < t->least || w->size > t->most)
		return request_fail(r, "InvalidParameterValue",
		                    "Volume of %lldGiB is too %s for volume type %s; %s is %lldGiB.",
		                    (long long)w->size, w->size < t->least ? "small" : "large", t->name,
		                    w->size < t->least ? "minimum" : "maximum",
		                    (long long)(w->size < t->least ? t->least : t->most));
	return 0;
}

static int check_iops(struct request *r, const struct volume_type *t, struct volume_wish *w)
{
	if (!t->iops_most && w->iops >= 0)
		return request_fail(r, "InvalidParameterCombination",
		                    "The parameter iops is not supported for %s volumes.", t->name);
	if (!strcmp(t->name, "gp2")) {
		w->iops = max(w->size * GP2_PER_GIB, (s64)GP2_LEAST);
		w->iops = min(w->iops, (s64)GP2_MOST);
	}
	if (!t->iops_most)
		return 0;
	if (w->iops < 0 && t->iops_said)
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter iops for %s volumes.", t->name);
	if (w->iops < 0)
		w->iops = t->iops;
	if (w->iops < t->iops_least || w->iops > t->iops_most)
		return request_fail(r, "InvalidParameterValue", "Volume iops of %lld is too %s; %s is %lld.",
		                    (long long)w->iops, w->iops < t->iops_least ? "low" : "high",
		                    w->iops < t->iops_least ? "minimum" : "maximum",
		                    (long long)(w->iops < t->iops_least ? t->iops_least : t->iops_most));
	if (w->iops > t->iops && w->iops > w->size * t->iops_per_gib)
		return request_fail(
		        r, "InvalidParameterValue",
		        "Iops to volume size ratio of %.6f is too high; maximum is %lld iops per GiB.",
		        (double)w->iops / (double)w->size, (long long)t->iops_per_gib);
	return 0;
}

static int check_throughput(struct request *r, const struct volume_type *t, struct volume_wish *w)
{
	if (!t->throughput_most && w->throughput >= 0)
		return request_fail(r, "InvalidParameterCombination",
		                    "The parameter throughput is not supported for %s volumes.", t->name);
	if (!t->throughput_most)
		return 0;
	if (w->throughput < 0)
		w->throughput = t->throughput;
	if (w->throughput < t->throughput_least || w->throughput > t->throughput_most)
		return request_fail(r, "InvalidParameterValue",
		                    "Volume throughput of %lld MiB/s is too %s; it is from %lld to %lld.",
		                    (long long)w->throughput,
		                    w->throughput < t->throughput_least ? "low" : "high",
		                    (long long)t->throughput_least, (long long)t->throughput_most);
	if (w->throughput * IOPS_PER_MIB > w->iops)
		return request_fail(r, "InvalidParameterValue",
		                    "Throughput to iops ratio of %.6f is too high; maximum is 0.25 MiB/s "
		                    "per iops.",
		                    (double)w->throughput / (double)w->iops);
	return 0;
}

static int check_encryption(struct request *r, struct volume_wish *w)
{
	if (w->kms && !w->encrypted)
		return request_fail(r, "InvalidParameterDependency",
		                    "The parameter KmsKeyId requires the parameter Encrypted to be set.");
	if (w->kms && strlen(w->kms) > KEY_MAX)
		return request_fail(r, "InvalidParameterValue", "The parameter KmsKeyId is too long");
	if (ebs_default_encryption(r) || (w->snapshot && value_boolean(w->snapshot->doc, "Encrypted", false)))
		w->encrypted = true;
	if (!w->encrypted)
		return 0;
	if (block_files_are_real(r))
		return request_fail(r, "UnsupportedOperation",
		                    "Volumes cannot be encrypted here: they are plain files");
	w->kms = ebs_default_key(r, w->kms);
	return 0;
}

int volume_check(struct request *r, struct volume_wish *w)
{
	const struct volume_type *t = find(w->type ? w->type : "gp2");

	if (!t)
		return request_fail(r, "UnknownVolumeType",
		                    "Unsupported volume type '%.64s' for volume creation.", w->type);
	w->type = t->name;
	if (w->multi_attach && !t->multi_attach)
		return request_fail(r, "InvalidParameterCombination",
		                    "Multi-Attach is not supported for %s volumes.", t->name);
	if (check_size(r, t, w) < 0 || check_iops(r, t, w) < 0 || check_throughput(r, t, w) < 0)
		return -1;
	return check_encryption(r, w);
}
