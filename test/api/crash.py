"""kill -9 of the region at any moment of a load of instances, volumes, snapshots and images that are real: machines run, files have
bytes. After a restart what was acknowledged is there; when all has settled, there is a file for each volume and snapshot with the
bytes it had, a machine for each instance that runs, and nothing else: no file, process or network interface.

usage: crash.py [--rounds N] [--requests N] [--seed N]
"""
import argparse
import os
import random
import tempfile
import time
import uuid

from botocore.exceptions import ClientError

from load import Load
from region import Region, Results

ZONE = 'us-east-1a'
results = Results()


class Worker:
    """Does things to what is its own. `live` and `gone`: what was acknowledged; `asked`: ids in a request whose answer did not come,
    which may have happened. `marks`: bytes that a volume or snapshot begins with."""

    def __init__(self, load, number):
        self.load, self.random = load, random.Random(load.seed * 100 + number)
        self.live, self.gone, self.states, self.marks, self.asked = set(), set(), {}, {}, set()
        self.launch = None

    def work(self):
        self.ec2 = self.load.region.client()
        while not self.load.over:
            try:
                name = self.random.choice(['run', 'run', 'stop', 'start', 'terminate', 'volume', 'attach', 'detach', 'snapshot', 'snapshot',
                                           'restore', 'image', 'delete', 'describe'])
                done = getattr(self, name)()
            except ClientError as e:
                if e.response['ResponseMetadata']['HTTPStatusCode'] >= 500:
                    self.load.surprises.append(str(e))
                self.load.refused[e.response['Error']['Code']] += 1
                done = True
            except Exception:  # the region is gone, and with it an answer
                return
            self.asked = set()
            if done:
                self.load.answered()

    def own(self, prefix, *states):
        found = sorted(i for i in self.live if i.startswith(prefix) and (not states or self.states.get(i) in states))
        return self.random.choice(found) if found else None

    def made(self, i, state='', mark=None):
        self.live.add(i)
        self.states[i] = state
        if mark:
            self.marks[i] = mark

    def lost(self, i):
        self.live.discard(i)
        self.gone.add(i)

    def run_again(self):
        """A launch without an answer is sent again: it must not happen twice."""
        i = self.ec2.run_instances(ImageId=self.load.image, InstanceType='micro.64m', MinCount=1, MaxCount=1,
                                   Placement={'AvailabilityZone': ZONE}, ClientToken=self.launch)['Instances'][0]
        self.made(i['InstanceId'], 'running')
        self.launch = None

    def run(self):
        if len([i for i in self.live if i.startswith('i-')]) >= 4:
            return False
        self.launch = str(uuid.uuid4())
        self.run_again()
        return True

    def change(self, i, action, state):
        if not i:
            return False
        self.asked = {i}
        getattr(self.ec2, action)(InstanceIds=[i], **({'Force': True} if action == 'stop_instances' else {}))
        self.states[i] = state
        if state == 'terminated':
            self.lost(i)
            self.states.update((v, '') for v, at in self.states.items() if at == i)
        return True

    def stop(self):
        return self.change(self.own('i-', 'running'), 'stop_instances', 'stopped')

    def start(self):
        return self.change(self.own('i-', 'stopped'), 'start_instances', 'running')

    def terminate(self):
        return self.random.random() < 0.5 and self.change(self.own('i-'), 'terminate_instances', 'terminated')

    def volume(self):
        if len([i for i in self.live if i.startswith('vol-')]) >= 6:
            return False
        self.made(self.ec2.create_volume(AvailabilityZone=ZONE, Size=1)['VolumeId'])
        return True

    def attach(self):
        v, i = self.own('vol-', ''), self.own('i-', self.random.choice(['stopped', 'running']))
        if not v or not i:
            return False
        self.asked = {v}
        self.ec2.attach_volume(VolumeId=v, InstanceId=i, Device='/dev/sd' + self.random.choice('fghijklmnop'))
        self.states[v] = i
        return True

    def detach(self):
        attached = sorted(v for v in self.live if v.startswith('vol-') and self.states[v])
        if not attached:
            return False
        v = self.random.choice(attached)
        self.asked = {v}
        self.ec2.detach_volume(VolumeId=v, Force=True)  # these machines have nobody who would give it back
        self.states[v] = ''
        return True

    def snapshot(self):
        """Of a volume that nobody writes to; it is written to here first, as a machine would have."""
        v = self.own('vol-', '')
        path = f'{self.load.region.data}/volumes/{v}'
        if not v or not os.path.exists(path):
            return False
        if v not in self.marks and self.ec2.describe_volumes(VolumeIds=[v])['Volumes'][0]['State'] == 'available':
            mark = str(uuid.uuid4()).encode()
            with open(path, 'r+b') as file:
                file.write(mark)
                file.seek(700 << 20)
                file.write(mark)
            self.marks[v] = mark
        self.made(self.ec2.create_snapshot(VolumeId=v)['SnapshotId'], mark=self.marks.get(v))
        return True

    def restore(self):
        s = self.own('snap-')
        if not s:
            return False
        self.made(self.ec2.create_volume(AvailabilityZone=ZONE, SnapshotId=s)['VolumeId'], mark=self.marks.get(s))
        return True

    def image(self):
        i = self.own('i-', 'stopped')
        if not i or len([i for i in self.live if i.startswith('ami-')]) >= 3:
            return False
        self.made(self.ec2.create_image(InstanceId=i, Name=str(uuid.uuid4()))['ImageId'])
        return True

    def delete(self):
        victim = self.own(self.random.choice(['vol-', 'snap-', 'ami-']))
        if not victim:
            return False
        self.asked = {victim}
        if victim.startswith('vol-'):
            self.ec2.delete_volume(VolumeId=victim)
        elif victim.startswith('snap-'):
            self.ec2.delete_snapshot(SnapshotId=victim)
        else:
            self.ec2.deregister_image(ImageId=victim)
        self.lost(victim)
        return True

    def describe(self):
        self.ec2.describe_instances()
        return True

    def wrong(self, world):
        """What is there, against what was acknowledged."""
        bad = []
        for i in self.live - set(world):
            if i in self.asked:
                self.gone.add(i)
            else:
                bad.append(f'{i} is gone')
        self.live &= set(world)
        for i in self.gone & set(world):
            bad.append(f'{i} is there again')
        for i in self.live:
            if i.startswith('i-') and i not in self.asked and world[i] != self.states[i]:
                bad.append(f'{i} is {world[i]}, was {self.states[i]}')
            if i.startswith('i-'):
                self.states[i] = world[i]
            elif i.startswith('vol-'):
                if not {i, self.states[i]} & self.asked and world[i] != self.states[i]:
                    bad.append(f'{i} is at {world[i]!r}, was at {self.states[i]!r}')
                self.states[i] = world[i]
        self.asked = set()
        if self.launch:
            self.ec2 = self.load.region.client()
            self.run_again()
        return bad


