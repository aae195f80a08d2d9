#!/usr/bin/python3
"""The root volume of an instance is replaced: on simulated hosts at once, of a machine that runs by a reboot, though the region is
killed meanwhile."""
import os
import time

from region import Region, Results, code_of

results = Results()


def equal(name, seen, wanted):
    results.equal('root-' + name, seen, wanted)


def show(i):
    return ec2.describe_instances(InstanceIds=[i])['Reservations'][0]['Instances'][0]


def root_of(i):
    i = show(i)
    return next((b['Ebs']['VolumeId'] for b in i['BlockDeviceMappings'] if b['DeviceName'] == i['RootDeviceName']), None)


def replace(i, **more):
    return ec2.create_replace_root_volume_task(InstanceId=i, **more)['ReplaceRootVolumeTask']


def task(t):
    return ec2.describe_replace_root_volume_tasks(ReplaceRootVolumeTaskIds=[t])['ReplaceRootVolumeTasks'][0]


def wait(name, condition):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.1)
    results.ok('root-' + name, False, 'never')


def keeper_of(i):
    try:
        with open(f'{region.data}/instances/{i}/keeper') as file:
            return file.read()
    except FileNotFoundError:
        return ''


def simulated():
    volume = ec2.create_volume(AvailabilityZone='us-east-1a', Size=3)['VolumeId']
    snapshot, other = [ec2.create_snapshot(VolumeId=volume)['SnapshotId'] for _ in range(2)]
    image, second = [ec2.register_image(Name=f'image {s}', RootDeviceName='/dev/xvda', Architecture='x86_64', VirtualizationType='hvm',
                                        BlockDeviceMappings=[{'DeviceName': '/dev/xvda', 'Ebs': {'SnapshotId': s, 'VolumeType': 'gp3'}}])['ImageId']
                     for s in (snapshot, other)]
    i = ec2.run_instances(ImageId=image, InstanceType='m5.large', MinCount=1, MaxCount=1,
                          Placement={'AvailabilityZone': 'us-east-1a'})['Instances'][0]['InstanceId']
    old = root_of(i)
    made = replace(i, TagSpecifications=[{'ResourceType': 'replace-root-volume-task', 'Tags': [{'Key': 'k', 'Value': 'v'}]}])
    new = root_of(i)
    shown, = ec2.describe_volumes(VolumeIds=[new])['Volumes']
    equal('launch-state', (new != old, shown['SnapshotId'], shown['VolumeType'], shown['State'], task(made['ReplaceRootVolumeTaskId'])['TaskState'],
                           ec2.describe_volumes(VolumeIds=[old])['Volumes'][0]['State']), (True, snapshot, 'gp3', 'in-use', 'succeeded', 'available'))
    replace(i, SnapshotId=other, DeleteReplacedRootVolume=True)
    equal('snapshot', (ec2.describe_volumes(VolumeIds=[root_of(i)])['Volumes'][0]['SnapshotId'], code_of(ec2.describe_volumes, VolumeIds=[new])),
          (other, 'InvalidVolume.NotFound'))
    replace(i, ImageId=second)
    equal('image', (ec2.describe_volumes(VolumeIds=[root_of(i)])['Volumes'][0]['SnapshotId'], len(show(i)['BlockDeviceMappings'])), (other, 1))
    equal('filter', (len(ec2.describe_replace_root_volume_tasks(Filters=[{'Name': 'instance-id', 'Values': [i]}])['ReplaceRootVolumeTasks']),
                     ec2.describe_replace_root_volume_tasks(Filters=[{'Name': 'tag:k', 'Values': ['v']}])['ReplaceRootVolumeTasks'][0]['CompleteTime'] != ''),
          (3, True))
    bare = ec2.run_instances(ImageId=plain, InstanceType='m5.large', MinCount=1, MaxCount=1)['Instances'][0]['InstanceId']
    wrong = [code_of(replace, i=i, SnapshotId=snapshot, ImageId=image), code_of(replace, i=i, SnapshotId='snap-0fedcba9876543210'),
             code_of(replace, i=bare), code_of(replace, i='i-0fedcba9876543210')]
    ec2.stop_instances(InstanceIds=[i])
    equal('wrong', wrong + [code_of(replace, i=i)], ['InvalidParameterCombination', 'InvalidSnapshot.NotFound', 'InvalidParameterValue',
                                                     'InvalidInstanceID.NotFound', 'IncorrectInstanceState'])


def real():
    image = region.insula('image', 'build', 'micro').split()[-1]
    i = ec2.run_instances(ImageId=image, InstanceType='t2.nano', MinCount=1, MaxCount=1)['Instances'][0]['InstanceId']
    wait('runs', lambda: show(i)['State']['Name'] == 'running')
    old, keeper = root_of(i), keeper_of(i)
    t = replace(i)['ReplaceRootVolumeTaskId']
    region.kill()
    region.start()
    globals().update(ec2=region.client())
    wait('done', lambda: task(t)['TaskState'] == 'succeeded')
    new = root_of(i)
    wait('runs-again', lambda: show(i)['State']['Name'] == 'running' and keeper_of(i) not in ('', keeper))
    with open(f'{region.data}/instances/{i}/command') as file:
        command = file.read()
    equal('replaced', (new != old, new in command, old in command, ec2.describe_volumes(VolumeIds=[old])['Volumes'][0]['State']),
          (True, True, False, 'available'))
    # Stopped before it comes to that: the new volume is the root all the same, and the old one goes.
    t = replace(i, DeleteReplacedRootVolume=True)['ReplaceRootVolumeTaskId']
    ec2.stop_instances(InstanceIds=[i], Force=True)
    wait('stopped', lambda: show(i)['State']['Name'] == 'stopped' and task(t)['TaskState'] == 'succeeded')
    wait('removed', lambda: not os.path.exists(f'{region.data}/volumes/{new}'))
    equal('stopped-root', root_of(i) not in (old, new), True)
    # Terminated before: nothing is left of it.
    ec2.start_instances(InstanceIds=[i])
    wait('starts', lambda: show(i)['State']['Name'] == 'running')
    t = replace(i)['ReplaceRootVolumeTaskId']
    ec2.terminate_instances(InstanceIds=[i])
    wait('terminated', lambda: show(i)['State']['Name'] == 'terminated')
    wait('ended', lambda: task(t)['TaskState'] in ('failed', 'succeeded'))
    wait('files', lambda: os.listdir(region.data + '/volumes') == [old] or task(t)['TaskState'] == 'succeeded')


region = Region('--simulate-hosts', '3', '--throttle', 'off', name='root')
try:
    plain = region.restart_with_image()
    ec2 = region.client()
    simulated()
finally:
    region.stop()
region = Region(name='root')
try:
    ec2 = region.client()
    real()
finally:
    region.stop()
results.end()
