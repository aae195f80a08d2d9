#!/bin/sh
# timeout: 4000
# soak.sh [SECONDS]: a mixed load (programs/mix) for so long (120), and what the VMM holds beside the guest's memory stays
# as it is after the warm-up, which is the first half:
#   mapped    its private writable memory (VmData): whatever leaks shows here in the end
#   capacity  of its large mappings, 1 MiB and more, which are the engine's tables and caches: it does not change at all
#   loose     resident in all else: the heap, stacks, programs
# What is resident in the large mappings is told, too, and not judged: a cache of a fixed size may take hours until its last page
# has been touched, and then holds what its capacity says.
# SOAK_SAMPLES is where the samples go: seconds, then KiB resident, mapped, loose, resident in large mappings, capacity.
. "$(dirname "$0")/../lib/guest.sh"
# own_network begins this script anew, without its arguments.
SOAK_SECONDS=${1:-${SOAK_SECONDS:-120}}
export SOAK_SECONDS
image debian-12-test
own_network
programs_disk "$(dirname "$0")/programs"
samples=${SOAK_SAMPLES:-$WORK/samples}

# What is mapped twice (translated code) counts once, by its shares.
held() {
	awk '/^[0-9a-f]+-[0-9a-f]+ / { guest = /guest memory/; mode = $2; other = /\[heap\]/ || ($5 != 0 && !/memfd:/) }
		/^Size:/ { large = !other && $2 >= 1024; if (large && !guest && mode ~ /rw-p|x/) capacity += $2 }
		/^Pss:/ && !guest { if (large) cached += $2; else loose += $2 }
		/^VmData:/ { data = $2 }
		END { if (loose) print loose + cached, data, loose, cached, capacity }' "/proc/$1/smaps" "/proc/$1/status" 2>/dev/null
}

sample() {
	begun=$(date +%s)
	while sleep 5; do
		pid=$(pgrep -f "^$INSULA vmm .*path=$DISK") || continue
		now=$(held "$pid")
		[ -z "$now" ] || echo "$(($(date +%s) - begun)) $now"
	done
}

# COLUMN FROM TO: the greatest of a column, over a part of the samples in percent.
most() {
	awk -v column="$1" -v from="$2" -v to="$3" '{ v[NR] = $column }
		END { for (i = int(NR * from / 100) + 1; i <= int(NR * to / 100); i++) if (v[i] > m) m = v[i]; print m + 0 }' "$samples"
}

load() {
	card='card=$(ls /sys/class/net | grep -v lo); ip link set $card up; ip address add 10.77.0.2/24 dev $card'
	login --boot 600 --each $((SOAK_SECONDS + 1800)) --run "$card" --run 'mount -o ro LABEL=programs /mnt' \
		--run "/mnt/mix $SOAK_SECONDS 10.77.0.1" --run 'dmesg --level=emerg,alert,crit,err,warn' -- "$VMM" \
		--kernel "$IMAGE/vmlinuz" --initrd "$IMAGE/initrd.img" --disk "path=$DISK" --disk "path=$PROGRAMS,readonly" --net tap=tap0 --memory 1536M \
		--cpus 2 --cmdline "console=ttyS0 root=$DEBIAN_ROOT rw" --no-reboot
}

# COLUMN WHAT KIB
is_flat() {
	before=$(most "$1" 0 50) after=$(most "$1" 50 100)
	echo "$2: at most $before KiB, then $after KiB"
	[ "$before" -gt 0 ] && [ "$after" -gt 0 ] || tap_fail "no samples" || return 1
	[ "$after" -le $((before + $3)) ] || tap_fail "$2 grew by $((after - before)) KiB"
}

disk_copy guest
iperf3 -s >/dev/null 2>&1 &
server=$!
sample >"$samples" &
sampler=$!
tap_case soak-load load
kill $sampler $server 2>/dev/null
cat "$WORK/login/3" 2>/dev/null | sed 's/^/# /'
tap_case soak-kernel-calm kernel_is_calm login
tap_case soak-mapped-flat is_flat 3 mapped 1024
tap_case soak-capacity-fixed is_flat 6 "capacity of large mappings" 0
tap_case soak-loose-flat is_flat 4 "loose" 1024
echo "# resident: at most $(most 2 0 50) KiB, then $(most 2 50 100); of $(most 6 0 100) KiB capacity $(most 5 0 50), then $(most 5 50 100)"
tap_end
