# SPDX-License-Identifier: GPL-2.0
"""Keeps a disk on which the packages of `make deb` are installed, and more ways to boot it."""

import glob
import os

from . import bootpath, cache, debian, machine
from .stage import stage

PREFIX = "debian-installed-"
DISK = "disk"
KERNEL = "vmlinuz"
# The initramfs of the packages, and one without any driver of a GPU.
USUAL, BARE = "initrd.img", "bare.img"
# Makes the latter for a release of the kernel. With MODULES=list plymouth's hook leaves out the
# drivers of GPUs too.
MAKE_BARE = """
set -e
cp -r /etc/initramfs-tools /tmp/bare
sed -i /virtio_gpu/d /tmp/bare/modules
sed -i 's/^MODULES=.*/MODULES=list/' /tmp/bare/initramfs.conf
mkinitramfs -d /tmp/bare -o /boot/bare.img-{0} {0}
"""


class Installed:
    """The files of such a disk. It is not written to."""

    def __init__(self, root, entry, log):
        self.root = root
        self.entry = entry
        self.log = log

    def file(self, name):
        """One of the files."""
        return os.path.join(self.entry, name)

    def machine(self, name, directory, initramfs=USUAL, append="", more=(), kind=machine.Machine):
        """A guest, a machine of a kind, that boots the disk. What it writes is in a directory,
        under its name.

        The initramfs is one of the files, or the path of another one.
        """
        changes = os.path.join(directory, name)
        machine.overlay(self.root, self.file(DISK), changes, self.log, "qcow2")
        return kind(self.root, name, changes, boot=(self.file(KERNEL), self.file(initramfs)),
                    append=append, more=more)


def get(root, disk, folder, log):
    """Returns a disk with the packages of a folder; makes it first if it is missing."""
    debs = sorted(glob.glob(os.path.join(folder, "*.deb")))
    content = cache.key(disk.image, MAKE_BARE, *map(cache.file_hash, debs))
    entry = cache.path(f"{PREFIX}{content}")
    with cache.lock("debian-installed"):
        if not os.path.isdir(entry):
            # The packages of an older commit are of no use any more.
            for old in glob.glob(cache.path(f"{PREFIX}*")):
                cache.remove(old)
            with stage("debian packages", "installed in a guest (4 minutes)", log), \
                    cache.aside(entry) as new:
                os.makedirs(new)
                make(root, disk, folder, new, log)
    return Installed(root, entry, log)


def make(root, disk, folder, new, log):
    """Installs the packages in a copy of a disk, and takes out of it what a direct boot needs."""
    changes = os.path.join(new, DISK)
    machine.overlay(root, disk.image, changes, log)
    with debian.scratch() as directory:
        medium = bootpath.medium(root, {bootpath.FIRST: folder}, directory, log)
        with machine.Machine(root, "debian-install", changes, medium, boot=disk.boot()) as guest:
            guest.ready()
            guest.ask(f"{bootpath.MEDIUM} && dpkg -i /mnt/{bootpath.FIRST}/linux-image-*.deb",
                      2 * machine.SCRIPT)
            release = guest.ask("linux-version list | grep rust")
            guest.ask(MAKE_BARE.format(release))
            guest.off()
        take(root, changes, [f"{name}-{release}" for name in (KERNEL, USUAL, BARE)], new, log)
    for name in (KERNEL, USUAL, BARE):
        os.rename(os.path.join(new, f"{name}-{release}"), os.path.join(new, name))


def take(root, image, names, directory, log):
    """Takes files out of a disk's /boot, into a directory."""
    with debian.scratch() as aside:
        raw = os.path.join(aside, "raw")
        root.run(["qemu-img", "convert", "-O", "raw", image, raw], log)
        for name in names:
            # Without such a file debugfs makes none, and returns 0.
            root.run(["debugfs", "-R", f"dump /boot/{name} {os.path.join(directory, name)}",
                      f"{raw}?offset={debian.START}"], log)
