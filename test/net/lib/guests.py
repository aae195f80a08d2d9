"""Fake guests and a fake host for tests of the datapath: network namespaces, and sockets in them.

A guest is a namespace whose only interface is the other end of a veth that has the name of its tap in the VPC's
namespace: the datapath takes what is there. Everything is made by one process, whose threads stay where they are but
for the moment in which a socket is opened.
"""
import contextlib
import ctypes
import json
import os
import select
import socket
import struct
import subprocess
import time

PATIENCE = 20  # seconds for what must happen: never reached on a healthy host
WAIT = 0.2  # for what must not happen

libc = ctypes.CDLL(None, use_errno=True)
HOME = os.open("/proc/self/ns/net", os.O_RDONLY)


def run(*command, text=None, check=True):
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


class Namespace:
    """A named network namespace; one that somebody else makes if own is False."""

    def __init__(self, name, own=True):
        self.name = name
        self.own = own
        if own:
            run("ip", "netns", "add", name)
            self.ip("link set lo up")

    @property
    def path(self):
        return "/run/netns/" + self.name

    @contextlib.contextmanager
    def inside(self):
        fd = os.open(self.path, os.O_RDONLY)
        try:
            if libc.setns(fd, 0x40000000):
                raise OSError(ctypes.get_errno(), self.name)
            yield
        finally:
            os.close(fd)
            libc.setns(HOME, 0x40000000)

    def socket(self, *how):
        with self.inside():
            return socket.socket(*how)

    def ip(self, *lines):
        run("ip", "-n", self.name, "-batch", "-", text="\n".join(lines) + "\n")

    def run(self, *command, text=None, check=True):
        return run("nsenter", "--net=" + self.path, *command, text=text, check=check)

    def set(self, path, value):
        with self.inside(), open("/proc/sys/net/" + path, "w") as f:
            f.write(value)

    def get(self, path):
        with self.inside(), open("/proc/sys/net/" + path) as f:
            return f.read().strip()

    def remove(self):
        run("ip", "netns", "del", self.name, check=False)


class Peer(Namespace):
    """Something that listens, and asks: a guest, the host, the world."""

    def __init__(self, name):
        super().__init__(name)
        self.tcp = {}
        self.udp = {}

    def listen(self, tcp=(), udp=()):
        for port in tcp:
            s = self.socket(socket.AF_INET6, socket.SOCK_STREAM)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("::", port))
            s.listen(64)
            self.tcp[port] = s
        for port in udp:
            s = self.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            s.bind(("::", port))
            self.udp[port] = s

    def close(self):
        for s in [*self.tcp.values(), *self.udp.values()]:
            s.close()
        self.tcp, self.udp = {}, {}

    def arrives(self, sender, destination, patience, token=None):
        """Sends a datagram from a socket; the sender as it is seen here, or None. Older datagrams do not count."""
        token = token or os.urandom(16)
        receiver = self.udp[destination[1]]
        try:
            sender.sendto(token, destination)
        except OSError:
            return None
        end = time.monotonic() + patience
        while select.select([receiver], [], [], max(0, end - time.monotonic()))[0]:
            data, who = receiver.recvfrom(65536)
            if data == token:
                return who
        return None

    # Each of these is a question with an answer; `patience` is how long it may take.

    def connect(self, address, port, patience=PATIENCE, source=None):
        """A TCP connection, or None."""
        s = self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        s.setblocking(False)
        if source:
            s.bind((source, 0))
        try:
            s.connect((address, port))
        except BlockingIOError:
            pass
        except OSError:
            s.close()
            return None
        if select.select([], [s], [], patience)[1] and not s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            s.setblocking(True)
            return s
        s.close()
        return None

    def send(self, address, port, to, patience=PATIENCE, size=0, options=None):
        """A datagram: its sender as `to` sees it, or None."""
        token = os.urandom(16) + bytes(size)
        with self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as s:
            if options:
                s.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, options)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sender = to.arrives(s, (address, port), patience, token)
            return sender and sender[0].replace("::ffff:", "")

    def ask(self, address, port, to, patience=PATIENCE):
        """A datagram and its answer."""
        with self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as s:
            token = os.urandom(16)
            sender = to.arrives(s, (address, port), patience, token)
            if not sender:
                return False
            to.udp[port].sendto(token, sender)
            return bool(select.select([s], [], [], patience)[0]) and s.recv(100) == token

    def ping(self, address, patience=PATIENCE, kind=None, size=0, whole=False):
        """An ICMP question of a kind that has an answer."""
        v6 = ":" in address
        kind = kind or (128 if v6 else 8)
        protocol = socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP
        with self.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_RAW, protocol) as s:
            ident = int.from_bytes(os.urandom(2), "big")
            body = struct.pack("!HH", ident, 1) + bytes(12 + size)
            packet = struct.pack("!BBH", kind, 0, 0) + body
            if not v6:
                packet = struct.pack("!BBH", kind, 0, checksum(packet)) + body
            if whole:
                s.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER: do
            try:
                s.sendto(packet, (address, 0))
            except OSError:
                return False
            answer = {8: 0, 13: 14, 128: 129}[kind]
            end = time.monotonic() + patience
            while True:
                left = end - time.monotonic()
                if left < 0 or not select.select([s], [], [], left)[0]:
                    return False
                data = s.recv(65536)
                data = data if v6 else data[(data[0] & 15) * 4:]
                if data[0] == answer and data[4:6] == struct.pack("!H", ident):
                    return True


