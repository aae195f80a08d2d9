#!/usr/bin/python3
"""Capacity reservations over simulated hosts: what they hold, who gets it, how they end."""
import datetime
import sqlite3
import time

from region import Region, Results, code_of

A, B = 'us-east-1a', 'us-east-1b'
results = Results()
BIG = 'r5.12xlarge'  # 384 GiB: one fits on a host


def equal(name, seen, wanted):
    results.equal('capacity-' + name, seen, wanted)


def reserve(count=1, type='m5.large', zone=A, **more):
    return ec2.create_capacity_reservation(InstanceType=type, InstancePlatform='Linux/UNIX', AvailabilityZone=zone,
                                           InstanceCount=count, **more)['CapacityReservation']


def run(count=1, type='m5.large', zone=A, into=None, preference=None, **more):
    spec = {'CapacityReservationTarget': {'CapacityReservationId': into}} if into else {'CapacityReservationPreference': preference or 'open'}
    return [i['InstanceId'] for i in ec2.run_instances(ImageId=image, InstanceType=type, MinCount=count, MaxCount=count,
                                                       Placement={'AvailabilityZone': zone} if zone else {},
                                                       CapacityReservationSpecification=spec, **more)['Instances']]


def show(i):
    return ec2.describe_instances(InstanceIds=[i])['Reservations'][0]['Instances'][0]


def state(c):
    c, = ec2.describe_capacity_reservations(CapacityReservationIds=[c])['CapacityReservations']
    return c['State'], c['TotalInstanceCount'], c['AvailableInstanceCount']


def room(name):
    """Rows of hosts are the sum of their machines and of slots that are free."""
    with sqlite3.connect(f'file:{region.data}/region.db?mode=ro', uri=True) as db:
        wrong = db.execute(
            'SELECT id, used_vcpus, used_memory FROM host h WHERE '
            'used_vcpus <> (SELECT COALESCE(SUM(vcpus), 0) FROM machine m WHERE m.host = h.id) + '
            "(SELECT COALESCE(SUM(vcpus), 0) FROM capacity_slot s WHERE s.host = h.id AND s.instance = '') OR "
            'used_memory <> (SELECT COALESCE(SUM(memory), 0) FROM machine m WHERE m.host = h.id) + '
            "(SELECT COALESCE(SUM(memory), 0) FROM capacity_slot s WHERE s.host = h.id AND s.instance = '')").fetchall()
    db.close()
    equal('room-' + name, wrong, [])


def holds():
    """Two hosts a zone: what is reserved nobody else gets."""
    held = reserve(2, BIG, InstanceMatchCriteria='targeted')['CapacityReservationId']
    equal('held', (code_of(run, type=BIG), code_of(run, type=BIG, zone=B), code_of(reserve, type=BIG)),
          ('InsufficientInstanceCapacity', 'success', 'InsufficientInstanceCapacity'))
    one, = run(type=BIG, into=held)
    equal('entered', (show(one)['CapacityReservationId'], show(one)['CapacityReservationSpecification'], state(held)),
          (held, {'CapacityReservationTarget': {'CapacityReservationId': held}}, ('active', 2, 1)))
    room('entered')
    run(type=BIG, into=held)
    equal('exceeded', code_of(run, type=BIG, into=held), 'ReservationCapacityExceeded')
    ec2.stop_instances(InstanceIds=[one])
    equal('stopped', (state(held), 'CapacityReservationId' in show(one), code_of(run, type=BIG)),
          (('active', 2, 1), False, 'InsufficientInstanceCapacity'))
    ec2.start_instances(InstanceIds=[one])
    equal('started', (state(held), show(one).get('CapacityReservationId')), (('active', 2, 0), held))
    room('started')
    use = ec2.get_capacity_reservation_usage(CapacityReservationId=held)
    equal('usage', (use['InstanceUsages'], use['AvailableInstanceCount'], use['TotalInstanceCount'], use['State']),
          ([{'AccountId': '123456789012', 'UsedInstanceCount': 2}], 0, 2, 'active'))
    equal('groups', ec2.get_groups_for_capacity_reservation(CapacityReservationId=held)['CapacityReservationGroups'], [])
    ec2.terminate_instances(InstanceIds=[one])
    equal('fewer', (code_of(ec2.modify_capacity_reservation, CapacityReservationId=held, InstanceCount=1), state(held), code_of(run, type=BIG)),
          ('success', ('active', 1, 0), 'success'))
    equal('too-few', [code_of(ec2.modify_capacity_reservation, CapacityReservationId=held, InstanceCount=n) for n in (0, 2)],
          ['InvalidParameterValue', 'InsufficientInstanceCapacity'])
    room('fewer')
    # Its instances go on when it ends.
    ec2.cancel_capacity_reservation(CapacityReservationId=held)
    equal('cancelled', (state(held), code_of(ec2.cancel_capacity_reservation, CapacityReservationId=held), code_of(run, type=BIG, into=held),
                        code_of(run, type=BIG)),
          (('cancelled', 1, 0), 'InvalidCapacityReservationState', 'InvalidCapacityReservationState', 'InsufficientInstanceCapacity'))
    room('cancelled')
    running = [i['InstanceId'] for r in ec2.describe_instances(Filters=[{'Name': 'instance-state-name', 'Values': ['running']}])['Reservations']
               for i in r['Instances']]
    equal('go-on', (len(running), ['CapacityReservationId' in show(i) for i in running]), (3, [False] * 3))
    ec2.terminate_instances(InstanceIds=running)


