#!/usr/bin/python3
"""/metrics, read with Prometheus's own parser."""
import subprocess
import urllib.error
import urllib.request

from botocore.exceptions import ClientError
from prometheus_client.parser import text_string_to_metric_families

from lab import eventually
from region import Region, Results

results = Results()
region = Region('--simulate-hosts', '3', name='metrics')


def scrape(**headers):
    """{name: {labels: value}} of what is served now."""
    with urllib.request.urlopen(urllib.request.Request(region.url + '/metrics', headers=headers)) as answer:
        text = answer.read().decode()
    return {(s.name, frozenset(s.labels.items())): s.value for f in text_string_to_metric_families(text) for s in f.samples}


def value(seen, name, **labels):
    return seen.get((name, frozenset(labels.items())))


def refused(**headers):
    try:
        scrape(**headers)
    except urllib.error.HTTPError as e:
        return e.code


try:
    image = region.restart_with_image()
    ec2 = region.client()
    ids = [i['InstanceId'] for i in ec2.run_instances(ImageId=image, InstanceType='m5.large', MinCount=3, MaxCount=3,
                                                      Placement={'AvailabilityZone': 'us-east-1b'})['Instances']]
    ec2.stop_instances(InstanceIds=ids[:1])
    ec2.modify_instance_attribute(InstanceId=ids[0], InstanceType={'Value': 't3.nano'})
    ec2.terminate_instances(InstanceIds=ids[1:2])
    for _ in range(2):
        try:
            ec2.describe_vpcs(VpcIds=['vpc-12345678'])
        except ClientError:
            pass
    region.insula('usage')
    seen = scrape()
    requests = lambda **labels: value(seen, 'insula_requests_total', **labels)
    results.equal('requests', (requests(service='ec2', action='RunInstances', code='OK'),
                               requests(service='ec2', action='DescribeVpcs', code='InvalidVpcID.NotFound'),
                               requests(service='insula', action='GetUsage', code='OK')), (1, 2, 1))
    labels = {'service': 'ec2', 'action': 'DescribeVpcs'}
    duration = 'insula_request_duration_seconds'
    buckets = [value(seen, duration + '_bucket', le=le, **labels) for le in ('0.0005', '0.01', '1', '10', '+Inf')]
    results.ok('latency', None not in buckets and buckets == sorted(buckets) and buckets[-1] == 2 ==
               value(seen, duration + '_count', **labels) and value(seen, duration + '_sum', **labels) > 0, buckets)
    instances = {k[1]: v for k, v in seen.items() if k[0] == 'insula_instances'}
    zone = {'zone': 'us-east-1b'}.items()
    results.equal('instances', instances, {frozenset({'state': 'running', 'type': 'm5.large', **dict(zone)}.items()): 1,
                                           frozenset({'state': 'stopped', 'type': 't3.nano', **dict(zone)}.items()): 1})
    results.equal('hosts', value(seen, 'insula_hosts', zone='b', state='up', simulated='true'), 1)
    results.equal('capacity', (value(seen, 'insula_host_vcpus', zone='b', use='used'), value(seen, 'insula_host_vcpus', zone='b', use='free'),
                               value(seen, 'insula_host_memory_bytes', zone='b', use='used')), (2, 382, 8 << 30))
    results.ok('database', value(seen, 'insula_database_bytes', part='main') > 4096 and
               value(seen, 'insula_database_commit_seconds_count') > 5, '')
    results.ok('reconciler', value(seen, 'insula_reconciler_pending') == 0 and value(seen, 'insula_reconciler_lag_seconds') >= 0 and
               value(seen, 'insula_reconciler_round_seconds_count') > 0, '')
    results.ok('process', value(seen, 'process_resident_memory_bytes') > 1 << 20 and value(seen, 'process_open_fds') > 3, '')

    # Each of these has a round at once; others come in between, as ever, and not after so many periods.
    for i in range(300):
        (ec2.stop_instances if i % 2 else ec2.start_instances)(InstanceIds=ids[2:])
    rounds = value(scrape(), 'insula_reconciler_round_seconds_count')
    results.ok('rounds-go-on', eventually(lambda: value(scrape(), 'insula_reconciler_round_seconds_count') > rounds + 2, 20),
               'none in 20 s')

    # What clients make up becomes no series of its own.
    for i in range(50):
        subprocess.run(['curl', '-s', '-o', '/dev/null', '-d', f'Action=Made{i}', region.url], check=True)
    made = [k for k in scrape() if 'Made' in str(k)]
    results.equal('bounded', made, [])

    results.equal('through-proxy', refused(**{'X-Forwarded-For': '192.0.2.1'}), 403)
    post = subprocess.run(['curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', '-d', 'x', region.url + '/metrics'],
                          capture_output=True, text=True).stdout
    results.equal('method', post, '405')
    region.terminate()
    region.options = ('--metrics', 'off')
    region.start()
    results.equal('off', refused(), 403)
finally:
    region.stop()
results.end()
