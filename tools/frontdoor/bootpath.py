# SPDX-License-Identifier: GPL-2.0
"""Installs a kernel package in a running Debian guest, updates it and removes it again.

What is typed in the guest comes out of README.md: its commands are tested as they stand there.
"""

import glob
import os
import re
import shutil
import time

from . import cache, debian, machine, splat, vm
from .stage import Failure, say

README = os.path.join(cache.REPO, "README.md")
HEADING = "Use it in your guest"
# The commands by which README's blocks are found.
INSTALL = r"\bdpkg -i\b"
DRIVER = r"/sys/class/drm/"
C_FOR_GOOD = r"virtio_gpu_driver=c"
BACK = r"^rm /etc/default/grub\.d/"
FIRST_FOR_GOOD = r"\bGRUB_TOP_LEVEL\b"
ONCE = r"\bgrub-reboot\b"
REMOVE = r"\bapt(-get)? purge\b"
STEPS = (INSTALL, DRIVER, C_FOR_GOOD, BACK, FIRST_FOR_GOOD, ONCE, REMOVE)
REBOOT = "reboot"
OURS = "rust_gpu"
C_DRIVER = "virtio_gpu"
# The driver that sysfs names for a GPU of each.
BUS_DRIVERS = {OURS: OURS, C_DRIVER: "virtio-pci"}
MEDIUM = "mount -o ro /dev/disk/by-id/virtio-medium /mnt"
# Each name of a module in the initramfs of the kernel that runs.
INITRAMFS = "lsinitramfs /boot/initrd.img-$(uname -r) | sed -n 's|.*/\\(.*\\)\\.ko.*|\\1|p'"
# All files, without those that programs write as they run.
FILES = """
find / -xdev \\( -path /var/log -o -path /var/cache -o -path /var/lib/dpkg -o -path /root \\
    -o -path /var/lib/systemd -o -path /var/lib/apt -o -path /tmp -o -path /var/tmp \\) \\
    -prune -o -print | sort
"""
# Makes a kernel of Debian's that has the highest version of all.
HIGHER = """
for kind in vmlinuz initrd.img; do
    cp /boot/$kind-{0} /boot/$kind-9.9.9-amd64
done
update-grub
"""
# Where the log of a kernel begins on the console.
BEGIN = re.compile(r"^.*\] Linux version .*$", re.M)
# Pixels of a few words, at least, and the seconds until they are there.
TEXT, PATIENCE = 500, 120
# The folders of the medium with packages: those of today, and those of a later commit.
FIRST, SECOND = "first", "second"


def section(text, heading):
    """The part of a document in Markdown under a heading."""
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,2}} |\Z)", text, re.M | re.S)
    if not found:
        raise Failure(f"README.md has no section '{heading}'")
    return found.group(2)


def blocks(text):
    """The indented blocks of a document, as commands."""
    found = re.findall(r"(?:^|\n\n)((?:    .*(?:\n|\Z)(?:\n(?=    ))?)+)", text)
    return ["\n".join(line[4:] for line in block.splitlines()).strip() for block in found]


def step(pattern):
    """The commands of README's first block with such a command, without a last `reboot`."""
    for block in blocks(section(cache.read(README), HEADING)):
        if re.search(pattern, block, re.M):
            return block.removesuffix(REBOOT).strip()
    raise Failure(f"README.md, '{HEADING}', has no block with '{pattern}'")


def missing():
    """Yields what README lacks, so that a change of it is seen at once and not in a guest."""
    for pattern in STEPS:
        try:
            step(pattern)
        except Failure as failure:
            yield failure.message


def has_driver(guest, driver):
    """Whether a driver has the guest's GPU, by README's command; and what that printed."""
    found = guest.ask(step(DRIVER))
    return os.path.basename(found) == BUS_DRIVERS[driver], found


def newer(root, folder, target, log):
    """Packs the same packages again, with the version that a later commit would give them."""
    for name in os.listdir(folder):
        if not name.endswith(".deb"):
            continue
        files = os.path.join(target, "files")
        root.run(["dpkg-deb", "--raw-extract", os.path.join(folder, name), files], log,
                 binds=[folder])
        control = os.path.join(files, "DEBIAN/control")
        cache.write(control, re.sub(r"^(Version: .*)$", r"\1.1", cache.read(control), flags=re.M))
        root.run(["dpkg-deb", "--build", "--root-owner-group", "-Zzstd", "-z1", files,
                  os.path.join(target, name)], log)
        shutil.rmtree(files)


def medium(root, folders, directory, log):
    """Makes an image with packages: the names of its folders, and what is copied into each."""
    content, image = os.path.join(directory, "medium.files"), os.path.join(directory, "medium")
    for name, folder in folders.items():
        os.makedirs(os.path.join(content, name))
        for deb in glob.glob(os.path.join(folder, "*.deb")):
            shutil.copy(deb, os.path.join(content, name))
    root.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", content, image,
              "1500M"], log, "more disk space")
    shutil.rmtree(content)
    return image


