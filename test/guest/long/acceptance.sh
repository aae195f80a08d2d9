#!/bin/sh
# timeout: 10800
# Debian's programs in a guest give what the same files give in a chroot on this host: the
# programs are in images/debian-12-test/tree/opt/insula-test. ACCEPTANCE_CPUS and
# ACCEPTANCE_MEMORY shape the guest; with CASES="exact/digests ..." only these are run.
. "$(dirname "$0")/../lib/guest.sh"
image debian-12-test
disk_copy guest

programs=$ROOT/images/debian-12-test/tree/opt/insula-test
cases=${CASES:-$(cd "$programs" && find exact self -type f -perm -1 | LC_ALL=C sort)}
host=$WORK/host

make_host() {
	mkdir -p "$host"
	debugfs -R "rdump / $host" "$DISK" >/dev/null 2>&1
	mkdir -p "$host/dev/shm" "$host/dev/pts"
	mknod -m 666 "$host/dev/null" c 1 3 && mknod -m 666 "$host/dev/zero" c 1 5 &&
		mknod -m 666 "$host/dev/random" c 1 8 && mknod -m 666 "$host/dev/urandom" c 1 9
}

run_line() {
	echo "mkdir -p /root/case && cd /root/case && rm -rf -- * && /opt/insula-test/$1"
}

# The chroot's own /proc goes away with its namespace.
on_host() {
	unshare --mount --pid --fork --kill-child env -i PATH=/usr/sbin:/usr/bin LANG=C.UTF-8 HOME=/root \
		HOST="$host" LINE="$(run_line "$1")" sh -c \
		'mount -t proc proc "$HOST/proc"; exec chroot "$HOST" sh -c "$LINE"' >"$WORK/expected" 2>&1
}

# All cases in one guest, one after the other; what each gave is judged afterwards.
in_guest() {
	set --
	for case in $cases; do
		set -- "$@" --run "$(run_line "$case")"
	done
	login --boot 600 --each 7200 "$@" -- "$VMM" --kernel "$IMAGE/vmlinuz" \
		--disk "path=$DISK" --memory "${ACCEPTANCE_MEMORY:-2G}" --cpus "${ACCEPTANCE_CPUS:-2}" \
		--cmdline 'console=ttyS0 root=/dev/nvme0n1 rw' --no-reboot
}

# CASE N: the Nth command's output and status, beside the host's.
judge() {
	on_host "$1" || tap_fail "it fails on the host: $(tail -n 1 "$WORK/expected")" || return 1
	[ -f "$WORK/login/$2.status" ] || tap_fail "it did not end in the guest" || return 1
	[ "$(cat "$WORK/login/$2.status")" -eq 0 ] ||
		tap_fail "status $(cat "$WORK/login/$2.status"): $(tail -n 3 "$WORK/login/$2" | tr '\n' ' ')" || return 1
	case $1 in
	exact/*) diff "$WORK/expected" "$WORK/login/$2" || tap_fail "host (<) and guest (>) differ" ;;
	esac
}

make_host || {
	tap_skip acceptance "cannot unpack the image for the host's side"
	exit 0
}
tap_case acceptance-guest in_guest
tap_case acceptance-kernel-calm kernel_is_calm login
n=0
for case in $cases; do
	n=$((n + 1))
	tap_case "$(basename "$case")" judge "$case" $n
done
tap_end
