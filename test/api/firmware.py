#!/usr/bin/python3
"""Disks with a boot loader of their own: imported in any format without a kernel, run as instances, they boot; so does an image
that is registered of a snapshot of such a disk. The boot loader is a sector that reads another by the BIOS and says it."""
import os
import subprocess
import tempfile
import time

from region import Region, Results

LOADER = '''
.code16
_start: xor %ax, %ax
        mov %ax, %ds
        mov %ax, %ss
        mov $0x7c00, %sp
        mov $packet, %si
        mov $0x42, %ah
        int $0x13
        jc end
        mov $0x8000, %si
        mov $0x3f8, %dx
next:   lodsb
        test %al, %al
        jz end
        out %al, %dx
        jmp next
end:    hlt
        jmp end
packet: .byte 16, 0
        .word 1, 0x8000, 0
        .quad 2000
        .org 510
        .word 0xaa55
'''
SAID = 'read by the BIOS from sector 2000\n'
folder = tempfile.TemporaryDirectory()
os.chdir(folder.name)


def command(*words):
    subprocess.run(words, check=True, capture_output=True)


def make_disk():
    with open('loader.s', 'w') as source:
        source.write(LOADER)
    command('as', '--32', '-o', 'loader.o', 'loader.s')
    command('ld', '-m', 'elf_i386', '-Ttext', '0x7c00', '--oformat', 'binary', '-o', 'loader.bin', 'loader.o')
    with open('disk.raw', 'wb') as disk:
        disk.write(open('loader.bin', 'rb').read())
        disk.truncate(2 << 20)
        disk.seek(2000 * 512)
        disk.write(SAID.encode())


def says(read):
    """Does it come to the sector's text?"""
    end = time.monotonic() + 100
    while time.monotonic() < end:
        if SAID.strip() in read():
            return True
        time.sleep(0.5)
    return False


def console(ec2, instance):
    return lambda: ec2.get_console_output(InstanceId=instance).get('Output') or ''


def boots(ec2, image):
    instance = ec2.run_instances(ImageId=image, InstanceType='micro.64m', MinCount=1, MaxCount=1)['Instances'][0]['InstanceId']
    return instance, says(console(ec2, instance))


def of_snapshot(ec2, instance):
    """The way of tools that build images by themselves: RegisterImage of a snapshot."""
    volume = ec2.describe_instances(InstanceIds=[instance])['Reservations'][0]['Instances'][0]['BlockDeviceMappings'][0]['Ebs']
    ec2.stop_instances(InstanceIds=[instance], Force=True)
    ec2.get_waiter('instance_stopped').wait(InstanceIds=[instance], WaiterConfig={'Delay': 1, 'MaxAttempts': 100})
    snapshot = ec2.create_snapshot(VolumeId=volume['VolumeId'])['SnapshotId']
    ec2.get_waiter('snapshot_completed').wait(SnapshotIds=[snapshot], WaiterConfig={'Delay': 1, 'MaxAttempts': 100})
    image = ec2.register_image(Name='of-snapshot', RootDeviceName='/dev/xvda', Architecture='x86_64', VirtualizationType='hvm',
                               BlockDeviceMappings=[{'DeviceName': '/dev/xvda', 'Ebs': {'SnapshotId': snapshot}}])['ImageId']
    return boots(ec2, image)[1]


def virtio(program):
    with subprocess.Popen([program, 'vmm', '--firmware', '/usr/share/seabios/bios-256k.bin', '--accel', 'soft', '--memory', '64M',
                           '--disk', 'path=disk.raw,type=virtio'], stdin=subprocess.DEVNULL, stdout=open('virtio.log', 'wb')) as vmm:
        good = says(lambda: open('virtio.log', errors='replace').read())
        vmm.kill()
    return good


make_disk()
region, results = Region('--accel', 'soft', name='firmware'), Results()
ec2 = region.client()
image = region.insula('image', 'import', 'disk.raw').split()[-1]
instance, good = boots(ec2, image)
results.ok('firmware-raw', good, 'it does not say what its sector has')
results.ok('firmware-snapshot', of_snapshot(ec2, instance), 'an image of its snapshot does not boot')
command('qemu-img', 'convert', '-O', 'qcow2', 'disk.raw', 'disk.qcow2')
image = region.insula('image', 'import', 'disk.qcow2', '--name', 'other').split()[-1]
results.ok('firmware-qcow2', boots(ec2, image)[1], 'it does not say what its sector has')
results.ok('firmware-virtio', virtio(region.program), 'a virtio disk does not boot')
region.stop()
results.end()