class Guest(Peer):
    def __init__(self, name, vpc, tap, mac, addresses, router, prefix=24):
        super().__init__(name)
        self.mac = mac
        self.set("ipv6/conf/default/accept_dad", "0")
        run("ip", "link", "add", "name", "eth0", "netns", name, "address", mac, "mtu", "9001",
            "type", "veth", "peer", "name", tap, "netns", vpc)
        lines = ["link set eth0 up"]
        for a in addresses:
            lines.append(f"addr add {a}/{128 if ':' in a else prefix} dev eth0" + (" nodad" if ":" in a else ""))
        if router:
            lines.append(f"route add default via {router} dev eth0")
        lines.append("route add ::/0 via fe80::400:ff:fe00:1 dev eth0")
        self.ip(*lines)
        self.listen([22, 80, 443, 5005, 5011], [53, 80, 5005, 5011])

    def frame(self, destination, source, kind, payload):
        """Sends an Ethernet frame as it is."""
        with self.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
            s.bind(("eth0", 0))
            s.send(mac_bytes(destination) + mac_bytes(source) + struct.pack("!H", kind) + payload)

    def arp(self, sender_mac, sender, target, patience, frame_mac=None):
        """The MAC that answers for target, or None."""
        with self.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x806)) as s:
            s.bind(("eth0", 0x806))
            s.send(b"\xff" * 6 + mac_bytes(frame_mac or sender_mac) + struct.pack("!HHHBBH", 0x806, 1, 0x800, 6, 4, 1)
                   + mac_bytes(sender_mac) + socket.inet_aton(sender) + bytes(6) + socket.inet_aton(target))
            end = time.monotonic() + patience
            while True:
                left = end - time.monotonic()
                if left < 0 or not select.select([s], [], [], left)[0]:
                    return None
                data = s.recv(100)
                if data[20:22] == b"\0\2" and data[28:32] == socket.inet_aton(target):
                    return ":".join(f"{b:02x}" for b in data[22:28])


def mac_bytes(text):
    return bytes.fromhex(text.replace(":", ""))


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def datagram4(source, destination, port, token):
    udp = struct.pack("!HHHH", 4000, port, 8 + len(token), 0) + token
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, socket.inet_aton(source),
                       socket.inet_aton(destination))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + udp


def datagram6(source, destination, port, token):
    addresses = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, destination)
    length = 8 + len(token)
    udp = struct.pack("!HHHH", 4000, port, length, 0) + token
    total = checksum(addresses + struct.pack("!II", length, 17) + udp)
    udp = udp[:6] + struct.pack("!H", total) + udp[8:]
    return struct.pack("!IHBB", 6 << 28, length, 17, 64) + addresses + udp


class Log:
    """Flow logs: what the rules say to nfnetlink_log, group 1."""

    def __init__(self, namespace):
        self.socket = namespace.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)  # NETLINK_NETFILTER
        self.socket.bind((0, 0))
        command = struct.pack("=HHB3x", 5, 1, 1)  # NFULA_CFG_CMD: bind
        mode = struct.pack("=HH", 10, 2) + struct.pack("!IBxxx", 64, 2)  # NFULA_CFG_MODE: 64 bytes of the packet
        soon = struct.pack("=HH", 8, 4) + struct.pack("!I", 1)  # NFULA_CFG_TIMEOUT: 10 ms
        body = struct.pack("!BBH", socket.AF_UNSPEC, 0, 1) + command + mode + soon
        self.socket.send(struct.pack("=IHHII", 16 + len(body), 4 << 8 | 1, 5, 1, 0) + body)
        if struct.unpack_from("=i", self.socket.recv(4096), 16)[0]:
            raise OSError("nfnetlink_log")

    def prefixes(self, wanted, patience=PATIENCE):
        """All that has come until all of wanted has."""
        found = []
        end = time.monotonic() + patience
        while not set(wanted) <= set(found) and select.select([self.socket], [], [], max(0, end - time.monotonic()))[0]:
            data = self.socket.recv(65536)
            while len(data) >= 16:
                length = struct.unpack_from("=I", data)[0]
                at = 20
                while at + 4 <= length:
                    size, kind = struct.unpack_from("=HH", data, at)
                    if size < 4:
                        break
                    if kind & 0x7fff == 10:  # NFULA_PREFIX
                        found.append(data[at + 4:at + size].rstrip(b"\0").decode())
                    at += (size + 3) & ~3
                data = data[(length + 3) & ~3:]
        return found


class Datapath:
    """test/net/datapath.c, running on a host."""

    def __init__(self, program, host):
        self.command = ["nsenter", "--net=" + host.path, program]
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def begin(self, line):
        if not self.process:
            self.start()
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ask(self, line):
        self.begin(line)
        answer = self.process.stdout.readline().strip()
        if not answer.startswith("ok"):
            raise RuntimeError(f"{line[:60]}…: {answer}")
        return answer.split(" ")[1:]

    def apply(self, plan, owner="test"):
        """Is the namespace new? Do peers need it, too? Microseconds, and those of CPU time."""
        made, peers, us, cpu = self.ask(f"apply {owner} {json.dumps(plan)}")
        return made == "1", peers == "1", int(us), int(cpu)

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None
