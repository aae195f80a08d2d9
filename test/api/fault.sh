#!/bin/sh
# timeout: 240
# kill -9, full and read-only disks, damaged files. In a mount namespace of its own.
here=$(dirname "$0")
if ! unshare -m true 2>/dev/null; then
	echo "skip fault # no mount namespaces"
	exit 0
fi
status=0
unshare -m --propagation private /usr/bin/python3 "$here/fault.py" "$@" || status=1
case " $*" in
*" crash"* | *" machines"* | *" disk"*) ;; # only these of fault.py
*) /usr/bin/python3 "$here/crash.py" "$@" || status=1 ;;
esac
exit $status
