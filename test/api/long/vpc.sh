#!/bin/sh
# timeout: 1500
# Networks that come and go, and a region that is killed at any moment. Needs root.
if [ "$(id -u)" -ne 0 ]; then
	echo "skip vpc-long # needs root"
	exit 0
fi
if ! unshare -n true 2>/dev/null; then
	echo "skip vpc-long # network namespaces cannot be made here"
	exit 0
fi
exec /usr/bin/python3 "$(dirname "$0")/vpc.py"
