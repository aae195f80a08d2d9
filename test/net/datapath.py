"""The datapath, with real packets: fake guests on a fake host exchange them, and what passes is what EC2 lets pass.

Prints results as test/guest/lib/tap.sh has them. Namespaces and what is in /run/insula go at the end, whatever happened.
"""
import json
import os
import random
import re
import select
import signal
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from guests import (PATIENCE, WAIT, Datapath, Guest, Log, Namespace, Peer, checksum, datagram4, datagram6, run)  # noqa: E402
from plans import ALL4, ALL6, EVERYWHERE, OPEN, Plan, entry, out, rule  # noqa: E402

ROUTER = "06:00:00:00:00:01"
HOST, HOST6 = "198.19.255.254", "fd69:6e73:756c:61::1"
ECHO = {"icmp": (8, -1)}
tag = f"{os.getpid():08x}"[-8:]
failures = 0
made = []  # namespaces and VPCs, to be taken away


def case(name, good):
    global failures
    print(f"ok {name}" if good else f"not ok {name} # not so", flush=True)
    failures += not good


def passes(name, question, *args, **kwargs):
    answer = question(*args, **kwargs)
    case(name, answer)
    if isinstance(answer, socket.socket):
        answer.close()


def refused(name, question, *args, **kwargs):
    answer = question(*args, patience=WAIT, **kwargs)
    case(name, not answer)
    if isinstance(answer, socket.socket):
        answer.close()


def vpc_id(number):
    return f"vpc-{tag}{number:09x}"


class Connection:
    """A TCP connection from one guest to another."""

    def __init__(self, a, b, address, port):
        self.near = a.connect(address, port)
        if not self.near:
            raise RuntimeError(f"no connection to {address}:{port}")
        while True:  # earlier ones may be waiting, too
            self.far, who = b.tcp[port].accept()
            if who[1] == self.near.getsockname()[1]:
                break
            self.far.close()

    def alive(self, patience=PATIENCE):
        for one, other in ((self.near, self.far), (self.far, self.near)):
            token = os.urandom(8)
            one.send(token)
            if not select.select([other], [], [], patience)[0]:
                return False
            if other.recv(100)[-8:] != token:
                return False
        return True

    def close(self):
        self.near.close()
        self.far.close()


def peer(cls, name, *args, **kwargs):
    made.append(("namespace", f"t{tag}{name}"))
    return cls(f"t{tag}{name}", *args, **kwargs)


def make_vpc(number):
    """The namespace first: it has the fake taps before the datapath looks."""
    made.append(("vpc", vpc_id(number)))
    return Peer(vpc_id(number))


def guest(plan, name, subnet, addresses, groups, router, public=None, **kwargs):
    """An interface in the plan, and the guest behind it."""
    number = len([m for m in made if m[0] == "namespace"])
    mac = f"02:00:00:00:00:{number:02x}"
    i = plan.interface(f"{number:x}", subnet, mac, addresses, groups, public, **kwargs)
    return peer(Guest, name, plan.base["vpc"], i["tap"], mac, addresses, router), i


class World:
    """A host with its network, and VPC A with four guests; further VPCs as tests need them."""

    def __init__(self, program):
        self.host = peer(Peer, "h")
        self.world = peer(Peer, "w")
        run("ip", "link", "add", "name", "eth0", "netns", self.host.name, "type", "veth",
            "peer", "name", "eth0", "netns", self.world.name)
        self.world.ip("addr add 203.0.113.2/24 dev eth0", "addr add 203.0.113.3/24 dev eth0",
                      "addr add 2001:db8::2/64 dev eth0 nodad", "link set eth0 up",
                      "route add 198.18.0.0/15 via 203.0.113.1", "route add 2600:1f00::/32 via 2001:db8::1")
        self.host.ip("addr add 203.0.113.1/24 dev eth0", "addr add 2001:db8::1/64 dev eth0 nodad", "link set eth0 up",
                     "route add default via 203.0.113.2", "route add ::/0 via 2001:db8::2")
        self.host.run("nft", "-f", "-", text="table inet mine { chain c { type filter hook forward priority 5; }; "
                                             "chain d { type nat hook postrouting priority 90; }; }")
        try:
            self.host.get("ipv6/conf/all/force_forwarding")
        except OSError:
            self.host.set("ipv6/conf/all/forwarding", "1")  # before Linux 6.17
        for p in (self.host, self.world):
            p.listen([22, 80], [53, 5005])
        self.datapath = Datapath(program, self.host)
        while "multicast" not in self.host.run("ip", "route", "show", "table", "all") or \
                "tentative" in self.host.run("ip", "addr"):
            time.sleep(0.05)  # until the kernel has come to rest
        self.before = self.host_state()

        self.vpc = make_vpc(1)
        p = self.plan = Plan(self.vpc.name, "10.0.0.0/16", "2600:1f00:a::/56")
        p.route("rtb-main", ALL4, "internet", "igw-1")
        p.route("rtb-main", ALL6, "internet", "igw-1")
        p.route("rtb-private", ALL4, "nat", "nat-1")
        p.route("rtb-private", ALL6, "egress-only", "eigw-1")
        p.subnet("subnet-1", "10.0.1.0/24", "2600:1f00:a:1::/64")
        p.subnet("subnet-2", "10.0.2.0/24", "2600:1f00:a:2::/64")
        p.subnet("subnet-3", "10.0.3.0/24", "2600:1f00:a:3::/64", table="rtb-private")
        p.nats["nat-1"] = {"id": "nat-1", "subnet": "subnet-1", "private": "10.0.1.200", "public": "198.18.0.200"}
        p.groups.update({"sg-a": [], "sg-b": [], "sg-c": [], "sg-d": []})
        self.a, self.eni_a = guest(p, "a", "subnet-1", ["10.0.1.5", "2600:1f00:a:1::5"], ["sg-a"], "10.0.1.1",
                                   "198.18.0.5")
        self.b, self.eni_b = guest(p, "b", "subnet-1", ["10.0.1.6", "2600:1f00:a:1::6"], ["sg-b"], "10.0.1.1")
        self.c, self.eni_c = guest(p, "c", "subnet-2", ["10.0.2.7", "2600:1f00:a:2::7"], ["sg-c"], "10.0.2.1",
                                   "198.18.0.7")
        self.d, self.eni_d = guest(p, "d", "subnet-3", ["10.0.3.8", "2600:1f00:a:3::8"], ["sg-d"], "10.0.3.1")

    def host_state(self):
        """What is the host's own: our tables go with the VPCs."""
        h = self.host
        return [h.run("nft", "list", "ruleset"), h.run("ip", "rule"), h.run("ip", "-6", "rule"),
                h.run("ip", "route", "show", "table", "all"), h.run("ip", "addr"),
                h.get("ipv4/conf/eth0/forwarding"), h.get("ipv4/ip_forward")]

    def groups(self, **groups):
        """Sets rules of groups; those not named have none."""
        for name in self.plan.groups:
            self.plan.groups[name] = groups.get(name[3:], [])
        self.apply()

    def apply(self, plan=None):
        return self.datapath.apply((plan or self.plan).json())


