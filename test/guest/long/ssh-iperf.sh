#!/bin/sh
# timeout: 3600
# A Debian guest on a tap: ssh into it, a file through ssh, iperf3 both ways, ping, and its
# card's offloads.
. "$(dirname "$0")/../lib/guest.sh"
image debian-12-test
own_network
disk_copy guest
guest_ip=10.77.0.2

ssh-keygen -q -t ed25519 -N '' -f "$WORK/key" || exit 1
in_guest() {
	ssh -i "$WORK/key" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
		-o ConnectTimeout=60 root@$guest_ip "$@"
}

mkdir "$WORK/login"
"$CONSOLE" --quiet --log "$WORK/login.out" --boot 600 --each 3000 \
	--run "mkdir -p .ssh; echo '$(cat "$WORK/key.pub")' >.ssh/authorized_keys" \
	--run "card=\$(ls /sys/class/net | grep -v lo); ip link set \$card up; ip address add $guest_ip/24 dev \$card" \
	--run "iperf3 -s -D; systemctl start ssh; sleep 2; echo INSULA-GUEST-READY | tr a-z A-Z" \
	--run "until [ -e /root/done ]; do sleep 1; done" \
	-- "$VMM" --kernel "$IMAGE/vmlinuz" --disk "path=$DISK" --memory 1G --cpus "${CPUS:-2}" \
	--net tap=tap0 --cmdline 'console=ttyS0 root=/dev/nvme0n1 rw' --no-reboot </dev/null 2>"$WORK/login.err" &
console=$!

comes_up() {
	ticks=0
	until grep -aq '^INSULA-GUEST-READY' "$WORK/login.out" 2>/dev/null; do
		sleep 1
		ticks=$((ticks + 1))
		kill -0 $console 2>/dev/null && [ $ticks -lt 900 ] || tap_fail "$(cat "$WORK/login.err")" || return 1
	done
}

copies() {
	head -c 8000000 /dev/urandom >"$WORK/file"
	in_guest 'cat >/root/file; sha256sum /root/file' <"$WORK/file" | cut -c 1-64 >"$WORK/there"
	sha256sum <"$WORK/file" | cut -c 1-64 | diff - "$WORK/there" || tap_fail "the file arrived changed" || return 1
	in_guest cat /root/file | cmp - "$WORK/file" || tap_fail "the file came back changed"
}

offloads() {
	in_guest 'ethtool -k $(ls /sys/class/net | grep -v lo)' >"$WORK/features" || return 1
	for feature in rx-checksumming tx-checksumming tcp-segmentation-offload; do
		grep -q "^$feature: on" "$WORK/features" || tap_fail "$feature is off" || return 1
	done
}

ends() {
	[ "$1" -eq 0 ] || tap_fail "$(cat "$WORK/login.err")" || return 1
	kernel_is_calm login
}

tap_case comes-up comes_up
# Between two tests iperf3's server listens anew: until then it refuses.
speed() {
	tries=0
	until iperf3 -c $guest_ip -f m "$@" >"$WORK/speed" 2>&1; do
		tries=$((tries + 1))
		grep -q 'Connection refused' "$WORK/speed" && [ $tries -lt 30 ] || break
		sleep 1
	done
	cat "$WORK/speed"
	grep -q 'iperf Done' "$WORK/speed"
}

tap_case ping ping -q -c 20 -i 0.2 -W 5 $guest_ip
tap_case ssh in_guest uname -r
tap_case ssh-copy copies
tap_case iperf3-to-guest speed -t 5
tap_case iperf3-from-guest speed -t 5 -R
tap_case iperf3-udp speed -t 3 -u -b 20M
tap_case offloads offloads
# A case's subshell cannot wait for what its parent has started.
in_guest touch /root/done
console_status=0
wait $console || console_status=$?
tap_case ends ends $console_status
tap_end
