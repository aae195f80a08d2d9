"""What breaks: the region is killed in the middle of what it does, machines are, the disk is full, read-only, or lies.

usage: fault.py [--rounds N] [--requests N] [--seed N] [CASE...]
"""
import argparse
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid

from botocore.exceptions import ClientError

from load import Load
from region import Region, Results, code_of

results = Results()
options = None


def query(region, sql, *parameters):
    with sqlite3.connect(f'file:{region.data}/region.db?mode=ro', uri=True) as db:
        rows = db.execute(sql, parameters).fetchall()
    db.close()
    return rows


# What must hold of the tables whatever happened, as queries for what is wrong.
INVARIANTS = {
    'a document without its machine':
        "SELECT id FROM resource WHERE kind = 'instance' AND id NOT IN (SELECT instance FROM machine)",
    'a machine without its document':
        "SELECT instance FROM machine WHERE instance NOT IN (SELECT id FROM resource)",
    'a state that the machine does not have':
        "SELECT r.id FROM resource r JOIN machine m ON m.instance = r.id WHERE r.kind = 'instance' AND "
        "(r.state = 'terminated') <> (m.status = 'terminated')",
    'room of a host that is not the sum of its machines':
        'SELECT id FROM host h WHERE used_vcpus <> (SELECT COALESCE(SUM(vcpus), 0) FROM machine m WHERE m.host = h.id)',
    'an interface of no instance':
        "SELECT r.id FROM resource r WHERE r.kind = 'network-interface' AND r.key3 <> '' AND r.key3 NOT IN (SELECT id FROM resource)",
    'an interface of a terminated instance':
        "SELECT r.id FROM resource r JOIN resource i ON i.id = r.key3 WHERE r.kind = 'network-interface' AND i.state = 'terminated'",
    'a live instance without an interface':
        "SELECT id FROM resource i WHERE kind = 'instance' AND state <> 'terminated' AND "
        "NOT EXISTS (SELECT 1 FROM resource r WHERE r.kind = 'network-interface' AND r.key3 = i.id)",
    'an address of nobody': 'SELECT address FROM space_address WHERE holder NOT IN (SELECT id FROM resource)',
    'a tag of nothing': 'SELECT resource FROM tag WHERE resource NOT IN (SELECT id FROM resource)',
}


def broken(region):
    wrong = [f'{what}: {rows[:3]}' for what, sql in INVARIANTS.items() if (rows := query(region, sql))]
    return wrong + [row[0] for row in query(region, 'PRAGMA integrity_check') if row[0] != 'ok']


# ---- kill -9 of the region under load ----

