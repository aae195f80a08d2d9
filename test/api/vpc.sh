#!/bin/sh
# timeout: 600
# VPCs: what the API says of a network, real instances see. Namespaces of its own; needs root.
if [ "$(id -u)" -ne 0 ]; then
	echo "skip vpc # needs root"
	exit 0
fi
if ! unshare -n true 2>/dev/null; then
	echo "skip vpc # network namespaces cannot be made here"
	exit 0
fi
exec /usr/bin/python3 "$(dirname "$0")/vpc.py"
