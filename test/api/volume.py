#!/usr/bin/python3
"""Volumes and snapshots: on simulated hosts all that the API says of them; on this machine their bytes."""
import os
import re
import signal
import subprocess
import time

from lab import Guest, eventually
from region import Region, Results, code_of

IMAGE = 'ami-0123456789abcdef0'
ZONE, OTHER = 'us-east-1a', 'us-east-1b'

results = Results()


def equal(name, seen, wanted):
    results.equal('volume-' + name, seen, wanted)


def create(**parameters):
    return code_of(ec2.create_volume, **{'AvailabilityZone': ZONE, **parameters})


def volume(**parameters):
    return ec2.create_volume(**{'AvailabilityZone': ZONE, 'Size': 8, **parameters})['VolumeId']


def show(*ids, **parameters):
    return ec2.describe_volumes(VolumeIds=list(ids), **parameters)['Volumes']


def found(**filters):
    return sorted(v['VolumeId'] for v in ec2.describe_volumes(
        Filters=[{'Name': name.replace('_', '-').replace('--', '.'), 'Values': [value]} for name, value in filters.items()])['Volumes'])


def instance(**parameters):
    return ec2.run_instances(**{'ImageId': image, 'InstanceType': 't3.nano', 'MinCount': 1, 'MaxCount': 1,
                                'Placement': {'AvailabilityZone': ZONE}, **parameters})['Instances'][0]


def mappings(i):
    found = ec2.describe_instances(InstanceIds=[i])['Reservations'][0]['Instances'][0]['BlockDeviceMappings']
    return {m['DeviceName']: m['Ebs'] for m in found}


def wait(client, what, **ids):
    client.get_waiter(what).wait(WaiterConfig={'Delay': 1, 'MaxAttempts': 120}, **ids)


def limits():
    """Sizes, operations and throughput of each type, at both ends."""
    good, bad = 'DryRunOperation', 'InvalidParameterValue'
    sizes = {'gp2': (1, 16384), 'gp3': (1, 16384), 'io1': (4, 16384), 'io2': (4, 65536), 'st1': (125, 16384),
             'sc1': (125, 16384), 'standard': (1, 1024)}
    for kind, (least, most) in sizes.items():
        iops = {'Iops': 100} if kind in ('io1', 'io2') else {}
        equal(f'size-{kind}', [create(VolumeType=kind, Size=size, DryRun=True, **iops)
                               for size in (least - 1, least, most, most + 1)], [bad, good, good, bad])
    equal('iops', [create(VolumeType=kind, Size=size, Iops=iops, DryRun=True) for kind, size, iops in (
        ('io1', 100, 99), ('io1', 100, 5000), ('io1', 100, 5001), ('io1', 2000, 64001), ('io2', 300, 256000), ('io2', 4, 4001),
        ('gp3', 4, 2999), ('gp3', 1, 3000), ('gp3', 8, 4000), ('gp3', 8, 4001), ('gp3', 100, 16001))],
          [bad, good, bad, bad, good, bad, bad, good, good, bad, bad])
    equal('throughput', [create(VolumeType='gp3', Size=100, Iops=iops, Throughput=mib, DryRun=True) for iops, mib in (
        (3000, 124), (3000, 750), (3000, 751), (4000, 1000), (16000, 1001))], [bad, good, bad, good, bad])
    equal('wrong-combinations', [create(**{'Size': 8, 'DryRun': True, **p}) for p in (
        {'VolumeType': 'gp2', 'Iops': 300}, {'VolumeType': 'st1', 'Size': 200, 'Throughput': 200}, {'VolumeType': 'io1'},
        {'MultiAttachEnabled': True}, {'KmsKeyId': 'x'}, {'VolumeType': 'gp9'}, {'AvailabilityZone': 'us-east-1z'},
        {'SnapshotId': 'snap-0123456789abcdef0'}, {'SnapshotId': 'snap-x'}, {'OutpostArn': 'arn:x'})],
          ['InvalidParameterCombination', 'InvalidParameterCombination', 'MissingParameter', 'InvalidParameterCombination',
           'InvalidParameterDependency', 'InvalidParameterValue', 'InvalidZone.NotFound', 'InvalidSnapshot.NotFound',
           'InvalidSnapshotID.Malformed', 'UnsupportedOperation'])
    equal('no-size', create(), 'MissingParameter')


