#!/usr/bin/python3
"""What accounts let each other use: images and snapshots, named, public and not; instance profiles; event notifications."""
import sqlite3

from botocore.config import Config

from region import Region, Results, code_of, make_client

OTHER, THIRD = '111111111111', '222222222222'
ORGANIZATION = 'arn:aws:organizations::123456789012:organization/o-abcdefghij'
results = Results()


def equal(name, seen, wanted):
    results.equal('sharing-' + name, seen, wanted)


def client_of(account):
    return make_client('ec2', endpoint_url=region.url, region_name='us-east-1', aws_access_key_id='AKIA' + account,
                       aws_secret_access_key='secret-of-' + account, config=Config(retries={'max_attempts': 1},
                                                                                 parameter_validation=False))


def add_accounts():
    region.terminate()
    with sqlite3.connect(region.data + '/region.db') as db:
        for account in (OTHER, THIRD):
            db.execute('INSERT INTO access_key (id, secret, account, created) VALUES (?, ?, ?, 9999999999999)',
                       ['AKIA' + account, 'secret-of-' + account, account])
    db.close()
    region.start()


def listed(client, **parameters):
    return sorted(i['ImageId'] for i in client.describe_images(**parameters)['Images'])


def permissions(image):
    return ec2.describe_image_attribute(ImageId=image, Attribute='launchPermission')['LaunchPermissions']


def share(image, operation='add', **whom):
    return ec2.modify_image_attribute(ImageId=image, Attribute='launchPermission', OperationType=operation, **whom)


def launch(client, image, **more):
    return client.run_instances(ImageId=image, InstanceType='t3.micro', MinCount=1, MaxCount=1, **more)['Instances'][0]['InstanceId']


def images():
    volume = ec2.create_volume(AvailabilityZone='us-east-1a', Size=1)['VolumeId']
    snapshot = ec2.create_snapshot(VolumeId=volume)['SnapshotId']
    image = ec2.register_image(Name='mine', RootDeviceName='/dev/xvda', Architecture='x86_64', VirtualizationType='hvm',
                               BlockDeviceMappings=[{'DeviceName': '/dev/xvda', 'Ebs': {'SnapshotId': snapshot}}])['ImageId']
    equal('private', (image in listed(other), code_of(other.describe_images, ImageIds=[image]), code_of(launch, client=other, image=image),
                      permissions(image)), (False, 'InvalidAMIID.NotFound', 'AuthFailure', []))
    share(image, UserIds=[OTHER])
    equal('named', (permissions(image), image in listed(other), image in listed(third), image in listed(other, ExecutableUsers=['self']),
                    listed(ec2, ExecutableUsers=[OTHER]), listed(ec2, ExecutableUsers=[THIRD]), listed(other, Owners=['self'])),
          ([{'UserId': OTHER}], True, False, True, [image], [], []))
    one = launch(other, image)
    volumes = other.describe_volumes(Filters=[{'Name': 'attachment.instance-id', 'Values': [one]}])['Volumes']
    equal('launched', [v['SnapshotId'] for v in volumes], [snapshot])
    equal('third', code_of(launch, client=third, image=image), 'AuthFailure')
    # Who may launch an image has neither it nor what is in it.
    equal('not-theirs', [code_of(other.deregister_image, ImageId=image),
                         code_of(other.modify_image_attribute, ImageId=image, Description={'Value': 'x'}),
                         code_of(other.reset_image_attribute, ImageId=image, Attribute='launchPermission'),
                         code_of(other.create_volume, AvailabilityZone='us-east-1a', SnapshotId=snapshot)],
          ['AuthFailure'] * 3 + ['InvalidSnapshot.NotFound'])
    ec2.modify_image_attribute(ImageId=image, LaunchPermission={'Add': [{'Group': 'all'}, {'OrganizationArn': ORGANIZATION}]})
    equal('public', (sorted(map(str, permissions(image))), image in listed(third), listed(third, ExecutableUsers=['all'], Owners=['123456789012']),
                     ec2.describe_images(ImageIds=[image])['Images'][0]['Public'],
                     image in listed(third, Filters=[{'Name': 'is-public', 'Values': ['true']}])),
          (sorted(map(str, [{'UserId': OTHER}, {'Group': 'all'}, {'OrganizationArn': ORGANIZATION}])), True, sorted([image, SHARED]), True, True))
    launch(third, image)
    equal('still-mine', [code_of(third.deregister_image, ImageId=image), code_of(ec2.modify_image_attribute, ImageId=image,
                                                                                 Description={'Value': 'public'})], ['AuthFailure', 'success'])
    share(image, 'remove', UserGroups=['all'])
    equal('no-more', (image in listed(third), code_of(launch, client=third, image=image)), (False, 'AuthFailure'))
    # Other regions have images of their own.
    far = region.client(region='eu-west-1')
    equal('region', code_of(far.describe_images, ImageIds=[image]), 'InvalidAMIID.NotFound')
    other.cancel_image_launch_permission(ImageId=image)
    equal('cancelled', (image in listed(other), code_of(other.cancel_image_launch_permission, ImageId=image)), (False, 'InvalidAMIID.NotFound'))
    share(image, UserIds=[OTHER, THIRD])
    ec2.reset_image_attribute(ImageId=image, Attribute='launchPermission')
    equal('reset', (permissions(image), image in listed(other)), ([], False))
    equal('wrong', [code_of(share, image=image, UserIds=['someone']), code_of(share, image=image),
                    code_of(share, image=image, OrganizationArns=['arn:aws:organizations::1:organization/o-x']),
                    code_of(ec2.modify_image_attribute, ImageId=image, Attribute='launchPermission', UserIds=[OTHER]),
                    code_of(ec2.modify_image_attribute, ImageId=SHARED, LaunchPermission={'Add': [{'Group': 'all'}]})],
          ['InvalidUserID.Malformed', 'InvalidParameterCombination', 'InvalidParameterValue', 'MissingParameter', 'AuthFailure'])
    return image, snapshot


