#!/bin/sh
# timeout: 1800
# A guest that has nothing to do costs its host nothing: less than 1 % of a core (user and system time of its VMM), over a
# minute, once it has booted and come to rest.
. "$(dirname "$0")/../lib/guest.sh"
VMM_LIMIT=900
REST=${IDLE_REST:-60} SPAN=${IDLE_SPAN:-60}
image debian-12

# Clock ticks that a process has used.
ticks() {
	sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'
}

idles() {
	disk_copy "$1"
	vmm_start "$1" --kernel "$IMAGE/vmlinuz" --disk "path=$DISK" --memory 1G --cpus "$2" \
		--cmdline 'console=ttyS0 root=/dev/nvme0n1 rw'
	vmm_await "$1" 'login: ' 600 || return 1
	pid=$(vmm_pid "$1")
	sleep "$REST"
	before=$(ticks "$pid")
	sleep "$SPAN"
	used=$(($(ticks "$pid") - before))
	vmm_kill "$1"
	echo "$used $(getconf CLK_TCK) $SPAN" | awk '{ printf "%.2f %% of a core (%.2f s in %d s)\n", $1 / $2 / $3 * 100, $1 / $2, $3 }'
	[ $((used * 100)) -lt $((SPAN * $(getconf CLK_TCK))) ] || tap_fail "that is not idle"
}

tap_case idle-1cpu idles one 1
tap_case idle-2cpu idles two 2
tap_case idle-4cpu idles four 4
tap_end
