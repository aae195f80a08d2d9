#!/bin/sh
# timeout: 600
# Actions as the API Reference has them, parameter by parameter and filter by filter.
here=$(dirname "$0")
status=0
for test in launch filters tags sharing capacity termination root; do
	/usr/bin/python3 "$here/$test.py" || status=1
done
exit $status
