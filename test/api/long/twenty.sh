#!/bin/sh
# timeout: 600
exec /usr/bin/python3 "$(dirname "$0")/twenty.py"
