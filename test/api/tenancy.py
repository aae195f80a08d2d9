#!/usr/bin/python3
"""Dedicated hosts and dedicated instances over simulated hosts, of two accounts."""
import sqlite3

from botocore.config import Config

from region import Region, Results, code_of, make_client

A, B = 'us-east-1a', 'us-east-1b'
results = Results()


def equal(name, seen, wanted):
    results.equal('tenancy-' + name, seen, wanted)


def run(client=None, type='m5.large', count=1, least=None, **placement):
    return (client or ec2).run_instances(ImageId=IMAGE, InstanceType=type, MinCount=least or count, MaxCount=count,
                                         Placement={'AvailabilityZone': A, **placement})['Instances']


def run_code(**parameters):
    return code_of(run, **parameters)


def ids(instances):
    return [i['InstanceId'] for i in instances]


def allocate(**parameters):
    return ec2.allocate_hosts(**{'AvailabilityZone': A, 'InstanceFamily': 'm5', 'Quantity': 1, **parameters})['HostIds']


def allocate_code(**parameters):
    return code_of(allocate, **parameters)


def host(h):
    return ec2.describe_hosts(HostIds=[h])['Hosts'][0]


def placement(i):
    return ec2.describe_instances(InstanceIds=[i])['Reservations'][0]['Instances'][0]['Placement']


def machines():
    """Where instances are: host by instance."""
    with sqlite3.connect(region.data + '/region.db') as db:
        return dict(db.execute("SELECT instance, host FROM machine WHERE host <> ''"))


def stop(*instances):
    ec2.stop_instances(InstanceIds=list(instances))


def other_account():
    region.terminate()
    with sqlite3.connect(region.data + '/region.db') as db:
        db.execute("INSERT INTO access_key (id, secret, account, created) VALUES ('AKIAOTHERACCOUNT0000', 'other-secret-of-forty-characters-0123456', '111111111111', 9999999999999)")
    db.close()
    region.start()
    return make_client('ec2', endpoint_url=region.url, region_name='us-east-1', aws_access_key_id='AKIAOTHERACCOUNT0000',
                       aws_secret_access_key='other-secret-of-forty-characters-0123456', config=Config(retries={'max_attempts': 1}))


def allocating():
    equal('allocate-wrong', [
        allocate_code(InstanceType='m5.large'), code_of(ec2.allocate_hosts, AvailabilityZone=A, Quantity=1), allocate_code(InstanceFamily='q9'),
        allocate_code(Quantity=0), allocate_code(AvailabilityZone='us-east-1x'), allocate_code(Quantity=50), allocate_code(Quantity=101)],
          ['InvalidParameterCombination', 'MissingParameter', 'InvalidParameterValue', 'InvalidParameterValue',
           'InvalidParameterValue', 'InsufficientHostCapacity', 'HostLimitExceeded'])
    one, = allocate(TagSpecifications=[{'ResourceType': 'dedicated-host', 'Tags': [{'Key': 'Name', 'Value': 'one'}]}], AutoPlacement='off')
    two, = ec2.allocate_hosts(AvailabilityZone=B, InstanceType='c5.xlarge', Quantity=1, HostRecovery='on')['HostIds']
    shown = host(one)
    equal('shown', (shown['State'], shown['AutoPlacement'], shown['HostProperties']['InstanceFamily'], shown['AllowsMultipleInstanceTypes'],
                    shown['AvailableCapacity']['AvailableVCpus'] - shown['HostProperties']['TotalVCpus'], shown['HostRecovery']),
          ('available', 'off', 'm5', 'on', 0, 'off'))
    by = lambda name, value: [h['HostId'] for h in ec2.describe_hosts(Filter=[{'Name': name, 'Values': [value]}])['Hosts']]
    equal('filters', [by('availability-zone', B), by('instance-type', 'c5.xlarge'), by('auto-placement', 'off'), by('tag:Name', 'one'),
                      by('state', 'released')], [[two], [two], [one], [one], []])
    return one, two


