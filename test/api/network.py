#!/usr/bin/python3
"""The network's records, as boto3 sees them: each noun's life, its filters and its errors."""
import ipaddress
import re
import sys

from botocore.exceptions import ClientError

from region import Region

passed = failed = 0
where = ''


def check(name, condition, seen=''):
    global passed, failed
    if condition:
        passed += 1
    else:
        failed += 1
        print(f'FAILED {where}: {name} {seen}')


def equal(name, seen, wanted):
    check(name, seen == wanted, f'- {seen!r}, not {wanted!r}')


def error(code, call, **parameters):
    try:
        answer = call(**parameters)
        check(f'{call.__name__} is {code}', False, f'- answered {answer!r:.200}')
    except ClientError as e:
        equal(f'{call.__name__} fails', e.response['Error']['Code'], code)
        status = e.response['ResponseMetadata']['HTTPStatusCode']
        check(f'{call.__name__} fails with a status of the client', 400 <= status < 500, status)


def filters(**pairs):
    return [{'Name': k.replace('__', '.').replace('_', '-'), 'Values': v if isinstance(v, list) else [v]}
            for k, v in pairs.items()]


def tags(kind, **pairs):
    return [{'ResourceType': kind, 'Tags': [{'Key': k, 'Value': v} for k, v in pairs.items()]}]


NONE = '0123456789abcdef0'


def default_network(ec2, server):
    vpcs = ec2.describe_vpcs(Filters=filters(is_default='true'))['Vpcs']
    equal('one default VPC', len(vpcs), 1)
    vpc = vpcs[0]
    equal('its block', vpc['CidrBlock'], '172.31.0.0/16')
    subnets = ec2.describe_subnets(Filters=filters(vpc_id=vpc['VpcId']))['Subnets']
    equal('a subnet in each zone', sorted(s['AvailabilityZone'] for s in subnets),
          ['us-east-1a', 'us-east-1b', 'us-east-1c'])
    check('default, public, /20', all(s['DefaultForAz'] and s['MapPublicIpOnLaunch'] and
                                      s['CidrBlock'].endswith('/20') for s in subnets))
    equal('all addresses are free', {s['AvailableIpAddressCount'] for s in subnets}, {4091})
    tables = ec2.describe_route_tables(Filters=filters(vpc_id=vpc['VpcId'], association__main='true'))
    routes = tables['RouteTables'][0]['Routes']
    equal('two routes', sorted(r['DestinationCidrBlock'] for r in routes), ['0.0.0.0/0', '172.31.0.0/16'])
    gateways = ec2.describe_internet_gateways(Filters=filters(attachment__vpc_id=vpc['VpcId']))
    equal('the gateway of the route', routes[1]['GatewayId'],
          gateways['InternetGateways'][0]['InternetGatewayId'])
    groups = ec2.describe_security_groups(Filters=filters(vpc_id=vpc['VpcId']))['SecurityGroups']
    equal('one group', [g['GroupName'] for g in groups], ['default'])
    acls = ec2.describe_network_acls(Filters=filters(vpc_id=vpc['VpcId'], default='true'))['NetworkAcls']
    equal('an ACL with all subnets', len(acls[0]['Associations']), 3)
    options = ec2.describe_dhcp_options(DhcpOptionsIds=[vpc['DhcpOptionsId']])['DhcpOptions'][0]
    equal('DHCP options', {o['Key']: o['Values'][0]['Value'] for o in options['DhcpConfigurations']},
          {'domain-name': 'ec2.internal', 'domain-name-servers': 'AmazonProvidedDNS'})
    for name in 'enableDnsSupport', 'enableDnsHostnames':
        answer = ec2.describe_vpc_attribute(VpcId=vpc['VpcId'], Attribute=name)
        equal(name, answer[name[0].upper() + name[1:]]['Value'], True)
    other = server.client(region='eu-west-1')
    there = other.describe_vpcs()['Vpcs']
    check('another region has its own', len(there) == 1 and there[0]['VpcId'] != vpc['VpcId'])
    error('InvalidVpcID.NotFound', other.describe_vpcs, VpcIds=[vpc['VpcId']])
    error('DefaultVpcAlreadyExists', ec2.create_default_vpc)
    error('DefaultSubnetAlreadyExistsInAvailabilityZone', ec2.create_default_subnet,
          AvailabilityZone='us-east-1a')
    # the default network goes, and comes back
    for s in other.describe_subnets()['Subnets']:
        other.delete_subnet(SubnetId=s['SubnetId'])
    igw = other.describe_internet_gateways()['InternetGateways'][0]['InternetGatewayId']
    other.detach_internet_gateway(InternetGatewayId=igw, VpcId=there[0]['VpcId'])
    route = other.describe_route_tables()['RouteTables'][0]['Routes'][1]
    equal('the route of a detached gateway', route['State'], 'blackhole')
    other.delete_internet_gateway(InternetGatewayId=igw)
    other.delete_vpc(VpcId=there[0]['VpcId'])
    error('VPCIdNotSpecified', other.create_security_group, GroupName='a', Description='b')
    error('DefaultVpcDoesNotExist', other.create_default_subnet, AvailabilityZone='eu-west-1a')
    made = other.create_default_vpc()['Vpc']
    check('a default VPC again', made['IsDefault'] and made['VpcId'] != there[0]['VpcId'])
    equal('with subnets', len(other.describe_subnets(Filters=filters(default_for_az='true'))['Subnets']), 3)
    zone = other.describe_subnets(Filters=filters(availability_zone='eu-west-1b'))['Subnets'][0]
    other.delete_subnet(SubnetId=zone['SubnetId'])
    again = other.create_default_subnet(AvailabilityZone='eu-west-1b')['Subnet']
    equal('its old block', again['CidrBlock'], zone['CidrBlock'])


def vpc(ec2, server):
    made = ec2.create_vpc(CidrBlock='10.1.2.3/16', TagSpecifications=tags('vpc', Name='one'))['Vpc']
    vpc_id = made['VpcId']
    equal('canonical block', made['CidrBlock'], '10.1.0.0/16')
    equal('tag', made['Tags'], [{'Key': 'Name', 'Value': 'one'}])
    check('not default', made['IsDefault'] is False)
    for pairs in ({'cidr': '10.1.0.0/16'}, {'cidr_block_association__cidr_block': '10.1.*'}, {'tag__Name': 'one'},
                  {'vpc_id': vpc_id}, {'is_default': 'false'}, {'state': 'avail*', 'owner_id': '*', 'is_default': 'fals?'},
                  {'dhcp_options_id': made['DhcpOptionsId'], 'cidr': '10.?.0.0/16'},
                  {'cidr_block_association__state': 'associated', 'tag_key': 'Name'}):
        f = [{'Name': x['Name'].replace('tag.', 'tag:'), 'Values': x['Values']} for x in filters(**pairs)]
        equal(f'filter {pairs}', [v['VpcId'] for v in ec2.describe_vpcs(Filters=f)['Vpcs']], [vpc_id])
    equal('no match', ec2.describe_vpcs(Filters=filters(cidr='10.9.0.0/16'))['Vpcs'], [])
    error('InvalidParameterValue', ec2.describe_vpcs, Filters=filters(nonsense='x'))
    error('InvalidVpcID.NotFound', ec2.describe_vpcs, VpcIds=['vpc-' + NONE])
    error('InvalidVpcID.Malformed', ec2.describe_vpcs, VpcIds=['vpc-xyz'])
    error('InvalidParameterValue', ec2.create_vpc, CidrBlock='10.0.0/16')
    error('InvalidVpc.Range', ec2.create_vpc, CidrBlock='10.0.0.0/8')
    error('InvalidVpc.Range', ec2.create_vpc, CidrBlock='10.0.0.0/29')
    error('MissingParameter', ec2.create_vpc)
    error('InvalidParameterValue', ec2.create_vpc, CidrBlock='10.0.0.0/16', InstanceTenancy='host')
    error('DryRunOperation', ec2.create_vpc, CidrBlock='10.0.0.0/16', DryRun=True)
    error('UnsupportedOperation', ec2.create_vpc, Ipv4IpamPoolId='ipam-pool-1', Ipv4NetmaskLength=24)
    # attributes
    get = lambda name: ec2.describe_vpc_attribute(VpcId=vpc_id, Attribute=name)[name[0].upper() + name[1:]]
    equal('DNS support', get('enableDnsSupport'), {'Value': True})
    equal('no host names', get('enableDnsHostnames'), {'Value': False})
    ec2.modify_vpc_attribute(VpcId=vpc_id, EnableDnsHostnames={'Value': True})
    ec2.modify_vpc_attribute(VpcId=vpc_id, EnableDnsSupport={'Value': False})
    equal('changed', (get('enableDnsHostnames')['Value'], get('enableDnsSupport')['Value']), (True, False))
    error('InvalidParameterCombination', ec2.modify_vpc_attribute, VpcId=vpc_id,
          EnableDnsHostnames={'Value': True}, EnableDnsSupport={'Value': True})
    error('MissingParameter', ec2.modify_vpc_attribute, VpcId=vpc_id)
    check('tenancy', ec2.modify_vpc_tenancy(VpcId=vpc_id, InstanceTenancy='default')['ReturnValue'])
    # blocks
    more = ec2.associate_vpc_cidr_block(VpcId=vpc_id, CidrBlock='10.2.0.0/16')['CidrBlockAssociation']
    error('CidrConflict', ec2.associate_vpc_cidr_block, VpcId=vpc_id, CidrBlock='10.2.128.0/20')
    error('InvalidVpc.Range', ec2.associate_vpc_cidr_block, VpcId=vpc_id, CidrBlock='10.0.0.0/9')
    table = lambda: ec2.describe_route_tables(Filters=filters(vpc_id=vpc_id))['RouteTables'][0]['Routes']
    equal('local routes', sorted(r['DestinationCidrBlock'] for r in table()), ['10.1.0.0/16', '10.2.0.0/16'])
    subnet = ec2.create_subnet(VpcId=vpc_id, CidrBlock='10.2.1.0/24')['Subnet']['SubnetId']
    error('InvalidCidrBlock.InUse', ec2.disassociate_vpc_cidr_block, AssociationId=more['AssociationId'])
    error('DependencyViolation', ec2.delete_vpc, VpcId=vpc_id)
    ec2.delete_subnet(SubnetId=subnet)
    gone = ec2.disassociate_vpc_cidr_block(AssociationId=more['AssociationId'])
    equal('state', gone['CidrBlockAssociation']['CidrBlockState']['State'], 'disassociated')
    error('InvalidVpcCidrBlockAssociationID.NotFound', ec2.disassociate_vpc_cidr_block,
          AssociationId=more['AssociationId'])
    error('OperationNotPermitted', ec2.disassociate_vpc_cidr_block,
          AssociationId=made['CidrBlockAssociationSet'][0]['AssociationId'])
    equal('local routes', len(table()), 1)
    six = ec2.associate_vpc_cidr_block(VpcId=vpc_id, AmazonProvidedIpv6CidrBlock=True)
    block = six['Ipv6CidrBlockAssociation']['Ipv6CidrBlock']
    equal('a /56', ipaddress.ip_network(block).prefixlen, 56)
    check('a local route for it', any(r.get('DestinationIpv6CidrBlock') == block for r in table()))
    acl = ec2.describe_network_acls(Filters=filters(vpc_id=vpc_id))['NetworkAcls'][0]
    equal('ACL entries of IPv6', sorted({e['RuleNumber'] for e in acl['Entries'] if 'Ipv6CidrBlock' in e}),
          [101, 32768])
    ec2.disassociate_vpc_cidr_block(AssociationId=six['Ipv6CidrBlockAssociation']['AssociationId'])
    ec2.create_tags(Resources=[vpc_id], Tags=[{'Key': 'more', 'Value': 'x'}])
    equal('tags', len(ec2.describe_vpcs(VpcIds=[vpc_id])['Vpcs'][0]['Tags']), 2)
    ec2.delete_vpc(VpcId=vpc_id)
    error('InvalidVpcID.NotFound', ec2.delete_vpc, VpcId=vpc_id)
    equal('nothing is left', ec2.describe_route_tables(Filters=filters(vpc_id=vpc_id))['RouteTables'], [])
    equal('nothing is left', ec2.describe_security_groups(Filters=filters(vpc_id=vpc_id))['SecurityGroups'], [])