def look(ec2):
    """id: state of an instance, "at" of a volume, "" of others; and whether all has settled."""
    world, settled = {}, True
    for instance in (i for page in ec2.get_paginator('describe_instances').paginate() for r in page['Reservations']
                     for i in r['Instances']):
        if instance['State']['Name'] != 'terminated':
            world[instance['InstanceId']] = instance['State']['Name']
        settled &= instance['State']['Name'] in ('running', 'stopped', 'terminated')
    for volume in ec2.describe_volumes()['Volumes']:
        world[volume['VolumeId']] = volume['Attachments'][0]['InstanceId'] if volume['Attachments'] else ''
        settled &= volume['State'] in ('available', 'in-use') and all(a['State'] == 'attached' for a in volume['Attachments'])
    for snapshot in ec2.describe_snapshots(OwnerIds=['self'])['Snapshots']:
        world[snapshot['SnapshotId']] = ''
        settled &= snapshot['State'] == 'completed'
    for image in ec2.describe_images(Owners=['self'])['Images']:
        if image['OwnerId'] == '123456789012' and image['Name'] != 'disk':
            world[image['ImageId']] = ''
            settled &= image['State'] == 'available'
    return world, settled


def listed(folder):
    return set(os.listdir(folder)) if os.path.isdir(folder) else set()


