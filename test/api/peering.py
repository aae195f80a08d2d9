#!/usr/bin/python3
"""VPCs that are peered: what routes and groups say, real instances see, and nothing beyond the peer; through boto3, in network
namespaces of the test's own."""
import http.server
import ipaddress
import os
import threading
import time

import lab
from lab import Guest, eventually
from region import Region, Results, code_of

here = lab.enter('micro')
results = Results()
region = Region(name='peering')
ec2 = region.client()
SECONDS = 60  # that a change may take on a loaded machine
DESCRIPTORS = {'across': 8, 'within': 9}
NETS = {'one': '10.81', 'two': '10.82', 'three': '10.83'}


def instance(ids):
    return ec2.describe_instances(InstanceIds=[ids])['Reservations'][0]['Instances'][0]


def permission(protocol, first=-1, last=-1, **to):
    return [{'IpProtocol': protocol, 'FromPort': first, 'ToPort': last, **to}]


def block(cidr):
    return {'Ipv6Ranges': [{'CidrIpv6': cidr}]} if ':' in cidr else {'IpRanges': [{'CidrIp': cidr}]}


def becomes(name, fn, wanted=True):
    good = eventually(lambda: bool(fn()) == wanted, SECONDS)
    results.ok(name, good, f'not {wanted} after {SECONDS} s')


def never(name, *probes):
    """What is not allowed does not come through later, either: the rules that forbid it were there before the ones that others see."""
    results.equal(name, [bool(p()) for p in probes], [False] * len(probes))


class Echo(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *words):
        pass


class Machine:
    """An instance in a VPC, the shell on its line, and what it can do to others."""

    def __init__(self, net, group):
        self.net = net
        self.id = ec2.run_instances(ImageId=image, InstanceType='micro.64m', MinCount=1, MaxCount=1, SubnetId=net.subnet,
                                    SecurityGroupIds=[group])['Instances'][0]['InstanceId']

    def wait(self):
        ec2.get_waiter('instance_running').wait(InstanceIds=[self.id], WaiterConfig={'Delay': 1, 'MaxAttempts': 120})
        self.guest = Guest(region, self.id)
        self.guest.wait()
        good = self.guest.has_said('INSULA-NETWORK', 'INSULA-SSH-READY')
        one = instance(self.id)
        self.v4, self.public, self.public_name = one['PrivateIpAddress'], one.get('PublicIpAddress'), one.get('PublicDnsName')
        self.v6 = one['NetworkInterfaces'][0]['Ipv6Addresses'][0]['Ipv6Address']
        good &= eventually(lambda: self.v6 + '/' in self.says('ip -6 addr show eth0') and
                           self.v4 + '/' in self.says('ip -4 addr show eth0'), SECONDS)
        self.guest.run('(nc -ll -p 7000 -e echo here-I-am >/dev/null 2>&1 &)')
        self.guest.run('(nc -ll -p 7100 -e cat >/dev/null 2>&1 &)')
        return good

    def says(self, command):
        return self.guest.says(command, 120)

    def pings(self, address):
        return self.guest.ok(f'ping {"-6 " if ":" in address else ""}-c 1 -W 1 {address}', 120)

    def tcp(self, address, port=7000):
        return 'here-I-am' in self.says(f'echo | nc -w 1 {address} {port}')

    def udp(self, address):
        """A datagram to a port above 7000 where nobody listens, as the other end says."""
        said = self.says(f'traceroute -n -q 1 -w 1 -f 8 -m 8 -p 7000 {address}').split('\n')
        return address in said[-1] and len(said) > 1

    def opens(self, name, address):
        """A connection that stays, to what says all again."""
        self.guest.run(f'mkfifo /tmp/{name}.in; (nc {address} 7100 </tmp/{name}.in >/tmp/{name} 2>&1 &)')
        self.guest.run(f'exec {DESCRIPTORS[name]}>/tmp/{name}.in')

    def echoes(self, name, word):
        self.guest.run(f'echo {word} >&{DESCRIPTORS[name]}')
        return lambda: word in self.says(f'cat /tmp/{name}')