# ---- security groups ----

def no_rules(w):
    a, b = w.a, w.b
    w.groups()
    refused("group-none-tcp", a.connect, "10.0.1.6", 22)
    refused("group-none-udp", a.send, "10.0.1.6", 53, b)
    refused("group-none-icmp", a.ping, "10.0.1.6")
    refused("group-none-ipv6", a.connect, "2600:1f00:a:1::6", 22)
    w.groups(b=[rule(ALL4)])
    refused("group-no-egress", a.connect, "10.0.1.6", 22)
    w.groups(a=EVERYWHERE)
    refused("group-no-ingress", a.connect, "10.0.1.6", 22)


def by_block(w):
    a, b, c = w.a, w.b, w.c
    w.groups(a=EVERYWHERE, c=EVERYWHERE, b=[rule("10.0.1.0/24", "tcp", 22), rule("10.0.1.0/24", "udp", (5000, 5010))])
    passes("group-block-tcp", a.connect, "10.0.1.6", 22)
    refused("group-block-other-port", a.connect, "10.0.1.6", 80)
    refused("group-block-other-source", c.connect, "10.0.1.6", 22)
    refused("group-block-other-protocol", a.send, "10.0.1.6", 53, b)
    passes("group-range-udp", a.send, "10.0.1.6", 5005, b)
    refused("group-range-outside", a.send, "10.0.1.6", 5011, b)
    passes("group-answer-of-udp", a.ask, "10.0.1.6", 5005, b)
    refused("group-answer-only", b.send, "10.0.1.5", 5005, a)
    refused("group-block-ipv6", a.connect, "2600:1f00:a:1::6", 22)


def by_icmp(w):
    a, b = w.a, w.b
    w.groups(a=EVERYWHERE, b=[rule(ALL4, "icmp", icmp=(8, -1))])
    passes("group-icmp-type", a.ping, "10.0.1.6")
    refused("group-icmp-other-type", a.ping, "10.0.1.6", kind=13)
    refused("group-icmp-no-tcp", a.connect, "10.0.1.6", 22)
    w.groups(a=EVERYWHERE, b=[rule(ALL4, "icmp")])
    passes("group-icmp-all-types", a.ping, "10.0.1.6", kind=13)
    refused("group-icmp-not-icmpv6", a.ping, "2600:1f00:a:1::6")
    w.groups(a=EVERYWHERE, b=[rule(ALL6, "icmpv6")])
    passes("group-icmpv6", a.ping, "2600:1f00:a:1::6")
    w.groups(a=EVERYWHERE, b=[rule(ALL6, "icmpv6", icmp=(1, -1))])
    refused("group-icmpv6-other-type", a.ping, "2600:1f00:a:1::6")


def by_group(w):
    a, b, c = w.a, w.b, w.c
    w.groups(a=EVERYWHERE, c=EVERYWHERE, b=[rule("sg-a", "tcp", 22)])
    passes("group-by-group", a.connect, "10.0.1.6", 22)
    passes("group-by-group-ipv6", a.connect, "2600:1f00:a:1::6", 22)
    refused("group-by-group-others", c.connect, "10.0.1.6", 22)
    w.eni_c["groups"] = ["sg-c", "sg-a"]
    w.apply()
    passes("group-by-group-new-member", c.connect, "10.0.1.6", 22)
    w.eni_c["groups"] = ["sg-c"]
    w.apply()
    refused("group-by-group-member-left", c.connect, "10.0.1.6", 22)
    refused("group-by-group-by-public-address", c.connect, "198.18.0.5", 22)
    w.eni_b["groups"] = w.eni_a["groups"] = ["sg-d"]
    w.groups(d=[rule("sg-d"), *EVERYWHERE], c=EVERYWHERE)
    passes("group-self", a.connect, "10.0.1.6", 80)
    passes("group-self-back", b.connect, "10.0.1.5", 80)
    refused("group-self-others", c.connect, "10.0.1.6", 80)
    w.groups(d=[out("sg-d", "tcp", 80), rule("sg-d", "tcp", 80)])
    passes("group-self-egress", a.connect, "10.0.1.6", 80)
    w.eni_a["groups"], w.eni_b["groups"] = ["sg-a"], ["sg-b"]
    w.apply()


def by_more(w):
    a, b, c = w.a, w.b, w.c
    w.groups(a=EVERYWHERE, c=EVERYWHERE, b=[rule(["10.0.2.0/24", "10.0.1.5/32", "2600:1f00:a:2::/64"], "tcp", 22)])
    passes("group-prefix-list", a.connect, "10.0.1.6", 22)
    passes("group-prefix-list-2", c.connect, "10.0.1.6", 22)
    passes("group-prefix-list-ipv6", c.connect, "2600:1f00:a:1::6", 22)
    refused("group-prefix-list-others", a.connect, "2600:1f00:a:1::6", 22)
    w.groups(a=[out("10.0.0.0/16", "tcp", 80)], b=[rule(ALL4)])
    passes("group-egress-port", a.connect, "10.0.1.6", 80)
    refused("group-egress-other-port", a.connect, "10.0.1.6", 22)
    refused("group-egress-other-protocol", a.send, "10.0.1.6", 80, b)
    w.eni_b["groups"] = ["sg-b", "sg-d"]
    w.groups(a=EVERYWHERE, b=[rule(ALL4, "tcp", 22)], d=[rule(ALL4, "tcp", 80)])
    passes("group-union-1", a.connect, "10.0.1.6", 22)
    passes("group-union-2", a.connect, "10.0.1.6", 80)
    refused("group-union-neither", a.connect, "10.0.1.6", 443)
    w.eni_b["groups"] = ["sg-b"]
    w.groups(a=EVERYWHERE, b=[rule(ALL6, "tcp", 22), rule("2600:1f00:a:1::5/128", "udp", 53)])
    passes("group-ipv6-tcp", a.connect, "2600:1f00:a:1::6", 22)
    passes("group-ipv6-udp", a.ask, "2600:1f00:a:1::6", 53, b)
    refused("group-ipv6-others", c.send, "2600:1f00:a:1::6", 53, b)
    refused("group-ipv6-not-ipv4", a.connect, "10.0.1.6", 22)
    w.groups(a=EVERYWHERE, b=[rule(ALL4, 253)])
    passes("group-protocol-number", other_protocol, a, b, 253)
    refused("group-other-protocol-number", other_protocol, a, b, 254)


def other_protocol(a, b, number, patience=PATIENCE):
    with a.socket(socket.AF_INET, socket.SOCK_RAW, number) as s, b.socket(socket.AF_INET, socket.SOCK_RAW, number) as t:
        s.sendto(b"hello", ("10.0.1.6", 0))
        return bool(select.select([t], [], [], patience)[0])


