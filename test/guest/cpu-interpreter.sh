#!/bin/sh
# timeout: 300
# The CPU test suite of cpu.sh, with the interpreter alone.
export INSULA_SOFT_ENGINE=interpret
exec "$(dirname "$0")/cpu.sh"
