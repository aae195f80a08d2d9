#!/usr/bin/python3
"""Networks that come and go: a hundred instances, five at a time, and a region that is killed at any moment. In the end nothing of
them is left on the host: no namespace, interface, route, rule, table, process or file."""
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import lab
from lab import eventually, pings
from region import Region, Results

BATCHES, BATCH, KILLS = 20, 5, 20
here = lab.enter('micro')
results = Results()
region = Region(name='vpc-long')
dice = random.Random(5)


def client():
    return region.client()


def build(ec2):
    vpc = ec2.create_vpc(CidrBlock='10.88.0.0/16')['Vpc']['VpcId']
    gateway = ec2.create_internet_gateway()['InternetGateway']['InternetGatewayId']
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    table, = ec2.describe_route_tables(Filters=[{'Name': 'vpc-id', 'Values': [vpc]}])['RouteTables']
    ec2.create_route(RouteTableId=table['RouteTableId'], DestinationCidrBlock='0.0.0.0/0', GatewayId=gateway)
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock='10.88.1.0/24')['Subnet']['SubnetId']
    ec2.modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch={'Value': True})
    group = ec2.create_security_group(VpcId=vpc, GroupName='g', Description='g')['GroupId']
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
        {'IpProtocol': '-1', 'IpRanges': [{'CidrIp': '0.0.0.0/0'}]}])
    return vpc, subnet, group


def run(ec2, count, **more):
    made = ec2.run_instances(ImageId=image, InstanceType='micro.64m', MinCount=count, MaxCount=count, SubnetId=subnet,
                             SecurityGroupIds=[group], **more)['Instances']
    return [i['InstanceId'] for i in made]


def wait(ec2, state, ids):
    ec2.get_waiter('instance_' + state).wait(InstanceIds=ids, WaiterConfig={'Delay': 1, 'MaxAttempts': 300})


def gone():
    folders = [f for f in ('vpcs', 'instances') if os.path.exists(f'{region.data}/{f}') and os.listdir(f'{region.data}/{f}')]
    return not here.left() and not folders and not region.keepers()


def show(ec2, ids):
    return [i for r in ec2.describe_instances(InstanceIds=ids)['Reservations'] for i in r['Instances']]


def services():
    try:
        with open(f'{region.data}/vpcs/{vpc}/vpc.pid') as file:
            return int(file.read().split()[0])
    except (OSError, IndexError):
        return 0


try:
    ec2 = client()
    image = region.insula('image', 'build', 'micro').split()[-1]
    vpc, subnet, group = build(ec2)
    here.ours = (vpc,)
    for batch in range(BATCHES):
        begun = time.monotonic()
        ids = run(ec2, BATCH)
        wait(ec2, 'running', ids)
        taken = time.monotonic() - begun
        states = show(ec2, ids)
        good = eventually(lambda: all(pings(i['PublicIpAddress']) for i in states), 120)
        results.ok(f'batch-{batch}', good and len(states) == BATCH, 'not all answer')
        print(f'# {BATCH} run after {taken:.1f} s, all answer after {time.monotonic() - begun:.1f} s')
        ec2.terminate_instances(InstanceIds=ids)
        wait(ec2, 'terminated', ids)
        results.ok(f'batch-{batch}-gone', eventually(gone, 60), here.left())
    # An instance that answers goes on doing so while the region and its services are killed around it, and others come and go.
    stays, = run(ec2, 1)
    wait(ec2, 'running', [stays])
    address = show(ec2, [stays])[0]['PublicIpAddress']
    results.ok('answers', eventually(lambda: pings(address), 60))
    lost = 0
    for turn in range(KILLS):
        try:
            ids = run(ec2, 1, ClientToken=f'turn-{turn}')
        except Exception:
            ids = []
        time.sleep(dice.random() * 0.4)
        if turn % 2 and services():
            os.kill(services(), signal.SIGKILL)
        region.kill()
        lost += not pings(address, 2)
        region.start()
        ec2 = client()
        ids = ids or run(ec2, 1, ClientToken=f'turn-{turn}')
        wait(ec2, 'running', ids)
        one = show(ec2, ids)[0]['PublicIpAddress']
        if not eventually(lambda: pings(one), 60):
            results.ok(f'kill-{turn}', False, f'{ids} does not answer')
        ec2.terminate_instances(InstanceIds=ids)
        time.sleep(dice.random() * 0.4)
        region.kill()
        region.start()
        ec2 = client()
        wait(ec2, 'terminated', ids)
    results.equal('answered-throughout', lost, 0)
    ec2.terminate_instances(InstanceIds=[stays])
    wait(ec2, 'terminated', [stays])
    results.ok('killed-and-gone', eventually(gone, 60), here.left())
finally:
    region.stop()
    results.ok('leaves-nothing', not here.left(), here.left())
results.end()
