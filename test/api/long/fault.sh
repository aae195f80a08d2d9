#!/bin/sh
# timeout: 1800
# The faults of ../fault.sh, over and over.
exec "$(dirname "$0")/../fault.sh" --rounds 20 --requests 200
