#!/bin/bash
# timeout: 900
# A disk as other clouds have them: a partition table, GRUB, and a whole Debian with its kernel and initrd on the file
# system. Imported as qcow2 without naming a kernel, it boots to its login by SeaBIOS and GRUB, and again after a stop.
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../../..
. "$root/test/guest/lib/tap.sh"
insula=${INSULA:-$root/build/insula}
grub=/usr/lib/grub/i386-pc
work=$(mktemp -d)
data=$work/region
unset AWS_ENDPOINT_URL AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY

cleanup() {
	"$insula" down --all --force --data "$data" >/dev/null 2>&1
	rm -rf "$work"
}
trap cleanup EXIT

# The Debian image's file system behind a partition table, with GRUB in the gap before it.
make_disk() {
	"$root/images/build" debian-12 >"$work/log" 2>&1 || tap_fail "$(tail -n 1 "$work/log")" || return 1
	cp --sparse=always "$root/build/images/debian-12/disk.raw" "$work/root.raw"
	version=$(debugfs -R 'ls -p /boot' "$work/root.raw" 2>/dev/null | sed -n 's,.*/vmlinuz-\([^/]*\)/.*,\1,p' | head -n 1)
	cat >"$work/grub.cfg" <<-END
		serial --unit=0 --speed=115200
		terminal_input serial
		terminal_output serial
		set timeout=1
		menuentry Debian {
			linux /boot/vmlinuz-$version root=/dev/nvme0n1p1 ro console=ttyS0
			initrd /boot/initrd.img-$version
		}
	END
	debugfs -w -R 'mkdir /boot/grub' "$work/root.raw" 2>>"$work/log" >&2
	debugfs -w -R "write $work/grub.cfg /boot/grub/grub.cfg" "$work/root.raw" >>"$work/log" 2>&1
	grub-mkimage -O i386-pc -o "$work/core.img" -p '(hd0,msdos1)/boot/grub' biosdisk part_msdos ext2 linux normal \
		configfile serial terminal echo || return 1
	truncate -s $(($(stat -c %s "$work/root.raw") + 1048576)) "$work/disk.raw"
	dd if="$work/root.raw" of="$work/disk.raw" bs=1M seek=1 conv=notrunc,sparse status=none
	printf 'label: dos\nstart=2048, type=83, bootable\n' | sfdisk -q "$work/disk.raw" 2>>"$work/log" || return 1
	dd if=$grub/boot.img of="$work/disk.raw" bs=440 count=1 conv=notrunc status=none
	# GRUB's first sector ends with where the rest is: from sector 2 on, so many, to segment 0x820.
	sectors=$((($(stat -c %s "$work/core.img") + 511) / 512 - 1))
	# shellcheck disable=SC2059 # the bytes are a format
	printf "$(printf '\\2\\0\\0\\0\\0\\0\\0\\0\\%o\\%o\\40\\10' $((sectors & 255)) $((sectors >> 8)))" |
		dd of="$work/core.img" bs=1 seek=500 conv=notrunc status=none
	dd if="$work/core.img" of="$work/disk.raw" bs=512 seek=1 conv=notrunc status=none
	rm "$work/root.raw"
	qemu-img convert -O qcow2 "$work/disk.raw" "$work/disk.qcow2" && rm "$work/disk.raw"
}

import() {
	"$insula" up --data "$data" --listen 127.0.0.1:0 --accel soft >"$work/log" 2>&1 || tap_fail "$(cat "$work/log")" || return 1
	"$insula" image import "$work/disk.qcow2" --name grub --data "$data" 2>"$work/log" | grep -q '^ami-' || tap_fail "$(cat "$work/log")"
}

# TIMES: so many logins have been offered on the console.
logins() {
	for _ in $(seq 300); do
		[ "$("$insula" log grub --data "$data" 2>/dev/null | grep -ac 'login: ')" -lt "$1" ] || return 0
		sleep 1
	done
	tap_fail "$("$insula" log grub --data "$data" | tail -n 5)"
}

boots() {
	"$insula" run grub --type t3.micro --name grub --wait --data "$data" >/dev/null && logins 1 || return 1
	"$insula" log grub --data "$data" | grep -aq 'GRUB loading' || tap_fail "GRUB is not on the console"
}

# By its power button; what it has mounted is then clean.
again() {
	"$insula" stop grub --data "$data" || return 1
	for _ in $(seq 150); do
		"$insula" ls --data "$data" | grep -q stopped && break
		sleep 1
	done
	"$insula" start grub --data "$data" && logins 2 || return 1
	! "$insula" log grub --data "$data" | grep -aq 'recovering journal' || tap_fail "it was not shut down"
}

if [ ! -e $grub/boot.img ] || ! command -v grub-mkimage >/dev/null; then
	tap_skip grub "there is no GRUB (packages grub-pc-bin, grub-common)"
	exit 0
fi
tap_case grub-disk make_disk
tap_case grub-import import
tap_case grub-boots boots
tap_case grub-boots-again again
tap_end
