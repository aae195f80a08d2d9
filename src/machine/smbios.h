/*
 * SMBIOS 3.0 (DMTF DSP0134): what `dmidecode` and /sys/class/dmi show. Vendor and system manufacturer are
 * "Amazon EC2", and the UUID begins with ec2. cloud-init takes a machine for one of EC2, and waits for its
 * metadata service, if the serial number is that UUID too: so it is for a UUID that was given; one that is
 * made up goes without serial number. The asset tag of the baseboard is where EC2 has the instance's id.
 */
#pragma once

#include "base/error.h"
#include "base/types.h"

#define SMBIOS_ANCHOR_SIZE 24

struct smbios_config {
	const char *product; /* NULL: "insula" */
	const char *uuid;    /* text; NULL: one is made up */
	const char *asset;   /* NULL: none */
	u64 memory;          /* bytes */
	unsigned cpus;
};

struct smbios {
	u8 anchor[SMBIOS_ANCHOR_SIZE]; /* the 64-bit entry point */
	u8 *data;                      /* the structures */
	u32 size;
	u8 uuid[16]; /* in the order of the text */
	bool failed;
};

/* -1: the UUID is none, or no memory. */
int smbios_build(struct smbios *s, const struct smbios_config *c, struct error *e);
void smbios_release(struct smbios *s);
/* The structures will lie at gpa: completes the anchor. */
void smbios_place(struct smbios *s, u64 gpa);