def subnet(ec2, server):
    vpc = ec2.create_vpc(CidrBlock='10.3.0.0/16', AmazonProvidedIpv6CidrBlock=True)['Vpc']
    vpc_id, six = vpc['VpcId'], vpc['Ipv6CidrBlockAssociationSet'][0]['Ipv6CidrBlock']
    parts = [str(n) for n in ipaddress.ip_network(six).subnets(new_prefix=64)]
    made = ec2.create_subnet(VpcId=vpc_id, CidrBlock='10.3.1.0/24', AvailabilityZone='us-east-1b',
                             Ipv6CidrBlock=parts[1], TagSpecifications=tags('subnet', a='b'))['Subnet']
    subnet_id = made['SubnetId']
    equal('zone', (made['AvailabilityZone'], made['AvailabilityZoneId']), ('us-east-1b', 'use1-az2'))
    equal('free', made['AvailableIpAddressCount'], 251)
    equal('IPv6', made['Ipv6CidrBlockAssociationSet'][0]['Ipv6CidrBlock'], parts[1])
    error('InvalidSubnet.Conflict', ec2.create_subnet, VpcId=vpc_id, CidrBlock='10.3.1.128/25')
    error('InvalidSubnet.Conflict', ec2.create_subnet, VpcId=vpc_id, CidrBlock='10.3.2.0/24',
          Ipv6CidrBlock=parts[1])
    error('InvalidSubnet.Range', ec2.create_subnet, VpcId=vpc_id, CidrBlock='10.4.0.0/24')
    error('InvalidSubnet.Range', ec2.create_subnet, VpcId=vpc_id, CidrBlock='10.3.9.0/29')
    error('InvalidSubnet.Range', ec2.create_subnet, VpcId=vpc_id, CidrBlock='10.3.9.0/24', Ipv6CidrBlock=six)
    error('InvalidParameterValue', ec2.create_subnet, VpcId=vpc_id, CidrBlock='10.3.300.0/24')
    error('InvalidParameterValue', ec2.create_subnet, VpcId=vpc_id, CidrBlock='10.3.9.0/24',
          AvailabilityZone='us-east-1z')
    error('MissingParameter', ec2.create_subnet, VpcId=vpc_id)
    error('InvalidVpcID.NotFound', ec2.create_subnet, VpcId='vpc-' + NONE, CidrBlock='10.3.9.0/24')
    error('DryRunOperation', ec2.create_subnet, VpcId=vpc_id, CidrBlock='10.3.9.0/24', DryRun=True)
    for pairs in ({'cidr_block': '10.3.1.0/24'}, {'vpc_id': vpc_id}, {'availability_zone_id': 'use1-az2',
                  'default_for_az': 'false'}, {'ipv6_cidr_block_association__ipv6_cidr_block': parts[1]},
                  {'available_ip_address_count': '251', 'vpc_id': vpc_id}, {'subnet_arn': made['SubnetArn']}):
        equal(f'filter {pairs}', [s['SubnetId'] for s in ec2.describe_subnets(Filters=filters(**pairs))['Subnets']],
              [subnet_id])
    show = lambda: ec2.describe_subnets(SubnetIds=[subnet_id])['Subnets'][0]
    ec2.modify_subnet_attribute(SubnetId=subnet_id, MapPublicIpOnLaunch={'Value': True})
    ec2.modify_subnet_attribute(SubnetId=subnet_id, AssignIpv6AddressOnCreation={'Value': True})
    ec2.modify_subnet_attribute(SubnetId=subnet_id, EnableDns64={'Value': True})
    ec2.modify_subnet_attribute(SubnetId=subnet_id, PrivateDnsHostnameTypeOnLaunch='resource-name')
    ec2.modify_subnet_attribute(SubnetId=subnet_id, EnableResourceNameDnsARecordOnLaunch={'Value': True})
    s = show()
    check('attributes', s['MapPublicIpOnLaunch'] and s['AssignIpv6AddressOnCreation'] and s['EnableDns64'])
    equal('names', s['PrivateDnsNameOptionsOnLaunch'],
          {'HostnameType': 'resource-name', 'EnableResourceNameDnsARecord': True,
           'EnableResourceNameDnsAAAARecord': False})
    error('InvalidParameterCombination', ec2.modify_subnet_attribute, SubnetId=subnet_id,
          MapPublicIpOnLaunch={'Value': True}, EnableDns64={'Value': True})
    association = made['Ipv6CidrBlockAssociationSet'][0]['AssociationId']
    ec2.disassociate_subnet_cidr_block(AssociationId=association)
    error('InvalidSubnetCidrBlockAssociationID.NotFound', ec2.disassociate_subnet_cidr_block,
          AssociationId=association)
    error('InvalidParameterValue', ec2.modify_subnet_attribute, SubnetId=subnet_id,
          AssignIpv6AddressOnCreation={'Value': True})
    ec2.associate_subnet_cidr_block(SubnetId=subnet_id, Ipv6CidrBlock=parts[2])
    equal('another block', show()['Ipv6CidrBlockAssociationSet'][0]['Ipv6CidrBlock'], parts[2])
    native = ec2.create_subnet(VpcId=vpc_id, Ipv6CidrBlock=parts[9], Ipv6Native=True)['Subnet']
    check('IPv6 only', native['Ipv6Native'] and 'CidrBlock' not in native)
    # reservations
    reserved = ec2.create_subnet_cidr_reservation(SubnetId=subnet_id, Cidr='10.3.1.0/28',
                                                  ReservationType='explicit')['SubnetCidrReservation']
    error('InvalidParameterValue', ec2.create_subnet_cidr_reservation, SubnetId=subnet_id, Cidr='10.3.1.8/29',
          ReservationType='explicit')
    error('InvalidParameterValue', ec2.create_subnet_cidr_reservation, SubnetId=subnet_id, Cidr='10.9.1.8/29',
          ReservationType='explicit')
    eni = ec2.create_network_interface(SubnetId=subnet_id)['NetworkInterface']
    equal('an address behind the reservation', eni['PrivateIpAddress'], '10.3.1.16')
    equal('one less is free', show()['AvailableIpAddressCount'], 250)
    equal('listed', len(ec2.get_subnet_cidr_reservations(SubnetId=subnet_id)['SubnetIpv4CidrReservations']), 1)
    ec2.delete_subnet_cidr_reservation(SubnetCidrReservationId=reserved['SubnetCidrReservationId'])
    error('DependencyViolation', ec2.delete_subnet, SubnetId=subnet_id)
    ec2.delete_network_interface(NetworkInterfaceId=eni['NetworkInterfaceId'])
    equal('free again', show()['AvailableIpAddressCount'], 251)
    ec2.delete_subnet(SubnetId=subnet_id)
    ec2.delete_subnet(SubnetId=native['SubnetId'])
    error('InvalidSubnetID.NotFound', ec2.delete_subnet, SubnetId=subnet_id)
    error('InvalidSubnetID.Malformed', ec2.delete_subnet, SubnetId='subnet-1')
    ec2.delete_vpc(VpcId=vpc_id)


