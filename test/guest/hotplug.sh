#!/bin/sh
# timeout: 900
# Cards and disks are plugged in and given back while the guest runs; by force too, and by a reboot; a guest that
# does not answer keeps what it has.
VMM_LIMIT=400
. "$(dirname "$0")/lib/guest.sh"
image micro
own_network
ip tuntap add dev tap1 mode tap && ip link set tap1 up
truncate -s 16M "$WORK/disk.raw"

api() {
	"$ROOT/test/guest/lib/api" "$WORK/api" "$@"
}

# COMMAND..: its answer begins with the status $1.
gives() {
	want=$1
	shift
	answer=$(api "$@")
	[ "${answer%% *}" = "$want" ] || tap_fail "$1 $2: $answer"
}

# Until a DELETE says that it is gone; a guest on a busy host may be asked more than once.
gone() {
	tries=0
	until answer=$(api DELETE "$1") && [ "${answer%% *}" = 204 ]; do
		case $answer in 202*) ;; *'has not given it back'*) ;; *) tap_fail "DELETE $1: $answer" || return 1 ;; esac
		tries=$((tries + 1))
		[ $tries -lt 2000 ] || tap_fail "$1 is not given back" || return 1
		sleep 0.1
	done
}

# The guest's last word is PATTERN.
sees() {
	tries=0
	until grep -a '^INSULA-HOTPLUG' "$WORK/a.out" | tail -n 1 | grep -qE "$1"; do
		tries=$((tries + 1))
		[ $tries -lt 2000 ] || tap_fail "the guest sees $(grep -a '^INSULA-HOTPLUG' "$WORK/a.out" | tail -n 1)" || return 1
		sleep 0.1
	done
}

NET='{"iface_id":"eni-1","host_dev_name":"tap1","guest_mac":"02:00:00:00:00:78"}'
DISK="{\"drive_id\":\"vol1\",\"path_on_host\":\"$WORK/disk.raw\",\"is_root_device\":false}"

card() {
	vmm_await a 'INSULA-HOTPLUG eth0 lo' 300 || return 1
	gives 204 PUT /network-interfaces/eni-1 "$NET" && sees 'eth0 eth1 lo' || return 1
	# The same again changes nothing; another of the same name is refused.
	gives 204 PUT /network-interfaces/eni-1 "$NET" || return 1
	gives 400 PUT /network-interfaces/eni-1 '{"iface_id":"eni-1","host_dev_name":"tap0"}' || return 1
	api GET /vm/config | grep -q '"eni-1"' || tap_fail "the configuration has no eni-1" || return 1
	gone /network-interfaces/eni-1 && sees 'HOTPLUG eth0 lo' || return 1
	api GET /vm/config | grep -q '"eni-1"' && tap_fail "the configuration has eni-1 still"
	# And the tap is free again.
	gives 204 PUT /network-interfaces/eni-1 "$NET" && sees 'eth0 eth1 lo' && gone /network-interfaces/eni-1
}

disk() {
	gives 204 PUT /drives/vol1 "$DISK" && sees 'vol1' || return 1
	gone /drives/vol1 && sees 'eth0 lo \.'
}

# One that was there from the start goes by its tap's name.
torn_out() {
	answer=$(api DELETE /network-interfaces/tap0 '{"force":true}')
	[ "${answer%% *}" = 204 ] || tap_fail "$answer" || return 1
	gives 204 DELETE /network-interfaces/tap0 || return 1
	gives 400 PUT /network-interfaces/eni-2 '{"iface_id":"eni-2","host_dev_name":"no-such-tap"}' || return 1
	gives 204 PUT /drives/vol1 "$DISK" && sees vol1 || return 1
	answer=$(api DELETE /drives/vol1 '{"force":true}')
	[ "${answer%% *}" = 204 ] || tap_fail "$answer"
}

rates() {
	gives 204 PUT /network-interfaces/eni-1 "$NET" || return 1
	gives 204 PATCH /network-interfaces/eni-1 \
		'{"iface_id":"eni-1","rx_rate_limiter":{"bandwidth":{"size":1000,"refill_time":100},"ops":null}}' || return 1
	api GET /vm/config | grep -q '"rx_rate_limiter":{"bandwidth":{"size":1000' || tap_fail "$(api GET /vm/config)"
}

# What is asked for while a kernel boots is gone when it is up, and nothing is hurt.
while_booting() {
	tries=0
	until [ -S "$WORK/api2" ]; do sleep 0.1; done
	for round in 1 2 3 4 5 6 7 8 9 10; do
		for method in PUT DELETE; do
			answer=$("$ROOT/test/guest/lib/api" "$WORK/api2" $method /network-interfaces/eni-1 "$(
				[ $method = DELETE ] || echo "$NET"
			)")
			case $answer in 20?*) ;; 400*) ;; *) tap_fail "$method: $answer" || return 1 ;; esac
			sleep 0.1
		done
	done
	vmm_await b 'INSULA-HOTPLUG .*lo' 300 && kernel_is_calm b
}

vmm_start a --kernel "$MICRO/vmlinuz" --initrd "$MICRO/initrd.img" --memory 192M --cpus 2 --api "$WORK/api" \
	--cmdline "console=ttyS0 insula.modules=virtio_net insula.run=hotplug" --net tap=tap0
tap_case card card
tap_case disk disk
tap_case torn-out torn_out
tap_case rates rates
vmm_kill a
tap_case kernel-calm console_lacks a '(Oops|BUG:|general protection|Kernel panic|rcu.*stall)'
vmm_start b --kernel "$MICRO/vmlinuz" --initrd "$MICRO/initrd.img" --memory 192M --cpus 2 --api "$WORK/api2" \
	--cmdline "console=ttyS0 insula.modules=virtio_net insula.run=hotplug" --net tap=tap0
tap_case while-booting while_booting
vmm_kill b
tap_end
