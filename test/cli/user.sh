#!/bin/bash
# timeout: 300
# An ordinary user's region: an instance with a network by passt, and a shell in it by `insula ssh`.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../guest/lib/tap.sh"
root=$(cd "$here/../.." && pwd)
tap_own_network user micro find-root
# What passt takes for the way out.
ip link add out type veth peer name far
ip link set far up
ip address add 192.0.2.2/24 dev out
ip link set out up
ip route add default via 192.0.2.1

work=$(mktemp -d)
data=$work/region
images=$root/build/images

as_user() {
	env -u AWS_ENDPOINT_URL -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY HOME="$work" \
		timeout 120 setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
}

region() {
	verb=$1
	shift
	as_user "$work/insula" "$verb" --data "$data" "$@"
}

cleanup() {
	region down --all --force >/dev/null 2>&1
	for pid in $(cut -d ' ' -f 1 "$data"/instances/*/keeper 2>/dev/null); do
		kill "$pid" 2>/dev/null
	done
	rm -rf "$work"
}
trap cleanup EXIT

begin() {
	cp "${INSULA:-$root/build/insula}" "$(dirname "${INSULA:-$root/build/insula}")/insula-vmm" "$work/"
	cp --sparse=always "$images/micro/vmlinuz" "$images/micro/disk.raw" "$images/find-root/initrd.img" "$work/"
	chown -R 65534:65534 "$work"
	region up --listen 127.0.0.1:0 --accel soft >"$work/said" || tap_fail "$(cat "$work/said")" || return 1
	region image import "$work/disk.raw" --name micro --kernel "$work/vmlinuz" --initrd "$work/initrd.img" \
		--cmdline 'root=UUID=1115a1a0-0000-4000-8000-00000000b0b0 rw console=ttyS0 quiet lockdown=confidentiality' >/dev/null &&
		region run micro --type micro.128m --name one --wait >/dev/null
}

shell() {
	region ssh one 'ip -4 address show dev eth0; cat /proc/cmdline' >"$work/there" 2>"$work/err" </dev/null ||
		tap_fail "status $?: $(cat "$work/err")" || return 1
	address=$(region show one --json | sed -n 's/^  "PrivateIpAddress": "\(.*\)".*/\1/p')
	grep -qF "inet $address/20" "$work/there" && grep -q cloud-init=disabled "$work/there" || tap_fail "$(cat "$work/there")"
}

# What the user reaches the guest reaches, at the address that the user has.
outward() {
	timeout 60 python3 -c '
import socket
s = socket.create_server(("192.0.2.2", 4242))
s.settimeout(50)
c, _ = s.accept()
c.settimeout(10)
c.sendall(b"from the host: " + c.recv(100))' &
	region ssh one 'echo hello | timeout 20 nc 192.0.2.2 4242' >"$work/there" 2>/dev/null </dev/null
	wait $!
	grep -q 'from the host: hello' "$work/there" || tap_fail "$(cat "$work/there")"
}

# The host's loopback is not the guest's to reach.
inward() {
	port=$(sed -n 's/.*127.0.0.1:\([0-9]*\).*/\1/p' "$work/said" | head -n 1)
	region ssh one "timeout 5 nc 172.31.0.1 $port </dev/null && echo reached" >"$work/there" 2>/dev/null </dev/null
	! grep -q reached "$work/there"
}

# A guest without its passt goes on; the machine's end is passt's.
ends() {
	region rm one >/dev/null
	for _ in $(seq 100); do
		pgrep -u 65534 -f "^passt.*net.sock" >/dev/null || return 0
		sleep 0.1
	done
	tap_fail "$(pgrep -u 65534 -af passt)"
}

tap_case begin begin
tap_case shell shell
tap_case outward outward
tap_case inward inward
tap_case ends ends
tap_end
