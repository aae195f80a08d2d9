"""Networks: guest and host, and guest and guest, over taps; ours beside QEMU with the same taps and the same guest.

Two guests of a machine stand behind two taps with an MTU of 9001 in a network namespace that routes between them. What counts is
bytes for each second of CPU that the machines' processes take, and how long a byte's round trip takes.
"""
import ctypes, json, os, socket, statistics, subprocess, sys, time
import machine

WORK = machine.ROOT + "/build/bench-net"
MEMORY = 256
SECONDS = 3
TRIPS = 2000
# Ours over QEMU's: throughput per CPU second at least, latency at most.
GOALS = {"per CPU second": 3, "latency": 1}


def shell(address, command, timeout=60):
    """What the guest's shell at port 99 says to a command."""
    with socket.create_connection((address, 99), timeout=timeout) as s:
        s.sendall(command.encode() + b"; exit\n")
        said = b""
        while part := s.recv(65536):
            said += part
    return said.decode(errors="replace")


def connects(address, port):
    try:
        socket.create_connection((address, port), timeout=1).close()
        return True
    except OSError:
        return False


class Guest:
    def __init__(self, name, options, number):
        self.address, gateway = f"10.77.{number}.2", f"10.77.{number}.1"
        tap, mac = f"tap{number}", f"02:00:00:00:00:{number:02x}"
        cmdline = f"console=ttyS0 quiet panic=-1 insula.modules=virtio_net insula.run=bench-net insula.ip={self.address} " \
                  f"insula.gateway={gateway}"
        if name == "insula":
            argv = machine.insula(options.insula, options.engine, WORK + "/initrd.img", cmdline, MEMORY)
            argv += ["--net", f"tap={tap},mac={mac}"]
        else:
            argv = machine.qemu(WORK + "/initrd.img", cmdline, MEMORY)
            argv += ["-netdev", f"tap,id=n,ifname={tap},script=no,downscript=no,vhost=off",
                     "-device", f"virtio-net-pci,netdev=n,mac={mac},host_mtu=9001"]
        self.child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)

    def clock(self):
        return time.clock_gettime(~self.child.pid << 3 | 2)

    def wait(self):
        end = time.monotonic() + 120
        while not connects(self.address, 99):
            if self.child.poll() is not None or time.monotonic() > end:
                sys.exit(f"{self.address}: the guest does not answer")
            time.sleep(0.3)

    def close(self):
        self.child.kill()
        self.child.wait()


def transfer(client):
    """What client() says of a run of iperf3. A server that has just ended a test may not take the next one at once."""
    for _ in range(10):
        text = client()
        said = json.loads(text[text.index("{"):])
        if "error" not in said:
            return said
        time.sleep(0.5)
    sys.exit("iperf3: " + said["error"])


def throughput(guests, client):
    """Bytes for each CPU second, and each second, of what client() has iperf3 do."""
    used = []

    def watched():
        before = [g.clock() for g in guests]
        text = client()
        used.append(sum(g.clock() - b for g, b in zip(guests, before)))
        return text
    end = transfer(watched)["end"]["sum_received"]
    return end["bytes"] / used[-1], end["bytes"] / end["seconds"]


def on_host(*argv):
    return subprocess.run(argv, capture_output=True, text=True).stdout


def measure(one, two):
    iperf = f"iperf3 -J -t {SECONDS} -c "
    rows = {"host to guest": lambda: throughput([one], lambda: on_host(*iperf.split(), one.address)),
            "guest to host": lambda: throughput([one], lambda: on_host(*iperf.split(), one.address, "-R")),
            "guest to guest": lambda: throughput([one, two], lambda: shell(one.address, iperf + two.address))}
    found = {row: f() for row, f in rows.items()}
    found["ping-pong, host"] = tuple(map(float, on_host(WORK + "/ping-pong", "7777", one.address, str(TRIPS)).split()))
    said = shell(one.address, f"ping-pong 7777 {two.address} {TRIPS}")
    found["ping-pong, guest"] = tuple(map(float, said.split()))
    return found


def namespace():
    """From here on this process is in a network of its own, with two taps."""
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):  # CLONE_NEWNET
        sys.exit("net: no network namespace of its own: " + os.strerror(ctypes.get_errno()))
    for argv in ("ip link set lo up", "sysctl -qw net.ipv4.ip_forward=1",
                 *(c for n in (1, 2) for c in (f"ip tuntap add tap{n} mode tap vnet_hdr", f"ip link set tap{n} mtu 9001 up",
                                               f"ip address add 10.77.{n}.1/24 dev tap{n}"))):
        subprocess.run(argv.split(), check=True)


def run(options):
    machine.prepare("iperf3", "ip")
    subprocess.run([machine.ROOT + "/bench/net/build", machine.IMAGE, WORK], check=True)
    namespace()
    names = ["insula"] + ([] if options.no_qemu else ["tcg"])
    samples = {name: [] for name in names}
    for _ in range(options.runs):
        for name in names:
            guests = [Guest(name, options, 1), Guest(name, options, 2)]
            try:
                for g in guests:
                    g.wait()
                samples[name].append(measure(*guests))
            finally:
                for g in guests:
                    g.close()
    report(samples)


def report(samples):
    print(f"networks, MTU 9001, {len(samples['insula'])} runs in turn, medians")
    for row in samples["insula"][0]:
        found = {name: [statistics.median(column) for column in zip(*(s[row] for s in rows))] for name, rows in samples.items()}
        if row.startswith("ping-pong"):
            cells = [f"{name} p50 {p50:7.0f} µs p99 {p99:7.0f} µs" for name, (p50, p99) in found.items()]
        else:
            cells = [f"{name} {cpu / 1e6:6.0f} MB per CPU s {wall / 1e6:6.0f} MB/s" for name, (cpu, wall) in found.items()]
        if "tcg" in found:
            cells.append("ratios " + " ".join(f"{a / b:.2f}" for a, b in zip(found["insula"], found["tcg"])))
        print(f"  {row:16} " + "   ".join(cells))
