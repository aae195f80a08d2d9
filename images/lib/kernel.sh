# shellcheck shell=sh
# Debian's stock cloud kernels, fetched and unpacked, never installed.
#
#   kernel_get SERIES    puts the newest kernel of SERIES (6.1 or 6.12) into
#                        $CACHE/kernel/SERIES, where it stays; sets KERNEL_DIR
#   kernel_payload FILE  writes the ELF image that a bzImage carries
#
# A kernel directory holds: vmlinuz (the bzImage), vmlinux (its unpacked payload,
# an ELF with a PVH entry), config, version (as uname -r gives it) and modules/
# (what goes to /lib/modules/VERSION, without depmod's tables).

kernel_series() {
	case $1 in
	6.1) echo linux-image-cloud-amd64 ;;
	6.12) echo linux-image-6.12-cloud-amd64 ;;
	*) die "no kernel series '$1' (there are 6.1 and 6.12)" ;;
	esac
}

# A little-endian 32-bit field of a file: FILE OFFSET
kernel_u32() {
	od -An -t u4 -j "$2" -N 4 --endian=little "$1" | tr -d ' '
}

# The boot protocol (Linux: Documentation/arch/x86/boot.rst): setup_sects is the
# byte at 0x1f1, payload_offset and payload_length are at 0x248 and 0x24c and count
# from the end of the setup sectors. The payload's last four bytes are its unpacked
# size, which is no part of the compressed stream (gzip carries it itself).
kernel_payload() {
	[ "$(kernel_u32 "$1" 514)" = 1400005704 ] || die "$1: not a bzImage"
	setup=$(od -An -t u1 -j 497 -N 1 "$1" | tr -d ' ')
	start=$(((setup + 1) * 512 + $(kernel_u32 "$1" 584)))
	length=$(kernel_u32 "$1" 588)
	case $(od -An -t x1 -j $start -N 4 "$1" | tr -d ' ') in
	02214c18) unpack=lz4 ;;
	28b52ffd) unpack=zstd ;;
	fd377a58) unpack=xz ;;
	1f8b08*) unpack=gzip length=$((length + 4)) ;;
	*) die "$1: its payload is packed in a way that is not known here" ;;
	esac
	tail -c +$((start + 1)) "$1" | head -c $((length - 4)) | $unpack -dc
}

kernel_unpack() {
	dir=$1 meta=$(kernel_series "$2")
	package=$(apt_private apt-cache depends "$meta" | awk '$1 == "Depends:" { print $2; exit }')
	[ -n "$package" ] || die "the archive has no $meta"
	apt_unpack "$dir/tree" "$package"
	for image in "$dir"/tree/boot/vmlinuz-*; do
		version=${image##*/vmlinuz-}
		echo "$version" >"$dir/version"
		mv "$image" "$dir/vmlinuz"
		mv "$dir/tree/boot/config-$version" "$dir/config"
		mv "$dir/tree/lib/modules/$version" "$dir/modules"
	done
	rm -rf "$dir/tree"
	kernel_payload "$dir/vmlinuz" >"$dir/vmlinux"
	[ "$(head -c 4 "$dir/vmlinux" | tail -c 3)" = ELF ] || die "$dir/vmlinux: no ELF image came out"
}

kernel_get() {
	kernel_series "$1" >/dev/null
	KERNEL_DIR=$CACHE/kernel/$1
	[ ! -f "$KERNEL_DIR/vmlinux" ] || return 0
	rm -rf "$KERNEL_DIR.new"
	mkdir -p "$KERNEL_DIR.new"
	step_run "Reading Debian's package lists" apt_refresh
	step_run "Fetching and unpacking the $1 cloud kernel" kernel_unpack "$KERNEL_DIR.new" "$1"
	mv "$KERNEL_DIR.new" "$KERNEL_DIR"
}
