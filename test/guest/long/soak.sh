#!/bin/sh
# timeout: 4000
# soak.sh [SECONDS]: a mixed load (programs/mix) for so long (120), and what the VMM holds beside the guest's memory stays
# as it is after the warm-up, which is the first half. Code caches have sizes of their own: a long run (600 s and more)
# counts them too. SOAK_SAMPLES is where the samples go: seconds, then KiB of the caches and of all else.
. "$(dirname "$0")/../lib/guest.sh"
# own_network begins this script anew, without its arguments.
SOAK_SECONDS=${1:-${SOAK_SECONDS:-120}}
export SOAK_SECONDS
own_network
image debian-12-test
programs_disk "$(dirname "$0")/programs"
samples=${SOAK_SAMPLES:-$WORK/samples}

# KiB resident of a process in its code caches and in all else but the guest's memory. The caches are where 32-bit
# addresses reach them.
resident() {
	awk '/^[0-9a-f]+-[0-9a-f]+ / {
		guest = /guest memory/
		cache = /translated-code/ || (length($1) <= 17 && $6 == "")
	}
	/^Rss:/ && !guest { if (cache) c += $2; else o += $2 }
	END { print c + 0, o + 0 }' "/proc/$1/smaps" 2>/dev/null
}

sample() {
	begun=$(date +%s)
	while sleep 5; do
		pid=$(pgrep -f "^$INSULA vmm .*path=$DISK") || continue
		now=$(resident "$pid")
		[ "${now#0 0}" = "" ] || echo "$(($(date +%s) - begun)) $now"
	done
}

# COLUMN FROM TO: the greatest of a column, over a part of the samples in percent.
most() {
	awk -v column="$1" -v from="$2" -v to="$3" '{ v[NR] = $column }
		END { for (i = int(NR * from / 100) + 1; i <= int(NR * to / 100); i++) if (v[i] > m) m = v[i]; print m + 0 }' "$samples"
}

load() {
	card='card=$(ls /sys/class/net | grep -v lo); ip link set $card up; ip address add 10.77.0.2/24 dev $card'
	login --boot 600 --each $((SOAK_SECONDS + 1800)) --run "$card" --run 'mount -o ro /dev/nvme1n1 /mnt' \
		--run "/mnt/mix $SOAK_SECONDS 10.77.0.1" --run 'dmesg --level=emerg,alert,crit,err,warn' -- "$VMM" \
		--kernel "$IMAGE/vmlinuz" --disk "path=$DISK" --disk "path=$PROGRAMS,readonly" --net tap=tap0 --memory 1536M \
		--cpus 2 --cmdline 'console=ttyS0 root=/dev/nvme0n1 rw' --no-reboot
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
tap_case soak-flat is_flat 3 "beside caches" 2048
if [ "$SOAK_SECONDS" -ge 600 ]; then
	tap_case soak-caches-flat is_flat 2 "caches" 4096
else
	tap_case soak-caches-bounded is_flat 2 "caches" 262144
fi
tap_end
