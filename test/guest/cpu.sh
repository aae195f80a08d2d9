#!/bin/sh
# timeout: 600
# Our CPU test suite: small multiboot guests (test/guest/cpu) that check exceptions, segments, paging, debug registers,
# APICs and the rest against the SDM, each on its own machine. CPU_GUESTS="name.bits …" runs only these.
# All code is translated; cpu-interpreter.sh has none translated.
export INSULA_TRANSLATE="${INSULA_TRANSLATE:-1}"
. "$(dirname "$0")/lib/guest.sh"

guests=$WORK/guests
if ! "$ROOT/test/guest/cpu/build" "$guests" >"$WORK/build.log" 2>&1; then
	tap_not_ok cpu-guests-build "$(tail -n 1 "$WORK/build.log")"
	exit 1
fi

# A guest's own lines become ours, under its name.
guest() {
	name=$1
	shift
	vmm_run "$name" --kernel "$guests/$name" --memory 128M --debug-exit "$@"
	tr -d '\r' <"$WORK/$name.out" | sed -n "s/^\(ok\|not ok\|skip\) /\1 $name-/p"
	[ "$STATUS" -eq 1 ] || [ "$STATUS" -eq 3 ] || tap_not_ok "$name" "status $STATUS; $(console_end "$name")"
	grep -aq '^end [0-9]* failures' "$WORK/$name.out" || tap_not_ok "$name-ends" "$(console_end "$name")"
}

while read -r name options; do
	case " ${CPU_GUESTS:-$name} " in
	# shellcheck disable=SC2086
	*" $name "*) guest "$name" $options </dev/null ;;
	esac
done <"$guests/list"
tap_end
