#!/bin/sh
# timeout: 7200
# Many boots in a row of a full Debian, none hanging, none with a warning: both kernels, as
# bzImage and as PVH ELF, 1, 2 and 4 CPUs, with and without initrd. BOOTS (20) says how many.
. "$(dirname "$0")/../lib/guest.sh"
image debian-12-test

# NAME KERNEL CPUS MEMORY [INITRD]
boots() {
	disk_copy guest
	login --boot 600 --run 'systemctl is-system-running --wait' -- "$VMM" --kernel "$IMAGE/$2" \
		--disk "path=$DISK" --memory "$4" --cpus "$3" ${5:+--initrd "$IMAGE/$5"} \
		--cmdline 'console=ttyS0 root=/dev/nvme0n1 rw' --no-reboot || return 1
	kernel_is_calm login && console_lacks login '(Failed to start|Dependency failed)' || return 1
	e2fsck -f -n "$DISK" >/dev/null 2>&1 || tap_fail "the file system is not clean"
}

n=0
while [ $n -lt "${BOOTS:-20}" ]; do
	n=$((n + 1))
	case $((n % 8)) in
	1) set -- vmlinuz 2 1G ;;
	2) set -- vmlinuz-6.12 2 1G ;;
	3) set -- vmlinux 4 2G ;;
	4) set -- vmlinux-6.12 1 512M ;;
	5) set -- vmlinuz 1 512M initrd.img ;;
	6) set -- vmlinuz-6.12 4 4G initrd-6.12.img ;;
	7) set -- vmlinux 2 4G initrd.img ;;
	0) set -- vmlinux-6.12 4 1G ;;
	esac
	tap_case "boot-$n-$1-${2}cpu-$3${4:+-initrd}" boots "boot-$n" "$@"
done
tap_end