class Path:
    """The way of a kernel package through a guest; a method for each stage."""

    def __init__(self, tally, guest):
        self.tally = tally
        self.guest = guest
        self.stock = self.ours = self.files = None
        # The driver of each boot.
        self.boots = []

    def count(self, ok, name):
        """Counts a result and says it."""
        say(f"   {'ok' if ok else 'FAILED'}: {name}")
        self.tally.count(ok, f"guest: {name}")

    def boot(self, wanted, driver):
        """Waits for a boot: which kernel it has, which driver the GPU, and what is to see then."""
        release = self.guest.ready()
        if wanted:
            self.count(release == wanted, f"GRUB boots {release}")
        right, found = has_driver(self.guest, driver)
        self.count(right, f"the GPU's driver is {driver}: {found}")
        self.boots.append(driver)
        lit = self.console()
        self.count(lit >= TEXT, f"the console shows text: {lit} pixels are lit")
        failed = self.guest.ask("systemctl --failed --plain --no-legend")
        self.count(not failed, f"no unit has failed {failed}")
        lines = self.guest.ask("dmesg | grep -v 'Linux version' | grep -E '(rust|virtio)_gpu' "
                               "|| true")
        say("\n".join(f"      {line}" for line in lines.splitlines()))
        return release

    def console(self):
        """How many pixels of the console are lit when it shows text, or after some time."""
        end = time.monotonic() + PATIENCE
        while True:
            picture = self.guest.picture(f"console-{len(self.boots)}")
            lit = picture.width * picture.height - picture.pixels.count(bytes(3))
            if lit >= TEXT or time.monotonic() > end:
                return lit
            time.sleep(1)

    def logs(self, console):
        """Checks the kernel's log of each boot. Debian's C driver warns when it shuts down."""
        logs = BEGIN.split(console)[1:]
        self.count(len(logs) == len(self.boots), f"{len(logs)} boots")
        for number, (log, driver) in enumerate(zip(logs, self.boots)):
            found = list(splat.find(log)) if driver == OURS else []
            self.count(not found, f"a clean kernel log of boot {number + 1}, {driver} {found[:3]}")

    def reboot(self):
        """Reboots as a user does."""
        self.guest.send(REBOOT)

    def type(self, commands):
        """Runs commands of README; each has to succeed."""
        self.guest.ask(f"set -e\n{commands}", 2 * machine.SCRIPT)

    def initramfs(self, driver):
        """Checks that a driver is in the initramfs of the kernel that runs."""
        modules = [name.replace("-", "_") for name in self.guest.ask(INITRAMFS).split()]
        self.count(driver in modules, f"the initramfs has {driver}")

    def stock_kernel(self):
        """Debian's kernel by GRUB, and the C driver."""
        self.stock = self.boot(None, C_DRIVER)
        self.initramfs(C_DRIVER)
        self.files = self.guest.ask(FILES).splitlines()

    def install(self, folder):
        """Installs the packages of a folder. GRUB boots the kernel, and its driver has the GPU."""
        self.type(f"mountpoint -q /mnt || {MEDIUM}\ncd /mnt/{folder}\n{step(INSTALL)}")
        version = self.guest.ask("dpkg-query -W -f '${Version} ' 'linux-image-*-rust-gpu'")
        self.reboot()
        self.ours = self.boot(self.ours, OURS)
        self.count(self.ours != self.stock, f"{self.ours} is the kernel of package {version}")
        self.initramfs(OURS)
        return version

    def take_c(self):
        """The parameter that gives the GPU to the C driver of the same kernel."""
        self.type(step(C_FOR_GOOD))
        self.reboot()
        self.boot(self.ours, C_DRIVER)
        self.type(step(BACK))

    def choose(self):
        """Boots the kernel beside one with a higher version: once, and for good."""
        self.type(HIGHER.format(self.stock) + step(ONCE))
        self.reboot()
        self.boot(self.ours, OURS)
        self.reboot()
        self.boot(self.stock, C_DRIVER)
        self.type(step(FIRST_FOR_GOOD))
        self.reboot()
        self.boot(self.ours, OURS)
        self.type("rm /boot/*-9.9.9-amd64")

    def remove(self):
        """Removes the packages. Nothing is left, and Debian's kernel boots."""
        self.type(f"! mountpoint -q /mnt || umount /mnt\n{step(REMOVE)}")
        more = sorted(set(self.guest.ask(FILES).splitlines()) - set(self.files))
        self.count(not more, f"purge leaves nothing behind: {more[:10]}")
        left = self.guest.ask("dpkg-query -W -f '${Package} ' 'linux-*-rust-gpu' 2>/dev/null "
                              "|| true")
        self.count(not left.strip(), f"dpkg knows no package of it: {left}")
        self.reboot()
        self.boot(self.stock, C_DRIVER)


def steps(tally, root, disk, folder, log):
    """Runs all stages in one guest."""
    with debian.scratch() as directory:
        changes, second = os.path.join(directory, "changes"), os.path.join(directory, SECOND)
        machine.overlay(root, disk.image, changes, log)
        os.makedirs(second)
        newer(root, folder, second, log)
        packages = medium(root, {FIRST: folder, SECOND: second}, directory, log)
        with machine.Machine(root, "debian-grub", changes, packages) as guest:
            say(f"   console in {guest.console}")
            path = Path(tally, guest)
            path.stock_kernel()
            first = path.install(FIRST)
            # The other way to make an initramfs: only what this machine needs.
            guest.ask("sed -i 's/^MODULES=.*/MODULES=dep/' /etc/initramfs-tools/initramfs.conf")
            second = path.install(SECOND)
            path.count(first != second, f"the version rises from {first} to {second}")
            path.take_c()
            path.choose()
            path.remove()
            guest.off()
        path.logs(vm.clean(guest.console))