def records():
    made = ec2.create_volume(AvailabilityZone=ZONE, Size=100, ClientToken='one', TagSpecifications=[
        {'ResourceType': 'volume', 'Tags': [{'Key': 'Name', 'Value': 'data'}]}])
    again = ec2.create_volume(AvailabilityZone=ZONE, Size=100, ClientToken='one', TagSpecifications=[
        {'ResourceType': 'volume', 'Tags': [{'Key': 'Name', 'Value': 'data'}]}])
    v = made['VolumeId']
    equal('token', again['VolumeId'], v)
    equal('token-mismatch', create(Size=101, ClientToken='one'), 'IdempotentParameterMismatch')
    equal('made', (made['State'], made['VolumeType'], made['Iops'], made['Encrypted'], made['SnapshotId'], made['Attachments']),
          ('creating', 'gp2', 300, False, '', []))
    wait(ec2, 'volume_available', VolumeIds=[v])
    equal('defaults', [(x['Iops'], x['Throughput']) for x in show(volume(VolumeType='gp3'))], [(3000, 125)])
    other = volume(AvailabilityZone=OTHER, VolumeType='io2', Iops=200, MultiAttachEnabled=True, Encrypted=True)
    equal('encrypted', (show(other)[0]['Encrypted'], show(other)[0]['KmsKeyId'].endswith(':alias/aws/ebs')), (True, True))
    equal('filters', [found(**f) for f in (
        {'tag:Name': 'data'}, {'size': '100'}, {'volume_type': 'io2'}, {'availability_zone': OTHER}, {'encrypted': 'true'},
        {'multi_attach_enabled': 'true'}, {'status': 'in-use'}, {'volume_id': v})],
          [[v], [v], [other], [other], [other], [other], [], [v]])
    pages = list(ec2.get_paginator('describe_volumes').paginate(PaginationConfig={'PageSize': 5}))
    equal('pages', sum(len(p['Volumes']) for p in pages), 3)
    equal('ids', [code_of(ec2.delete_volume, VolumeId=i) for i in ('vol-xyz', 'vol-0123456789abcdef0')],
          ['InvalidVolumeID.Malformed', 'InvalidVolume.NotFound'])
    return v, other


def attaching(v, other):
    i = instance()['InstanceId']
    attach = lambda **p: code_of(ec2.attach_volume, **{'VolumeId': v, 'InstanceId': i, 'Device': '/dev/sdf', **p})
    equal('attach-wrong', [attach(Device='nonsense'), attach(VolumeId=other), attach(InstanceId='i-0123456789abcdef0'),
                           attach(DryRun=True)],
          ['InvalidParameterValue', 'InvalidVolume.ZoneMismatch', 'InvalidInstanceID.NotFound', 'DryRunOperation'])
    equal('attach', ec2.attach_volume(VolumeId=v, InstanceId=i, Device='/dev/sdf')['State'], 'attaching')
    wait(ec2, 'volume_in_use', VolumeIds=[v])
    equal('attached', [(a['InstanceId'], a['Device'], a['State'], a['DeleteOnTermination']) for a in show(v)[0]['Attachments']],
          [(i, '/dev/sdf', 'attached', False)])
    equal('mapping', {d: m['VolumeId'] for d, m in mappings(i).items()}, {'/dev/sdf': v})
    equal('attachment-filters', [found(**{f'attachment.{n}': x}) for n, x in (
        ('instance-id', i), ('device', '/dev/sdf'), ('status', 'attached'), ('delete-on-termination', 'true'))], [[v], [v], [v], []])
    second = volume()
    equal('in-use', [attach(), attach(VolumeId=second), code_of(ec2.delete_volume, VolumeId=v)],
          ['VolumeInUse', 'InvalidParameterValue', 'VolumeInUse'])
    equal('detach-wrong', [code_of(ec2.detach_volume, VolumeId=v, Device='/dev/sdg'), code_of(ec2.detach_volume, VolumeId=second)],
          ['InvalidAttachment.NotFound', 'IncorrectState'])
    equal('detach', ec2.detach_volume(VolumeId=v)['State'], 'detaching')
    wait(ec2, 'volume_available', VolumeIds=[v])
    equal('detached', mappings(i), {})
    # Told to go with the instance, and not.
    ec2.attach_volume(VolumeId=v, InstanceId=i, Device='/dev/sdf')
    ec2.attach_volume(VolumeId=second, InstanceId=i, Device='/dev/sdg')
    ec2.modify_instance_attribute(InstanceId=i, BlockDeviceMappings=[{'DeviceName': '/dev/sdg', 'Ebs': {'DeleteOnTermination': True}}])
    equal('delete-on-termination', show(second)[0]['Attachments'][0]['DeleteOnTermination'], True)
    ec2.terminate_instances(InstanceIds=[i])
    equal('terminated', (show(v)[0]['State'], code_of(ec2.describe_volumes, VolumeIds=[second])), ('available', 'InvalidVolume.NotFound'))
    # More than one instance.
    pair = [instance(Placement={'AvailabilityZone': OTHER})['InstanceId'] for _ in range(2)]
    for i in pair:
        ec2.attach_volume(VolumeId=other, InstanceId=i, Device='/dev/sdf')
    equal('multi-attach', sorted(a['InstanceId'] for a in show(other)[0]['Attachments']), sorted(pair))
    equal('multi-detach', [code_of(ec2.detach_volume, VolumeId=other), code_of(ec2.detach_volume, VolumeId=other, InstanceId=pair[0]),
                           show(other)[0]['State']], ['MissingParameter', 'success', 'in-use'])
    ec2.terminate_instances(InstanceIds=pair)


