/*
 * A file that a machine boots from, kept open: a guest's reboot reads it again without its path, which by
 * then may be out of reach, and its bytes cost no host memory in between. Main thread.
 */
#pragma once

#include "base/error.h"
#include "base/types.h"
#include "machine/memory.h"

/* Larger than any kernel; bounds what is read into host memory, from a pipe or a device too. */
#define BOOT_FILE_MAX (2 * GiB)

struct boot_file {
	char *path; /* for messages */
	int fd;     /* owned; -1 if there is none */
	u64 size;
	u8 *data; /* owned; only for what cannot be read twice (a pipe), else NULL */
};

/* "path: what" in e on failure; f then needs no release. An empty file is an error. */
int boot_file_open(struct boot_file *f, const char *path, struct error *e);
void boot_file_release(struct boot_file *f);

/* The whole file in memory from malloc, which the caller frees. NULL: unreadable, too large, or shorter than
 * at its opening. */
u8 *boot_file_read(const struct boot_file *f, struct error *e);

/* The whole file to guest memory at gpa, where f->size bytes of RAM must be. */
int boot_file_load(const struct boot_file *f, const struct memory *m, u64 gpa, struct error *e);
