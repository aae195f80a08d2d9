# shellcheck shell=sh
# A directory tree into an ext4 disk image, without a mount or a loop device, and
# so that the same tree gives the same bytes.
#
#   disk_make TREE FILE SIZE UUID

# Everything that would carry the time of the build gets this one (2025-01-01).
SOURCE_DATE_EPOCH=1735689600
export SOURCE_DATE_EPOCH

# The numbers of the inodes in use, from the ranges of free ones that dumpe2fs gives.
disk_inodes() {
	dumpe2fs "$1" 2>/dev/null | awk '
		/^Inode count:/ { total = $3 }
		sub(/^  Free inodes: /, "") {
			n = split($0, ranges, ", ")
			for (i = 1; i <= n; i++) {
				split(ranges[i] "-" ranges[i], r, "-")
				for (k = r[1] + 0; k <= r[2] + 0 && k > 0; k++) free[k] = 1
			}
		}
		END {
			for (k = 1; k <= total; k++)
				if ((k == 2 || k > 10) && !(k in free)) print k
		}'
}

# mke2fs -d keeps each file's mtime and takes the rest from the host: the change and
# access times are when the tree was made or read, and are set to its mtime's limit.
disk_settle_times() {
	disk_inodes "$1" | awk -v t="@$SOURCE_DATE_EPOCH" '{
		print "sif <" $1 "> ctime " t
		print "sif <" $1 "> atime " t
	}' | E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH debugfs -w -f - "$1" >/dev/null 2>&1
}

disk_make() {
	find "$1" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	rm -f "$2"
	truncate -s "$3" "$2"
	E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH mke2fs -q -t ext4 -L insula -U "$4" \
		-E hash_seed="$4",root_owner=0:0,lazy_itable_init=1,lazy_journal_init=1 -d "$1" "$2"
	disk_settle_times "$2"
	e2fsck -f -n "$2"
}
