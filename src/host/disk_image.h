/*
 * Disk images from elsewhere: what format a file has, and whether it is a disk of its own. Such files are
 * hostile: a header may name others (a backing file, a parent, extents, an external data file), which a
 * converter would then read into the new disk; those are refused here, before one sees the file.
 *
 * Formats: QEMU docs/interop/qcow2.txt; VMware Virtual Disk Format 5.0; Microsoft VHD and VHDX ([MS-VHDX]).
 */
#pragma once

#include "base/error.h"
#include "base/types.h"

struct disk_image {
	const char *format; /* as qemu-img calls it: raw, qcow2, vmdk, vpc, vhdx */
	u64 size;           /* of the disk in it, bytes; 0: its format does not say it simply */
};

/* fd: a regular file, which is only read. -1: it refers to other files, is damaged, or no disk. */
int disk_image_inspect(int fd, struct disk_image *image, struct error *e);

/* Does a raw disk begin with a partition table? */
bool disk_image_partitioned(int fd);
/* Does it begin with a boot loader, which a BIOS would start? */
bool disk_image_boots(int fd);
/* The UUID of the ext file system that a raw disk is, as root=UUID= has it. false: it is none. */
enum { DISK_IMAGE_UUID = 37 };
bool disk_image_uuid(int fd, char text[DISK_IMAGE_UUID]);
