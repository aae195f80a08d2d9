# shellcheck shell=sh
# Debian's archive, seen apart from the host's own apt configuration: a private
# set of lists under $CACHE/apt-ARCHITECTURE, so that kernels and images come from the
# same suites on any host and nothing of the host's apt changes.
#
#   apt_sources          the sources.list that images are made with
#   apt_stock_sources    the one that is left in them
#   apt_private ARGS..   apt-get or apt-cache (first word) on the private lists
#   apt_refresh          makes the private lists, or brings them up to date
#   apt_unpack DIR NAME..  downloads packages and unpacks them over each other in DIR
#
# APT_ARCHITECTURE is amd64 unless set; i386 is taken from the main suite alone, which
# is enough for a few programs and does not have to be in step with the rest.
#
# The mirror is INSULA_MIRROR, else the one that the host itself uses for the
# suite, else deb.debian.org; INSULA_SECURITY_MIRROR likewise.

SUITE=bookworm
APT_ARCHITECTURE=amd64
ARCHIVE_KEYS=/usr/share/keyrings/debian-archive-keyring.gpg

apt_host_mirror() {
	# shellcheck disable=SC2016 # apt's own placeholders
	apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
		awk -v s="$1" '$1 == s && $2 ~ /^https?:/ { print $2; exit }'
}

apt_lines() {
	printf 'deb %s %s main\n' "$1" $SUITE "$1" $SUITE-updates "$2" $SUITE-security
}

apt_stock_sources() {
	apt_lines http://deb.debian.org/debian http://deb.debian.org/debian-security
}

apt_sources() {
	: "${INSULA_MIRROR:=$(apt_host_mirror $SUITE)}"
	: "${INSULA_SECURITY_MIRROR:=$(apt_host_mirror $SUITE-security)}"
	apt_lines "${INSULA_MIRROR:-http://deb.debian.org/debian}" \
		"${INSULA_SECURITY_MIRROR:-http://deb.debian.org/debian-security}" |
		sed "s|^deb |&[signed-by=$ARCHIVE_KEYS] |"
}

apt_private() {
	apt_tool=$1 apt_dir=$CACHE/apt-$APT_ARCHITECTURE
	shift
	"$apt_tool" -q -o Dir::State="$apt_dir/state" -o Dir::State::status="$apt_dir/status" \
		-o Dir::Cache="$apt_dir/cache" -o Dir::Etc::sourcelist="$apt_dir/sources.list" \
		-o Dir::Etc::sourceparts="$apt_dir/none" -o Dir::Etc::preferencesparts="$apt_dir/none" \
		-o APT::Architecture=$APT_ARCHITECTURE -o APT::Architectures=$APT_ARCHITECTURE \
		-o APT::Sandbox::User=root -o Acquire::Retries=3 \
		-o Acquire::Languages=none -o Acquire::Check-Valid-Until=false "$@"
}

apt_refresh() {
	apt_dir=$CACHE/apt-$APT_ARCHITECTURE
	mkdir -p "$apt_dir/state/lists/partial" "$apt_dir/cache/archives/partial" "$apt_dir/none"
	: >"$apt_dir/status"
	apt_sources | if [ $APT_ARCHITECTURE = amd64 ]; then cat; else head -n 1; fi >"$apt_dir/sources.list"
	apt_private apt-get update
}

apt_unpack() {
	apt_debs=$1.debs
	apt_into=$1
	shift
	mkdir -p "$apt_debs" "$apt_into"
	(cd "$apt_debs" && apt_private apt-get download "$@")
	for deb in "$apt_debs"/*.deb; do
		dpkg-deb -x "$deb" "$apt_into"
	done
	rm -rf "$apt_debs"
}
