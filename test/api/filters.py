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
    'DescribeSecurityGroups': {
        'ip-permission.cidr': 'IpPermissions[].IpRanges[].CidrIp', 'ip-permission.from-port': 'IpPermissions[].FromPort',
        'ip-permission.group-id': 'IpPermissions[].UserIdGroupPairs[].GroupId', 'ip-permission.group-name':
        'IpPermissions[].UserIdGroupPairs[].GroupName', 'ip-permission.ipv6-cidr': 'IpPermissions[].Ipv6Ranges[].CidrIpv6',
        'ip-permission.prefix-list-id': 'IpPermissions[].PrefixListIds[].PrefixListId', 'ip-permission.protocol':
        'IpPermissions[].IpProtocol', 'ip-permission.to-port': 'IpPermissions[].ToPort', 'ip-permission.user-id':
        'IpPermissions[].UserIdGroupPairs[].UserId', 'egress.ip-permission.cidr': 'IpPermissionsEgress[].IpRanges[].CidrIp',
        'egress.ip-permission.from-port': 'IpPermissionsEgress[].FromPort', 'egress.ip-permission.group-id':
        'IpPermissionsEgress[].UserIdGroupPairs[].GroupId', 'egress.ip-permission.group-name':
        'IpPermissionsEgress[].UserIdGroupPairs[].GroupName', 'egress.ip-permission.ipv6-cidr':
        'IpPermissionsEgress[].Ipv6Ranges[].CidrIpv6', 'egress.ip-permission.prefix-list-id':
        'IpPermissionsEgress[].PrefixListIds[].PrefixListId', 'egress.ip-permission.protocol': 'IpPermissionsEgress[].IpProtocol',
        'egress.ip-permission.to-port': 'IpPermissionsEgress[].ToPort', 'egress.ip-permission.user-id':
        'IpPermissionsEgress[].UserIdGroupPairs[].UserId'},
    'DescribeSnapshots': {'status': 'State'},
    'DescribeSubnets': {'ipv6-cidr-block-association.state': 'Ipv6CidrBlockAssociationSet[].Ipv6CidrBlockState.State'},
    'DescribeVpcs': {
        'cidr': 'CidrBlock', 'cidr-block-association.state': 'CidrBlockAssociationSet[].CidrBlockState.State',
        'ipv6-cidr-block-association.state': 'Ipv6CidrBlockAssociationSet[].Ipv6CidrBlockState.State'},
    'DescribeKeyPairs': {'fingerprint': 'KeyFingerprint'},
    'DescribeNetworkAcls': {
        'association.association-id': 'Associations[].NetworkAclAssociationId', 'default': 'IsDefault', 'entry.cidr': 'Entries[].CidrBlock',
        'entry.icmp.code': 'Entries[].IcmpTypeCode.Code', 'entry.icmp.type': 'Entries[].IcmpTypeCode.Type', 'entry.egress': 'Entries[].Egress',
        'entry.ipv6-cidr': 'Entries[].Ipv6CidrBlock', 'entry.port-range.from': 'Entries[].PortRange.From', 'entry.protocol': 'Entries[].Protocol',
        'entry.port-range.to': 'Entries[].PortRange.To', 'entry.rule-action': 'Entries[].RuleAction', 'entry.rule-number': 'Entries[].RuleNumber'},
    'DescribeDhcpOptions': {'key': 'DhcpConfigurations[].Key', 'value': 'DhcpConfigurations[].Values[].Value'},
    'DescribeVpcEndpoints': {'vpc-endpoint-state': 'State'},
    'DescribeVpcPeeringConnections': {'status-code': 'Status.Code', 'status-message': 'Status.Message'},
    'DescribeFlowLogs': {'deliver-log-status': 'DeliverLogsStatus'},
    'DescribeHosts': {'instance-type': 'HostProperties.InstanceType'},
    'DescribeInstanceStatus': {
        'instance-state-code': 'InstanceState.Code', 'instance-state-name': 'InstanceState.Name',
        'instance-status.reachability': 'InstanceStatus.Details[].Status', 'system-status.reachability': 'SystemStatus.Details[].Status'},
    'DescribeVolumeStatus': {'volume-status.details-name': 'VolumeStatus.Details[].Name', 'volume-status.details-status': 'VolumeStatus.Details[].Status'},
    'DescribeNetworkInterfacePermissions': {
        'network-interface-permission.' + name: path for name, path in (
            ('network-interface-permission-id', 'NetworkInterfacePermissionId'), ('network-interface-id', 'NetworkInterfaceId'),
            ('aws-account-id', 'AwsAccountId'), ('aws-service', 'AwsService'), ('permission', 'Permission'))},
    'DescribeVpcEndpointServices': {'service-type': 'ServiceType[].ServiceType'},
    'DescribeInstanceEventWindows': {
        'dedicated-host-id': 'AssociationTarget.DedicatedHostIds', 'event-window-name': 'Name', 'instance-id': 'AssociationTarget.InstanceIds',
        'instance-tag': 'AssociationTarget.Tags[].Value', 'instance-tag-key': 'AssociationTarget.Tags[].Key',
        'instance-tag-value': 'AssociationTarget.Tags[].Value'},
    'DescribeRouteTables': {}, 'DescribeAddresses': {}, 'DescribeInternetGateways': {}, 'DescribeNatGateways': {}, 'DescribePlacementGroups': {},
    'DescribeManagedPrefixLists': {}, 'DescribeLaunchTemplates': {}, 'DescribeVolumesModifications': {}, 'DescribeAvailabilityZones': {},
    'DescribeRegions': {}, 'DescribeCapacityReservations': {}, 'DescribeEgressOnlyInternetGateways': {},
}
# What nothing here has, whatever is made.
NEVER = {'deliver-log-status', 'ip-permission.group-name', 'egress.ip-permission.group-name', 'customer-owned-ipv4-pool', 'enable-lni-at-device-index', 'route.transit-gateway-id', 'host-reservation-id', 'parent-zoneID', 'parent-zoneName',
         'message', 'action.code', 'action.description', 'action.event-id', 'event.description', 'event.event-id', 'event.event-type', 'event.not-after',
         'event.not-before', 'event.code', 'event.instance-event-id', 'event.not-before-deadline', 'placement-group-arn', 'log-group-name',
         'network-interface-permission.aws-service', 'product-code', 'product-code.type', 'requester-id', 'network-interface.requester-id', 'kernel-id', 'ramdisk-id', 'platform',
         'instance-lifecycle', 'spot-instance-request-id', 'outpost-arn', 'state-reason-code', 'state-reason-message', 'sriov-net-support',
         'hibernation-options.configured', 'fast-restored', 'owner-alias', 'network-info.efa-info.maximum-efa-interfaces',
         # Throughput of disks is not told of types.
         *('ebs-info.ebs-optimized-info.' + n for n in (
             'baseline-bandwidth-in-mbps', 'baseline-iops', 'baseline-throughput-in-mbps', 'maximum-bandwidth-in-mbps', 'maximum-iops',
             'maximum-throughput-in-mbps')),
         'iam-instance-profile.id', 'iam-instance-profile.name', 'network-interface.outpost-arn', 'placement-partition-number'}


