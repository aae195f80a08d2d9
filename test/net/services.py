#!/usr/bin/python3
"""The services of a VPC, asked by real clients in namespaces that stand for guests.

A namespace H stands for the host, with a resolver of our own on its loopback; V is the VPC's, whose ends of two veth
pairs stand for taps; G0 and G1 are guests. All names carry the pid, and all is taken down at the end.
"""
import base64
import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
INSULA = os.path.abspath(os.environ.get("INSULA", ROOT + "/build/insula"))
TAG = "st%d" % os.getpid()
HOST, VPC = TAG + "h", TAG + "v"
GUESTS = [TAG + "g0", TAG + "g1"]
TAPS = ["enia00000000000", "enib00000000000"]
MACS = ["02:00:00:00:00:05", "02:00:00:00:00:06"]
V4 = ["10.0.0.5", "10.0.0.6"]
V6 = ["2001:db8:0:1::5", "2001:db8:0:1::6"]
ROUTER_MAC, ROUTER_LL = "06:00:00:00:00:01", "fe80::400:ff:fe00:1"
SERVICES4 = ["169.254.169.254", "169.254.169.253", "169.254.169.123", "10.0.0.2", "10.0.0.1"]
SERVICES6 = ["fd00:ec2::254", "fd00:ec2::253", "fd00:ec2::123"]
LIBC = ctypes.CDLL(None, use_errno=True)

failed = []
processes = []


def run(*words, check=True, **more):
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, **more)
    if check and done.returncode:
        raise RuntimeError("%s: %s%s" % (" ".join(words), done.stdout, done.stderr))
    return done.stdout


def inside(namespace, *words, **more):
    return run("ip", "netns", "exec", namespace, *words, **more)


@contextlib.contextmanager
def within(namespace):
    """Sockets that are opened in here are the namespace's. Main thread only."""
    with open("/proc/thread-self/ns/net") as old, open("/run/netns/" + namespace) as new:
        if LIBC.setns(new.fileno(), 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            LIBC.setns(old.fileno(), 0x40000000)


def case(function):
    name = function.__name__.replace("_", "-")
    try:
        function()
        print("ok services-" + name, flush=True)
    except Exception as e:  # any: the next cases are to be run
        failed.append(name)
        print("not ok services-%s # %s" % (name, (str(e) or type(e).__name__).replace("\n", " ")[:250]), flush=True)
        for line in traceback.format_exc().splitlines():
            print("#   " + line)
    return function


def equal(a, b, what=""):
    if a != b:
        raise AssertionError("%s: %r, not %r" % (what, a, b) if what else "%r, not %r" % (a, b))


def true(good, what):
    if not good:
        raise AssertionError(what)


# ---- the world ----

def make_world():
    for name in [HOST, VPC] + GUESTS:
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "lo", "up")
    for a in SERVICES4:
        run("ip", "-n", VPC, "address", "add", a + "/32", "dev", "lo")
    for a in SERVICES6:
        run("ip", "-n", VPC, "address", "add", a + "/128", "dev", "lo")
    inside(VPC, "sysctl", "-q", "-w", "net.ipv6.conf.all.forwarding=1", "net.ipv6.conf.default.accept_dad=0")
    for i, guest in enumerate(GUESTS):
        make_tap(i)


def make_tap(i):
    tap, guest = TAPS[i], GUESTS[i]
    inside(guest, "sysctl", "-q", "-w", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.default.accept_ra=1",
           "net.ipv6.conf.default.router_solicitations=0")
    run("ip", "-n", VPC, "link", "add", tap, "address", ROUTER_MAC, "mtu", "9001", "type", "veth", "peer", "name", "eth0",
        "netns", guest)
    run("ip", "-n", guest, "link", "set", "eth0", "address", MACS[i], "mtu", "9001")
    inside(VPC, "sysctl", "-q", "-w", "net.ipv4.conf.%s.proxy_arp=1" % tap, "net.ipv4.conf.%s.forwarding=1" % tap)
    run("ip", "-n", VPC, "link", "set", tap, "up")
    run("ip", "-n", guest, "link", "set", "eth0", "up")
    run("ip", "-n", VPC, "route", "add", V4[i] + "/32", "dev", tap)
    run("ip", "-n", VPC, "route", "add", V6[i] + "/128", "dev", tap)
    run("ip", "-n", VPC, "neigh", "add", V4[i], "lladdr", MACS[i], "dev", tap, "nud", "permanent")
    run("ip", "-n", VPC, "neigh", "add", V6[i], "lladdr", MACS[i], "dev", tap, "nud", "permanent")