def launching():
    snapshot = ec2.create_snapshot(VolumeId=volume(Size=5))['SnapshotId']
    run = instance(BlockDeviceMappings=[
        {'DeviceName': '/dev/sdb', 'Ebs': {'VolumeSize': 20, 'VolumeType': 'gp3', 'Iops': 4000, 'Throughput': 200}},
        {'DeviceName': '/dev/sdc', 'Ebs': {'SnapshotId': snapshot, 'DeleteOnTermination': False}}],
        TagSpecifications=[{'ResourceType': 'volume', 'Tags': [{'Key': 'from', 'Value': 'launch'}]}])
    had = {d: m['VolumeId'] for d, m in mappings(run['InstanceId']).items()}
    b, c = show(had['/dev/sdb'], had['/dev/sdc'])
    equal('launch', (sorted(had), b['Size'], b['VolumeType'], b['Iops'], b['Throughput'], b['State'], c['Size'], c['SnapshotId'],
                     b['Tags']), (['/dev/sdb', '/dev/sdc'], 20, 'gp3', 4000, 200, 'in-use', 5, snapshot,
                                  [{'Key': 'from', 'Value': 'launch'}]))
    ec2.terminate_instances(InstanceIds=[run['InstanceId']])
    equal('launch-end', found(**{'tag:from': 'launch'}), [had['/dev/sdc']])
    wrong = lambda *m: code_of(instance, BlockDeviceMappings=list(m))
    equal('launch-wrong', [
        wrong({'DeviceName': '/dev/sdb', 'Ebs': {'VolumeSize': 0}}), wrong({'DeviceName': '/dev/sdb', 'Ebs': {}}),
        wrong({'DeviceName': 'x', 'Ebs': {'VolumeSize': 1}}), wrong({'DeviceName': '/dev/sdb'}),
        wrong({'DeviceName': '/dev/sdb', 'VirtualName': 'ephemeral0'}), wrong({'Ebs': {'VolumeSize': 1}}),
        wrong(*[{'DeviceName': '/dev/sdb', 'Ebs': {'VolumeSize': 1}}] * 2),
        wrong({'DeviceName': '/dev/sdb', 'Ebs': {'SnapshotId': 'snap-0123456789abcdef0'}})],
          ['InvalidParameterValue', 'InvalidBlockDeviceMapping', 'InvalidBlockDeviceMapping', 'InvalidBlockDeviceMapping',
           'UnsupportedOperation', 'MissingParameter', 'InvalidBlockDeviceMapping', 'InvalidSnapshot.NotFound'])


def modifying():
    v = volume(Size=10)
    modify = lambda **p: code_of(ec2.modify_volume, VolumeId=v, **p)
    equal('modify-wrong', [modify(), modify(Size=9), modify(Size=20000), modify(Throughput=200), modify(VolumeType='io1')],
          ['InvalidParameterCombination', 'InvalidParameterValue', 'InvalidParameterValue', 'InvalidParameterCombination',
           'MissingParameter'])
    equal('modifications-none', code_of(ec2.describe_volumes_modifications, VolumeIds=[v]), 'InvalidVolumeModification.NotFound')
    m = ec2.modify_volume(VolumeId=v, Size=20, VolumeType='gp3')['VolumeModification']
    equal('modify', (m['OriginalSize'], m['TargetSize'], m['OriginalVolumeType'], m['TargetVolumeType'], m['OriginalIops'],
                     m['TargetIops'], m['ModificationState']), (10, 20, 'gp2', 'gp3', 100, 3000, 'modifying'))
    shown = ec2.describe_volumes_modifications(Filters=[{'Name': 'target-volume-type', 'Values': ['gp3']}])['VolumesModifications']
    equal('modifications', [(x['VolumeId'], x['ModificationState'], x['Progress']) for x in shown], [(v, 'completed', 100)])
    equal('modified', [(x['Size'], x['VolumeType'], x['Iops']) for x in show(v)], [(20, 'gp3', 3000)])
    status = ec2.describe_volume_status(VolumeIds=[v])['VolumeStatuses'][0]
    equal('status', (status['VolumeStatus']['Status'], status['AvailabilityZone']), ('ok', ZONE))
    equal('status-filter', len(ec2.describe_volume_status(Filters=[{'Name': 'volume-status.status', 'Values': ['impaired']}])
                               ['VolumeStatuses']), 0)
    ec2.modify_volume_attribute(VolumeId=v, AutoEnableIO={'Value': True})
    equal('attribute', ec2.describe_volume_attribute(VolumeId=v, Attribute='autoEnableIO')['AutoEnableIO'], {'Value': True})
    equal('enable-io', code_of(ec2.enable_volume_io, VolumeId=v), 'success')