def snapshots(snapshot):
    equal('snapshot-private', code_of(other.describe_snapshots, SnapshotIds=[snapshot]), 'InvalidSnapshot.NotFound')
    ec2.modify_snapshot_attribute(SnapshotId=snapshot, CreateVolumePermission={'Add': [{'UserId': OTHER}]})
    equal('snapshot-named', ([s['SnapshotId'] for s in other.describe_snapshots()['Snapshots']],
                             [s['SnapshotId'] for s in third.describe_snapshots()['Snapshots']],
                             code_of(other.create_volume, AvailabilityZone='us-east-1a', SnapshotId=snapshot),
                             code_of(third.create_volume, AvailabilityZone='us-east-1a', SnapshotId=snapshot),
                             [s['SnapshotId'] for s in other.describe_snapshots(RestorableByUserIds=['self'])['Snapshots']]),
          ([snapshot], [], 'success', 'InvalidSnapshot.NotFound', [snapshot]))
    ec2.modify_snapshot_attribute(SnapshotId=snapshot, Attribute='createVolumePermission', OperationType='add', GroupNames=['all'])
    equal('snapshot-public', ([s['SnapshotId'] for s in third.describe_snapshots()['Snapshots']],
                              sorted(map(str, ec2.describe_snapshot_attribute(SnapshotId=snapshot, Attribute='createVolumePermission')
                                         ['CreateVolumePermissions']))),
          ([snapshot], sorted(map(str, [{'UserId': OTHER}, {'Group': 'all'}]))))
    ec2.reset_snapshot_attribute(SnapshotId=snapshot, Attribute='createVolumePermission')
    equal('snapshot-reset', code_of(other.describe_snapshots, SnapshotIds=[snapshot]), 'InvalidSnapshot.NotFound')


def associations(**parameters):
    return ec2.describe_iam_instance_profile_associations(**parameters)['IamInstanceProfileAssociations']


def profile_of(instance):
    return ec2.describe_instances(InstanceIds=[instance])['Reservations'][0]['Instances'][0].get('IamInstanceProfile', {}).get('Arn')


