#!/bin/sh
# timeout: 300
# NVMe and virtio-blk disks: sizes, names, what is written is on the host's file, a
# read-only disk stays as it is.
. "$(dirname "$0")/lib/guest.sh"
image micro

# NAME GUEST-DISK DISK-OPTIONS CPUS
writes() {
	truncate -s 64M "$WORK/$1.raw"
	micro_run "$1" "insula.modules=virtio_blk insula.run=report,disk insula.disk=$2" \
		--kernel "$MICRO/vmlinuz" --initrd "$MICRO/initrd.img" --memory 256M --cpus "$4" \
		--disk "path=$WORK/$1.raw$3" || return 1
	console_has "$1" "INSULA-FACT disk $2 sectors=131072" || return 1
	pattern=$(sed -n 's/.*INSULA-FACT pattern //p' "$WORK/$1.out" | tr -d '\r')
	[ "$(dd if="$WORK/$1.raw" bs=64k skip=3 count=64 2>/dev/null | sha256sum | cut -c 1-64)" = "$pattern" ] ||
		tap_fail "the file does not hold what the guest wrote"
}

# An ext4 root, written to by the guest: clean afterwards, and with the guest's file in it.
root_disk() {
	IMAGE=$MICRO
	disk_copy root
	micro_run root "insula.run=write-root root=/dev/nvme0n1 rw" --kernel "$MICRO/vmlinuz" \
		--memory 256M --cpus 2 --disk "path=$DISK" || return 1
	e2fsck -f -n "$DISK" || tap_fail "the file system is not clean" || return 1
	debugfs -R 'cat /root/written' "$DISK" 2>/dev/null | grep -q "written by the guest" ||
		tap_fail "the guest's file is not there"
}

readonly_root() {
	IMAGE=$MICRO
	disk_copy ro
	before=$(sha256sum <"$DISK")
	chmod 444 "$DISK"
	micro_run ro "insula.run=report root=/dev/nvme0n1 ro" --kernel "$MICRO/vmlinuz" \
		--memory 256M --disk "path=$DISK,readonly" || return 1
	[ "$(sha256sum <"$DISK")" = "$before" ] || tap_fail "a read-only disk was written to"
}

# The root is the second of two disks, and found by its UUID, in a machine of 64 MiB.
found_root() {
	image find-root
	finder=$IMAGE/initrd.img IMAGE=$MICRO
	disk_copy found
	truncate -s 64M "$WORK/other.raw"
	micro_run found "insula.run=write-root root=UUID=$(blkid -s UUID -o value "$DISK") rw lockdown=confidentiality" \
		--kernel "$MICRO/vmlinuz" --initrd "$finder" --memory 64M --cpus 2 --disk "path=$WORK/other.raw" \
		--disk "path=$DISK" || return 1
	debugfs -R 'cat /root/written' "$DISK" 2>/dev/null | grep -q "written by the guest" ||
		tap_fail "the guest's file is not there"
}

no_root() {
	image find-root
	vmm_run noroot --cmdline "console=ttyS0 root=UUID=$1 panic=1" --kernel "$MICRO/vmlinuz" --initrd "$IMAGE/initrd.img" \
		--memory 128M --disk "path=$WORK/other.raw" --no-reboot
	console_has noroot "find-root: $2"
}

three_disks() {
	for n in 1 2 3; do truncate -s ${n}M "$WORK/three-$n.raw"; done
	micro_run three "insula.run=report" --kernel "$MICRO/vmlinuz" --initrd "$MICRO/initrd.img" \
		--memory 256M --disk "path=$WORK/three-1.raw,id=vol-0aaa" \
		--disk "path=$WORK/three-2.raw,id=vol-0bbb" --disk "path=$WORK/three-3.raw" || return 1
	console_has three "disk nvme0n1 sectors=2048 .*vol-0aaa" &&
		console_has three "disk nvme1n1 sectors=4096 .*vol-0bbb" &&
		console_has three "disk nvme2n1 sectors=6144"
}

tap_case nvme-1cpu writes nvme1 nvme0n1 "" 1
tap_case nvme-2cpu writes nvme2 nvme0n1 "" 2
tap_case virtio-blk-1cpu writes vblk1 vda ,type=virtio 1
tap_case virtio-blk-2cpu writes vblk2 vda ,type=virtio 2
tap_case root-disk root_disk
tap_case readonly-root readonly_root
tap_case found-root found_root
tap_case no-such-root no_root 00000000-0000-0000-0000-00000000abcd "no disk has the file system 00000000"
tap_case no-uuid no_root frobnicate "there is no root=UUID"
tap_case three-disks three_disks
tap_end
