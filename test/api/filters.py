#!/usr/bin/python3
"""Each filter that the API Reference has for an action, with a value that something has: what comes back is what has it, all of
it and nothing else. Paths are of what the action shows, where the name of the filter is not the path already."""
import datetime
import re

import botocore.session
import jmespath
from botocore import xform_name

from region import Region, Results

results = Results()
model = botocore.session.get_session().get_service_model('ec2')
INTERFACE = 'NetworkInterfaces[].'
PATHS = {
    'DescribeInstances': {
        'availability-zone': 'Placement.AvailabilityZone', 'affinity': 'Placement.Affinity', 'host-id': 'Placement.HostId',
        'block-device-mapping.attach-time': 'BlockDeviceMappings[].Ebs.AttachTime', 'placement-group-name': 'Placement.GroupName',
        'block-device-mapping.delete-on-termination': 'BlockDeviceMappings[].Ebs.DeleteOnTermination',
        'block-device-mapping.status': 'BlockDeviceMappings[].Ebs.Status', 'dns-name': 'PublicDnsName', 'group-id': 'SecurityGroups[].GroupId',
        'block-device-mapping.volume-id': 'BlockDeviceMappings[].Ebs.VolumeId', 'group-name': 'SecurityGroups[].GroupName',
        'instance-state-code': 'State.Code', 'instance-state-name': 'State.Name', 'instance.group-id': 'SecurityGroups[].GroupId',
        'instance.group-name': 'SecurityGroups[].GroupName', 'ip-address': 'PublicIpAddress', 'launch-index': 'AmiLaunchIndex',
        'monitoring-state': 'Monitoring.State', 'placement-partition-number': 'Placement.PartitionNumber', 'reason': 'StateTransitionReason',
        'product-code': 'ProductCodes[].ProductCodeId', 'product-code.type': 'ProductCodes[].ProductCodeType', 'tenancy': 'Placement.Tenancy',
        'state-reason-code': 'StateReason.Code', 'state-reason-message': 'StateReason.Message',
        'network-interface.addresses.private-ip-address': INTERFACE + 'PrivateIpAddresses[].PrivateIpAddress',
        'network-interface.addresses.primary': INTERFACE + 'PrivateIpAddresses[].Primary',
        'network-interface.addresses.association.public-ip': INTERFACE + 'PrivateIpAddresses[].Association.PublicIp',
        'network-interface.addresses.association.ip-owner-id': INTERFACE + 'PrivateIpAddresses[].Association.IpOwnerId',
        'network-interface.attachment.instance-id': 'InstanceId', 'network-interface.attachment.instance-owner-id': INTERFACE + 'OwnerId',
        'network-interface.availability-zone': 'Placement.AvailabilityZone', 'network-interface.group-id': INTERFACE + 'Groups[].GroupId',
        'network-interface.group-name': INTERFACE + 'Groups[].GroupName', 'requester-id': 'RequesterId',
        'network-interface.requester-id': INTERFACE + 'RequesterId', 'network-interface.ipv6-addresses.ipv6-address': INTERFACE + 'Ipv6Addresses[].Ipv6Address',
        'network-interface.requester-managed': 'managed[]',
        'network-interface.association.allocation-id': 'allocations[].AllocationId',
        'network-interface.association.association-id': 'allocations[].AssociationId'},
    'DescribeImages': {
        'block-device-mapping.delete-on-termination': 'BlockDeviceMappings[].Ebs.DeleteOnTermination', 'is-public': 'Public',
        'block-device-mapping.snapshot-id': 'BlockDeviceMappings[].Ebs.SnapshotId', 'manifest-location': 'ImageLocation',
        'block-device-mapping.volume-size': 'BlockDeviceMappings[].Ebs.VolumeSize', 'owner-alias': 'ImageOwnerAlias',
        'block-device-mapping.volume-type': 'BlockDeviceMappings[].Ebs.VolumeType', 'block-device-mapping.encrypted': 'BlockDeviceMappings[].Ebs.Encrypted',
        'product-code': 'ProductCodes[].ProductCodeId', 'product-code.type': 'ProductCodes[].ProductCodeType',
        'state-reason-code': 'StateReason.Code', 'state-reason-message': 'StateReason.Message'},
    'DescribeVolumes': {'status': 'State', 'attachment.status': 'Attachments[].State'},
    'DescribeNetworkInterfaces': {
        'addresses.private-ip-address': 'PrivateIpAddresses[].PrivateIpAddress', 'addresses.primary': 'PrivateIpAddresses[].Primary',
        'addresses.association.public-ip': 'PrivateIpAddresses[].Association.PublicIp', 'group-id': 'Groups[].GroupId',
        'addresses.association.owner-id': 'PrivateIpAddresses[].Association.IpOwnerId', 'group-name': 'Groups[].GroupName'},
    'DescribeSecurityGroupRules': {},
    'DescribeInstanceTypes': {
        'instance-storage-info.disk.count': 'InstanceStorageInfo.Disks[].Count', 'instance-storage-info.disk.type': 'InstanceStorageInfo.Disks[].Type',
        'instance-storage-info.disk.size-in-gb': 'InstanceStorageInfo.Disks[].SizeInGB', 'supported-boot-mode': 'SupportedBootModes[]',
        'auto-recovery-supported': 'AutoRecoverySupported', 'network-info.efa-info.maximum-efa-interfaces': 'NetworkInfo.EfaInfo.MaximumEfaInterfaces',
        'processor-info.supported-architecture': 'ProcessorInfo.SupportedArchitectures[]'},
}
# What nothing here has, whatever is made.
NEVER = {'product-code', 'product-code.type', 'requester-id', 'network-interface.requester-id', 'kernel-id', 'ramdisk-id', 'platform',
         'instance-lifecycle', 'spot-instance-request-id', 'outpost-arn', 'state-reason-code', 'state-reason-message', 'sriov-net-support',
         'hibernation-options.configured', 'fast-restored', 'owner-alias', 'network-info.efa-info.maximum-efa-interfaces',
         # Throughput of disks is not told of types.
         *('ebs-info.ebs-optimized-info.' + n for n in (
             'baseline-bandwidth-in-mbps', 'baseline-iops', 'baseline-throughput-in-mbps', 'maximum-bandwidth-in-mbps', 'maximum-iops',
             'maximum-throughput-in-mbps')),
         'iam-instance-profile.id', 'iam-instance-profile.name', 'network-interface.outpost-arn', 'placement-partition-number'}


