#!/usr/bin/python3
"""Policies of access keys: what is allowed, what is not, and how AWS's tools are told."""
import json
import subprocess

from botocore.config import Config
from botocore.exceptions import ClientError

from region import Region, Results, make_client

results = Results()
region = Region('--simulate-hosts', '3', name='policy')


def error_of(call, **parameters):
    try:
        call(**parameters)
    except ClientError as e:
        return (e.response['Error']['Code'], e.response['ResponseMetadata']['HTTPStatusCode'])


def key(policy):
    if not isinstance(policy, str):
        with open(region.data + '/policy.json', 'w') as file:
            json.dump(policy, file)
        policy = region.data + '/policy.json'
    words = region.insula('key', 'create', '--policy', policy).split()
    return lambda service: make_client(service, endpoint_url=region.url, region_name='us-east-1', aws_access_key_id=words[0],
                                       aws_secret_access_key=words[1], config=Config(retries={'max_attempts': 1}))


def refused(*words):
    run = subprocess.run([region.program, 'key', 'create', '--data', region.data, *words], capture_output=True, text=True)
    return (run.returncode, run.stdout)


NO, DRY = ('UnauthorizedOperation', 403), ('DryRunOperation', 412)
try:
    image = region.restart_with_image()
    run = dict(ImageId=image, InstanceType='m5.large', MinCount=1, MaxCount=1)
    one, two = (region.client().run_instances(**run)['Instances'][0]['InstanceId'] for _ in range(2))

    reader = key('read-only')
    results.equal('read-only', (error_of(reader('ec2').describe_instances), error_of(reader('ec2').run_instances, **run),
                                error_of(reader('ec2').stop_instances, InstanceIds=[one])), (None, NO, NO))
    results.equal('dry-run', (error_of(reader('ec2').run_instances, DryRun=True, **run),
                              error_of(region.client().run_instances, DryRun=True, **run)), (NO, DRY))
    results.equal('who-am-i', reader('sts').get_caller_identity()['Account'], '123456789012')

    some = key({'Version': '2012-10-17', 'Statement': [
        {'Effect': 'Allow', 'Action': ['ec2:Describe*', 'ec2:RunInstances']},
        {'Sid': 'mine', 'Effect': 'Allow', 'Action': 'ec2:*Instances', 'Resource': f'arn:aws:ec2:*:*:instance/{one}'},
        {'Effect': 'Deny', 'Action': 'ec2:TerminateInstances', 'Resource': '*'}]})('ec2')
    results.equal('statements', (error_of(some.stop_instances, InstanceIds=[one]), error_of(some.stop_instances, InstanceIds=[two]),
                                 error_of(some.stop_instances, InstanceIds=[one, two]),
                                 error_of(some.terminate_instances, InstanceIds=[one]),
                                 error_of(some.create_vpc, CidrBlock='10.0.0.0/16')), (None, NO, NO, NO, NO))
    results.equal('unchanged', error_of(some.run_instances, DryRun=True, **run), DRY)

    with open(region.data + '/bad.json', 'w') as file:
        json.dump({'Statement': {'Effect': 'Allow', 'Action': '*', 'Condition': {}}}, file)
    results.equal('refused', (refused('--policy', region.data + '/bad.json'), refused('--policy', '/none')), ((1, ''), (1, '')))
finally:
    region.stop()
results.end()
