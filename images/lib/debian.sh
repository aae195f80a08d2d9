# shellcheck shell=sh
# Debian 12 disks by mmdebstrap: a tree from the archive's packages, a stock kernel
# with a stock initrd in it, an overlay of a few files, and ext4 around it all.
#
#   debian_make UUID SIZE PACKAGES.. fills $OUT. Taken from the recipe:
#     DEBIAN_OVERLAYS  directories whose tree/ is copied over the root, and whose
#                      customize, if any, is then run with the root as its argument
#
# mmdebstrap unpacks and configures in a chroot, as root, and mounts nothing but
# /proc, /sys and /dev there, in a mount namespace of its own; where even that is not
# allowed (a plain container), it goes without.

DEBIAN_BASE="systemd-sysv udev dbus libpam-systemd kmod initramfs-tools
	linux-image-cloud-amd64 ca-certificates iproute2 iputils-ping procps less vim-tiny
	bash-completion zstd"

debian_tree() {
	tree=$1
	shift
	set -- --mode=root --variant=minbase --format=directory --keyring="$ARCHIVE_KEYS" \
		--architectures=amd64 \
		--include="$(echo "$DEBIAN_BASE" "$@" | tr -s ' \t\n' ',' | sed 's/,$//')" \
		--aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Retries "3"' \
		--aptopt='Acquire::Languages "none"' --aptopt='APT::Sandbox::User "root"' \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-include=/usr/share/doc/*/copyright' \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--setup-hook="$(debian_overlay_hook tree)" \
		--customize-hook="$(debian_overlay_hook customize)" \
		"$SUITE" "$tree"
	apt_sources | mmdebstrap "$@" -
}

# A hook is one line of shell, with the root in $1.
debian_overlay_hook() {
	for overlay in $DEBIAN_OVERLAYS; do
		case $1 in
		tree) [ ! -d "$overlay/tree" ] ||
			printf 'cp -R --no-preserve=ownership "%s/tree/." "$1/" && ' "$overlay" ;;
		customize) [ ! -f "$overlay/customize" ] ||
			printf 'sh "%s/customize" "$1" && ' "$overlay" ;;
		esac
	done
	echo true
}

# What depends on the hour and the machine of the build, and what a first boot makes.
debian_settle() {
	rm -f "$1"/etc/ssh/ssh_host_* "$1"/var/lib/systemd/random-seed "$1"/var/lib/dbus/machine-id \
		"$1"/etc/resolv.conf "$1"/var/cache/ldconfig/aux-cache "$1"/var/cache/debconf/*-old \
		"$1"/etc/*- "$1"/var/lib/dpkg/*-old "$1"/root/.bash_history
	rm -rf "$1"/var/log/* "$1"/tmp/* "$1"/run/* "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin
	rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap \
		"$1"/etc/apt/sources.list.d/*
	rm -rf "$1"/var/lib/cloud/*
	# Its package would have made this link, but had the build's own name servers before it.
	[ ! -e "$1/lib/systemd/systemd-resolved" ] ||
		ln -s ../run/systemd/resolve/stub-resolv.conf "$1/etc/resolv.conf"
	apt_stock_sources >"$1/etc/apt/sources.list"
	: >"$1/etc/machine-id"
	find "$1" -name __pycache__ -type d -prune -exec rm -rf {} +
}

# vmlinuz, vmlinux and initrd.img for each kernel; the 6.1 one has the plain names.
debian_kernels() {
	for vmlinuz in "$1"/boot/vmlinuz-*; do
		version=${vmlinuz##*/vmlinuz-}
		case $version in
		6.1.*) suffix= ;;
		*) suffix=-${version%%.*}.$(echo "$version" | cut -d . -f 2) ;;
		esac
		cp "$vmlinuz" "$OUT/vmlinuz$suffix"
		cp "$1/boot/initrd.img-$version" "$OUT/initrd$suffix.img"
		kernel_payload "$vmlinuz" >"$OUT/vmlinux$suffix"
	done
}

debian_make() {
	uuid=$1 size=$2
	shift 2
	step_run "Making a Debian tree (one to three minutes)" debian_tree "$TMP/root" "$@"
	debian_settle "$TMP/root"
	step_run "Unpacking its kernels" debian_kernels "$TMP/root"
	step_run "Making the disk" disk_make "$TMP/root" "$OUT/disk.raw" "$size" "$uuid"
}
