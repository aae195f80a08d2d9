"""The work of bench/work on three machines: this host, QEMU's TCG, ours.

A machine is a process that runs bench-work and speaks its protocol. Rows are measured by the CPU time that the host
spent on the whole process (natively: on bench-work and its children), read while bench-work waits for a line. Counts are
found for each machine by doubling, so that a measurement takes about TARGET seconds; what is compared is one unit.
"""
import math, os, statistics, subprocess, sys, time
import boot, machine

WORK = machine.ROOT + "/build/bench"
CMDLINE = "console=ttyS0 quiet panic=-1 rdinit=/bench-work"
MEMORY = 1024
TARGET = 0.4
TOOLS = ("gzip", "zstd", "python3", "gcc")
# Ours / native; boot in CPU seconds, memory in MiB, smp as the speed-up of two vCPUs.
GOALS = {"crc": 2, "coremark": 2, "qsort": 2, "fib": 2, "indirect": 2.5, "nbody": 1.8, "matmul": 1.8,
         "matmul-sse2": 1.8, "matmul-avx2": 1.8, "sse-int": 1.1, "x87": 1.1, "aes-256-gcm": 1.3, "sha-256": 1.3,
         "rsa-2048": 1.8, "memcpy": 1.3, "sum64": 2, "chase-16k": 2.4, "chase-1m": 1.4, "getppid": 3, "read": 3,
         "fork": 5, "exec": 3, "fault": 4, "mmap": 5, "pipe": 6, "gzip": 1.8, "zstd": 2, "python3": 3, "gcc": 3.5,
         "boot": 0.6, "memory": 24, "smp": 1.9,
         "smp-cpu": 1.9}
WHOLE = ("boot", "memory", "smp", "smp-cpu")


class Machine:
    def __init__(self, name, argv):
        self.name, self.guest, self.dead = name, name != "native", None
        # Unbuffered: what is read here is all there is.
        self.child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
                                      stderr=subprocess.STDOUT, cwd=WORK + "/root")
        self.wait("@hello")

    def wait(self, word):
        """The line that begins with word; what a kernel says is passed over."""
        said = []
        while True:
            line = self.child.stdout.readline().decode(errors="replace").strip()
            said.append(line)
            # A line of the kernel's may be in front of it.
            at = line.find("@")
            if at >= 0 and line[at:].startswith(word):
                return line[at:].split()
            if "@error" in line:
                raise RuntimeError(f"{self.name}: {line}")
            if not line and self.child.poll() is not None:
                raise RuntimeError(f"{self.name}: ended with status {self.child.returncode}: " + " | ".join(said[-5:]))

    def say(self, text):
        self.child.stdin.write(text.encode() + b"\n")

    def clock(self):
        # The CPU-time clock of another process (clock_getcpuclockid(3)).
        return time.clock_gettime(~self.child.pid << 3 | 2)

    def waited(self):
        """Seconds that each thread was ready and had no CPU: what others do to a machine."""
        delays = {}
        for thread in os.listdir(f"/proc/{self.child.pid}/task"):
            with open(f"/proc/{self.child.pid}/task/{thread}/schedstat") as stat:
                delays[thread] = int(stat.read().split()[1]) / 1e9
        return delays

    def measure(self, row, count):
        """(CPU seconds, checksum, wall seconds less those that a guest's process waited for a CPU) of count units."""
        self.say(f"{row} {count}")
        self.wait("@ready")
        waited, start, wall = self.waited(), self.clock(), time.monotonic()
        self.say("go")
        self.wait("@stop")
        cpu, wall = self.clock() - start, time.monotonic() - wall
        if self.guest:
            wall -= max((delay - waited.get(thread, 0) for thread, delay in self.waited().items()), default=0)
        _, checksum, own, _ = self.wait("@done")
        return cpu if self.guest else int(own) / 1e6, checksum, wall

    def calibrate(self, row, target):
        count = 1
        while True:
            cpu = self.measure(row, count)[0]
            if cpu >= target / 8:
                return max(1, round(count * target / cpu))
            count *= 4 if cpu < target / 64 else 2

    def close(self):
        if self.child.poll() is None:
            try:
                self.say("quit")
                self.child.wait(timeout=20)
            except (OSError, subprocess.TimeoutExpired):
                self.child.kill()
                self.child.wait()


