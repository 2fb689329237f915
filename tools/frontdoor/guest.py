# SPDX-License-Identifier: GPL-2.0
"""The guest's root file system: a minimal Debian trixie with the libc that the tests link to."""

import os
import shutil

from . import buildroot, cache, host
from .kernel import make_image
from .stage import stage

PACKAGES = ["mount", "kmod", "pciutils", "procps", "strace", "busybox-static"]
SIZE_MIB = 600
SCRIPT = os.path.join(cache.REPO, "tools/guest/initramfs")


class Guest:
    """What a guest boots besides its kernel."""

    def __init__(self, entry):
        self.image = os.path.join(entry, "root.ext4")
        self.initramfs = os.path.join(entry, "initramfs.cpio")


def get(root):
    """Returns the guest's root image and initramfs, and makes them first when needed."""
    content = cache.key(*PACKAGES, str(SIZE_MIB), cache.read(SCRIPT))
    entry = cache.path(f"guest-{content}")
    with cache.lock("guest"):
        if not os.path.isdir(entry):
            host.install_packages()
            log = cache.log("guest")
            with stage("guest image", "a minimal Debian trixie (1 minute)", log), \
                    cache.aside(entry) as new:
                make(root, Guest(new), os.path.join(new, "files"), log)
    return Guest(entry)


def make(root, guest, directory, log):
    """Makes both in the directory of a new cache entry."""
    os.makedirs(os.path.dirname(directory))
    buildroot.mmdebstrap(directory, "essential", PACKAGES, host.mirror(), log)
    for name in ("var/lib/apt", "var/cache", "usr/share/doc", "usr/share/locale"):
        shutil.rmtree(os.path.join(directory, name), ignore_errors=True)
    make_initramfs(guest.initramfs, os.path.join(directory, "usr/bin/busybox"))
    make_image(root, directory, guest.image, SIZE_MIB, log)
    cache.remove(directory)


def make_initramfs(target, busybox):
    """Writes a cpio archive: directories, busybox, and the script that finds the disks."""
    contents = {"bin/busybox": (0o100755, busybox), "init": (0o100755, SCRIPT)}
    with open(target, "wb") as archive:
        for name in ("bin", "dev", "sys", "new"):
            archive.write(cpio_entry(name, 0o40755, b""))
        for name, (mode, source) in contents.items():
            with open(source, "rb") as file:
                archive.write(cpio_entry(name, mode, file.read()))
        archive.write(cpio_entry("TRAILER!!!", 0, b""))


def cpio_entry(name, mode, data):
    """One entry in the "newc" format: a header of 13 hexadecimal numbers, name, data."""
    encoded = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
