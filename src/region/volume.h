/*
 * Volumes (EC2 User Guide, "Amazon EBS volumes"). A volume's document has its attachments; the instance's
 * BlockDeviceMappings have the same. Bytes are files (block_file.h), where machines are real.
 */
#pragma once

#include "region/resource.h"

extern const struct resource_kind volume_kind;

#define GIB (1ll << 30)

/* A volume's file as its machine has it, from the machine's folder; and what the guest sees as the disk's serial
 * number: the id without the dash, as on EC2. */
#define VOLUME_PATH   "../../volumes/%s"
#define VOLUME_SERIAL "vol%s" /* of the digits */

/* What a volume shall be like. Numbers that were not said are -1; volume_check() fills in what the type has.
 */
struct volume_wish {
	const char *type, *zone, *kms; /* may be NULL before volume_check(): gp2, -, - */
	s64 size, iops, throughput;    /* GiB, I/O operations each second, MiB each second */
	bool encrypted, multi_attach;
	struct resource *snapshot; /* what it begins with, NULL: nothing */
	const char *source;        /* or a file, by its path; NULL: none */
};
#define VOLUME_WISH ((struct volume_wish){.size = -1, .iops = -1, .throughput = -1})

/* The members VolumeType, Size or VolumeSize, Iops, Throughput, Encrypted, KmsKeyId and SnapshotId of v.
 * -1: there is no such snapshot, or it is not whole. */
int volume_wish_read(struct request *r, const struct value *v, struct volume_wish *w);
/* Limits of the types. -1: InvalidParameterValue, InvalidParameterCombination, … */
int volume_check(struct request *r, struct volume_wish *w);

/* Not stored yet, of state creating; tags are the caller's. */
struct resource *volume_new(struct request *r, const struct volume_wish *w);
/* Stores it, and has its file made. */
void volume_insert(struct request *r, struct resource *volume, const struct volume_wish *w);
/* Removes it and its file. */
void volume_remove(struct request *r, struct resource *volume);
/* Its file is there, or why it is not. */
void volume_finished(struct request *r, const char *id, const char *why);

/* The attachment to an instance (NULL: the first), or NULL. */
struct value *volume_attachment(const struct resource *volume, const char *instance);
/* Both documents, of which the volume's is stored. */
void volume_attach(struct request *r, struct resource *volume, struct resource *instance, const char *device,
                   bool delete_on_termination);
void volume_detach(struct request *r, struct resource *volume, struct resource *instance);
/* The attachment's state in both documents, which are the caller's to store: "attaching", "attached",
 * "detaching" or "busy". */
void volume_set_state(struct resource *volume, struct resource *instance, const char *state);
/* Changes one entry of the instance's BlockDeviceMappings and the volume's attachment. */
void volume_set_delete_on_termination(struct request *r, const struct resource *instance,
                                      struct value *mapping, bool value);

/* How many volumes an instance may have: INSTANCE_VOLUMES_MAX, or what a machine of this host has room for. */
unsigned volume_room(struct request *r);
/* NULL with a fault: no name of a device, or one that is taken. instance NULL: only the name is looked at. */
const char *volume_device_check(struct request *r, const struct resource *instance, const char *device);
