#!/bin/sh
# timeout: 600
# What operators see of a region: usage, metrics, limits, status checks, the log, policies.
here=$(dirname "$0")
status=0
for test in usage credit metrics throttle status log policy; do
	/usr/bin/python3 "$here/$test.py" || status=1
done
exit $status
