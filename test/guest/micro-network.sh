#!/bin/sh
# timeout: 900
# The micro disk on a network: an address by DHCP, the metadata service's name, key and user data, ssh, and a root
# file system that fills its disk; user data not again at the second boot.
VMM_LIMIT=400
. "$(dirname "$0")/lib/guest.sh"
. "$ROOT/test/guest/lib/cloud.sh"
image find-root
FIND_ROOT=$IMAGE
image micro
own_network
disk_copy micro
truncate -s 160M "$DISK"

cloud_begin
printf '#!/bin/sh\necho user-data-ran >>/root/ran\n' >"$WORK/md/user-data"

# Not in a case: its subshell's children cannot be waited for.
boot() {
	vmm_start "$1" --kernel "$MICRO/vmlinuz" --initrd "$FIND_ROOT/initrd.img" --memory 128M \
		--cmdline "console=ttyS0 root=UUID=1115a1a0-0000-4000-8000-00000000b0b0 rw" --disk "path=$DISK" \
		--net tap=tap0,mac=02:00:00:00:00:77
}

first() {
	vmm_await first 'INSULA-USER-DATA status=0' 300 || return 1
	console_has first 'INSULA-NETWORK eth0 10.77.0.20' || return 1
	in_guest 'hostname; cat /sys/class/net/eth0/mtu; df -k / | tail -n 1; ip route; cat /root/ran' >"$WORK/seen" || return 1
	cat "$WORK/seen"
	grep -q '^ip-10-77-0-20' "$WORK/seen" || tap_fail "not the name of the metadata service" || return 1
	grep -q '^1400$' "$WORK/seen" || tap_fail "not the MTU that DHCP gives" || return 1
	grep -q 'default via 10.77.0.1' "$WORK/seen" || tap_fail "no default route" || return 1
	[ "$(awk '$NF == "/" { print $2 }' "$WORK/seen")" -gt 120000 ] || tap_fail "the root file system does not fill its disk"
}

has_curl() {
	in_guest 'token=$(curl -sf -X PUT -H "X-aws-ec2-metadata-token-ttl-seconds: 60" http://169.254.169.254/latest/api/token) &&
		curl -sf -H "X-aws-ec2-metadata-token: $token" http://169.254.169.254/latest/meta-data/instance-id' >"$WORK/id" || return 1
	grep -q '^i-0123456789abcdef0$' "$WORK/id" || tap_fail "curl gave $(cat "$WORK/id")"
}

second() {
	ended_with first 0 && vmm_await again INSULA-SSH-READY 300 || return 1
	tries=0
	until in_guest 'test -e /run/user-data && cat /root/ran' >"$WORK/ran"; do
		sleep 1
		tries=$((tries + 1))
		[ $tries -lt 60 ] || tap_fail "no user data within a minute" || return 1
	done
	[ "$(grep -c user-data-ran "$WORK/ran")" -eq 1 ] || tap_fail "user data ran $(grep -c . "$WORK/ran") times"
}

boot first
tap_case first-boot first
tap_case curl-imdsv2 has_curl
# As a guest ends, so that what it wrote is on the disk.
tap_case power-off in_guest '(sleep 1; /sbin/power-button) >/dev/null 2>&1 &'
vmm_wait first
boot again
tap_case second-boot second
vmm_kill again
tap_end