def security_group(ec2, server):
    vpc_id = ec2.create_vpc(CidrBlock='10.4.0.0/16')['Vpc']['VpcId']
    one = ec2.create_security_group(GroupName='one', Description='first', VpcId=vpc_id,
                                    TagSpecifications=tags('security-group', k='v'))['GroupId']
    two = ec2.create_security_group(GroupName='two', Description='second', VpcId=vpc_id)['GroupId']
    show = lambda g=one: ec2.describe_security_groups(GroupIds=[g])['SecurityGroups'][0]
    equal('egress from the start', [p['IpRanges'] for p in show()['IpPermissionsEgress']],
          [[{'CidrIp': '0.0.0.0/0'}]])
    error('InvalidGroup.Duplicate', ec2.create_security_group, GroupName='one', Description='x', VpcId=vpc_id)
    error('InvalidParameterValue', ec2.create_security_group, GroupName='sg-one', Description='x', VpcId=vpc_id)
    error('InvalidParameterValue', ec2.create_security_group, GroupName='default', Description='x', VpcId=vpc_id)
    error('InvalidParameterValue', ec2.create_security_group, GroupName='x', Description='\u00fc', VpcId=vpc_id)
    error('InvalidGroup.NotFound', ec2.describe_security_groups, GroupIds=['sg-' + NONE])
    error('InvalidGroupId.Malformed', ec2.describe_security_groups, GroupIds=['sg-1x'])
    error('InvalidGroup.NotFound', ec2.describe_security_groups, GroupNames=['none'])
    rules = ec2.authorize_security_group_ingress(GroupId=one, TagSpecifications=tags('security-group-rule', t='1'),
                                                 IpPermissions=[
        {'IpProtocol': 'tcp', 'FromPort': 22, 'ToPort': 22,
         'IpRanges': [{'CidrIp': '10.0.0.1/8', 'Description': 'inside'}, {'CidrIp': '192.0.2.7/32'}],
         'Ipv6Ranges': [{'CidrIpv6': '2001:DB8::/32'}], 'UserIdGroupPairs': [{'GroupId': two}]},
        {'IpProtocol': 'icmp', 'FromPort': 8, 'ToPort': -1, 'IpRanges': [{'CidrIp': '0.0.0.0/0'}]},
        {'IpProtocol': '17', 'FromPort': 53, 'ToPort': 54, 'UserIdGroupPairs': [{'GroupId': one}]}])
    ids = [r['SecurityGroupRuleId'] for r in rules['SecurityGroupRules']]
    equal('six rules', len(ids), 6)
    check('rule ids', all(re.fullmatch('sgr-[0-9a-f]{17}', i) for i in ids))
    permissions = {p['IpProtocol']: p for p in show()['IpPermissions']}
    equal('permissions', sorted(permissions), ['icmp', 'tcp', 'udp'])
    equal('blocks', permissions['tcp']['IpRanges'],
          [{'CidrIp': '10.0.0.0/8', 'Description': 'inside'}, {'CidrIp': '192.0.2.7/32'}])
    equal('IPv6', permissions['tcp']['Ipv6Ranges'], [{'CidrIpv6': '2001:db8::/32'}])
    equal('a group', permissions['tcp']['UserIdGroupPairs'][0]['GroupId'], two)
    for pairs in ({'ip_permission__cidr': '10.0.0.0/8'}, {'ip_permission__from_port': '22'}, {'group_name': 'one'},
                  {'ip_permission__group_id': two}, {'ip_permission__protocol': 'icmp'}, {'description': 'fir*'},
                  {'ip_permission__ipv6_cidr': '2001:db8::/32', 'vpc_id': vpc_id}):
        equal(f'filter {pairs}', [g['GroupId'] for g in
              ec2.describe_security_groups(Filters=filters(**pairs))['SecurityGroups']], [one])
    allow = ec2.authorize_security_group_ingress
    tcp = lambda **more: [{'IpProtocol': 'tcp', 'FromPort': 22, 'ToPort': 22, **more}]
    error('InvalidPermission.Duplicate', allow, GroupId=one, IpPermissions=tcp(IpRanges=[{'CidrIp': '10.0.0.0/8'}]))
    error('InvalidPermission.Duplicate', allow, GroupId=one, IpPermissions=tcp(UserIdGroupPairs=[{'GroupId': two}]))
    error('InvalidParameterValue', allow, GroupId=one,
          IpPermissions=tcp(IpRanges=[{'CidrIp': '1.1.1.1/32'}, {'CidrIp': '1.1.1.1/32'}]))
    error('InvalidParameterValue', allow, GroupId=one, IpPermissions=tcp(IpRanges=[{'CidrIp': '1.2.3.4'}]))
    error('InvalidParameterValue', allow, GroupId=one, IpPermissions=tcp(IpRanges=[{'CidrIp': '::/0'}]))
    error('InvalidParameterValue', allow, GroupId=one, IpPermissions=tcp(ToPort=21, IpRanges=[{'CidrIp': '0.0.0.0/0'}]))
    error('InvalidParameterValue', allow, GroupId=one, IpPermissions=[
        {'IpProtocol': 'tcp', 'IpRanges': [{'CidrIp': '0.0.0.0/0'}]}])
    error('InvalidParameterValue', allow, GroupId=one, IpPermissions=[
        {'IpProtocol': 'ipx', 'IpRanges': [{'CidrIp': '0.0.0.0/0'}]}])
    error('InvalidParameterValue', allow, GroupId=one, IpPermissions=[
        {'IpProtocol': 'icmp', 'FromPort': 300, 'ToPort': 0, 'IpRanges': [{'CidrIp': '0.0.0.0/0'}]}])
    error('MissingParameter', allow, GroupId=one, IpPermissions=tcp())
    error('MissingParameter', allow, GroupId=one)
    error('MissingParameter', allow)
    error('InvalidGroup.NotFound', allow, GroupId=one, IpPermissions=tcp(UserIdGroupPairs=[{'GroupId': 'sg-' + NONE}]))
    error('InvalidPrefixListID.NotFound', allow, GroupId=one,
          IpPermissions=tcp(PrefixListIds=[{'PrefixListId': 'pl-' + NONE}]))
    error('DryRunOperation', allow, GroupId=one, CidrIp='1.2.3.4/32', IpProtocol='tcp', FromPort=1, ToPort=1,
          DryRun=True)
    # the older parameters
    allow(GroupId=one, CidrIp='198.51.100.0/24', IpProtocol='tcp', FromPort=80, ToPort=80)
    listed = ec2.describe_security_group_rules(Filters=filters(group_id=one))['SecurityGroupRules']
    equal('rules', len(listed), 8)
    equal('one by its id', ec2.describe_security_group_rules(SecurityGroupRuleIds=[ids[0]])['SecurityGroupRules'][0]
          ['CidrIpv4'], '10.0.0.0/8')
    error('InvalidSecurityGroupRuleId.NotFound', ec2.describe_security_group_rules,
          SecurityGroupRuleIds=['sgr-' + NONE])
    # changes
    ec2.modify_security_group_rules(GroupId=one, SecurityGroupRules=[
        {'SecurityGroupRuleId': ids[0], 'SecurityGroupRule': {'IpProtocol': 'tcp', 'FromPort': 23, 'ToPort': 23,
                                                              'CidrIpv4': '10.0.0.0/9', 'Description': 'new'}}])
    rule = ec2.describe_security_group_rules(SecurityGroupRuleIds=[ids[0]])['SecurityGroupRules'][0]
    equal('a changed rule', (rule['CidrIpv4'], rule['FromPort'], rule['Description']), ('10.0.0.0/9', 23, 'new'))
    check('shown by the group', any(p.get('FromPort') == 23 for p in show()['IpPermissions']))
    error('InvalidPermission.Duplicate', ec2.modify_security_group_rules, GroupId=one, SecurityGroupRules=[
        {'SecurityGroupRuleId': ids[0], 'SecurityGroupRule': {'IpProtocol': 'tcp', 'FromPort': 22, 'ToPort': 22,
                                                              'CidrIpv4': '192.0.2.7/32'}}])
    ec2.update_security_group_rule_descriptions_ingress(
        GroupId=one, SecurityGroupRuleDescriptions=[{'SecurityGroupRuleId': ids[1], 'Description': 'by id'}])
    ec2.update_security_group_rule_descriptions_ingress(
        GroupId=one, IpPermissions=tcp(Ipv6Ranges=[{'CidrIpv6': '2001:db8::/32', 'Description': 'by rule'}]))
    equal('descriptions', [ec2.describe_security_group_rules(SecurityGroupRuleIds=[i])['SecurityGroupRules'][0]
                           .get('Description') for i in ids[1:3]], ['by id', 'by rule'])
    # taking away
    deny = ec2.revoke_security_group_ingress
    check('revoked', deny(GroupId=one, SecurityGroupRuleIds=[ids[0]])['Return'])
    error('InvalidSecurityGroupRuleId.NotFound', deny, GroupId=one, SecurityGroupRuleIds=[ids[0]])
    deny(GroupId=one, IpPermissions=tcp(IpRanges=[{'CidrIp': '192.0.2.7/32'}]))
    error('InvalidPermission.NotFound', deny, GroupId=one, IpPermissions=tcp(IpRanges=[{'CidrIp': '192.0.2.7/32'}]))
    unknown = deny(GroupName='default', IpPermissions=tcp(IpRanges=[{'CidrIp': '192.0.2.7/32'}]))
    equal('unknown in the default VPC', len(unknown['UnknownIpPermissions']), 1)
    error('InvalidSecurityGroupRuleId.NotFound', ec2.revoke_security_group_egress, GroupId=one,
          SecurityGroupRuleIds=[ids[2]])
    ec2.authorize_security_group_egress(GroupId=one, IpPermissions=tcp(IpRanges=[{'CidrIp': '9.9.9.9/32'}]))
    ec2.revoke_security_group_egress(GroupId=one, IpPermissions=[
        {'IpProtocol': '-1', 'IpRanges': [{'CidrIp': '0.0.0.0/0'}]}])
    equal('egress', [p['IpRanges'] for p in show()['IpPermissionsEgress']], [[{'CidrIp': '9.9.9.9/32'}]])
    error('InvalidGroup.NotFound', ec2.describe_security_groups, GroupNames=['one'])
    equal('of the default VPC', [g['VpcId'] == vpc_id for g in
          ec2.describe_security_groups(GroupNames=['default'])['SecurityGroups']], [False])
    # the default group, by the name of another
    ec2.create_security_group(GroupName='web', Description='of the default VPC')
    allow(GroupName='web', SourceSecurityGroupName='default')
    equal('all of a group', sorted(p['IpProtocol'] for p in
          ec2.describe_security_groups(GroupNames=['web'])['SecurityGroups'][0]['IpPermissions']),
          ['icmp', 'tcp', 'udp'])
    ec2.delete_security_group(GroupName='web')
    # references keep a group
    error('DependencyViolation', ec2.delete_security_group, GroupId=two)
    default = ec2.describe_security_groups(Filters=filters(vpc_id=vpc_id, group_name='default'))['SecurityGroups'][0]
    error('CannotDelete', ec2.delete_security_group, GroupId=default['GroupId'])
    error('DependencyViolation', ec2.delete_vpc, VpcId=vpc_id)
    ec2.delete_security_group(GroupId=one)
    ec2.delete_security_group(GroupId=two)
    error('InvalidGroup.NotFound', ec2.delete_security_group, GroupId=one)
    error('MissingParameter', ec2.delete_security_group)
    equal('no rules are left', ec2.describe_security_group_rules(Filters=filters(group_id=one))
          ['SecurityGroupRules'], [])
    ec2.delete_vpc(VpcId=vpc_id)


