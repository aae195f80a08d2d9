# shellcheck shell=sh
# What the programs for a guest share. Each is run as root in a Debian guest, says what it has done, a line each, and
# ends with status 1 and a line that says why when something was not as it must be.
set -eu
trap 'kill $(cat /tmp/load.pids 2>/dev/null) 2>/dev/null || true; rm -f /tmp/load.pids' EXIT

fail() {
	echo "$*"
	exit 1
}

# is WHAT GOT WANTED
is() {
	[ "$2" = "$3" ] || fail "$1: $2, not $3"
}

at_least() {
	[ "$2" -ge "$3" ] || fail "$1: $2, less than $3"
}

# Something to do for each CPU: processes, files, sums.
load_start() {
	for cpu in $(seq "$(nproc)"); do
		(while :; do
			cat /proc/self/stat /proc/meminfo >/dev/null
			head -c 200000 /dev/zero | sha256sum >/dev/null
		done) &
		echo $! >>/tmp/load.pids
	done
}
