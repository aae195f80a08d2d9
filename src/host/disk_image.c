#include "host/disk_image.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* More than any disk that is asked for here. */
#define SIZE_MAX_DISK (64ULL << 40)

static u32 be32(const u8 *p)
{
	return (u32)p[0] << 24 | (u32)p[1] << 16 | (u32)p[2] << 8 | p[3];
}

static u64 be64(const u8 *p)
{
	return (u64)be32(p) << 32 | be32(p + 4);
}

static u64 le64(const u8 *p)
{
	u64 v = 0;

	for (int i = 7; i >= 0; i--)
		v = v << 8 | p[i];
	return v;
}

static int set_size(struct disk_image *image, u64 size, struct error *e)
{
	if (!size || size % 512 || size > SIZE_MAX_DISK)
		return error_set(e, 0, "its header says %llu bytes, which is no size of a disk",
		                 (unsigned long long)size);
	image->size = size;
	return 0;
}

/* ---- qcow2 ---- */

enum { QCOW2_EXTERNAL_DATA = 1 << 2, QCOW2_KNOWN = 0x1f };

static int inspect_qcow2(const u8 *h, struct disk_image *image, struct error *e)
{
	u32 version = be32(h + 4);
	u64 features = version >= 3 ? be64(h + 72) : 0;

	image->format = "qcow2";
	if (version != 2 && version != 3)
		return error_set(e, 0, "qcow2 of version %u is not known", version);
	if (be64(h + 8) || be32(h + 16))
		return error_set(e, 0, "it has a backing file: flatten it first (qemu-img convert)");
	if (features & QCOW2_EXTERNAL_DATA)
		return error_set(e, 0, "its data are in another file: flatten it first (qemu-img convert)");
	if (features & ~(u64)QCOW2_KNOWN)
		return error_set(e, 0, "it needs features of qcow2 that are not known");
	if (be32(h + 32))
		return error_set(e, 0, "it is encrypted");
	return set_size(image, be64(h + 24), e);
}

/* ---- vmdk ---- */

/* What a converter reads of the descriptor. */
enum { VMDK_DESCRIPTOR = 20 * 512 };

static int inspect_vmdk(int fd, const u8 *h, struct disk_image *image, struct error *e)
{
	u64 sectors = le64(h + 12), at = le64(h + 28);
	char text[VMDK_DESCRIPTOR + 1];
	ssize_t n = 0;

	image->format = "vmdk";
	/* Without a capacity it is only an envelope around a descriptor, whose extents are other files. */
	if (!sectors || sectors > SIZE_MAX_DISK / 512)
		return error_set(e, 0, "its extents are other files: convert it to one file first");
	if (at && at < SIZE_MAX_DISK / 512)
		n = pread(fd, text, VMDK_DESCRIPTOR, (off_t)(at * 512));
	if (n < 0)
		return error_set(e, errno, "read its descriptor");
	for (ssize_t i = 0; i < n; i++)
		if (!text[i])
			text[i] = '\n';
	text[n] = 0;
	if (strcasestr(text, "parentFileNameHint"))
		return error_set(e, 0, "it has a parent: flatten it first");
	return set_size(image, sectors * 512, e);
}

/* ---- vhd ---- */

enum { VHD_FIXED = 2, VHD_DYNAMIC = 3 };

static int inspect_vhd(const u8 *footer, struct disk_image *image, struct error *e)
{
	u32 type = be32(footer + 60);

	image->format = "vpc";
	if (type != VHD_FIXED && type != VHD_DYNAMIC)
		return error_set(e, 0, "it is the difference to another vhd: merge them first");
	return set_size(image, be64(footer + 48), e);
}

int disk_image_inspect(int fd, struct disk_image *image, struct error *e)
{
	u8 head[512] = {0}, tail[512] = {0};
	struct stat st;

	*image = (struct disk_image){.format = "raw"};
	if (fstat(fd, &st) < 0)
		return error_set(e, errno, "look at it");
	if (!S_ISREG(st.st_mode))
		return error_set(e, 0, "it is no file");
	if (st.st_size < 512)
		return error_set(e, 0, "%lld bytes are no disk", (long long)st.st_size);
	if (pread(fd, head, sizeof(head), 0) != sizeof(head) ||
	    pread(fd, tail, sizeof(tail), st.st_size - 512) != sizeof(tail))
		return error_set(e, errno, "read it");
	if (!memcmp(head, "QFI\xfb", 4))
		return inspect_qcow2(head, image, e);
	if (!memcmp(head, "KDMV", 4))
		return inspect_vmdk(fd, head, image, e);
	if (!memcmp(head, "COWD", 4) || !memcmp(head, "# Disk Descriptor", 17))
		return error_set(e, 0, "its extents are other files: convert it to one file first");
	if (!memcmp(head, "vhdxfile", 8)) {
		/* A parent is refused by qemu-img itself: it does not read such files. */
		image->format = "vhdx";
		return 0;
	}
	if (!memcmp(head, "conectix", 8))
		return inspect_vhd(head, image, e);
	if (!memcmp(tail, "conectix", 8))
		return inspect_vhd(tail, image, e);
	return set_size(image, (u64)st.st_size, e);
}

/* Of an ext file system on the whole disk (Linux, Documentation/filesystems/ext4/super.rst). */
static bool read_super(int fd, u8 super[1024])
{
	return pread(fd, super, 1024, 1024) == 1024 && super[56] == 0x53 && super[57] == 0xef;
}

bool disk_image_partitioned(int fd)
{
	u8 boot[512], super[1024];

	if (pread(fd, boot, sizeof(boot), 0) != sizeof(boot) || boot[510] != 0x55 || boot[511] != 0xaa)
		return false;
	/* ext4 may have a boot sector before it. */
	return !read_super(fd, super);
}

bool disk_image_uuid(int fd, char text[DISK_IMAGE_UUID])
{
	u8 super[1024], *u = super + 104;

	if (!read_super(fd, super))
		return false;
	snprintf(text, DISK_IMAGE_UUID, "%08x-%04x-%04x-%04x-%04x%08x", be32(u), be32(u + 4) >> 16,
	         be32(u + 4) & 0xffff, be32(u + 8) >> 16, be32(u + 8) & 0xffff, be32(u + 12));
	return true;
}

bool disk_image_boots(int fd)
{
	static const u8 none[440];
	u8 boot[512];

	/* Code, up to where a partition table has its disk's id; fdisk leaves zeros there. */
	return pread(fd, boot, sizeof(boot), 0) == sizeof(boot) && boot[510] == 0x55 && boot[511] == 0xaa &&
	       memcmp(boot, none, sizeof(none));
}