def documented(action):
    shape = model.operation_model(action).input_shape.members['Filters']
    names = re.findall(r'<code>([^<]+)</code>\s*(?:&lt;[^&]*&gt;)?\s*(?:-|–|:)', shape.documentation)
    return [n.strip() for n in dict.fromkeys(names) if not n.strip().startswith('tag') and n.strip() not in ('true', 'false')]


def plain(name):
    return re.sub('[^a-z0-9]', '', name.lower())


def path_of(action, name, shape):
    """By the names of the output's members: "attachment.instance-id" is Attachments[].InstanceId."""
    if name in PATHS[action]:
        return PATHS[action][name]
    path = []
    for part in name.split('.'):
        if shape.type_name == 'list':
            shape = shape.member
        member = min((m for m in shape.members if plain(m) in (plain(part), plain(part) + 's', plain(part) + 'es', plain(part) + 'set')),
                     key=len, default=None)
        if not member:
            return None
        shape = shape.members[member]
        path.append(member + ('[]' if shape.type_name == 'list' else ''))
    return '.'.join(path)


def text_of(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime.datetime):
        return value.strftime('%Y-%m-%dT%H:%M:%S.') + f'{value.microsecond // 1000:03}Z'
    return str(value)


def texts(item, path):
    found = jmespath.search(path, item)
    return {text_of(v) for v in (found if isinstance(found, list) else [found]) if v is not None and v != ''}


def listed(action, member, **parameters):
    name = xform_name(action)
    pages = ec2.get_paginator(name).paginate(**parameters) if ec2.can_paginate(name) else [getattr(ec2, name)(**parameters)]
    items = [i for page in pages for i in page[member]]
    if action != 'DescribeInstances':
        return items
    addresses = ec2.describe_addresses()['Addresses']
    return [{**i, 'OwnerId': r['OwnerId'], 'ReservationId': r['ReservationId'],
             'managed': [False for _ in i.get('NetworkInterfaces', [])],
             'allocations': [a for a in addresses if a.get('InstanceId') == i['InstanceId']]} for r in items for i in r['Instances']]


def check(action, member, key, shape):
    everything, wrong, unseen = listed(action, member), [], []
    names = documented(action)
    for name in names:
        path = path_of(action, name, shape)
        if not path:
            wrong.append(f'{name}: where?')
            continue
        has = {i[key]: texts(i, path) for i in everything}
        values = sorted(set().union(*has.values()))
        if not values:
            unseen.append(name)
            continue
        # One that not all have, if there is one; and two at once.
        value = min(values, key=lambda v: (sum(v in h for h in has.values()) == len(has), v))
        for asked in ([value], values[:2], [value[:-1] + '?'], [value.replace('*', '\\*')[:3] + '*']):
            pattern = [re.compile(''.join('.*' if c == '*' else '.' if c == '?' else re.escape(c) for c in a), re.S) for a in asked]
            want = {i for i, h in has.items() if any(p.fullmatch(v) for p in pattern for v in h)}
            got = {i[key] for i in listed(action, member, Filters=[{'Name': name, 'Values': asked}])}
            if got != want:
                wrong.append(f'{name}={asked}: {len(got)} instead of {len(want)}')
    for line in wrong:
        print('#', action, line)
    results.ok(f'{action}-filters', not wrong, f'{len(wrong)} wrong, {wrong[:1]}')
    results.equal(f'{action}-unseen', sorted(set(unseen) - NEVER), [])
    results.ok(f'{action}-seen', len(names) - len(unseen) >= SEEN[action], f'{len(names) - len(unseen)} of {len(names)}')


SEEN = {'DescribeInstances': 50, 'DescribeImages': 18, 'DescribeVolumes': 14, 'DescribeNetworkInterfaces': 28,
        'DescribeSecurityGroupRules': 2, 'DescribeInstanceTypes': 39}


