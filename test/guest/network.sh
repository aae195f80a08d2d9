#!/bin/sh
# timeout: 500
# virtio-net on a tap, and virtio-rng: the micro guest pings its host and is pinged.
. "$(dirname "$0")/lib/guest.sh"
own_network
image micro

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

tap_case ping-1cpu pings a 1
tap_case ping-2cpu pings b 2
tap_case pinged is_pinged
tap_end
