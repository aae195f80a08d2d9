#!/usr/bin/python3
"""What botocore builds on the actions: every waiter and every paginator of its EC2 model whose action is implemented.
On simulated hosts, so that it is quick."""
import botocore.session
from botocore.exceptions import ClientError, WaiterError

from region import Region, Results

results = Results()
region = Region('--simulate-hosts', '6', name='sdk')
ec2 = region.client()
loader = botocore.session.get_session().get_component('data_loader')
model = ec2.meta.service_model


def unsupported(call, **parameters):
    try:
        call(**parameters)
    except ClientError as e:
        return e.response['Error']['Code'] == 'UnsupportedOperation'
    return False


def method(operation):
    return next(name for name, api in ec2.meta.method_to_api_mapping.items() if api == operation)


def tags(kind, name):
    return [{'ResourceType': kind, 'Tags': [{'Key': 'Name', 'Value': name}, {'Key': 'part', 'Value': 'sdk'}]}]


class World:
    """Some of everything: more than a page of five of what is easily made."""

    def __init__(self):
        self.image = region.insula('image', 'build', 'micro').split()[-1]
        self.vpcs = [ec2.create_vpc(CidrBlock=f'10.{i}.0.0/16', TagSpecifications=tags('vpc', f'v{i}'))['Vpc']['VpcId']
                     for i in range(7)]
        self.vpc = self.vpcs[0]
        self.subnets = [ec2.create_subnet(VpcId=self.vpc, CidrBlock=f'10.0.{i}.0/24')['Subnet']['SubnetId'] for i in range(7)]
        self.groups = [ec2.create_security_group(GroupName=f'g{i}', Description='d', VpcId=self.vpc)['GroupId'] for i in range(7)]
        for port in range(7):
            ec2.authorize_security_group_ingress(GroupId=self.groups[0], IpPermissions=[
                {'IpProtocol': 'tcp', 'FromPort': port, 'ToPort': port, 'IpRanges': [{'CidrIp': '10.0.0.0/8'}]}])
        self.interfaces = [ec2.create_network_interface(SubnetId=self.subnets[0])['NetworkInterface']['NetworkInterfaceId']
                           for i in range(7)]
        for i in range(7):
            gateway = ec2.create_internet_gateway()['InternetGateway']['InternetGatewayId']
            ec2.create_egress_only_internet_gateway(VpcId=self.vpc)
            ec2.create_route_table(VpcId=self.vpc)
            ec2.create_network_acl(VpcId=self.vpc)
            ec2.create_dhcp_options(DhcpConfigurations=[{'Key': 'domain-name', 'Values': [f'd{i}']}])
            ec2.create_launch_template(LaunchTemplateName=f'template-{i}', LaunchTemplateData={'InstanceType': 't3.nano'})
        self.gateway = gateway
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=self.vpc)
        for i in range(6):
            ec2.create_launch_template_version(LaunchTemplateName='template-0', LaunchTemplateData={'InstanceType': 't3.micro'})
        self.list = ec2.create_managed_prefix_list(PrefixListName='p', MaxEntries=10, AddressFamily='IPv4', Entries=[
            {'Cidr': f'10.{i}.0.0/16'} for i in range(7)])['PrefixList']['PrefixListId']
        address = ec2.allocate_address(Domain='vpc')['AllocationId']
        self.nat = ec2.create_nat_gateway(SubnetId=self.subnets[1], AllocationId=address)['NatGateway']['NatGatewayId']
        self.peering = ec2.create_vpc_peering_connection(VpcId=self.vpcs[1], PeerVpcId=self.vpcs[2])[
            'VpcPeeringConnection']['VpcPeeringConnectionId']
        ec2.create_key_pair(KeyName='k')
        self.volume = ec2.create_volume(Size=1, AvailabilityZone='us-east-1a')['VolumeId']
        self.snapshot = ec2.create_snapshot(VolumeId=self.volume)['SnapshotId']
        self.instances = [i['InstanceId'] for i in ec2.run_instances(ImageId=self.image, InstanceType='t3.nano', MinCount=7, MaxCount=7,
                                                                     Placement={'AvailabilityZone': 'us-east-1a'})['Instances']]

    def drop_volume(self):
        ec2.detach_volume(VolumeId=self.volume)
        wait('volume_available', VolumeIds=[self.volume])
        ec2.delete_volume(VolumeId=self.volume)


def wait(name, **parameters):
    """Whether the waiter reaches its end, and how it failed if not."""
    try:
        ec2.get_waiter(name).wait(WaiterConfig={'Delay': 1, 'MaxAttempts': 30}, **parameters)
        return 'done'
    except WaiterError as e:
        return str(e)