def changes(w):
    """While connections are open."""
    a, b, c = w.a, w.b, w.c
    w.groups(a=EVERYWHERE, b=[rule("10.0.1.0/24", "tcp", 22)])
    tracked = Connection(a, b, "10.0.1.6", 22)
    case("tracked-alive", tracked.alive())
    w.groups(a=EVERYWHERE)
    case("tracked-goes-on-without-its-rule", tracked.alive())
    refused("tracked-no-new-one", a.connect, "10.0.1.6", 22)
    w.groups(b=[])
    case("tracked-goes-on-without-egress", tracked.alive())
    w.eni_b["groups"] = ["sg-d"]
    w.groups(a=EVERYWHERE, d=[rule(ALL4, "tcp", 80)])
    case("tracked-goes-on-with-other-groups", tracked.alive())
    passes("new-groups-count-at-once", a.connect, "10.0.1.6", 80)
    w.eni_b["groups"] = ["sg-b"]
    tracked.close()

    w.groups(a=[*EVERYWHERE, rule(ALL4)], b=[*EVERYWHERE, rule(ALL4, "tcp", 443), rule("10.0.1.5/32", "tcp", 80)])
    untracked, kept = Connection(a, b, "10.0.1.6", 443), Connection(a, b, "10.0.1.6", 80)
    case("untracked-alive", untracked.alive())
    w.groups(a=[*EVERYWHERE, rule(ALL4)], b=EVERYWHERE)
    case("untracked-stops-without-its-rule", not untracked.alive(WAIT))
    case("tracked-beside-it-goes-on", kept.alive())
    untracked.close()
    kept.close()

    w.groups(a=[*EVERYWHERE, rule(ALL6)], b=[*EVERYWHERE, rule(ALL6, "tcp", 443)])
    untracked = Connection(a, b, "2600:1f00:a:1::6", 443)
    case("untracked-ipv6-alive", untracked.alive())
    w.groups(a=[rule(ALL6)], b=[*EVERYWHERE, rule(ALL6, "tcp", 443)])
    case("untracked-stops-without-egress", not untracked.alive(WAIT))
    untracked.close()

    w.groups(a=EVERYWHERE, b=[*EVERYWHERE, rule(ALL4, "tcp", 443)])
    half = Connection(a, b, "10.0.1.6", 443)
    w.groups(b=[*EVERYWHERE, rule(ALL4, "tcp", 443)])
    case("tracked-where-answers-need-it", half.alive())
    half.close()

    w.groups(a=EVERYWHERE, b=[rule("10.0.1.5/32", "tcp", 22)], c=[rule("10.0.1.5/32", "tcp", 22)])
    kept = Connection(a, b, "10.0.1.6", 22)
    w.eni_c["groups"] = ["sg-d"]
    w.plan.route("rtb-main", "192.0.2.0/24", "blackhole")
    w.plan.groups["sg-b"].insert(0, rule(ALL6, "udp", 1))
    w.apply()
    case("unrelated-changes-leave-it-alone", kept.alive())
    w.eni_c["groups"] = ["sg-c"]
    del w.plan.tables["rtb-main"]["192.0.2.0/24"]
    # Somebody else's hands: the rules are replaced whole.
    w.vpc.run("nft", "delete", "table", "arp", "vpc")
    w.apply()
    case("rules-replaced-whole-leave-it-alone", kept.alive())
    kept.close()


# ---- network ACLs ----

def acls(w):
    a, b, c = w.a, w.b, w.c
    w.groups(a=[*EVERYWHERE, rule(ALL4), rule(ALL6)], b=[*EVERYWHERE, rule(ALL4)],
             c=[*EVERYWHERE, rule(ALL4), rule(ALL6)])
    running = Connection(a, c, "10.0.2.7", 80)
    w.plan.subnets["subnet-2"]["acl"] = "acl-2"
    w.plan.acls["acl-2"] = [entry(False, "10.0.1.0/24", "tcp", 22), entry(False, "10.0.1.5/32", "tcp", 80), *OPEN]
    w.apply()
    refused("acl-denies", a.connect, "10.0.2.7", 22)
    passes("acl-others-pass", a.connect, "10.0.2.7", 443)
    passes("acl-other-sources-pass", b.connect, "10.0.2.7", 80)
    case("acl-stops-a-running-connection", not running.alive(WAIT))
    running.close()
    passes("acl-other-family-passes", a.connect, "2600:1f00:a:2::7", 22)
    w.plan.acls["acl-2"] = [entry(True, "10.0.1.5/32", "tcp", 22), entry(False, "10.0.1.0/24", "tcp", 22), *OPEN]
    w.apply()
    passes("acl-first-match-counts", a.connect, "10.0.2.7", 22)
    refused("acl-second-match", b.connect, "10.0.2.7", 22)
    w.plan.acls["acl-2"] = [entry(True, ALL4), entry(True, ALL4, "tcp", (0, 1023), egress=True)]
    w.apply()
    refused("acl-stateless-no-answer", a.connect, "10.0.2.7", 22)
    passes("acl-stateless-one-way", a.send, "10.0.2.7", 5005, c)
    refused("acl-nothing-said-denies", a.connect, "2600:1f00:a:2::7", 22)
    w.plan.acls["acl-2"] = [entry(True, ALL4), entry(True, ALL4, "tcp", (1024, 65535), egress=True)]
    w.apply()
    passes("acl-stateless-answer", a.connect, "10.0.2.7", 22)
    refused("acl-stateless-not-the-other-way", c.connect, "10.0.1.5", 22)
    w.plan.acls["acl-1"] = [entry(False, ALL4, "tcp", 443, egress=True), entry(False, "10.0.1.0/24"), *OPEN]
    w.plan.subnets["subnet-1"]["acl"] = "acl-1"
    w.plan.acls["acl-2"] = OPEN
    w.apply()
    refused("acl-leaving", a.connect, "10.0.2.7", 443)
    passes("acl-not-within-a-subnet", a.connect, "10.0.1.6", 443)
    refused("acl-to-the-internet", lambda patience: a.connect("203.0.113.2", 443, patience))
    passes("acl-to-the-internet-others", a.connect, "203.0.113.2", 80)
    w.plan.acls["acl-1"] = [entry(False, "2600:1f00:a:2::/64", "tcp", 22), *OPEN]
    w.apply()
    refused("acl-ipv6-denies", c.connect, "2600:1f00:a:1::5", 22)
    passes("acl-ipv6-others-pass", c.connect, "2600:1f00:a:1::5", 80)

    # By way of a NAT gateway, which is in subnet 1.
    w.groups(d=EVERYWHERE)
    w.plan.acls["acl-1"] = [entry(False, "203.0.113.2/32", "tcp", 80, egress=True), *OPEN]
    w.apply()
    refused("acl-of-the-nat-gateway-leaving", w.d.connect, "203.0.113.2", 80)
    passes("acl-of-the-nat-gateway-others", w.d.connect, "203.0.113.2", 22)
    w.plan.acls["acl-1"] = [entry(False, "10.0.3.8/32"), *OPEN]
    w.apply()
    refused("acl-of-the-nat-gateway-entering", w.d.connect, "203.0.113.2", 22)
    w.plan.acls["acl-1"] = [entry(False, "203.0.113.2/32"), *OPEN]
    w.apply()
    refused("acl-of-the-nat-gateway-answers", w.d.connect, "203.0.113.2", 22)
    w.plan.subnets["subnet-1"]["acl"] = w.plan.subnets["subnet-2"]["acl"] = "acl-open"
    del w.plan.acls["acl-1"], w.plan.acls["acl-2"]
    w.apply()


