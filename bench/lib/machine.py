"""Command lines of ours and of QEMU, for the same guest; and what is read of a running one."""
import os, re, shutil, subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
IMAGE = os.path.join(ROOT, "build/images/micro")
KERNEL = IMAGE + "/vmlinuz"


def prepare(*programs):
    """Packages and the image. What is there is taken, so that a row can be measured in seconds."""
    if not os.path.exists("/usr/include/openssl/evp.h") or not all(map(shutil.which, ("qemu-system-x86_64", *programs))):
        subprocess.run([ROOT + "/tools/install-packages", "image", "bench"], check=True)
    if not os.path.exists(KERNEL):
        subprocess.run([ROOT + "/tools/install-packages", "image"], check=True)
        subprocess.run([ROOT + "/images/build", "micro"], check=True)


def insula(binary, engine, initrd, cmdline, memory, cpus=1):
    return [binary, "vmm", "--accel", "soft", "--soft-engine", engine, "--kernel", KERNEL, "--initrd", initrd,
            "--cmdline", cmdline, "--memory", f"{memory}M", "--cpus", str(cpus), "--no-reboot"]


def qemu(initrd, cmdline, memory, cpus=1):
    return ["qemu-system-x86_64", "-M", "q35", "-cpu", "max", "-accel", "tcg,thread=multi" if cpus > 1 else "tcg",
            "-m", str(memory), "-smp", str(cpus),
            "-object", f"memory-backend-memfd,id=ram,size={memory}M,share=on", "-machine", "memory-backend=ram",
            "-kernel", KERNEL, "-initrd", initrd, "-append", cmdline, "-display", "none", "-no-reboot",
            "-nic", "none", "-serial", "stdio", "-monitor", "none"]


def own_memory(pid, guest_mib):
    """Resident MiB of a process less the guest's memory, which is a shared mapping of that size. Memory mapped twice
    (translated code) counts once: such a mapping's share is what counts."""
    total, mapping, is_guest, shared = 0, 0, False, False
    try:
        with open(f"/proc/{pid}/smaps") as maps:
            for line in maps:
                head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)", line)
                if head:
                    mapping = int(head[2], 16) - int(head[1], 16)
                    shared = "memfd:" in head[4]
                    is_guest = shared and mapping > guest_mib << 19
                elif line.startswith("Pss:" if shared else "Rss:") and not is_guest:
                    total += int(line.split()[1])
    except OSError:
        return 0
    return total / 1024
