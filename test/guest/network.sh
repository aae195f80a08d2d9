#!/bin/sh
# timeout: 900
# virtio-net on a tap, and virtio-rng: the micro guest pings its host and is pinged; a card's rates; a large MTU.
VMM_LIMIT=300
. "$(dirname "$0")/lib/guest.sh"
image micro
own_network

# NAME CPUS
pings() {
	micro_run "$1" "insula.modules=virtio_net,virtio_rng insula.run=net,random insula.ip=10.77.0.2 insula.peer=10.77.0.1" \
		--kernel "$MICRO/vmlinuz" --initrd "$MICRO/initrd.img" --memory 256M --cpus "$2" \
		--net tap=tap0,mac=02:00:00:00:00:77 || return 1
	console_has "$1" '3 packets received' && console_has "$1" '2 packets received'
}

is_pinged() {
	vmm_start peer --kernel "$MICRO/vmlinuz" --initrd "$MICRO/initrd.img" --memory 256M \
		--cmdline "console=ttyS0 insula.modules=virtio_net insula.run=net-wait insula.ip=10.77.0.3" \
		--net tap=tap0
	vmm_await peer "INSULA-NET-UP" 60 || return 1
	ping -c 5 -i 0.2 -W 5 10.77.0.3 || tap_fail "no answer from the guest" || return 1
	ping -f -c 2000 -s 1400 -W 5 10.77.0.3 | tail -n 3
	ping -c 2 -s 20000 -W 5 10.77.0.3 || tap_fail "no answer to fragmented packets" || return 1
	vmm_kill peer
}

# BYTES-PER-SECOND IPERF3-OPTION..: goodput is not above the rate, and is there. How far below it stays is
# the host's affair: it may be busy.
at_most() {
	limit=$1
	shift
	iperf3 -c 10.77.0.4 -t 4 -J "$@" >"$WORK/speed" || tap_fail "iperf3: $(grep error "$WORK/speed")" || return 1
	/usr/bin/python3 - "$WORK/speed" "$limit" <<-'END'
		import json, sys
		end = json.load(open(sys.argv[1]))['end']['sum_received']
		rate, limit = end['bytes'] / end['seconds'], int(sys.argv[2])
		print(f"{rate / 1e6:.2f} MB/s of {limit / 1e6:.2f}")
		sys.exit(not 0 < rate <= 1.1 * limit)
	END
}

rates() {
	vmm_await rates BENCH-NET-UP 300 || return 1
	at_most 4000000 || return 1
	at_most 2000000 -R || return 1
	# Changed while it runs.
	answer=$("$ROOT/test/guest/lib/api" "$WORK/api" PATCH /network-interfaces/tap0 \
		'{"iface_id":"tap0","rx_rate_limiter":{"bandwidth":{"size":100000,"refill_time":100}}}')
	[ "${answer%% *}" = 204 ] || tap_fail "PATCH: $answer" || return 1
	at_most 1000000
}

# Frames as long as the tap's MTU says, and the guest's card as well: without fragments.
large_frames() {
	[ "$(echo 'cat /sys/class/net/eth0/mtu; exit' | timeout 20 busybox nc 10.77.0.4 99)" = 9001 ] ||
		tap_fail "the guest's card has another MTU" || return 1
	ping -c 3 -M do -s 8973 -W 5 10.77.0.4
}

tap_case ping-1cpu pings a 1
tap_case ping-2cpu pings b 2
tap_case pinged is_pinged
ip link set tap0 mtu 9001
if "$ROOT/bench/net/build" "$MICRO" "$WORK/net" >"$WORK/build.log" 2>&1; then
	vmm_start rates --kernel "$MICRO/vmlinuz" --initrd "$WORK/net/initrd.img" --memory 256M --api "$WORK/api" \
		--cmdline "console=ttyS0 insula.modules=virtio_net insula.run=bench-net insula.ip=10.77.0.4 insula.gateway=10.77.0.1" \
		--net tap=tap0,rx-rate=4M,tx-rate=2000000
	tap_case rates rates
	tap_case large-frames large_frames
	vmm_kill rates
else
	tap_skip rates "no guest with iperf3: $(tail -n 1 "$WORK/build.log")"
fi
tap_end