# Values of filters, which the documentation sets as it sets their names.
WORDS = {'true', 'false', 'io-enabled', 'io-performance', 'default', 'dedicated', 'active', 'expired', 'cancelled', 'pending', 'failed', 'unlimited',
         'limited', 'open', 'targeted'}


def documented(action):
    shape = model.operation_model(action).input_shape.members
    shape = shape.get('Filters') or shape['Filter']
    names = re.findall(r'<code>([^<]+)</code>\s*(?:&lt;[^&]*&gt;)?\s*(?:-|–|:)', shape.documentation)
    return [n.strip() for n in dict.fromkeys(names) if not n.strip().startswith('tag') and (n.strip() not in WORDS or (n, action) == ('default', 'DescribeNetworkAcls'))]


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
    parameter = 'Filters' if 'Filters' in model.operation_model(action).input_shape.members else 'Filter'
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
        # With wildcards too; of instances, of which there may be most, more of them.
        for asked in ([value], [value[:-1] + '?'], values[:2], [value.replace('*', '\\*')[:3] + '*'])[:4 if action == 'DescribeInstances' else 2]:
            pattern = [re.compile(''.join('.*' if c == '*' else '.' if c == '?' else re.escape(c) for c in a), re.S) for a in asked]
            want = {i for i, h in has.items() if any(p.fullmatch(v) for p in pattern for v in h)}
            got = {i[key] for i in listed(action, member, **{parameter: [{'Name': name, 'Values': asked}]})}
            if got != want:
                wrong.append(f'{name}={asked}: {len(got)} instead of {len(want)}')
    for line in wrong:
        print('#', action, line)
    results.ok(f'{action}-filters', not wrong, f'{len(wrong)} wrong, {wrong[:1]}')
    results.equal(f'{action}-unseen', sorted(set(unseen) - NEVER), [])
    results.ok(f'{action}-seen', len(names) > len(unseen), f'{len(names) - len(unseen)} of {len(names)}')


