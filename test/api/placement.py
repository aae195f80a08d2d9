#!/usr/bin/python3
"""Placement groups on simulated hosts: who is put beside whom."""
import sqlite3
from collections import Counter


from region import Region, Results, code_of

HOSTS, RACK = 150, 16

results = Results()
region = Region('--simulate-hosts', str(HOSTS), '--throttle', 'off', name='placement')


def run(count, group='', zone=None, least=None, size='t3.micro', **placement):
    if zone:
        placement['AvailabilityZone'] = 'us-east-1' + zone
    made = ec2.run_instances(ImageId=image, InstanceType=size, MinCount=least or count, MaxCount=count,
                             Placement={'GroupName': group, **placement})['Instances']
    return [i['InstanceId'] for i in made]


def places(ids):
    """Zone and host of each: where an instance runs is not the API's to tell."""
    with sqlite3.connect(f'file:{region.data}/region.db?mode=ro', uri=True) as db:
        rows = dict((i, (zone, host)) for i, zone, host in
                    db.execute('SELECT m.instance, h.zone, h.id FROM machine m JOIN host h ON h.id = m.host'))
    db.close()
    return [rows[i] for i in ids]


def spread():
    ec2.create_placement_group(GroupName='apart', Strategy='spread')
    ids = run(21, 'apart')
    results.equal('spread-zones', sorted(Counter(zone for zone, _ in places(ids)).values()), [7, 7, 7])
    results.equal('spread-hosts', len({host for _, host in places(ids)}), 21)
    results.equal('spread-eighth', code_of(run, count=1, group='apart', zone='a'), 'InsufficientInstanceCapacity')
    in_a = [i for i, (zone, _) in zip(ids, places(ids)) if zone == 'a']
    ec2.stop_instances(InstanceIds=in_a[:1])
    results.equal('spread-after-stop', code_of(run, count=1, group='apart', zone='a'), 'success')
    results.equal('spread-start-full', code_of(ec2.start_instances, InstanceIds=in_a[:1]), 'InsufficientInstanceCapacity')
    results.equal('group-in-use', code_of(ec2.delete_placement_group, GroupName='apart'), 'InvalidPlacementGroup.InUse')


def cluster():
    ec2.create_placement_group(GroupName='close', Strategy='cluster')
    ids = run(400, 'close')
    where = places(ids)
    results.equal('cluster-zone', len({zone for zone, _ in where}), 1)
    hosts = sorted({int(host[5:]) for _, host in where})
    results.ok('cluster-hosts', len(hosts) <= 5, hosts)  # 192 fit on one that is empty
    racks = {n // 3 // RACK for n in hosts}
    results.ok('cluster-racks', max(racks) - min(racks) <= 1, racks)
    other = 'a' if where[0][0] != 'a' else 'b'
    results.equal('cluster-other-zone', code_of(run, count=1, group='close', zone=other), 'InsufficientInstanceCapacity')


def partition():
    group = ec2.create_placement_group(GroupName='parts', Strategy='partition', PartitionCount=3)['PlacementGroup']
    ids = run(30, 'parts')
    shown = {i['InstanceId']: i['Placement']['PartitionNumber'] for r in
             ec2.describe_instances(Filters=[{'Name': 'placement-group-name', 'Values': ['parts']}])['Reservations']
             for i in r['Instances']}
    results.equal('partition-even', Counter(shown.values()), {1: 10, 2: 10, 3: 10})
    on = {}
    for i, (_, host) in zip(ids, places(ids)):
        on.setdefault(host, set()).add(shown[i])
    results.equal('partition-hosts', {len(numbers) for numbers in on.values()}, {1})
    two, = run(1, PartitionNumber=2, group='parts')
    results.equal('partition-chosen', ec2.describe_instances(InstanceIds=[two])['Reservations'][0]['Instances'][0]['Placement']
                  ['PartitionNumber'], 2)
    results.equal('partition-too-high', code_of(run, count=1, group='parts', PartitionNumber=4), 'InvalidParameterValue')
    results.equal('partition-of-none', code_of(run, count=1, PartitionNumber=1), 'InvalidParameterCombination')
    ec2.stop_instances(InstanceIds=[two])
    results.equal('partition-modify', code_of(ec2.modify_instance_placement, InstanceId=two, PartitionNumber=3), 'success')
    ec2.start_instances(InstanceIds=[two])
    results.equal('partition-modified', ec2.describe_instances(Filters=[
        {'Name': 'instance-id', 'Values': [two]}, {'Name': 'placement-partition-number', 'Values': ['3']}])['Reservations'] != [], True)
    by_id = ec2.run_instances(ImageId=image, InstanceType='t3.micro', MinCount=1, MaxCount=1,
                              Placement={'GroupId': group['GroupId']})['Instances'][0]
    results.equal('group-by-id', by_id['Placement']['GroupName'], 'parts')


def room():
    """What was placed is counted once: the rows of hosts are the sum of their machines."""
    with sqlite3.connect(f'file:{region.data}/region.db?mode=ro', uri=True) as db:
        wrong = db.execute('SELECT id FROM host h WHERE used_vcpus <> (SELECT COALESCE(SUM(vcpus), 0) FROM machine m WHERE m.host = h.id) '
                           'OR used_memory <> (SELECT COALESCE(SUM(memory), 0) FROM machine m WHERE m.host = h.id)').fetchall()
    db.close()
    results.equal('room', wrong, [])


try:
    image = region.restart_with_image()
    ec2 = region.client()
    spread()
    cluster()
    partition()
    room()
finally:
    region.stop()
results.end()