# ---- source checks ----

def spoofed(sender, source, destination, receiver, mac=None, patience=PATIENCE):
    """A datagram with the source that one likes."""
    token = os.urandom(12)
    v6 = ":" in source
    sender.frame(ROUTER, mac or sender.mac, 0x86dd if v6 else 0x800,
                 (datagram6 if v6 else datagram4)(source, destination, 5005, token))
    while select.select([receiver.udp[5005]], [], [], patience)[0]:
        if receiver.udp[5005].recv(100) == token:
            return True
    return False


def sources(w):
    a, b, c = w.a, w.b, w.c
    everybody = [*EVERYWHERE, rule(ALL4), rule(ALL6)]
    w.groups(a=everybody, b=everybody, c=everybody)
    passes("source-own", spoofed, a, "10.0.1.5", "10.0.2.7", c)
    refused("source-of-another", spoofed, a, "10.0.1.6", "10.0.2.7", c)
    refused("source-of-nobody", spoofed, a, "192.0.2.1", "10.0.2.7", c)
    refused("source-of-the-router", spoofed, a, "10.0.1.1", "10.0.2.7", c)
    refused("source-mac-of-another", spoofed, a, "10.0.1.5", "10.0.2.7", c, mac=b.mac)
    passes("source-own-ipv6", spoofed, a, "2600:1f00:a:1::5", "2600:1f00:a:2::7", c)
    refused("source-of-another-ipv6", spoofed, a, "2600:1f00:a:1::6", "2600:1f00:a:2::7", c)
    refused("source-mac-of-another-ipv6", spoofed, a, "2600:1f00:a:1::5", "2600:1f00:a:2::7", c, mac=b.mac)
    refused("source-link-local", spoofed, a, "fe80::1", "2600:1f00:a:2::7", c)
    w.eni_a["check"] = False
    w.apply()
    passes("source-check-off", spoofed, a, "192.0.2.1", "10.0.2.7", c)
    passes("source-check-off-ipv6", spoofed, a, "2001:db8:1::1", "2600:1f00:a:2::7", c)
    refused("source-check-off-mac", spoofed, a, "192.0.2.1", "10.0.2.7", c, mac=b.mac)
    refused("source-check-off-loopback", spoofed, a, "127.0.0.1", "10.0.2.7", c)
    refused("source-check-off-not-to-the-internet", spoofed, a, "192.0.2.1", "203.0.113.2", w.world)
    w.eni_a["check"] = True
    w.apply()
    case("arp-answered", a.arp(a.mac, "10.0.1.5", "10.0.1.6", PATIENCE) == ROUTER)
    case("arp-gateway-answered", a.arp(a.mac, "10.0.1.5", "10.0.1.1", PATIENCE) == ROUTER)
    case("arp-own-address-not-answered", not a.arp(a.mac, "10.0.1.5", "10.0.1.5", WAIT))
    case("arp-probe-of-a-taken-address", a.arp(a.mac, "0.0.0.0", "10.0.1.1", PATIENCE) == ROUTER)
    case("arp-probe-of-its-own-address", not a.arp(a.mac, "0.0.0.0", "10.0.1.5", WAIT))
    case("arp-of-another-address", not a.arp(a.mac, "10.0.1.6", "10.0.1.1", WAIT))
    case("arp-of-another-mac", not a.arp(b.mac, "10.0.1.5", "10.0.1.1", WAIT))
    case("arp-in-a-frame-of-another-mac", not a.arp(a.mac, "10.0.1.5", "10.0.1.1", WAIT, frame_mac=b.mac))
    neighbours = w.vpc.run("ip", "neigh", "show", "dev", w.eni_a["tap"])
    case("arp-leaves-no-neighbour", "10.0.1.6" not in neighbours)
    refused("nd-of-another-address", solicits, a, "2600:1f00:a:1::6", a.mac)
    refused("nd-of-another-mac", solicits, a, "2600:1f00:a:1::5", b.mac)
    passes("nd-answered", solicits, a, "2600:1f00:a:1::5", a.mac)
    refused("options-record-route", a.send, "10.0.2.7", 5005, c, options=b"\x07\x07\x04\0\0\0\0\0")
    refused("options-source-route", a.send, "10.0.2.7", 5005, c, options=b"\x83\x07\x04\x0a\0\x01\x06\0")
    passes("fragments", a.send, "10.0.2.7", 5005, c, size=20000)
    passes("fragments-ipv6", a.send, "2600:1f00:a:2::7", 5005, c, size=20000)
    refused("broadcast", a.send, "255.255.255.255", 5005, b)
    refused("broadcast-of-the-subnet", a.send, "10.0.1.255", 5005, b)
    refused("multicast", a.send, "224.0.0.251", 5005, b)
    refused("routing-header", routed, a, c)


def solicits(g, source, mac, patience=PATIENCE):
    """Does the router answer a neighbour solicitation (RFC 4861 §4.3) from this source?"""
    target = socket.inet_pton(socket.AF_INET6, "fe80::400:ff:fe00:1")
    body = bytes(4) + target + b"\1\1" + bytes.fromhex(mac.replace(":", ""))
    addresses = socket.inet_pton(socket.AF_INET6, source) + target
    total = checksum(addresses + struct.pack("!II", 4 + len(body), 58) + b"\x87\0\0\0" + body)
    packet = struct.pack("!IHBB", 6 << 28, 4 + len(body), 58, 255) + addresses + struct.pack("!BBH", 135, 0, total) + body
    with g.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86dd)) as s:
        s.bind(("eth0", 0x86dd))
        g.frame(ROUTER, mac, 0x86dd, packet)
        end = time.monotonic() + patience
        while select.select([s], [], [], max(0, end - time.monotonic()))[0]:
            data = s.recv(200)
            if data[20] == 58 and data[54] == 136 and data[38:54] == addresses[:16]:
                return True
    return False


def routed(a, c, patience=PATIENCE):
    """A datagram with a routing header (type 4, no segments left)."""
    token = os.urandom(12)
    plain = datagram6("2600:1f00:a:1::5", "2600:1f00:a:2::7", 5005, token)
    header = struct.pack("!BBBBI", 17, 0, 4, 0, 0)
    a.frame(ROUTER, a.mac, 0x86dd, struct.pack("!IHBB", 6 << 28, len(plain) - 40 + 8, 43, 64) + plain[8:40] + header
            + plain[40:])
    return bool(select.select([c.udp[5005]], [], [], patience)[0])


# ---- routes, and the internet ----