def wait_for_all(world):
    one = world.instances[:1]
    steps = [
        ('instance_exists', None, {'InstanceIds': one}), ('instance_running', None, {'InstanceIds': one}),
        ('instance_status_ok', None, {'InstanceIds': one}), ('system_status_ok', None, {'InstanceIds': one}),
        ('image_exists', None, {'ImageIds': [world.image]}), ('image_available', None, {'ImageIds': [world.image]}),
        ('internet_gateway_exists', None, {'InternetGatewayIds': [world.gateway]}),
        ('key_pair_exists', None, {'KeyNames': ['k']}),
        ('nat_gateway_available', None, {'NatGatewayIds': [world.nat]}),
        ('nat_gateway_deleted', lambda: ec2.delete_nat_gateway(NatGatewayId=world.nat), {'NatGatewayIds': [world.nat]}),
        ('network_interface_available', None, {'NetworkInterfaceIds': world.interfaces}),
        ('security_group_exists', None, {'GroupIds': world.groups}),
        ('subnet_available', None, {'SubnetIds': world.subnets}),
        ('vpc_available', None, {'VpcIds': world.vpcs}), ('vpc_exists', None, {'VpcIds': world.vpcs}),
        ('vpc_peering_connection_exists', None, {'VpcPeeringConnectionIds': [world.peering]}),
        ('vpc_peering_connection_deleted',
         lambda: ec2.delete_vpc_peering_connection(VpcPeeringConnectionId=world.peering),
         {'VpcPeeringConnectionIds': [world.peering]}),
        ('volume_available', None, {'VolumeIds': [world.volume]}),
        ('snapshot_completed', None, {'SnapshotIds': [world.snapshot]}),
        ('volume_in_use', lambda: ec2.attach_volume(VolumeId=world.volume, InstanceId=one[0], Device='/dev/sdf'),
         {'VolumeIds': [world.volume]}),
        ('volume_deleted', world.drop_volume, {'VolumeIds': [world.volume]}),
        ('instance_stopped', lambda: ec2.stop_instances(InstanceIds=one), {'InstanceIds': one}),
        ('instance_terminated', lambda: ec2.terminate_instances(InstanceIds=one), {'InstanceIds': one}),
    ]
    for name, before, parameters in steps:
        if before:
            before()
        results.equal(f'waiter-{name}', wait(name, **parameters), 'done')
    # Linux has no password: this one waits in vain.
    results.ok('waiter-password_data_available',
               'Max attempts' in wait_once('password_data_available', InstanceId=world.instances[1]), 'it ended')
    known = {name for name, _, _ in steps} | {'password_data_available'}
    for name in ec2.waiter_names:
        operation = ec2.get_waiter(name).config.operation
        if name not in known:
            results.ok(f'waiter-{name}-unsupported', unsupported(getattr(ec2, method(operation))),
                       f'{operation} is implemented, and its waiter has no test')


def wait_once(name, **parameters):
    try:
        ec2.get_waiter(name).wait(WaiterConfig={'Delay': 1, 'MaxAttempts': 1}, **parameters)
        return 'done'
    except WaiterError as e:
        return str(e)


def lists(page, keys):
    """The items of a page; a reservation may go over several, so it is instances that count."""
    items = [item for key in keys for item in page.get(key, [])]
    return [i for r in items for i in r['Instances']] if keys == ['Reservations'] else items


def page_through(world):
    parameters = {
        'DescribeLaunchTemplateVersions': {'LaunchTemplateName': 'template-0'}, 'DescribeStaleSecurityGroups': {'VpcId': world.vpc},
        'GetManagedPrefixListAssociations': {'PrefixListId': world.list}, 'GetManagedPrefixListEntries': {'PrefixListId': world.list},
    }
    described, longest = 0, 0
    for operation, config in sorted(loader.load_service_model('ec2', 'paginators-1')['pagination'].items()):
        name = method(operation)
        shape = model.operation_model(operation).input_shape
        missing = [m for m in shape.required_members if m not in parameters.get(operation, {})]
        # A required parameter that is not here is said before or after; both are no page.
        if unsupported(getattr(ec2, name), **parameters.get(operation, {})) or missing:
            continue
        keys = config['result_key'] if isinstance(config['result_key'], list) else [config['result_key']]
        given = parameters.get(operation, {})
        whole = lists(getattr(ec2, name)(**given), keys)
        limit = shape.members[config['limit_key']]
        size = int(limit.metadata.get('min', 5)) or 1
        pages = list(ec2.get_paginator(name).paginate(PaginationConfig={'PageSize': size}, **given))
        paged = [item for page in pages for item in lists(page, keys)]
        good = all(len(lists(page, [key])) <= size for page in pages for key in keys)
        whole, paged = [sorted(map(repr, some)) for some in (whole, paged)]
        results.ok(f'paginator-{name}', good and whole == paged,
                   f'{len(whole)} at once, {len(paged)} in {len(pages)} pages of {size}')
        described += 1
        longest += len(pages) > 1
    results.ok('paginators', described >= 30 and longest >= 12, f'{described} done, {longest} of more than one page')


def other_services():
    """Of a service that is not here a client reads why, whatever protocol it speaks: query, JSON, REST-JSON, REST-XML."""
    calls = {('autoscaling', 'describe_auto_scaling_groups'): {}, ('elbv2', 'describe_load_balancers'): {},
             ('iam', 'list_users'): {}, ('ecs', 'list_clusters'): {}, ('ssm', 'get_parameter'): {'Name': 'x'},
             ('ecr', 'describe_repositories'): {}, ('eks', 'list_clusters'): {}, ('lambda', 'list_functions'): {},
             ('s3', 'list_buckets'): {}}
    for (service, call), parameters in calls.items():
        try:
            getattr(region.client(service), call)(**parameters)
            seen = 'success'
        except ClientError as e:
            seen = e.response['Error']['Code'], e.response['Error']['Message'].endswith('is not one of those offered here')
        results.equal(f'no-service-{service}', seen, ('InvalidAction', True))


try:
    other_services()
    all_of_it = World()
    page_through(all_of_it)
    wait_for_all(all_of_it)
finally:
    region.stop()
results.end()
