# shellcheck shell=sh
# Guests for test scripts. A script sources this file, and has then:
#
#   $WORK      an empty directory, removed at the end together with every VMM started
#   $MICRO     the micro image: vmlinuz, vmlinux, initrd.img, disk.raw
#   image NAME         makes sure of another image, sets $IMAGE to its directory
#   disk_copy NAME     a scratch copy of $IMAGE/disk.raw, its path in $DISK
#   vmm_start NAME OPTION..  starts "insula vmm OPTION..": the console is $WORK/NAME.out,
#                            messages are $WORK/NAME.err
#   vmm_wait NAME            waits for its end; its status is in $STATUS
#   vmm_run NAME OPTION..    both
#   vmm_await NAME PATTERN SECONDS   waits until the console shows an extended regexp
#   vmm_kill NAME [SIGNAL]
#   vmm_pid NAME             the VMM's own pid
#   login ARGS.. -- "$VMM" OPTION..   console.exp with ARGS: logs in, runs commands, powers
#                            off; the console is $WORK/login.out, what the Nth command
#                            printed is $WORK/login/N
#   programs_disk DIR        an ext4 image of DIR's files, its path in $PROGRAMS
#   programs_run NAME KERNEL CPUS MEMORY PROGRAM..   one session of a Debian guest that mounts $PROGRAMS and runs PROGRAMs
#                            in turn; a case for the session, and one for each
#   own_network              runs the script anew in a network namespace of its own, with a
#                            tap tap0, 10.77.0.1/24, in it; after image, which takes the internet
#   console_has NAME PATTERN / console_lacks NAME PATTERN
#   kernel_is_calm NAME      no line that a healthy machine would not give
#
# and the words of tap.sh. INSULA is the program (default build/insula), INSULA_ACCEL the
# engine (default soft), INSULA_SOFT_ENGINE interpret or translate (default: insula's own),
# VMM_LIMIT the seconds that a VMM may run (default 120).
# Functions that check return 1 and print a line that says what was wrong.
set -u

ROOT=$(cd "$(dirname "$0")/../.." && pwd)
while [ ! -f "$ROOT/packages.txt" ]; do ROOT=$(dirname "$ROOT"); done
. "$ROOT/test/guest/lib/tap.sh"
INSULA=${INSULA:-$ROOT/build/insula}
INSULA_ACCEL=${INSULA_ACCEL:-soft}
VMM_LIMIT=${VMM_LIMIT:-120}
IMAGES=${INSULA_IMAGES:-$ROOT/build/images}
MICRO=$IMAGES/micro
VMM=$ROOT/test/guest/lib/vmm
export INSULA INSULA_ACCEL
CONSOLE=$ROOT/test/guest/lib/console.exp

# What tells of a broken machine. Checked against every boot; see kernel_is_calm.
ALARMS='unstable clocksource|clocksource.*(skew|unstable)|soft lockup|hard LOCKUP|mce: |FW [Bb]ug|Firmware [Bb]ug'
ALARMS="$ALARMS|BUG:|WARNING:|rcu.*(stall|detected)|Oops|Kernel panic|general protection|hung_task|blocked for more"
ALARMS="$ALARMS|nvme.*(timeout|abort)|I/O error|spurious|do_IRQ|TSC_DEADLINE disabled|TSC.*unstable|Bad page|segfault"

# A reference machine may have known faults of its own: for QEMU's TCG with several CPUs,
# INSULA_TOLERATE='TSC unstable'.
TOLERATED=${INSULA_TOLERATE:-^$}

[ -x "$INSULA" ] || {
	echo "not ok $(basename "$0" .sh) # $INSULA: no such program"
	exit 1
}

WORK=$(mktemp -d "${TMPDIR:-/tmp}/insula-test.XXXXXX")

