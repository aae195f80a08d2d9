#!/bin/sh
# timeout: 1800
# The Debian image, told by SMBIOS that it is of EC2: cloud-init finishes with no error and the Ec2 data source; the user
# admin has the key and sudo; user data of several parts; the root file system fills its disk; a second boot is none
# for cloud-init.
VMM_LIMIT=1700
. "$(dirname "$0")/../lib/guest.sh"
. "$ROOT/test/guest/lib/cloud.sh"
image debian-12
own_network
disk_copy debian
truncate -s 3G "$DISK"
cloud_begin
cat >"$WORK/md/user-data" <<'END'
Content-Type: multipart/mixed; boundary="part"
MIME-Version: 1.0

--part
Content-Type: text/x-shellscript

#!/bin/sh
echo script-ran >>/root/ran
--part
Content-Type: text/cloud-config

write_files:
  - path: /root/written
    content: by cloud-config
runcmd:
  - echo runcmd-ran >>/root/ran
--part--
END

boot() {
	vmm_start "$1" --kernel "$IMAGE/vmlinuz" --memory 1G --cpus 2 --disk "path=$DISK" \
		--cmdline "console=ttyS0 root=/dev/nvme0n1 rw" --net tap=tap0,mac=02:00:00:00:00:77 \
		--smbios uuid=ec2a1b2c-0000-4000-8000-0123456789ab,product=t3.micro,asset=i-0123456789abcdef0
}

# Waits for ssh, then for cloud-init.
comes_up() {
	vmm_await "$1" ' login: ' 900 || return 1
	tries=0
	until in_guest admin@ 'cloud-init status --wait --long' >"$WORK/status"; do
		sleep 2
		tries=$((tries + 1))
		[ $tries -lt 60 ] || tap_fail "cloud-init: $(tr '\n' ' ' <"$WORK/status")" || return 1
	done
	cat "$WORK/status"
	grep -q '^status: done' "$WORK/status" || tap_fail "cloud-init: $(tr '\n' ' ' <"$WORK/status")" || return 1
	grep -qE 'DataSourceEc2(Local)?' "$WORK/status" || tap_fail "not the Ec2 data source: $(tr '\n' ' ' <"$WORK/status")"
}

first() {
	comes_up first || return 1
	in_guest admin@ 'sudo sh -c "hostname; cat /root/ran /root/written; jq -r .v1.errors /run/cloud-init/result.json 2>/dev/null ||
		cat /run/cloud-init/result.json; df -k / | tail -n 1; systemctl is-system-running --wait; systemctl --failed --no-legend"' >"$WORK/seen"
	cat "$WORK/seen"
	for word in ip-10-77-0-20 script-ran runcmd-ran 'by cloud-config' '"errors": \[\]' running; do
		grep -q "$word" "$WORK/seen" || tap_fail "no '$word'" || return 1
	done
	[ "$(awk '$NF == "/" { print $2 }' "$WORK/seen")" -gt 2500000 ] || tap_fail "the root file system does not fill its disk"
}

second() {
	ended_with first 0 && comes_up second || return 1
	[ "$(in_guest admin@ 'sudo grep -c script-ran /root/ran')" = 1 ] || tap_fail "user data ran again"
}

boot first
tap_case first-boot first
tap_case power-off in_guest admin@ 'sudo systemctl poweroff || true'
vmm_wait first
boot second
tap_case second-boot second
vmm_kill second
tap_end
