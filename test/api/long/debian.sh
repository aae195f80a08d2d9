#!/bin/sh
# timeout: 2400
exec /usr/bin/python3 "$(dirname "$0")/debian.py"