def network_interface(ec2, server):
    vpc = ec2.create_vpc(CidrBlock='10.5.0.0/16', AmazonProvidedIpv6CidrBlock=True)['Vpc']
    vpc_id = vpc['VpcId']
    six = next(ipaddress.ip_network(vpc['Ipv6CidrBlockAssociationSet'][0]['Ipv6CidrBlock']).subnets(new_prefix=64))
    subnet = ec2.create_subnet(VpcId=vpc_id, CidrBlock='10.5.0.0/24', Ipv6CidrBlock=str(six))['Subnet']['SubnetId']
    group = ec2.create_security_group(GroupName='g', Description='g', VpcId=vpc_id)['GroupId']
    create = ec2.create_network_interface
    made = create(SubnetId=subnet, Description='d', Groups=[group], PrivateIpAddress='10.5.0.10',
                  TagSpecifications=tags('network-interface', n='1'))['NetworkInterface']
    eni = made['NetworkInterfaceId']
    show = lambda i=eni: ec2.describe_network_interfaces(NetworkInterfaceIds=[i])['NetworkInterfaces'][0]
    equal('address', made['PrivateIpAddress'], '10.5.0.10')
    check('MAC', re.fullmatch('02(:[0-9a-f]{2}){5}', made['MacAddress']), made['MacAddress'])
    equal('tags', made['TagSet'], [{'Key': 'n', 'Value': '1'}])
    equal('groups', made['Groups'], [{'GroupName': 'g', 'GroupId': group}])
    equal('free', made['Status'], 'available')
    error('InvalidIPAddress.InUse', create, SubnetId=subnet, PrivateIpAddress='10.5.0.10')
    for address in '10.5.0.0', '10.5.0.3', '10.5.0.255', '10.6.0.9', '10.5.0', '::1':
        error('InvalidParameterValue', create, SubnetId=subnet, PrivateIpAddress=address)
    error('InvalidGroup.NotFound', create, SubnetId=subnet, Groups=['sg-' + NONE])
    error('InvalidSubnetID.NotFound', create, SubnetId='subnet-' + NONE)
    error('DryRunOperation', create, SubnetId=subnet, DryRun=True)
    token = [create(SubnetId=subnet, ClientToken='same')['NetworkInterface']['NetworkInterfaceId'] for _ in '12']
    equal('a client token', token[0], token[1])
    ec2.delete_network_interface(NetworkInterfaceId=token[0])
    for pairs in ({'private_ip_address': '10.5.0.10'}, {'addresses__private_ip_address': '10.5.0.10'},
                  {'group_id': group}, {'group_name': 'g'}, {'mac_address': made['MacAddress']}, {'tag_key': 'n'},
                  {'subnet_id': subnet}, {'vpc_id': vpc_id}, {'description': 'd'}):
        equal(f'filter {pairs}', [n['NetworkInterfaceId'] for n in
              ec2.describe_network_interfaces(Filters=filters(**pairs))['NetworkInterfaces']], [eni])
    # more addresses
    answer = ec2.assign_private_ip_addresses(NetworkInterfaceId=eni, SecondaryPrivateIpAddressCount=2)
    equal('two more', len(answer['AssignedPrivateIpAddresses']), 2)
    ec2.assign_private_ip_addresses(NetworkInterfaceId=eni, PrivateIpAddresses=['10.5.0.77'])
    equal('four', len(show()['PrivateIpAddresses']), 4)
    other = create(SubnetId=subnet)['NetworkInterface']['NetworkInterfaceId']
    error('InvalidIPAddress.InUse', ec2.assign_private_ip_addresses, NetworkInterfaceId=other,
          PrivateIpAddresses=['10.5.0.77'])
    ec2.assign_private_ip_addresses(NetworkInterfaceId=other, PrivateIpAddresses=['10.5.0.77'], AllowReassignment=True)
    equal('it moved', ([a['PrivateIpAddress'] == '10.5.0.77' for a in show(other)['PrivateIpAddresses']],
                       len(show()['PrivateIpAddresses'])), ([False, True], 3))
    error('InvalidParameterValue', ec2.unassign_private_ip_addresses, NetworkInterfaceId=eni,
          PrivateIpAddresses=['10.5.0.10'])
    error('InvalidParameterValue', ec2.unassign_private_ip_addresses, NetworkInterfaceId=eni,
          PrivateIpAddresses=['10.5.0.77'])
    ec2.unassign_private_ip_addresses(NetworkInterfaceId=other, PrivateIpAddresses=['10.5.0.77'])
    prefix = ec2.assign_private_ip_addresses(NetworkInterfaceId=eni, Ipv4PrefixCount=1)['AssignedIpv4Prefixes'][0]
    equal('a prefix', prefix['Ipv4Prefix'], '10.5.0.16/28')
    error('InvalidIPAddress.InUse', ec2.assign_private_ip_addresses, NetworkInterfaceId=other,
          PrivateIpAddresses=['10.5.0.17'])
    ec2.unassign_private_ip_addresses(NetworkInterfaceId=eni, Ipv4Prefixes=[prefix['Ipv4Prefix']])
    ec2.assign_private_ip_addresses(NetworkInterfaceId=other, PrivateIpAddresses=['10.5.0.17'])
    error('MissingParameter', ec2.assign_private_ip_addresses, NetworkInterfaceId=eni)
    # IPv6
    six_ones = ec2.assign_ipv6_addresses(NetworkInterfaceId=eni, Ipv6AddressCount=2)['AssignedIpv6Addresses']
    check('in the subnet', all(ipaddress.ip_address(a) in six for a in six_ones) and len(set(six_ones)) == 2)
    error('InvalidIPAddress.InUse', ec2.assign_ipv6_addresses, NetworkInterfaceId=other, Ipv6Addresses=[six_ones[0]])
    gone = ec2.unassign_ipv6_addresses(NetworkInterfaceId=eni, Ipv6Addresses=[six_ones[0]])
    equal('given back', gone['UnassignedIpv6Addresses'], [six_ones[0]])
    ec2.assign_ipv6_addresses(NetworkInterfaceId=other, Ipv6Addresses=[six_ones[0]])
    pfx = ec2.assign_ipv6_addresses(NetworkInterfaceId=eni, Ipv6PrefixCount=1)['AssignedIpv6Prefixes'][0]
    equal('a prefix of IPv6', ipaddress.ip_network(pfx).prefixlen, 80)
    error('InvalidIPAddress.InUse', ec2.assign_ipv6_addresses, NetworkInterfaceId=other,
          Ipv6Addresses=[str(ipaddress.ip_network(pfx)[77])])
    error('InvalidIPAddress.InUse', ec2.assign_ipv6_addresses, NetworkInterfaceId=other, Ipv6Prefixes=[pfx])
    error('InvalidParameterValue', ec2.assign_ipv6_addresses, NetworkInterfaceId=eni, Ipv6Addresses=['fd00::1'])
    # attributes
    ec2.modify_network_interface_attribute(NetworkInterfaceId=eni, Description={'Value': 'changed'})
    ec2.modify_network_interface_attribute(NetworkInterfaceId=eni, SourceDestCheck={'Value': False})
    default = ec2.describe_security_groups(Filters=filters(vpc_id=vpc_id, group_name='default'))['SecurityGroups'][0]
    error('DependencyViolation', ec2.delete_security_group, GroupId=group)
    ec2.modify_network_interface_attribute(NetworkInterfaceId=eni, Groups=[default['GroupId']])
    ec2.delete_security_group(GroupId=group)
    get = lambda a: ec2.describe_network_interface_attribute(NetworkInterfaceId=eni, Attribute=a)
    equal('description', get('description')['Description']['Value'], 'changed')
    equal('check', get('sourceDestCheck')['SourceDestCheck']['Value'], False)
    equal('groups', get('groupSet')['Groups'][0]['GroupName'], 'default')
    ec2.reset_network_interface_attribute(NetworkInterfaceId=eni, SourceDestCheck='true')
    equal('check', get('sourceDestCheck')['SourceDestCheck']['Value'], True)
    error('InvalidParameterCombination', ec2.modify_network_interface_attribute, NetworkInterfaceId=eni,
          SourceDestCheck={'Value': True}, Description={'Value': ''})
    error('InvalidAttachmentID.NotFound', ec2.modify_network_interface_attribute, NetworkInterfaceId=eni,
          Attachment={'AttachmentId': 'eni-attach-' + NONE, 'DeleteOnTermination': True})
    error('InvalidAttachmentID.NotFound', ec2.detach_network_interface, AttachmentId='eni-attach-' + NONE)
    error('InvalidInstanceID.NotFound', ec2.attach_network_interface, NetworkInterfaceId=eni, DeviceIndex=1,
          InstanceId='i-' + NONE)
    # permissions
    permission = ec2.create_network_interface_permission(NetworkInterfaceId=eni, AwsAccountId='210987654321',
                                                         Permission='INSTANCE-ATTACH')['InterfacePermission']
    listed = ec2.describe_network_interface_permissions(
        Filters=filters(network_interface_permission__network_interface_id=eni))['NetworkInterfacePermissions']
    equal('a permission', listed, [permission])
    ec2.delete_network_interface_permission(
        NetworkInterfacePermissionId=permission['NetworkInterfacePermissionId'])
    error('InvalidPermissionID.NotFound', ec2.delete_network_interface_permission,
          NetworkInterfacePermissionId=permission['NetworkInterfacePermissionId'])
    for i in eni, other:
        ec2.delete_network_interface(NetworkInterfaceId=i)
    error('InvalidNetworkInterfaceID.NotFound', ec2.delete_network_interface, NetworkInterfaceId=eni)
    error('InvalidNetworkInterfaceId.Malformed', ec2.delete_network_interface, NetworkInterfaceId='eni-')
    # a subnet that is full
    small = ec2.create_subnet(VpcId=vpc_id, CidrBlock='10.5.1.0/28')['Subnet']['SubnetId']
    full = create(SubnetId=small, SecondaryPrivateIpAddressCount=10)['NetworkInterface']
    equal('all of them', len({a['PrivateIpAddress'] for a in full['PrivateIpAddresses']}), 11)
    equal('none free', ec2.describe_subnets(SubnetIds=[small])['Subnets'][0]['AvailableIpAddressCount'], 0)
    error('InsufficientFreeAddressesInSubnet', create, SubnetId=small)
    ec2.delete_network_interface(NetworkInterfaceId=full['NetworkInterfaceId'])
    # pages
    many = [create(SubnetId=subnet)['NetworkInterface']['NetworkInterfaceId'] for _ in range(12)]
    pages = ec2.get_paginator('describe_network_interfaces').paginate(
        Filters=filters(vpc_id=vpc_id), PaginationConfig={'PageSize': 5})
    sizes = [len(p['NetworkInterfaces']) for p in pages]
    equal('pages', sizes, [5, 5, 2])
    for i in many:
        ec2.delete_network_interface(NetworkInterfaceId=i)
    for s in subnet, small:
        ec2.delete_subnet(SubnetId=s)
    ec2.delete_vpc(VpcId=vpc_id)


def address(ec2, server):
    vpc_id = ec2.create_vpc(CidrBlock='10.6.0.0/16')['Vpc']['VpcId']
    subnet = ec2.create_subnet(VpcId=vpc_id, CidrBlock='10.6.0.0/24')['Subnet']['SubnetId']
    eni = ec2.create_network_interface(SubnetId=subnet, SecondaryPrivateIpAddressCount=1)['NetworkInterface']
    eni_id, secondary = eni['NetworkInterfaceId'], eni['PrivateIpAddresses'][1]['PrivateIpAddress']
    one = ec2.allocate_address(Domain='vpc', TagSpecifications=tags('elastic-ip', x='y'))
    two = ec2.allocate_address()
    check('two addresses', one['PublicIp'] != two['PublicIp'])
    show = lambda a=one: ec2.describe_addresses(AllocationIds=[a['AllocationId']])['Addresses'][0]
    equal('tags', show()['Tags'], [{'Key': 'x', 'Value': 'y'}])
    error('Gateway.NotAttached', ec2.associate_address, AllocationId=one['AllocationId'], NetworkInterfaceId=eni_id)
    igw = ec2.create_internet_gateway()['InternetGateway']['InternetGatewayId']
    ec2.attach_internet_gateway(InternetGatewayId=igw, VpcId=vpc_id)
    first = ec2.associate_address(AllocationId=one['AllocationId'], NetworkInterfaceId=eni_id)['AssociationId']
    again = ec2.associate_address(AllocationId=one['AllocationId'], NetworkInterfaceId=eni_id)['AssociationId']
    equal('the same again', first, again)
    equal('shown by the interface', ec2.describe_network_interfaces(NetworkInterfaceIds=[eni_id])
          ['NetworkInterfaces'][0]['Association']['PublicIp'], one['PublicIp'])
    error('Resource.AlreadyAssociated', ec2.associate_address, AllocationId=two['AllocationId'],
          NetworkInterfaceId=eni_id, AllowReassociation=False)
    error('Resource.AlreadyAssociated', ec2.associate_address, AllocationId=one['AllocationId'],
          NetworkInterfaceId=eni_id, PrivateIpAddress=secondary, AllowReassociation=False)
    error('InvalidParameterValue', ec2.associate_address, AllocationId=two['AllocationId'],
          NetworkInterfaceId=eni_id, PrivateIpAddress='10.6.0.200')
    ec2.associate_address(AllocationId=two['AllocationId'], NetworkInterfaceId=eni_id, PrivateIpAddress=secondary)
    for pairs in ({'public_ip': two['PublicIp']}, {'private_ip_address': secondary},
                  {'allocation_id': two['AllocationId']}):
        equal(f'filter {pairs}', [a['PublicIp'] for a in ec2.describe_addresses(Filters=filters(**pairs))['Addresses']],
              [two['PublicIp']])
    equal('by address', ec2.describe_addresses(PublicIps=[one['PublicIp']])['Addresses'][0]['AllocationId'],
          one['AllocationId'])
    equal('of the interface', len(ec2.describe_addresses(Filters=filters(network_interface_id=eni_id))['Addresses']), 2)
    error('InvalidIPAddress.InUse', ec2.release_address, AllocationId=one['AllocationId'])
    error('DependencyViolation', ec2.detach_internet_gateway, InternetGatewayId=igw, VpcId=vpc_id)
    ec2.associate_address(AllocationId=two['AllocationId'], NetworkInterfaceId=eni_id)
    check('the first one is free', 'AssociationId' not in show())
    ec2.disassociate_address(AssociationId=show(two)['AssociationId'])
    error('InvalidAssociationID.NotFound', ec2.disassociate_address, AssociationId=first)
    ec2.associate_address(PublicIp=one['PublicIp'], NetworkInterfaceId=eni_id)
    ec2.delete_network_interface(NetworkInterfaceId=eni_id)
    check('free without its interface', 'AssociationId' not in show())
    # names
    name = ec2.modify_address_attribute(AllocationId=one['AllocationId'], DomainName='host.example.com')['Address']
    equal('PTR', name['PtrRecord'], 'host.example.com.')
    equal('PTR', ec2.describe_addresses_attribute(AllocationIds=[one['AllocationId']], Attribute='domain-name')
          ['Addresses'][0]['PtrRecord'], 'host.example.com.')
    ec2.reset_address_attribute(AllocationId=one['AllocationId'], Attribute='domain-name')
    error('InvalidParameterValue', ec2.modify_address_attribute, AllocationId=one['AllocationId'], DomainName='a b')
    ec2.release_address(AllocationId=one['AllocationId'])
    ec2.release_address(PublicIp=two['PublicIp'])
    error('InvalidAllocationID.NotFound', ec2.release_address, AllocationId=one['AllocationId'])
    error('InvalidAddress.NotFound', ec2.release_address, PublicIp=two['PublicIp'])
    error('InvalidAddress.NotFound', ec2.describe_addresses, PublicIps=['203.0.113.9'])
    error('MissingParameter', ec2.release_address)
    back = ec2.allocate_address(Address=two['PublicIp'])
    equal('a known address again', back['PublicIp'], two['PublicIp'])
    error('InvalidAddress.NotFound', ec2.allocate_address, Address=two['PublicIp'])
    ec2.release_address(AllocationId=back['AllocationId'])
    error('UnsupportedOperation', ec2.allocate_address, Domain='standard')
    ec2.detach_internet_gateway(InternetGatewayId=igw, VpcId=vpc_id)
    ec2.delete_internet_gateway(InternetGatewayId=igw)
    ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_vpc(VpcId=vpc_id)


