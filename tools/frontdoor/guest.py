# SPDX-License-Identifier: GPL-2.0
"""Makes the guests' root file systems: a minimal Debian trixie, and some with programs."""

import dataclasses
import os
import shutil

from . import buildroot, cache, host
from .kernel import make_image
from .stage import stage

SCRIPT = os.path.join(cache.REPO, "tools/guest/initramfs")


@dataclasses.dataclass
class Image:
    """The recipe of a root file system."""

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
# Programs that draw, and netpbm, which works with their pictures.
CLIENTS = Image("guest-clients", "a Debian trixie with Weston and Xorg (4 minutes)", ["trixie"],
                [*MINIMAL.packages, "udev", "libdrm-tests", "kmscube", "weston", "seatd",
                 "xserver-xorg-core", "xserver-xorg-input-libinput", "x11-apps",
                 "x11-xserver-utils", "xdotool", "netpbm"], 2000)

# Programs that draw with OpenGL, and IGT's tests of the driver.
GL = Image("guest-gl", "a Debian forky with programs for OpenGL (5 minutes)", ["forky"],
           [*IGT.packages, "kmscube", "glmark2-es2-drm", "mesa-utils", "weston", "seatd",
            "xwayland", "xserver-xorg-core", "x11-xserver-utils", "sway", "swaybg", "foot",
            "fonts-dejavu-core"], 2000)
# Piglit is larger than all else.
PIGLIT = Image("guest-piglit", "a Debian forky with piglit (5 minutes)", ["forky"],
               [*MINIMAL.packages, "udev", "libgl1-mesa-dri", "piglit"], 4500)


class Guest:
    """The files that a guest boots besides its kernel."""

    def __init__(self, entry):
        self.image = os.path.join(entry, "root.ext4")
        self.initramfs = os.path.join(entry, "initramfs.cpio")


def get(root, image=MINIMAL):
    """Returns a guest's root image and initramfs; makes them first if they are missing."""
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
    """Makes root image and initramfs, in the directory of a new cache entry."""
    os.makedirs(os.path.dirname(directory))
    buildroot.mmdebstrap(directory, "essential", image.packages, host.mirror(), log,
                         image.suites)
    for name in ("var/lib/apt", "var/cache", "usr/share/doc", "usr/share/locale"):
        shutil.rmtree(os.path.join(directory, name), ignore_errors=True)
    make_initramfs(root, guest.initramfs, os.path.join(directory, "usr/bin/busybox"), log)
    make_image(root, directory, guest.image, image.mebibytes, log)
    cache.remove(directory)


def make_initramfs(root, target, busybox, log):
    """Packs directories, busybox, and the script that finds the disks."""
    directory = target + ".files"
    for name in ("bin", "dev", "sys", "new"):
        os.makedirs(os.path.join(directory, name))
    shutil.copy(busybox, os.path.join(directory, "bin"))
    shutil.copy(SCRIPT, os.path.join(directory, "init"))
    root.run(["sh", "-c", f"find . | cpio --quiet -o -H newc -O {target}"], log, cwd=directory)
    cache.remove(directory)