def end_world():
    for p in processes:
        p.kill()
        p.wait()
    for name in [HOST, VPC] + GUESTS:
        run("ip", "netns", "del", name, check=False)
    shutil.rmtree(folder, ignore_errors=True)


class Resolver(threading.Thread):
    """The host's resolver: knows a few names of example.com. Counts what it is asked."""

    def __init__(self):
        super().__init__(daemon=True)
        self.asked, self.ports, self.ids, self.lie = [], set(), set(), False
        with within(HOST):
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.udp.bind(("127.0.0.1", 53))
            self.other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.tcp = socket.create_server(("127.0.0.1", 53))
        threading.Thread(target=self.serve_tcp, daemon=True).start()

    def answer(self, query, tcp):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        question, name = query[12:at + 5], ".".join(labels).lower()
        self.asked.append((name, tcp))
        self.ids.add(query[:2])
        head = lambda flags, answers: query[:2] + struct.pack(">HHHHH", flags, 1, answers, 0, 0) + question
        record = lambda data: b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 30, 4) + data
        if name == "silent.example.com":
            return None
        if name.startswith("host"):
            return head(0x8180, 1) + record(b"\xc0\x00\x02\x07")
        if name.startswith("many"):
            if not tcp:
                return head(0x8380, 0)
            return head(0x8180, 200) + b"".join(record(bytes([192, 0, 2, n])) for n in range(200))
        return head(0x8183, 0)

    def run(self):
        while True:
            query, peer = self.udp.recvfrom(4096)
            self.ports.add(peer[1])
            answer = self.answer(query, False)
            if answer and query[13:].lower().startswith(b"hosted"):
                # Answers that are none: of somebody else, under another id, to another question.
                wrong = answer.replace(b"\xc0\x00\x02\x07", b"\x06\x06\x06\x06")
                self.other.sendto(wrong, peer)
                self.udp.sendto(bytes([wrong[0] ^ 1]) + wrong[1:], peer)
                self.udp.sendto(wrong[:13] + b"x" + wrong[14:], peer)
            if answer:
                self.udp.sendto(answer, peer)

    def serve_tcp(self):
        while True:
            c, _ = self.tcp.accept()
            with c:
                n = c.recv(2, socket.MSG_WAITALL)
                if len(n) == 2:
                    answer = self.answer(c.recv(struct.unpack(">H", n)[0], socket.MSG_WAITALL), True)
                    c.sendall(struct.pack(">H", len(answer)) + answer)


# ---- the configuration ----

def interface(i):
    return {"id": "eni-0%s00000000000" % "ab"[i], "tap": TAPS[i], "instance": "i-%d" % i, "subnet": "subnet-1", "mac": MACS[i],
            "name": "ip-10-0-0-%d" % (5 + i), "addresses": [V4[i]], "addresses6": [V6[i]], "check": True, "log": i == 0}


def instance(i, **options):
    return {"options": dict({"endpoint": True, "tokens": "optional", "hops": 1, "ipv6": True}, **options),
            "secret": "%064x" % 7,
            "user_data": base64.b64encode(bytes(range(256)) * 40).decode() if i == 0 else None,
            "tree": {"meta-data": {"instance-id": "i-%d" % i, "placement": {"region": "us-east-1"},
                                   "public-keys": {"0=my-key": {"openssh-key": "ssh-ed25519 AAAA me\n"}},
                                   "local-ipv4": V4[i]},
                     "dynamic": {"instance-identity": {"document": "{}"}}}}


def plan(generation=1):
    return {"vpc": "vpc-" + TAG, "region": "us-east-1", "generation": generation, "account": "123456789012", "dns": True, "dns_names": True,
            "cidrs": ["10.0.0.0/16"], "cidrs6": ["2001:db8::/56"],
            "dhcp": {"domain": "ec2.internal", "dns": ["AmazonProvidedDNS"], "ntp": ["169.254.169.123"],
                     "netbios": ["10.0.0.9"], "netbios_type": 2},
            "subnets": [{"id": "subnet-1", "cidr": "10.0.0.0/20", "cidr6": "2001:db8:0:1::/64"}],
            "interfaces": [interface(0), interface(1)],
            "names": [{"name": "ip-10-0-0-5.ec2.internal", "address": V4[0], "reverse": True},
                      {"name": "ip-10-0-0-6.ec2.internal", "address": V4[1], "reverse": True},
                      {"name": "i-0.ec2.internal", "address": V4[0]},
                      {"name": "i-0.ec2.internal", "address": V6[0], "reverse": True},
                      {"name": "ec2-198-18-0-1.compute-1.amazonaws.com", "address": V4[0]}]}