class Net:
    def __init__(self, name, **more):
        self.base = NETS[name]
        self.id = ec2.create_vpc(CidrBlock=self.base + '.0.0/16', AmazonProvidedIpv6CidrBlock=True)['Vpc']['VpcId']
        ec2.modify_vpc_attribute(VpcId=self.id, EnableDnsHostnames={'Value': True})
        self.block6 = ec2.describe_vpcs(VpcIds=[self.id])['Vpcs'][0]['Ipv6CidrBlockAssociationSet'][0]['Ipv6CidrBlock']
        self.blocks = (self.base + '.0.0/16', self.block6)
        first6 = str(next(ipaddress.ip_network(self.block6).subnets(new_prefix=64)))
        self.subnet = ec2.create_subnet(VpcId=self.id, CidrBlock=self.base + '.1.0/24', Ipv6CidrBlock=first6)['Subnet']['SubnetId']
        ec2.modify_subnet_attribute(SubnetId=self.subnet, AssignIpv6AddressOnCreation={'Value': True})
        table, = ec2.describe_route_tables(Filters=[{'Name': 'vpc-id', 'Values': [self.id]}])['RouteTables']
        self.table = table['RouteTableId']
        self.group = self.new_group(name)

    def new_group(self, name):
        return ec2.create_security_group(VpcId=self.id, GroupName=name, Description=name)['GroupId']

    def route(self, cidr, call=None, **target):
        to = {'DestinationIpv6CidrBlock' if ':' in cidr else 'DestinationCidrBlock': cidr}
        (call or ec2.create_route)(RouteTableId=self.table, **to, **target)

    def routes(self, pcx):
        table, = ec2.describe_route_tables(RouteTableIds=[self.table])['RouteTables']
        return [r['State'] for r in table['Routes'] if r.get('VpcPeeringConnectionId') == pcx]


def allow(group, permissions):
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=permissions)


def forbid(group, permissions):
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=permissions)


def peer(a, b, accept=True):
    pcx = ec2.create_vpc_peering_connection(VpcId=a.id, PeerVpcId=b.id)['VpcPeeringConnection']['VpcPeeringConnectionId']
    if accept:
        ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=pcx)
    return pcx


def status(pcx):
    return ec2.describe_vpc_peering_connections(VpcPeeringConnectionIds=[pcx])['VpcPeeringConnections'][0]['Status']['Code']


def overlapping(one):
    """Blocks that overlap cannot be peered, and none is added that would."""
    other = ec2.create_vpc(CidrBlock=one.base + '.16.0/20')['Vpc']['VpcId']
    made = ec2.create_vpc_peering_connection(VpcId=one.id, PeerVpcId=other)['VpcPeeringConnection']
    results.equal('overlap-fails', made['Status']['Code'], 'failed')
    pcx = made['VpcPeeringConnectionId']
    results.equal('overlap-not-accepted', code_of(ec2.accept_vpc_peering_connection, VpcPeeringConnectionId=pcx),
                  'InvalidStateTransition')
    results.equal('overlap-no-route', code_of(one.route, cidr=one.base + '.16.0/20', VpcPeeringConnectionId=pcx) != 'success', True)
    ec2.delete_vpc(VpcId=other)


def routing(one, two, a, b):
    """Nothing passes before both have a route."""
    for cidr in ('0.0.0.0/0', '::/0'):
        allow(two.group, permission('-1', **block(cidr)))
    pcx = peer(one, two, accept=False)
    results.equal('pending', (status(pcx), code_of(one.route, cidr=two.blocks[0], VpcPeeringConnectionId=pcx) == 'success'),
                  ('pending-acceptance', False))
    ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=pcx)
    results.equal('active', status(pcx), 'active')
    becomes('both-have-it', lambda: all('pcx' in lab.sh('ip', '-n', n.id, '-o', 'link') for n in (one, two)))
    never('nothing-without-routes', lambda: a.tcp(b.v4), lambda: a.pings(b.v4), lambda: a.pings(b.v6), lambda: b.pings(a.v4))
    for cidr in two.blocks:
        one.route(cidr, VpcPeeringConnectionId=pcx)
    never('nothing-without-the-way-back', lambda: a.tcp(b.v4), lambda: a.pings(b.v6))
    for cidr in one.blocks:
        two.route(cidr, VpcPeeringConnectionId=pcx)
    becomes('tcp', lambda: a.tcp(b.v4))
    becomes('udp', lambda: a.udp(b.v4))
    becomes('icmp', lambda: a.pings(b.v4))
    becomes('tcp6', lambda: a.tcp(b.v6))
    becomes('udp6', lambda: a.udp(b.v6))
    becomes('icmp6', lambda: a.pings(b.v6))
    becomes('large', lambda: a.guest.ok(f'ping -s 8000 -c 1 -W 1 {b.v4}', 120))
    results.equal('routes', (one.routes(pcx), two.routes(pcx)), (['active'] * 2, ['active'] * 2))
    for cidr in ('0.0.0.0/0', '::/0'):
        forbid(two.group, permission('-1', **block(cidr)))
    becomes('group-denies', lambda: a.tcp(b.v4), False)
    return pcx


