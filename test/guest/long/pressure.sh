#!/bin/sh
# timeout: 7200
# A guest that has too little memory, and one with too many processes (programs/ says how): it is as before, afterwards.
. "$(dirname "$0")/../lib/guest.sh"
image debian-12-test
programs_disk "$(dirname "$0")/programs"

programs_run 2cpu-256M vmlinuz 2 256M memory-pressure fork-bomb
programs_run 1cpu-192M vmlinuz-6.12 1 192M memory-pressure fork-bomb
tap_end
