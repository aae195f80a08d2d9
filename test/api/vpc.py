#!/usr/bin/python3
"""From create-vpc to machines that reach one another exactly as groups, ACLs and routes say: two real instances in two subnets,
through boto3, in network namespaces of the test's own."""
import http.server
import ipaddress
import json
import os
import subprocess
import threading
import time

import lab
from lab import Guest, connects, eventually, pings
from region import Region, Results, code_of, make_client

here = lab.enter('micro')
results = Results()
region = Region(name='vpc')
ec2 = region.client()


def instance(ids):
    return ec2.describe_instances(InstanceIds=[ids])['Reservations'][0]['Instances'][0]


def permission(protocol, first=-1, last=-1, **to):
    return [{'IpProtocol': protocol, 'FromPort': first, 'ToPort': last, **to}]


def anywhere(protocol, first=-1, last=-1):
    return permission(protocol, first, last, IpRanges=[{'CidrIp': '0.0.0.0/0'}])


def of_group(protocol, group, first=-1, last=-1):
    return permission(protocol, first, last, UserIdGroupPairs=[{'GroupId': group}])


def allow(group, permissions):
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=permissions)


def forbid(group, permissions):
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=permissions)


def becomes(name, fn, wanted=True):
    """What a change brings is so in well under a second; on a loaded machine, soon."""
    begun = time.monotonic()
    good = eventually(lambda: bool(fn()) == wanted, 15)
    results.ok(name, good, f'not {wanted} after {time.monotonic() - begun:.1f} s')