def world():
    zone = {'AvailabilityZone': 'us-east-1a'}
    vpc = ec2.create_vpc(CidrBlock='10.0.0.0/16', AmazonProvidedIpv6CidrBlock=True)['Vpc']['VpcId']
    block = ec2.describe_vpcs(VpcIds=[vpc])['Vpcs'][0]['Ipv6CidrBlockAssociationSet'][0]['Ipv6CidrBlock'].replace('::/56', '::/64')
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock='10.0.1.0/24', Ipv6CidrBlock=block, **zone)['Subnet']['SubnetId']
    gateway = ec2.create_internet_gateway()['InternetGateway']['InternetGatewayId']
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    group = ec2.create_security_group(GroupName='special', Description='d', VpcId=vpc)['GroupId']
    ec2.create_key_pair(KeyName='key')
    ec2.create_placement_group(GroupName='parts', Strategy='partition', PartitionCount=2)
    host, = ec2.allocate_hosts(AvailabilityZone='us-east-1b', InstanceFamily='c5', Quantity=1)['HostIds']
    reserved = ec2.create_capacity_reservation(InstanceType='m5.large', InstancePlatform='Linux/UNIX', InstanceCount=1,
                                               **zone)['CapacityReservation']['CapacityReservationId']
    rich = ec2.run_instances(
        ImageId=image, InstanceType='m5.large', MinCount=1, MaxCount=1, KeyName='key', Placement=zone, ClientToken='token', Monitoring={'Enabled': True},
        IamInstanceProfile={'Name': 'web'}, BlockDeviceMappings=[{'DeviceName': '/dev/sdf', 'Ebs': {'VolumeSize': 3, 'DeleteOnTermination': False}}],
        NetworkInterfaces=[{'DeviceIndex': 0, 'SubnetId': subnet, 'Groups': [group], 'Description': 'first', 'Ipv6AddressCount': 1}],
        MetadataOptions={'HttpTokens': 'required', 'HttpPutResponseHopLimit': 3})['Instances'][0]
    ec2.associate_address(AllocationId=ec2.allocate_address(Domain='vpc')['AllocationId'], InstanceId=rich['InstanceId'])
    many = ec2.run_instances(ImageId=image, InstanceType='t3.micro', MinCount=3, MaxCount=3, Placement={'GroupName': 'parts'},
                             MetadataOptions={'HttpEndpoint': 'disabled'})['Instances']
    own = ec2.run_instances(ImageId=image, InstanceType='c5.large', MinCount=1, MaxCount=1,
                            Placement={'HostId': host, 'Affinity': 'host', 'Tenancy': 'host'})['Instances'][0]
    ec2.stop_instances(InstanceIds=[many[0]['InstanceId']])
    ec2.terminate_instances(InstanceIds=[many[1]['InstanceId']])
    volume = ec2.create_volume(Size=4, VolumeType='io2', Iops=100, MultiAttachEnabled=True, **zone)['VolumeId']
    snapshot = ec2.create_snapshot(VolumeId=volume)['SnapshotId']
    ec2.create_volume(SnapshotId=snapshot, AvailabilityZone='us-east-1b', Encrypted=True)
    for n, kind in ((1, 'gp3'), (2, 'gp2')):
        made = ec2.register_image(Name=f'image {n}', Description=f'image {n}', RootDeviceName='/dev/xvda', Architecture='x86_64',
                                  VirtualizationType='hvm', BlockDeviceMappings=[{'DeviceName': '/dev/xvda', 'Ebs': {
                                      'SnapshotId': snapshot, 'VolumeType': kind, 'VolumeSize': 4 + n, 'DeleteOnTermination': n == 1}}])['ImageId']
    ec2.modify_image_attribute(ImageId=made, LaunchPermission={'Add': [{'Group': 'all'}]})
    ec2.create_network_interface(SubnetId=subnet, Description='lone')
    assert ec2.describe_instances(Filters=[{'Name': 'capacity-reservation-id', 'Values': [reserved]}])['Reservations'], own


region = Region('--simulate-hosts', '9', '--throttle', 'off', name='filters')
try:
    image = region.restart_with_image()
    ec2 = region.client()
    world()
    for action, member, key in (('DescribeInstances', 'Reservations', 'InstanceId'), ('DescribeImages', 'Images', 'ImageId'),
                                ('DescribeVolumes', 'Volumes', 'VolumeId'), ('DescribeNetworkInterfaces', 'NetworkInterfaces', 'NetworkInterfaceId'),
                                ('DescribeSecurityGroupRules', 'SecurityGroupRules', 'SecurityGroupRuleId'),
                                ('DescribeInstanceTypes', 'InstanceTypes', 'InstanceType')):
        shape = model.operation_model(action).output_shape.members[member].member
        if action == 'DescribeInstances':
            shape = shape.members['Instances'].member
            PATHS[action].update({'owner-id': 'OwnerId', 'reservation-id': 'ReservationId'})
        check(action, member, key, shape)
finally:
    region.stop()
results.end()
