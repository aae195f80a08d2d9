# shellcheck shell=sh
# What a guest finds around it in a cloud, for scripts that have sourced guest.sh and called own_network: DHCP on tap0
# (10.77.0.20, router and name server 10.77.0.1, MTU 1400) and a metadata service with an ssh key, whose private half
# is $WORK/key. Both end with the script.
#
#   cloud_begin               starts them
#   in_guest [USER@] COMMAND  by ssh

cloud_begin() {
	busybox udhcpd --help >/dev/null 2>&1 || busybox --list | grep -qx udhcpd || {
		tap_skip "$(basename "$0" .sh)" "this busybox has no udhcpd"
		exit 0
	}
	cat >"$WORK/udhcpd.conf" <<-END
		start 10.77.0.20
		end 10.77.0.20
		interface tap0
		lease_file $WORK/leases
		pidfile $WORK/udhcpd.number
		opt subnet 255.255.255.0
		opt router 10.77.0.1
		opt dns 10.77.0.1
		opt hostname by-dhcp
		opt mtu 1400
	END
	: >"$WORK/leases"
	ssh-keygen -q -t ed25519 -N '' -f "$WORK/key" || exit 1
	md=$WORK/md/meta-data
	mkdir -p "$md/public-keys/0" "$md/network/interfaces/macs/02:00:00:00:00:77" "$md/placement"
	cp "$WORK/key.pub" "$md/public-keys/0/openssh-key"
	printf '0=my-key' >"$md/public-keys/.list"
	printf 'i-0123456789abcdef0' >"$md/instance-id"
	printf 'ip-10-77-0-20.ec2.internal' | tee "$md/local-hostname" >"$md/hostname"
	printf '10.77.0.20' | tee "$md/network/interfaces/macs/02:00:00:00:00:77/local-ipv4s" >"$md/local-ipv4"
	printf '0' >"$md/network/interfaces/macs/02:00:00:00:00:77/device-number"
	printf 'us-east-1a' >"$md/placement/availability-zone"
	ip address add 169.254.169.254/32 dev lo
	busybox udhcpd -f -S "$WORK/udhcpd.conf" >/dev/null 2>&1 &
	echo $! >"$WORK/dhcp.pid"
	"$ROOT/test/guest/lib/metadata-server" 169.254.169.254 "$WORK/md" >"$WORK/md.log" 2>&1 &
	echo $! >"$WORK/md.pid"
}

in_guest() {
	in_guest_user=root
	case $1 in *@) in_guest_user=${1%@} && shift ;; esac
	ssh -i "$WORK/key" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
		-o BatchMode=yes -o ConnectTimeout=60 "$in_guest_user@10.77.0.20" "$@"
}
