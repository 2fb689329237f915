# SPDX-License-Identifier: GPL-2.0
"""The guests' root file systems: a minimal Debian trixie, one with IGT, one with clients."""

import dataclasses
import os
import shutil

from . import buildroot, cache, host
from .kernel import make_image
from .stage import stage

SCRIPT = os.path.join(cache.REPO, "tools/guest/initramfs")


@dataclasses.dataclass
class Image:
    """What a root file system is made of."""

    name: str
    about: str
    suites: list
    packages: list
    mebibytes: int


MINIMAL = Image("guest", "a minimal Debian trixie (1 minute)", ["trixie", "trixie-backports"],
                ["mount", "kmod", "pciutils", "procps", "strace", "busybox-static"], 600)
# trixie has no package of IGT's tests. They find the device through udev.
IGT = Image("guest-forky", "a Debian forky with IGT's tests (2 minutes)", ["forky"],
            [*MINIMAL.packages, "udev", "igt-gpu-tools", "igt-gpu-tools-tests", "libdrm-tests"],
            600)
# Programs that people use, and netpbm, which has to do with their pictures.
CLIENTS = Image("guest-clients", "a Debian trixie with Weston and Xorg (4 minutes)", ["trixie"],
                [*MINIMAL.packages, "udev", "libdrm-tests", "kmscube", "weston", "seatd",
                 "xserver-xorg-core", "xserver-xorg-input-libinput", "x11-apps",
                 "x11-xserver-utils", "xdotool", "netpbm"], 2000)


class Guest:
    """What a guest boots besides its kernel."""

    def __init__(self, entry):
        self.image = os.path.join(entry, "root.ext4")
        self.initramfs = os.path.join(entry, "initramfs.cpio")


def get(root, image=MINIMAL):
    """Returns a guest's root image and initramfs, and makes them first when needed."""
    content = cache.key(*image.packages, str(image.mebibytes), cache.read(SCRIPT))
    entry = cache.path(f"{image.name}-{content}")
    with cache.lock(image.name):
        if not os.path.isdir(entry):
            host.install_packages()
            log = cache.log(image.name)
            with stage("guest image", image.about, log), cache.aside(entry) as new:
                make(root, image, Guest(new), os.path.join(new, "files"), log)
    return Guest(entry)


def make(root, image, guest, directory, log):
    """Makes both in the directory of a new cache entry."""
    os.makedirs(os.path.dirname(directory))
    buildroot.mmdebstrap(directory, "essential", image.packages, host.mirror(), log,
                         image.suites)
    for name in ("var/lib/apt", "var/cache", "usr/share/doc", "usr/share/locale"):
        shutil.rmtree(os.path.join(directory, name), ignore_errors=True)
    make_initramfs(guest.initramfs, os.path.join(directory, "usr/bin/busybox"))
    make_image(root, directory, guest.image, image.mebibytes, log)
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
