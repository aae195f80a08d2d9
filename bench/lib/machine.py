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
    """Resident MiB of a process less the guest's memory: a shared mapping of that size, and others of the same file.
    Memory mapped twice (translated code) counts once: such a mapping's share is what counts."""
    mappings = []  # (size, inode or 0 if private, KiB)
    try:
        with open(f"/proc/{pid}/smaps") as maps:
            for line in maps:
                head = re.match(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ (\d+) *(.*)", line)
                if head:
                    shared = "memfd:" in head[4]
                    mappings.append([int(head[2], 16) - int(head[1], 16), shared and int(head[3]), 0])
                elif line.startswith("Pss:" if shared else "Rss:"):
                    mappings[-1][2] += int(line.split()[1])
    except OSError:
        return 0
    guest = {inode for size, inode, _ in mappings if inode and size > guest_mib << 19}
    total = sum(size for _, inode, size in mappings if inode not in guest)
    return total / 1024
