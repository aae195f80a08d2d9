#!/bin/bash
# timeout: 300
# insula up and down: machines go on without a region, are the same when it is back, and are stopped with --all.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../guest/lib/tap.sh"
insula=${INSULA:-$here/../../build/insula}
work=$(mktemp -d)
data=$work/region
# Another region of somebody's: nothing here may reach it.
export AWS_ENDPOINT_URL=http://127.0.0.1:9 AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x

cleanup() {
	env -u AWS_ENDPOINT_URL "$insula" down --data "$data" >/dev/null 2>&1
	for pid in $(cut -d ' ' -f 1 "$data"/instances/*/keeper 2>/dev/null); do
		kill "$pid" 2>/dev/null
	done
	rm -rf "$work"
}
trap cleanup EXIT

region() {
	verb=$1
	shift
	env -u AWS_ENDPOINT_URL -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY "$insula" "$verb" "$@" --data "$data"
}

up() {
	"$insula" up --data "$data" --listen 127.0.0.1:0 --accel soft >"$work/said" || tap_fail "$(cat "$work/said" "$data/serve.log")"
}

# A boot sector that halts for ever, through any power button.
begin() {
	truncate -s 1M "$work/disk.raw"
	printf '\364\353\375' | dd of="$work/disk.raw" conv=notrunc status=none
	printf '\125\252' | dd of="$work/disk.raw" bs=1 seek=510 conv=notrunc status=none
	up || return 1
	region image import "$work/disk.raw" >/dev/null || return 1
	for i in 1 2; do
		region run disk --type micro.64m --wait || return 1
	done >"$work/ids"
}

keepers() {
	cat "$data"/instances/*/keeper 2>/dev/null
}

goes_on() {
	keepers >"$work/before"
	said=$("$insula" down --data "$data") || tap_fail "status $?: $said" || return 1
	[ "$(echo "$said" | grep -cxFf <(sed 's/^/  /' "$work/ids"))" -eq 2 ] || tap_fail "$said" || return 1
	keepers | cmp -s - "$work/before" && [ "$(wc -l <"$work/before")" -eq 2 ] || tap_fail "machines have changed" || return 1
	! region ls >/dev/null 2>&1 || tap_fail "the region still answers"
}

again() {
	said=$("$insula" down --data "$data" --json) || return 1
	echo "$said" | grep -q '"WasUp": false' && [ "$(echo "$said" | grep -cFf "$work/ids")" -eq 2 ]
}

adopts() {
	up || return 1
	[ "$(region ls | grep -c running)" -eq 2 ] && keepers | cmp -s - "$work/before" || tap_fail "$(region ls)"
}

all() {
	said=$("$insula" down --all --force --data "$data") || tap_fail "status $?: $said" || return 1
	! echo "$said" | grep -q i- || tap_fail "$said" || return 1
	up && [ "$(region ls | grep -c stopped)" -eq 2 ] || tap_fail "$(region ls)"
}

wrong() {
	"$insula" down everything --data "$data" 2>"$work/err"
	[ $? -eq 2 ] && grep -q "usage: insula down" "$work/err"
}

if [ -e /usr/share/seabios/bios-256k.bin ]; then
	tap_case up-runs begin
	tap_case down-machines-go-on goes_on
	tap_case down-twice again
	tap_case up-adopts adopts
	tap_case down-all all
else
	tap_skip down "there is no firmware (package seabios)"
fi
tap_case down-wrong wrong
tap_end