class Echo(http.server.BaseHTTPRequestHandler):
    """The world: tells who asks."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.client_address[0].encode())

    def log_message(self, *words):
        pass


def build():
    """The VPC, and two instances in it, one with a public address."""
    v = {'vpc': ec2.create_vpc(CidrBlock='10.77.0.0/16', AmazonProvidedIpv6CidrBlock=True)['Vpc']['VpcId']}
    here.ours = (v['vpc'],)
    ec2.modify_vpc_attribute(VpcId=v['vpc'], EnableDnsHostnames={'Value': True})
    v['gateway'] = ec2.create_internet_gateway()['InternetGateway']['InternetGatewayId']
    ec2.attach_internet_gateway(InternetGatewayId=v['gateway'], VpcId=v['vpc'])
    block = ec2.describe_vpcs(VpcIds=[v['vpc']])['Vpcs'][0]['Ipv6CidrBlockAssociationSet'][0]['Ipv6CidrBlock']
    blocks = list(ipaddress.ip_network(block).subnets(new_prefix=64))
    for i, name in enumerate(('a', 'b')):
        v[name] = ec2.create_subnet(VpcId=v['vpc'], CidrBlock=f'10.77.{i + 1}.0/24', AvailabilityZone='us-east-1a',
                                    Ipv6CidrBlock=str(blocks[i + 1]))['Subnet']['SubnetId']
        ec2.modify_subnet_attribute(SubnetId=v[name], AssignIpv6AddressOnCreation={'Value': True})
        v['group-' + name] = ec2.create_security_group(VpcId=v['vpc'], GroupName=name, Description=name)['GroupId']
    ec2.modify_subnet_attribute(SubnetId=v['a'], MapPublicIpOnLaunch={'Value': True})
    v['table'] = ec2.create_route_table(VpcId=v['vpc'])['RouteTable']['RouteTableId']
    v['association'] = ec2.associate_route_table(RouteTableId=v['table'], SubnetId=v['a'])['AssociationId']
    ec2.create_route(RouteTableId=v['table'], DestinationCidrBlock='0.0.0.0/0', GatewayId=v['gateway'])
    v['key'] = ec2.create_key_pair(KeyName='mine', KeyType='ed25519')['KeyMaterial']
    v['image'] = region.insula('image', 'build', 'micro').split()[-1]
    data = '#!/bin/sh\necho ran-$(hostname) >/tmp/user-data-ran\n'
    for name in ('a', 'b'):
        v['i-' + name] = ec2.run_instances(
            ImageId=v['image'], InstanceType='micro.128m', MinCount=1, MaxCount=1, KeyName='mine', SubnetId=v[name],
            SecurityGroupIds=[v['group-' + name]], UserData=data, IamInstanceProfile={'Name': 'web'},
            TagSpecifications=[{'ResourceType': 'instance', 'Tags': [{'Key': 'Name', 'Value': name}]}])['Instances'][0]['InstanceId']
    ec2.get_waiter('instance_running').wait(InstanceIds=[v['i-a'], v['i-b']], WaiterConfig={'Delay': 1, 'MaxAttempts': 120})
    return v


def addresses(v, a, b):
    """What DHCP has given them is what the records say."""
    for name, guest in (('a', a), ('b', b)):
        one = instance(v['i-' + name])
        v['ip-' + name], v['public-' + name] = one['PrivateIpAddress'], one.get('PublicIpAddress')
        v['ip6-' + name] = one['NetworkInterfaces'][0]['Ipv6Addresses'][0]['Ipv6Address']
        v['eni-' + name] = one['NetworkInterfaces'][0]['NetworkInterfaceId']
        results.ok(f'dhcp-{name}', eventually(lambda: v['ip-' + name] + '/' in guest.says('ip -4 addr show eth0'), 30),
                   guest.says('ip addr'))
        results.ok(f'dhcp6-{name}', eventually(lambda: v['ip6-' + name] + '/' in guest.says('ip -6 addr show eth0'), 30),
                   guest.says('ip -6 addr'))
    results.ok('public-address', v['public-a'] and not v['public-b'], (v['public-a'], v['public-b']))


def metadata(v, a):
    """From within, as a program would read it."""
    url = 'http://169.254.169.254/latest/'
    get = f'wget -q -O - {url}'
    results.equal('imds-v1', a.says(get + 'meta-data/instance-id'), v['i-a'])
    results.equal('imds-addresses', (a.says(get + 'meta-data/local-ipv4'), a.says(get + 'meta-data/public-ipv4')),
                  (v['ip-a'], v['public-a']))
    results.equal('imds-key', a.says(get + 'meta-data/public-keys/0/openssh-key').split()[0], 'ssh-ed25519')
    document = json.loads(a.says(get + 'dynamic/instance-identity/document'))
    results.equal('imds-document', (document['instanceId'], document['privateIp'], document['region'], document['accountId']),
                  (v['i-a'], v['ip-a'], 'us-east-1', '123456789012'))
    pkcs7 = a.says(get + 'dynamic/instance-identity/pkcs7')
    signed = f'-----BEGIN PKCS7-----\n{pkcs7}\n-----END PKCS7-----\n'
    checked = subprocess.run(['openssl', 'smime', '-verify', '-inform', 'PEM', '-certfile', region.data + '/identity.pem', '-noverify'],
                             input=signed, capture_output=True, text=True)
    results.ok('imds-pkcs7', checked.returncode == 0 and json.loads(checked.stdout) == document, checked.stderr)
    results.ok('user-data-ran', eventually(lambda: a.says('cat /tmp/user-data-ran').startswith('ran-'), 30))
    results.equal('hostname', a.says('cat /tmp/user-data-ran').split('.')[0], 'ran-ip-' + v['ip-a'].replace('.', '-'))

    role = json.loads(a.says(get + 'meta-data/iam/security-credentials/' + a.says(get + 'meta-data/iam/security-credentials/')))
    with_role = {'aws_access_key_id': role['AccessKeyId'], 'aws_secret_access_key': role['SecretAccessKey'],
                 'endpoint_url': region.url, 'region_name': 'us-east-1'}
    who = make_client('sts', aws_session_token=role['Token'], **with_role).get_caller_identity()
    results.ok('role-credentials', who['Arn'] == f'arn:aws:sts::123456789012:assumed-role/web/{v["i-a"]}', who)
    results.equal('role-ec2', code_of(make_client('ec2', aws_session_token=role['Token'], **with_role).describe_vpcs), 'success')
    results.equal('role-token-wrong', code_of(make_client('ec2', aws_session_token='no', **with_role).describe_vpcs), 'AuthFailure')
    results.equal('role-token-missing', code_of(make_client('ec2', **with_role).describe_vpcs), 'AuthFailure')

    # Options take effect at once.
    ec2.modify_instance_metadata_options(InstanceId=v['i-a'], HttpTokens='required', InstanceMetadataTags='enabled')
    becomes('imds-tokens-required', lambda: a.ok(get + 'meta-data/instance-id'), False)
    token = a.says(f'curl -s -X PUT -H "X-aws-ec2-metadata-token-ttl-seconds: 60" {url}api/token')
    ask = f'curl -s -f -H "X-aws-ec2-metadata-token: {token}" {url}'
    results.equal('imds-v2', a.says(ask + 'meta-data/instance-id'), v['i-a'])
    results.equal('imds-tags', a.says(ask + 'meta-data/tags/instance/Name'), 'a')
    ec2.create_tags(Resources=[v['i-a']], Tags=[{'Key': 'Name', 'Value': 'renamed'}])
    becomes('imds-tag-changed', lambda: a.says(ask + 'meta-data/tags/instance/Name') == 'renamed')
    ec2.modify_instance_metadata_options(InstanceId=v['i-a'], HttpEndpoint='disabled')
    becomes('imds-disabled', lambda: a.ok(ask + 'meta-data/instance-id'), False)
    ec2.modify_instance_metadata_options(InstanceId=v['i-a'], HttpEndpoint='enabled', HttpTokens='optional')
    becomes('imds-enabled', lambda: a.ok(get + 'meta-data/instance-id'))


def names(v, a):
    own = 'ip-' + v['ip-b'].replace('.', '-') + '.ec2.internal'
    results.ok('dns', v['ip-b'] in a.says(f'nslookup {own}'), a.says(f'nslookup {own}'))
    results.ok('dns-reverse', own in a.says(f'nslookup {v["ip-b"]}'), a.says(f'nslookup {v["ip-b"]}'))
    ec2.modify_vpc_attribute(VpcId=v['vpc'], EnableDnsSupport={'Value': False})
    becomes('dns-off', lambda: v['ip-b'] in a.says(f'nslookup {own} 10.77.0.2 2>&1 | tail -n +4', 90), False)
    ec2.modify_vpc_attribute(VpcId=v['vpc'], EnableDnsSupport={'Value': True})
    becomes('dns-on', lambda: v['ip-b'] in a.says(f'nslookup {own} 10.77.0.2 2>&1 | tail -n +4', 90))


def groups(v, a, b):
    """Each case: what a rule allows goes through, and does not without it."""
    ping, ping6 = f'ping -c 1 -W 1 {v["ip-b"]}', f'ping -6 -c 1 -W 1 {v["ip6-b"]}'
    tcp = f'echo | nc -w 1 {v["ip-b"]} 7000'
    a.run('(nc -ll -p 7000 -e echo from-a >/dev/null 2>&1 &)')
    b.run('(nc -ll -p 7000 -e echo from-b >/dev/null 2>&1 &)')
    results.ok('group-nothing', not a.ok(ping) and not a.ok(ping6) and 'from-b' not in a.says(tcp))
    for name, rule, probe in (
            ('icmp-cidr', anywhere('icmp'), lambda: a.ok(ping)),
            ('icmp-group', of_group('icmp', v['group-a']), lambda: a.ok(ping)),
            ('icmp-echo-only', anywhere('icmp', 8, -1), lambda: a.ok(ping)),
            ('icmp6-cidr', permission('icmpv6', Ipv6Ranges=[{'CidrIpv6': '::/0'}]), lambda: a.ok(ping6)),
            ('icmp6-group', of_group('icmpv6', v['group-a']), lambda: a.ok(ping6)),
            ('tcp-cidr', anywhere('tcp', 7000, 7000), lambda: 'from-b' in a.says(tcp)),
            ('tcp-range', anywhere('tcp', 6000, 8000), lambda: 'from-b' in a.says(tcp)),
            ('tcp-group', of_group('tcp', v['group-a'], 7000, 7000), lambda: 'from-b' in a.says(tcp)),
            ('tcp-subnet', permission('tcp', 7000, 7000, IpRanges=[{'CidrIp': '10.77.1.0/24'}]), lambda: 'from-b' in a.says(tcp)),
            ('all', anywhere('-1'), lambda: 'from-b' in a.says(tcp))):
        allow(v['group-b'], rule)
        becomes(f'group-{name}-allowed', probe)
        forbid(v['group-b'], rule)
        becomes(f'group-{name}-denied', probe, False)
    # What does not match does not let anything in.
    for name, rule in (('tcp-other-port', anywhere('tcp', 7001, 7001)), ('udp', anywhere('udp', 7000, 7000)),
                       ('own-group', of_group('tcp', v['group-b'], 7000, 7000)),
                       ('other-subnet', permission('tcp', 7000, 7000, IpRanges=[{'CidrIp': '10.77.2.0/24'}]))):
        allow(v['group-b'], rule)
        time.sleep(0.3)
        results.ok(f'group-{name}-not', 'from-b' not in a.says(tcp))
        forbid(v['group-b'], rule)
    # Prefix lists, and who is in a group, change what their rules say.
    made = ec2.create_managed_prefix_list(PrefixListName='l', MaxEntries=4, AddressFamily='IPv4', Entries=[{'Cidr': '192.0.2.0/24'}])
    listed = made['PrefixList']['PrefixListId']
    rule = permission('icmp', PrefixListIds=[{'PrefixListId': listed}])
    allow(v['group-b'], rule)
    time.sleep(0.3)
    results.ok('prefix-list-not', not a.ok(ping))
    ec2.modify_managed_prefix_list(PrefixListId=listed, CurrentVersion=1, AddEntries=[{'Cidr': v['ip-a'] + '/32'}])
    becomes('prefix-list-entry', lambda: a.ok(ping))
    forbid(v['group-b'], rule)
    becomes('prefix-list-revoked', lambda: a.ok(ping), False)
    allow(v['group-b'], of_group('icmp', v['group-b']))
    ec2.modify_network_interface_attribute(NetworkInterfaceId=v['eni-a'], Groups=[v['group-a'], v['group-b']])
    becomes('member-joined', lambda: a.ok(ping))
    ec2.modify_network_interface_attribute(NetworkInterfaceId=v['eni-a'], Groups=[v['group-a']])
    becomes('member-left', lambda: a.ok(ping), False)
    # Egress.
    allow(v['group-b'], anywhere('icmp'))
    becomes('egress-open', lambda: a.ok(ping))
    everything = [{'IpProtocol': '-1', 'IpRanges': [{'CidrIp': '0.0.0.0/0'}]}]
    ec2.revoke_security_group_egress(GroupId=v['group-a'], IpPermissions=everything)
    becomes('egress-closed', lambda: a.ok(ping), False)
    ec2.authorize_security_group_egress(GroupId=v['group-a'], IpPermissions=everything)
    becomes('egress-open-again', lambda: a.ok(ping))


def acls(v, a, b):
    """b's ping of a is answered: both directions count, on both sides."""
    ping = f'ping -c 1 -W 1 {v["ip-b"]}'
    default, = ec2.describe_network_acls(Filters=[{'Name': 'vpc-id', 'Values': [v['vpc']]}])['NetworkAcls']
    association = next(x['NetworkAclAssociationId'] for x in default['Associations'] if x['SubnetId'] == v['b'])
    acl = ec2.create_network_acl(VpcId=v['vpc'])['NetworkAcl']['NetworkAclId']
    made = ec2.replace_network_acl_association(AssociationId=association, NetworkAclId=acl)['NewAssociationId']
    becomes('acl-empty-denies', lambda: a.ok(ping), False)
    entry = {'NetworkAclId': acl, 'Protocol': '-1', 'RuleAction': 'allow', 'CidrBlock': '0.0.0.0/0', 'RuleNumber': 100}
    ec2.create_network_acl_entry(Egress=False, **entry)
    time.sleep(0.3)
    results.ok('acl-one-way-denies', not a.ok(ping))
    ec2.create_network_acl_entry(Egress=True, **entry)
    becomes('acl-both-ways-allow', lambda: a.ok(ping))
    ec2.create_network_acl_entry(Egress=False, NetworkAclId=acl, Protocol='1', RuleAction='deny', CidrBlock='10.77.1.0/24',
                                 RuleNumber=50, IcmpTypeCode={'Type': -1, 'Code': -1})
    becomes('acl-earlier-entry-denies', lambda: a.ok(ping), False)
    ec2.delete_network_acl_entry(NetworkAclId=acl, Egress=False, RuleNumber=50)
    becomes('acl-entry-gone', lambda: a.ok(ping))
    ec2.replace_network_acl_association(AssociationId=made, NetworkAclId=default['NetworkAclId'])
    ec2.delete_network_acl(NetworkAclId=acl)