def groups(one, two, a, second, b):
    """Each case: what a rule allows goes through, and does not without it."""
    for name, rule, probe in (
            ('tcp-cidr', permission('tcp', 7000, 7000, **block(one.blocks[0])), lambda: a.tcp(b.v4)),
            ('udp-cidr', permission('udp', 7000, 7100, **block(one.blocks[0])), lambda: a.udp(b.v4)),
            ('icmp-cidr', permission('icmp', **block(one.blocks[0])), lambda: a.pings(b.v4)),
            ('tcp6-cidr', permission('tcp', 7000, 7000, **block(one.blocks[1])), lambda: a.tcp(b.v6)),
            ('icmp6-cidr', permission('icmpv6', **block(one.blocks[1])), lambda: a.pings(b.v6)),
            ('tcp-group', permission('tcp', 7000, 7000, UserIdGroupPairs=[{'GroupId': one.group}]), lambda: a.tcp(b.v4)),
            ('udp-group', permission('udp', 7000, 7100, UserIdGroupPairs=[{'GroupId': one.group}]), lambda: a.udp(b.v4)),
            ('icmp6-group', permission('icmpv6', UserIdGroupPairs=[{'GroupId': one.group}]), lambda: a.pings(b.v6))):
        allow(two.group, rule)
        becomes(f'{name}-allowed', probe)
        forbid(two.group, rule)
        becomes(f'{name}-denied', probe, False)
    rule = permission('tcp', 7000, 7000, UserIdGroupPairs=[{'GroupId': one.group}])
    allow(two.group, rule)
    becomes('group-of-the-peer', lambda: a.tcp(b.v4))
    never('group-of-the-peer-others', lambda: second.tcp(b.v4), lambda: a.tcp(b.v4, 7100))
    eni = instance(second.id)['NetworkInterfaces'][0]['NetworkInterfaceId']
    ec2.modify_network_interface_attribute(NetworkInterfaceId=eni, Groups=[second.group, one.group])
    becomes('group-of-the-peer-joined', lambda: second.tcp(b.v4))
    ec2.modify_network_interface_attribute(NetworkInterfaceId=eni, Groups=[second.group])
    becomes('group-of-the-peer-left', lambda: second.tcp(b.v4), False)
    # The other way: b may ask, and a's own group says who comes in.
    never('back-not-without-rule', lambda: b.tcp(a.v4))
    allow(one.group, permission('tcp', 7000, 7000, UserIdGroupPairs=[{'GroupId': two.group}]))
    becomes('back', lambda: b.tcp(a.v4))
    references = ec2.describe_security_group_references(GroupId=[one.group])['SecurityGroupReferenceSet']
    results.equal('references', [r['ReferencingVpcId'] for r in references], [two.id])


