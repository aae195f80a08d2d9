#!/usr/bin/python3
"""Each parameter of RunInstances: what it makes of the instance, or the error that it gives."""
import base64

import botocore.session
from botocore.exceptions import ClientError

from region import Region, Results

results = Results()
tried = set()


def show(i):
    return ec2.describe_instances(InstanceIds=[i])['Reservations'][0]['Instances'][0]


def launch(**more):
    tried.update(more)
    parameters = {'ImageId': image, 'InstanceType': 'm5.large', 'MinCount': 1, 'MaxCount': 1, **more}
    return show(ec2.run_instances(**{k: v for k, v in parameters.items() if v is not None})['Instances'][0]['InstanceId'])


def takes(name, wanted, of, **more):
    """What `of` tells of the instance that comes of these parameters."""
    try:
        results.equal('launch-' + name, of(launch(**more)), wanted)
    except ClientError as e:
        results.ok('launch-' + name, False, e)


def refuses(name, code, **more):
    try:
        seen = 'success' if launch(**more) else ''
    except ClientError as e:
        seen = e.response['Error']['Code']
    results.equal('launch-' + name, seen, code)


def attribute(name):
    def of(i):
        found = ec2.describe_instance_attribute(InstanceId=i['InstanceId'], Attribute=name)
        return found[name[0].upper() + name[1:]]['Value']
    return of


def volumes(i):
    found = ec2.describe_volumes(Filters=[{'Name': 'attachment.instance-id', 'Values': [i['InstanceId']]}])['Volumes']
    return sorted((v['Attachments'][0]['Device'], v['VolumeType'], v['Size'], v.get('Iops'), v['Encrypted'], v.get('Throughput')) for v in found)


def disk(name, **ebs):
    return {'BlockDeviceMappings': [{'DeviceName': name, 'Ebs': ebs}]}


def interface(**more):
    return {'NetworkInterfaces': [{'DeviceIndex': 0, 'SubnetId': subnet, **more}]}


