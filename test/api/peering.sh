#!/bin/sh
# timeout: 600
# Two VPCs and a peering between them, with real instances. Namespaces of its own; needs root.
exec /usr/bin/python3 "$(dirname "$0")/peering.py"
