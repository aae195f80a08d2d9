#!/bin/sh
# timeout: 600
# The CPU test suite of cpu.sh, with the interpreter alone.
export INSULA_SOFT_ENGINE=interpret
exec "$(dirname "$0")/cpu.sh"