def internet(w):
    a, b, c, d, world, host = w.a, w.b, w.c, w.d, w.world, w.host
    w.groups(a=[*EVERYWHERE, rule(f"{HOST}/32", "tcp", 22)], b=EVERYWHERE, d=EVERYWHERE,
             c=[*EVERYWHERE, rule("198.18.0.5/32"), rule("203.0.113.3/32", "tcp", 80), rule(ALL6, "tcp", 80)])
    case("internet-hidden-behind-the-host", a.send("203.0.113.2", 5005, world) == "203.0.113.1")
    passes("internet-answers", a.ask, "203.0.113.2", 5005, world)
    refused("internet-without-public-address", b.send, "203.0.113.2", 5005, world)
    passes("public-from-the-host", host.connect, "198.18.0.5", 22)
    refused("public-from-the-host-other-port", host.connect, "198.18.0.5", 80)
    refused("public-from-the-host-no-rule", host.connect, "198.18.0.7", 22)
    passes("public-from-the-world", world.connect, "198.18.0.7", 80, source="203.0.113.3")
    refused("public-from-the-world-no-rule", world.connect, "198.18.0.7", 80, source="203.0.113.2")
    case("public-in-the-vpc", a.send("198.18.0.7", 5005, c) == "198.18.0.5")
    passes("public-in-the-vpc-answers", a.ask, "198.18.0.7", 5005, c)
    refused("public-of-the-nat-gateway", host.connect, "198.18.0.200", 22)
    case("nat-gateway-hides", d.send("198.18.0.7", 5005, c, patience=WAIT) is None)
    w.plan.groups["sg-c"].append(rule("198.18.0.200/32"))
    w.apply()
    case("nat-gateway-address", d.send("198.18.0.7", 5005, c) == "198.18.0.200")
    passes("nat-gateway-answers", d.ask, "203.0.113.2", 5005, world)
    w.plan.groups["sg-d"] = [*EVERYWHERE, rule(ALL4), rule(ALL6)]
    w.apply()
    case("nat-gateway-nothing-gets-in", not host.connect("198.18.0.200", 22, WAIT))
    passes("internet-ipv6", a.ask, "2001:db8::2", 5005, world)
    passes("internet-ipv6-in", host.connect, "2600:1f00:a:2::7", 80)
    passes("internet-ipv6-in-from-the-world", world.connect, "2600:1f00:a:2::7", 80)
    passes("egress-only-out", d.ask, "2001:db8::2", 5005, world)
    refused("egress-only-in", host.connect, "2600:1f00:a:3::8", 22)
    refused("private-address-from-the-host", host.connect, "10.0.1.5", 22)
    refused("host-not-spoofed-as-the-vpc", inside_source, w, "10.0.1.6")
    passes("host-network-of-that-kind", inside_source, w, "10.77.0.6")

    kept = Connection(host, a, "198.18.0.5", 22)
    w.eni_a["publics"], w.eni_b["publics"] = [], [{"address": "198.18.0.5", "private": "10.0.1.6"}]
    w.plan.groups["sg-b"] = [*EVERYWHERE, rule(f"{HOST}/32", "tcp", 22)]
    w.apply()
    case("public-moved-old-connection-ends", not kept.alive(WAIT))
    kept.close()
    passes("public-moved", host.connect, "198.18.0.5", 22)
    while select.select([b.tcp[22]], [], [], 0)[0]:
        b.tcp[22].accept()[0].close()
    refused("public-moved-away", a.send, "203.0.113.2", 5005, world)
    case("public-moved-source", b.send("198.18.0.7", 5005, c) == "198.18.0.5")
    w.eni_a["publics"], w.eni_b["publics"] = w.eni_b["publics"], []
    w.eni_a["publics"][0]["private"] = "10.0.1.5"
    w.apply()

    w.plan.base["internet"] = False
    w.apply()
    refused("no-gateway-no-internet", a.send, "203.0.113.2", 5005, world)
    refused("no-gateway-no-way-in", host.connect, "198.18.0.5", 22)
    passes("egress-only-without-the-other", d.ask, "2001:db8::2", 5005, world)
    w.plan.base["internet"] = True
    w.apply()


def inside_source(w, address, patience=PATIENCE):
    """The host's network has a machine with such an address."""
    w.world.ip(f"addr add {address}/32 dev lo")
    w.host.ip(f"route add {address}/32 via 203.0.113.2")
    w.plan.groups["sg-a"].append(rule(f"{address}/32"))
    w.apply()
    with w.world.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((address, 0))
        got = w.a.arrives(s, ("198.18.0.5", 5005), patience)
    w.world.ip(f"addr del {address}/32 dev lo")
    w.host.ip(f"route del {address}/32 via 203.0.113.2")
    return got


def routes(w):
    a, b, c, d, world = w.a, w.b, w.c, w.d, w.world
    everybody = [*EVERYWHERE, rule(ALL4), rule(ALL6)]
    w.groups(a=everybody, b=everybody, c=everybody, d=everybody)
    passes("route-internet", a.connect, "203.0.113.3", 80)
    w.plan.route("rtb-main", "203.0.113.3/32", "blackhole")
    w.apply()
    refused("route-blackhole", a.connect, "203.0.113.3", 80)
    passes("route-longest-prefix", a.connect, "203.0.113.2", 80)
    refused("route-of-the-nat-gateway-counts", d.connect, "203.0.113.3", 80)
    w.plan.route("rtb-main", "203.0.113.3/32", "internet", "igw-1")
    w.plan.route("rtb-private", "203.0.113.2/32", "blackhole")
    w.apply()
    passes("route-of-the-nat-gateway", d.connect, "203.0.113.3", 80)
    refused("route-more-specific-than-the-nat-gateway", d.connect, "203.0.113.2", 80)
    passes("route-other-table", a.connect, "203.0.113.2", 80)
    del w.plan.tables["rtb-main"]["203.0.113.3/32"], w.plan.tables["rtb-private"]["203.0.113.2/32"]

    # d's traffic by way of a, which hides it behind its own address.
    a.set("ipv4/ip_forward", "1")
    a.run("nft", "-f", "-", text="table ip n { chain p { type nat hook postrouting priority 100; masquerade; }; }")
    w.plan.route("rtb-private", ALL4, "interface", w.eni_a["id"])
    w.apply()
    refused("route-interface-checked", d.connect, "203.0.113.2", 80)
    w.eni_a["check"] = False
    w.apply()
    passes("route-interface-nat-instance", d.connect, "203.0.113.2", 80)
    case("route-interface-source", d.send("198.18.0.7", 5005, c) == "198.18.0.5")
    a.run("nft", "delete", "table", "ip", "n")

    # d's traffic to subnet 2 by way of a as it is; c's groups count, though the first half of the way has passed.
    w.plan.route("rtb-private", ALL4, "nat", "nat-1")
    w.plan.route("rtb-private", "10.0.2.0/24", "interface", w.eni_a["id"])
    w.apply()
    before = packets(a)
    passes("route-appliance", d.connect, "10.0.2.7", 80)
    case("route-appliance-is-passed", packets(a) > before)
    w.plan.groups["sg-c"] = EVERYWHERE
    w.apply()
    refused("route-appliance-groups-count", d.connect, "10.0.2.7", 80)
    del w.plan.tables["rtb-private"]["10.0.2.0/24"]
    w.eni_a["check"] = True
    a.set("ipv4/ip_forward", "0")

    # A delegated block, and a secondary address.
    w.eni_b["prefixes"] = ["10.0.1.64/28"]
    w.eni_b["addresses"].append("10.0.1.7")
    b.ip("addr add 10.0.1.65/32 dev lo", "addr add 10.0.1.7/32 dev lo")
    w.apply()
    passes("delegated-block", a.connect, "10.0.1.65", 80)
    passes("delegated-block-source", b.connect, "10.0.1.5", 80, source="10.0.1.65")
    passes("secondary-address", a.connect, "10.0.1.7", 80)
    w.eni_b["prefixes"] = []
    w.eni_b["addresses"].remove("10.0.1.7")
    w.apply()
    refused("delegated-block-gone", a.connect, "10.0.1.65", 80)
    refused("secondary-address-gone", a.connect, "10.0.1.7", 80)
    b.ip("addr del 10.0.1.65/32 dev lo", "addr del 10.0.1.7/32 dev lo")

    passes("mtu-inside", a.ping, "10.0.1.6", size=9001 - 40, whole=True)
    case("mtu-uplink-learnt", learns_mtu(a, "203.0.113.2") == 1500)
    passes("mtu-uplink-fits", a.ping, "203.0.113.2", size=1500 - 40, whole=True)
    w.groups()