def publics(v, a, b):
    """From the host, and to the world."""
    allow(v['group-a'], anywhere('tcp', 7000, 7000))
    becomes('public-tcp', lambda: b'from-a' in connects(v['public-a'], 7000))
    results.ok('public-other-port', not connects(v['public-a'], 7001))
    server = here.outside(lambda: http.server.ThreadingHTTPServer((lab.WORLD, 8000), Echo))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    out = f'curl -s -m 2 http://{lab.WORLD}:8000/'
    results.equal('internet', eventually(lambda: a.ok(out)) and a.says(out), '203.0.113.2')
    results.ok('internet-not-without-address', not b.ok(out, 90))
    # Elastic IPs.
    address = ec2.allocate_address(Domain='vpc')
    made = ec2.associate_address(AllocationId=address['AllocationId'], InstanceId=v['i-b'])['AssociationId']
    allow(v['group-b'], anywhere('tcp', 7000, 7000))
    results.ok('elastic-without-route', not connects(address['PublicIp'], 7000))
    ec2.associate_route_table(RouteTableId=v['table'], SubnetId=v['b'])
    becomes('elastic-route', lambda: b'from-b' in connects(address['PublicIp'], 7000))
    ec2.disassociate_address(AssociationId=made)
    becomes('elastic-gone', lambda: connects(address['PublicIp'], 7000), False)
    made = ec2.associate_address(AllocationId=address['AllocationId'], InstanceId=v['i-b'])['AssociationId']
    becomes('elastic-again', lambda: b'from-b' in connects(address['PublicIp'], 7000))
    ec2.replace_route(RouteTableId=v['table'], DestinationCidrBlock='0.0.0.0/0', NetworkInterfaceId=v['eni-a'])
    becomes('route-elsewhere', lambda: connects(address['PublicIp'], 7000), False)
    ec2.replace_route(RouteTableId=v['table'], DestinationCidrBlock='0.0.0.0/0', GatewayId=v['gateway'])
    becomes('route-back', lambda: b'from-b' in connects(address['PublicIp'], 7000))
    ec2.disassociate_address(AssociationId=made)
    # Through a NAT gateway in the other subnet.
    private = ec2.create_route_table(VpcId=v['vpc'])['RouteTable']['RouteTableId']
    table, = ec2.describe_route_tables(RouteTableIds=[v['table']])['RouteTables']
    own = next(x['RouteTableAssociationId'] for x in table['Associations'] if x.get('SubnetId') == v['b'])
    made = ec2.replace_route_table_association(AssociationId=own, RouteTableId=private)['NewAssociationId']
    results.ok('nat-without', not b.ok(out))
    nat = ec2.create_nat_gateway(SubnetId=v['a'], AllocationId=address['AllocationId'])['NatGateway']['NatGatewayId']
    ec2.create_route(RouteTableId=private, DestinationCidrBlock='0.0.0.0/0', NatGatewayId=nat)
    becomes('nat', lambda: b.ok(out))
    results.ok('nat-not-inwards', not connects(address['PublicIp'], 7000))
    ec2.delete_nat_gateway(NatGatewayId=nat)
    becomes('nat-deleted', lambda: b.ok(out), False)
    ec2.disassociate_route_table(AssociationId=made)
    ec2.delete_route_table(RouteTableId=private)
    ec2.release_address(AllocationId=address['AllocationId'])
    server.shutdown()


