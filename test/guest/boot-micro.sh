#!/bin/sh
# timeout: 600
# The micro image boots: as bzImage and as PVH ELF, from initrd and from disk, with one to
# four CPUs and little to much memory, on both stock kernels.
. "$(dirname "$0")/lib/guest.sh"
image micro

# NAME KERNEL initrd|disk CPUS MEMORY-MIB [RUN]
boot() {
	name=$1 kernel=$2 cpus=$4 memory=$5 run=${6:-report}
	case $3 in
	initrd) set -- --initrd "$MICRO/initrd.img" ;;
	disk)
		IMAGE=$MICRO
		disk_copy "$name"
		set -- --disk "path=$DISK"
		run="$run root=/dev/nvme0n1 rw"
		;;
	esac
	micro_run "$name" "${cmdline:-}insula.run=$run" --kernel "$kernel" --cpus "$cpus" --memory "${memory}M" "$@" || return 1
	sed -n 's/.*INSULA-INIT-REACHED/init reached:/p' "$WORK/$name.out"
	case $run in report*) facts "$name" "$cpus" "$memory" ;; esac
}

# A kernel that ends 2 MiB below the end of memory, so its initrd lies before it. The files of tracing, 9 MiB,
# would not fit; a locked-down kernel makes none.
small() {
	cmdline='lockdown=confidentiality '
	boot "$1" "$2" "$3" 1 64
}

# The kernel keeps some memory for itself: half of the smallest machine here.
facts() {
	console_has "$1" "INSULA-FACT cpus $2\b" || return 1
	seen=$(sed -n 's/.*INSULA-FACT memory-kib //p' "$WORK/$1.out" | tr -d '\r')
	[ "$seen" -gt $(($3 * 1024 * 4 / 10)) ] && [ "$seen" -le $(($3 * 1024)) ] ||
		tap_fail "$3 MiB were given, the guest sees $seen KiB"
}

reboots() {
	set -- --kernel "$MICRO/vmlinuz" --initrd "$MICRO/initrd.img" --memory 256M --cpus 2 \
		--cmdline "console=ttyS0 insula.run=reboot"
	vmm_run once "$@" --no-reboot
	ended_with once 0 && console_has once INSULA-INIT-REACHED || return 1
	vmm_start twice "$@"
	twice=0
	until [ "$(grep -ac INSULA-INIT-REACHED "$WORK/twice.out")" -ge 2 ]; do
		sleep 0.5
		twice=$((twice + 1))
		[ $twice -lt 200 ] || break
	done
	vmm_kill twice
	[ $twice -lt 200 ] || tap_fail "no second boot; $(console_end twice)"
}

panics() {
	vmm_run panic --kernel "$MICRO/vmlinuz" --memory 256M --no-reboot \
		--cmdline "console=ttyS0 panic=-1 root=/dev/nvme9n1"
	ended_with panic 0 && console_has panic "Unable to mount root fs"
}

tap_case bzimage-initrd-64M small l "$MICRO/vmlinuz" initrd
tap_case bzimage-disk-64M small m "$MICRO/vmlinuz" disk
tap_case pvh-initrd-64M small n "$MICRO/vmlinux" initrd
tap_case bzimage-initrd-1cpu-128M boot a "$MICRO/vmlinuz" initrd 1 128
tap_case bzimage-initrd-2cpu-512M boot b "$MICRO/vmlinuz" initrd 2 512
tap_case bzimage-initrd-4cpu-1G boot c "$MICRO/vmlinuz" initrd 4 1024
tap_case bzimage-initrd-2cpu-4G boot d "$MICRO/vmlinuz" initrd 2 4096
tap_case bzimage-disk-2cpu-256M boot e "$MICRO/vmlinuz" disk 2 256
tap_case pvh-initrd-1cpu-128M boot f "$MICRO/vmlinux" initrd 1 128
tap_case pvh-disk-4cpu-512M boot g "$MICRO/vmlinux" disk 4 512
tap_case clock-2cpu boot h "$MICRO/vmlinuz" initrd 2 256 clock
tap_case reboot reboots
tap_case panic-without-root panics

if newer=$("$ROOT/images/kernel" 6.12 | sed -n 's/^ *kernel .*: //p') && [ -n "$newer" ]; then
	tap_case bzimage-6.12-initrd-1cpu-256M boot i "$newer/vmlinuz" initrd 1 256
	tap_case bzimage-6.12-disk-2cpu-512M boot j "$newer/vmlinuz" disk 2 512
	tap_case pvh-6.12-initrd-4cpu-512M boot k "$newer/vmlinux" initrd 4 512
else
	tap_skip kernel-6.12 "cannot fetch it"
fi
tap_end
