#!/bin/bash
# The insula command itself: its verbs, its completion, its manual.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../guest/lib/tap.sh"
insula=${INSULA:-$here/../../build/insula}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# WORD..: what completion offers for the last of them.
offers() {
	bash -c '. <("$0" completion bash); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _insula "$0"; echo "${COMPREPLY[@]}"' \
		"$insula" "$@"
}

verbs() {
	[ "$(offers insula re)" = reboot ] && offers insula "" | grep -qw console
}

options() {
	offers insula run --t | grep -qw -- --type
}

# Each verb that help shows is in the manual, but for what people do not call.
manual() {
	for verb in $("$insula" help | awk '/^  / { print $1 }' | grep -vx keep); do
		grep -qE "^\\.It Ic (.* )?$verb\\b" "$here/../../docs/insula.1" || tap_fail "$verb is not in insula(1)" || return 1
	done
}

version() {
	"$insula" version | grep -qE '^insula [0-9]+\.[0-9]+\.[0-9]+$' && [ "$("$insula" --version)" = "$("$insula" version)" ]
}

unknown() {
	"$insula" frobnicate 2>"$work/err"
	[ $? -eq 2 ] && grep -q "insula help" "$work/err"
}

nowhere() {
	"$insula" ls --data "$work/none" 2>"$work/err"
	[ $? -eq 1 ] && [ "$(wc -l <"$work/err")" -eq 1 ] && grep -q "insula up" "$work/err"
}

tap_case completion-verbs verbs
tap_case completion-options options
tap_case manual-has-each-verb manual
tap_case version version
tap_case unknown-verb unknown
tap_case no-region-says-what-to-do nowhere
tap_end