def not_beyond(one, two, three, a, b, c, pcx):
    """Neither a third VPC nor the internet is reached through a peer."""
    other = peer(two, three)
    two.route(three.blocks[0], VpcPeeringConnectionId=other)
    three.route(two.blocks[0], VpcPeeringConnectionId=other)
    allow(three.group, permission('-1', **block('0.0.0.0/0')))
    allow(two.group, permission('tcp', 7000, 7000, **block('0.0.0.0/0')))
    becomes('third-is-there', lambda: b.tcp(c.v4))
    becomes('third-back', lambda: c.tcp(b.v4))
    one.route(three.blocks[0], VpcPeeringConnectionId=pcx)
    three.route(one.blocks[0], VpcPeeringConnectionId=other)
    allow(one.group, permission('-1', **block(three.blocks[0])))
    becomes('third-routes', lambda: len(one.routes(pcx)) == 3 and three.blocks[0] in lab.sh('ip', '-n', one.id, 'route', 'show', 'table', 'all'))
    never('not-transitive', lambda: a.tcp(c.v4), lambda: a.pings(c.v4), lambda: c.tcp(a.v4), lambda: c.pings(a.v4))

    server = here.outside(lambda: http.server.ThreadingHTTPServer((lab.WORLD, 8000), Echo))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    gateway = ec2.create_internet_gateway()['InternetGateway']['InternetGatewayId']
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=two.id)
    two.route('0.0.0.0/0', GatewayId=gateway)
    address = ec2.allocate_address(Domain='vpc')
    ec2.associate_address(AllocationId=address['AllocationId'], InstanceId=b.id)
    b.public = address['PublicIp']
    out = f'curl -s -m 2 http://{lab.WORLD}:8000/'
    becomes('internet-of-the-peer', lambda: b.guest.ok(out, 120))
    one.route('0.0.0.0/0', VpcPeeringConnectionId=pcx)
    becomes('internet-route', lambda: len(one.routes(pcx)) == 4 and
            'default dev pcx' in lab.sh('ip', '-n', one.id, 'route', 'show', 'table', 'all'))
    never('no-internet-through-the-peer', lambda: a.guest.ok(out, 120))
    becomes('peer-itself-still', lambda: a.tcp(b.v4))
    ec2.delete_route(RouteTableId=one.table, DestinationCidrBlock='0.0.0.0/0')
    server.shutdown()
    return other


def names(one, two, a, b, pcx):
    """The public name of the peer's instance is its private address, for those who may resolve it so."""
    name = instance(b.id)['PublicDnsName']
    asks = lambda: b.v4 in a.says(f'nslookup {name} 2>&1 | tail -n +4')
    private = 'ip-' + b.v4.replace('.', '-') + '.ec2.internal'
    never('dns-not-by-itself', asks)
    ec2.modify_vpc_peering_connection_options(VpcPeeringConnectionId=pcx,
                                              AccepterPeeringConnectionOptions={'AllowDnsResolutionFromRemoteVpc': True})
    becomes('dns-of-the-peer', asks)
    becomes('dns-reverse-of-the-peer', lambda: private in a.says(f'nslookup {b.v4}'))
    never('dns-one-way', lambda: a.v4 in b.says(f'nslookup ip-{a.v4.replace(".", "-")}.ec2.internal 2>&1 | tail -n +4'))
    ec2.modify_vpc_peering_connection_options(VpcPeeringConnectionId=pcx,
                                              AccepterPeeringConnectionOptions={'AllowDnsResolutionFromRemoteVpc': False})
    becomes('dns-no-longer', asks, False)


def killed(one, two, a, b):
    """Connections do not notice that the region and the services of both VPCs end and come back, and changes go on."""
    for net in (one, two):
        os.kill(int(open(f'{region.data}/vpcs/{net.id}/vpc.pid').read().split()[0]), 9)
    region.kill()
    for name in ('across', 'within'):
        results.ok(f'killed-{name}', eventually(a.echoes(name, 'killed'), SECONDS))
    region.start()
    globals()['ec2'] = region.client()
    never('before-the-rule', lambda: a.pings(b.v4))
    allow(two.group, permission('icmp', **block(one.blocks[0])))
    region.kill()  # with what was answered, and perhaps not done yet
    region.start()
    globals()['ec2'] = region.client()
    becomes('rule-after-kill', lambda: a.pings(b.v4))
    for name in ('across', 'within'):
        results.ok(f'back-{name}', eventually(a.echoes(name, 'back'), SECONDS))


