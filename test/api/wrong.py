#!/usr/bin/python3
"""Wrong input, for every action that is done here: each id that it takes, malformed and unknown, gives the documented code;
values of the wrong kind and out of range are refused; and nothing but what was wrong is, since all else is right."""
import glob
import http.client
import re
from urllib.parse import urlencode, urlparse

import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from region import ROOT, Region, Results

region, results = Region('--simulate-hosts', '6', '--throttle', 'off', name='wrong'), Results()
image = region.restart_with_image()
own = region.restart_with_image('ami-0123456789abcdef1', '123456789012', 'us-east-1')
env, ec2 = region.environment(), region.client()
model = botocore.session.get_session().get_service_model('ec2')
credentials = Credentials(env['AWS_ACCESS_KEY_ID'], env['AWS_SECRET_ACCESS_KEY'])
connection = http.client.HTTPConnection(urlparse(region.url).netloc, timeout=20)


def send(action, parameters):
    body = urlencode({'Version': model.api_version, 'Action': action, **parameters})
    request = AWSRequest('POST', region.url + '/', data=body,
                         headers={'Content-Type': 'application/x-www-form-urlencoded; charset=utf-8'})
    SigV4Auth(credentials, 'ec2', 'us-east-1').add_auth(request)
    connection.request('POST', '/', body, dict(request.headers))
    answer = connection.getresponse()
    text = answer.read().decode()
    code = re.search('<[Cc]ode>([^<]*)</[Cc]ode>', text)
    return answer.status, code.group(1) if code else ''


def done():
    """The actions that have a function."""
    return sorted({name for path in glob.glob(ROOT + '/src/region/*.c')
                   for name in re.findall(r'^ACTION\(ec2, (\w+)\)', open(path).read(), re.M)})


LOAD_BALANCER = 'arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/net/x/0123456789abcdef'