def guest_argv(name, options, initrd, cmdline, memory, cpus=1):
    if name == "tcg" and not options.against:
        return machine.qemu(initrd, cmdline, memory, cpus)
    binary = options.against if name == "tcg" else options.insula
    return machine.insula(binary, options.engine, initrd, cmdline, memory, cpus)


def argv_of(name, options, tools, cpus=1):
    if name == "native":
        return ["./bench-work"]
    return guest_argv(name, options, WORK + ("/initrd-tools.img" if tools else "/initrd.img"), CMDLINE, MEMORY, cpus)


def width():
    """Independent instructions a cycle that the host has to give now (bench/work/width.c)."""
    return float(subprocess.run([WORK + "/width"], check=True, text=True, stdout=subprocess.PIPE).stdout)


def measure_rows(options, names, rows, results, table):
    """Returns the host's width at the start of each row."""
    machines, widths = {}, []
    tools = any(row in TOOLS for row in rows)
    try:
        for name in names:
            machines[name] = Machine(name, argv_of(name, options, tools))
        for row in rows:
            samples, sums, counts = {name: [] for name in machines}, {}, {}
            widths.append(width())
            for _ in range(options.runs):
                for name in list(machines):
                    try:
                        if name not in counts:
                            counts[name] = machines[name].calibrate(row, TARGET)
                        cpu, sums[name], _ = machines[name].measure(row, counts[name])
                        samples[name].append(cpu / counts[name])
                    except (RuntimeError, OSError) as error:
                        print(f"{row}: {error}", file=sys.stderr)
                        machines[name].close()
                        machines[name] = Machine(name, argv_of(name, options, tools))
                        break
            results[row] = {name: statistics.median(s) for name, s in samples.items() if s}
            if len(set(sums.values())) > 1:
                print(f"{row}: WRONG, checksums differ: {sums}", file=sys.stderr)
                results[row]["wrong"] = True
            table.row(row, results[row])
    finally:
        for m in machines.values():
            m.close()
    return widths


def measure_boot(options, names, results):
    found = {}
    for name in names:
        if name == "native":
            continue
        argv = guest_argv(name, options, boot.INITRD, boot.CMDLINE, boot.MEMORY)
        found[name] = statistics.median(boot.once(argv)[0] for _ in range(options.runs))
    results["boot"] = found


def measure_memory(options, names, results):
    """After the boot of a guest of 256 MiB that then waits for a command."""
    found = {}
    for name in names:
        if name == "native":
            continue
        m = Machine(name, guest_argv(name, options, WORK + "/initrd.img", CMDLINE, 256))
        m.measure("fork", 50)
        time.sleep(1)
        found[name] = machine.own_memory(m.child.pid, 256)
        m.close()
    results["memory"] = found


def measure_smp(options, names, results):
    """Two processes' work on two vCPUs beside one process': how many times faster by the wall clock (less what threads
    waited for a CPU; the best of all runs, but other load on the host spoils this one), and by CPU time alone, which
    misses vCPUs that sleep for one another, but not what they cost each other else. Natively it is what the host has to
    give."""
    results["smp"], results["smp-cpu"] = {}, {}
    for name in names:
        m = Machine(name, argv_of(name, options, False, 2))
        m.measure("parallel-2", 4)
        count = m.calibrate("parallel-1", 3 * TARGET)
        one, two = zip(*((m.measure("parallel-1", count), m.measure("parallel-2", count))
                         for _ in range(options.runs + 1)))
        m.close()
        results["smp"][name] = 2 * min(s[2] for s in one) / min(s[2] for s in two)
        results["smp-cpu"][name] = 4 * statistics.median(s[0] for s in one) / statistics.median(s[0] for s in two)


