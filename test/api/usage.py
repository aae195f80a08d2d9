#!/usr/bin/python3
"""Metering: what `insula usage` counts of instances that run, are killed, and change their type; with the region killed
in between."""
import json
import os
import signal
import sqlite3
import subprocess
import time

from region import Region, Results

results = Results()
region = Region(name='usage')
ec2 = region.client()


def usage(*words):
    return json.loads(region.insula('usage', '--json', *words))['Usage']


def rows(instance):
    with sqlite3.connect(f'file:{region.data}/region.db?mode=ro', uri=True) as db:
        return db.execute('SELECT type, started, ended FROM usage WHERE instance = ? ORDER BY run', [instance]).fetchall()


def seconds(runs):
    """What is billed for them: each for the seconds it has begun, and for a minute at least. A busy host makes runs longer."""
    return sum(max(60, -((started - ended) // 1000)) for _, started, ended in runs)


def start(instance):
    ec2.start_instances(InstanceIds=[instance])
    wait_for_state(instance, 'running')


def vmm(instance):
    with open(f'{region.data}/instances/{instance}/keeper') as file:
        return int(file.read().split()[2])


def wait_for_state(instance, state):
    for _ in range(600):
        found = ec2.describe_instances(InstanceIds=[instance])['Reservations'][0]['Instances'][0]
        if found['State']['Name'] == state:
            return
        time.sleep(0.1)


try:
    image = region.insula('image', 'build', 'micro').split()[-1]
    one = ec2.run_instances(ImageId=image, InstanceType='t3.nano', MinCount=1, MaxCount=1)['Instances'][0]['InstanceId']
    wait_for_state(one, 'running')
    seen = usage()
    results.equal('running', [(u['Key'], u['Owner'], u['Type'], u['Running'], u['Starts']) for u in seen],
                  [(one, '123456789012', 't3.nano', True, 1)])
    runs = [(*rows(one)[0][:2], time.time() * 1000)]
    results.ok('running-seconds', 60 <= seen[0]['Seconds'] <= seconds(runs), seen[0]['Seconds'])

    # The region is killed: the run goes on, as one.
    region.kill()
    region.start()
    ec2 = region.client()
    results.equal('kill-9-serve', [(u['Starts'], u['Running']) for u in usage()], [(1, True)])

    # The machine is killed while the region is down: its run ends then, not when that is noticed.
    region.kill()
    os.kill(vmm(one), signal.SIGKILL)
    while not os.path.exists(f'{region.data}/instances/{one}/ended'):
        time.sleep(0.05)
    ended = time.time() * 1000
    time.sleep(1.5)
    region.start()
    ec2 = region.client()
    wait_for_state(one, 'stopped')
    (_, begun, end), = rows(one)
    results.ok('kill-9-machine', begun <= end < ended + 1000, f'{begun} to {end}, it ended at {ended}')

    # Its keeper as well: nobody knows, so it ran until it was last seen.
    start(one)
    region.kill()
    for pid in region.keepers():
        os.kill(pid, signal.SIGKILL)
    ended = time.time() * 1000
    time.sleep(1.5)
    region.start()
    ec2 = region.client()
    wait_for_state(one, 'stopped')
    (_, begun, end) = rows(one)[1]
    results.ok('kill-9-keeper', begun <= end < ended + 1000, f'{begun} to {end}, it ended at {ended}')

    # A machine that dies while the region looks, then another type, then the end.
    start(one)
    os.kill(vmm(one), signal.SIGKILL)
    wait_for_state(one, 'stopped')
    ec2.modify_instance_attribute(InstanceId=one, InstanceType={'Value': 't3.micro'})
    start(one)
    ec2.terminate_instances(InstanceIds=[one])
    results.equal('terminate-ends', [r[2] > 0 for r in rows(one)], [True] * 4)
    results.equal('resize', {u['Key']: (u['Starts'], u['Seconds'], u['Running']) for u in usage('--by', 'type')},
                  {'t3.nano': (3, seconds(rows(one)[:3]), False), 't3.micro': (1, seconds(rows(one)[3:]), False)})
    results.equal('by-owner', [(u['Key'], u['Starts']) for u in usage('--by', 'owner')], [('123456789012', 4)])
    results.equal('by-day', sum(u['Seconds'] for u in usage('--by', 'day')), seconds(rows(one)))
    results.equal('window', usage('--from', '2020-01-01', '--to', '2020-02-01'), [])
    results.ok('text', one in region.insula('usage'), '')
    wrong = subprocess.run([region.program, 'usage', '--by', 'colour', '--data', region.data], capture_output=True, text=True)
    results.ok('wrong', wrong.returncode == 1 and 'must be one of' in wrong.stderr, wrong.stderr)
    unsigned = subprocess.run(['curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', '-d', 'Action=GetUsage', region.url],
                              capture_output=True, text=True).stdout
    results.ok('unsigned', unsigned in ('400', '401', '403'), unsigned)
finally:
    region.stop()
results.end()
