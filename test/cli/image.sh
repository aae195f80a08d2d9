#!/bin/sh
# timeout: 300
# insula image import: every format gives the disk that went in; images that name other files are refused.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../guest/lib/tap.sh"
insula=${INSULA:-$here/../../build/insula}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
data=$work/region
mkdir "$data"

# A disk with holes and a partition table; any file does for a kernel that nobody starts.
truncate -s 3M "$work/disk.raw"
printf 'beginning' | dd of="$work/disk.raw" conv=notrunc status=none
printf '\125\252' | dd of="$work/disk.raw" bs=1 seek=510 conv=notrunc status=none
printf 'middle' | dd of="$work/disk.raw" bs=1 seek=1500000 conv=notrunc status=none
echo kernel >"$work/vmlinuz"

import() {
	"$insula" image import "$1" --name "$2" --kernel "$work/vmlinuz" --data "$data"
}

# FORMAT: comes back as it went in.
converts() {
	qemu-img convert -f raw -O "$1" "$work/disk.raw" "$work/disk.$1" || return 1
	import "$work/disk.$1" "$1" | tail -n 1 | grep -q '^ami-' || tap_fail "no image of $1"
	head -c 3145728 "$data/images/$1/disk.raw" | cmp - "$work/disk.raw"
}

raw() {
	import "$work/disk.raw" raw | grep -q '^ami-' && cmp "$data/images/raw/disk.raw" "$work/disk.raw"
}

# FILE WHAT-IT-SAYS: one line, status 1, and no disk is left.
refused() {
	said=$(import "$1" refused 2>&1)
	status=$?
	[ $status -eq 1 ] || tap_fail "status $status: $said" || return 1
	[ "$(printf '%s\n' "$said" | wc -l)" -eq 1 ] || tap_fail "$said" || return 1
	echo "$said" | grep -q "$2" || tap_fail "$said" || return 1
	[ -z "$(ls "$data/images/refused")" ] || tap_fail "files are left"
}

# Bytes of a header, as printf takes them, at an offset of a copy: FILE OFFSET BYTES
patched() {
	cp "$1" "$work/patched"
	# shellcheck disable=SC2059 # the bytes are a format
	printf "$3" | dd of="$work/patched" bs=1 seek="$2" conv=notrunc status=none
}

qcow2_backing() {
	patched "$work/disk.qcow2" 8 '\0\0\0\0\0\0\2\0\0\0\0\11'
	refused "$work/patched" "backing file"
}

qcow2_external() {
	patched "$work/disk.qcow2" 79 '\4'
	refused "$work/patched" "in another file"
}

qcow2_huge() {
	patched "$work/disk.qcow2" 24 '\177\377\377\377\377\377\376\0'
	refused "$work/patched" "no size of a disk"
}

vmdk_descriptor() {
	printf '# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 8 FLAT "/etc/shadow" 0\n' >"$work/patched"
	truncate -s 1024 "$work/patched"
	refused "$work/patched" "other files"
}

vmdk_envelope() {
	patched "$work/disk.vmdk" 12 '\0\0\0\0\0\0\0\0'
	refused "$work/patched" "other files"
}

vmdk_parent() {
	patched "$work/disk.vmdk" 600 '\nparentFileNameHint="/etc/shadow"\n'
	refused "$work/patched" "parent"
}

vhd_difference() {
	patched "$work/disk.vpc" 63 '\4'
	refused "$work/patched" "difference"
}

short() {
	printf x >"$work/patched"
	refused "$work/patched" "no disk"
}

# A partition table, and zeros where a BIOS would find code; then with code.
no_kernel() {
	truncate -s 3M "$work/zeros.raw"
	printf '\125\252' | dd of="$work/zeros.raw" bs=1 seek=510 conv=notrunc status=none
	said=$("$insula" image import "$work/zeros.raw" --data "$data" 2>&1)
	[ $? -eq 1 ] && echo "$said" | grep -q 'no boot loader.*--kernel' || tap_fail "$said" || return 1
	"$insula" image import "$work/disk.raw" --name boots --data "$data" | grep -q '^ami-'
}

no_kernel_initrd() {
	said=$("$insula" image import "$work/disk.raw" --initrd "$work/vmlinuz" --data "$data" 2>&1)
	[ $? -eq 2 ] && echo "$said" | grep -q -- --kernel
}

tap_case import-raw raw
if command -v qemu-img >/dev/null; then
	for format in qcow2 vmdk vpc vhdx; do
		tap_case import-$format converts $format
	done
	tap_case qcow2-backing-file qcow2_backing
	tap_case qcow2-external-data qcow2_external
	tap_case qcow2-impossible-size qcow2_huge
	tap_case vmdk-without-extent vmdk_envelope
	tap_case vmdk-parent vmdk_parent
	tap_case vhd-difference vhd_difference
else
	tap_skip import-formats "there is no qemu-img"
fi
tap_case vmdk-descriptor vmdk_descriptor
tap_case short short
if [ -e /usr/share/seabios/bios-256k.bin ]; then
	tap_case no-kernel no_kernel
else
	tap_skip no-kernel "there is no firmware (package seabios)"
fi
tap_case no-kernel-initrd no_kernel_initrd
tap_end
