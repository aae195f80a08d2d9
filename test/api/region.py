"""A region for a test: `insula serve` on a free port with a data folder of its own, and clients for it."""
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


# boto3's sessions are not for several threads, its clients are.
SESSION, SESSION_LOCK = boto3.Session(), threading.Lock()


def make_client(service, **options):
    """A client, from any thread. All come from one session, which reads EC2's model once."""
    with SESSION_LOCK:
        return SESSION.client(service, **options)


def parent(pid):
    try:
        with open(f'/proc/{pid}/stat') as stat:
            return int(stat.read().rsplit(')', 1)[1].split()[1])
    except OSError:
        return 0


class Region:
    def __init__(self, *options, name='region'):
        self.program = os.environ.get('INSULA', ROOT + '/build/insula')
        self.data, self.options = tempfile.mkdtemp(prefix=f'insula-{name}-'), options
        self.start()

    def start(self):
        self.log = open(self.data + '/serve.out', 'a+b')
        self.process = subprocess.Popen(
            [self.program, 'serve', '--data', self.data, '--listen', '127.0.0.1:0', *self.options],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        if 'serving at' not in line:
            self.process.wait()
            sys.exit('insula serve did not start: ' + line + open(self.data + '/serve.out', errors='replace').read()[-1000:])
        self.url = line.split()[-1]  # on a port that is free now: another one than before

    def kill(self):
        """As a crash would end it."""
        self.process.kill()
        self.process.wait()

    def terminate(self):
        """Asks it to end, and returns the status it ended with; None: it had to be killed."""
        self.process.terminate()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def restart_with_image(self, image='ami-0123456789abcdef0', account='insula', region='*', **document):
        """An image to launch on simulated hosts, where nothing boots: a record is enough."""
        self.terminate()
        document = {'ImageId': image, 'OwnerId': '123456789012', 'State': 'available', 'Name': image,
                    'RootDeviceName': '/dev/xvda', 'Public': account == 'insula', **document}
        with sqlite3.connect(self.data + '/region.db') as db:
            seq, = db.execute("UPDATE counter SET value = value + 1 WHERE name = 'seq' RETURNING value").fetchone()
            db.execute('INSERT INTO resource (id, seq, kind, account, region, parent, state, created, doc) '
                       "VALUES (?, ?, 'image', ?, ?, '', '', 0, ?)", (image, seq, account, region, json.dumps(document)))
        db.close()
        self.start()
        return image

    def environment(self):
        text = self.insula('env')
        return dict(line[len('export '):].split('=', 1) for line in text.splitlines() if line.startswith('export '))

    def client(self, service='ec2', region='us-east-1', **options):
        env = self.environment()
        return make_client(service, endpoint_url=self.url, region_name=region,
                           aws_access_key_id=env['AWS_ACCESS_KEY_ID'], aws_secret_access_key=env['AWS_SECRET_ACCESS_KEY'],
                           config=Config(retries={'max_attempts': 1}, read_timeout=20, parameter_validation=False, **options))

    def insula(self, *words):
        run = subprocess.run([self.program, *words, '--data', self.data], capture_output=True, text=True)
        if run.returncode:
            sys.exit(f'insula {" ".join(words)}: status {run.returncode}: {run.stderr}')
        return run.stdout

    def keepers(self):
        """Processes of machines of this region."""
        out = subprocess.run(['pgrep', '-f', f'keep {self.data}/'], capture_output=True, text=True).stdout
        pids = [int(pid) for pid in out.split()]
        # A child between its fork() and its exec() still looks like its keeper.
        return [pid for pid in pids if parent(pid) not in pids]

    def stop(self):
        """The end, with all its machines; returns the status as terminate() does."""
        status = self.terminate()
        for _ in range(200):
            pids = self.keepers()
            for pid in pids:
                os.kill(pid, 15)
            if not pids:
                break
            time.sleep(0.1)
        if os.path.exists(self.data + '/vpcs'):
            self.insula('down')  # and networks with it
        shutil.rmtree(self.data, ignore_errors=True)
        return status


def code_of(call, **parameters):
    """The code of the error that a call gives."""
    try:
        call(**parameters)
        return 'success'
    except ClientError as e:
        return e.response['Error']['Code']


class Results:
    failed = False

    def ok(self, name, good=True, why=''):
        print(f'ok {name}' if good else f'not ok {name} # {why}', flush=True)
        self.failed |= not good

    def equal(self, name, seen, wanted):
        self.ok(name, seen == wanted, f'{seen!r}, not {wanted!r}'[:300])

    def end(self):
        sys.exit(self.failed)