def routes(ec2, server):
    vpc = ec2.create_vpc(CidrBlock='10.7.0.0/16', AmazonProvidedIpv6CidrBlock=True)['Vpc']
    vpc_id = vpc['VpcId']
    other_vpc = ec2.create_vpc(CidrBlock='10.8.0.0/16')['Vpc']['VpcId']
    subnet = ec2.create_subnet(VpcId=vpc_id, CidrBlock='10.7.0.0/24')['Subnet']['SubnetId']
    table = ec2.create_route_table(VpcId=vpc_id, TagSpecifications=tags('route-table', r='t'))['RouteTable']
    rtb = table['RouteTableId']
    equal('local routes', len(table['Routes']), 2)
    show = lambda i=rtb: ec2.describe_route_tables(RouteTableIds=[i])['RouteTables'][0]
    route = lambda d: next((r for r in show()['Routes'] if d in r.values()), None)
    igw = ec2.create_internet_gateway(TagSpecifications=tags('internet-gateway', i='g'))['InternetGateway']
    igw = igw['InternetGatewayId']
    add = ec2.create_route
    error('InvalidParameterValue', add, RouteTableId=rtb, DestinationCidrBlock='0.0.0.0/0', GatewayId=igw)
    ec2.attach_internet_gateway(InternetGatewayId=igw, VpcId=vpc_id)
    error('Resource.AlreadyAssociated', ec2.attach_internet_gateway, InternetGatewayId=igw, VpcId=other_vpc)
    second = ec2.create_internet_gateway()['InternetGateway']['InternetGatewayId']
    error('InvalidParameterValue', ec2.attach_internet_gateway, InternetGatewayId=second, VpcId=vpc_id)
    error('Gateway.NotAttached', ec2.detach_internet_gateway, InternetGatewayId=second, VpcId=vpc_id)
    ec2.delete_internet_gateway(InternetGatewayId=second)
    error('InvalidInternetGatewayID.NotFound', ec2.delete_internet_gateway, InternetGatewayId=second)
    error('DependencyViolation', ec2.delete_internet_gateway, InternetGatewayId=igw)
    check('a route', add(RouteTableId=rtb, DestinationCidrBlock='0.0.0.0/0', GatewayId=igw)['Return'])
    equal('its origin', (route('0.0.0.0/0')['Origin'], route('0.0.0.0/0')['State']), ('CreateRoute', 'active'))
    error('RouteAlreadyExists', add, RouteTableId=rtb, DestinationCidrBlock='0.0.0.0/0', GatewayId=igw)
    error('RouteAlreadyExists', add, RouteTableId=rtb, DestinationCidrBlock='10.7.0.0/16', GatewayId=igw)
    error('InvalidParameterValue', add, RouteTableId=rtb, DestinationCidrBlock='10.7.3.0/24', GatewayId=igw)
    error('InvalidParameterValue', add, RouteTableId=rtb, DestinationCidrBlock='1.2.3/24', GatewayId=igw)
    error('MissingParameter', add, RouteTableId=rtb, GatewayId=igw)
    error('MissingParameter', add, RouteTableId=rtb, DestinationCidrBlock='1.0.0.0/8')
    error('InvalidGatewayID.NotFound', add, RouteTableId=rtb, DestinationCidrBlock='1.0.0.0/8', GatewayId='igw-' + NONE)
    error('InvalidRouteTableID.NotFound', add, RouteTableId='rtb-' + NONE, DestinationCidrBlock='1.0.0.0/8', GatewayId=igw)
    eni = ec2.create_network_interface(SubnetId=subnet)['NetworkInterface']['NetworkInterfaceId']
    add(RouteTableId=rtb, DestinationCidrBlock='10.99.1.2/16', NetworkInterfaceId=eni)
    equal('to an interface that is not attached', route('10.99.0.0/16')['State'], 'blackhole')
    # within the VPC: for whole subnets, through an appliance
    error('InvalidParameterValue', add, RouteTableId=rtb, DestinationCidrBlock='10.7.0.128/25', NetworkInterfaceId=eni)
    error('InvalidParameterValue', add, RouteTableId=rtb, DestinationCidrBlock='10.7.9.0/24', NetworkInterfaceId=eni)
    error('InvalidParameterValue', add, RouteTableId=rtb, DestinationCidrBlock='10.7.0.0/24', GatewayId=igw)
    add(RouteTableId=rtb, DestinationCidrBlock='10.7.0.0/24', NetworkInterfaceId=eni)
    ec2.delete_route(RouteTableId=rtb, DestinationCidrBlock='10.7.0.0/24')
    eigw = ec2.create_egress_only_internet_gateway(VpcId=vpc_id)['EgressOnlyInternetGateway']
    eigw = eigw['EgressOnlyInternetGatewayId']
    error('InvalidParameterCombination', add, RouteTableId=rtb, DestinationCidrBlock='2.0.0.0/8',
          EgressOnlyInternetGatewayId=eigw)
    add(RouteTableId=rtb, DestinationIpv6CidrBlock='::/0', EgressOnlyInternetGatewayId=eigw)
    # NAT
    nat = ec2.create_nat_gateway(SubnetId=subnet, ConnectivityType='private',
                                 TagSpecifications=tags('natgateway', n='g'))['NatGateway']['NatGatewayId']
    address = ec2.allocate_address()['AllocationId']
    public = ec2.create_nat_gateway(SubnetId=subnet, AllocationId=address)['NatGateway']
    equal('public', public['State'], 'available')
    error('Resource.AlreadyAssociated', ec2.create_nat_gateway, SubnetId=subnet, AllocationId=address)
    error('MissingParameter', ec2.create_nat_gateway, SubnetId=subnet)
    error('NatGatewayNotFound', ec2.delete_nat_gateway, NatGatewayId='nat-' + NONE)
    association = ec2.describe_addresses(AllocationIds=[address])['Addresses'][0]['AssociationId']
    error('AuthFailure', ec2.disassociate_address, AssociationId=association)
    error('AuthFailure', ec2.associate_address, AllocationId=address, NetworkInterfaceId=eni)
    another = ec2.allocate_address()['AllocationId']
    error('AuthFailure', ec2.associate_address, AllocationId=another,
          NetworkInterfaceId=public['NatGatewayAddresses'][0]['NetworkInterfaceId'])
    ec2.release_address(AllocationId=another)
    ec2.get_waiter('nat_gateway_available').wait(NatGatewayIds=[nat, public['NatGatewayId']])
    equal('filtered', [n['NatGatewayId'] for n in
          ec2.describe_nat_gateways(Filter=filters(subnet_id=subnet, tag_key='n'))['NatGateways']], [nat])
    add(RouteTableId=rtb, DestinationCidrBlock='3.0.0.0/8', NatGatewayId=nat)
    ec2.replace_route(RouteTableId=rtb, DestinationCidrBlock='0.0.0.0/0', NatGatewayId=public['NatGatewayId'])
    equal('replaced', route('0.0.0.0/0').get('NatGatewayId'), public['NatGatewayId'])
    error('InvalidParameterValue', ec2.replace_route, RouteTableId=rtb, DestinationCidrBlock='77.0.0.0/8', GatewayId=igw)
    error('InvalidParameterValue', ec2.replace_route, RouteTableId=rtb, DestinationCidrBlock='10.7.0.0/16', GatewayId=igw)
    ec2.delete_nat_gateway(NatGatewayId=nat)
    ec2.delete_nat_gateway(NatGatewayId=public['NatGatewayId'])
    equal('deleted', {n['State'] for n in ec2.describe_nat_gateways()['NatGateways']}, {'deleted'})
    equal('black holes', [route(d)['State'] for d in ('0.0.0.0/0', '3.0.0.0/8')], ['blackhole'] * 2)
    ec2.release_address(AllocationId=address)
    for pairs in ({'route__destination_cidr_block': '10.99.0.0/16'}, {'route_table_id': rtb}, {'tag_key': 'r'},
                  {'route__egress_only_internet_gateway_id': eigw}):
        equal(f'filter {pairs}', [t['RouteTableId'] for t in
              ec2.describe_route_tables(Filters=filters(**pairs))['RouteTables']], [rtb])
    ec2.delete_egress_only_internet_gateway(EgressOnlyInternetGatewayId=eigw)
    equal('a black hole', route('::/0')['State'], 'blackhole')
    error('InvalidGatewayID.NotFound', ec2.delete_egress_only_internet_gateway, EgressOnlyInternetGatewayId=eigw)
    ec2.delete_network_interface(NetworkInterfaceId=eni)
    for d in '0.0.0.0/0', '3.0.0.0/8', '10.99.0.0/16':
        ec2.delete_route(RouteTableId=rtb, DestinationCidrBlock=d)
    error('InvalidRoute.NotFound', ec2.delete_route, RouteTableId=rtb, DestinationCidrBlock='0.0.0.0/0')
    error('InvalidParameterValue', ec2.delete_route, RouteTableId=rtb, DestinationCidrBlock='10.7.0.0/16')
    # associations
    main = ec2.describe_route_tables(Filters=filters(vpc_id=vpc_id, association__main='true'))['RouteTables'][0]
    first = ec2.associate_route_table(RouteTableId=rtb, SubnetId=subnet)
    equal('state', first['AssociationState']['State'], 'associated')
    equal('the same again', ec2.associate_route_table(RouteTableId=rtb, SubnetId=subnet)['AssociationId'],
          first['AssociationId'])
    error('Resource.AlreadyAssociated', ec2.associate_route_table, RouteTableId=main['RouteTableId'], SubnetId=subnet)
    error('DependencyViolation', ec2.delete_route_table, RouteTableId=rtb)
    equal('filtered', [t['RouteTableId'] for t in
          ec2.describe_route_tables(Filters=filters(association__subnet_id=subnet))['RouteTables']], [rtb])
    new = ec2.replace_route_table_association(AssociationId=first['AssociationId'], RouteTableId=main['RouteTableId'])
    error('InvalidAssociationID.NotFound', ec2.disassociate_route_table, AssociationId=first['AssociationId'])
    ec2.disassociate_route_table(AssociationId=new['NewAssociationId'])
    main_association = next(a for a in main['Associations'] if a['Main'])['RouteTableAssociationId']
    error('InvalidParameterValue', ec2.disassociate_route_table, AssociationId=main_association)
    ec2.replace_route_table_association(AssociationId=main_association, RouteTableId=rtb)
    equal('a new main table', [t['RouteTableId'] for t in ec2.describe_route_tables(
        Filters=filters(vpc_id=vpc_id, association__main='true'))['RouteTables']], [rtb])
    ec2.delete_route_table(RouteTableId=main['RouteTableId'])
    error('DependencyViolation', ec2.delete_route_table, RouteTableId=rtb)
    ec2.detach_internet_gateway(InternetGatewayId=igw, VpcId=vpc_id)
    ec2.delete_internet_gateway(InternetGatewayId=igw)
    # a public NAT gateway needs an internet gateway
    address = ec2.allocate_address()['AllocationId']
    dead = ec2.create_nat_gateway(SubnetId=subnet, AllocationId=address)['NatGateway']
    equal('failed', (dead['State'], dead['FailureCode']), ('failed', 'Gateway.NotAttached'))
    ec2.release_address(AllocationId=address)
    ec2.delete_subnet(SubnetId=subnet)
    for v in vpc_id, other_vpc:
        ec2.delete_vpc(VpcId=v)