def world():
    """One of everything, so that only what is meant to be wrong is: id by the names of members that have it."""
    vpc, other = [ec2.create_vpc(CidrBlock=c)['Vpc']['VpcId'] for c in ('10.0.0.0/16', '10.1.0.0/16')]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock='10.0.0.0/24', AvailabilityZone='us-east-1a')['Subnet']['SubnetId']
    volume = ec2.create_volume(AvailabilityZone='us-east-1a', Size=1)['VolumeId']
    host, = ec2.allocate_hosts(AvailabilityZone='us-east-1a', InstanceFamily='m5', Quantity=1)['HostIds']
    instance = ec2.run_instances(ImageId=image, InstanceType='m5.large', MinCount=1, MaxCount=1, SubnetId=subnet,
                                 Placement={'HostId': host})['Instances'][0]
    ec2.stop_instances(InstanceIds=[instance['InstanceId']])
    interface = ec2.create_network_interface(SubnetId=subnet)['NetworkInterface']['NetworkInterfaceId']
    gateway = ec2.create_internet_gateway()['InternetGateway']['InternetGatewayId']
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    address = ec2.allocate_address(Domain='vpc')['AllocationId']
    endpoint = ec2.create_vpc_endpoint(VpcId=vpc, ServiceName='com.amazonaws.us-east-1.s3')['VpcEndpoint']['VpcEndpointId']
    nat = ec2.create_nat_gateway(SubnetId=subnet, ConnectivityType='private')['NatGateway']['NatGatewayId']
    group = ec2.create_security_group(GroupName='g', Description='d', VpcId=vpc)['GroupId']
    template = ec2.create_launch_template(LaunchTemplateName='template', LaunchTemplateData={'InstanceType': 't3.micro'})
    prefixes = ec2.create_managed_prefix_list(PrefixListName='p', MaxEntries=2, AddressFamily='IPv4')['PrefixList']['PrefixListId']
    peering = ec2.create_vpc_peering_connection(VpcId=vpc, PeerVpcId=other)['VpcPeeringConnection']['VpcPeeringConnectionId']
    egress = ec2.create_egress_only_internet_gateway(VpcId=vpc)['EgressOnlyInternetGateway']['EgressOnlyInternetGatewayId']
    ids = {
        'VpcId': vpc, 'PeerVpcId': other, 'SubnetId': subnet, 'InstanceId': instance['InstanceId'], 'VolumeId': volume, 'HostId': host,
        'SnapshotId': ec2.create_snapshot(VolumeId=volume)['SnapshotId'], 'NetworkInterfaceId': interface, 'GroupId': group,
        'SecurityGroupId': group, 'ImageId': own, 'RouteTableId': ec2.create_route_table(VpcId=vpc)['RouteTable']['RouteTableId'],
        'NetworkAclId': ec2.create_network_acl(VpcId=vpc)['NetworkAcl']['NetworkAclId'], 'AllocationId': address,
        'PrefixListId': prefixes, 'LaunchTemplateId': template['LaunchTemplate']['LaunchTemplateId'],
        'InternetGatewayId': gateway, 'NatGatewayId': nat, 'VpcEndpointId': endpoint, 'VpcPeeringConnectionId': peering,
        'EgressOnlyInternetGatewayId': egress,
        'DhcpOptionsId': ec2.create_dhcp_options(DhcpConfigurations=[{'Key': 'domain-name', 'Values': ['x']}])['DhcpOptions']['DhcpOptionsId'],
        'SecurityGroupRuleId': ec2.describe_security_group_rules()['SecurityGroupRules'][0]['SecurityGroupRuleId'],
        'InstanceEventWindowId': ec2.create_instance_event_window(CronExpression='* 2-8 * * 1')['InstanceEventWindow']['InstanceEventWindowId'],
        'CapacityReservationId': ec2.create_capacity_reservation(InstanceType='t3.micro', InstancePlatform='Linux/UNIX', InstanceCount=1,
                                                                 AvailabilityZone='us-east-1a')['CapacityReservation']['CapacityReservationId'],
        'ServiceId': ec2.create_vpc_endpoint_service_configuration(
            NetworkLoadBalancerArns=[LOAD_BALANCER])['ServiceConfiguration']['ServiceId'],
        'PoolId': ec2.create_public_ipv4_pool()['PoolId'], 'ConnectionNotificationId': None, 'ReplaceRootVolumeTaskId': None,
        'FlowLogId': None, 'KeyPairId': ec2.create_key_pair(KeyName='k')['KeyPairId'], 'SubnetCidrReservationId': None,
        'NetworkInterfacePermissionId': None, 'AttachmentId': None, 'AssociationId': None}
    for name in ('Snapshot', 'Image'):
        ids[f'Source{name}Id'] = ids[name + 'Id']
    for name in ('RouteTable', 'Subnet', 'SecurityGroup'):
        ids[f'Add{name}Id'] = ids[f'Remove{name}Id'] = ids[name + 'Id']
    ids['DestinationPrefixListId'] = prefixes
    acl = ec2.describe_network_acls(Filters=[{'Name': 'association.subnet-id', 'Values': [subnet]}])['NetworkAcls'][0]
    interfaces = ec2.create_vpc_endpoint(VpcId=vpc, ServiceName='com.amazonaws.us-east-1.ec2', VpcEndpointType='Interface',
                                         SubnetIds=[subnet])['VpcEndpoint']['VpcEndpointId']
    route = {'DestinationCidrBlock': '10.9.0.0/16'}
    with_interface = {'VpcEndpointId': interfaces}
    # What else must be said for a member to count: by action, and by action and member.
    also = {
        'AssociateAddress': {'AllocationId': address}, 'CreateLaunchTemplateVersion': {'LaunchTemplateData.InstanceType': 't3.micro'},
        'CreateRoute': route, 'ReplaceRoute': route, 'CreateVpcPeeringConnection': {'VpcId': vpc},
        'ModifyInstanceAttribute': {'DisableApiStop.Value': 'true'}, 'RunInstances': {'ImageId': image, 'InstanceType': 't3.micro'},
        'ModifyInstancePlacement GroupId': {}, 'RevokeSecurityGroupIngress': {'GroupId': group}, 'RevokeSecurityGroupEgress': {'GroupId': group},
        'ModifySecurityGroupRules': {'SecurityGroupRule.1.SecurityGroupRuleId': ids['SecurityGroupRuleId'],
                                     'SecurityGroupRule.1.SecurityGroupRule.Description': 'd'},
        'ReplaceNetworkAclAssociation': {'AssociationId': acl['Associations'][0]['NetworkAclAssociationId']},
        'ReplaceRouteTableAssociation': {'AssociationId': ec2.associate_route_table(
            RouteTableId=ids['RouteTableId'], SubnetId=subnet)['AssociationId']}}
    for verb in ('Associate', 'Replace'):
        also[verb + ('IamInstanceProfile' if verb == 'Associate' else 'IamInstanceProfileAssociation')] = {'IamInstanceProfile.Name': 'web'}
    for verb in ('Associate', 'Disassociate'):
        also[verb + 'InstanceEventWindow'] = {'AssociationTarget.InstanceId.1': instance['InstanceId']}
    also['ModifyInstanceCapacityReservationAttributes'] = {'CapacityReservationSpecification.CapacityReservationPreference': 'open'}
    for action in ('CreateRoute', 'ReplaceRoute'):
        also[f'{action} DestinationPrefixListId'] = {'GatewayId': gateway}
        also[f'{action} EgressOnlyInternetGatewayId'] = {'DestinationIpv6CidrBlock': '::/0'}
    for member in ('SubnetId', 'SecurityGroupId'):
        also['CreateVpcEndpoint ' + member] = {'VpcEndpointType': 'Interface', 'ServiceName': 'com.amazonaws.us-east-1.ssm'}
        for verb in ('Add', 'Remove'):
            also[f'ModifyVpcEndpoint {verb}{member}'] = with_interface
    return ids, also


