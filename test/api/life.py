#!/usr/bin/python3
"""The life of instances: real ones of the micro image, through boto3, the aws CLI and insula's own verbs; with the
region killed in between."""
import base64
import json
import os
import subprocess
import time


from region import ROOT, Region, Results, code_of

results = Results()
region = Region(name='life')
ec2 = region.client()


def show(*ids):
    return [i for r in ec2.describe_instances(InstanceIds=list(ids))['Reservations'] for i in r['Instances']]


def console(instance, text, seconds=60):
    """Waits until the console has said text."""
    for _ in range(seconds * 5):
        said = ec2.get_console_output(InstanceId=instance).get('Output', '')
        if text in said:
            return True
        time.sleep(0.2)
    return False


def aws(*words):
    run = subprocess.run(['/usr/bin/aws', '--endpoint-url', region.url, *words],
                         env={**os.environ, **region.environment(), 'HOME': region.data}, capture_output=True, text=True)
    return run.stdout.strip() or run.stderr.strip()


try:
    image = region.insula('image', 'build', 'micro').split()[-1]
    results.ok('image-build', image.startswith('ami-'), image)
    results.equal('image-shown', [i['Name'] for i in ec2.describe_images(ImageIds=[image])['Images']], ['micro'])

    run = ec2.run_instances(ImageId=image, InstanceType='t3.nano', MinCount=1, MaxCount=1, ClientToken='once',
                            TagSpecifications=[{'ResourceType': 'instance', 'Tags': [{'Key': 'Name', 'Value': 'one'}]}])
    one = run['Instances'][0]['InstanceId']
    results.equal('run-pending', run['Instances'][0]['State']['Name'], 'pending')
    again = ec2.run_instances(ImageId=image, InstanceType='t3.nano', MinCount=1, MaxCount=1, ClientToken='once',
                              TagSpecifications=[{'ResourceType': 'instance', 'Tags': [{'Key': 'Name', 'Value': 'one'}]}])
    results.equal('client-token', again['Instances'][0]['InstanceId'], one)
    results.equal('client-token-mismatch', code_of(ec2.run_instances, ImageId=image, InstanceType='t3.small', MinCount=1,
                                                   MaxCount=1, ClientToken='once'), 'IdempotentParameterMismatch')
    ec2.get_waiter('instance_running').wait(InstanceIds=[one], WaiterConfig={'Delay': 1, 'MaxAttempts': 300})
    results.ok('console', console(one, 'INSULA-INIT-REACHED'), 'init was not reached')
    listed = region.insula('ls').splitlines()
    results.ok('verb-ls-aligned', len({line.index(word) for line, word in zip(listed, ('STATE', 'running'))}) == 1, listed)
    shown = region.insula('show', 'one')
    whole = json.loads(region.insula('show', 'one', '--json'))
    results.ok('verb-show', f"{whole['InstanceId']} one running" in shown and 'Name = one' in shown and
               whole['PrivateIpAddress'] in shown, shown)
    results.ok('verbs', 'running' in region.insula('ls') and 'INSULA-INIT-REACHED' in region.insula('log', 'one'), '')
    results.equal('cli', aws('ec2', 'describe-instances', '--query', 'Reservations[].Instances[].InstanceId', '--output', 'text'),
                  one)

    # The region dies and comes back: the machine has not noticed.
    before = region.keepers()
    region.kill()
    region.start()
    ec2 = region.client()
    results.equal('kill-9-serve', ([i['State']['Name'] for i in show(one)], region.keepers()), (['running'], before))

    # A machine that dies is noticed.
    os.kill(before[0], 9)
    for _ in range(600):
        if show(one)[0]['State']['Name'] != 'running':
            break
        time.sleep(0.1)
    results.equal('kill-9-machine', (show(one)[0]['State']['Name'], show(one)[0]['StateReason']['Code']),
                  ('stopped', 'Server.InternalError'))
    ec2.start_instances(InstanceIds=[one])
    ec2.get_waiter('instance_running').wait(InstanceIds=[one], WaiterConfig={'Delay': 1, 'MaxAttempts': 300})
    results.equal('start-again', len(region.keepers()), 1)

    # The guest obeys the power button, even one that is still booting when it is pressed first.
    ec2.stop_instances(InstanceIds=[one])
    ec2.get_waiter('instance_stopped').wait(InstanceIds=[one], WaiterConfig={'Delay': 1, 'MaxAttempts': 300})
    results.ok('stop', region.keepers() == [] and console(one, 'reboot: Power down', 1), 'it did not power off')
    ec2.start_instances(InstanceIds=[one])
    ec2.get_waiter('instance_running').wait(InstanceIds=[one], WaiterConfig={'Delay': 1, 'MaxAttempts': 300})
    ec2.stop_instances(InstanceIds=[one], Force=True)
    ec2.get_waiter('instance_stopped').wait(InstanceIds=[one], WaiterConfig={'Delay': 1, 'MaxAttempts': 300})
    results.equal('stop-force', region.keepers(), [])
    results.equal('terminate-protected', code_of(ec2.terminate_instances, InstanceIds=['i-12345678901234567']),
                  'InvalidInstanceID.NotFound')
    ec2.terminate_instances(InstanceIds=[one])
    ec2.get_waiter('instance_terminated').wait(InstanceIds=[one], WaiterConfig={'Delay': 1, 'MaxAttempts': 300})
    results.ok('terminate', not os.path.exists(f'{region.data}/instances/{one}'), 'its folder is there')

    # A guest that powers off is stopped, or terminated if it was launched so.
    two = ec2.run_instances(ImageId=image, InstanceType='t3.nano', MinCount=1, MaxCount=1,
                            InstanceInitiatedShutdownBehavior='terminate')['Instances'][0]['InstanceId']
    ec2.get_waiter('instance_running').wait(InstanceIds=[two], WaiterConfig={'Delay': 1, 'MaxAttempts': 300})
    results.ok('prompt', console(two, '# '), 'no shell')
    subprocess.run([region.program, 'console', two, '--data', region.data], input=b'poweroff -f\n', capture_output=True, timeout=200)
    for _ in range(600):
        if show(two)[0]['State']['Name'] == 'terminated':
            break
        time.sleep(0.1)
    results.equal('guest-shutdown', (show(two)[0]['State']['Name'], show(two)[0]['StateReason']['Code']),
                  ('terminated', 'Client.InstanceInitiatedShutdown'))

    # Wrong input, in AWS's words.
    results.equal('malformed-id', code_of(ec2.describe_instances, InstanceIds=['i-xyz']), 'InvalidInstanceID.Malformed')
    results.equal('unknown-id', code_of(ec2.stop_instances, InstanceIds=['i-12345678901234567']), 'InvalidInstanceID.NotFound')
    results.equal('unknown-image', code_of(ec2.run_instances, ImageId='ami-12345678', MinCount=1, MaxCount=1),
                  'InvalidAMIID.NotFound')
    results.equal('no-count', code_of(ec2.run_instances, ImageId=image, InstanceType='t3.nano', MinCount=0, MaxCount=1),
                  'InvalidParameterValue')
    results.equal('unknown-type', code_of(ec2.run_instances, ImageId=image, InstanceType='x9.huge', MinCount=1, MaxCount=1),
                  'InvalidParameterValue')
    results.equal('dry-run', code_of(ec2.run_instances, ImageId=image, InstanceType='t3.nano', MinCount=1, MaxCount=1, DryRun=True),
                  'DryRunOperation')
    results.equal('no-capacity', code_of(ec2.run_instances, ImageId=image, InstanceType='r5.24xlarge', MinCount=1, MaxCount=1),
                  'InsufficientInstanceCapacity')
    second = subprocess.run([region.program, 'serve', '--data', region.data], capture_output=True, text=True, timeout=20)
    results.ok('two-serves', second.returncode == 2 and 'another process' in second.stderr, second.stderr)
finally:
    region.stop()
results.end()