def profiles(image):
    role, path = 'arn:aws:iam::123456789012:instance-profile/web', 'arn:aws:iam::123456789012:instance-profile/some/path/db'
    one, two = launch(ec2, image, IamInstanceProfile={'Name': 'web'}), launch(ec2, image)
    equal('profile-launched', (profile_of(one), profile_of(two), len(associations())), (role, None, 1))
    made = ec2.associate_iam_instance_profile(InstanceId=two, IamInstanceProfile={'Arn': path})['IamInstanceProfileAssociation']
    equal('profile-associate', (made['State'], made['InstanceId'], profile_of(two)), ('associating', two, path))
    by_id, = associations(AssociationIds=[made['AssociationId']])
    equal('profile-describe', (by_id['State'], by_id['IamInstanceProfile'] == made['IamInstanceProfile'],
                               [a['InstanceId'] for a in associations(Filters=[{'Name': 'instance-id', 'Values': [one]}])],
                               len(associations(Filters=[{'Name': 'state', 'Values': ['associated']}])),
                               [r['Instances'][0]['InstanceId'] for r in ec2.describe_instances(
                                   Filters=[{'Name': 'iam-instance-profile.arn', 'Values': [path]}])['Reservations']]),
          ('associated', True, [one], 2, [two]))
    equal('profile-twice', code_of(ec2.associate_iam_instance_profile, InstanceId=two, IamInstanceProfile={'Name': 'web'}), 'IncorrectState')
    new = ec2.replace_iam_instance_profile_association(AssociationId=made['AssociationId'],
                                                       IamInstanceProfile={'Name': 'web'})['IamInstanceProfileAssociation']
    equal('profile-replace', (profile_of(two), new['AssociationId'] != made['AssociationId'], len(associations()),
                              new['IamInstanceProfile'] == associations()[0]['IamInstanceProfile']), (role, True, 2, True))
    gone = ec2.disassociate_iam_instance_profile(AssociationId=new['AssociationId'])['IamInstanceProfileAssociation']
    equal('profile-disassociate', (gone['State'], profile_of(two), len(associations())), ('disassociating', None, 1))
    equal('profile-again', code_of(ec2.disassociate_iam_instance_profile, AssociationId=new['AssociationId']), 'InvalidAssociationID.NotFound')
    wrong = [{'Name': 'no spaces'}, {'Name': 'x' * 129}, {'Arn': 'arn:aws:iam::123456789012:role/x'}, {'Arn': role, 'Name': 'web'}, {}]
    equal('profile-wrong', [code_of(ec2.associate_iam_instance_profile, InstanceId=two, IamInstanceProfile=w) for w in wrong],
          ['InvalidParameterValue'] * 3 + ['InvalidParameterCombination', 'MissingParameter'])
    equal('profile-launch-wrong', code_of(launch, client=ec2, image=image, IamInstanceProfile={'Name': 'a b'}), 'InvalidParameterValue')
    ec2.terminate_instances(InstanceIds=[one, two])
    equal('profile-terminated', (associations(), code_of(ec2.associate_iam_instance_profile, InstanceId=one,
                                                         IamInstanceProfile={'Name': 'web'})), ([], 'IncorrectInstanceState'))


def notifications():
    def now():
        return ec2.describe_instance_event_notification_attributes()['InstanceTagAttribute']
    equal('events-none', now(), {'InstanceTagKeys': [], 'IncludeAllTagsOfInstance': False})
    ec2.register_instance_event_notification_attributes(InstanceTagAttribute={'InstanceTagKeys': ['Name', 'team']})
    ec2.register_instance_event_notification_attributes(InstanceTagAttribute={'InstanceTagKeys': ['team', 'stage']})
    region.kill()
    region.start()
    globals().update(ec2=region.client())
    equal('events-keys', now(), {'InstanceTagKeys': ['Name', 'team', 'stage'], 'IncludeAllTagsOfInstance': False})
    ec2.deregister_instance_event_notification_attributes(InstanceTagAttribute={'InstanceTagKeys': ['Name']})
    equal('events-fewer', now()['InstanceTagKeys'], ['team', 'stage'])
    ec2.register_instance_event_notification_attributes(InstanceTagAttribute={'IncludeAllTagsOfInstance': True})
    equal('events-all', now(), {'InstanceTagKeys': [], 'IncludeAllTagsOfInstance': True})
    ec2.deregister_instance_event_notification_attributes(InstanceTagAttribute={'IncludeAllTagsOfInstance': True})
    equal('events-no-more', now()['IncludeAllTagsOfInstance'], False)
    equal('events-wrong', [code_of(ec2.register_instance_event_notification_attributes, **p) for p in
                           ({}, {'InstanceTagAttribute': {'InstanceTagKeys': ['x'], 'IncludeAllTagsOfInstance': True}},
                            {'InstanceTagAttribute': {'InstanceTagKeys': ['x' * 129]}})],
          ['MissingParameter', 'InvalidParameterCombination', 'InvalidParameterValue'])


