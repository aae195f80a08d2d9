#!/bin/sh
# timeout: 5400
# A guest that has nothing to do costs its host nothing: less than 1 % of a core (user and system time of its VMM), over a
# minute, once it has booted and come to rest: a busy host boots it late, so that is when it has used so little for ten seconds.
. "$(dirname "$0")/../lib/guest.sh"
VMM_LIMIT=1700
REST=${IDLE_REST:-900} SPAN=${IDLE_SPAN:-60}
image debian-12

# Clock ticks that a process has used.
ticks() {
	sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'
}

# PID SECONDS: rests meanwhile.
rests() {
	before=$(ticks "$1")
	sleep "$2"
	used=$(($(ticks "$1") - before))
	[ $((used * 100)) -lt $(($2 * $(getconf CLK_TCK))) ]
}

idles() {
	disk_copy "$1"
	vmm_start "$1" --kernel "$IMAGE/vmlinuz" --disk "path=$DISK" --memory 1G --cpus "$2" \
		--cmdline 'console=ttyS0 root=/dev/nvme0n1 rw'
	vmm_await "$1" 'login: ' 600 || return 1
	pid=$(vmm_pid "$1")
	waited=0
	until rests "$pid" 10; do
		waited=$((waited + 10))
		[ $waited -lt "$REST" ] || tap_fail "it does not come to rest" || return 1
	done
	idle=yes
	rests "$pid" "$SPAN" || idle=
	vmm_kill "$1"
	echo "$used $(getconf CLK_TCK) $SPAN" | awk '{ printf "%.2f %% of a core (%.2f s in %d s)\n", $1 / $2 / $3 * 100, $1 / $2, $3 }'
	[ -n "$idle" ] || tap_fail "that is not idle"
}

tap_case idle-1cpu idles one 1
tap_case idle-2cpu idles two 2
tap_case idle-4cpu idles four 4
tap_end