def shell(v):
    """ssh with the key pair, by the public address."""
    allow(v['group-a'], anywhere('tcp', 22, 22))
    with open(region.data + '/mine.pem', 'w', opener=lambda p, f: os.open(p, f, 0o600)) as f:
        f.write(v['key'])

    def ssh(*words):
        return subprocess.run(['ssh', '-i', region.data + '/mine.pem', '-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null',
                               '-o', 'ConnectTimeout=3', '-o', 'BatchMode=yes', 'root@' + v['public-a'], *words],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)

    results.ok('ssh', eventually(lambda: 'ip-10-77-1' in ssh('hostname').stdout, 60), ssh('hostname').stderr[-300:])
    forbid(v['group-a'], anywhere('tcp', 22, 22))


def plugged(v, a):
    """Another interface, while it runs."""
    made = ec2.create_network_interface(SubnetId=v['a'], Groups=[v['group-a']])['NetworkInterface']
    attached = ec2.attach_network_interface(NetworkInterfaceId=made['NetworkInterfaceId'], InstanceId=v['i-a'], DeviceIndex=1)
    mac = made['MacAddress']
    becomes('attached', lambda: mac in a.says('cat /sys/class/net/*/address'))
    becomes('attached-metadata', lambda: mac in a.says('wget -q -O - http://169.254.169.254/latest/meta-data/network/interfaces/macs/'))
    ec2.detach_network_interface(AttachmentId=attached['AttachmentId'])
    becomes('detached', lambda: mac in a.says('cat /sys/class/net/*/address'), False)
    becomes('detached-deleted', lambda: code_of(ec2.delete_network_interface, NetworkInterfaceId=made['NetworkInterfaceId']) == 'success')


