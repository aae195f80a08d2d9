#!/bin/sh
# timeout: 600
# Guests that attack their VMM (hostile/hostile.c says how): it lives until it is told to end, and ends with status 0
# then, or the guest has ended the machine as it could a real one: status 0, or 3 for a triple fault. Never a crash,
# no report of a sanitizer, no memory beyond what the machine needs. HOSTILE="NAME ..." runs only these,
# HOSTILE_SECONDS is how long each lasts.
. "$(dirname "$0")/lib/guest.sh"
SECONDS_EACH=${HOSTILE_SECONDS:-2}
VMM_LIMIT=$((SECONDS_EACH + 120))
MEMORY=64

mkdir "$WORK/hostile"
if ! "$ROOT/test/guest/cpu/build" "$WORK/guests" ../hostile/hostile >"$WORK/build.log" 2>&1; then
	tap_not_ok hostile-guest-builds "$(grep -m 1 error "$WORK/build.log")"
	exit 1
fi

# Resident MiB that a VMM has had at most.
peak() {
	sed -n 's/^VmHWM:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$1/status" 2>/dev/null
}

# No crash, and nothing that a sanitizer or an assertion would say.
unharmed() {
	line=$(grep -aE -m 1 'Sanitizer|runtime error:|Assertion|assert' "$WORK/$1.err")
	[ -z "$line" ] || tap_fail "$line" || return 1
	case $STATUS in
	0) ;;
	3)
		[ "$(wc -l <"$WORK/$1.err")" -eq 1 ] && grep -q triple-faulted "$WORK/$1.err" ||
			tap_fail "status 3 and: $(head -n 3 "$WORK/$1.err" | tr '\n' '|')"
		;;
	*) tap_fail "status $STATUS; $(console_end "$1")" ;;
	esac
}

# NAME BITS CPUS "SCENARIO SEED" [OPTION..]
attack() {
	name=$1 bits=$2 cpus=$3 words=$4
	shift 4
	vmm_start "$name" --kernel "$WORK/hostile/hostile.$bits" --cmdline "$words" --memory ${MEMORY}M --cpus "$cpus" "$@"
	pid='' most=0
	until grep -aq '^begin' "$WORK/$name.out" || ! kill -0 "$(cat "$WORK/$name.pid")" 2>/dev/null; do
		sleep 0.1
	done
	begun=$(date +%s%N)
	while [ $(($(date +%s%N) - begun)) -lt $((SECONDS_EACH * 1000000000)) ] && kill -0 "$(cat "$WORK/$name.pid")" 2>/dev/null; do
		sleep 0.1
		pid=${pid:-$(vmm_pid "$name")}
		now=$(peak "$pid")
		[ "${now:-0}" -lt "$most" ] || most=${now:-0}
	done
	lasted=$((($(date +%s%N) - begun) / 100000000)) ended=yes
	if kill -TERM "$pid" 2>/dev/null; then
		ended=
		# One that does not end is killed by timeout, which is another status.
		vmm_wait "$name"
		[ "$STATUS" -eq 0 ] || [ "$STATUS" -eq 3 ] || tap_fail "told to end: status $STATUS; $(console_end "$name")" || return 1
	else
		vmm_wait "$name"
	fi
	unharmed "$name" && console_has "$name" "^begin $words" && console_lacks "$name" '^not ok' || return 1
	echo "${ended:+ended by itself after $lasted/10 s, }status $STATUS, $((most / 1024)) MiB"
	# Code caches are 64 MiB a vCPU at most. Sanitizers take what they want.
	[ -n "${HOSTILE_SANITIZED:-}" ] || [ "$most" -lt $(((MEMORY + 96 + 80 * cpus) * 1024)) ] || tap_fail "$((most / 1024)) MiB"
}

# NAME SCENARIO: guests that end themselves soon, one seed after the other.
attack_seeds() {
	end=$(($(date +%s) + SECONDS_EACH * 2)) seed=0
	while [ "$(date +%s)" -lt "$end" ]; do
		seed=$((seed + 1))
		attack "$1" 64 1 "$2 $seed" >"$WORK/attack" || {
			echo "seed $seed: $(cat "$WORK/attack")"
			return 1
		}
	done
	echo "$seed seeds"
}

# A guest that must shut itself down.
shuts_down() {
	attack "$@" && { [ "$STATUS" -eq 3 ] || tap_fail "status $STATUS instead of 3"; }
}

hostile() {
	case " ${HOSTILE:-$2} " in
	*" $2 "*) tap_case "hostile-$2" "$@" ;;
	esac
}

truncate -s 4M "$WORK/one" "$WORK/two" "$WORK/three" "$WORK/four"

hostile shuts_down die-32 32 1 "die 1"
hostile shuts_down die-64 64 1 "die 1"
hostile shuts_down die-ap 64 4 "die-ap 1"
hostile attack real-loop 32 1 "real-loop 1"
hostile attack real-bytes-1 32 1 "real-bytes 1"
hostile attack real-bytes-2 32 1 "real-bytes 2"
hostile attack user-bytes-32 32 1 "user-bytes 1"
hostile attack user-bytes-1 64 1 "user-bytes 1"
hostile attack user-bytes-2 64 1 "user-bytes 2"
hostile attack_seeds kernel-bytes kernel-bytes
hostile attack config 64 2 "config 1" --disk "path=$WORK/one" --disk "path=$WORK/two,type=virtio"
hostile attack mmio-1 64 1 "mmio 1" --disk "path=$WORK/one" --disk "path=$WORK/two,type=virtio"
hostile attack mmio-2 64 2 "mmio 2" --disk "path=$WORK/one" --disk "path=$WORK/two,type=virtio"
hostile attack ports-1 64 1 "ports 1"
hostile attack ports-2 64 2 "ports 2"
hostile attack all-ports-1 64 1 "all-ports 1"
hostile attack all-ports-2 64 2 "all-ports 2"
hostile attack all-ports-3 64 1 "all-ports 3" --no-reboot
hostile attack msrs 64 1 "msrs 1"
hostile attack nvme-1 64 1 "nvme 1" --disk "path=$WORK/three"
hostile attack nvme-2 64 2 "nvme 2" --disk "path=$WORK/three"
hostile attack virtio-1 64 1 "virtio 1" --disk "path=$WORK/four,type=virtio"
hostile attack virtio-2 64 2 "virtio 2" --disk "path=$WORK/four,type=virtio"
hostile attack ipis-1 64 4 "ipis 1"
hostile attack ipis-2 64 4 "ipis 2"
hostile attack code 64 4 "code 1"
tap_end
