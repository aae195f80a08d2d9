#!/bin/sh
# timeout: 600
# VPCs: what the API says of a network, real instances see. Namespaces of its own; needs root.
exec /usr/bin/python3 "$(dirname "$0")/vpc.py"