def snapshots():
    v = volume(Size=7, TagSpecifications=[{'ResourceType': 'volume', 'Tags': [{'Key': 'k', 'Value': 'v'}]}])
    made = ec2.create_snapshot(VolumeId=v, Description='first', TagSpecifications=[
        {'ResourceType': 'snapshot', 'Tags': [{'Key': 'Name', 'Value': 's'}]}])
    s = made['SnapshotId']
    equal('snapshot', (made['State'], made['VolumeSize'], made['VolumeId'], made['Description']), ('pending', 7, v, 'first'))
    wait(ec2, 'snapshot_completed', SnapshotIds=[s])
    listed = lambda **p: [x['SnapshotId'] for x in ec2.describe_snapshots(**p)['Snapshots']]
    by = lambda name, value: listed(Filters=[{'Name': name, 'Values': [value]}])
    equal('snapshot-filters', [by('description', 'fir*'), by('volume-id', v), by('volume-size', '7'), by('tag:Name', 's'),
                               by('status', 'error'), listed(OwnerIds=['self'], SnapshotIds=[s]), listed(OwnerIds=['111111111111']),
                               listed(RestorableByUserIds=['self'], SnapshotIds=[s])], [[s], [s], [s], [s], [], [s], [], [s]])
    equal('from-snapshot', [create(SnapshotId=s, Size=6, DryRun=True), show(volume(SnapshotId=s, Size=9))[0]['SnapshotId']],
          ['InvalidParameterValue', s])
    permission = lambda: ec2.describe_snapshot_attribute(SnapshotId=s, Attribute='createVolumePermission')['CreateVolumePermissions']
    ec2.modify_snapshot_attribute(SnapshotId=s, CreateVolumePermission={'Add': [{'UserId': '111111111111'}, {'Group': 'all'}]})
    equal('permissions', permission(), [{'UserId': '111111111111'}, {'Group': 'all'}])
    ec2.modify_snapshot_attribute(SnapshotId=s, Attribute='createVolumePermission', OperationType='remove', GroupNames=['all'])
    equal('permissions-left', permission(), [{'UserId': '111111111111'}])
    ec2.reset_snapshot_attribute(SnapshotId=s, Attribute='createVolumePermission')
    equal('permissions-reset', permission(), [])
    equal('permission-wrong', code_of(ec2.modify_snapshot_attribute, SnapshotId=s, CreateVolumePermission={'Add': [{'UserId': 'me'}]}),
          'InvalidUserID.Malformed')
    west = region.client(region='us-west-2')
    c = west.copy_snapshot(SourceRegion='us-east-1', SourceSnapshotId=s, Description='copy')['SnapshotId']
    wait(west, 'snapshot_completed', SnapshotIds=[c])
    equal('copy', [(x['VolumeSize'], x['Description']) for x in west.describe_snapshots(SnapshotIds=[c])['Snapshots']], [(7, 'copy')])
    equal('copy-unknown', code_of(west.copy_snapshot, SourceRegion='us-east-1', SourceSnapshotId='snap-0123456789abcdef0'),
          'InvalidSnapshot.NotFound')
    equal('tiers', [x['StorageTier'] for x in ec2.describe_snapshot_tier_status(
        Filters=[{'Name': 'snapshot-id', 'Values': [s]}])['SnapshotTierStatuses']], ['standard'])
    i = instance(BlockDeviceMappings=[{'DeviceName': d, 'Ebs': {'VolumeSize': n}} for d, n in (('/dev/sdb', 1), ('/dev/sdc', 2))])['InstanceId']
    both = ec2.create_snapshots(InstanceSpecification={'InstanceId': i}, CopyTagsFromSource='volume')['Snapshots']
    equal('of-instance', sorted(x['VolumeSize'] for x in both), [1, 2])
    equal('delete', [code_of(ec2.delete_snapshot, SnapshotId=x) for x in (s, s, 'snap-zz')],
          ['success', 'InvalidSnapshot.NotFound', 'InvalidSnapshotID.Malformed'])


