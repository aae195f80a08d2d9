#!/bin/sh
# timeout: 7200
# A kernel that changes itself at run time (programs/ says how): tracing, static keys, its BPF compiler; with 1 and 2
# CPUs, and on the newer kernel. PROGRAMS_RUN="tracing ..." runs only these.
. "$(dirname "$0")/../lib/guest.sh"
image debian-12-test
programs_disk "$(dirname "$0")/programs"
programs=${PROGRAMS_RUN:-bpf static-keys tracing}

# shellcheck disable=SC2086 # a list of words
programs_run 1cpu vmlinuz 1 1G $programs
# shellcheck disable=SC2086
programs_run 2cpu vmlinuz 2 1G $programs
# shellcheck disable=SC2086
programs_run 6.12-2cpu vmlinuz-6.12 2 1G $programs
tap_end
