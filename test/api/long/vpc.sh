#!/bin/sh
# timeout: 1500
# Networks that come and go, and a region that is killed at any moment. Needs root.
exec /usr/bin/python3 "$(dirname "$0")/vpc.py"