PREFIXES = {'AllocationId': 'eipalloc-', 'SubnetCidrReservationId': 'scr-', 'NetworkInterfacePermissionId': 'eni-perm-',
            'AttachmentId': 'eni-attach-', 'FlowLogId': 'fl-', 'DescribePlacementGroups': 'pg-', 'ModifyInstancePlacement GroupId': 'pg-',
            'DisassociateAddress': 'eipassoc-', 'DisassociateRouteTable': 'rtbassoc-', 'ReplaceRouteTableAssociation AssociationId': 'rtbassoc-',
            'ReplaceNetworkAclAssociation AssociationId': 'aclassoc-', 'DisassociateSubnetCidrBlock': 'subnet-cidr-assoc-',
            'DisassociateVpcCidrBlock': 'vpc-cidr-assoc-', 'DisassociateIamInstanceProfile': 'iip-assoc-',
            'ReplaceIamInstanceProfileAssociation': 'iip-assoc-', 'DescribeIamInstanceProfileAssociations': 'iip-assoc-', 'ConnectionNotificationId': 'vpce-nfn-',
            'ReplaceRootVolumeTaskId': 'replacevol-'}
# These answer with what could not be done, one by one; and this one with success, as EC2 does.
ONE_BY_ONE, IDEMPOTENT = ('DeleteFlowLogs', 'DeleteVpcEndpoints', 'DeleteVpcEndpointServiceConfigurations',
                          'DeleteVpcEndpointConnectionNotifications'), ('DeleteKeyPair KeyPairId unknown',)
# What a member is when the model says only that it is a text.
TEXTS = {'AvailabilityZone': 'us-east-1a', 'Device': '/dev/sdz', 'SourceRegion': 'us-east-1', 'Name': 'some-name', 'CidrBlock': '10.0.9.0/24',
         'Cidr': '10.0.9.0/28', 'DestinationCidrBlock': '10.9.0.0/16', 'ServiceName': 'com.amazonaws.us-east-1.s3', 'Protocol': '6',
         'ResourceType': 'instance', 'Attribute': 'description', 'KmsKeyId': 'alias/x', 'VersionNumber': '1', 'PreviousVersion': '1'}


def value_of(name, shape, depth=0):
    """Parameters for a member that must be there."""
    if shape.type_name == 'structure':
        return {f'.{k}{rest}': v for k in shape.required_members for rest, v in value_of(k, shape.members[k], depth + 1).items()}
    if shape.type_name == 'list':
        return {f'.1{rest}': v for rest, v in value_of(re.sub('s$', '', name), shape.member, depth + 1).items()}
    if shape.type_name == 'string':
        return {'': ids.get(name) or (shape.enum[0] if shape.enum else TEXTS.get(name, 'x'))}
    return {'': {'integer': str(max(1, shape.metadata.get('min', 1))), 'long': '1', 'boolean': 'true', 'double': '1', 'float': '1',
                 'timestamp': '2030-01-01T00:00:00Z', 'blob': 'eA=='}[shape.type_name]}


def wire(member, shape):
    """The name on the wire: of the ec2 protocol."""
    name = shape.serialization.get('queryName')
    if not name:
        name = shape.serialization.get('name', member)
        name = name[0].upper() + name[1:]
    return name