def images():
    i = instance(BlockDeviceMappings=[{'DeviceName': '/dev/sdb', 'Ebs': {'VolumeSize': 8, 'VolumeType': 'gp3', 'Iops': 3500}}])['InstanceId']
    made = ec2.create_image(InstanceId=i, Name='of-instance', Description='d', BlockDeviceMappings=[
        {'DeviceName': '/dev/sdc', 'Ebs': {'VolumeSize': 9}}], TagSpecifications=[
        {'ResourceType': r, 'Tags': [{'Key': 'of', 'Value': r}]} for r in ('image', 'snapshot')])['ImageId']
    wait(ec2, 'image_available', ImageIds=[made])
    described = ec2.describe_images(ImageIds=[made])['Images'][0]
    devices = {m['DeviceName']: m['Ebs'] for m in described['BlockDeviceMappings']}
    s = devices['/dev/sdb']['SnapshotId']
    equal('image', (described['Name'], described['Tags'], devices['/dev/sdb']['VolumeSize'], devices['/dev/sdb']['Iops'],
                    devices['/dev/sdc']['VolumeSize'], 'SnapshotId' in devices['/dev/sdc']),
          ('of-instance', [{'Key': 'of', 'Value': 'image'}], 8, 3500, 9, False))
    equal('image-snapshot', [t['Value'] for t in ec2.describe_snapshots(SnapshotIds=[s])['Snapshots'][0]['Tags']], ['snapshot'])
    equal('image-wrong', [
        code_of(ec2.create_image, InstanceId=i, Name='of-instance'), code_of(ec2.create_image, InstanceId=i, Name='x'),
        code_of(ec2.create_image, InstanceId='i-0123456789abcdef0', Name='other'), code_of(ec2.delete_snapshot, SnapshotId=s),
        code_of(ec2.register_image, Name='from-nothing'), code_of(ec2.register_image, Name='of-arm', Architecture='arm64')],
          ['InvalidAMIName.Duplicate', 'InvalidAMIName.Malformed', 'InvalidInstanceID.NotFound', 'InvalidSnapshot.InUse',
           'MissingParameter', 'UnsupportedOperation'])
    launched = instance(ImageId=made)
    equal('image-launch', {d: (show(m['VolumeId'])[0]['Size'], show(m['VolumeId'])[0]['SnapshotId'])
                           for d, m in mappings(launched['InstanceId']).items()}, {'/dev/sdb': (8, s), '/dev/sdc': (9, '')})
    registered = ec2.register_image(Name='registered', RootDeviceName='/dev/sda1', BlockDeviceMappings=[
        {'DeviceName': '/dev/sda1', 'Ebs': {'SnapshotId': s, 'VolumeSize': 14}}])['ImageId']
    equal('register', [(x['RootDeviceName'], x['BlockDeviceMappings'][0]['Ebs']['VolumeSize'])
                       for x in ec2.describe_images(ImageIds=[registered])['Images']], [('/dev/sda1', 14)])
    west = region.client(region='us-west-2')
    copy = west.copy_image(SourceRegion='us-east-1', SourceImageId=made, Name='copy')['ImageId']
    there = {m['DeviceName']: m['Ebs'] for m in west.describe_images(ImageIds=[copy])['Images'][0]['BlockDeviceMappings']}
    equal('copy-image', (there['/dev/sdb']['SnapshotId'] != s, len(west.describe_snapshots(
        SnapshotIds=[there['/dev/sdb']['SnapshotId']])['Snapshots'])), (True, 1))
    for x in (made, registered):
        ec2.deregister_image(ImageId=x)
    equal('image-end', code_of(ec2.delete_snapshot, SnapshotId=s), 'success')


def encryption():
    on = lambda: ec2.get_ebs_encryption_by_default()['EbsEncryptionByDefault']
    ec2.enable_ebs_encryption_by_default()
    ec2.modify_ebs_default_kms_key_id(KmsKeyId='alias/mine')
    made = show(volume())[0]
    equal('encryption-default', (on(), made['Encrypted'], made['KmsKeyId'].split(':')[-1]), (True, True, 'alias/mine'))
    ec2.reset_ebs_default_kms_key_id()
    ec2.disable_ebs_encryption_by_default()
    equal('encryption-off', (on(), ec2.get_ebs_default_kms_key_id()['KmsKeyId']), (False, 'alias/aws/ebs'))