# timeout hands TERM on to its VMM, and KILL some seconds later.
guest_clean() {
	for pid_file in "$WORK"/*.pid; do
		[ ! -f "$pid_file" ] || kill "$(cat "$pid_file")" 2>/dev/null
	done
	[ -n "${KEEP:-}" ] || rm -rf "$WORK"
}
trap guest_clean EXIT
trap 'exit 130' INT TERM

image() {
	IMAGE=$IMAGES/$1
	image_text=$("$ROOT/images/build" "$1" --out "$IMAGE" 2>&1) || {
		tap_not_ok "$(basename "$0" .sh)" "no image $1: $(printf '%s\n' "$image_text" | tail -n 1)"
		exit 1
	}
}

disk_copy() {
	DISK=$WORK/$1.raw
	cp --reflink=auto --sparse=always "$IMAGE/disk.raw" "$DISK"
}

vmm_start() {
	vmm_name=$1
	shift
	: >"$WORK/$vmm_name.out"
	timeout -k 5 "$VMM_LIMIT" "$VMM" "$@" \
		</dev/null >"$WORK/$vmm_name.out" 2>"$WORK/$vmm_name.err" &
	echo $! >"$WORK/$vmm_name.pid"
}

vmm_wait() {
	STATUS=0
	wait "$(cat "$WORK/$1.pid")" 2>/dev/null || STATUS=$?
	rm -f "$WORK/$1.pid"
}

vmm_run() {
	vmm_start "$@"
	vmm_wait "$1"
}

# What was started is timeout, which cannot pass KILL on: its child is the VMM.
vmm_pid() {
	pgrep -P "$(cat "$WORK/$1.pid")"
}

vmm_kill() {
	kill -"${2:-KILL}" "$(vmm_pid "$1")"
	vmm_wait "$1"
}

vmm_await() {
	vmm_ticks=0
	until grep -aqE "$2" "$WORK/$1.out"; do
		sleep 0.2
		vmm_ticks=$((vmm_ticks + 1))
		kill -0 "$(cat "$WORK/$1.pid")" 2>/dev/null ||
			{ tap_fail "the VMM ended before '$2': $(console_end "$1")"; return 1; }
		[ $vmm_ticks -lt $(($3 * 5)) ] ||
			{ tap_fail "no '$2' within $3 s: $(console_end "$1")"; return 1; }
	done
}

# What a failure's one line says of a VMM: its last words.
console_end() {
	tail -n 5 "$WORK/$1.out" | tr -cd '\n -~' | tail -n 1
	tail -n 1 "$WORK/$1.err"
}

console_has() {
	grep -aqE "$2" "$WORK/$1.out" || tap_fail "the console has no '$2'; it ends: $(console_end "$1")"
}

console_lacks() {
	line=$(grep -aE "$2" "$WORK/$1.out" | grep -avE -m 1 "$TOLERATED") || return 0
	tap_fail "the console has: $line"
}

kernel_is_calm() {
	console_lacks "$1" "$ALARMS"
}

ended_with() {
	[ "$STATUS" -eq "$2" ] ||
		tap_fail "status $STATUS instead of $2; $(console_end "$1")"
}

# A micro guest that runs one of its tests and powers off: NAME TEST OPTION..
micro_run() {
	micro_name=$1 micro_test=$2
	shift 2
	vmm_run "$micro_name" --cmdline "console=ttyS0 $micro_test" "$@"
	console_has "$micro_name" INSULA-INIT-REACHED &&
		ended_with "$micro_name" 0 &&
		console_lacks "$micro_name" 'INSULA-TEST .* status=[1-9]' &&
		kernel_is_calm "$micro_name"
}

# Someone at the console of a Debian guest: CONSOLE.EXP-OPTION.. -- "$VMM" OPTION..
login() {
	rm -f "$WORK/login.out"
	mkdir -p "$WORK/login"
	"$CONSOLE" --quiet --log "$WORK/login.out" --out "$WORK/login" "$@" </dev/null
}

# The kernel looks at disks at the same time and names them as they answer, so with more than one nobody may rely on
# nvme0n1; the initrd finds file systems by what they are.
DEBIAN_ROOT=UUID=1115a1a0-0000-4000-8000-000000000012

programs_disk() {
	PROGRAMS=$WORK/programs.raw
	rm -f "$PROGRAMS"
	truncate -s 8M "$PROGRAMS"
	mke2fs -q -t ext4 -L programs -d "$1" "$PROGRAMS"
}

programs_run() {
	programs_name=$1 programs_kernel=$2 programs_cpus=$3 programs_memory=$4
	shift 4
	disk_copy guest
	rm -rf "$WORK/login"
	programs_n=$#
	programs_list=$*
	for program; do
		set -- "$@" --run "/mnt/$program"
	done
	shift $programs_n
	tap_case "$programs_name-session" login --boot 600 --each 7200 --run 'mount -o ro LABEL=programs /mnt' "$@" \
		--run 'dmesg --level=emerg,alert,crit,err,warn' -- "$VMM" --kernel "$IMAGE/$programs_kernel" \
		--initrd "$IMAGE/initrd${programs_kernel#vmlinuz}.img" --cmdline "console=ttyS0 root=$DEBIAN_ROOT rw" --disk "path=$DISK" \
		--disk "path=$PROGRAMS,readonly" --memory "$programs_memory" --cpus "$programs_cpus" --no-reboot
	programs_n=1
	for program in $programs_list; do
		programs_n=$((programs_n + 1))
		tap_case "$programs_name-$program" program_ended $programs_n
	done
	tap_case "$programs_name-kernel-calm" kernel_is_calm login
}

# What the session's Nth command gave.
program_ended() {
	[ -f "$WORK/login/$1.status" ] || tap_fail "it did not end; $(tail -c 300 "$WORK/login.out" | tr -cd '\n -~' | tail -n 2 | tr '\n' ' ')" || return 1
	cat "$WORK/login/$1"
	[ "$(cat "$WORK/login/$1.status")" -eq 0 ] || tap_fail "status $(cat "$WORK/login/$1.status"): $(tail -n 1 "$WORK/login/$1")"
}

own_network() {
	[ -c /dev/net/tun ] || {
		tap_skip "$(basename "$0" .sh)" "no /dev/net/tun here"
		exit 0
	}
	[ -n "${OWN_NETWORK:-}" ] || guest_clean
	tap_own_network "$(basename "$0" .sh)"
	tap_up
}

tap_up() {
	ip tuntap add dev tap0 mode tap && ip address add 10.77.0.1/24 dev tap0 && ip link set tap0 up || {
		tap_skip "$(basename "$0" .sh)" "cannot make a tap"
		exit 0
	}
}