def network_acl(ec2, server):
    vpc_id = ec2.create_vpc(CidrBlock='10.10.0.0/16')['Vpc']['VpcId']
    subnet = ec2.create_subnet(VpcId=vpc_id, CidrBlock='10.10.0.0/24')['Subnet']['SubnetId']
    default = ec2.describe_network_acls(Filters=filters(vpc_id=vpc_id))['NetworkAcls'][0]
    check('the subnet has it', default['Associations'][0]['SubnetId'] == subnet)
    made = ec2.create_network_acl(VpcId=vpc_id, TagSpecifications=tags('network-acl', a='c'))['NetworkAcl']
    acl = made['NetworkAclId']
    equal('denies all', sorted((e['RuleNumber'], e['RuleAction'], e['Egress']) for e in made['Entries']),
          [(32767, 'deny', False), (32767, 'deny', True)])
    entry = dict(NetworkAclId=acl, RuleNumber=100, Protocol='tcp', RuleAction='allow', Egress=False,
                 CidrBlock='10.0.0.9/8', PortRange={'From': 80, 'To': 90})
    ec2.create_network_acl_entry(**entry)
    error('NetworkAclEntryAlreadyExists', ec2.create_network_acl_entry, **entry)
    error('InvalidParameterValue', ec2.create_network_acl_entry, **{**entry, 'RuleNumber': 40000})
    error('InvalidParameterValue', ec2.create_network_acl_entry, **{**entry, 'RuleNumber': 5, 'CidrBlock': 'x'})
    error('InvalidParameterValue', ec2.create_network_acl_entry, **{**entry, 'RuleNumber': 5, 'Protocol': 'ipx'})
    error('InvalidParameterValue', ec2.create_network_acl_entry,
          **{**entry, 'RuleNumber': 5, 'PortRange': {'From': 9, 'To': 1}})
    del entry['PortRange']
    error('MissingParameter', ec2.create_network_acl_entry, **{**entry, 'RuleNumber': 5})
    error('MissingParameter', ec2.create_network_acl_entry, **{**entry, 'RuleNumber': 5, 'Protocol': '1'})
    ec2.create_network_acl_entry(**{**entry, 'RuleNumber': 50, 'Protocol': '1', 'IcmpTypeCode': {'Type': 8, 'Code': -1}})
    show = lambda: ec2.describe_network_acls(NetworkAclIds=[acl])['NetworkAcls'][0]
    equal('in order', [e['RuleNumber'] for e in show()['Entries'] if not e['Egress']], [50, 100, 32767])
    ec2.replace_network_acl_entry(**{**entry, 'Protocol': '-1', 'RuleAction': 'deny'})
    equal('replaced', next(e['RuleAction'] for e in show()['Entries'] if e['RuleNumber'] == 100), 'deny')
    error('InvalidNetworkAclEntry.NotFound', ec2.replace_network_acl_entry,
          **{**entry, 'Protocol': '-1', 'RuleNumber': 7})
    for pairs in ({'entry__rule_number': '50'}, {'entry__cidr': '10.0.0.0/8'}, {'entry__icmp__type': '8'},
                  {'vpc_id': vpc_id, 'default': 'false'}, {'tag_key': 'a'}):
        equal(f'filter {pairs}', [a['NetworkAclId'] for a in
              ec2.describe_network_acls(Filters=filters(**pairs))['NetworkAcls']], [acl])
    ec2.delete_network_acl_entry(NetworkAclId=acl, RuleNumber=50, Egress=False)
    error('InvalidNetworkAclEntry.NotFound', ec2.delete_network_acl_entry, NetworkAclId=acl, RuleNumber=50, Egress=False)
    old = default['Associations'][0]['NetworkAclAssociationId']
    new = ec2.replace_network_acl_association(AssociationId=old, NetworkAclId=acl)['NewAssociationId']
    error('InvalidAssociationID.NotFound', ec2.replace_network_acl_association, AssociationId=old, NetworkAclId=acl)
    equal('moved', [a['NetworkAclAssociationId'] for a in show()['Associations']], [new])
    error('DependencyViolation', ec2.delete_network_acl, NetworkAclId=acl)
    ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_network_acl(NetworkAclId=acl)
    error('InvalidNetworkAclID.NotFound', ec2.delete_network_acl, NetworkAclId=acl)
    error('InvalidParameterValue', ec2.delete_network_acl, NetworkAclId=default['NetworkAclId'])
    ec2.delete_vpc(VpcId=vpc_id)


def dhcp_options(ec2, server):
    vpc = ec2.create_vpc(CidrBlock='10.11.0.0/16')['Vpc']
    create = ec2.create_dhcp_options
    made = create(DhcpConfigurations=[{'Key': 'domain-name', 'Values': ['example.com']},
                                      {'Key': 'domain-name-servers', 'Values': ['10.2.5.1', '10.2.5.2']},
                                      {'Key': 'ntp-servers', 'Values': ['10.2.5.3']},
                                      {'Key': 'netbios-node-type', 'Values': ['2']}],
                  TagSpecifications=tags('dhcp-options', d='o'))['DhcpOptions']['DhcpOptionsId']
    for key, values in (('domain-name-servers', ['x']), ('netbios-node-type', ['3']), ('nonsense', ['1']),
                        ('ntp-servers', ['1.1.1.1'] * 5), ('domain-name', [])):
        error('InvalidParameterValue', create, DhcpConfigurations=[{'Key': key, 'Values': values}])
    for pairs in ({'key': 'ntp-servers'}, {'value': '10.2.5.2'}, {'dhcp_options_id': made}, {'tag_key': 'd'}):
        equal(f'filter {pairs}', [o['DhcpOptionsId'] for o in
              ec2.describe_dhcp_options(Filters=filters(**pairs))['DhcpOptions']], [made])
    ec2.associate_dhcp_options(DhcpOptionsId=made, VpcId=vpc['VpcId'])
    show = lambda: ec2.describe_vpcs(VpcIds=[vpc['VpcId']])['Vpcs'][0]['DhcpOptionsId']
    equal('associated', show(), made)
    error('DependencyViolation', ec2.delete_dhcp_options, DhcpOptionsId=made)
    ec2.associate_dhcp_options(DhcpOptionsId='default', VpcId=vpc['VpcId'])
    equal('none', show(), 'default')
    ec2.delete_dhcp_options(DhcpOptionsId=made)
    error('InvalidDhcpOptionID.NotFound', ec2.delete_dhcp_options, DhcpOptionsId=made)
    error('InvalidDhcpOptionID.NotFound', ec2.associate_dhcp_options, DhcpOptionsId=made, VpcId=vpc['VpcId'])
    ec2.delete_vpc(VpcId=vpc['VpcId'])


def vpc_endpoint(ec2, server):
    vpc_id = ec2.create_vpc(CidrBlock='10.12.0.0/16')['Vpc']['VpcId']
    zone = ['us-east-1a', 'us-east-1a', 'us-east-1b']
    subnets = [ec2.create_subnet(VpcId=vpc_id, CidrBlock=f'10.12.{i}.0/24', AvailabilityZone=z)['Subnet']['SubnetId']
               for i, z in enumerate(zone)]
    table = ec2.create_route_table(VpcId=vpc_id)['RouteTable']['RouteTableId']
    services = ec2.describe_vpc_endpoint_services()
    check('services', 'com.amazonaws.us-east-1.s3' in services['ServiceNames'])
    equal('of gateways', sorted(s['ServiceName'] for s in ec2.describe_vpc_endpoint_services(
        Filters=filters(service_type='Gateway'))['ServiceDetails']),
        ['com.amazonaws.us-east-1.dynamodb', 'com.amazonaws.us-east-1.s3'])
    error('InvalidServiceName', ec2.describe_vpc_endpoint_services, ServiceNames=['com.example.none'])
    create = ec2.create_vpc_endpoint
    error('InvalidServiceName', create, VpcId=vpc_id, ServiceName='com.amazonaws.us-east-1.none')
    error('InvalidParameter', create, VpcId=vpc_id, ServiceName='com.amazonaws.us-east-1.ec2')
    gateway = create(VpcId=vpc_id, ServiceName='com.amazonaws.us-east-1.s3', RouteTableIds=[table],
                     TagSpecifications=tags('vpc-endpoint', e='p'))['VpcEndpoint']['VpcEndpointId']
    routes = lambda: ec2.describe_route_tables(RouteTableIds=[table])['RouteTables'][0]['Routes']
    check('a route to it', any(r.get('GatewayId') == gateway and 'DestinationPrefixListId' in r for r in routes()))
    error('RouteAlreadyExists', create, VpcId=vpc_id, ServiceName='com.amazonaws.us-east-1.s3', RouteTableIds=[table])
    error('DependencyViolation', ec2.delete_route_table, RouteTableId=table)
    ec2.modify_vpc_endpoint(VpcEndpointId=gateway, RemoveRouteTableIds=[table])
    equal('no route', len(routes()), 1)
    ec2.modify_vpc_endpoint(VpcEndpointId=gateway, AddRouteTableIds=[table])
    equal('a route again', len(routes()), 2)
    error('InvalidParameter', create, VpcId=vpc_id, ServiceName='com.amazonaws.us-east-1.ec2',
          VpcEndpointType='Interface', PrivateDnsEnabled=True, SubnetIds=[subnets[0]])
    error('DuplicateSubnetsInSameZone', create, VpcId=vpc_id, ServiceName='com.amazonaws.us-east-1.ec2',
          VpcEndpointType='Interface', PrivateDnsEnabled=False, SubnetIds=subnets[:2])
    made = create(VpcId=vpc_id, ServiceName='com.amazonaws.us-east-1.ec2', VpcEndpointType='Interface',
                  PrivateDnsEnabled=False, SubnetIds=[subnets[0]])['VpcEndpoint']
    interface = made['VpcEndpointId']
    equal('an interface', len(made['NetworkInterfaceIds']), 1)
    ec2.modify_vpc_endpoint(VpcEndpointId=interface, AddSubnetIds=[subnets[2]])
    show = lambda: ec2.describe_vpc_endpoints(VpcEndpointIds=[interface])['VpcEndpoints'][0]
    equal('two', len(show()['NetworkInterfaceIds']), 2)
    ec2.modify_vpc_endpoint(VpcEndpointId=interface, RemoveSubnetIds=[subnets[0]])
    equal('another one', show()['SubnetIds'], [subnets[2]])
    group = ec2.create_security_group(GroupName='e', Description='e', VpcId=vpc_id)['GroupId']
    ec2.modify_vpc_endpoint(VpcEndpointId=interface, AddSecurityGroupIds=[group],
                            RemoveSecurityGroupIds=[show()['Groups'][0]['GroupId']])
    equal('groups', [g['GroupId'] for g in show()['Groups']], [group])
    error('OperationNotPermitted', ec2.delete_network_interface, NetworkInterfaceId=show()['NetworkInterfaceIds'][0])
    for pairs in ({'service_name': '*.ec2'}, {'vpc_endpoint_type': 'Interface'}, {'vpc_endpoint_id': interface}):
        equal(f'filter {pairs}', [e['VpcEndpointId'] for e in
              ec2.describe_vpc_endpoints(Filters=filters(**pairs))['VpcEndpoints']], [interface])
    error('InvalidVpcEndpointId.NotFound', ec2.describe_vpc_endpoints, VpcEndpointIds=['vpce-' + NONE])
    answer = ec2.delete_vpc_endpoints(VpcEndpointIds=[gateway, interface, 'vpce-' + NONE])
    equal('one that is not there', [(u['ResourceId'], u['Error']['Code']) for u in answer['Unsuccessful']],
          [('vpce-' + NONE, 'InvalidVpcEndpointId.NotFound')])
    equal('no route', len(routes()), 1)
    ec2.delete_security_group(GroupId=group)
    for s in subnets:
        ec2.delete_subnet(SubnetId=s)
    ec2.delete_route_table(RouteTableId=table)
    ec2.delete_vpc(VpcId=vpc_id)