class Worker:
    """Sends requests about instances, groups and volumes of its own, and remembers what was acknowledged. `maybe` are the
    states that a resource may have because the answer did not come."""

    def __init__(self, load, number):
        self.load, self.random = load, random.Random(load.seed * 100 + number)
        self.states, self.tags, self.groups, self.maybe, self.unanswered = {}, {}, set(), {}, None

    def work(self):
        self.ec2 = self.load.region.client()
        try:
            while not self.load.over:
                self.one()
                self.load.answered()
        except ClientError as e:
            self.load.surprises.append(str(e))
        except Exception:  # the region is gone
            pass

    def one(self):
        live = [i for i, s in self.states.items() if s != 'terminated']
        what = self.random.choice(['run', 'tag', 'untag', 'stop', 'start', 'terminate', 'describe', 'group', 'ungroup'])
        if what == 'run' or len(live) < 2:
            self.unanswered = (str(uuid.uuid4()), self.random.randint(1, 3))
            self.launch(*self.unanswered)
            self.unanswered = None
            return
        i = self.random.choice(live)
        if what in ('stop', 'start', 'terminate'):
            after = {'stop': 'stopped', 'start': 'running', 'terminate': 'terminated'}[what]
            self.maybe[i] = after
            getattr(self.ec2, what + '_instances')(InstanceIds=[i])
            self.states[i] = after
        elif what == 'tag':
            value = str(self.random.random())
            self.maybe['tag ' + i] = value
            self.ec2.create_tags(Resources=[i], Tags=[{'Key': 'Mark', 'Value': value}])
            self.tags[i] = value
        elif what == 'untag':
            self.maybe['tag ' + i] = None
            self.ec2.delete_tags(Resources=[i], Tags=[{'Key': 'Mark'}])
            self.tags[i] = None
        elif what == 'group' or (what == 'ungroup' and not self.groups):
            made = self.ec2.create_security_group(GroupName=str(uuid.uuid4()), Description='x')['GroupId']
            self.groups.add(made)
        elif what == 'ungroup':
            group = self.groups.pop()
            self.ec2.delete_security_group(GroupId=group)
        else:
            self.ec2.describe_instances(InstanceIds=[i])
        self.maybe = {}

    def launch(self, token, count):
        made = self.ec2.run_instances(ImageId=self.load.image, InstanceType='t3.micro', MinCount=count, MaxCount=count,
                                      ClientToken=token, TagSpecifications=[{'ResourceType': 'instance',
                                                                             'Tags': [{'Key': 'Name', 'Value': token}]}])['Instances']
        self.states.update((i['InstanceId'], 'running') for i in made)
        return [i['InstanceId'] for i in made]

    def wrong(self):
        """What the region says now, against what it had said."""
        self.ec2 = self.load.region.client()
        said, tags, bad = {}, {}, []
        if self.states:
            pages = self.ec2.get_paginator('describe_instances').paginate(InstanceIds=list(self.states))
            for instance in (i for page in pages for r in page['Reservations'] for i in r['Instances']):
                said[instance['InstanceId']] = instance['State']['Name']
                tags[instance['InstanceId']] = {t['Key']: t['Value'] for t in instance.get('Tags', [])}.get('Mark')
        for i, state in self.states.items():
            if said.get(i) not in (state, self.maybe.get(i)):
                bad.append(f'{i} is {said.get(i)}, was {state}')
            tag = 'tag ' + i
            if tags.get(i) != self.tags.get(i) and (tag not in self.maybe or tags.get(i) != self.maybe[tag]):
                bad.append(f'{i} has the tag {tags.get(i)}, had {self.tags.get(i)}')
            self.states[i], self.tags[i] = said.get(i), tags.get(i)
        for group in self.groups:
            if code_of(self.ec2.describe_security_groups, GroupIds=[group]) != 'success':
                bad.append(f'{group} is gone')
        if self.unanswered:
            token, count = self.unanswered
            self.launch(token, count)
            seen = sum(len(r['Instances']) for r in self.ec2.describe_instances(
                Filters=[{'Name': 'tag:Name', 'Values': [token]}])['Reservations'])
            if seen != count:
                bad.append(f'{seen} instances of a launch of {count}, sent twice')
        self.maybe, self.unanswered = {}, None
        return bad


