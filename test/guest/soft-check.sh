#!/bin/sh
# timeout: 700
# --soft-check: the micro image boots with interpreter and translator in lock-step, and a
# difference ends the VMM with a report.
VMM_LIMIT=${VMM_LIMIT:-600}
. "$(dirname "$0")/lib/guest.sh"
image micro

boots() {
	micro_run boot insula.run=report --kernel "$MICRO/vmlinuz" --initrd "$MICRO/initrd.img" --memory 256M --soft-check
}

reports() {
	INSULA_CHECK_SPOIL=50000 vmm_run spoilt --kernel "$MICRO/vmlinuz" --initrd "$MICRO/initrd.img" --memory 256M \
		--cmdline console=ttyS0 --soft-check
	ended_with spoilt 1 && grep -q '^soft-check: interpreter and translated code differ' "$WORK/spoilt.err" &&
		grep -q '^\* rbx' "$WORK/spoilt.err"
}

refuses() {
	vmm_run two --kernel "$MICRO/vmlinuz" --memory 256M --cpus 2 --soft-check
	[ "$STATUS" -ne 0 ] && grep -q 'soft-check takes one vCPU' "$WORK/two.err"
}

tap_case boots-in-lock-step boots
tap_case a-difference-is-reported reports
tap_case several-vcpus-are-refused refuses
tap_end