def wait_for(name, call, wanted, seconds=60):
    """What a reconciler does comes, and fails only when it has not come for long."""
    for _ in range(seconds * 10):
        seen = call()
        if seen == wanted:
            break
        time.sleep(0.1)
    equal(name, seen, wanted)


def file_of(v):
    return f'{region.data}/{"snapshots" if v.startswith("snap") else "volumes"}/{v}'


def size_of(v):
    return os.stat(file_of(v)).st_size if os.path.exists(file_of(v)) else None


def in_guest(i, command, says):
    """Types a command at the guest's console until it has answered."""
    for _ in range(30):
        subprocess.run([region.program, 'console', i, '--data', region.data], input=command.encode() + b'\n',
                       capture_output=True, timeout=20)
        if says in ec2.get_console_output(InstanceId=i, Latest=True).get('Output', ''):
            return True
        time.sleep(1)
    return False


def bytes_of_volumes():
    global ec2
    gib = 1 << 30
    v = ec2.create_volume(AvailabilityZone=ZONE, Size=1)['VolumeId']
    region.kill()
    region.start()
    ec2 = region.client()
    wait(ec2, 'volume_available', VolumeIds=[v])
    equal('file', (size_of(v), os.stat(file_of(v)).st_blocks), (gib, 0))
    equal('file-impaired', [(os.rename(file_of(v), file_of(v) + 'x'), ec2.describe_volume_status(VolumeIds=[v]),
                             os.rename(file_of(v) + 'x', file_of(v)))[1]['VolumeStatuses'][0]['VolumeStatus']['Status'],
                            ec2.describe_volume_status(VolumeIds=[v])['VolumeStatuses'][0]['VolumeStatus']['Status']], ['impaired', 'ok'])
    equal('no-encryption', [create(Size=1, Encrypted=True), code_of(ec2.enable_ebs_encryption_by_default)],
          ['UnsupportedOperation', 'UnsupportedOperation'])
    ec2.modify_volume(VolumeId=v, Size=2)
    wait_for('file-grows', lambda: size_of(v), 2 * gib)

    i = instance(BlockDeviceMappings=[{'DeviceName': '/dev/sdb', 'Ebs': {'VolumeSize': 1}}])['InstanceId']
    wait(ec2, 'instance_running', InstanceIds=[i])
    b = mappings(i)['/dev/sdb']['VolumeId']
    root = mappings(i)['/dev/xvda']['VolumeId']
    equal('root', [(x['State'], x['Size'], x['Attachments'][0]['DeleteOnTermination']) for x in show(root)], [('in-use', 1, True)])
    serial = b.replace('-', '')
    results.ok('volume-serial', in_guest(i, 'cat /sys/block/nvme1n1/device/serial', serial), 'no ' + serial)
    results.ok('volume-write', in_guest(i, 'echo bytes-of-a-volume > /dev/nvme1n1; sync; echo written-$((40+2))', 'written-42'), 'no write')
    equal('running', [code_of(ec2.create_snapshot, VolumeId=b), code_of(ec2.modify_volume, VolumeId=b, Size=2)],
          ['UnsupportedOperation'] * 2)
    ec2.stop_instances(InstanceIds=[i], Force=True)
    wait(ec2, 'instance_stopped', InstanceIds=[i])
    s = ec2.create_snapshot(VolumeId=b)['SnapshotId']
    wait(ec2, 'snapshot_completed', SnapshotIds=[s])
    copy = ec2.create_volume(AvailabilityZone=ZONE, SnapshotId=s, Size=2)['VolumeId']
    wait(ec2, 'volume_available', VolumeIds=[copy])
    with open(file_of(copy), 'rb') as file:
        equal('from-snapshot-bytes', (file.read(17), size_of(copy)), (b'bytes-of-a-volume', 2 * gib))
    made = ec2.create_image(InstanceId=i, Name='of-instance')['ImageId']
    wait(ec2, 'image_available', ImageIds=[made])
    of_image = instance(ImageId=made)['InstanceId']
    wait(ec2, 'instance_running', InstanceIds=[of_image])
    with open(file_of(mappings(of_image)['/dev/sdb']['VolumeId']), 'rb') as file:
        equal('of-image-bytes', (file.read(17), sorted(mappings(of_image))), (b'bytes-of-a-volume', ['/dev/sdb', '/dev/xvda']))
    ec2.terminate_instances(InstanceIds=[of_image])
    taken = [m['Ebs']['SnapshotId'] for m in ec2.describe_images(ImageIds=[made])['Images'][0]['BlockDeviceMappings']]
    ec2.deregister_image(ImageId=made)
    for x in taken:
        ec2.delete_snapshot(SnapshotId=x)
    ec2.attach_volume(VolumeId=copy, InstanceId=i, Device='/dev/sdc')
    ec2.start_instances(InstanceIds=[i])
    wait(ec2, 'instance_running', InstanceIds=[i])
    serial = copy.replace('-', '')
    results.ok('volume-second', in_guest(i, 'cat /sys/block/nvme2n1/device/serial', serial), 'no ' + serial)
    ec2.terminate_instances(InstanceIds=[i])
    wait(ec2, 'instance_terminated', InstanceIds=[i])
    wait_for('files-end', lambda: [size_of(x) is not None for x in (root, b, copy, s, v)], [False, False, True, True, True])
    for x in (copy, v):
        ec2.delete_volume(VolumeId=x)
    ec2.delete_snapshot(SnapshotId=s)
    wait_for('files-gone', lambda: os.listdir(region.data + '/volumes') + os.listdir(region.data + '/snapshots'), [])


