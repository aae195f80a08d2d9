#!/usr/bin/python3
"""Throttling: EC2's limits, in its words."""
from botocore.exceptions import ClientError

from region import Region, Results

results = Results()
# A hundred times less than EC2 allows: buckets are empty at once, and stay so while the test looks.
region = Region('--simulate-hosts', '3', '--throttle', '0.01', name='throttle')


def error_of(call, **parameters):
    try:
        call(**parameters)
    except ClientError as e:
        return (e.response['Error']['Code'], e.response['ResponseMetadata']['HTTPStatusCode'], e.response['Error']['Message'])


LIMIT = ('RequestLimitExceeded', 503, 'Request limit exceeded.')
try:
    image = region.restart_with_image()
    ec2 = region.client()
    copy = lambda client: error_of(client.copy_image, Name='copy', SourceImageId='ami-12345678', SourceRegion='us-east-1')
    elsewhere = region.client(region='eu-west-1')
    # CopyImage's bucket has one token here, and needs 100 seconds for the next.
    first = copy(ec2)
    results.ok('first', first and first != LIMIT, first)
    results.equal('second', copy(ec2), LIMIT)
    results.equal('actions-apart', error_of(ec2.describe_subnets), None)
    results.equal('regions-apart', copy(elsewhere), first)
    results.equal('none', error_of(ec2.create_vpc, CidrBlock='10.0.0.0/16'), LIMIT)  # half a token at most

    region.terminate()
    region.options = ('--simulate-hosts', '20', '--throttle', 'aws')
    region.start()
    ec2 = region.client()
    run = dict(ImageId=image, InstanceType='t3.nano')
    results.equal('run', error_of(ec2.run_instances, MinCount=400, MaxCount=400, **run), None)
    # 1000 tokens, and two a second: 400 and 1000 are too many for minutes.
    results.equal('instances', error_of(ec2.run_instances, MinCount=1000, MaxCount=1000, **run), LIMIT)

    region.terminate()
    region.options = ('--simulate-hosts', '3', '--throttle', 'off')
    region.start()
    ec2 = region.client()
    results.equal('off', [e for e in (error_of(ec2.describe_vpcs) for _ in range(120)) if e], [])
finally:
    region.stop()
results.end()