def config(**changes):
    whole = {"plan": plan(), "instances": {"i-0": instance(0), "i-1": instance(1)}}
    whole["plan"].update(changes.pop("plan", {}))
    for name, options in changes.items():
        whole["instances"]["i-" + name[1:]]["options"].update(options)
    return whole


def tell(document):
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(30)
        s.connect(folder + "/data/vpc.sock")
        s.sendall(struct.pack("<I", len(data)) + data)
        return s.makefile().readline()


def start():
    p = subprocess.Popen(["ip", "netns", "exec", HOST, INSULA, "vpc", "--netns", VPC, "--resolv-conf", folder + "/resolv.conf",
                          "--flow-log-interval", "1", folder + "/data"], stderr=open(folder + "/log", "ab"))
    processes.append(p)
    for _ in range(600):
        if p.poll() is not None:
            raise RuntimeError("it ended: " + open(folder + "/log").read())
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as s:
            s.connect(folder + "/data/vpc.sock")
            # It answers when it is in its jail.
            s.sendall(struct.pack("<I", 1) + b"x")
            s.settimeout(30)
            if s.recv(6) == b"error ":
                return p
        time.sleep(0.05)
    raise RuntimeError("it does not serve")


# ---- clients ----

def udp(guest, address, family=socket.AF_INET, timeout=10, broadcast=False):
    with within(guest):
        s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(timeout)
    if broadcast:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        s.setsockopt(socket.SOL_SOCKET, 25, b"eth0\0")  # SO_BINDTODEVICE
    if address:
        s.bind(address)
    return s


def socket_listening(guest):
    with within(guest):
        return socket.create_server(("", 8000))


def dhcp_message(mac, kind, xid=b"\1\2\3\4"):
    hardware = bytes.fromhex(mac.replace(":", ""))
    return (b"\1\1\6\0" + xid + b"\0\0\x80\0" + bytes(16) + hardware + bytes(10 + 192) + b"\x63\x82\x53\x63" +
            bytes([53, 1, kind, 255]) + bytes(60))


def dig(guest, *words):
    return inside(guest, "dig", "+tries=1", "+time=20", *words).strip()


def short(guest, *words):
    return dig(guest, "+short", *words)


def status(guest, *words):
    out = dig(guest, *words)
    return out.split("status: ")[1].split(",")[0]


def curl(guest, *words):
    return subprocess.run(("ip", "netns", "exec", guest, "curl", "-s", "-m", "30") + words, capture_output=True, timeout=60).stdout


def code(guest, *words):
    return curl(guest, "-o", "/dev/null", "-w", "%{http_code}", *words).decode()


BASE = "http://169.254.169.254/latest"


def token(guest, ttl="60"):
    return curl(guest, "-X", "PUT", BASE + "/api/token", "-H", "X-aws-ec2-metadata-token-ttl-seconds: " + ttl).decode()


def with_token(t):
    return ("-H", "X-aws-ec2-metadata-token: " + t)


# ---- cases ----

