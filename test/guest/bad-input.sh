#!/bin/sh
# timeout: 300
# What cannot work is refused before anything runs: exactly one line on stderr that names
# the thing, nothing on stdout, status 2, nothing left behind.
. "$(dirname "$0")/lib/guest.sh"
image micro
VMM_LIMIT=60

refusal() {
	[ "$STATUS" -eq 2 ] || tap_fail "status $STATUS instead of 2: $(console_end "$1")" || return 1
	[ ! -s "$WORK/$1.out" ] || tap_fail "stdout is not empty: $(head -n 1 "$WORK/$1.out")" || return 1
	lines=$(wc -l <"$WORK/$1.err")
	[ "$lines" -eq 1 ] || tap_fail "$lines lines on stderr: $(head -n 3 "$WORK/$1.err" | tr '\n' '|')" || return 1
	grep -qE -- "$2" "$WORK/$1.err" || tap_fail "the line does not name '$2': $(cat "$WORK/$1.err")"
}

refused_case() {
	what=$1 pattern=$2
	shift 2
	vmm_run "$what" "$@" && refusal "$what" "$pattern"
}

# NAME PATTERN OPTION..: on an otherwise good command line.
refused() {
	name=$1 pattern=$2
	shift 2
	tap_case "$name" refused_case "$name" "$pattern" --kernel "$MICRO/vmlinuz" \
		--cmdline "console=ttyS0 insula.run=poweroff" "$@"
}

# NAME PATTERN FILE: as the kernel.
refused_kernel() {
	tap_case "$1" refused_case "$1" "$2" --kernel "$3"
}

echo "This is no kernel, however long one looks at it." >"$WORK/text"
: >"$WORK/empty"
head -c 1000000 /dev/zero >"$WORK/zeros"
head -c 300 "$MICRO/vmlinuz" >"$WORK/head-300"
head -c 20000 "$MICRO/vmlinuz" >"$WORK/head-20000"
head -c 5000000 "$MICRO/vmlinuz" >"$WORK/half-bzimage"
head -c 60 "$MICRO/vmlinux" >"$WORK/head-60-elf"
head -c 10000000 "$MICRO/vmlinux" >"$WORK/half-elf"
# A bzImage whose packed payload is damaged in its middle.
cp "$MICRO/vmlinuz" "$WORK/damaged-bzimage"
head -c 65536 /dev/urandom | dd of="$WORK/damaged-bzimage" bs=1 seek=4000000 conv=notrunc 2>/dev/null
truncate -s 300M "$WORK/large-initrd"
truncate -s 1000001 "$WORK/odd-disk"
truncate -s 8M "$WORK/good-disk"
mkdir "$WORK/folder"

refused_kernel kernel-missing "$WORK/nowhere" "$WORK/nowhere"
refused_kernel kernel-is-folder "$WORK/folder" "$WORK/folder"
for file in text empty zeros head-300 head-20000 half-bzimage damaged-bzimage head-60-elf half-elf; do
	refused_kernel "kernel-is-$file" "$WORK/$file" "$WORK/$file"
done
refused_kernel kernel-is-disk "disk.raw" "$MICRO/disk.raw"
tap_case kernel-not-given refused_case kernel-not-given kernel --memory 128M

refused initrd-missing "$WORK/nowhere" --initrd "$WORK/nowhere"
refused initrd-is-folder "$WORK/folder" --initrd "$WORK/folder"
refused initrd-too-large large-initrd --initrd "$WORK/large-initrd" --memory 256M

refused disk-missing "$WORK/nowhere" --disk "path=$WORK/nowhere"
refused disk-is-folder "$WORK/folder" --disk "path=$WORK/folder"
refused disk-of-odd-size odd-disk --disk "path=$WORK/odd-disk"
refused disk-empty "$WORK/empty" --disk "path=$WORK/empty"
refused disk-without-path disk --disk readonly
refused disk-with-unknown-key colour --disk "path=$WORK/good-disk,colour=red"
refused disk-of-unknown-type floppy --disk "path=$WORK/good-disk,type=floppy"

refused memory-1M '(memory|1M)' --memory 1M
refused memory-0 memory --memory 0
refused memory-word memory --memory lots
refused memory-negative memory --memory -512M
refused memory-beyond-all memory --memory 99999999T
refused cpus-0 cpus --cpus 0
refused cpus-65 cpus --cpus 65
refused cpus-word cpus --cpus two
refused cpus-negative cpus --cpus -1

refused net-without-tap tap --net mac=02:00:00:00:00:01
refused net-tap-missing insula-none0 --net tap=insula-none0
refused net-bad-mac '(mac|02:00:00)' --net tap=insula-none0,mac=02:00:00
refused net-long-name a-name-longer-than-any-interface --net tap=a-name-longer-than-any-interface

refused accel-unknown quantum --accel quantum
refused serial-unknown carrier-pigeon --serial carrier-pigeon
refused serial-in-no-folder "$WORK/nowhere" --serial "file:$WORK/nowhere/log"
refused option-unknown frobnicate --frobnicate
refused option-without-value memory --memory
refused word-too-many stray stray
refused cmdline-too-long 'cmdline|command line' --cmdline "$(head -c 70000 /dev/zero | tr '\0' x)"

# Only a user for whom the file is read-only can tell; root may write to anything. Copies,
# since the checkout may be closed to others.
readonly_disk() {
	chmod 755 "$WORK"
	chmod 444 "$WORK/good-disk"
	cp "$INSULA" "$WORK/insula"
	cp "$MICRO/vmlinuz" "$WORK/vmlinuz"
	setpriv --reuid 65534 --regid 65534 --clear-groups "$WORK/insula" vmm --accel "$INSULA_ACCEL" \
		--kernel "$WORK/vmlinuz" --disk "path=$WORK/good-disk" \
		</dev/null >"$WORK/readonly.out" 2>"$WORK/readonly.err"
	STATUS=$?
	refusal readonly good-disk
}
tap_case disk-readonly readonly_disk

leaves_nothing() {
	! ip link show insula-none0 2>/dev/null || tap_fail "the tap insula-none0 was made" || return 1
	[ ! -e "$WORK/nowhere" ] || tap_fail "a missing file was made" || return 1
	[ "$(stat -c %s "$WORK/odd-disk")" -eq 1000001 ] || tap_fail "the odd disk was resized"
}
tap_case nothing-left-behind leaves_nothing
tap_end
