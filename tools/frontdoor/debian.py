# SPDX-License-Identifier: GPL-2.0
"""Makes disks of Debian guests: Debian's own kernel with the C driver, GRUB, systemd."""

import contextlib
import dataclasses
import os
import shutil
import struct
import tempfile

from . import buildroot, cache, host, machine
from .stage import Failure, stage

SCRIPTS = os.path.join(cache.REPO, "tools/guest/debian")
FILES = {"agent": "usr/local/sbin/agent", "agent.service": "etc/systemd/system/agent.service"}
# Where the only partition begins. The boot loader is in front of it.
START = 1 << 20
SECTOR = 512


@dataclasses.dataclass
class Image:
    """The recipe of a disk."""

    name: str
    about: str
    packages: list
    # Scripts that prepare it, in this order, and files that these need.
    setup: list
    mebibytes: int
    # It has a boot loader. Without one it is for direct boots.
    grub: bool = True


BASE = Image("debian", "Debian trixie with its own kernel and GRUB (4 minutes)", """
    systemd systemd-sysv udev dbus kmod procps pciutils iproute2 initramfs-tools zstd
    linux-image-amd64 grub-pc login e2fsprogs
""".split(), ["setup.sh"], 2600)
# llvmpipe draws what is OpenGL. Of dracut it has the part that can be beside initramfs-tools.
DESKTOP = Image("debian-desktop", "Debian trixie with desktops (9 minutes)", BASE.packages + """
    plymouth plymouth-themes libpam-systemd fonts-dejavu-core libgl1-mesa-dri
    sway swaybg foot weston xserver-xorg-core xserver-xorg-input-libinput x11-xserver-utils
    xinit openbox xterm lightdm lightdm-gtk-greeter mutter
    cryptsetup-bin systemd-cryptsetup dracut-core
""".split(), ["setup.sh", "terminal.sh", "desktop.sh", "weston.ini"], 3300, grub=False)
VIRGL = Image("debian-virgl", "Debian trixie with Weston and GNOME (3 minutes)", BASE.packages + """
    libpam-systemd fonts-dejavu-core libgl1-mesa-dri weston mesa-utils gnome-shell
""".split(), ["setup.sh", "terminal.sh", "gnome.sh", "weston.ini"], 4000, grub=False)


class Disk:
    """The files of a disk: its image, and Debian's kernel and initramfs beside it."""

    def __init__(self, entry):
        self.image = os.path.join(entry, "disk")
        self.kernel = os.path.join(entry, "vmlinuz")
        self.initramfs = os.path.join(entry, "initrd.img")

    def boot(self):
        """What a direct boot needs."""
        return self.kernel, self.initramfs


@contextlib.contextmanager
def scratch():
    """A directory in the cache for as long as a test needs it."""
    directory = tempfile.mkdtemp(prefix="debian-scratch-", dir=cache.root())
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def get(root, image=BASE):
    """Returns a disk; makes it first if it is missing."""
    scripts = [cache.read(os.path.join(SCRIPTS, name)) for name in (*FILES, *image.setup)]
    content = cache.key(*image.packages, str(image.mebibytes), *scripts, "1")
    entry = cache.path(f"{image.name}-{content}")
    log = cache.log(image.name)
    with cache.lock(image.name):
        if os.path.isdir(entry):
            return Disk(entry)
        host.install_packages()
        with stage("debian image", image.about, log), cache.aside(entry) as new:
            make(root, image, Disk(new), os.path.join(new, "files"), log)
    return Disk(entry)


def make(root, image, disk, directory, log):
    """Makes the files of a disk, in the directory of a new cache entry."""
    os.makedirs(os.path.dirname(directory))
    buildroot.mmdebstrap(directory, "minbase", image.packages, host.mirror(), log, ["trixie"])
    for name, target in FILES.items():
        shutil.copy(os.path.join(SCRIPTS, name), os.path.join(directory, target))
    for name in image.setup:
        shutil.copy(os.path.join(SCRIPTS, name), directory)
    for name in image.setup:
        if name.endswith(".sh"):
            root.run(["chroot", directory, "sh", f"/{name}"], log)
    for name in image.setup:
        os.unlink(os.path.join(directory, name))
    for link, target in (("vmlinuz", disk.kernel), ("initrd.img", disk.initramfs)):
        shutil.copy(newest(os.path.join(directory, "boot"), f"{link}-"), target)
    write_disk(root, directory, disk.image, image.mebibytes, log)
    cache.remove(directory)
    if image.grub:
        install_grub(root, disk, log)


def newest(directory, prefix):
    """The file whose name begins so; there has to be just one."""
    found = [name for name in os.listdir(directory) if name.startswith(prefix)]
    if len(found) != 1:
        raise Failure(f"{len(found)} files {prefix}* in the image's /boot, not one")
    return os.path.join(directory, found[0])


def write_disk(root, directory, image, mebibytes, log):
    """Writes an ext4 file system into the only partition of a disk, without mounting it."""
    size = mebibytes << 20
    # Bootable, Linux; addresses by cylinder that say "beyond".
    entry = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff",
                        START // SECTOR, size // SECTOR)
    with open(image, "wb") as file:
        file.truncate(START + size)
        file.seek(446)
        file.write(entry.ljust(64, b"\0") + b"\x55\xaa")
    root.run(["mke2fs", "-q", "-t", "ext4", "-L", "debian", "-d", directory, "-E",
              f"offset={START}", image, f"{mebibytes}M"], log, "more disk space")


def install_grub(root, disk, log):
    """Boots the disk without a boot loader once, and lets it install its own."""
    changes = f"{disk.image}.changes"
    machine.overlay(root, disk.image, changes, log)
    with machine.Machine(root, "debian-install", changes, boot=disk.boot()) as guest:
        guest.ready()
        guest.ask("grub-install /dev/vda && update-grub")
        guest.off()
    root.run(["qemu-img", "commit", "-q", changes], log)
    os.unlink(changes)
