#!/usr/bin/python3
"""Twenty machines of 64 MiB at once, asked for with one RunInstances; each answers on its console. Says how long that
took and what memory it takes."""
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from region import Region, Results

COUNT = 20
results = Results()
region = Region(name='twenty')
ec2 = region.client()


def wait(name, ids):
    ec2.get_waiter(name).wait(InstanceIds=ids, WaiterConfig={'Delay': 1, 'MaxAttempts': 300})


def memory(pids):
    """Proportional set size of processes, MiB."""
    total = 0
    for pid in pids:
        with open(f'/proc/{pid}/smaps_rollup') as file:
            total += int(re.search(r'^Pss: +(\d+)', file.read(), re.M)[1])
    return total // 1024


def children(pids):
    out = subprocess.run(['pgrep', '-P', ','.join(map(str, pids))], capture_output=True, text=True).stdout
    return [int(pid) for pid in out.split()]


def talk(instance, number):
    """A sum that only a shell in there can do, until it has done it."""
    line = subprocess.Popen([region.program, 'console', instance, '--data', region.data], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    os.set_blocking(line.stdout.fileno(), False)
    said, end = b'', time.monotonic() + 240
    while time.monotonic() < end and line.poll() is None:
        line.stdin.write(b'echo sum=$((%d*1000+7))\n' % number)
        line.stdin.flush()
        for _ in range(10):
            time.sleep(0.1)
            said += line.stdout.read() or b''
            if b'sum=%d007' % number in said:
                break
        else:
            continue
        break
    line.kill()
    line.wait()
    return b'sum=%d007' % number in said


try:
    image = region.insula('image', 'build', 'micro').split()[-1]
    begun = time.monotonic()
    run = ec2.run_instances(ImageId=image, InstanceType='micro.64m', MinCount=COUNT, MaxCount=COUNT)
    ids = [i['InstanceId'] for i in run['Instances']]
    results.equal('accepted', len(set(ids)), COUNT)
    wait('instance_running', ids)
    running = time.monotonic() - begun
    silent = [i for number, i in enumerate(ids, 1) if not talk(i, number)]
    answered = time.monotonic() - begun
    results.equal('consoles', silent, [])
    keepers = region.keepers()
    machines = children(keepers)
    results.equal('machines', (len(keepers), len(machines)), (COUNT, COUNT))
    print(f'# all running after {running:.1f} s, all answered after {answered:.1f} s; {memory(machines)} MiB in the machines, '
          f'{memory(keepers)} MiB in their keepers, {memory([region.process.pid])} MiB in the region')
    ec2.terminate_instances(InstanceIds=ids)
    wait('instance_terminated', ids)
    results.equal('gone', region.keepers(), [])
finally:
    region.stop()
results.end()