def neighbours(vpc, subnet, gateway, group, lone, host, instance):
    """What stands around them."""
    other = ec2.describe_vpcs(Filters=[{'Name': 'is-default', 'Values': ['true']}])['Vpcs'][0]['VpcId']
    egress = ec2.create_egress_only_internet_gateway(VpcId=vpc)['EgressOnlyInternetGateway']['EgressOnlyInternetGatewayId']
    nat = ec2.create_nat_gateway(SubnetId=subnet, ConnectivityType='private')['NatGateway']['NatGatewayId']
    peering = ec2.create_vpc_peering_connection(VpcId=vpc, PeerVpcId=other)['VpcPeeringConnection']['VpcPeeringConnectionId']
    ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=peering)
    third = ec2.create_vpc(CidrBlock='10.2.0.0/16')['Vpc']['VpcId']
    ec2.create_vpc_peering_connection(VpcId=vpc, PeerVpcId=third)
    prefixes = ec2.create_managed_prefix_list(PrefixListName='list', MaxEntries=2, AddressFamily='IPv4')['PrefixList']['PrefixListId']
    table = ec2.create_route_table(VpcId=vpc)['RouteTable']['RouteTableId']
    ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    for to, by in (({'DestinationCidrBlock': '0.0.0.0/0'}, {'GatewayId': gateway}), ({'DestinationPrefixListId': prefixes}, {'NatGatewayId': nat}),
                   ({'DestinationIpv6CidrBlock': '::/0'}, {'EgressOnlyInternetGatewayId': egress}),
                   ({'DestinationCidrBlock': '172.31.0.0/16'}, {'VpcPeeringConnectionId': peering}),
                   ({'DestinationCidrBlock': '10.7.0.0/16'}, {'InstanceId': instance})):
        ec2.create_route(RouteTableId=table, **to, **by)
    ec2.create_flow_logs(ResourceIds=[vpc], ResourceType='VPC', TrafficType='ALL', LogDestinationType='s3', LogDestination='arn:aws:s3:::b')
    ec2.create_vpc_endpoint(VpcId=vpc, ServiceName='com.amazonaws.us-east-1.s3')
    ec2.create_vpc_endpoint(VpcId=vpc, ServiceName='com.amazonaws.us-east-1.ec2', VpcEndpointType='Interface', SubnetIds=[subnet])
    ec2.create_launch_template(LaunchTemplateName='template', LaunchTemplateData={'InstanceType': 't3.small'})
    window = ec2.create_instance_event_window(Name='window', CronExpression='* 2-8 * * 1')['InstanceEventWindow']['InstanceEventWindowId']
    ec2.associate_instance_event_window(InstanceEventWindowId=window, AssociationTarget={'DedicatedHostIds': [host]})
    for n, target in enumerate(({'InstanceIds': [instance]}, {'InstanceTags': [{'Key': 'k', 'Value': 'v'}]})):
        window = ec2.create_instance_event_window(Name=f'w{n}', CronExpression='* 2-8 * * 1')['InstanceEventWindow']['InstanceEventWindowId']
        ec2.associate_instance_event_window(InstanceEventWindowId=window, AssociationTarget=target)
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
        {'IpProtocol': 'tcp', 'FromPort': 22, 'ToPort': 23, 'IpRanges': [{'CidrIp': '1.2.3.4/32'}], 'Ipv6Ranges': [{'CidrIpv6': '::/0'}],
         'UserIdGroupPairs': [{'GroupId': group}], 'PrefixListIds': [{'PrefixListId': prefixes}]}])
    ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[
        {'IpProtocol': 'udp', 'FromPort': 5, 'ToPort': 9, 'Ipv6Ranges': [{'CidrIpv6': '::/0'}], 'UserIdGroupPairs': [{'GroupId': group}],
         'PrefixListIds': [{'PrefixListId': prefixes}]}])
    acl = ec2.create_network_acl(VpcId=vpc)['NetworkAcl']['NetworkAclId']
    ec2.create_network_acl_entry(NetworkAclId=acl, RuleNumber=7, Protocol='1', RuleAction='deny', Egress=False, CidrBlock='1.0.0.0/8',
                                 IcmpTypeCode={'Type': 8, 'Code': 0})
    ec2.create_network_acl_entry(NetworkAclId=acl, RuleNumber=8, Protocol='6', RuleAction='allow', Egress=True, Ipv6CidrBlock='::/0',
                                 PortRange={'From': 1, 'To': 2})
    ec2.create_dhcp_options(DhcpConfigurations=[{'Key': 'domain-name', 'Values': ['x.y']}])
    ec2.create_placement_group(GroupName='apart', Strategy='spread')
    ec2.allocate_hosts(AvailabilityZone='us-east-1c', InstanceType='c5.large', Quantity=1, ClientToken='hosts')
    ec2.create_capacity_reservation(InstanceType='t3.micro', InstancePlatform='Linux/UNIX', InstanceCount=2, AvailabilityZone='us-east-1b',
                                    EndDate='2099-01-01T00:00:00Z', EndDateType='limited')


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
    snapshot = ec2.create_snapshot(VolumeId=volume, Description='first')['SnapshotId']
    ec2.create_volume(SnapshotId=snapshot, AvailabilityZone='us-east-1b', Encrypted=True)
    for n, kind in ((1, 'gp3'), (2, 'gp2')):
        made = ec2.register_image(Name=f'image {n}', Description=f'image {n}', RootDeviceName='/dev/xvda', Architecture='x86_64',
                                  VirtualizationType='hvm', BlockDeviceMappings=[{'DeviceName': '/dev/xvda', 'Ebs': {
                                      'SnapshotId': snapshot, 'VolumeType': kind, 'VolumeSize': 4 + n, 'DeleteOnTermination': n == 1}}])['ImageId']
    ec2.modify_image_attribute(ImageId=made, LaunchPermission={'Add': [{'Group': 'all'}]})
    lone = ec2.create_network_interface(SubnetId=subnet, Description='lone')['NetworkInterface']['NetworkInterfaceId']
    ec2.create_network_interface_permission(NetworkInterfaceId=lone, AwsAccountId='111111111111', Permission='INSTANCE-ATTACH')
    ec2.modify_volume(VolumeId=volume, Size=9)
    neighbours(vpc, subnet, gateway, group, lone, host, rich['InstanceId'])
    assert ec2.describe_instances(Filters=[{'Name': 'capacity-reservation-id', 'Values': [reserved]}])['Reservations'], own