def placing(one, two):
    equal('no-automatic', run_code(Tenancy='host'), 'InsufficientHostCapacity')
    i, = ids(run(HostId=one))
    equal('on-host', {k: v for k, v in placement(i).items() if k in ('Tenancy', 'HostId', 'Affinity')},
          {'Tenancy': 'host', 'HostId': one, 'Affinity': 'default'})
    shown = host(one)
    equal('capacity', (shown['Instances'], shown['AvailableCapacity']['AvailableVCpus'] - shown['HostProperties']['TotalVCpus'],
                       [c['AvailableCapacity'] - c['TotalCapacity'] for c in shown['AvailableCapacity']['AvailableInstanceCapacity']
                        if c['InstanceType'] == 'm5.large']),
          ([{'InstanceId': i, 'InstanceType': 'm5.large', 'OwnerId': '123456789012'}], -2, [-1]))
    equal('host-wrong', [run_code(HostId=one, type='c5.xlarge'), run_code(HostId=two, type='c5.xlarge'), run_code(HostId=one, type='m5.24xlarge'),
                         run_code(HostId='h-0123456789abcdef0'), run_code(HostId='h-x'), run_code(HostId=one, Tenancy='dedicated'),
                         run_code(Affinity='host'), run_code(HostResourceGroupArn='arn:aws:x', Tenancy='host')],
          ['InvalidParameterCombination', 'InvalidParameterCombination', 'InsufficientCapacityOnHost', 'InvalidHostID.NotFound',
           'InvalidHostID.Malformed', 'InvalidParameterCombination', 'InvalidParameterCombination', 'UnsupportedOperation'])
    equal('occupied', [ec2.release_hosts(HostIds=[one])['Unsuccessful'][0]['Error']['Code'],
                       ec2.modify_hosts(HostIds=[one], InstanceFamily='c5')['Unsuccessful'][0]['Error']['Code']], ['Client.InvalidHost.Occupied'] * 2)
    equal('automatic', (ec2.modify_hosts(HostIds=[one], AutoPlacement='on')['Successful'], placement(ids(run(Tenancy='host'))[0])['HostId']),
          ([one], one))
    # As many as there is room for, if that is enough.
    equal('partly', len(run(count=100, least=1, Tenancy='host', type='m5.4xlarge')), 5)
    # Where an instance of affinity "host" starts again.
    stop(i)
    equal('affinity', [code_of(ec2.modify_instance_placement, InstanceId=i, Affinity='host', HostId=h) for h in (two, one)],
          ['InvalidParameterCombination', 'success'])
    ec2.start_instances(InstanceIds=[i])
    equal('affinity-start', (placement(i)['HostId'], placement(i)['Affinity']), (one, 'host'))
    stop(i)
    equal('to-dedicated', (code_of(ec2.modify_instance_placement, InstanceId=i, Tenancy='dedicated'), placement(i)['Tenancy'],
                           'HostId' in placement(i)), ('success', 'dedicated', False))
    ec2.terminate_instances(InstanceIds=[i for i in machines()] + [i])
    equal('release', (ec2.release_hosts(HostIds=[one, two])['Successful'], ec2.describe_hosts()['Hosts'],
                      code_of(ec2.release_hosts, HostIds=[one])), ([one, two], [], 'InvalidHostID.NotFound'))


def sharing():
    """Instances of tenancy "dedicated" share a host with those of their account at most, others never with them."""
    mine, = ids(run(Tenancy='dedicated'))
    both = ids(run(Tenancy='dedicated', count=2))
    theirs = ids(run(other, Tenancy='dedicated'))
    plain = ids(run(count=30))
    where = machines()
    equal('together', {where[i] for i in both}, {where[mine]})
    equal('apart', {where[mine]} & {where[i] for i in theirs + plain}, set())
    equal('apart-too', {where[theirs[0]]} & {where[i] for i in plain + both}, set())
    equal('default-stays', code_of(ec2.modify_instance_placement, InstanceId=plain[0], Tenancy='dedicated'), 'IncorrectInstanceState')
    stop(plain[0])
    equal('default-never', code_of(ec2.modify_instance_placement, InstanceId=plain[0], Tenancy='dedicated'), 'InvalidParameterValue')
    # Both of the other hosts of the zone are taken: nobody else can have one.
    equal('none-left', [code_of(run, client=other, type='m5.24xlarge', Tenancy='dedicated'), allocate_code()],
          ['InsufficientInstanceCapacity', 'InsufficientHostCapacity'])
    region.kill()
    region.start()
    restarted = region.client()
    equal('held-after-restart', code_of(restarted.allocate_hosts, AvailabilityZone=A, InstanceFamily='m5', Quantity=1), 'InsufficientHostCapacity')
    restarted.terminate_instances(InstanceIds=[mine, *both])
    equal('free-again', code_of(restarted.allocate_hosts, AvailabilityZone=A, InstanceFamily='m5', Quantity=1), 'success')
    equal('of-vpc', of_vpc(restarted), 'dedicated')


def of_vpc(client):
    vpc = client.create_vpc(CidrBlock='10.0.0.0/16', InstanceTenancy='dedicated')['Vpc']['VpcId']
    subnet = client.create_subnet(VpcId=vpc, CidrBlock='10.0.0.0/24', AvailabilityZone=B)['Subnet']['SubnetId']
    return client.run_instances(ImageId=IMAGE, InstanceType='m5.large', MinCount=1, MaxCount=1,
                                SubnetId=subnet)['Instances'][0]['Placement']['Tenancy']


# Three hosts in each zone.
region = Region('--simulate-hosts', '9', name='tenancy')
try:
    IMAGE = region.restart_with_image()
    other, ec2 = other_account(), region.client()
    placing(*allocating())
    sharing()
finally:
    region.stop()
results.end()