def cell(value, form="{:.2f}"):
    return form.format(value) if value is not None else "-"


def unit(seconds):
    if seconds is None:
        return "-"
    for scale, name in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {name}"
    return f"{seconds / 1e-9:.3g} ns"


def columns(row, found):
    native, tcg, ours = (found.get(name) for name in ("native", "tcg", "insula"))

    def over(a, b):
        return a / b if a and b else None
    if row in WHOLE:
        form = {"boot": "{:.2f} s", "memory": "{:.0f} MiB", "smp": "{:.2f}×", "smp-cpu": "{:.2f}×"}[row]
        return [row, cell(native, form), cell(tcg, form), cell(ours, form), "-", "-",
                cell(over(ours, tcg) if "smp" in row else over(tcg, ours)), cell(GOALS[row], form)], \
            ours and (ours < GOALS[row] if "smp" in row else ours > GOALS[row])
    ratio = over(ours, native)
    return [row, unit(native), unit(tcg), unit(ours), cell(over(tcg, native)), cell(ratio), cell(over(tcg, ours)),
            "≤ " + str(GOALS[row])], (ratio and ratio > GOALS[row]) or "wrong" in found


HEADINGS = ["row", "native", "TCG", "ours", "TCG/native", "ours/native", "TCG/ours", "goal"]


class Table:
    def __init__(self):
        self.lines = []

    def line(self, cells, mark=""):
        self.lines.append("| " + " | ".join(cells) + " |")
        if not self.lines[1:]:
            self.lines.append("|---" * len(cells) + "|")
        print(f"{cells[0]:12}" + "".join(f"{c:>12}" for c in cells[1:]) + mark, flush=True)

    def row(self, row, found):
        cells, missed = columns(row, found)
        self.line(cells, "  WRONG" if "wrong" in found else "  missed" if missed else "")

    def update(self, path):
        with open(path) as f:
            text = f.read()
        begin, end = "<!-- bench/run soft -->\n", "<!-- end -->"
        before, rest = text.split(begin, 1)
        with open(path, "w") as f:
            f.write(before + begin + "\n".join(self.lines) + "\n" + end + rest.split(end, 1)[1])


def geometric(values):
    values = [v for v in values if v]
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def run(options):
    machine.prepare()
    subprocess.run([machine.ROOT + "/bench/work/build", WORK], check=True)
    names = ["native", "tcg", "insula"]
    if options.no_qemu and not options.against:
        names.remove("tcg")
    if options.no_native:
        names.remove("native")
    rows = options.rows.split(",") if options.rows else list(GOALS)
    for row in rows:
        if row not in GOALS:
            sys.exit(f"no row {row}: see --list")
    table, results = Table(), {}
    table.line([h.replace("TCG", "base") for h in HEADINGS] if options.against else HEADINGS)
    kernels, widths = [row for row in rows if row not in WHOLE], []
    if kernels:
        widths = measure_rows(options, names, kernels, results, table)
    for row, measure in (("boot", measure_boot), ("memory", measure_memory), ("smp", measure_smp)):
        if row in rows or f"{row}-cpu" in rows:
            measure(options, names, results)
            for name in (row, f"{row}-cpu"):
                if name in results:
                    table.row(name, results[name])

    def means(a, b):
        return geometric([results[r][a] / results[r][b] for r in kernels if a in results[r] and b in results[r]])
    table.line(["mean", "", "", "", cell(means("tcg", "native")), cell(means("insula", "native")),
                cell(means("tcg", "insula")), "≤ 2"])
    if widths:
        print(f"the host gave {min(widths):.1f} to {max(widths):.1f} instructions a cycle, {statistics.median(widths):.1f} "
              "at the median: what else its cores run is not ours to see")
    if options.update:
        table.update(options.update)
