#!/bin/sh
# timeout: 600
# The region's API, with boto3 and the aws CLI as clients.
here=$(dirname "$0")
status=0
for test in wire model life instance volume tenancy wrong upkeep placement sdk clients firmware; do
	/usr/bin/python3 "$here/$test.py" || status=1
done
/usr/bin/python3 "$here/network.py" >/tmp/insula-network.$$ 2>&1
if [ $? -eq 0 ]; then
	echo "ok network # $(tail -n 1 /tmp/insula-network.$$)"
else
	sed 's/^/# /' /tmp/insula-network.$$
	echo "not ok network # $(tail -n 1 /tmp/insula-network.$$)"
	status=1
fi
rm -f /tmp/insula-network.$$
exit $status
