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
	for verb in $("$insula" help | awk '/^  / { print $1 }' | grep -vxE 'keep|vpc'); do
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

meant() {
	"$insula" imgae 2>&1 | grep -q "unknown verb 'imgae' (see 'insula help')" && "$insula" reb 2>&1 | grep -q "did you mean 'reboot'"
}

# Every verb of people says what there is when an option is wrong, and what it does when asked.
wrong_options() {
	for verb in $("$insula" help | awk '/^  / { print $1 }' | grep -vxE 'keep|vpc|vmm|help|version|completion|up'); do
		"$insula" "$verb" --frobnicate 2>"$work/err"
		[ $? -eq 2 ] && grep -q "insula $verb --help" "$work/err" || tap_fail "$verb: $(cat "$work/err")" || return 1
		"$insula" help "$verb" | grep -q "usage:.*insula $verb" || tap_fail "$verb has no help" || return 1
	done
}

doctor() {
	"$insula" doctor --data "$work/none" | grep -q "^no  a region is up.* - insula up" &&
		"$insula" doctor --json | /usr/bin/python3 -c 'import json, sys; assert all(len(x["What"]) > 2 for x in json.load(sys.stdin))'
}

version_json() {
	"$insula" version --json | /usr/bin/python3 -c 'import json, sys; assert json.load(sys.stdin)["version"]'
}

up_wrong() {
	"$insula" up --listen nowhere --data "$work/wrong" 2>"$work/err"
	[ $? -eq 1 ] && grep -q "must be ADDRESS:PORT" "$work/err"
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
tap_case unknown-verb-meant meant
tap_case wrong-options wrong_options
tap_case doctor doctor
tap_case version-json version_json
tap_case up-says-why-not up_wrong
tap_case no-region-says-what-to-do nowhere
tap_end