def parameters():
    takes('type', 't2.micro', lambda i: i['InstanceType'], InstanceType=None)
    refuses('type-unknown', 'InvalidParameterValue', InstanceType='q9.huge')
    refuses('image-none', 'MissingParameter', ImageId=None)
    refuses('image-unknown', 'InvalidAMIID.NotFound', ImageId='ami-0fedcba9876543210')
    refuses('image-malformed', 'InvalidAMIID.Malformed', ImageId='ami-x')
    refuses('counts', 'InvalidParameterValue', MinCount=3, MaxCount=2)
    refuses('counts-0', 'InvalidParameterValue', MinCount=0)
    refuses('counts-many', 'InstanceLimitExceeded', MinCount=1, MaxCount=1001)
    takes('disks', [('/dev/sdf', 'gp3', 10, 4000, False, 200), ('/dev/sdg', 'io1', 8, 100, True, None)], volumes, BlockDeviceMappings=[
        {'DeviceName': '/dev/sdf', 'Ebs': {'VolumeSize': 10, 'VolumeType': 'gp3', 'Iops': 4000, 'Throughput': 200}},
        {'DeviceName': '/dev/sdg', 'Ebs': {'VolumeSize': 8, 'VolumeType': 'io1', 'Iops': 100, 'Encrypted': True}}])
    refuses('disk-ratio', 'InvalidParameterValue', **disk('/dev/sdf', VolumeSize=5, VolumeType='gp3', Iops=4000))
    refuses('disk-nothing', 'MissingParameter', BlockDeviceMappings=[{'Ebs': {'VolumeSize': 1}}])
    refuses('disk-snapshot', 'InvalidSnapshot.NotFound', **disk('/dev/sdf', SnapshotId='snap-0fedcba9876543210'))
    refuses('disk-name', 'InvalidBlockDeviceMapping', **disk('sdf sdg', VolumeSize=1))
    refuses('disk-virtual', 'UnsupportedOperation', BlockDeviceMappings=[{'DeviceName': '/dev/sdf', 'VirtualName': 'ephemeral0'}])
    refuses('disk-outpost', 'UnsupportedOperation', **disk('/dev/sdf', VolumeSize=1, OutpostArn='arn:aws:outposts:x'))
    for name in ('KernelId', 'RamdiskId'):
        refuses(name, 'UnsupportedOperation', **{name: 'aki-0123456789abcdef0'})
    takes('key', 'key', lambda i: i['KeyName'], KeyName='key')
    refuses('key-unknown', 'InvalidKeyPair.NotFound', KeyName='nokey')
    takes('monitoring', 'enabled', lambda i: i['Monitoring']['State'], Monitoring={'Enabled': True})
    takes('user-data', base64.b64encode(b'hello').decode(), attribute('userData'), UserData='hello')
    takes('user-data-most', 16384, lambda i: len(base64.b64decode(attribute('userData')(i))), UserData='x' * 16384)
    refuses('user-data-long', 'InvalidParameterValue', UserData='x' * 16385)
    takes('reserved-info', 'm5.large', lambda i: i['InstanceType'], AdditionalInfo='reserved')
    for name in ('DisableApiTermination', 'DisableApiStop'):
        takes(name, True, attribute(name[0].lower() + name[1:]), **{name: True})
    takes('ebs-optimized', True, lambda i: i['EbsOptimized'], EbsOptimized=True)
    takes('profile', 'arn:aws:iam::123456789012:instance-profile/x', lambda i: i['IamInstanceProfile']['Arn'], IamInstanceProfile={'Name': 'x'})
    takes('behaviour', 'terminate', attribute('instanceInitiatedShutdownBehavior'), InstanceInitiatedShutdownBehavior='terminate')
    refuses('behaviour-unknown', 'InvalidParameterValue', InstanceInitiatedShutdownBehavior='explode')
    for name in ('ElasticGpuSpecification', 'ElasticInferenceAccelerators'):
        refuses(name, 'UnsupportedOperation', **{name: [{'Type': 'x'}]})
    tags = [{'Key': 'a', 'Value': 'b'}]
    takes('tags', (tags, [tags], [tags]), lambda i: (i['Tags'], [v['Tags'] for v in ec2.describe_volumes(
        VolumeIds=[b['Ebs']['VolumeId'] for b in i['BlockDeviceMappings']])['Volumes']], [n['TagSet'] for n in ec2.describe_network_interfaces(
            NetworkInterfaceIds=[n['NetworkInterfaceId'] for n in i['NetworkInterfaces']])['NetworkInterfaces']]),
          **disk('/dev/sdf', VolumeSize=1), TagSpecifications=[{'ResourceType': t, 'Tags': tags} for t in ('instance', 'volume', 'network-interface')])
    refuses('tags-of-others', 'InvalidParameterValue', TagSpecifications=[{'ResourceType': 'vpc', 'Tags': tags}])
    takes('template', 't3.small', lambda i: i['InstanceType'], InstanceType=None, LaunchTemplate={'LaunchTemplateName': 'template'})
    takes('template-less', 'm5.large', lambda i: i['InstanceType'], LaunchTemplate={'LaunchTemplateName': 'template', 'Version': '$Latest'})
    refuses('template-version', 'InvalidLaunchTemplateId.VersionNotFound', LaunchTemplate={'LaunchTemplateName': 'template', 'Version': '9'})
    refuses('spot', 'UnsupportedOperation', InstanceMarketOptions={'MarketType': 'spot'})
    takes('credit', 'standard', lambda i: ec2.describe_instance_credit_specifications(InstanceIds=[i['InstanceId']])
          ['InstanceCreditSpecifications'][0]['CpuCredits'], InstanceType='t3.micro', CreditSpecification={'CpuCredits': 'standard'})
    refuses('credit-of-none', 'InvalidParameterCombination', CreditSpecification={'CpuCredits': 'standard'})
    takes('cpu', (1, 1), lambda i: (i['CpuOptions']['CoreCount'], i['CpuOptions']['ThreadsPerCore']), CpuOptions={'CoreCount': 1, 'ThreadsPerCore': 1})
    takes('capacity', {'CapacityReservationPreference': 'none'}, lambda i: i['CapacityReservationSpecification'],
          CapacityReservationSpecification={'CapacityReservationPreference': 'none'})
    refuses('hibernation', 'UnsupportedHibernationConfiguration', HibernationOptions={'Configured': True})
    takes('no-hibernation', {'Configured': False}, lambda i: i['HibernationOptions'], HibernationOptions={'Configured': False})
    refuses('license', 'UnsupportedOperation', LicenseSpecifications=[{'LicenseConfigurationArn': 'arn:x'}])
    said = {'HttpTokens': 'required', 'HttpPutResponseHopLimit': 5, 'HttpEndpoint': 'disabled', 'HttpProtocolIpv6': 'enabled',
            'InstanceMetadataTags': 'enabled'}
    takes('metadata', {'State': 'applied', **said}, lambda i: i['MetadataOptions'], MetadataOptions=said)
    takes('metadata-defaults', {'State': 'applied', 'HttpTokens': 'optional', 'HttpPutResponseHopLimit': 1, 'HttpEndpoint': 'enabled',
                                'HttpProtocolIpv6': 'disabled', 'InstanceMetadataTags': 'disabled'}, lambda i: i['MetadataOptions'])
    for hops in (0, 65):
        refuses(f'metadata-hops-{hops}', 'InvalidParameterValue', MetadataOptions={'HttpPutResponseHopLimit': hops})
    refuses('enclave', 'UnsupportedOperation', EnclaveOptions={'Enabled': True})
    takes('dns', ('resource-name', True), lambda i: (i['PrivateDnsNameOptions']['HostnameType'], i['PrivateDnsNameOptions']['EnableResourceNameDnsARecord']),
          PrivateDnsNameOptions={'HostnameType': 'resource-name', 'EnableResourceNameDnsARecord': True})
    takes('recovery', 'disabled', lambda i: i['MaintenanceOptions']['AutoRecovery'], MaintenanceOptions={'AutoRecovery': 'disabled'})
    takes('token', 'abc', lambda i: i['ClientToken'], ClientToken='abc')
    takes('token-again', 1, lambda i: sum(len(r['Instances']) for r in ec2.describe_instances(
        Filters=[{'Name': 'client-token', 'Values': ['abc']}])['Reservations']), ClientToken='abc')
    refuses('token-other', 'IdempotentParameterMismatch', ClientToken='abc', EbsOptimized=True)
    refuses('token-long', 'InvalidParameterValue', ClientToken='x' * 65)
    refuses('dry-run', 'DryRunOperation', DryRun=True)


