#!/usr/bin/python3
"""The Debian image as an instance: cloud-init finishes by the Ec2 data source with no error; its key, user data of several
parts, the root file system, names; and botocore in the guest takes the role's credentials from the metadata service."""
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import lab
from lab import eventually
from region import Region, Results, make_client

USER_DATA = '''Content-Type: multipart/mixed; boundary="part"
MIME-Version: 1.0

--part
Content-Type: text/x-shellscript

#!/bin/sh
echo script-ran >>/root/ran
--part
Content-Type: text/cloud-config

write_files:
  - path: /root/written
    content: by cloud-config
runcmd:
  - echo runcmd-ran >>/root/ran
--part--
'''
# What botocore needs to be taken along: Python alone, and what it knows of STS.
LIBRARIES = '/usr/lib/python3/dist-packages'
PARTS = ['botocore', 'jmespath', 'dateutil', 'urllib3', 'six.py']

here = lab.enter('debian-12')
results = Results()
region = Region(name='cloud-init')
ec2 = region.client()


def launch():
    image = region.insula('image', 'build', 'debian-12').split()[-1]
    vpc = ec2.describe_vpcs()['Vpcs'][0]['VpcId']
    here.ours = (vpc,)
    group = ec2.describe_security_groups(Filters=[{'Name': 'group-name', 'Values': ['default']}])['SecurityGroups'][0]['GroupId']
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
        {'IpProtocol': 'tcp', 'FromPort': 22, 'ToPort': 22, 'IpRanges': [{'CidrIp': '198.19.255.254/32'}]}])
    key = ec2.create_key_pair(KeyName='mine', KeyType='ed25519')['KeyMaterial']
    made = ec2.run_instances(ImageId=image, InstanceType='t3.micro', MinCount=1, MaxCount=1, KeyName='mine', UserData=USER_DATA,
                             IamInstanceProfile={'Name': 'web'},
                             BlockDeviceMappings=[{'DeviceName': '/dev/xvda', 'Ebs': {'VolumeSize': 4}}])['Instances'][0]['InstanceId']
    ec2.get_waiter('instance_running').wait(InstanceIds=[made], WaiterConfig={'Delay': 2, 'MaxAttempts': 120})
    return key, ec2.describe_instances(InstanceIds=[made])['Reservations'][0]['Instances'][0]


class Shell:
    def __init__(self, folder, key, address):
        self.key, self.folder = folder + '/key', folder
        with open(os.open(self.key, os.O_WRONLY | os.O_CREAT, 0o600), 'w') as file:
            file.write(key)
        self.to = 'admin@' + address

    def run(self, command, given=None, seconds=300):
        """A machine that reboots does not say so to who waits for it: ssh asks whether it is there still."""
        return subprocess.run(['ssh', '-i', self.key, '-o', 'StrictHostKeyChecking=no', '-o', f'UserKnownHostsFile={self.folder}/known',
                               '-o', 'ConnectTimeout=60', '-o', 'ServerAliveInterval=10', '-o', 'ServerAliveCountMax=12',
                               '-o', 'BatchMode=yes', self.to, command], input=given,
                              stdin=None if given else subprocess.DEVNULL, capture_output=True, timeout=seconds)

    def tries(self, command):
        """Its output, or nothing: a machine that goes down or comes up may not answer, or hang up."""
        try:
            return self.says(command, seconds=60)
        except subprocess.TimeoutExpired:
            return ''

    def says(self, command, **options):
        return self.run(command, **options).stdout.decode().strip()


def cloud_init(shell, instance):
    results.ok('ssh', eventually(lambda: shell.tries('echo here') == 'here', 900))
    status = shell.says('cloud-init status --wait --long', seconds=900)
    results.ok('status-done', 'status: done' in status, status)
    results.ok('data-source', 'DataSourceEc2' in status, status)
    result = json.loads(shell.says('cat /run/cloud-init/result.json'))['v1']
    results.equal('no-errors', result['errors'], [])
    results.equal('warnings', shell.says("sudo grep -E 'WARNING|ERROR|CRITICAL' /var/log/cloud-init.log"), '')
    results.equal('user-data', shell.says('sudo cat /root/ran /root/written').split('\n'), ['script-ran', 'runcmd-ran', 'by cloud-config'])
    name = instance['PrivateDnsName']
    results.equal('host-name', shell.says('hostname -f'), name)
    results.ok('disk-filled', int(shell.says("df -k --output=size / | tail -n 1")) > 3 << 20, shell.says('df -k /'))
    results.equal('instance-id', shell.says('cloud-init query instance_id'), instance['InstanceId'])
    results.equal('system', shell.says('systemctl is-system-running --wait; systemctl --failed --no-legend'), 'running')
    results.equal('names', shell.says('getent hosts instance-data.ec2.internal').split()[:1], ['169.254.169.254'])


def role(shell, instance):
    packed = subprocess.run(['tar', 'cz', '-C', LIBRARIES, '--exclude=botocore/data/*/*', '--exclude=__pycache__', *PARTS],
                            capture_output=True, check=True).stdout
    results.equal('libraries', shell.run('tar xz -C /tmp', given=packed).returncode, 0)
    said = shell.run('PYTHONPATH=/tmp python3 -', given=b'''
import botocore.session, json
c = botocore.session.get_session().get_credentials()
f = c.get_frozen_credentials()
print(json.dumps([c.method, f.access_key, f.secret_key, f.token]))
''')
    try:
        method, key, secret, token = json.loads(said.stdout)
    except ValueError:
        results.ok('role-credentials', False, said.stderr.decode()[-500:])
        return
    results.equal('role-credentials', method, 'iam-role')
    who = make_client('sts', aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token=token, endpoint_url=region.url,
                      region_name='us-east-1').get_caller_identity()
    results.equal('role-identity', who['Arn'], f'arn:aws:sts::123456789012:assumed-role/web/{instance["InstanceId"]}')


def second_boot(shell, instance):
    before = shell.says('cat /proc/sys/kernel/random/boot_id')
    ec2.reboot_instances(InstanceIds=[instance['InstanceId']])
    results.ok('reboot', eventually(lambda: shell.tries('cat /proc/sys/kernel/random/boot_id') not in ('', before), 900))
    results.ok('reboot-done', 'status: done' in shell.says('cloud-init status --wait --long', seconds=900))
    results.equal('user-data-once', shell.says('sudo grep -c script-ran /root/ran'), '1')


def main():
    with tempfile.TemporaryDirectory() as folder:
        try:
            key, instance = launch()
            shell = Shell(folder, key, instance['PublicIpAddress'])
            cloud_init(shell, instance)
            role(shell, instance)
            second_boot(shell, instance)
            ec2.terminate_instances(InstanceIds=[instance['InstanceId']])
            results.ok('nothing-left', eventually(lambda: not here.left(), 60), here.left())
        finally:
            region.stop()
    return results.end()


if __name__ == '__main__':
    main()