def addresses():
    def offered(client=None):
        return [(t['AllocationId'], t['TransferAccountId'], t['AddressTransferStatus'])
                for t in (client or ec2).describe_address_transfers()['AddressTransfers']]
    one = ec2.allocate_address(Domain='vpc', TagSpecifications=[{'ResourceType': 'elastic-ip', 'Tags': [{'Key': 'k', 'Value': 'v'}]}])
    i, ip = one['AllocationId'], one['PublicIp']
    equal('address-not-offered', (code_of(other.accept_address_transfer, Address=ip), code_of(ec2.disable_address_transfer, AllocationId=i)),
          ('InvalidAddress.NotFound', 'IncorrectState'))
    ec2.enable_address_transfer(AllocationId=i, TransferAccountId=THIRD)
    ec2.disable_address_transfer(AllocationId=i)
    equal('address-disabled', (offered(), code_of(third.accept_address_transfer, Address=ip)), ([], 'InvalidAddress.NotFound'))
    given = ec2.enable_address_transfer(AllocationId=i, TransferAccountId=OTHER)['AddressTransfer']
    equal('address-offered', (given['AddressTransferStatus'], offered(), offered(other), code_of(third.accept_address_transfer, Address=ip)),
          ('pending', [(i, OTHER, 'pending')], [], 'InvalidAddress.NotFound'))
    took = other.accept_address_transfer(Address=ip)['AddressTransfer']
    equal('address-accepted', (took['AddressTransferStatus'], offered(), code_of(ec2.describe_addresses, AllocationIds=[i]),
                               [(a['PublicIp'], a.get('Tags')) for a in other.describe_addresses()['Addresses']],
                               ec2.describe_tags(Filters=[{'Name': 'resource-id', 'Values': [i]}])['Tags'],
                               code_of(other.accept_address_transfer, Address=ip)),
          ('accepted', [(i, OTHER, 'accepted')], 'InvalidAllocationID.NotFound', [(ip, None)], [], 'InvalidAddress.NotFound'))
    equal('address-wrong', [code_of(ec2.enable_address_transfer, AllocationId=x, TransferAccountId=a) for x, a in
                            ((i, THIRD), ('eipalloc-0', THIRD), (ec2.allocate_address()['AllocationId'], 'x'))],
          ['InvalidAllocationID.NotFound', 'InvalidAllocationID.Malformed', 'InvalidParameterValue'])
    equal('address-release', code_of(other.release_address, AllocationId=i), 'success')