def packets(g):
    with g.inside():
        for line in open("/proc/self/net/dev"):
            if "eth0:" in line:
                return int(line.split()[2])
    return 0


def learns_mtu(g, address):
    with g.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.IPPROTO_IP, 10, 2)
        s.connect((address, 9))
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                s.send(bytes(4000))
            except OSError:
                pass
            mtu = s.getsockopt(socket.IPPROTO_IP, 14)
            if mtu < 9001:
                return mtu
            time.sleep(0.02)
    return 0


# ---- other VPCs ----

def others(w):
    a = w.a
    peering, second = f"pcx-{tag}000000001", f"pcx-{tag}000000002"
    w.groups(a=[*EVERYWHERE, rule(ALL4)], b=[*EVERYWHERE, rule(ALL4)])

    make_vpc(3)
    p3 = Plan(vpc_id(3), "10.0.0.0/16")
    p3.route("rtb-main", ALL4, "internet", "igw-3")
    p3.subnet("subnet-31", "10.0.1.0/24")
    p3.groups["sg-e"] = [*EVERYWHERE, rule(ALL4)]
    e, _ = guest(p3, "e", "subnet-31", ["10.0.1.6"], ["sg-e"], "10.0.1.1", "198.18.0.9")
    w.apply(p3)
    passes("overlap-own", a.send, "10.0.1.6", 5005, w.b)
    refused("overlap-other", a.send, "10.0.1.6", 5005, e)
    case("other-vpc-by-public-address", a.send("198.18.0.9", 5005, e) == "198.18.0.5")
    passes("other-vpc-answers", a.ask, "198.18.0.9", 5005, e)
    case("nat-gateway-to-another-vpc", w.d.send("198.18.0.9", 5005, e, patience=WAIT) is None)
    w.plan.groups["sg-d"] = EVERYWHERE
    w.apply()
    case("nat-gateway-seen-from-another-vpc", w.d.send("198.18.0.9", 5005, e) == "198.18.0.200")

    make_vpc(2)
    p2 = Plan(vpc_id(2), "10.1.0.0/16")
    p2.subnet("subnet-21", "10.1.1.0/24")
    p2.groups["sg-p"] = [*EVERYWHERE, rule("sg-a", "tcp", 22)]
    p2.groups["sg-a"] = {"members": ["10.0.1.5"]}
    p2.route("rtb-main", "192.0.2.0/24", "blackhole")
    p, _ = guest(p2, "p", "subnet-21", ["10.1.1.5"], ["sg-p"], "10.1.1.1")
    make_vpc(4)
    p4 = Plan(vpc_id(4), "10.2.0.0/16")
    p4.subnet("subnet-41", "10.2.1.0/24")
    p4.groups["sg-q"] = [*EVERYWHERE, rule(ALL4)]
    q, _ = guest(p4, "q", "subnet-41", ["10.2.1.5"], ["sg-q"], "10.2.1.1")
    p4.route("rtb-main", "10.0.0.0/16", "peering", second)
    p4.route("rtb-main", "10.1.0.0/16", "peering", second)
    w.apply(p4)
    w.plan.peerings["1"] = {"id": peering, "vpc": vpc_id(2), "cidrs": ["10.1.0.0/16"]}
    p2.peerings["1"] = {"id": peering, "vpc": vpc_id(1), "cidrs": ["10.0.0.0/16"]}
    p2.peerings["2"] = {"id": second, "vpc": vpc_id(4), "cidrs": ["10.2.0.0/16"]}
    p4.peerings["2"] = {"id": second, "vpc": vpc_id(2), "cidrs": ["10.1.0.0/16"]}
    w.plan.route("rtb-main", "10.1.0.0/16", "peering", peering)
    w.plan.route("rtb-main", "10.2.0.0/16", "peering", peering)
    case("peering-made-is-told", w.apply()[1])
    w.apply(p2)
    w.apply(p4)
    refused("peering-needs-a-route-back", a.connect, "10.1.1.5", 22)
    p2.route("rtb-main", "10.0.0.0/16", "peering", peering)
    p2.route("rtb-main", "10.2.0.0/16", "peering", second)
    w.apply(p2)
    passes("peering-by-group-of-the-peer", a.connect, "10.1.1.5", 22)
    refused("peering-other-port", a.connect, "10.1.1.5", 80)
    refused("peering-by-group-others", w.b.connect, "10.1.1.5", 22)
    passes("peering-other-direction", p.ask, "10.0.1.5", 5005, a)
    passes("peering-second", p.connect, "10.2.1.5", 80)
    refused("peering-not-transitive", a.connect, "10.2.1.5", 80)
    refused("peering-not-transitive-back", q.connect, "10.0.1.5", 80)
    refused("peering-no-way-to-the-internet", p.connect, "203.0.113.2", 80)
    refused("peering-not-spoofed-by-the-host", inside_source, w, "10.1.1.5")
    # A private NAT gateway's address is what the peer sees.
    w.plan.nats["nat-2"] = {"id": "nat-2", "subnet": "subnet-1", "private": "10.0.1.201", "public": ""}
    w.plan.route("rtb-private", "10.1.0.0/16", "nat", "nat-2")
    p2.groups["sg-p"].append(rule("10.0.1.201/32"))
    w.apply()
    w.apply(p2)
    case("private-nat-gateway", w.d.send("10.1.1.5", 5005, p) == "10.0.1.201")
    passes("private-nat-gateway-answers", w.d.ask, "10.1.1.5", 5005, p)
    kept = Connection(a, p, "10.1.1.5", 22)
    w.plan.peerings = {}
    w.apply()
    case("peering-gone-ends-connections", not kept.alive(WAIT))
    kept.close()
    refused("peering-gone", a.connect, "10.1.1.5", 22)
    del w.plan.nats["nat-2"]
    del w.plan.tables["rtb-private"]["10.1.0.0/16"], w.plan.tables["rtb-main"]["10.1.0.0/16"]
    del w.plan.tables["rtb-main"]["10.2.0.0/16"]
    w.apply()
    for g in (e, p, q):
        g.close()
    for number in (2, 3, 4):
        w.datapath.ask("remove " + vpc_id(number))
    case("vpcs-removed", w.datapath.ask("list test") == [vpc_id(1)])