def vpc_peering(ec2, server):
    one, two, three = (ec2.create_vpc(CidrBlock=c)['Vpc']['VpcId'] for c in
                       ('10.13.0.0/16', '10.14.0.0/16', '10.13.128.0/20'))
    create = ec2.create_vpc_peering_connection
    made = create(VpcId=one, PeerVpcId=two, TagSpecifications=tags('vpc-peering-connection', p='c'))
    pcx = made['VpcPeeringConnection']['VpcPeeringConnectionId']
    show = lambda: ec2.describe_vpc_peering_connections(VpcPeeringConnectionIds=[pcx])['VpcPeeringConnections'][0]
    equal('waits', show()['Status']['Code'], 'pending-acceptance')
    error('VpcPeeringConnectionAlreadyExists', create, VpcId=two, PeerVpcId=one)
    error('InvalidVpcID.NotFound', create, VpcId=one, PeerVpcId='vpc-' + NONE)
    error('InvalidParameterValue', create, VpcId=one, PeerVpcId=one)
    error('UnsupportedOperation', create, VpcId=one, PeerVpcId=two, PeerRegion='eu-west-1')
    failed_one = create(VpcId=one, PeerVpcId=three)['VpcPeeringConnection']
    equal('overlapping', failed_one['Status']['Code'], 'failed')
    error('OperationNotPermitted', ec2.modify_vpc_peering_connection_options, VpcPeeringConnectionId=pcx,
          RequesterPeeringConnectionOptions={'AllowDnsResolutionFromRemoteVpc': True})
    groups = [ec2.create_security_group(GroupName='p', Description='p', VpcId=v)['GroupId'] for v in (one, two)]
    rule = [{'IpProtocol': 'tcp', 'FromPort': 1, 'ToPort': 2, 'UserIdGroupPairs': [{'GroupId': groups[1]}]}]
    error('InvalidGroup.NotFound', ec2.authorize_security_group_ingress, GroupId=groups[0], IpPermissions=rule)
    table = ec2.describe_route_tables(Filters=filters(vpc_id=one))['RouteTables'][0]['RouteTableId']
    error('InvalidStateTransition', ec2.create_route, RouteTableId=table, DestinationCidrBlock='10.14.0.0/16',
          VpcPeeringConnectionId=pcx)
    equal('active', ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=pcx)['VpcPeeringConnection']
          ['Status']['Code'], 'active')
    ec2.create_route(RouteTableId=table, DestinationCidrBlock='10.14.0.0/16', VpcPeeringConnectionId=pcx)
    ec2.authorize_security_group_ingress(GroupId=groups[0], IpPermissions=rule)
    references = ec2.describe_security_group_references(GroupId=[groups[1]])['SecurityGroupReferenceSet']
    equal('a reference', [(r['ReferencingVpcId'], r['VpcPeeringConnectionId']) for r in references], [(one, pcx)])
    options = ec2.modify_vpc_peering_connection_options(
        VpcPeeringConnectionId=pcx, RequesterPeeringConnectionOptions={'AllowDnsResolutionFromRemoteVpc': True})
    check('options', options['RequesterPeeringConnectionOptions']['AllowDnsResolutionFromRemoteVpc'])
    check('shown', show()['RequesterVpcInfo']['PeeringOptions']['AllowDnsResolutionFromRemoteVpc'])
    error('InvalidStateTransition', ec2.reject_vpc_peering_connection, VpcPeeringConnectionId=pcx)
    for pairs in ({'status_code': 'active'}, {'accepter_vpc_info__vpc_id': two}, {'tag_key': 'p'},
                  {'requester_vpc_info__cidr_block': '10.13.0.0/16', 'status_code': 'active'}):
        equal(f'filter {pairs}', [c['VpcPeeringConnectionId'] for c in ec2.describe_vpc_peering_connections(
            Filters=filters(**pairs))['VpcPeeringConnections']], [pcx])
    equal('nothing stale', ec2.describe_stale_security_groups(VpcId=one)['StaleSecurityGroupSet'], [])
    ec2.delete_vpc_peering_connection(VpcPeeringConnectionId=pcx)
    equal('deleted', show()['Status']['Code'], 'deleted')
    equal('stale', [g['GroupId'] for g in ec2.describe_stale_security_groups(VpcId=one)['StaleSecurityGroupSet']],
          [groups[0]])
    route = ec2.describe_route_tables(RouteTableIds=[table])['RouteTables'][0]['Routes'][1]
    equal('a black hole', route['State'], 'blackhole')
    error('InvalidStateTransition', ec2.delete_vpc_peering_connection, VpcPeeringConnectionId=pcx)
    again = create(VpcId=one, PeerVpcId=two)['VpcPeeringConnection']['VpcPeeringConnectionId']
    check('rejected', ec2.reject_vpc_peering_connection(VpcPeeringConnectionId=again)['Return'])
    error('InvalidStateTransition', ec2.accept_vpc_peering_connection, VpcPeeringConnectionId=again)
    error('InvalidVpcPeeringConnectionID.NotFound', ec2.delete_vpc_peering_connection,
          VpcPeeringConnectionId='pcx-' + NONE)
    for g in groups:
        ec2.delete_security_group(GroupId=g)
    for v in one, two, three:
        ec2.delete_vpc(VpcId=v)


def prefix_list(ec2, server):
    own = ec2.describe_prefix_lists()['PrefixLists']
    equal("AWS's own", sorted(p['PrefixListName'] for p in own),
          ['com.amazonaws.us-east-1.dynamodb', 'com.amazonaws.us-east-1.s3'])
    error('OperationNotPermitted', ec2.delete_managed_prefix_list, PrefixListId=own[0]['PrefixListId'])
    create = ec2.create_managed_prefix_list
    made = create(PrefixListName='offices', MaxEntries=3, AddressFamily='IPv4',
                  Entries=[{'Cidr': '192.0.2.77/24', 'Description': 'one'}, {'Cidr': '198.51.100.0/24'}],
                  TagSpecifications=tags('prefix-list', l='t'))['PrefixList']
    pl = made['PrefixListId']
    equal('version', made['Version'], 1)
    entries = lambda **v: [e['Cidr'] for e in ec2.get_managed_prefix_list_entries(PrefixListId=pl, **v)['Entries']]
    equal('entries', entries(), ['192.0.2.0/24', '198.51.100.0/24'])
    error('InvalidParameterValue', create, PrefixListName='com.amazonaws.x', MaxEntries=1, AddressFamily='IPv4')
    error('InvalidParameterValue', create, PrefixListName='x', MaxEntries=0, AddressFamily='IPv4')
    error('InvalidParameterValue', create, PrefixListName='x', MaxEntries=1, AddressFamily='IPv5')
    error('InvalidParameterValue', create, PrefixListName='x', MaxEntries=1, AddressFamily='IPv4',
          Entries=[{'Cidr': '::/0'}])
    error('PrefixListMaxEntriesExceeded', create, PrefixListName='x', MaxEntries=1, AddressFamily='IPv4',
          Entries=[{'Cidr': '1.0.0.0/8'}, {'Cidr': '2.0.0.0/8'}])
    modify = ec2.modify_managed_prefix_list
    version = modify(PrefixListId=pl, CurrentVersion=1, AddEntries=[{'Cidr': '203.0.113.0/24'}],
                     RemoveEntries=[{'Cidr': '192.0.2.0/24'}])['PrefixList']['Version']
    equal('the next version', version, 2)
    equal('entries', entries(), ['198.51.100.0/24', '203.0.113.0/24'])
    equal('of the first version', entries(TargetVersion=1), ['192.0.2.0/24', '198.51.100.0/24'])
    error('PrefixListVersionMismatch', modify, PrefixListId=pl, CurrentVersion=1, AddEntries=[{'Cidr': '9.0.0.0/8'}])
    error('InvalidParameterValue', modify, PrefixListId=pl, CurrentVersion=2, RemoveEntries=[{'Cidr': '9.0.0.0/8'}])
    error('PrefixListMaxEntriesExceeded', modify, PrefixListId=pl, CurrentVersion=2,
          AddEntries=[{'Cidr': '9.0.0.0/8'}, {'Cidr': '8.0.0.0/8'}])
    restored = ec2.restore_managed_prefix_list_version(PrefixListId=pl, PreviousVersion=1, CurrentVersion=2)
    equal('restored', (restored['PrefixList']['Version'], entries()[0]), (3, '192.0.2.0/24'))
    equal('renamed', modify(PrefixListId=pl, PrefixListName='new')['PrefixList']['PrefixListName'], 'new')
    for pairs in ({'prefix_list_name': 'new'}, {'prefix_list_id': pl}, {'owner_id': '123456789012'}):
        equal(f'filter {pairs}', [p['PrefixListId'] for p in
              ec2.describe_managed_prefix_lists(Filters=filters(**pairs))['PrefixLists']], [pl])
    group = ec2.create_security_group(GroupName='pl', Description='pl')['GroupId']
    ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[
        {'IpProtocol': '-1', 'PrefixListIds': [{'PrefixListId': pl}]}])
    equal('used by', [a['ResourceId'] for a in
          ec2.get_managed_prefix_list_associations(PrefixListId=pl)['PrefixListAssociations']], [group])
    error('DependencyViolation', ec2.delete_managed_prefix_list, PrefixListId=pl)
    ec2.delete_security_group(GroupId=group)
    ec2.delete_managed_prefix_list(PrefixListId=pl)
    error('InvalidPrefixListID.NotFound', ec2.get_managed_prefix_list_entries, PrefixListId=pl)


def flow_log(ec2, server):
    vpc_id = ec2.create_vpc(CidrBlock='10.15.0.0/16')['Vpc']['VpcId']
    wanted = dict(ResourceIds=[vpc_id], ResourceType='VPC', TrafficType='ALL', LogGroupName='g',
                  DeliverLogsPermissionArn='arn:aws:iam::123456789012:role/r')
    create = ec2.create_flow_logs
    made = create(**wanted, MaxAggregationInterval=60, TagSpecifications=tags('vpc-flow-log', f='l'))['FlowLogIds'][0]
    error('FlowLogAlreadyExists', create, **wanted)
    error('InvalidParameter', create, **{**wanted, 'MaxAggregationInterval': 61})
    error('UnsupportedOperation', create, **{**wanted, 'LogFormat': '${srcaddr} ${dstaddr}'})
    error('InvalidParameter', create, ResourceIds=[vpc_id], ResourceType='VPC', TrafficType='ALL')
    error('InvalidParameter', create, ResourceIds=[vpc_id], ResourceType='VPC', TrafficType='ALL', LogGroupName='x')
    error('MissingParameter', create, ResourceIds=[vpc_id], ResourceType='VPC', LogDestinationType='s3',
          LogDestination='arn:aws:s3:::b')
    answer = create(**{**wanted, 'ResourceIds': ['vpc-' + NONE]})
    equal('one that is not there', answer['Unsuccessful'][0]['Error']['Code'], 'InvalidVpcID.NotFound')
    s3 = create(ResourceIds=[vpc_id], ResourceType='VPC', TrafficType='REJECT', LogDestinationType='s3',
                LogDestination='arn:aws:s3:::b')['FlowLogIds'][0]
    for pairs in ({'log_destination_type': 's3'}, {'traffic_type': 'REJECT'}, {'flow_log_id': s3}):
        equal(f'filter {pairs}', [f['FlowLogId'] for f in
              ec2.describe_flow_logs(Filter=filters(**pairs))['FlowLogs']], [s3])
    log = ec2.describe_flow_logs(FlowLogIds=[made])['FlowLogs'][0]
    equal('interval', (log['MaxAggregationInterval'], log['ResourceId']), (60, vpc_id))
    answer = ec2.delete_flow_logs(FlowLogIds=[made, 'fl-' + NONE])
    equal('one that is not there', answer['Unsuccessful'][0]['Error']['Code'], 'InvalidFlowLogId.NotFound')
    error('InvalidFlowLogId.NotFound', ec2.describe_flow_logs, FlowLogIds=[made])
    ec2.delete_vpc(VpcId=vpc_id)
    equal('gone with the VPC', ec2.describe_flow_logs()['FlowLogs'], [])