def services():
    """An endpoint service that another account connects to."""
    balancer = 'arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/net/mine/0123456789abcdef'
    made = ec2.create_vpc_endpoint_service_configuration(NetworkLoadBalancerArns=[balancer], TagSpecifications=[
        {'ResourceType': 'vpc-endpoint-service', 'Tags': [{'Key': 'Name', 'Value': 'mine'}]}])['ServiceConfiguration']
    service, name = made['ServiceId'], made['ServiceName']
    equal('service', (name, made['ServiceState'], made['AcceptanceRequired'], [s['ServiceId'] for s in ec2.describe_vpc_endpoint_service_configurations(
        Filters=[{'Name': 'tag:Name', 'Values': ['mine']}])['ServiceConfigurations']],
                      ec2.describe_vpc_endpoint_services(ServiceNames=[name])['ServiceDetails'][0]['Owner']),
          (f'com.amazonaws.vpce.us-east-1.{service}', 'Available', True, [service], '123456789012'))
    vpc = other.describe_vpcs()['Vpcs'][0]['VpcId']
    subnet = other.describe_subnets()['Subnets'][0]['SubnetId']

    def connect():
        return other.create_vpc_endpoint(VpcId=vpc, ServiceName=name, VpcEndpointType='Interface', SubnetIds=[subnet])['VpcEndpoint']
    equal('service-not-allowed', code_of(connect), 'InvalidServiceName')
    ec2.modify_vpc_endpoint_service_permissions(ServiceId=service, AddAllowedPrincipals=[f'arn:aws:iam::{OTHER}:root'])
    equal('service-principals', [p['PrincipalType'] for p in ec2.describe_vpc_endpoint_service_permissions(ServiceId=service)['AllowedPrincipals']],
          ['Account'])
    topic = ec2.create_vpc_endpoint_connection_notification(ServiceId=service, ConnectionNotificationArn='arn:aws:sns:us-east-1:123456789012:t',
                                                            ConnectionEvents=['Accept'])['ConnectionNotification']['ConnectionNotificationId']
    ec2.modify_vpc_endpoint_connection_notification(ConnectionNotificationId=topic, ConnectionEvents=['Accept', 'Reject'])
    equal('notification', [n['ConnectionEvents'] for n in ec2.describe_vpc_endpoint_connection_notifications()['ConnectionNotificationSet']],
          [['Accept', 'Reject']])
    endpoint = connect()

    def connection():
        return [(c['VpcEndpointId'], c['VpcEndpointOwner'], c['VpcEndpointState']) for c in
                ec2.describe_vpc_endpoint_connections(Filters=[{'Name': 'service-id', 'Values': [service]}])['VpcEndpointConnections']]
    e = endpoint['VpcEndpointId']
    equal('service-pending', (endpoint['State'], connection()), ('pendingAcceptance', [(e, OTHER, 'pendingAcceptance')]))
    equal('service-in-use', ec2.delete_vpc_endpoint_service_configurations(ServiceIds=[service])['Unsuccessful'][0]['Error']['Code'],
          'ExistingVpcEndpointConnections')
    ec2.accept_vpc_endpoint_connections(ServiceId=service, VpcEndpointIds=[e])
    equal('service-accepted', (connection(), other.describe_vpc_endpoints(VpcEndpointIds=[e])['VpcEndpoints'][0]['State']),
          ([(e, OTHER, 'available')], 'available'))
    ec2.reject_vpc_endpoint_connections(ServiceId=service, VpcEndpointIds=[e])
    equal('service-rejected', connection(), [(e, OTHER, 'rejected')])
    equal('service-modify', [code_of(ec2.modify_vpc_endpoint_service_configuration, ServiceId=service, **p) for p in (
        {'AcceptanceRequired': False, 'PrivateDnsName': 'a.example.com'}, {'RemoveNetworkLoadBalancerArns': [balancer]},
        {'AddGatewayLoadBalancerArns': ['x']}, {'RemovePrivateDnsName': True})],
        ['success', 'MissingParameter', 'InvalidParameter', 'success'])
    equal('service-unaccepted', connect()['State'], 'available')
    other.delete_vpc_endpoints(VpcEndpointIds=[c[0] for c in connection()])
    ec2.delete_vpc_endpoint_connection_notifications(ConnectionNotificationIds=[topic])
    equal('service-deleted', (ec2.delete_vpc_endpoint_service_configurations(ServiceIds=[service])['Unsuccessful'],
                              code_of(ec2.describe_vpc_endpoint_service_configurations, ServiceIds=[service])),
          ([], 'InvalidVpcEndpointServiceId.NotFound'))


def others(snapshot):
    pool = ec2.create_public_ipv4_pool(TagSpecifications=[{'ResourceType': 'ipv4pool-ec2', 'Tags': [{'Key': 'k', 'Value': 'v'}]}])['PoolId']
    equal('pool', (ec2.describe_public_ipv4_pools(PoolIds=[pool])['PublicIpv4Pools'][0]['Tags'],
                   code_of(ec2.provision_public_ipv4_pool_cidr, PoolId=pool, IpamPoolId='ipam-pool-0123456789abcdef0', NetmaskLength=28),
                   code_of(ec2.delete_public_ipv4_pool, PoolId=pool), code_of(ec2.delete_public_ipv4_pool, PoolId=pool)),
          ([{'Key': 'k', 'Value': 'v'}], 'InvalidIpamPoolId.NotFound', 'success', 'InvalidPublicIpv4PoolID.NotFound'))
    def restores():
        return [(f['SnapshotId'], f['AvailabilityZone'], f['State']) for f in ec2.describe_fast_snapshot_restores()['FastSnapshotRestores']]
    zones = ['us-east-1a', 'us-east-1b']
    on = ec2.enable_fast_snapshot_restores(AvailabilityZones=zones, SourceSnapshotIds=[snapshot])
    equal('restores', (len(on['Successful']), on['Unsuccessful'], restores()), (2, [], [(snapshot, z, 'enabled') for z in zones]))
    off = ec2.disable_fast_snapshot_restores(AvailabilityZones=['us-east-1b', 'us-east-1c'], SourceSnapshotIds=[snapshot])
    equal('restores-fewer', (len(off['Successful']), off['Unsuccessful'][0]['FastSnapshotRestoreStateErrors'][0]['AvailabilityZone'], restores()),
          (1, 'us-east-1c', [(snapshot, 'us-east-1a', 'enabled')]))
    equal('ids', (all(s['UseLongIds'] for s in ec2.describe_id_format()['Statuses']), ec2.describe_aggregate_id_format()['UseLongIdsAggregated'],
                  [s['Resource'] for s in ec2.describe_id_format(Resource='vpc')['Statuses']],
                  [code_of(ec2.modify_id_format, Resource='vpc', UseLongIds=u) for u in (True, False)]),
          (True, True, ['vpc'], ['success', 'InvalidParameterValue']))
    vpc = ec2.describe_vpcs()['Vpcs'][0]['VpcId']
    equal('retired', [code_of(ec2.enable_vpc_classic_link, VpcId=vpc), ec2.describe_classic_link_instances()['Instances'],
                      code_of(ec2.modify_availability_zone_group, GroupName='us-east-1', OptInStatus='opted-in')],
          ['UnsupportedOperation', [], 'success'])