def attachment(v):
    """What the volume says of its attachment, and what the instance does."""
    shown = show(v)[0]
    if not shown['Attachments']:
        return shown['State'], None
    a = shown['Attachments'][0]
    of_instance = mappings(a['InstanceId']).get(a['Device'], {})
    return a['State'], of_instance.get('Status') if of_instance.get('VolumeId') == v else None


def becomes(name, v, *wanted, seconds=120):
    wait_for(name, lambda: attachment(v), wanted, seconds)


def crash():
    """The region ends at once, and is back."""
    global ec2
    region.kill()
    region.start()
    ec2 = region.client()


def vmm_of(i):
    keeper = subprocess.run(['pgrep', '-f', f'keep {region.data}/instances/{i}'], capture_output=True, text=True).stdout.split()
    return int(subprocess.run(['pgrep', '-P', keeper[0]], capture_output=True, text=True).stdout)


class Disks(Guest):
    """A guest, and its disks by their serial numbers."""

    def device(self, v):
        """Whatever the kernel says on the line meanwhile."""
        said = self.says(f'for d in /sys/block/nvme*; do grep -q {v.replace("-", "")} $d/device/serial && echo ${{d##*/}}; done')
        names = re.findall(r'\bnvme\d+n\d+\b', said)
        return names[0] if names else None

    def sees(self, name, v, wanted=True):
        results.ok('volume-' + name, eventually(lambda: bool(self.device(v)) == wanted, 120), self.says('cat /sys/block/*/device/serial'))

    def reads(self, name, v, text):
        said = self.says(f'head -c 9 /dev/{self.device(v)}')
        results.ok('volume-' + name, text in said, said)

    def writes(self, v, text):
        return self.ok(f'echo {text} >/dev/{self.device(v)} && sync')


def boots(i):
    wait(ec2, 'instance_running', InstanceIds=[i])
    guest = Disks(region, i)
    guest.wait()
    return guest


