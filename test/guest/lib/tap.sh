# shellcheck shell=sh
# Results of a test script, one line each, as ./check counts them:
#
#   ok NAME            not ok NAME # why            skip NAME # why
#
#   tap_ok NAME / tap_not_ok NAME WHY / tap_skip NAME WHY
#   tap_case NAME COMMAND..  ok if COMMAND succeeds; what it printed goes after "# "
#   tap_fail WHY             inside a case's function: says why, returns 1
#   tap_note TEXT            a comment
#   tap_own_network NAME IMAGE..  builds the images, which takes the internet, and runs the script anew in a network
#                            namespace of its own; where that cannot be, skips it
#   tap_end                  the last command of a script: status 1 if anything failed

tap_failed=0

tap_ok() {
	echo "ok $1"
}

tap_not_ok() {
	tap_failed=1
	echo "not ok $1 # $2"
}

tap_skip() {
	echo "skip $1 # $2"
}

tap_note() {
	echo "# $*"
}

tap_fail() {
	echo "$*"
	return 1
}

tap_own_network() {
	if [ "$(id -u)" -ne 0 ] || ! unshare --net true 2>/dev/null; then
		tap_skip "$1" "no network namespaces here, or not root"
		exit 0
	fi
	if [ -z "${OWN_NETWORK:-}" ]; then
		shift
		for tap_image in "$@"; do
			"$(dirname "$0")/../../images/build" "$tap_image" >/dev/null || exit 1
		done
		OWN_NETWORK=yes exec unshare --net "$0"
	fi
	ip link set lo up
}

# The case runs in a subshell, so that it may change what it likes.
tap_case() {
	tap_name=$1
	shift
	tap_lines=4
	if tap_text=$("$@" 2>&1); then
		tap_ok "$tap_name"
	else
		tap_lines=30
		tap_not_ok "$tap_name" "$(printf '%s\n' "$tap_text" | tail -n 1 | cut -c 1-300)"
	fi
	[ -z "$tap_text" ] || printf '%s\n' "$tap_text" | tail -n $tap_lines | cut -c 1-200 | sed 's/^/#   /'
}

tap_end() {
	exit $tap_failed
}