def ipv6_only(w):
    """A subnet without IPv4."""
    w.plan.subnet("subnet-6", "", "2600:1f00:a:6::/64")
    w.plan.groups["sg-s"] = []
    name = f"{len([m for m in made if m[0] == 'namespace']):x}"
    s, _ = guest(w.plan, "s", "subnet-6", ["2600:1f00:a:6::5"], ["sg-s"], None)
    w.groups(a=EVERYWHERE, s=[*EVERYWHERE, rule("sg-a", "tcp", 80), rule(f"{HOST6}/128", "tcp", 22)])
    passes("ipv6-only", w.a.connect, "2600:1f00:a:6::5", 80)
    refused("ipv6-only-other-port", w.a.connect, "2600:1f00:a:6::5", 22)
    passes("ipv6-only-from-the-host", w.host.connect, "2600:1f00:a:6::5", 22)
    passes("ipv6-only-to-the-internet", s.ask, "2001:db8::2", 5005, w.world)
    refused("ipv6-only-source-of-another", spoofed, s, "2600:1f00:a:1::6", "2600:1f00:a:1::5", w.a)
    s.close()
    del w.plan.interfaces[name], w.plan.subnets["subnet-6"], w.plan.groups["sg-s"]
    w.groups()


# ---- services, logs, counters ----

def services(w):
    a = w.a
    w.plan.acls["acl-none"] = []
    w.plan.subnets["subnet-1"]["acl"] = "acl-none"
    w.groups()
    listeners = []
    for family, address, port, kind in ((socket.AF_INET, "0.0.0.0", 80, socket.SOCK_STREAM),
                                        (socket.AF_INET, "0.0.0.0", 22, socket.SOCK_STREAM),
                                        (socket.AF_INET6, "fd00:ec2::254", 80, socket.SOCK_STREAM),
                                        (socket.AF_INET, "0.0.0.0", 53, socket.SOCK_DGRAM),
                                        (socket.AF_INET, "0.0.0.0", 67, socket.SOCK_DGRAM)):
        s = w.vpc.socket(family, kind)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((address, port))
        if kind == socket.SOCK_STREAM:
            s.listen(8)
        else:
            w.vpc.udp[port] = s
        listeners.append(s)
    passes("service-metadata", a.connect, "169.254.169.254", 80)
    passes("service-metadata-ipv6", a.connect, "fd00:ec2::254", 80)
    passes("service-dns", a.send, "10.0.0.2", 53, w.vpc)
    passes("service-dns-link-local", a.send, "169.254.169.253", 53, w.vpc)
    passes("service-dhcp", a.send, "255.255.255.255", 67, w.vpc)
    refused("service-metadata-other-port", a.connect, "169.254.169.254", 22)
    refused("service-gateway", a.connect, "10.0.1.1", 80)
    refused("service-gateway-ping", a.ping, "10.0.1.1")
    refused("service-dns-other-address", a.send, "169.254.169.254", 53, w.vpc)
    refused("service-spoofed-source", spoofed_dns, w)
    count = int(w.vpc.get("netfilter/nf_conntrack_count"))
    for _ in range(50):
        a.send("10.0.0.2", 53, w.vpc)
    case("service-not-tracked", int(w.vpc.get("netfilter/nf_conntrack_count")) <= count)
    w.host.ip("route add 169.254.169.254/32 dev vpc" + vpc_id(1)[-12:])
    refused("service-not-from-the-host", w.host.connect, "169.254.169.254", 80)
    w.plan.subnets["subnet-1"]["acl"] = "acl-open"
    w.apply()
    case("foreign-route-to-the-vpc-goes", "169.254" not in w.host.run("ip", "route"))
    for s in listeners:
        s.close()


def spoofed_dns(w, patience=WAIT):
    w.a.frame(ROUTER, w.a.mac, 0x800, datagram4("10.0.1.6", "10.0.0.2", 53, b"spoofed"))
    while select.select([w.vpc.udp[53]], [], [], patience)[0]:
        if w.vpc.udp[53].recv(100) == b"spoofed":
            return True
    return False


def logs_and_counters(w):
    a, b = w.a, w.b
    w.eni_a["log"] = w.eni_b["log"] = True
    w.groups(a=EVERYWHERE, b=[rule("10.0.1.5/32", "tcp", 22), rule("10.0.1.5/32", "udp", 53)])
    log = Log(w.vpc)
    ids = w.eni_a["id"], w.eni_b["id"]
    Connection(a, b, "10.0.1.6", 22).close()
    wanted = ["A " + ids[0], "A " + ids[1]]
    case("log-accepted", sorted(log.prefixes(wanted)) == sorted(wanted))
    a.send("10.0.1.6", 80, b, WAIT)
    wanted = ["A " + ids[0], "R " + ids[1]]  # who sends it may
    case("log-refused", log.prefixes(wanted) == wanted)
    w.groups(b=[rule("10.0.1.5/32", "tcp", 22)])
    a.send("10.0.1.6", 53, b, WAIT)
    case("log-refused-on-its-way-out", log.prefixes(["R " + ids[0]]) == ["R " + ids[0]])
    log.socket.close()
    w.eni_a["log"] = w.eni_b["log"] = False
    w.groups(a=EVERYWHERE, b=[rule("10.0.1.5/32", "tcp", 22), rule("10.0.1.5/32", "udp", 53)])
    for _ in range(3):
        a.send("10.0.1.6", 53, b)
    counted = json.loads(" ".join(w.datapath.ask("counters " + json.dumps(w.plan.json()))))
    case("counter-of-a-rule", counted["rules"]["sg-b 1"][0] == 3 and counted["rules"]["sg-b 0"][0] == 0)
    case("counter-of-an-interface", counted["interfaces"][ids[0]][2] > 3 and counted["interfaces"][ids[1]][0] > 3)


# ---- interfaces that come and go; crashes; what is left ----

def holders(w):
    """Who gets an address next inherits nothing."""
    a, b = w.a, w.b
    w.groups(a=EVERYWHERE, b=[rule("10.0.1.5/32", "tcp", 22)])
    kept = Connection(a, b, "10.0.1.6", 22)
    kept.alive()
    gone = w.plan.interfaces.pop(next(k for k, v in w.plan.interfaces.items() if v is w.eni_b))
    w.apply()
    case("interface-gone", gone["tap"] not in w.vpc.run("ip", "link"))
    refused("interface-gone-address-silent", a.connect, "10.0.1.6", 22)
    b.close()
    i = w.plan.interface("b2", "subnet-1", "02:00:00:00:0b:02", ["10.0.1.6"], ["sg-b"])
    made.append(("namespace", f"t{tag}n"))
    n = Guest(f"t{tag}n", w.vpc.name, i["tap"], i["mac"], ["10.0.1.6"], "10.0.1.1")
    w.groups(a=EVERYWHERE)
    with n.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x800)) as s:
        s.bind(("eth0", 0x800))
        kept.near.send(b"for the one before")
        case("interface-gone-connections-forgotten", not select.select([s], [], [], WAIT)[0])
    w.groups(a=EVERYWHERE, b=[rule("10.0.1.5/32", "tcp", 80)])
    passes("interface-next-holder", a.connect, "10.0.1.6", 80)
    kept.close()


