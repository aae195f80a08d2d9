"""A place to try networks in: a network namespace that stands for the host, and one for the world outside, so that nothing touches
the machine's own network. Tests run themselves again within (enter()), and talk to guests on their serial lines."""
import ctypes
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

from region import ROOT

WORLD = '203.0.113.1'  # what is outside; the host is .2


def sh(*words, check=True):
    run = subprocess.run(words, capture_output=True, text=True)
    if check and run.returncode:
        raise RuntimeError(f'{" ".join(words)}: {run.stderr.strip()}')
    return run.stdout


def end_once(*_):
    """A signal ends the test, which cleans up behind itself; more of them, such as one to each process of a group, do not end that."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    sys.exit(1)


def enter(*images):
    """Builds images, which takes the internet, and makes both namespaces; runs this program again in the host's, takes them away,
    and ends as it did. Returns in there."""
    if os.environ.get('INSULA_LAB'):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end_once)
        return Lab(os.environ['INSULA_LAB'])
    if os.geteuid() or subprocess.run(['unshare', '--net', 'true'], capture_output=True).returncode:
        print(f'skip {os.path.basename(sys.argv[0])} # no network namespaces here, or not root')
        sys.exit(0)
    with tempfile.TemporaryDirectory(prefix='insula-lab-') as data:
        for image in images:
            sh(os.environ.get('INSULA', ROOT + '/build/insula'), 'image', 'build', image, '--data', data)
    tag = str(os.getpid())
    host, world = 'insula-host-' + tag, 'insula-world-' + tag
    status, inner = 1, None
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end_once)
    try:
        for name in (host, world):
            sh('ip', 'netns', 'add', name)
            sh('ip', '-n', name, 'link', 'set', 'lo', 'up')
        sh('ip', '-n', host, 'link', 'add', 'uplink', 'type', 'veth', 'peer', 'name', 'uplink', 'netns', world)
        for name, address in ((host, '203.0.113.2'), (world, WORLD)):
            sh('ip', '-n', name, 'address', 'add', address + '/24', 'dev', 'uplink')
            sh('ip', '-n', name, 'link', 'set', 'uplink', 'up')
        sh('ip', '-n', host, 'route', 'add', 'default', 'via', WORLD)
        inner = subprocess.Popen(['nsenter', '--net=/run/netns/' + host, sys.executable, *sys.argv],
                                 env={**os.environ, 'INSULA_LAB': tag})
        status = inner.wait()
    finally:
        if inner and inner.poll() is None:
            inner.terminate()  # it cleans up behind itself
            inner.wait()
        for name in (host, world):
            for pid in sh('ip', 'netns', 'pids', name, check=False).split():
                print(f'not ok left-behind # process {pid}: {open(f"/proc/{pid}/cmdline").read()!r}')
                status = status or 1
            sh('ip', 'netns', 'delete', name, check=False)
    sys.exit(status)


class Lab:
    def __init__(self, tag):
        self.host, self.world = 'insula-host-' + tag, 'insula-world-' + tag
        self.before = self.things()

    def things(self):
        """What a host's network is made of."""
        return {'namespaces': sorted(os.listdir('/run/netns')),
                'links': sorted(re.findall(r'^\d+: ([^:@]+)', sh('ip', '-o', 'link'), re.M)),
                'routes': sorted(line.strip() for line in sh('ip', 'route').splitlines() + sh('ip', '-6', 'route').splitlines()),
                'rules': sorted(sh('ip', 'rule').splitlines() + sh('ip', '-6', 'rule').splitlines()),
                'tables': sorted(sh('nft', 'list', 'tables').splitlines())}

    def left(self):
        """What is there now and was not before; namespaces of others do not count."""
        now = self.things()
        now['namespaces'] = [n for n in now['namespaces'] if n.startswith('vpc-') and self.is_ours(n)]
        return {k: sorted(set(now[k]) - set(self.before[k])) for k in now if set(now[k]) - set(self.before[k])}

    ours = ()

    def is_ours(self, name):
        return name in self.ours

    def outside(self, fn):
        """Does something in the world's namespace, such as opening a socket."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open('/proc/self/ns/net') as here, open('/run/netns/' + self.world) as there:
            libc.setns(there.fileno(), 0)
            try:
                return fn()
            finally:
                libc.setns(here.fileno(), 0)


class Guest:
    """The shell on a machine's serial line."""

    def __init__(self, region, instance):
        self.name = instance
        self.path = f'{region.data}/instances/{instance}/console.sock'
        self.line = None
        self.seen = ''

    def connect(self):
        self.line = socket.socket(socket.AF_UNIX)
        self.line.connect(self.path)
        self.line.settimeout(0.2)

    def read(self):
        try:
            got = self.line.recv(65536)
        except TimeoutError:
            return ''
        if not got:
            raise RuntimeError(f'{self.name}: its serial line has ended')
        return got.decode(errors='replace').replace('\r', '')

    def run(self, command, seconds=60):
        """Runs a line in the shell; what it wrote, and its status as the last word."""
        if not self.line:
            self.connect()
        mark = f'{random.getrandbits(40):010x}'
        # The marks are said in two parts, so that the echo of the line is not them.
        half = f'{mark[:5]}""{mark[5:]}'
        self.line.sendall(f'echo "{half}="; {command}; echo "=$?={half}"\n'.encode())
        text, until = '', time.monotonic() + seconds
        while time.monotonic() < until:
            text += self.read()
            found = re.search(mark + r'=\n(.*)=(\d+)=' + mark, text, re.S)
            if found:
                return found.group(1).strip(), int(found.group(2))
        raise RuntimeError(f'{self.name}: {command!r} did not end: {text[-500:]!r}')

    def wait(self, seconds=120):
        """Until the shell answers: what is typed before it is there may be lost."""
        until = time.monotonic() + seconds
        while True:
            try:
                return self.run('true', 3)
            except (OSError, RuntimeError):
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    def has_said(self, *texts, seconds=120):
        """Until its console has said all of these, whoever was listening. What a boot still says would be in a command's output."""
        def said():
            with open(os.path.dirname(self.path) + '/console.log', errors='replace') as log:
                text = log.read()
            return all(t in text for t in texts)
        return eventually(said, seconds)

    def ok(self, command, seconds=60):
        return self.run(command, seconds)[1] == 0

    def says(self, command, seconds=60):
        return self.run(command, seconds)[0]


def eventually(fn, seconds=5):
    """Is it so, soon? Whatever takes effect has a second on a quiet machine, and more on a loaded one."""
    until = time.monotonic() + seconds
    while True:
        if fn():
            return True
        if time.monotonic() > until:
            return False
        time.sleep(0.05)


def connects(address, port, seconds=1.0):
    try:
        with socket.create_connection((address, port), timeout=seconds) as s:
            s.settimeout(seconds)
            return s.recv(64) or b'?'
    except OSError:
        return b''


def pings(address, seconds=1):
    return subprocess.run(['ping', '-c', '1', '-W', str(seconds), address], capture_output=True).returncode == 0