def reserved():
    def bought(**more):
        return [(x['ReservedInstancesId'], x['State'], x['InstanceCount']) for x in ec2.describe_reserved_instances(**more)['ReservedInstances']]
    asked = {'InstanceType': 't3.micro', 'OfferingClass': 'standard', 'OfferingType': 'No Upfront'}
    year, years = ec2.describe_reserved_instances_offerings(**asked)['ReservedInstancesOfferings']
    here, = ec2.describe_reserved_instances_offerings(AvailabilityZone='us-east-1b', MaxDuration=40000000, **asked)['ReservedInstancesOfferings']
    equal('offerings', (years['Duration'] == 3 * year['Duration'], year['Scope'], here['Scope'], here['FixedPrice'],
                        [o['ReservedInstancesOfferingId'] for o in ec2.describe_reserved_instances_offerings(
                            ReservedInstancesOfferingIds=[years['ReservedInstancesOfferingId']])['ReservedInstancesOfferings']]),
          (True, 'Region', 'Availability Zone', 0, [years['ReservedInstancesOfferingId']]))
    pages = list(ec2.get_paginator('describe_reserved_instances_offerings').paginate(
        Filters=[{'Name': 'instance-type', 'Values': ['m5.*']}], PaginationConfig={'PageSize': 25}))
    all_of = [o['ReservedInstancesOfferingId'] for p in pages for o in p['ReservedInstancesOfferings']]
    equal('offering-pages', (len(all_of) == len(set(all_of)), len(all_of) % 12, len(pages) > 2), (True, 0, True))
    now = ec2.purchase_reserved_instances_offering(ReservedInstancesOfferingId=here['ReservedInstancesOfferingId'], InstanceCount=2)['ReservedInstancesId']
    later = ec2.purchase_reserved_instances_offering(ReservedInstancesOfferingId=year['ReservedInstancesOfferingId'], InstanceCount=1,
                                                     PurchaseTime='2099-01-01T00:00:00Z')['ReservedInstancesId']
    equal('bought', (bought(), bought(ReservedInstancesIds=[later]), bought(Filters=[{'Name': 'scope', 'Values': ['Availability Zone']}])),
          ([(now, 'active', 2), (later, 'queued', 1)], [(later, 'queued', 1)], [(now, 'active', 2)]))
    gone = ec2.delete_queued_reserved_instances(ReservedInstancesIds=[now, later])
    equal('unqueued', ([x['ReservedInstancesId'] for x in gone['SuccessfulQueuedPurchaseDeletions']],
                       [x['Error']['Code'] for x in gone['FailedQueuedPurchaseDeletions']], bought()),
          ([later], ['reserved-instances-not-in-queued-state'], [(now, 'active', 2)]))
    equal('reserved-wrong', [code_of(ec2.describe_reserved_instances, ReservedInstancesIds=[later]), code_of(
        ec2.purchase_reserved_instances_offering, ReservedInstancesOfferingId='x', InstanceCount=1), code_of(
        ec2.purchase_reserved_instances_offering, ReservedInstancesOfferingId=year['ReservedInstancesOfferingId'], InstanceCount=0)],
          ['InvalidReservedInstancesId', 'InvalidReservedInstancesOfferingId', 'InvalidParameterValue'])


region = Region('--simulate-hosts', '3', '--throttle', 'off', name='sharing')
try:
    SHARED = region.restart_with_image()
    add_accounts()
    ec2, other, third = region.client(), client_of(OTHER), client_of(THIRD)
    mine, of = images()
    snapshots(of)
    profiles(mine)
    addresses()
    services()
    others(of)
    reserved()
    notifications()
finally:
    region.stop()
results.end()
