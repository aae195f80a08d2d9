#include "machine/boot_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HUGE_PAGE (2 * MiB)

/* Reads until len bytes or the end of the file; at offset, or as it comes where offset is -1. Bytes read, or
 * -1. */
static s64 read_all(int fd, u8 *to, u64 len, s64 offset)
{
	u64 done = 0;

	while (done < len) {
		size_t want = min(len - done, 1 * GiB);
		ssize_t n = offset < 0 ? read(fd, to + done, want)
		                       : pread(fd, to + done, want, offset + (s64)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (!n)
			break;
		done += (u64)n;
	}
	return (s64)done;
}

/* For what has no size: reads to the end into f->data. */
static int slurp(struct boot_file *f, struct error *e)
{
	u64 room = 0;

	for (;;) {
		if (f->size == room) {
			room = room ? room * 2 : 1 * MiB;
			u8 *data = realloc(f->data, room);

			if (!data)
				return error_set(e, ENOMEM, "%s", f->path);
			f->data = data;
		}
		s64 n = read_all(f->fd, f->data + f->size, room - f->size, -1);

		if (n < 0)
			return error_set(e, errno, "%s", f->path);
		if (!n)
			return 0;
		f->size += (u64)n;
		if (f->size > BOOT_FILE_MAX)
			return error_set(e, EFBIG, "%s", f->path);
	}
}

int boot_file_open(struct boot_file *f, const char *path, struct error *e)
{
	struct stat st;

	*f = (struct boot_file){.fd = -1, .path = strdup(path)};
	if (!f->path)
		return error_set(e, ENOMEM, "%s", path);
	f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (f->fd < 0 || fstat(f->fd, &st)) {
		error_set(e, errno, "%s", path);
		goto fail;
	}
	if (S_ISDIR(st.st_mode)) {
		error_set(e, EISDIR, "%s", path);
		goto fail;
	}
	if (!S_ISREG(st.st_mode)) {
		if (slurp(f, e))
			goto fail;
	} else {
		f->size = (u64)st.st_size;
	}
	if (!f->size) {
		error_set(e, 0, "%s: empty file", path);
		goto fail;
	}
	return 0;
fail:
	boot_file_release(f);
	return -1;
}

void boot_file_release(struct boot_file *f)
{
	if (f->path && f->fd >= 0)
		close(f->fd);
	free(f->path);
	free(f->data);
	*f = (struct boot_file){.fd = -1};
}

/* f->size bytes to `to`. */
static int fetch(const struct boot_file *f, u8 *to, struct error *e)
{
	if (f->data) {
		memcpy(to, f->data, f->size);
		return 0;
	}
	s64 n = read_all(f->fd, to, f->size, 0);

	if (n < 0)
		return error_set(e, errno, "%s", f->path);
	if ((u64)n != f->size)
		return error_set(e, 0, "%s: changed while in use: %llu bytes of %llu are left", f->path,
		                 (unsigned long long)n, (unsigned long long)f->size);
	return 0;
}

u8 *boot_file_read(const struct boot_file *f, struct error *e)
{
	u8 *data = NULL;

	/* In huge pages, where the host has some: all of it is read, and soon released. */
	if (f->size <= BOOT_FILE_MAX)
		data = aligned_alloc(HUGE_PAGE, align_up(f->size, HUGE_PAGE));
	if (data)
		(void)madvise(data, align_up(f->size, HUGE_PAGE), MADV_HUGEPAGE);
	if (f->size > BOOT_FILE_MAX) {
		error_set(e, EFBIG, "%s", f->path);
		return NULL;
	}
	if (!data) {
		error_set(e, ENOMEM, "%s", f->path);
		return NULL;
	}
	if (fetch(f, data, e)) {
		free(data);
		return NULL;
	}
	return data;
}

int boot_file_load(const struct boot_file *f, const struct memory *m, u64 gpa, struct error *e)
{
	u8 *to = memory_range(m, gpa, f->size);

	if (!to)
		return error_set(e, 0, "%s: does not fit in memory", f->path);
	if (fetch(f, to, e))
		return -1;
	memory_written(m, gpa, f->size);
	return 0;
}