def plugging():
    """Volumes come and go while the machine runs, whoever is killed meanwhile."""
    i, j = (instance()['InstanceId'] for _ in range(2))
    v, w = (ec2.create_volume(AvailabilityZone=ZONE, Size=1)['VolumeId'] for _ in range(2))
    wait(ec2, 'volume_available', VolumeIds=[v, w])
    first, second = boots(i), boots(j)
    made = ec2.attach_volume(VolumeId=v, InstanceId=i, Device='/dev/sdf')
    several = [{'DeviceName': f'/dev/sd{chr(ord("b") + n)}', 'Ebs': {'VolumeSize': 1}} for n in range(24)]
    equal('room', [code_of(instance, BlockDeviceMappings=several[:n], DryRun=True) for n in (23, 24)],
          ['DryRunOperation', 'AttachmentLimitExceeded'])
    equal('plug', (made['State'], made['Device'], made['InstanceId']), ('attaching', '/dev/sdf', i))
    becomes('plugged', v, 'attached', 'attached')
    first.sees('plugged-seen', v)
    results.ok('volume-plugged-writes', first.writes(v, 'hot-bytes'))
    equal('plugged-errors', [
        code_of(ec2.attach_volume, VolumeId=v, InstanceId=j, Device='/dev/sdf'),
        code_of(ec2.attach_volume, VolumeId=w, InstanceId=i, Device='/dev/sdf'), code_of(ec2.delete_volume, VolumeId=v),
        code_of(ec2.detach_volume, VolumeId=mappings(i)['/dev/xvda']['VolumeId'])],
          ['VolumeInUse', 'InvalidParameterValue', 'VolumeInUse', 'OperationNotPermitted'])
    ec2.attach_volume(VolumeId=w, InstanceId=i, Device='/dev/sdg')
    crash()
    becomes('plugged-after-crash', w, 'attached', 'attached')
    first.sees('plugged-after-crash-seen', w)
    equal('unplug', ec2.detach_volume(VolumeId=v, InstanceId=i, Device='/dev/sdf')['State'], 'detaching')
    crash()
    becomes('unplugged', v, 'available', None)
    first.sees('unplugged-unseen', v, False)
    with open(file_of(v), 'rb') as file:
        equal('unplugged-bytes', file.read(9), b'hot-bytes')
    ec2.attach_volume(VolumeId=v, InstanceId=j, Device='/dev/sdb')
    becomes('plugged-elsewhere', v, 'attached', 'attached')
    second.sees('plugged-elsewhere-seen', v)
    second.reads('plugged-elsewhere-bytes', v, 'hot-bytes')

    ec2.stop_instances(InstanceIds=[i], Force=True)
    wait(ec2, 'instance_stopped', InstanceIds=[i])
    equal('plugged-stays', attachment(w), ('attached', 'attached'))
    ec2.start_instances(InstanceIds=[i])
    first = boots(i)
    first.sees('plugged-stays-seen', w)
    # One that the machine was started with goes as well.
    results.ok('volume-cold-writes', first.writes(w, 'all-there'))
    ec2.detach_volume(VolumeId=w)
    becomes('unplugged-cold', w, 'available', None)
    first.sees('unplugged-cold-unseen', w, False)

    # A kernel that has halted gives nothing back.
    second.line.sendall(b'halt -f\n')
    results.ok('volume-guest-halted', second.has_said('System halted'))
    ec2.detach_volume(VolumeId=v)
    becomes('busy', v, 'busy', 'busy')
    equal('busy-still', (ec2.detach_volume(VolumeId=v)['State'], code_of(ec2.delete_volume, VolumeId=v), attachment(v)),
          ('busy', 'VolumeInUse', ('busy', 'busy')))
    ec2.detach_volume(VolumeId=v, Force=True)
    becomes('torn-out', v, 'available', None)

    # A machine that dies meanwhile has given back what it was to, and gets what it was to when it is started.
    ec2.attach_volume(VolumeId=v, InstanceId=j, Device='/dev/sdb')
    becomes('plugged-unasked', v, 'attached', 'attached')
    ec2.detach_volume(VolumeId=v)
    os.kill(vmm_of(j), signal.SIGKILL)
    becomes('unplugged-by-death', v, 'available', None)
    vmm = vmm_of(i)
    os.kill(vmm, signal.SIGSTOP)
    ec2.attach_volume(VolumeId=w, InstanceId=i, Device='/dev/sdg')
    equal('plug-nobody-answers', attachment(w), ('attaching', 'attaching'))
    os.kill(vmm, signal.SIGKILL)
    wait(ec2, 'instance_stopped', InstanceIds=[i])
    becomes('plugged-by-death', w, 'attached', 'attached')
    ec2.start_instances(InstanceIds=[i])
    first = boots(i)
    first.sees('plugged-by-death-seen', w)
    first.reads('plugged-by-death-bytes', w, 'all-there')
    ec2.detach_volume(VolumeId=w)
    ec2.terminate_instances(InstanceIds=[i, j])
    wait(ec2, 'instance_terminated', InstanceIds=[i, j])
    becomes('unplugged-by-termination', w, 'available', None)
    for x in (v, w):
        ec2.delete_volume(VolumeId=x)
    wait_for('plugged-files-gone', lambda: os.listdir(region.data + '/volumes'), [])


region = Region('--simulate-hosts', '3', name='volume')
try:
    image = region.restart_with_image(IMAGE)
    ec2 = region.client()
    limits()
    attaching(*records())
    launching()
    modifying()
    snapshots()
    images()
    encryption()
finally:
    region.stop()

region = Region('--no-network', name='volume')
try:
    image, ec2 = region.insula('image', 'build', 'micro').split()[-1], region.client()
    bytes_of_volumes()
    plugging()
finally:
    region.stop()
results.end()