def survives(v, a, b):
    """A connection that is open does not notice that the region and the services of the VPC end and come back."""
    b.run('(nc -ll -p 7100 -e cat >/dev/null 2>&1 &)')
    allow(v['group-b'], anywhere('tcp', 7100, 7100))
    becomes('echo', lambda: 'hi' in a.says(f'(echo hi; sleep 1) | nc -w 2 {v["ip-b"]} 7100'))
    a.run('rm -f /tmp/said; mkfifo /tmp/in')
    a.run(f'(nc {v["ip-b"]} 7100 </tmp/in >/tmp/said 2>&1 &)')
    a.run('exec 9>/tmp/in; echo one >&9')
    results.ok('open', eventually(lambda: 'one' in a.says('cat /tmp/said'), 20))
    services = int(open(f'{region.data}/vpcs/{v["vpc"]}/vpc.pid').read().split()[0])
    os.kill(services, 9)
    region.kill()
    a.run('echo two >&9')
    results.ok('open-without-region', eventually(lambda: 'two' in a.says('cat /tmp/said'), 20))
    region.start()
    globals()['ec2'] = region.client()
    becomes('services-again', lambda: a.ok('curl -s -f -m 2 http://169.254.169.254/latest/meta-data/instance-id'))
    a.run('echo three >&9')
    results.ok('open-still', eventually(lambda: 'three' in a.says('cat /tmp/said'), 20))
    a.run('exec 9>&-')