def cases(process):
    @case
    def dhcp():
        script = folder + "/bound"
        with open(script, "w") as f:
            f.write("#!/bin/sh\n[ \"$1\" = bound ] || exit 0\nenv >%s/lease.$interface.new && mv %s/lease.$interface.new %s/lease\n"
                    "ip addr add $ip/$mask dev $interface\nip route add default via $router\n" % (folder, folder, folder))
        os.chmod(script, 0o755)
        inside(GUESTS[0], "busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "10", "-s", script, "-O", "mtu", "-O", "ntpsrv",
               "-O", "wins", "-O", "46", "-O", "hostname")
        lease = dict(l.split("=", 1) for l in open(folder + "/lease").read().splitlines() if "=" in l)
        want = {"ip": V4[0], "subnet": "255.255.240.0", "router": "10.0.0.1", "dns": "10.0.0.2", "domain": "ec2.internal",
                "hostname": "ip-10-0-0-5", "ntpsrv": "169.254.169.123", "wins": "10.0.0.9", "lease": "3600", "mtu": "9001",
                "serverid": "10.0.0.1", "opt46": "02"}
        equal({k: lease.get(k) for k in want}, want)
        # The other guest's, by hand.
        run("ip", "-n", GUESTS[1], "addr", "add", V4[1] + "/20", "dev", "eth0")
        run("ip", "-n", GUESTS[1], "route", "add", "default", "via", "10.0.0.1")

    @case
    def dhcp_wrong_mac():
        with udp(GUESTS[0], ("", 68), broadcast=True) as s:
            s.sendto(dhcp_message(MACS[1], 1, b"bad!"), ("255.255.255.255", 67))
            s.sendto(dhcp_message(MACS[0], 1, b"good"), ("255.255.255.255", 67))
            # In order: what is not the answer to the first is that there is none.
            equal(s.recv(2000)[4:8], b"good")

    @case
    def dhcp_unicast():
        with udp(GUESTS[0], ("", 68), broadcast=True) as s:
            request = bytearray(dhcp_message(MACS[0], 3))
            request[10:16] = b"\0\0" + socket.inet_aton(V4[0])
            s.sendto(request, ("10.0.0.1", 67))
            answer, peer = s.recvfrom(2000)
            equal((peer, answer[242], answer[16:20]), (("10.0.0.1", 67), 5, socket.inet_aton(V4[0])))

    @case
    def router_advertisement():
        with within(GUESTS[0]):
            s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        s.setsockopt(socket.IPPROTO_ICMPV6, 1, struct.pack("<8I", *[~0 & 0xffffffff if n != 4 else ~(1 << 6) & 0xffffffff for n in range(8)]))
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        s.settimeout(20)
        with within(GUESTS[0]):
            index = socket.if_nametoindex("eth0")
        s.sendto(b"\x85\0\0\0\0\0\0\0", ("ff02::2", 0, 0, index))
        ra, control, _, peer = s.recvmsg(2000, 200)
        equal((peer[0].split("%")[0], ra[0], ra[5] & 0x80, control[0][2]), (ROUTER_LL, 134, 0x80, struct.pack("<i", 255)))
        true(b"\5\1\0\0" + struct.pack(">I", 9001) in ra, "no MTU")
        true(b"\3\4" not in ra[16::8], "a prefix")
        true(struct.unpack(">H", ra[6:8])[0] > 0, "no default router")
        s.close()
        for _ in range(200):  # the kernel reads it when we have
            route = inside(GUESTS[0], "ip", "-6", "route", "show", "default").split()[:3]
            if route:
                break
            time.sleep(0.05)
        equal(route, ["default", "via", ROUTER_LL])

    @case
    def dhcp6():
        s = udp(GUESTS[0], None, socket.AF_INET6)
        with within(GUESTS[0]):
            index = socket.if_nametoindex("eth0")
        s.bind(("::", 546))
        client = struct.pack(">HH", 1, 10) + b"\0\3\0\1" + bytes.fromhex(MACS[0].replace(":", ""))
        ia = struct.pack(">HH", 3, 12) + b"IAID" + bytes(8)
        address = struct.pack(">HH", 5, 24) + socket.inet_pton(socket.AF_INET6, V6[0])
        dns = struct.pack(">HH", 23, 16) + socket.inet_pton(socket.AF_INET6, "fd00:ec2::253")

        def ask(kind, *options):
            s.sendto(bytes([kind]) + b"abc" + client + b"".join(options), ("ff02::1:2", 547, 0, index))
            answer, peer = s.recvfrom(2000)
            equal((answer[1:4], peer[0].split("%")[0]), (b"abc", ROUTER_LL))
            return answer

        offer = ask(1, ia)
        equal(offer[0], 2)
        true(address in offer and dns in offer, "no address, no DNS")
        rapid = ask(1, ia, b"\0\x0e\0\0")
        true(rapid[0] == 7 and b"\0\x0e\0\0" in rapid and address in rapid, "no rapid commit")
        server = b"\0\2\0\x0a\0\3\0\1" + bytes.fromhex(ROUTER_MAC.replace(":", ""))
        true(server in offer, "another server")
        for kind in 3, 5:
            got = ask(kind, server, ia)
            true(got[0] == 7 and address in got, "no address in the answer to %d" % kind)
        got = ask(6, ia)
        true(got[0] == 7 and address in got, "REBIND")
        got = ask(4, struct.pack(">HH", 3, 40) + b"IAID" + bytes(8) + address + bytes(8))
        true(b"\0\x0d\0\2\0\0" in got, "CONFIRM")
        got = ask(11)
        true(dns in got and b"\3ec2\x08internal\0" in got, "INFORMATION-REQUEST")
        s.close()
        for i, guest in enumerate(GUESTS):
            run("ip", "-n", guest, "addr", "add", V6[i] + "/128", "dev", "eth0", "nodad")

    @case
    def dns_names():
        for at in "@10.0.0.2", "@169.254.169.253", "@fd00:ec2::253":
            equal(short(GUESTS[0], at, "IP-10-0-0-6.ec2.internal"), V4[1], at)
        equal(short(GUESTS[0], "@10.0.0.2", "AAAA", "i-0.ec2.internal"), V6[0])
        equal(short(GUESTS[0], "@10.0.0.2", "ec2-198-18-0-1.compute-1.amazonaws.com"), V4[0])
        equal(short(GUESTS[0], "@10.0.0.2", "instance-data.ec2.internal"), "169.254.169.254")
        equal(short(GUESTS[0], "@10.0.0.2", "+tcp", "i-0.ec2.internal"), V4[0])
        equal(short(GUESTS[0], "@fd00:ec2::253", "+tcp", "i-0.ec2.internal"), V4[0])

    @case
    def dns_reverse():
        equal(short(GUESTS[0], "@10.0.0.2", "-x", V4[1]), "ip-10-0-0-6.ec2.internal.")
        equal(short(GUESTS[0], "@10.0.0.2", "-x", V6[0]), "i-0.ec2.internal.")
        equal(status(GUESTS[0], "@10.0.0.2", "-x", "10.0.200.9"), "NXDOMAIN")

    @case
    def dns_nothing():
        out = dig(GUESTS[0], "@10.0.0.2", "nobody.ec2.internal")
        true("NXDOMAIN" in out and "SOA" in out, out)
        out = dig(GUESTS[0], "@10.0.0.2", "MX", "i-0.ec2.internal")
        true("NOERROR" in out and "ANSWER: 0" in out and "SOA" in out, out)
        equal([n for n, _ in resolver.asked if n.endswith("internal")], [], "asked of the host's resolver")

    @case
    def dns_forwards():
        equal(short(GUESTS[0], "@10.0.0.2", "host.example.com"), "192.0.2.7")
        equal(short(GUESTS[0], "@10.0.0.2", "hosted.example.com"), "192.0.2.7", "among wrong answers")
        equal(status(GUESTS[0], "@10.0.0.2", "gone.example.com"), "NXDOMAIN")
        equal(len(short(GUESTS[0], "@10.0.0.2", "many.example.com").split()), 200, "by TCP")
        true(("many.example.com", True) in resolver.asked, "not by TCP")
        resolver.ports.clear()
        resolver.ids.clear()
        for i in range(12):
            equal(short(GUESTS[0], "@10.0.0.2", "host%d.example.com" % i), "192.0.2.7")
        true(len(resolver.ports) > 8 and len(resolver.ids) > 8, "ports %s, ids %s" % (resolver.ports, resolver.ids))

    @case
    def dns_no_answer():
        equal(status(GUESTS[0], "@10.0.0.2", "silent.example.com"), "SERVFAIL")

    @case
    def dns_is_not_for_others():
        # From an address that is not the guest's: nothing; the next, from its own, is answered.
        run("ip", "-n", GUESTS[1], "addr", "add", "10.0.0.77/32", "dev", "eth0")
        run("ip", "-n", VPC, "route", "add", "10.0.0.77/32", "dev", TAPS[1])
        query = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"\3i-0\3ec2\x08internal\0\0\1\0\1"
        bad, good = udp(GUESTS[1], ("10.0.0.77", 0)), udp(GUESTS[1], (V4[1], 0))
        bad.sendto(query, ("10.0.0.2", 53))
        good.sendto(query, ("10.0.0.2", 53))
        equal(good.recv(2000)[:2], b"\0\7")
        bad.setblocking(False)
        try:
            true(not bad.recv(2000), "an answer")
        except BlockingIOError:
            pass

    @case
    def dns_rate():
        query = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"\3i-0\3ec2\x08internal\0\0\1\0\1"
        s = udp(GUESTS[1], (V4[1], 0))
        s.setsockopt(socket.SOL_SOCKET, 33, 1 << 22)  # SO_RCVBUFFORCE
        s.settimeout(3)
        begun = time.monotonic()
        for i in range(6000):
            s.sendto(query, ("10.0.0.2", 53))
        answers = 0
        with contextlib.suppress(socket.timeout):
            while True:
                s.recv(2000)
                answers += 1
        allowed = 1024 * (1 + time.monotonic() - begun) + 1
        true(0 < answers <= allowed, "%d answers, %d allowed" % (answers, allowed))
        # The other guest's is its own.
        equal(short(GUESTS[0], "@10.0.0.2", "i-0.ec2.internal"), V4[0])

    @case
    def ntp():
        for family, server in (socket.AF_INET, "169.254.169.123"), (socket.AF_INET6, "fd00:ec2::123"):
            with udp(GUESTS[0], None, family) as s:
                before = time.time()
                s.sendto(b"\x23" + bytes(39) + b"originte", (server, 123))
                got = s.recv(200)
                after = time.time()
            fields = struct.unpack(">BBbb11I", got)
            received, sent = (fields[n] - 2208988800 + fields[n + 1] / 2**32 for n in (11, 13))
            equal((len(got), fields[0] & 63, got[24:32]), (48, 0x24, b"originte"))
            true(0 < fields[1] < 16, "stratum")
            true(before - 0.01 <= received <= sent + 0.01 and sent <= after + 0.01, "%f %f %f %f" % (before, received, sent, after))

    @case
    def imds_tree():
        equal(curl(GUESTS[0], BASE + "/meta-data/instance-id"), b"i-0")
        equal(curl(GUESTS[1], BASE + "/meta-data/instance-id"), b"i-1")
        equal(curl(GUESTS[0], BASE + "/meta-data/"), b"instance-id\nlocal-ipv4\nplacement/\npublic-keys/")
        equal(curl(GUESTS[0], BASE + "/meta-data/placement"), b"region")
        equal(curl(GUESTS[0], "http://169.254.169.254/2009-04-04/meta-data/public-keys/"), b"0=my-key")
        equal(curl(GUESTS[0], BASE + "/meta-data/public-keys/0/openssh-key"), b"ssh-ed25519 AAAA me\n")
        equal(curl(GUESTS[0], BASE + "/"), b"dynamic\nmeta-data\nuser-data")
        versions = curl(GUESTS[0], "http://169.254.169.254/").decode().split("\n")
        equal((versions[:2], versions[-1]), (["1.0", "2007-01-19"], "latest"))
        equal(code(GUESTS[0], BASE + "/meta-data/none"), "404")
        equal(code(GUESTS[0], "http://169.254.169.254/nothing"), "404")
        true(b"<title>404 - Not Found</title>" in curl(GUESTS[0], BASE + "/meta-data/none"), "page")
        head = curl(GUESTS[0], "-I", BASE + "/meta-data/instance-id").decode()
        true(all(t in head for t in ("200 OK", "Server: EC2ws", "Content-Type: text/plain", "Content-Length: 3", "Last-Modified: ")), head)
        # Several on one connection.
        equal(curl(GUESTS[0], "-w", "%{num_connects} ", BASE + "/meta-data/instance-id", BASE + "/meta-data/local-ipv4"),
              b"i-01 10.0.0.50 ")

    @case
    def imds_user_data():
        equal(curl(GUESTS[0], BASE + "/user-data"), bytes(range(256)) * 40)
        true(b"application/octet-stream" in curl(GUESTS[0], "-I", BASE + "/user-data"), "type")
        equal(code(GUESTS[1], BASE + "/user-data"), "404")

    @case
    def imds_tokens():
        good = token(GUESTS[0])
        equal(len(good), 56)
        equal(curl(GUESTS[0], *with_token(good), BASE + "/meta-data/instance-id"), b"i-0")
        equal(code(GUESTS[1], *with_token(good), BASE + "/meta-data/instance-id"), "401", "another's token")
        equal(code(GUESTS[0], *with_token(good[:-4] + "AA=="), BASE + "/"), "200" if good.endswith("AA==") else "401")
        equal(code(GUESTS[0], *with_token("x"), BASE + "/meta-data/"), "401")
        put = ("-X", "PUT", BASE + "/api/token", "-H")
        for ttl in "0", "21601", "-1", "1.5", "x", "99999999999999999999":
            equal(code(GUESTS[0], *put, "X-aws-ec2-metadata-token-ttl-seconds: " + ttl), "400", ttl)
        equal(code(GUESTS[0], *put, "X-Other: 1"), "400")
        equal(code(GUESTS[0], *put, "X-aws-ec2-metadata-token-ttl-seconds: 21600"), "200")
        equal(code(GUESTS[0], *put, "X-aws-ec2-metadata-token-ttl-seconds: 60", "-H", "X-Forwarded-For: 10.0.0.1"), "403")
        brief = token(GUESTS[0], "1")
        time.sleep(2.1)
        equal(code(GUESTS[0], *with_token(brief), BASE + "/meta-data/"), "401", "expired")

    @case
    def imds_hops():
        with within(GUESTS[0]):
            sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        sniffer.settimeout(20)

        def hops(answer):
            while True:
                packet = sniffer.recv(65536)
                if packet[12:16] == b"\xa9\xfe\xa9\xfe" and answer in packet:
                    return packet[8]
        good = token(GUESTS[0])
        equal(hops(good.encode()), 1)
        curl(GUESTS[0], BASE + "/meta-data/instance-id")
        equal(hops(b"\r\n\r\ni-0"), 64)
        equal(tell(config(i0={"hops": 3})), "ok 1\n")
        good = token(GUESTS[0])
        equal(hops(good.encode()), 3)
        sniffer.close()

    @case
    def imds_options():
        url = "http://[fd00:ec2::254]/latest/meta-data/instance-id"
        equal(curl(GUESTS[0], url), b"i-0")
        equal(tell(config(i0={"tokens": "required", "ipv6": False}, i1={"endpoint": False})), "ok 1\n")
        equal(code(GUESTS[0], BASE + "/meta-data/"), "401")
        equal(code(GUESTS[0], *with_token(token(GUESTS[0])), BASE + "/meta-data/"), "200")
        equal(code(GUESTS[0], url), "000")
        equal(code(GUESTS[1], BASE + "/meta-data/"), "403")
        equal(code(GUESTS[1], "-X", "PUT", BASE + "/api/token", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60"), "403")
        equal(tell(config()), "ok 1\n")

    @case
    def control():
        true(tell(b"{").startswith("error line 1: "), "not JSON")
        equal(tell(config(plan={"vpc": "vpc-other"})), "error the plan is of vpc-other, not of vpc-%s\n" % TAG)
        true(tell(config(plan={"cidrs": ["10.0.0.0/33"]})).startswith("error the plan: cidrs"), "block")
        true(tell(config(i0={"tokens": "maybe"})).startswith("error instance i-0: options"), "options")
        equal(short(GUESTS[0], "@10.0.0.2", "i-0.ec2.internal"), V4[0], "the old one")
        new = config(plan={"generation": 2, "names": [{"name": "new.ec2.internal", "address": "10.0.0.9"}]})
        equal(tell(new), "ok 2\n")
        equal(short(GUESTS[0], "@10.0.0.2", "new.ec2.internal"), "10.0.0.9")
        equal(status(GUESTS[0], "@10.0.0.2", "i-0.ec2.internal"), "NXDOMAIN")
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(folder + "/data/vpc.sock")
            s.sendall(b"\xff\xff\xff\xff")
            true(s.makefile().readline().startswith("error a configuration of 4294967295 bytes"), "length")
        equal(os.stat(folder + "/data/vpc.sock").st_mode & 0o777, 0o600)
        equal(tell(config()), "ok 1\n")

    @case
    def large_configuration():
        large = config()
        for i in range(400):
            large["plan"]["interfaces"].append({"id": "eni-%017d" % i, "tap": "eni%012d" % i, "mac": "02:00:01:00:00:00",
                                                "instance": "i-x%d" % i, "addresses": ["10.1.%d.%d" % (i // 250, i % 250)]})
            large["instances"]["i-x%d" % i] = dict(instance(1), user_data=base64.b64encode(bytes(16000)).decode())
        large["plan"]["names"] += [{"name": "ip-10-1-%d-%d.ec2.internal" % (i // 250, i % 250), "reverse": True,
                                    "address": "10.1.%d.%d" % (i // 250, i % 250)} for i in range(4000)]
        equal(tell(large), "ok 1\n")
        equal(short(GUESTS[0], "@10.0.0.2", "ip-10-1-15-249.ec2.internal"), "10.1.15.249")
        equal(curl(GUESTS[0], BASE + "/meta-data/instance-id"), b"i-0")
        equal(tell(config()), "ok 1\n")

    @case
    def dns_off():
        equal(tell(config(plan={"dns": False})), "ok 1\n")
        query = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"\3i-0\3ec2\x08internal\0\0\1\0\1"
        with udp(GUESTS[0], (V4[0], 0)) as s:
            s.sendto(query, ("10.0.0.2", 53))
            # Told in order: what comes behind is answered.
            curl(GUESTS[0], BASE + "/")
            equal(tell(config()), "ok 1\n")
            s.sendto(b"\0\x08" + query[2:], ("10.0.0.2", 53))
            equal(s.recv(2000)[:2], b"\0\x08")

    @case
    def flow_logs():
        # As the datapath has them: the first packet of what is accepted, each of what is refused.
        inside(VPC, "sysctl", "-q", "-w", "net.netfilter.nf_conntrack_acct=1")
        inside(VPC, "nft", "-f", "-", input="""
            table inet logs {
                chain forward {
                    type filter hook forward priority filter
                    udp dport 9 log prefix "R %s" group 1 snaplen 128 drop
                    ct state new log prefix "A %s" group 1 snaplen 128
                }
            }""" % (interface(0)["id"], interface(0)["id"]))
        server, client = socket_listening(GUESTS[1]), None
        with within(GUESTS[0]):
            client = socket.create_connection((V4[1], 8000), timeout=20, source_address=(V4[0], 4000))
        server.settimeout(20)
        other, _ = server.accept()
        client.sendall(b"x" * 5000)
        other.settimeout(20)
        equal(len(other.recv(5000, socket.MSG_WAITALL)), 5000)
        with udp(GUESTS[0], (V4[0], 5000)) as s:
            for _ in range(3):
                s.sendto(b"12345678", (V4[1], 9))
        # A reset ends the connection for conntrack within seconds, not minutes.
        inside(VPC, "sysctl", "-q", "-w", "net.netfilter.nf_conntrack_tcp_timeout_close=1")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        other.close()
        server.close()

        def total(*key):
            lines = [l.split() for l in open(folder + "/data/flow.log")]
            mine = [l for l in lines if tuple(l[3:8]) + (l[12],) == key]
            for l in mine:
                equal((len(l), l[:3], l[13]), (14, ["2", "123456789012", interface(0)["id"]], "OK"))
                true(0 <= int(l[11]) - int(l[10]) < 60, l)
            return sum(int(l[8]) for l in mine), sum(int(l[9]) for l in mine)
        for _ in range(600):
            sent, back = total(V4[0], V4[1], "4000", "8000", "6", "ACCEPT"), total(V4[1], V4[0], "8000", "4000", "6", "ACCEPT")
            refused = total(V4[0], V4[1], "5000", "9", "17", "REJECT")
            if sent[0] > 1 and back[0] and refused[0] == 3:
                break
            time.sleep(0.1)
        true(sent[1] >= 5000 + 40 * sent[0] and back[1] >= 40 * back[0], "accepted: %s, %s" % (sent, back))
        equal(refused, (3, 3 * 36))
        true(" - - - - - - - " in open(folder + "/data/flow.log").read(), "no line says NODATA")
        inside(VPC, "nft", "delete", "table", "inet", "logs")

    @case
    def new_device():
        # The guest's device goes and comes back: another number, the same interface.
        run("ip", "-n", VPC, "link", "del", TAPS[1])
        make_tap(1)
        run("ip", "-n", GUESTS[1], "addr", "add", V4[1] + "/20", "dev", "eth0")
        run("ip", "-n", GUESTS[1], "route", "add", "default", "via", "10.0.0.1")
        equal(curl(GUESTS[1], "--retry", "20", "--retry-delay", "1", "--retry-connrefused", "--retry-all-errors",
                   BASE + "/meta-data/instance-id"), b"i-1")

    @case
    def only_one():
        done = subprocess.run([INSULA, "vpc", folder + "/data"], capture_output=True, text=True)
        equal((done.returncode, "lock" in done.stderr), (1, True), done.stderr)

    @case
    def jail():
        # `ip netns exec` becomes it; its resolver is its child.
        children = run("pgrep", "-P", str(process.pid)).split()
        equal(len(children), 1)
        users = set()
        for pid in [str(process.pid)] + children:
            fields = dict(l.split(":\t", 1) for l in open("/proc/%s/status" % pid).read().splitlines() if ":\t" in l)
            users.update(fields["Uid"].split())
            equal((fields["CapEff"], fields["CapPrm"], fields["CapBnd"], fields["NoNewPrivs"], fields["Seccomp"]),
                  ("0" * 16, "0" * 16, "0" * 16, "1", "2"))
            equal(os.listdir("/proc/%s/root" % pid), [])
        equal((len(users), "0" in users), (1, False))

    @case
    def killed():
        process.send_signal(signal.SIGKILL)
        process.wait()
        again = start()
        equal(curl(GUESTS[0], BASE + "/meta-data/instance-id"), b"i-0")
        again.terminate()
        equal(again.wait(), -signal.SIGTERM)
        for _ in range(400):
            if not run("pgrep", "-f", "insula vpc.*" + folder, check=False):
                return
            time.sleep(0.05)
        raise AssertionError("a process is left")


folder = tempfile.mkdtemp(prefix="insula-services-")
try:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.mkdir(folder + "/data", 0o700)
    with open(folder + "/data/config.json", "w") as f:
        json.dump(config(), f)
    with open(folder + "/resolv.conf", "w") as f:
        f.write("# ours\nnameserver 127.0.0.1\nsearch example.com\n")
    make_world()
    resolver = Resolver()
    resolver.start()
    cases(start())
    with open(folder + "/log") as log:
        for line in log:
            print("#   " + line.rstrip())
finally:
    end_world()
sys.exit(1 if failed else 0)