def matches():
    """Open ones take what fits: type, zone, preference, no placement group."""
    free = reserve(3, EbsOptimized=True, TagSpecifications=[{'ResourceType': 'capacity-reservation', 'Tags': [{'Key': 'Name', 'Value': 'free'}]}])
    named = reserve(1, InstanceMatchCriteria='targeted')['CapacityReservationId']
    ec2.create_placement_group(GroupName='g', Strategy='spread')
    c = free['CapacityReservationId']
    for more in ({'type': 'm5.xlarge'}, {'zone': B}, {'preference': 'none'}):
        run(**more)
    ec2.run_instances(ImageId=image, InstanceType='m5.large', MinCount=1, MaxCount=1, Placement={'AvailabilityZone': A, 'GroupName': 'g'})
    equal('open-others', (state(c), state(named)), (('active', 3, 3), ('active', 1, 1)))
    two = run(2)
    small, = run(CpuOptions={'CoreCount': 1, 'ThreadsPerCore': 1}, zone=None)
    equal('open', (state(c), state(named), {show(i)['CapacityReservationId'] for i in two + [small]}), (('active', 3, 0), ('active', 1, 1), {c}))
    room('open')
    more, = run()
    equal('open-full', 'CapacityReservationId' in show(more), False)
    ec2.stop_instances(InstanceIds=[small, more])
    room('small-stopped')
    ec2.modify_instance_capacity_reservation_attributes(InstanceId=more, CapacityReservationSpecification={
        'CapacityReservationTarget': {'CapacityReservationId': named}})
    ec2.start_instances(InstanceIds=[more])
    equal('retargeted', (show(more)['CapacityReservationId'], state(named)), (named, ('active', 1, 0)))
    equal('filters', [[x['CapacityReservationId'] for x in ec2.describe_capacity_reservations(
        Filters=[{'Name': n, 'Values': [v]}, {'Name': 'state', 'Values': ['active']}])['CapacityReservations']] for n, v in
        (('instance-type', 'm5.large'), ('instance-match-criteria', 'open'), ('tag:Name', 'free'), ('availability-zone', B), ('tenancy', 'default'))],
        [[c, named], [c], [c], [], [c, named]])
    equal('wrong', [code_of(run, into='cr-0123456789abcdef0'), code_of(run, into='x'), code_of(run, into=named, type='m5.xlarge'),
                    code_of(run, into=named, zone=B), code_of(reserve, zone='us-east-1x'), code_of(reserve, count=0),
                    code_of(reserve, type='q9.large'), code_of(reserve, EndDateType='limited'), code_of(reserve, EndDate='2020-01-01T00:00:00Z'),
                    code_of(reserve, Tenancy='dedicated'), code_of(ec2.create_capacity_reservation, InstanceType='m5.large',
                                                                   InstancePlatform='Linux/UNIX', InstanceCount=1)],
          ['InvalidCapacityReservationId.NotFound', 'InvalidCapacityReservationId.Malformed', 'InvalidParameterCombination',
           'InvalidParameterCombination', 'InvalidParameterValue', 'InvalidParameterValue', 'InvalidParameterValue',
           'InvalidParameterCombination', 'InvalidParameterValue', 'UnsupportedOperation', 'MissingParameter'])
    by_id = ec2.create_capacity_reservation(InstanceType='t3.micro', InstancePlatform='Linux/UNIX', InstanceCount=1,
                                            AvailabilityZoneId='use1-az2')['CapacityReservation']
    equal('zone-id', (by_id['AvailabilityZone'], by_id['AvailabilityZoneId']), (B, 'use1-az2'))
    return c, more


def ends(c, inside):
    """The end date ends it, though the region was down then."""
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    ec2.modify_capacity_reservation(CapacityReservationId=c, EndDate=soon, EndDateType='limited')
    equal('limited', ec2.describe_capacity_reservations(CapacityReservationIds=[c])['CapacityReservations'][0]['EndDateType'], 'limited')
    region.kill()
    with sqlite3.connect(region.data + '/region.db') as db:
        db.execute('UPDATE capacity_reservation SET ends = 1 WHERE id = ?', [c])
    db.close()
    region.start()
    globals().update(ec2=region.client())
    for _ in range(600):
        if state(c)[0] == 'expired':
            break
        time.sleep(0.1)
    equal('expired', (state(c), code_of(ec2.modify_capacity_reservation, CapacityReservationId=c, InstanceCount=1), show(inside)['State']['Name']),
          (('expired', 3, 0), 'InvalidCapacityReservationState', 'running'))
    room('expired')
    ec2.terminate_instances(InstanceIds=[i['InstanceId'] for r in ec2.describe_instances()['Reservations'] for i in r['Instances']])
    room('terminated')


region = Region('--simulate-hosts', '6', '--throttle', 'off', name='capacity')
try:
    image = region.restart_with_image()
    ec2 = region.client()
    holds()
    ends(*matches())
finally:
    region.stop()
results.end()