def wrong_files(region, world, workers):
    """Files, machines and interfaces that are too many or too few; and bytes that have changed."""
    bad = []
    for folder, prefix in (('volumes', 'vol-'), ('snapshots', 'snap-')):
        there, wanted = listed(f'{region.data}/{folder}'), {i for i in world if i.startswith(prefix)}
        if there != wanted:
            bad.append(f'{folder}: {sorted(there - wanted)} too many, {sorted(wanted - there)} too few')
    runs = {i for i, state in world.items() if state == 'running' and i.startswith('i-')}
    if extra := listed(region.data + '/instances') - {i for i in world if i.startswith('i-')}:
        bad.append('folders of no instance: ' + str({i: sorted(os.listdir(f"{region.data}/instances/{i}")) for i in extra}))
    if len(region.keepers()) != len(runs):
        bad.append(f'{len(region.keepers())} keepers of {len(runs)} machines that run')
    for i, mark in ((i, mark) for w in workers for i, mark in w.marks.items() if i in world):
        path = f'{region.data}/{"snapshots" if i.startswith("snap") else "volumes"}/{i}'
        if os.path.exists(path):
            with open(path, 'rb') as file:
                first = file.read(len(mark))
                file.seek(700 << 20)
                if (first, file.read(len(mark))) != (mark, mark):
                    bad.append(f'{i} has other bytes')
    return bad


def settle(region, ec2, workers):
    """What is still wrong when nothing changes any more, or after long."""
    bad, end = ['never settled'], time.monotonic() + 120
    while bad and time.monotonic() < end:
        world, settled = look(ec2)
        bad = wrong_files(region, world, workers) if settled else ['not settled: ' + str(world)]
        time.sleep(0.2)
    return world, bad


def clear(ec2, region):
    """All is deleted; what is left then."""
    world, _ = look(ec2)
    of = lambda prefix: [i for i in world if i.startswith(prefix)]
    if of('i-'):
        ec2.terminate_instances(InstanceIds=of('i-'))
        ec2.get_waiter('instance_terminated').wait(InstanceIds=of('i-'), WaiterConfig={'Delay': 1, 'MaxAttempts': 100})
    for image in of('ami-'):
        ec2.deregister_image(ImageId=image)
    world, _ = look(ec2)
    for volume in of('vol-'):
        ec2.delete_volume(VolumeId=volume)
    for snapshot in of('snap-'):
        ec2.delete_snapshot(SnapshotId=snapshot)
    return settle(region, ec2, [])


def make_image(region):
    """A disk whose boot sector halts: a machine for next to nothing."""
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + '/disk.raw', 'wb') as disk:
            disk.write(b'\xf4\xeb\xfd'.ljust(510, b'\0') + b'\x55\xaa')
            disk.truncate(1 << 20)
        return region.insula('image', 'import', folder + '/disk.raw').split()[-1]


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--requests', type=int, default=60)
    parser.add_argument('--seed', type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f'# --seed {options.seed}', flush=True)
    interfaces = set(os.listdir('/sys/class/net'))
    region = Region('--accel', 'soft', '--throttle', 'off', name='crash')
    dice, bad = random.Random(options.seed), []
    try:
        load = Load(region, make_image(region), options.seed)
        workers = [Worker(load, n) for n in range(3)]
        for _ in range(options.rounds):
            load.kill_after(workers, dice.randint(options.requests // 4, options.requests), dice.random() * 0.02)
            region.start()
            ec2 = region.client()
            world, bad = settle(region, ec2, workers)
            for worker in workers:
                bad += worker.wrong(world)
            if bad:
                break
        results.equal('crash-bytes-state', bad, [])
        results.equal('crash-bytes-no-surprise', load.surprises, [])
        results.ok('crash-bytes-load', load.count >= options.requests // 4 * options.rounds, load.count)
        print(f'# {load.count} requests answered; refused: {dict(load.refused)}', flush=True)
        left, bad = clear(region.client(), region)
        results.equal('crash-bytes-none-left', (left, bad), ({}, []))
    finally:
        region.stop()
    results.equal('crash-bytes-interfaces', set(os.listdir('/sys/class/net')) - interfaces, set())
    results.end()


main()
