#!/usr/bin/python3
"""Status checks: hosts that are lost and come back, guests that come up and fail."""
import json
import subprocess
import time

from region import Region, Results

results = Results()


def until(look, wanted):
    """What look() says when it is what is wanted, or after a minute."""
    for _ in range(300):
        seen = look()
        if seen == wanted:
            break
        time.sleep(0.2)
    return seen


def status(ec2, instance):
    return ec2.describe_instance_status(InstanceIds=[instance])['InstanceStatuses'][0]


def summary(ec2, instance):
    s = status(ec2, instance)
    return (s['SystemStatus']['Status'], s['InstanceStatus']['Status'])


def hosts(region):
    return {h['HostId']: h for h in json.loads(region.insula('hosts', '--json'))}


def lost_host():
    image = region.restart_with_image()
    ec2 = region.client()
    run = dict(ImageId=image, InstanceType='m5.large', MinCount=1, MaxCount=1, Placement={'AvailabilityZone': 'us-east-1a'})
    one = ec2.run_instances(**run)['Instances'][0]['InstanceId']
    show = lambda: ec2.describe_instances(InstanceIds=[one])['Reservations'][0]['Instances'][0]
    where = [i for i, h in hosts(region).items() if h['UsedVcpus']]
    results.equal('up', (len(where), summary(ec2, one)), (1, ('ok', 'ok')))
    host = where[0]

    region.insula('hosts', 'silence', host)
    results.equal('lost', until(lambda: summary(ec2, one), ('impaired', 'impaired')), ('impaired', 'impaired'))
    detail = status(ec2, one)['SystemStatus']['Details'][0]
    results.ok('impaired-since', detail['Status'] == 'failed' and detail['ImpairedSince'].year > 2000, detail)
    event = status(ec2, one)['Events'][0]
    results.ok('event', event['Code'] == 'instance-retirement' and host in event['Description'], event)
    results.ok('state-reason', show()['State']['Name'] == 'running' and host in show()['StateReason']['Message'], show())
    results.equal('host-lost', hosts(region)[host]['State'], 'lost')
    found = ec2.describe_instance_status(Filters=[{'Name': 'event.code', 'Values': ['instance-retirement']}])['InstanceStatuses']
    results.equal('event-filter', [s['InstanceId'] for s in found], [one])

    # It stays lost when the region is killed.
    region.kill()
    region.start()
    ec2 = region.client()
    results.equal('lost-still', until(lambda: summary(ec2, one), ('impaired', 'impaired')), ('impaired', 'impaired'))

    # Stopped and started, the instance is elsewhere.
    ec2.stop_instances(InstanceIds=[one])
    ec2.start_instances(InstanceIds=[one])
    moved = [i for i, h in hosts(region).items() if h['UsedVcpus']]
    results.ok('moved', len(moved) == 1 and moved != [host] and summary(ec2, one) == ('ok', 'ok') and 'StateReason' not in show(), moved)

    region.insula('hosts', 'wake', host)
    results.equal('back', until(lambda: hosts(region)[host]['State'], 'up'), 'up')
    wrong = subprocess.run([region.program, 'hosts', 'silence', 'h-none', '--data', region.data], capture_output=True, text=True)
    results.ok('unknown', wrong.returncode == 1 and 'does not exist' in wrong.stderr, wrong.stderr)


def guest():
    image = region.insula('image', 'build', 'micro').split()[-1]
    ec2 = region.client()
    one = ec2.run_instances(ImageId=image, InstanceType='t3.nano', MinCount=1, MaxCount=1)['Instances'][0]['InstanceId']
    look = lambda: [s['InstanceStatus']['Status'] for s in ec2.describe_instance_status(InstanceIds=[one])['InstanceStatuses']]
    results.equal('guest-up', until(look, ['ok']), ['ok'])

    def say(text):
        # Left open until it has been said: what is typed into a console that closes may be lost.
        with subprocess.Popen([region.program, 'console', one, '--data', region.data], stdin=subprocess.PIPE,
                              stdout=subprocess.DEVNULL) as console:
            console.stdin.write(f'echo {text}\n'.encode())
            console.stdin.flush()
            yield
            console.stdin.close()
            console.terminate()

    for _ in say('Kernel panic - not syncing'):
        results.equal('guest-failed', until(look, ['impaired']), ['impaired'])
    results.ok('guest-since', 'ImpairedSince' in status(ec2, one)['InstanceStatus']['Details'][0], '')
    results.equal('host-good', status(ec2, one)['SystemStatus']['Status'], 'ok')
    for _ in say('INSULA-INIT-REACHED'):
        results.equal('guest-up-again', until(look, ['ok']), ['ok'])


for test, options in ((lost_host, ('--simulate-hosts', '6', '--host-timeout', '1')), (guest, ())):
    region = Region(*options, name='status')
    try:
        test()
    finally:
        region.stop()
results.end()
