#!/bin/bash
# timeout: 400
# insula ssh as root, into an instance that no group lets anybody into; insula net, with what has passed.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../guest/lib/tap.sh"
root=$(cd "$here/../.." && pwd)
tap_own_network networks micro find-root
work=$(mktemp -d)

region() {
	verb=$1
	shift
	env -u AWS_ENDPOINT_URL -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY \
		timeout 200 "${INSULA:-$root/build/insula}" "$verb" --data "$work/region" "$@"
}

cleanup() {
	region down --all --force >/dev/null 2>&1
	for pid in $(cut -d ' ' -f 1 "$work"/region/instances/*/keeper "$work"/region/vpcs/*/vpc.pid 2>/dev/null); do
		kill "$pid" 2>/dev/null
	done
	vpc=$(of VpcId)
	[ ! -e "/run/netns/${vpc:-none}" ] || ip netns delete "$vpc"
	rm -rf "$work"
}
trap cleanup EXIT

begin() {
	region up --listen 127.0.0.1:0 --accel soft >"$work/said" || tap_fail "$(cat "$work/said")" || return 1
	region image build micro >/dev/null 2>"$work/err" || tap_fail "$(cat "$work/err")" || return 1
	region run micro --type micro.128m --name one --wait >/dev/null || return 1
	region show one --json >"$work/one"
}

# of NAME: a member of the instance. Cases run in shells of their own.
of() {
	sed -n "s/^  \"$1\": \"\(.*\)\".*/\1/p" "$work/one" 2>/dev/null
}

shell() {
	region ssh one hostname >"$work/there" 2>"$work/err" </dev/null || tap_fail "status $?: $(cat "$work/err")" || return 1
	[ "$(cat "$work/there")" = "ip-$(echo "$(of PrivateIpAddress)" | tr . -).ec2.internal" ] || tap_fail "$(cat "$work/there")" || return 1
	region ssh root@one 'exit 7' </dev/null 2>/dev/null
	[ $? -eq 7 ] || tap_fail "not the command's status"
}

tree() {
	vpc=$(of VpcId)
	region ssh one "ping -c 2 198.19.255.254" >/dev/null 2>&1 </dev/null || tap_fail "the host does not answer" || return 1
	region net "$vpc" >"$work/tree" || return 1
	for pattern in "^$vpc .* default$" "\"one\" running: default" "$(of PrivateIpAddress) as 198\.18\." "in [0-9.]* .B, out [0-9.]* .B" \
		'all to 0.0.0.0/0' 'packets let through: [1-9]' '32767 deny all from 0.0.0.0/0'; do
		grep -qE "$pattern" "$work/tree" || tap_fail "no $pattern in:" || { sed 's/^/#   /' "$work/tree"; return 1; }
	done
	region net vpc-0123456789abcdef0 2>"$work/err"
	[ $? -eq 1 ] && grep -q InvalidVpcID.NotFound "$work/err" || tap_fail "$(cat "$work/err")" || return 1
	region net --json "$vpc" | python3 -c 'import json, sys; assert json.load(sys.stdin)["Vpcs"]'
}

# What is not there has no shell.
refused() {
	region ssh two 2>"$work/err" </dev/null
	[ $? -eq 1 ] && grep -q 'two: there is no such instance' "$work/err" || tap_fail "$(cat "$work/err")" || return 1
	region stop one --force && region ssh one 2>"$work/err" </dev/null
	[ $? -eq 1 ] && grep -q 'is stop' "$work/err" || tap_fail "$(cat "$work/err")"
}

none_left() {
	vpc=$(of VpcId)
	region rm one >/dev/null
	for _ in $(seq 100); do
		[ -e "/run/netns/$vpc" ] || ip link show type veth | grep -q vpc || return 0
		sleep 0.1
	done
	tap_fail "$(ip netns; ip link show type veth)"
}

tap_case begin begin
tap_case shell shell
tap_case tree tree
tap_case refused refused
tap_case none-left none_left
tap_end