def base_of(shape):
    required = {}
    for member in shape.required_members:
        for rest, v in value_of(member, shape.members[member]).items():
            required[wire(member, shape.members[member]) + rest] = v
    if 'DryRun' in shape.members and shape.name.removesuffix('Request') not in ONE_BY_ONE:
        required['DryRun'] = 'true'
    return required


def id_members(shape):
    for member, inner in shape.members.items():
        name, rest = (re.sub('s$', '', member), '.1') if inner.type_name == 'list' else (member, '')
        kind = inner.member if rest else inner
        if kind.type_name == 'string' and name in ids:
            yield name, wire(member, inner), rest


def without(base, name):
    return {k: v for k, v in base.items() if k != name and not k.startswith(name + '.')}


MALFORMED = re.compile(r'(Malformed|NotFound|NotFoundException|\.Unknown|InvalidInstanceID|InvalidConnectionNotification)$')
UNKNOWN = re.compile(r'(NotFound|NotFoundException|\.Unknown|InvalidConnectionNotification)$')


def check_ids(action, shape, wrong):
    base, count = base_of(shape), 0
    for name, at, rest in id_members(shape):
        known = ids[name]
        prefix = PREFIXES.get(f'{action} {name}') or PREFIXES.get(action) or PREFIXES.get(name) or \
            (known and known.rsplit('-', 1)[0] + '-')
        more = also.get(f'{action} {name}', also.get(action, {}))
        for what, value, allowed in (('malformed', 'no id at all!', MALFORMED), ('unknown', f'{prefix}0fedcba9876543210', UNKNOWN)):
            if not prefix or f'{action} {name} {what}' in IDEMPOTENT:
                continue
            status, code = send(action, {**without({**base, **more}, at), at + rest: value})
            count += 1
            if status != (200 if action in ONE_BY_ONE else 400) or not allowed.search(code):
                wrong.append(f'{action} {at}: {what} gives {status} {code}')
    return count


def check_values(action, shape, wrong):
    base, count = {**base_of(shape), **also.get(action, {})}, 0
    for member, inner in shape.members.items():
        at, rest = wire(member, inner), ''
        if inner.type_name == 'list':
            inner, rest = inner.member, '.1'
        values = {'integer': ('abc', '1e3', '99999999999999'), 'long': ('abc',), 'boolean': ('maybe',), 'timestamp': ('yesterday',),
                  'double': ('abc',)}.get(inner.type_name, ())
        if inner.type_name == 'string' and inner.enum:
            values = ('no-such-value',)
        for value in values:
            status, code = send(action, {**without(base, at), at + rest: value})
            count += 1
            if status != 400 or code not in ('InvalidParameterValue', 'InvalidInstanceType'):
                wrong.append(f'{action} {at}={value}: {status} {code}')
        # In no order of magnitude anything breaks.
        for value in {'integer': ('-1', '0', '2147483647'), 'string': ('', 'x' * 5000, "'\"<&>\\")}.get(inner.type_name, ()):
            status, code = send(action, {**without(base, at), at + rest: value})
            count += 1
            if status not in (200, 400, 403, 412) or (status == 200 and 'DryRun' in base):
                wrong.append(f'{action} {at}={value[:20]!r}: {status} {code}')
    return count


ids, also = world()
actions = done()
wrong_ids, wrong_values, asked, tried = [], [], 0, 0
for action in actions:
    if action not in model.operation_names:
        continue
    shape = model.operation_model(action).input_shape
    if shape:
        asked += check_ids(action, shape, wrong_ids)
        tried += check_values(action, shape, wrong_values)
for line in wrong_ids + wrong_values:
    print('#', line)
results.ok('wrong-ids', not wrong_ids, f'{len(wrong_ids)} of {asked} wrong, {wrong_ids[0] if wrong_ids else ""}')
results.ok('wrong-ids-asked', asked > 350, f'{asked} asked')
results.ok('wrong-values', not wrong_values, f'{len(wrong_values)} of {tried} wrong, {wrong_values[0] if wrong_values else ""}')
results.ok('wrong-values-tried', tried > 2000, f'{tried} tried')
results.ok('wrong-serve-lives', region.process.poll() is None, 'serve ended')
region.stop()
results.end()
