#!/bin/sh
# timeout: 7200
# fio writes patterns to a second disk, at random and in sequence, with flushes and trims in
# between, and verifies them: on NVMe and on virtio-blk, with 1 and 2 CPUs.
. "$(dirname "$0")/../lib/guest.sh"
image debian-12-test

# DISK OPTIONS.. of fio
fio_line() {
	echo "fio --filename=/dev/$1 --direct=1 --ioengine=libaio --verify=crc32c --verify_fatal=1 --size=192M" \
		"--name=random --rw=randwrite --bsrange=512-64k --blockalign=512 --iodepth=32" \
		"--fsync=64 --output-format=terse >/tmp/fio" \
		"&& fio --filename=/dev/$1 --direct=1 --ioengine=libaio --verify=md5 --verify_fatal=1 --size=192M" \
		"--name=sequence --rw=write --bs=1M --iodepth=4 --end_fsync=1 --output-format=terse >/tmp/fio" \
		"&& fio --filename=/dev/$1 --direct=1 --ioengine=libaio --verify=crc32c --verify_fatal=1 --size=64M" \
		"--numjobs=2 --offset_increment=96M --name=two --rw=randrw --bs=4k --iodepth=8 --output-format=terse >/tmp/fio" \
		"|| { tail -n 5 /tmp/fio; false; }"
}

# NAME CPUS GUEST-DISK DISK-OPTIONS
verifies() {
	disk_copy guest
	truncate -s 256M "$WORK/second.raw"
	login --boot 600 --each 3600 --run "modprobe virtio_blk; blkdiscard -f /dev/$3; true" --run "$(fio_line "$3")" \
		-- "$VMM" --kernel "$IMAGE/vmlinuz" --initrd "$IMAGE/initrd.img" --disk "path=$DISK" --disk "path=$WORK/second.raw,id=second$4" \
		--memory 1G --cpus "$2" --cmdline "console=ttyS0 root=$DEBIAN_ROOT rw" --no-reboot ||
		tap_fail "$(tail -n 3 "$WORK/login/2" 2>/dev/null | tr '\n' ' ')" || return 1
	kernel_is_calm login
}

tap_case fio-nvme-1cpu verifies a 1 disk/by-id/nvme-Amazon_Elastic_Block_Store_second ""
tap_case fio-nvme-2cpu verifies b 2 disk/by-id/nvme-Amazon_Elastic_Block_Store_second ""
tap_case fio-virtio-2cpu verifies c 2 vda ,type=virtio
tap_end
