"""The micro image's boot to /init and power-off."""
import os, statistics, subprocess, sys, tempfile, time
import machine

CMDLINE = "console=ttyS0 quiet panic=-1 insula.run=poweroff"
INITRD = machine.IMAGE + "/initrd.img"
MEMORY = 256


def once(argv):
    """One run: (CPU seconds, wall seconds, peak of own memory in MiB). The guest must have reached /init."""
    with tempfile.TemporaryFile() as out:
        start = time.monotonic()
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        peak, pid = 0, 0
        while not pid:
            time.sleep(0.05)
            peak = max(peak, machine.own_memory(child.pid, MEMORY))
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        wall = time.monotonic() - start
        out.seek(0)
        text = out.read().decode(errors="replace")
    if status != 0 or "INSULA-INIT-REACHED" not in text:
        sys.exit(f"{argv[0]}: status {status}, guest did not reach /init:\n" + text[-2000:])
    return usage.ru_utime + usage.ru_stime, wall, peak


def run(options):
    machine.prepare()
    commands = {"interpreter": machine.insula(options.insula, "interpret", INITRD, CMDLINE, MEMORY),
                "translator": machine.insula(options.insula, "translate", INITRD, CMDLINE, MEMORY)}
    if not options.no_qemu:
        commands["qemu-tcg"] = machine.qemu(INITRD, CMDLINE, MEMORY)
    samples = {name: [] for name in commands}
    for _ in range(options.runs):
        for name, argv in commands.items():
            samples[name].append(once(argv))
    print(f"boot to /init and power-off, {options.runs} runs in turn, medians (min-max)")
    medians = {}
    for name, rows in samples.items():
        columns = list(zip(*rows))
        medians[name] = [statistics.median(column) for column in columns]
        cells = [f"{statistics.median(c):8.2f} ({min(c):.2f}-{max(c):.2f})" for c in columns]
        print(f"  {name:12} cpu s {cells[0]}  wall s {cells[1]}  peak MiB {cells[2]}")
    for name in ("interpreter", "translator") if "qemu-tcg" in medians else ():
        ratio = [ours / theirs for ours, theirs in zip(medians[name], medians["qemu-tcg"])]
        print(f"  ratio {name}/qemu: cpu {ratio[0]:.2f}  wall {ratio[1]:.2f}  memory {ratio[2]:.2f}")
