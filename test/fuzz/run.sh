#!/bin/sh
# test/fuzz/run.sh [SECONDS [TARGET...]]: builds the fuzz targets with clang's libFuzzer and AddressSanitizer, and
# runs each for SECONDS (10), one after the other. A target is a test/fuzz/*.c; TARGET.dict beside it is its
# dictionary. What is found interesting is kept in build-fuzz/corpus/TARGET and used by the next run; an input that
# crashes is left in build-fuzz/crash, and ends the run with status 1.
set -eu
cd "$(dirname "$0")/../.."

seconds=${1:-10}
[ $# -eq 0 ] || shift
CC=${FUZZ_CC:-clang-14}
BUILD=${FUZZ_BUILD:-build-fuzz}
rooms='api region net host model vmm device machine soft cpu base'

command -v "$CC" >/dev/null || {
	echo "fuzz: $CC is not there (package clang)" >&2
	exit 2
}

# The rooms, with the coverage that libFuzzer steers by; only targets have its main().
reconfigure=
[ ! -e "$BUILD/build.ninja" ] || reconfigure=--reconfigure
mkdir -p "$BUILD"
CC=$CC meson setup $reconfigure "$BUILD" -Db_sanitize=address,undefined -Db_lundef=false \
	-Dc_args='-fsanitize=fuzzer-no-link' >"$BUILD/setup.log" 2>&1 || {
	cat "$BUILD/setup.log" >&2
	exit 1
}
archives=
for room in $rooms; do
	archives="$archives lib$room.a"
done
# shellcheck disable=SC2086 # a list of words
ninja -C "$BUILD" $archives >"$BUILD/ninja.log" 2>&1 || {
	grep -A5 -e '^FAILED' -e 'error:' "$BUILD/ninja.log" >&2
	exit 1
}

link=
for archive in $archives; do
	link="$link $BUILD/$archive"
done
version=$(sed -n "s/^  version: '\(.*\)',$/\1/p" meson.build)
mkdir -p "$BUILD/bin" "$BUILD/crash"
[ $# -gt 0 ] || set -- $(for f in test/fuzz/*.c; do basename "$f" .c; done)
for target; do
	# Rooms refer to each other only upward, but a group needs no order to be kept here.
	# shellcheck disable=SC2086
	"$CC" -std=gnu17 -D_GNU_SOURCE "-DINSULA_VERSION=\"$version\"" -Isrc -g -O1 -Wall -Wextra -Wshadow \
		-Wno-unused-parameter -fsanitize=fuzzer,address,undefined "test/fuzz/$target.c" -o "$BUILD/bin/$target" \
		-Wl,--start-group $link -Wl,--end-group -lZydis -luring -ljansson -lz -llzma -llz4 -lzstd -lcrypto -lssl -lseccomp -lsqlite3 -levent_core -levent_extra \
		-levent_openssl -lm -lpthread
	mkdir -p "$BUILD/corpus/$target"
	dictionary=
	[ ! -e "test/fuzz/$target.dict" ] || dictionary=-dict=test/fuzz/$target.dict
	if ! UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 "$BUILD/bin/$target" -max_total_time="$seconds" \
		-timeout=100 -rss_limit_mb=3000 -verbosity=0 -print_final_stats=1 $dictionary \
		"-artifact_prefix=$BUILD/crash/$target-" "$BUILD/corpus/$target" \
		>"$BUILD/bin/$target.log" 2>&1; then
		tail -n 60 "$BUILD/bin/$target.log" >&2
		echo "fuzz: $target: FAILED" >&2
		exit 1
	fi
	runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$BUILD/bin/$target.log")
	echo "fuzz: $target: ${runs:-0} runs, no fault"
done