def deleted(one, two, a, second, b, pcx):
    """The route is a blackhole, and what was open across is dead; what is open within lives."""
    ec2.delete_vpc_peering_connection(VpcPeeringConnectionId=pcx)
    region.kill()
    region.start()
    globals()['ec2'] = region.client()
    results.equal('blackholes', (status(pcx), set(one.routes(pcx)), set(two.routes(pcx))), ('deleted', {'blackhole'}, {'blackhole'}))
    becomes('deleted-tcp', lambda: a.tcp(b.v4), False)
    becomes('deleted-icmp6', lambda: a.pings(b.v6), False)
    becomes('deleted-link', lambda: f'pcx{pcx[-12:]}' in lab.sh('ip', '-n', one.id, '-o', 'link') +
            lab.sh('ip', '-n', two.id, '-o', 'link'), False)
    across = a.echoes('across', 'deleted')
    results.ok('deleted-within', eventually(a.echoes('within', 'deleted'), SECONDS))
    never('deleted-across', across)
    stale = ec2.describe_stale_security_groups(VpcId=two.id)['StaleSecurityGroupSet']
    results.equal('stale', [g['GroupId'] for g in stale], [two.group])


def again(one, two, a, b, group):
    """A new one has the routes when they are given to it, and the peer's end is there whenever the peer is."""
    pcx = peer(one, two)
    never('again-not-by-old-routes', lambda: a.tcp(b.v4))
    for net, other in ((one, two), (two, one)):
        net.route(other.blocks[0], ec2.replace_route, VpcPeeringConnectionId=pcx)
    becomes('again', lambda: a.tcp(b.v4))
    ec2.terminate_instances(InstanceIds=[b.id])
    ec2.get_waiter('instance_terminated').wait(InstanceIds=[b.id], WaiterConfig={'Delay': 1, 'MaxAttempts': 120})
    becomes('peer-leaves', lambda: 'pcx' in lab.sh('ip', '-n', one.id, '-o', 'link'), False)
    b = Machine(two, group)
    results.ok('peer-boots', b.wait())
    becomes('peer-back', lambda: a.tcp(b.v4))
    return b


def leave(machines, nets):
    ids = [m.id for m in machines]
    ec2.terminate_instances(InstanceIds=ids)
    ec2.get_waiter('instance_terminated').wait(InstanceIds=ids, WaiterConfig={'Delay': 1, 'MaxAttempts': 120})
    good = eventually(lambda: not here.left() and not os.listdir(region.data + '/vpcs'), 60)
    results.ok('nothing-left', good, (here.left(), os.listdir(region.data + '/vpcs')))


def part(fn, *args):
    begun = time.monotonic()
    got = fn(*args)
    print(f'# {fn.__name__}: {time.monotonic() - begun:.1f} s', flush=True)
    return got


def main():
    one, two, three = (Net(name) for name in NETS)
    here.ours = (one.id, two.id, three.id)
    inner = one.new_group('inner')
    allow(inner, permission('-1', UserIdGroupPairs=[{'GroupId': one.group}]))
    a, second, b, c = machines = [Machine(*of) for of in ((one, one.group), (one, inner), (two, two.group), (three, three.group))]
    second.group = inner
    results.equal('booted', [m.wait() for m in machines], [True] * 4)
    part(overlapping, one)
    pcx = part(routing, one, two, a, b)
    part(groups, one, two, a, second, b)
    part(not_beyond, one, two, three, a, b, c, pcx)
    part(names, one, two, a, b, pcx)
    allow(two.group, permission('tcp', 7100, 7100, UserIdGroupPairs=[{'GroupId': one.group}]))
    becomes('echo', lambda: 'hi' in a.says(f'(echo hi; sleep 1) | nc -w 2 {b.v4} 7100'))
    for name, to in (('across', b), ('within', second)):
        a.opens(name, to.v4)
        results.ok(f'open-{name}', eventually(a.echoes(name, 'open'), SECONDS))
    part(killed, one, two, a, b)
    part(deleted, one, two, a, second, b, pcx)
    b = part(again, one, two, a, b, two.group)
    leave([a, second, b, c], (one, two, three))


try:
    image = region.insula('image', 'build', 'micro').split()[-1]
    main()
finally:
    region.stop()
    left = here.left()
    results.ok('test-leaves-nothing', not left, left)
results.end()
