#!/bin/sh
# timeout: 3600
# kill -9 of the VMM while the guest writes: what the guest was told is on the disk is there
# after the next boot, the journal is replayed, and the file system is clean.
. "$(dirname "$0")/../lib/guest.sh"
image debian-12

writer='i=0; while [ $i -lt 400 ]; do i=$((i+1)); head -c 20000 /dev/urandom >/root/f$i; sha256sum /root/f$i >/root/s$i; sync /root/f$i /root/s$i /root; echo ACKED $i; done'

guest() {
	set -- "$@" -- "$VMM" --kernel "$IMAGE/vmlinuz" --disk "path=$DISK" --memory 1G --cpus 2 \
		--cmdline 'console=ttyS0 root=/dev/nvme0n1 rw' --no-reboot
	login --boot 600 "$@"
}

# AFTER: how many files have been acknowledged when the kill comes.
survives() {
	disk_copy guest
	guest --then kill --run "($writer) & sleep 0.1" --until "ACKED $1" || return 1
	acked=$(grep -ao 'ACKED [0-9]*' "$WORK/login.out" | tail -n 1 | cut -d ' ' -f 2)
	echo "killed after $acked acknowledged files"
	[ "${acked:-0}" -ge "$1" ] || tap_fail "only ${acked:-0} were acknowledged" || return 1
	guest --run "cd /root; i=0; while [ \$i -lt $acked ]; do i=\$((i+1)); sha256sum --status -c s\$i || exit 1; done" \
		--run "dmesg | grep -q 'recovery complete' || journalctl -b | grep -q 'recovering journal'" || return 1
	kernel_is_calm login || return 1
	e2fsck -f -n "$DISK" >/dev/null 2>&1 || tap_fail "the file system is not clean"
}

for after in 5 40 150; do
	tap_case "killed-after-$after-files" survives $after
done
tap_end
