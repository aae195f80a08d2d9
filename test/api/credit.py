#!/usr/bin/python3
"""CPU credits of a machine that runs: spent by what it takes, throttled where this host has control groups, kept when the region
is killed and when the instance is stopped."""
import json
import os
import sqlite3
import time
import urllib.request

from region import Region, Results

results = Results()
region = Region(name='credit')
ec2 = region.client()


def credits(instance):
    return json.loads(region.insula('show', instance, '--json')).get('CpuCredits')


def wait(what, condition):
    """Until it is so; what it then is. A host that is busy takes longer."""
    for _ in range(1200):
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    results.ok(what, False, 'never')
    return None


def state(instance):
    return ec2.describe_instances(InstanceIds=[instance])['Reservations'][0]['Instances'][0]['State']['Name']


def quota(instance):
    """CPU time in 100 ms that its control group allows; None: there is none."""
    with open(f'{region.data}/instances/{instance}/cgroup') as file:
        for part in file.read().rstrip('\0').split(':'):
            for path, first in ((part + '/cpu.max', True), (part.removeprefix('cpu=') + '/cpu.cfs_quota_us', False)):
                if os.path.exists(path):
                    with open(path) as value:
                        return int(value.read().split()[0])
    return None


def mode(instance, credit):
    ec2.modify_instance_credit_specification(InstanceCreditSpecifications=[{'InstanceId': instance, 'CpuCredits': credit}])


def rows():
    with sqlite3.connect(f'file:{region.data}/region.db?mode=ro', uri=True) as db:
        return [i for i, in db.execute('SELECT instance FROM cpu_credit')]


def set_balance(instance, balance):
    with sqlite3.connect(region.data + '/region.db') as db:
        db.execute('UPDATE cpu_credit SET earned = ? WHERE instance = ?', [int(balance * 60e6), instance])
    db.close()


try:
    image = region.insula('image', 'build', 'micro').split()[-1]
    limited = region.insula('doctor').splitlines()[1].startswith('yes')
    # In standard mode, and it has earned nothing yet: booting takes more than a t3.nano earns meanwhile.
    one = ec2.run_instances(ImageId=image, InstanceType='t3.nano', MinCount=1, MaxCount=1,
                            CreditSpecification={'CpuCredits': 'standard'})['Instances'][0]['InstanceId']
    seen = wait('spends', lambda: (c := credits(one)) and c['Used'] > 0 and c)
    results.equal('standard', (seen['Mode'], seen['EarnedPerHour'], seen['BaselinePercent'], seen['SurplusBalance']),
                  ('standard', 6, 5, 0))
    results.ok('balance', seen['Balance'] < 1, seen)
    if limited:
        wait('throttled', lambda: quota(one) < 250000)
    mode(one, 'unlimited')
    if limited:
        wait('unthrottled', lambda: quota(one) == 250000)
    wait('unlimited', lambda: credits(one)['Mode'] == 'unlimited')
    text = urllib.request.urlopen(region.url + '/metrics').read().decode()
    for name in ('CPUCreditBalance', 'CPUCreditUsage', 'CPUSurplusCreditBalance', 'CPUSurplusCreditsCharged'):
        results.ok('metrics-' + name, f'{name}{{InstanceId="{one}"}} ' in text, '')

    # The region is killed, and what it had written down is there; what the machine takes meanwhile is counted after.
    used = credits(one)['Used']
    region.kill()
    set_balance(one, 100)
    region.start()
    ec2 = region.client()
    seen = wait('goes-on', lambda: (c := credits(one))['Used'] > used and c)
    results.ok('kill-9-serve', 90 < seen['Balance'] <= 101, seen)
    mode(one, 'standard')
    if limited:
        # A balance that is far from spent throttles nothing.
        results.equal('plenty', quota(one), 250000)

    ec2.stop_instances(InstanceIds=[one], Force=True)
    wait('stops', lambda: state(one) == 'stopped')
    results.ok('kept-when-stopped', 90 < credits(one)['Balance'] <= 101, credits(one))
    results.ok('metrics-stopped', one not in urllib.request.urlopen(region.url + '/metrics').read().decode(), '')

    # Those of T2 begin with launch credits; other types have none.
    two, other = [ec2.run_instances(ImageId=image, InstanceType=t, MinCount=1, MaxCount=1)['Instances'][0]['InstanceId']
                  for t in ('t2.micro', 'micro.64m')]
    for i in (two, other):
        wait('runs', lambda: state(i) == 'running')
    results.ok('launch-credits', 20 < credits(two)['Balance'] <= 30.1, credits(two))
    results.equal('no-credits', credits(other), None)
    ec2.terminate_instances(InstanceIds=[one, two, other])
    for i in (one, two, other):
        wait('ends', lambda: state(i) == 'terminated')
    results.equal('gone', rows(), [])
finally:
    region.stop()
results.end()