def crash():
    region = Region('--simulate-hosts', '30', '--throttle', 'off', name='crash')
    dice, bad = random.Random(options.seed), []
    try:
        load = Load(region, region.restart_with_image(), options.seed)
        workers = [Worker(load, n) for n in range(4)]
        for _ in range(options.rounds):
            load.kill_after(workers, dice.randint(options.requests // 4, options.requests), dice.random() * 0.02)
            region.start()
            for worker in workers:
                bad += worker.wrong()
            bad += broken(region)
            if bad:
                break
        results.equal('crash-state', bad, [])
        results.equal('crash-no-surprise', load.surprises, [])
        results.ok('crash-load', load.count >= options.requests // 4 * options.rounds, load.count)
    finally:
        region.stop()


# ---- machines ----

def keeper_of(region, instance):
    """(keeper, VMM) as the folder says, or None."""
    try:
        with open(f'{region.data}/instances/{instance}/keeper') as file:
            words = file.read().split()
        return int(words[0]), int(words[2])
    except (OSError, IndexError):
        return None


def wait_for(what, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        seen = what()
        if seen:
            return seen
        time.sleep(0.02)
    return None


def alive(pid):
    try:
        with open(f'/proc/{pid}/stat') as file:
            return file.read().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False


def state(ec2, instance):
    return ec2.describe_instances(InstanceIds=[instance])['Reservations'][0]['Instances'][0]['State']['Name']


def machines():
    region = Region('--throttle', 'off', name='machines')
    try:
        ec2 = region.client()
        image = region.insula('image', 'build', 'micro').split()[-1]
        launch = lambda **p: ec2.run_instances(ImageId=image, InstanceType='t3.nano', MinCount=1, MaxCount=1,
                                               **p)['Instances'][0]['InstanceId']
        dice = random.Random(options.seed)
        bad = []
        for number in range(min(options.rounds, 4)):
            # The region is killed while it launches, and again while it terminates.
            token, gone = str(uuid.uuid4()), threading.Thread(target=lambda: (time.sleep(dice.random() * 0.1), region.kill()))
            gone.start()
            try:
                launch(ClientToken=token)
            except Exception:
                pass
            gone.join()
            region.start()
            ec2 = region.client()
            one = launch(ClientToken=token)
            if not wait_for(lambda: state(ec2, one) == 'running'):
                bad.append(f'{one} is {state(ec2, one)} after the launch')
            if len(region.keepers()) != 1:
                bad.append(f'{len(region.keepers())} keepers of one machine')
            ec2.terminate_instances(InstanceIds=[one])
            time.sleep(dice.random() * 0.1)
            region.kill()
            region.start()
            ec2 = region.client()
            if not wait_for(lambda: state(ec2, one) == 'terminated' and not region.keepers() and
                            not os.path.exists(f'{region.data}/instances/{one}')):
                bad.append(f'{one} is {state(ec2, one)}, with keepers {region.keepers()}')
            bad += broken(region)
        results.equal('machines-crash', bad, [])

        for victim in ('keeper', 'vmm'):
            one = launch()
            pids = wait_for(lambda: keeper_of(region, one))
            os.kill(pids[victim == 'vmm'], 9)
            seen = wait_for(lambda: state(ec2, one) in ('stopped', 'terminated') and state(ec2, one))
            results.ok(f'kill-{victim}-launching', seen and not any(map(alive, pids)), f'{seen}, {[alive(p) for p in pids]}')

            one = launch()
            wait_for(lambda: state(ec2, one) == 'running')
            pids = keeper_of(region, one)
            os.kill(pids[victim == 'vmm'], 9)
            seen = wait_for(lambda: state(ec2, one) == 'stopped')
            results.ok(f'kill-{victim}-running', seen and not wait_for(lambda: not any(map(alive, pids)), 5) is None, state(ec2, one))
            ec2.start_instances(InstanceIds=[one])
            results.ok(f'kill-{victim}-start-again', wait_for(lambda: state(ec2, one) == 'running'), state(ec2, one))

            pids = keeper_of(region, one)
            ec2.stop_instances(InstanceIds=[one])
            os.kill(pids[victim == 'vmm'], 9)
            results.ok(f'kill-{victim}-stopping', wait_for(lambda: state(ec2, one) == 'stopped'), state(ec2, one))
            ec2.start_instances(InstanceIds=[one])
            wait_for(lambda: state(ec2, one) == 'running')
            pids = keeper_of(region, one)
            ec2.terminate_instances(InstanceIds=[one])
            try:
                os.kill(pids[victim == 'vmm'], 9)
            except ProcessLookupError:
                pass  # it was quicker
            results.ok(f'kill-{victim}-terminating', wait_for(lambda: state(ec2, one) == 'terminated') and
                       not os.path.exists(f'{region.data}/instances/{one}'), state(ec2, one))
        for page in ec2.get_paginator('describe_instances').paginate():
            rest = [i['InstanceId'] for r in page['Reservations'] for i in r['Instances'] if i['State']['Name'] != 'terminated']
            if rest:
                ec2.terminate_instances(InstanceIds=rest)
        results.ok('machines-none-left', wait_for(lambda: not region.keepers() and not os.listdir(region.data + '/instances')),
                   (region.keepers(), os.listdir(region.data + '/instances')))
        results.equal('machines-tables', broken(region), [])
    finally:
        region.stop()


# ---- disks ----

def serve(region, *options):
    """(status, what it said): one that must not start."""
    try:
        run = subprocess.run([region.program, 'serve', '--data', region.data, '--listen', '127.0.0.1:0', '--simulate-hosts', '3', *options],
                             capture_output=True, text=True, timeout=30)
        return run.returncode, run.stderr
    except subprocess.TimeoutExpired:
        return None, 'it serves'


def get_metrics(region):
    with urllib.request.urlopen(region.url + '/metrics', timeout=20) as answer:
        return answer.read().decode()


def damaged_while_served(region, whole):
    """A database too big to be checked before it is served: once the damage is found, nothing is answered from it, and it is not
    served again."""
    options, region.options = region.options, (*region.options, '--check-database', '0')
    try:
        with sqlite3.connect(region.data + '/region.db') as db:
            page, = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'client_token'").fetchone()
        db.close()
        region.start()
        results.ok('check-good', wait_for(lambda: 'insula_database_check{state="good"} 1' in get_metrics(region)), 'not said')
        results.equal('check-good-serves', code_of(region.client().describe_vpcs), 'success')
        region.terminate()
        with open(region.data + '/region.db', 'r+b') as file:
            file.seek((page - 1) * 4096)
            file.write(b'damage! ' * 512)
        try:
            region.start()
        except SystemExit as why:  # it was found before the region was ready
            results.ok('check-damaged', 'damaged' in str(why), why)
        else:
            results.ok('check-damaged', wait_for(lambda: 'insula_database_check{state="damaged"} 1' in get_metrics(region)), 'not said')
            results.equal('check-damaged-refuses', code_of(region.client().describe_vpcs), 'ServiceUnavailable')
            region.kill()
        said = serve(region, '--check-database', '0')
        results.ok('check-damaged-again', said[0] == 1 and 'damaged' in said[1], said)
        with open(region.data + '/region.db', 'r+b') as file:
            file.write(whole)
        for name in ('-wal', '-shm'):  # which belong to the damaged one
            if os.path.exists(region.data + '/region.db' + name):
                os.remove(region.data + '/region.db' + name)
        region.start()
        results.equal('check-copy-serves', code_of(region.client().describe_vpcs), 'success')
        results.ok('check-copy-is-clean', not os.path.exists(region.data + '/region.db.damaged'), 'the mark is left')
        region.terminate()
    finally:
        region.options = options


def disk():
    place = tempfile.mkdtemp(prefix='insula-disk-')
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', place], check=True)
    tempfile.tempdir = place
    region = Region('--simulate-hosts', '3', '--throttle', 'off', name='full')
    try:
        image = region.restart_with_image()
        ec2 = region.client()
        run = lambda name: ec2.run_instances(ImageId=image, InstanceType='t3.micro', MinCount=5, MaxCount=5, TagSpecifications=[
            {'ResourceType': 'instance', 'Tags': [{'Key': 'Name', 'Value': name}]}])
        shown = lambda: {tag['Value'] for page in ec2.get_paginator('describe_instances').paginate() for r in page['Reservations']
                         for i in r['Instances'] for tag in i.get('Tags', [])}
        run('before')
        with open(place + '/filler', 'wb', buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        acknowledged, code, status = {'before'}, 'success', 200
        for number in range(50):  # what the log of the database has room for is still taken
            try:
                run(f'full-{number}')
                acknowledged.add(f'full-{number}')
            except ClientError as e:
                code, status = e.response['Error']['Code'], e.response['ResponseMetadata']['HTTPStatusCode']
                break
        results.equal('full-code', (code, status), ('ServiceUnavailable', 503))
        results.equal('full-describe', shown(), acknowledged)
        results.equal('full-again', code_of(run, name='x'), 'ServiceUnavailable')
        region.kill()
        said = serve(region)
        results.ok('full-start', said[0] == 1 and 'full' in said[1], said)
        os.remove(place + '/filler')
        region.start()
        ec2 = region.client()
        results.equal('room-nothing-lost', shown(), acknowledged)
        results.equal('room-again', code_of(run, name='after'), 'success')
        results.equal('room-tables', broken(region), [])

        second = serve(region)
        results.ok('two-serves', second[0] == 2 and 'another process' in second[1], second)

        region.terminate()
        subprocess.run(['mount', '--bind', region.data + '/region.db', region.data + '/region.db'], check=True)
        subprocess.run(['mount', '-o', 'remount,bind,ro', region.data + '/region.db'], check=True)
        said = serve(region)
        results.ok('read-only-database', said[0] == 1 and 'readonly' in said[1].replace('-', ''), said)
        subprocess.run(['umount', region.data + '/region.db'], check=True)
        region.log.close()
        subprocess.run(['mount', '-o', 'remount,ro', place], check=True)
        said = serve(region)
        results.ok('read-only-disk', said[0] == 1 and 'Read-only file system' in said[1], said)
        subprocess.run(['mount', '-o', 'remount,rw', place], check=True)

        with open(region.data + '/region.db', 'r+b') as file:
            whole = file.read()
        for name, at in (('header', 0), ('page', len(whole) // 8192 * 4096)):
            with open(region.data + '/region.db', 'r+b') as file:
                file.seek(at)
                file.write(b'damage! ' * 512)
            said = serve(region)
            results.ok('damaged-' + name, said[0] == 1 and 'damaged' in said[1], said)
            with open(region.data + '/region.db', 'r+b') as file:
                file.write(whole)
        damaged_while_served(region, whole)
        region.start()
        ec2 = region.client()
        results.equal('copy-put-back', shown(), acknowledged | {'after'})
    finally:
        region.stop()
        region.log.close()
        tempfile.tempdir = None
        subprocess.run(['umount', place], check=True)
        os.rmdir(place)


def main():
    global options
    cases = {'crash': crash, 'machines': machines, 'disk': disk}
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--requests', type=int, default=60)
    parser.add_argument('--seed', type=int, default=int(time.time()))
    parser.add_argument('cases', nargs='*', choices=[[], *cases], default=[])
    options = parser.parse_args()
    print(f'# --seed {options.seed}', flush=True)
    for name in options.cases or cases:
        cases[name]()
    results.end()


main()