def network():
    default = ec2.describe_security_groups(Filters=[{'Name': 'group-name', 'Values': ['default']}])['SecurityGroups'][0]['GroupId']
    range_of = ec2.describe_subnets(SubnetIds=[subnet])['Subnets'][0]
    address = range_of['CidrBlock'].rsplit('.', 1)[0] + '.77'
    takes('address', address, lambda i: i['PrivateIpAddress'], PrivateIpAddress=address, SubnetId=subnet)
    refuses('address-taken', 'InvalidIPAddress.InUse', PrivateIpAddress=address, SubnetId=subnet)
    refuses('address-outside', 'InvalidParameterValue', PrivateIpAddress='10.9.9.9', SubnetId=subnet)
    refuses('subnet-unknown', 'InvalidSubnetID.NotFound', SubnetId='subnet-0fedcba9876543210')
    refuses('zone-unknown', 'InvalidParameterValue', Placement={'AvailabilityZone': 'us-east-1z'})
    other = next(z for z in ('us-east-1a', 'us-east-1b') if z != range_of['AvailabilityZone'])
    refuses('zone-of-another', 'InvalidParameterValue', SubnetId=subnet, Placement={'AvailabilityZone': other})
    refuses('ipv6-none', 'InvalidParameterCombination', SubnetId=subnet, Ipv6AddressCount=1)
    takes('ipv6', 2, lambda i: len(i['NetworkInterfaces'][0]['Ipv6Addresses']), SubnetId=six, Ipv6AddressCount=2)
    wanted = ec2.describe_subnets(SubnetIds=[six])['Subnets'][0]['Ipv6CidrBlockAssociationSet'][0]['Ipv6CidrBlock'].replace('/64', '1234')
    takes('ipv6-one', [wanted], lambda i: [a['Ipv6Address'] for a in i['NetworkInterfaces'][0]['Ipv6Addresses']], SubnetId=six,
          Ipv6Addresses=[{'Ipv6Address': wanted}])
    takes('groups', [default], lambda i: [g['GroupId'] for g in i['SecurityGroups']], SecurityGroupIds=[default])
    takes('groups-by-name', [default], lambda i: [g['GroupId'] for g in i['SecurityGroups']], SecurityGroups=['default'])
    refuses('groups-both', 'InvalidParameterCombination', SecurityGroups=['default'], SecurityGroupIds=[default])
    refuses('groups-unknown', 'InvalidGroup.NotFound', SecurityGroups=['nope'])
    eni = ec2.create_network_interface(SubnetId=subnet)['NetworkInterface']['NetworkInterfaceId']
    takes('interface', eni, lambda i: i['NetworkInterfaces'][0]['NetworkInterfaceId'], NetworkInterfaces=[{'DeviceIndex': 0, 'NetworkInterfaceId': eni}])
    refuses('interface-in-use', 'InvalidNetworkInterface.InUse', NetworkInterfaces=[{'DeviceIndex': 0, 'NetworkInterfaceId': eni}])
    takes('interface-new', ('d', 3, True, False), lambda i: (
        i['NetworkInterfaces'][0]['Description'], len(i['NetworkInterfaces'][0]['PrivateIpAddresses']), 'PublicIpAddress' in i,
        i['NetworkInterfaces'][0]['Attachment']['DeleteOnTermination']), **interface(
            Groups=[default], Description='d', SecondaryPrivateIpAddressCount=2, AssociatePublicIpAddress=True, DeleteOnTermination=False))
    takes('interface-hidden', False, lambda i: 'PublicIpAddress' in i, **interface(AssociatePublicIpAddress=False))
    takes('interface-prefix', 1, lambda i: len(i['NetworkInterfaces'][0]['Ipv4Prefixes']), **interface(Ipv4PrefixCount=1))
    takes('interfaces', 2, lambda i: len(i['NetworkInterfaces']), NetworkInterfaces=[{'DeviceIndex': n, 'SubnetId': subnet} for n in (0, 1)])
    refuses('interface-subnet', 'InvalidParameterCombination', **interface(), **{'SubnetId': subnet})
    refuses('interface-efa', 'UnsupportedOperation', **interface(InterfaceType='efa'))
    refuses('interface-card', 'UnsupportedOperation', **interface(NetworkCardIndex=1))
    refuses('interface-carrier', 'UnsupportedOperation', **interface(AssociateCarrierIpAddress=True))
    refuses('placement-group', 'InvalidPlacementGroup.Unknown', Placement={'GroupName': 'none'})
    refuses('placement-partition', 'InvalidParameterCombination', Placement={'PartitionNumber': 2})
    refuses('placement-resources', 'UnsupportedOperation', Placement={'HostResourceGroupArn': 'arn:x'})
    takes('placement-dedicated', 'dedicated', lambda i: i['Placement']['Tenancy'], Placement={'Tenancy': 'dedicated'})


region = Region('--simulate-hosts', '120', '--throttle', 'off', name='launch')
try:
    image = region.restart_with_image()
    ec2 = region.client()
    vpc = ec2.create_vpc(CidrBlock='10.0.0.0/16', AmazonProvidedIpv6CidrBlock=True)['Vpc']['VpcId']
    block = ec2.describe_vpcs(VpcIds=[vpc])['Vpcs'][0]['Ipv6CidrBlockAssociationSet'][0]['Ipv6CidrBlock'].replace('::/56', '::/64')
    six = ec2.create_subnet(VpcId=vpc, CidrBlock='10.0.1.0/24', Ipv6CidrBlock=block)['Subnet']['SubnetId']
    subnet = ec2.describe_subnets(Filters=[{'Name': 'default-for-az', 'Values': ['true']}])['Subnets'][0]['SubnetId']
    ec2.create_key_pair(KeyName='key')
    ec2.create_launch_template(LaunchTemplateName='template', LaunchTemplateData={'InstanceType': 't3.small'})
    parameters()
    network()
    known = set(botocore.session.get_session().get_service_model('ec2').operation_model('RunInstances').input_shape.members)
    results.equal('launch-all', sorted(known - tried), [])
finally:
    region.stop()
results.end()
