#!/bin/sh
# timeout: 900
exec /usr/bin/python3 "$(dirname "$0")/clients.py"