def instances(ec2, server):
    image = server.restart_with_image('ami-' + NONE)
    ec2 = server.client()
    run = lambda **p: ec2.run_instances(**{'ImageId': image, 'InstanceType': 't3.micro', 'MinCount': 1, 'MaxCount': 1,
                                           **p})['Instances'][0]
    show = lambda i: ec2.describe_instances(InstanceIds=[i])['Reservations'][0]['Instances'][0]
    interface = lambda i: ec2.describe_network_interfaces(NetworkInterfaceIds=[i])['NetworkInterfaces'][0]
    plain = run()
    i = plain['InstanceId']
    subnet = ec2.describe_subnets(SubnetIds=[plain['SubnetId']])['Subnets'][0]
    check('in a default subnet', subnet['DefaultForAz'] and
          subnet['AvailabilityZone'] == plain['Placement']['AvailabilityZone'])
    check('an address of it', ipaddress.ip_address(plain['PrivateIpAddress']) in
          ipaddress.ip_network(subnet['CidrBlock']))
    equal('the default group', [g['GroupName'] for g in plain['SecurityGroups']], ['default'])
    check('a public address', plain.get('PublicIpAddress', '').startswith('198.'), plain.get('PublicIpAddress'))
    one = plain['NetworkInterfaces'][0]
    equal('the interface says the same', interface(one['NetworkInterfaceId'])['Association']['PublicIp'],
          plain['PublicIpAddress'])
    equal('its name', plain['PrivateDnsName'], 'ip-' + plain['PrivateIpAddress'].replace('.', '-') + '.ec2.internal')
    equal('found by its address', [n['InstanceId'] for r in ec2.describe_instances(
        Filters=filters(private_ip_address=plain['PrivateIpAddress']))['Reservations'] for n in r['Instances']], [i])
    for pairs in ({'network_interface__addresses__private_ip_address': plain['PrivateIpAddress']},
                  {'network_interface__group_name': 'default'}, {'ip_address': plain['PublicIpAddress']},
                  {'network_interface__network_interface_id': one['NetworkInterfaceId']}, {'subnet_id': subnet['SubnetId']}):
        equal(f'filter {pairs}', [n['InstanceId'] for r in ec2.describe_instances(Filters=filters(**pairs))
                                  ['Reservations'] for n in r['Instances']], [i])
    error('InvalidNetworkInterface.InUse', ec2.delete_network_interface,
          NetworkInterfaceId=one['NetworkInterfaceId'])
    error('OperationNotPermitted', ec2.detach_network_interface,
          AttachmentId=one['Attachment']['AttachmentId'])
    # stopped, it has no public address; started, it has one again
    ec2.stop_instances(InstanceIds=[i])
    ec2.get_waiter('instance_stopped').wait(InstanceIds=[i])
    stopped = show(i)
    check('no public address', 'PublicIpAddress' not in stopped and
          stopped['PrivateIpAddress'] == plain['PrivateIpAddress'])
    ec2.start_instances(InstanceIds=[i])
    check('a public address again', 'PublicIpAddress' in show(i))
    # an Elastic IP instead
    address = ec2.allocate_address()
    ec2.associate_address(AllocationId=address['AllocationId'], InstanceId=i)
    equal('its own', show(i)['PublicIpAddress'], address['PublicIp'])
    equal('whose it is', [a['PublicIp'] for a in
          ec2.describe_addresses(Filters=filters(instance_id=i))['Addresses']], [address['PublicIp']])
    ec2.disassociate_address(PublicIp=address['PublicIp'])
    check('another public address', show(i).get('PublicIpAddress') not in (None, address['PublicIp']))
    ec2.associate_address(AllocationId=address['AllocationId'], InstanceId=i)
    # names come and go with the VPC's attribute; the private one stays
    vpc_id = plain['VpcId']
    names = lambda: (show(i)['PublicDnsName'], show(i)['PrivateDnsName'] == plain['PrivateDnsName'],
                     interface(one['NetworkInterfaceId']).get('PrivateDnsName'))
    ec2.modify_vpc_attribute(VpcId=vpc_id, EnableDnsHostnames={'Value': False})
    equal('no names', names(), ('', True, None))
    ec2.modify_vpc_attribute(VpcId=vpc_id, EnableDnsHostnames={'Value': True})
    equal('names', names(), (f'ec2-{address["PublicIp"].replace(".", "-")}.compute-1.amazonaws.com', True, plain['PrivateDnsName']))
    # one more interface
    group = ec2.create_security_group(GroupName='i', Description='i', VpcId=vpc_id)['GroupId']
    eni = ec2.create_network_interface(SubnetId=plain['SubnetId'], Groups=[group])['NetworkInterface']
    eni_id = eni['NetworkInterfaceId']
    error('InvalidParameterValue', ec2.attach_network_interface, NetworkInterfaceId=eni_id, InstanceId=i,
          DeviceIndex=0)
    attachment = ec2.attach_network_interface(NetworkInterfaceId=eni_id, InstanceId=i, DeviceIndex=1)['AttachmentId']
    equal('two', [n['Attachment']['DeviceIndex'] for n in show(i)['NetworkInterfaces']], [0, 1])
    equal('in use', interface(eni_id)['Status'], 'in-use')
    error('InvalidNetworkInterface.InUse', ec2.attach_network_interface, NetworkInterfaceId=eni_id, InstanceId=i,
          DeviceIndex=2)
    third = ec2.create_network_interface(SubnetId=plain['SubnetId'])['NetworkInterface']['NetworkInterfaceId']
    error('AttachmentLimitExceeded', ec2.attach_network_interface, NetworkInterfaceId=third, InstanceId=i,
          DeviceIndex=2)
    error('InvalidInstanceID', ec2.associate_address, AllocationId=ec2.allocate_address()['AllocationId'], InstanceId=i)
    error('PrivateIpAddressLimitExceeded', ec2.assign_private_ip_addresses, NetworkInterfaceId=eni_id,
          SecondaryPrivateIpAddressCount=9)
    error('DependencyViolation', ec2.delete_security_group, GroupId=group)
    ec2.detach_network_interface(AttachmentId=attachment)
    equal('one', len(show(i)['NetworkInterfaces']), 1)
    ec2.delete_network_interface(NetworkInterfaceId=third)
    # an existing interface, and a fresh one with all that may be said of it
    listed = run(NetworkInterfaces=[{'DeviceIndex': 0, 'NetworkInterfaceId': eni_id}])
    equal('its address', listed['PrivateIpAddress'], eni['PrivateIpAddress'])
    equal('its groups', [g['GroupId'] for g in listed['SecurityGroups']], [group])
    error('InvalidNetworkInterface.InUse', ec2.run_instances, ImageId=image, InstanceType='t3.micro', MinCount=1,
          MaxCount=1, NetworkInterfaces=[{'DeviceIndex': 0, 'NetworkInterfaceId': eni_id}])
    ec2.terminate_instances(InstanceIds=[listed['InstanceId']])
    ec2.get_waiter('instance_terminated').wait(InstanceIds=[listed['InstanceId']])
    equal('it stays', interface(eni_id)['Status'], 'available')
    ec2.delete_network_interface(NetworkInterfaceId=eni_id)
    launch = lambda code, **p: error(code, ec2.run_instances, **{'ImageId': image, 'InstanceType': 't3.micro',
                                                                 'MinCount': 1, 'MaxCount': 1, **p})
    several = [{'DeviceIndex': k, 'SubnetId': plain['SubnetId']} for k in range(3)]
    launch('AttachmentLimitExceeded', NetworkInterfaces=several)
    launch('PrivateIpAddressLimitExceeded', NetworkInterfaces=[{**several[0], 'SecondaryPrivateIpAddressCount': 2}])
    two = run(NetworkInterfaces=several[:2])
    check('no public address for several', 'PublicIpAddress' not in two)
    # a route to an interface tells whose it is
    second = next(n for n in two['NetworkInterfaces'] if n['Attachment']['DeviceIndex'] == 1)
    rtb = ec2.create_route_table(VpcId=vpc_id)['RouteTable']['RouteTableId']
    target = lambda: [(r['State'], r.get('InstanceId')) for r in ec2.describe_route_tables(RouteTableIds=[rtb])['RouteTables'][0]['Routes']
                      if 'NetworkInterfaceId' in r]
    ec2.create_route(RouteTableId=rtb, DestinationCidrBlock='192.0.2.0/24', NetworkInterfaceId=second['NetworkInterfaceId'])
    equal('a route to an instance', target(), [('active', two['InstanceId'])])
    ec2.detach_network_interface(AttachmentId=second['Attachment']['AttachmentId'])
    equal('a black hole', target(), [('blackhole', None)])
    ec2.attach_network_interface(NetworkInterfaceId=second['NetworkInterfaceId'], InstanceId=i, DeviceIndex=1)
    equal('a route to another', target(), [('active', i)])
    ec2.detach_network_interface(AttachmentId=interface(second['NetworkInterfaceId'])['Attachment']['AttachmentId'])
    ec2.delete_network_interface(NetworkInterfaceId=second['NetworkInterfaceId'])
    ec2.delete_route_table(RouteTableId=rtb)
    ec2.terminate_instances(InstanceIds=[two['InstanceId']])
    # without IPv4 it is named by its id
    vpc6 = ec2.create_vpc(CidrBlock='10.15.0.0/16', AmazonProvidedIpv6CidrBlock=True)['Vpc']['VpcId']
    block = ec2.describe_vpcs(VpcIds=[vpc6])['Vpcs'][0]['Ipv6CidrBlockAssociationSet'][0]['Ipv6CidrBlock']
    only6 = ec2.create_subnet(VpcId=vpc6, Ipv6Native=True, Ipv6CidrBlock=block.replace('/56', '/64'))['Subnet']['SubnetId']
    six = run(SubnetId=only6)
    equal('IPv6 only', (six['PrivateDnsName'], six['PrivateDnsNameOptions']['HostnameType'], 'PrivateIpAddress' in six),
          (six['InstanceId'] + '.ec2.internal', 'resource-name', False))
    ec2.terminate_instances(InstanceIds=[six['InstanceId']])
    ec2.get_waiter('instance_terminated').wait(InstanceIds=[six['InstanceId']])
    ec2.delete_subnet(SubnetId=only6)
    ec2.delete_vpc(VpcId=vpc6)
    fresh = run(NetworkInterfaces=[{'DeviceIndex': 0, 'SubnetId': plain['SubnetId'], 'Groups': [group],
                                    'AssociatePublicIpAddress': False, 'SecondaryPrivateIpAddressCount': 1}])
    check('no public address', 'PublicIpAddress' not in fresh)
    equal('two addresses', len(fresh['NetworkInterfaces'][0]['PrivateIpAddresses']), 2)
    ec2.modify_network_interface_attribute(NetworkInterfaceId=fresh['NetworkInterfaces'][0]['NetworkInterfaceId'],
                                           Groups=[plain['SecurityGroups'][0]['GroupId']])
    equal('other groups', show(fresh['InstanceId'])['SecurityGroups'][0]['GroupName'], 'default')
    named = run(SecurityGroups=['i'])
    equal('a group by its name', named['SecurityGroups'][0]['GroupId'], group)
    launch('InvalidSubnetID.NotFound', SubnetId='subnet-' + NONE)
    launch('InvalidGroup.NotFound', SecurityGroupIds=['sg-' + NONE])
    launch('InvalidGroup.NotFound', SecurityGroups=['none'])
    launch('InvalidParameterCombination', SecurityGroups=['i'], SubnetId=plain['SubnetId'])
    launch('InvalidIPAddress.InUse', SubnetId=plain['SubnetId'], PrivateIpAddress=plain['PrivateIpAddress'])
    launch('InvalidParameterCombination', SubnetId=plain['SubnetId'], PrivateIpAddress='172.31.0.99', MaxCount=2)
    launch('InvalidParameterCombination', SubnetId=plain['SubnetId'], NetworkInterfaces=[{'DeviceIndex': 0}])
    launch('InvalidParameterValue', NetworkInterfaces=[{'DeviceIndex': 1}])
    other = next(z for z in 'abc' if not plain['Placement']['AvailabilityZone'].endswith(z))
    launch('InvalidParameterValue', SubnetId=plain['SubnetId'], Placement={'AvailabilityZone': 'us-east-1' + other})
    # terminated, all is given back
    all_of_them = [i, two['InstanceId'], fresh['InstanceId'], named['InstanceId']]
    ec2.terminate_instances(InstanceIds=all_of_them)
    ec2.get_waiter('instance_terminated').wait(InstanceIds=all_of_them)
    equal('no interfaces are left', ec2.describe_network_interfaces()['NetworkInterfaces'], [])
    check('the Elastic IP is free', all('AssociationId' not in a for a in ec2.describe_addresses()['Addresses']))
    equal('all addresses are free', {s['AvailableIpAddressCount'] for s in ec2.describe_subnets()['Subnets']}, {4091})
    check('nothing is shown', 'PrivateIpAddress' not in show(i) and not show(i)['NetworkInterfaces'])
    ec2.delete_security_group(GroupId=group)


def main():
    global where
    server = Region('--simulate-hosts', '6', name='network')
    try:
        ec2 = server.client()
        for test in (default_network, vpc, subnet, security_group, network_interface, address, routes, network_acl,
                     dhcp_options, vpc_endpoint, vpc_peering, prefix_list, flow_log, instances):
            where = test.__name__
            try:
                test(ec2, server)
            except Exception as e:
                line = e.__traceback__
                while line.tb_next and line.tb_next.tb_frame.f_code.co_filename == __file__:
                    line = line.tb_next
                check(f'line {line.tb_lineno}', False, f'{type(e).__name__}: {e}')
    finally:
        where = 'end'
        equal('the server ended by itself', server.stop(), 0)
    print(f'{passed} passed, {failed} failed')
    return failed != 0


if __name__ == '__main__':
    sys.exit(main())
