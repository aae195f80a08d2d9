#!/usr/bin/python3
"""The structured log: a line for each request and each state change, put aside by rotation, without secrets."""
import base64
import json
import os
import signal
import subprocess
import tempfile
import time

from botocore.exceptions import ClientError

from region import Region, Results

results = Results()
log = tempfile.mktemp(prefix='insula-log-')
region = Region('--simulate-hosts', '3', '--log', log, name='log')


def lines(path=log):
    with open(path) as file:
        return [json.loads(line) for line in file]


def requests(action, **fields):
    return [r for r in lines() if r['event'] == 'request' and r.get('action') == action and
            all(r.get(k) == v for k, v in fields.items())]


try:
    image = region.restart_with_image()
    ec2 = region.client()
    env = region.environment()
    user_data = 'secret-of-the-guest'
    one = ec2.run_instances(ImageId=image, InstanceType='m5.large', MinCount=1, MaxCount=1, UserData=user_data)
    request_id = one['ResponseMetadata']['RequestId']
    one = one['Instances'][0]['InstanceId']
    key = ec2.create_key_pair(KeyName='k')['KeyMaterial']
    ec2.stop_instances(InstanceIds=[one])
    try:
        ec2.describe_vpcs(VpcIds=['vpc-12345678'])
    except ClientError:
        pass
    wrong = subprocess.run(['curl', '-s', '-o', '/dev/null', '--aws-sigv4', 'aws:amz:us-east-1:ec2', '--user',
                            env['AWS_ACCESS_KEY_ID'] + ':wrong', '-d', 'Action=DescribeVpcs&Version=2016-11-15', region.url])

    found = requests('RunInstances')
    results.equal('request', [(r['request_id'], r['service'], r['region'], r['account'], r['key'], r['address'], r['status'], r['level'])
                              for r in found],
                  [(request_id, 'ec2', 'us-east-1', '123456789012', env['AWS_ACCESS_KEY_ID'], '127.0.0.1', 200, 'info')])
    results.ok('time', found[0]['time'].endswith('Z') and found[0]['ms'] > 0 and 'code' not in found[0], found)
    results.equal('error', [(r['status'], r['code']) for r in requests('DescribeVpcs')], [(400, 'InvalidVpcID.NotFound')])
    refused = [r for r in lines() if r.get('code') in ('SignatureDoesNotMatch', 'AuthFailure')]
    results.equal('refused', [(r['key'], r.get('account')) for r in refused], [(env['AWS_ACCESS_KEY_ID'], None)])
    states = [(r.get('from'), r['to'], r.get('code')) for r in lines() if r['event'] == 'state' and r['id'] == one]
    results.equal('states', states, [(None, 'running', None), ('running', 'stopped', 'Client.UserInitiatedShutdown')])

    # What was taken back has not been.
    try:
        ec2.terminate_instances(InstanceIds=[one], DryRun=True)
    except ClientError:
        pass
    results.equal('dry-run', [r['to'] for r in lines() if r['event'] == 'state' and r['to'] == 'terminated'], [])

    with open(log) as file:
        text = file.read()
    secrets = [user_data, base64.b64encode(user_data.encode()).decode(), env['AWS_SECRET_ACCESS_KEY'], key.splitlines()[1],
               'Signature=']
    results.equal('no-secrets', [s for s in secrets if s in text], [])
    results.equal('private', oct(os.stat(log).st_mode & 0o777), '0o600')

    os.rename(log, log + '.1')
    region.process.send_signal(signal.SIGHUP)
    for _ in range(300):
        if os.path.exists(log):
            break
        time.sleep(0.1)
    ec2.describe_subnets()
    results.ok('rotation', requests('DescribeSubnets') and not requests('RunInstances') and lines(log + '.1'), '')

    region.terminate()
    region.options = ('--simulate-hosts', '3', '--log', log, '--log-level', 'error')
    region.start()
    before = len(lines())
    region.client().describe_subnets()
    results.equal('level', len(lines()), before)
    bad = subprocess.run([region.program, 'serve', '--data', region.data + '/other', '--log', '/none/x'], capture_output=True, text=True)
    results.ok('cannot-open', bad.returncode == 1 and '/none/x' in bad.stderr, bad.stderr)
finally:
    region.stop()
    for name in (log, log + '.1'):
        if os.path.exists(name):
            os.remove(name)
results.end()
