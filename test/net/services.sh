#!/bin/sh
# timeout: 180
# `insula vpc`: DHCP, router advertisements, DNS, time and metadata, as guests on two interfaces have them.
exec /usr/bin/python3 "$(dirname "$0")/services.py"
