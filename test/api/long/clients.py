#!/usr/bin/python3
"""Clients that are large to install, as they are: Ansible's amazon.aws collection, AWS's SDK for JavaScript, packer's
amazon-ebs builder. A tool that is not here is skipped."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(here))
from region import Region, Results

# One version, so that a new one does not fail what has not changed here.
NODE_PACKAGE = '@aws-sdk/client-ec2@3.600.0'

results = Results()
region = Region(name='clients')


class Missing(Exception):
    """What a client needs is not here."""


def tool(name):
    path = shutil.which(name, path='/usr/bin:/bin')
    if not path:
        raise Missing(f'there is no {name}')
    return path


def run(*words, home, **more):
    done = subprocess.run(words, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=home,
                          timeout=240, env={'PATH': '/usr/bin:/bin', 'LC_ALL': 'C.UTF-8', **region.environment(),
                                            **{'HOME': home, 'AWS_EC2_METADATA_DISABLED': 'true', **more}})
    return done.returncode, done.stdout


def ansible(home):
    status, text = run(tool('ansible-playbook'), '-i', 'localhost,', '-e', f'endpoint={region.url}',
                       '-e', 'ansible_python_interpreter=/usr/bin/python3', here + '/life.yml', home=home)
    results.ok('ansible', status == 0, text)


def javascript(home):
    node, npm = tool('node'), tool('npm')
    # npm in the environment as it is: it may need a proxy or certificates to reach the registry.
    try:
        status, text = run(npm, 'install', '--no-audit', '--no-fund', '--prefix', home, NODE_PACKAGE, home=home, **os.environ)
    except subprocess.TimeoutExpired:
        status, text = 1, 'it does not end'
    if status:
        raise Missing(f'npm cannot fetch {NODE_PACKAGE}: {text.strip().splitlines()[-1]}')
    status, text = run(node, here + '/life.mjs', home, region.url, home=home)
    results.ok('javascript', status == 0, text)


def packer(home):
    template = {'builders': [{
        'type': 'amazon-ebs', 'region': 'us-east-1', 'custom_endpoint_ec2': region.url, 'source_ami': image,
        'instance_type': 'micro.64m', 'ami_name': 'packed', 'communicator': 'none', 'skip_region_validation': True}]}
    with open(home + '/life.json', 'w') as file:
        json.dump(template, file)
    status, text = run(tool('packer'), 'build', '-machine-readable', 'life.json', home=home, CHECKPOINT_DISABLE='1',
                       AWS_POLL_DELAY_SECONDS='1')
    if status and 'UnsupportedOperation' in text and 'Error creating AMI' in text:
        raise Missing('the region has no CreateImage; it ran, tagged and stopped its instance')
    results.ok('packer', status == 0, text)


try:
    image = region.insula('image', 'build', 'micro').split()[-1]
    for client in [c for c in (ansible, javascript, packer) if c.__name__ in sys.argv[1:] or not sys.argv[1:]]:
        try:
            client(tempfile.mkdtemp(dir=region.data))
        except Missing as e:
            print(f'skip {client.__name__} # {e}', flush=True)
finally:
    print(f'# the region ended with {region.stop()}')
results.end()