LISTS = [('DescribeInstances', 'Reservations', 'InstanceId'), ('DescribeImages', 'Images', 'ImageId'), ('DescribeVolumes', 'Volumes', 'VolumeId'),
         ('DescribeNetworkInterfaces', 'NetworkInterfaces', 'NetworkInterfaceId'), ('DescribeInstanceTypes', 'InstanceTypes', 'InstanceType'),
         ('DescribeSecurityGroupRules', 'SecurityGroupRules', 'SecurityGroupRuleId'), ('DescribeSnapshots', 'Snapshots', 'SnapshotId'),
         ('DescribeSecurityGroups', 'SecurityGroups', 'GroupId'), ('DescribeSubnets', 'Subnets', 'SubnetId'), ('DescribeVpcs', 'Vpcs', 'VpcId'),
         ('DescribeAddresses', 'Addresses', 'AllocationId'), ('DescribeKeyPairs', 'KeyPairs', 'KeyPairId'),
         ('DescribeRouteTables', 'RouteTables', 'RouteTableId'), ('DescribeInternetGateways', 'InternetGateways', 'InternetGatewayId'),
         ('DescribeNatGateways', 'NatGateways', 'NatGatewayId'), ('DescribeNetworkAcls', 'NetworkAcls', 'NetworkAclId'),
         ('DescribeDhcpOptions', 'DhcpOptions', 'DhcpOptionsId'), ('DescribeVpcEndpoints', 'VpcEndpoints', 'VpcEndpointId'),
         ('DescribeVpcPeeringConnections', 'VpcPeeringConnections', 'VpcPeeringConnectionId'), ('DescribeFlowLogs', 'FlowLogs', 'FlowLogId'),
         ('DescribeHosts', 'Hosts', 'HostId'), ('DescribeManagedPrefixLists', 'PrefixLists', 'PrefixListId'),
         ('DescribePlacementGroups', 'PlacementGroups', 'GroupId'), ('DescribeLaunchTemplates', 'LaunchTemplates', 'LaunchTemplateId'),
         ('DescribeInstanceStatus', 'InstanceStatuses', 'InstanceId'), ('DescribeVolumeStatus', 'VolumeStatuses', 'VolumeId'),
         ('DescribeVolumesModifications', 'VolumesModifications', 'VolumeId'), ('DescribeAvailabilityZones', 'AvailabilityZones', 'ZoneName'),
         ('DescribeRegions', 'Regions', 'RegionName'), ('DescribeCapacityReservations', 'CapacityReservations', 'CapacityReservationId'),
         ('DescribeNetworkInterfacePermissions', 'NetworkInterfacePermissions', 'NetworkInterfacePermissionId'),
         ('DescribeInstanceEventWindows', 'InstanceEventWindows', 'InstanceEventWindowId')]

region = Region('--simulate-hosts', '12', '--throttle', 'off', name='filters')
try:
    image = region.restart_with_image()
    ec2 = region.client()
    world()
    for side in ('', 'egress.'):
        found = ec2.describe_security_groups(Filters=[{'Name': side + 'ip-permission.group-name', 'Values': ['spec*']}])['SecurityGroups']
        results.equal(side + 'group-name', [g['GroupName'] for g in found], ['special'])
    for action, member, key in LISTS:
        shape = model.operation_model(action).output_shape.members[member].member
        if action == 'DescribeInstances':
            shape = shape.members['Instances'].member
            PATHS[action].update({'owner-id': 'OwnerId', 'reservation-id': 'ReservationId'})
        check(action, member, key, shape)
finally:
    region.stop()
results.end()