def leave(v):
    ec2.terminate_instances(InstanceIds=[v['i-a'], v['i-b']])
    ec2.get_waiter('instance_terminated').wait(InstanceIds=[v['i-a'], v['i-b']], WaiterConfig={'Delay': 1, 'MaxAttempts': 120})
    good = eventually(lambda: not here.left() and not os.listdir(region.data + '/vpcs'), 30)
    results.ok('nothing-left', good, (here.left(), os.listdir(region.data + '/vpcs')))
    for table in ec2.describe_route_tables(RouteTableIds=[v['table']])['RouteTables']:
        for association in table['Associations']:
            ec2.disassociate_route_table(AssociationId=association['RouteTableAssociationId'])


try:
    made = build()
    first, second = Guest(region, made['i-a']), Guest(region, made['i-b'])
    for guest in (first, second):
        guest.wait()
        results.ok('booted', guest.has_said('INSULA-NETWORK', 'INSULA-USER-DATA', 'INSULA-SSH-READY'))
    for part in (addresses, metadata, names, groups, acls, publics, shell, plugged, survives):
        begun = time.monotonic()
        part(made, *(first, second)[:part.__code__.co_argcount - 1])
        print(f'# {part.__name__}: {time.monotonic() - begun:.1f} s', flush=True)
    leave(made)
finally:
    region.stop()
    left = here.left()
    results.ok('test-leaves-nothing', not left, left)
results.end()
