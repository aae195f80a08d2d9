#!/bin/sh
# timeout: 1000
# Debian 12, stock kernel: boots from NVMe without an initrd and with its own one, comes up
# with nothing failed, is logged in to, powers off, and leaves a clean file system.
. "$(dirname "$0")/lib/guest.sh"
image debian-12

# NAME CPUS OPTION..
boots() {
	name=$1 cpus=$2
	shift 2
	disk_copy "$name"
	login --boot 480 --run 'systemctl is-system-running --wait' --run 'systemctl --failed --quiet; nproc; lsblk' \
		-- "$VMM" --kernel "$IMAGE/vmlinuz" --disk "path=$DISK" --memory 1G --cpus "$cpus" \
		--cmdline 'console=ttyS0 root=/dev/nvme0n1 rw' --no-reboot "$@" || return 1
	cp "$WORK/login.out" "$WORK/$name.out"
	kernel_is_calm "$name" && console_lacks "$name" '(Failed to start|Dependency failed)' || return 1
	e2fsck -f -n "$DISK" >/dev/null 2>&1 || tap_fail "the file system is not clean"
}

tap_case debian-nvme-2cpu boots nvme 2
tap_case debian-initrd-1cpu boots initrd 1 --initrd "$IMAGE/initrd.img"
tap_end