def unchanged(w):
    def state():
        rules = w.vpc.run("nft", "-s", "-a", "list", "ruleset")  # without counters; guests solicit as they like
        return [re.sub(r"set solicitors \{.*?\n\t\}", "", rules, flags=re.S), w.vpc.run("ip", "-d", "route", "show", "table", "all"),
                w.vpc.run("ip", "addr"), w.vpc.run("ip", "neigh", "show", "nud", "permanent"), w.vpc.run("ip", "rule")]

    before = state()
    w.apply()
    case("apply-again-touches-nothing", state() == before)


def crashes(w):
    """kill -9 at any place; the next one makes it good."""
    w.groups(a=[*EVERYWHERE, rule(ALL4)], c=[*EVERYWHERE, rule(ALL4)])
    kept = Connection(w.a, w.c, "10.0.2.7", 80)
    number = random.Random(os.getpid())
    for turn in range(12):
        w.plan.groups["sg-c"] = [*EVERYWHERE, rule(ALL4), *(rule(f"192.0.2.{i}/32", "tcp", 1 + turn) for i in range(20))]
        extra = w.plan.interface("feed", "subnet-2", "02:00:00:00:fe:ed", ["10.0.2.99"], ["sg-c"], "198.18.0.99")
        if turn % 2:
            del w.plan.interfaces["feed"]
            w.datapath.begin("apply test " + json.dumps(w.plan.json()))
        time.sleep(number.random() * 0.06)
        w.datapath.kill()
        if turn % 4 == 3:
            w.apply()
    w.plan.interfaces.pop("feed", None)
    w.apply()
    case("killed-running-connection-goes-on", kept.alive())
    kept.close()
    case("killed-nothing-stays", extra["tap"] not in w.vpc.run("ip", "link") and
         "198.18.0.99" not in w.host.run("ip", "route") + w.vpc.run("nft", "list", "ruleset"))
    passes("killed-works", w.a.connect, "10.0.2.7", 443)
    unchanged(w)
    # A new VPC, killed while it is made; then one that is killed while it goes.
    plan = Plan(vpc_id(5), "10.5.0.0/16")
    plan.route("rtb-main", ALL4, "internet", "igw-5")
    plan.subnet("subnet-51", "10.5.1.0/24")
    plan.groups["sg-r"] = [*EVERYWHERE]
    plan.interface("r", "subnet-51", "02:00:00:00:05:05", ["10.5.1.5"], ["sg-r"], "198.18.0.55")
    made.append(("vpc", vpc_id(5)))
    for verb in ("apply test " + json.dumps(plan.json()), "remove " + vpc_id(5)) * 5:
        w.datapath.begin(verb)
        time.sleep(number.random() * 0.08)
        w.datapath.kill()
    w.apply(plan)
    w.datapath.ask("remove " + vpc_id(5))
    case("killed-vpc-goes", w.datapath.ask("exists " + vpc_id(5)) == ["0"] and
         w.datapath.ask("list test") == [vpc_id(1)] and "198.18.0.55" not in w.host.run("ip", "route"))


def owners(w):
    try:
        w.datapath.apply(w.plan.json(), "somebody")
        case("owner-another-is-refused", False)
    except RuntimeError as e:
        case("owner-another-is-refused", "belongs to test" in str(e))
    case("owner-sees-its-own", w.datapath.ask("list somebody") == [])


def many(w):
    """VPCs with two interfaces each come and go."""
    count = int(os.environ.get("VPCS", "10"))
    plans, times, before = [], [], set(w.datapath.ask("list test"))
    for number in range(count):
        p = Plan(vpc_id(1000 + number), "10.0.0.0/16")
        p.route("rtb-main", ALL4, "internet", "igw-x")
        p.subnet("subnet-x", "10.0.1.0/24")
        p.groups["sg-x"] = [*EVERYWHERE, rule("sg-x")]
        for i in (1, 2):
            p.interface(f"{number:x}{i}", "subnet-x", f"02:00:00:01:00:0{i}", [f"10.0.1.{4 + i}"], ["sg-x"],
                        f"198.18.{1 + number // 100}.{number % 100 * 2 + i}")
        plans.append(p.json())
        made.append(("vpc", p.base["vpc"]))
    for p in plans:
        times.append(w.datapath.apply(p)[2:])
    case("many-are-there", set(w.datapath.ask("list test")) - before == {p["vpc"] for p in plans})
    cpu = sorted(t[1] for t in times)
    times.sort()
    again = sorted(w.datapath.apply(p)[2] for p in plans)
    removed = sorted(int(w.datapath.ask("remove " + p["vpc"])[0]) for p in plans)
    print(f"# {count} VPCs: made in {times[count // 2][0] / 1000:.1f} ms each (CPU time {cpu[count // 2] / 1000:.1f}), applied again in {again[count // 2] / 1000:.2f}, "
          f"removed in {removed[count // 2] / 1000:.1f} (medians)")
    case("many-are-gone", set(w.datapath.ask("list test")) == before)


def ends(w):
    w.datapath.ask("remove " + vpc_id(1))
    left = [d for d in os.listdir("/run/insula/net") if d.startswith("vpc-" + tag)]
    left += [d for d in os.listdir("/run/netns") if d.startswith("vpc-" + tag)]
    case("nothing-left", not left)
    now = w.host_state()
    for old, new in zip(w.before, now):
        if old != new:
            print("# before: " + "\n# ".join(old.splitlines()) + "\n# now: " + "\n# ".join(new.splitlines()))
    case("host-as-before", now == w.before)


def clean(program):
    run("true")
    hosts = [name for kind, name in made if kind == "namespace"]
    host = Namespace(hosts[0], own=False) if hosts else None
    for kind, name in made:
        if kind == "vpc" and host and (os.path.exists("/run/netns/" + name) or os.path.exists("/run/insula/net/" + name)):
            host.run(program, text=f"remove {name}\n", check=False)
            run("ip", "netns", "del", name, check=False)
    for name in hosts:
        run("ip", "netns", "del", name, check=False)


def stop(*_):
    sys.exit(1)


def main():
    program = os.path.join(os.path.dirname(os.environ.get("INSULA", ROOT + "/build/insula")), "test", "datapath")
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    w = None
    begun = time.monotonic()
    try:
        w = World(program)
        parts = [no_rules, by_block, by_icmp, by_group, by_more, changes, acls, sources, internet, routes, ipv6_only, others,
                 services, logs_and_counters, holders, unchanged, owners, crashes,
                 many, ends]
        for part in parts:
            if len(sys.argv) < 2 or part.__name__ in sys.argv[1:] or part is parts[-1]:
                part(w)
        print(f"# {time.monotonic() - begun:.1f} s")
    finally:
        if w:
            w.datapath.kill()
        clean(program)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
