#!/usr/bin/python3
"""Debian's awscli and python3-libcloud, as they are: each goes through the life of an instance."""
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback

from region import Region, Results

results = Results()
region = Region(name='clients')
ec2 = region.client()


def until(done, seconds=120):
    """Whether that came; waiters of the tools look every 15 s, this looks more often."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


def state(instance):
    """By boto3: a start of aws takes most of a second."""
    return ec2.describe_instances(InstanceIds=[instance])['Reservations'][0]['Instances'][0]['State']['Name']


class Aws:
    """The aws command in an empty home."""

    def __init__(self):
        self.home = tempfile.mkdtemp(dir=region.data)

    def run(self, *words):
        return subprocess.run(['/usr/bin/aws', '--endpoint-url', region.url, 'ec2', *words], capture_output=True, text=True,
                              env={**os.environ, **region.environment(), 'HOME': self.home, 'AWS_PAGER': ''})

    def __call__(self, *words):
        run = self.run(*words)
        if run.returncode:
            raise RuntimeError(f'aws ec2 {words[0]}: {run.stderr.strip()}')
        return run.stdout.strip()

    def text(self, *words):
        return self(*words, '--output', 'text')



def awscli():
    aws = Aws()
    image = aws.text('describe-images', '--filters', 'Name=name,Values=micro', '--query', 'Images[].ImageId')
    key = aws.text('create-key-pair', '--key-name', 'cli', '--query', 'KeyMaterial')
    results.ok('awscli-key', key.startswith('-----BEGIN'), key[:40])
    group = aws.text('create-security-group', '--group-name', 'cli', '--description', 'by the aws command')
    aws('authorize-security-group-ingress', '--group-id', group, '--protocol', 'tcp', '--port', '22', '--cidr', '0.0.0.0/0')
    one = aws.text('run-instances', '--image-id', image, '--instance-type', 'micro.64m', '--key-name', 'cli',
                   '--security-group-ids', group, '--query', 'Instances[].InstanceId')
    until(lambda: state(one) == 'running')
    aws('wait', 'instance-running', '--instance-ids', one)
    aws('create-tags', '--resources', one, '--tags', 'Key=Name,Value=cli')
    results.equal('awscli-tag', aws.text('describe-instances', '--filters', 'Name=tag:Name,Values=cli', '--query',
                                         'Reservations[].Instances[].[InstanceId,KeyName,SecurityGroups[0].GroupId]'),
                  f'{one}\tcli\t{group}')
    until(lambda: 'INSULA-INIT-REACHED' in ec2.get_console_output(InstanceId=one).get('Output', ''))
    said = aws.text('get-console-output', '--instance-id', one, '--output', 'text')
    results.ok('awscli-console', 'INSULA-INIT-REACHED' in said, said)
    aws('stop-instances', '--instance-ids', one)
    until(lambda: state(one) == 'stopped')
    aws('wait', 'instance-stopped', '--instance-ids', one)
    aws('start-instances', '--instance-ids', one)
    until(lambda: state(one) == 'running')
    table = aws('describe-instances', '--instance-ids', one, '--output', 'table')
    results.ok('awscli-start', 'running' in table, table)
    changes = json.loads(aws('terminate-instances', '--instance-ids', one, '--output', 'json'))
    results.equal('awscli-terminate', changes['TerminatingInstances'][0]['CurrentState']['Name'], 'shutting-down')
    until(lambda: state(one) == 'terminated')
    aws('wait', 'instance-terminated', '--instance-ids', one)
    aws('delete-security-group', '--group-id', group)
    aws('delete-key-pair', '--key-name', 'cli')
    wrong = aws.run('describe-instances', '--instance-ids', 'i-12345678')
    results.ok('awscli-error', wrong.returncode == 254 and '(InvalidInstanceID.NotFound)' in wrong.stderr, wrong.stderr)


def libcloud():
    from libcloud.compute.providers import get_driver
    from libcloud.compute.types import NodeState, Provider
    keys = region.environment()
    # For this region it would sign in the old way, version 2, which is not known here.
    driver = get_driver(Provider.EC2)(keys['AWS_ACCESS_KEY_ID'], keys['AWS_SECRET_ACCESS_KEY'], region='us-east-1',
                                      host='127.0.0.1', port=int(region.url.rsplit(':', 1)[1]), secure=False,
                                      signature_version='4')

    def node(i):
        return driver.list_nodes(ex_node_ids=[i])[0]

    image = [i for i in driver.list_images(ex_owner='123456789012') if i.name == 'micro'][0]
    results.ok('libcloud-zones', 'us-east-1a' in [z.name for z in driver.ex_list_availability_zones()], 'no zone a')
    key = driver.create_key_pair('lib')
    results.ok('libcloud-key', key.private_key.startswith('-----BEGIN') and len(key.fingerprint) == 59, key.fingerprint)
    group = driver.ex_create_security_group('lib', 'by libcloud')['group_id']
    driver.ex_authorize_security_group_ingress(group, 22, 22, cidr_ips=['0.0.0.0/0'], protocol='tcp')
    size = [s for s in driver.list_sizes() if s.id == 't3.nano'][0]
    subnet = [s for s in driver.ex_list_subnets() if s.extra['zone'] == 'us-east-1a'][0]
    made = driver.create_node(name='lib', image=image, size=size, ex_keyname='lib', ex_subnet=subnet,
                              ex_security_group_ids=[group])
    until(lambda: node(made.id).state == NodeState.RUNNING)
    here, addresses = driver.wait_until_running([made], wait_period=0.2, timeout=60)[0]
    results.equal('libcloud-run', (here.name, here.extra['key_name'], len(addresses)), ('lib', 'lib', 1))
    driver.ex_create_tags(made, {'colour': 'red'})
    results.equal('libcloud-tag', driver.ex_describe_tags(made).get('colour'), 'red')
    said = until(lambda: 'INSULA-INIT-REACHED' in (driver.ex_get_console_output(made)['output'] or ''))
    results.ok('libcloud-console', said, 'init was not reached')
    driver.stop_node(made)
    results.ok('libcloud-stop', until(lambda: node(made.id).state == NodeState.STOPPED), node(made.id).state)
    driver.start_node(made)
    results.ok('libcloud-start', until(lambda: node(made.id).state == NodeState.RUNNING), node(made.id).state)
    driver.reboot_node(made)
    driver.destroy_node(made)
    results.ok('libcloud-destroy', until(lambda: node(made.id).state == NodeState.TERMINATED), node(made.id).state)
    driver.ex_delete_security_group_by_id(group)
    driver.delete_key_pair(key)


try:
    region.insula('image', 'build', 'micro')
    for client in [c for c in (awscli, libcloud) if c.__name__ in sys.argv[1:] or not sys.argv[1:]]:
        try:
            client()
            results.ok(client.__name__)
        except ImportError as e:
            print(f'skip {client.__name__} # {e}')
        except Exception as e:  # of the client's own kinds
            traceback.print_exc()
            results.ok(client.__name__, False, repr(e))
finally:
    region.stop()
results.end()
