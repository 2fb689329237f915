# SPDX-License-Identifier: GPL-2.0
"""Boots Debian guests in other ways: the splash on the firmware's screen first, with a disk that
needs a password, and with dracut's initramfs.
"""

import os
import re
import time

from . import debian, installed, machine
from .bootpath import TEXT
from .desktop import DRIVERS, PASSWORD, QUIET, Desktop, Splash, compare
from .stage import say

# SeaBIOS sets this mode for the kernel. The driver takes another one, from the EDID.
FIRMWARE, FIRMWARE_SIZE, SIZE = "vga=0x344", (1024, 768), (1280, 800)
SIMPLEDRM = "plymouth.use-simpledrm"
# The splash ends with the boot, which may be soon after the driver's first picture. It is held for
# so many seconds at most.
SHOWN = 120
HOLD = """
mkdir -p /run/systemd/system/plymouth-quit.service.d
cat >/run/systemd/system/plymouth-quit.service.d/hold.conf <<'END'
[Service]
ExecStartPre=/bin/sh -c "until [ -e /run/shown ]; do sleep 1; done"
TimeoutStartSec=600
END
systemctl daemon-reload
"""
# The modules in an initramfs that has no driver of a GPU, as one line.
GPU_MODULES = "lsinitramfs /boot/bare.img-$(uname -r) | grep -E 'drivers/gpu/|virtio_gpu' || true"
# A small volume on the second disk, which the next boot opens. It is also tested beside a host that
# has much else to do: the password is stretched by a cheap function.
SECRET = "/dev/disk/by-id/virtio-secret"
VOLUME = f"""
set -e
modprobe dm-crypt
echo -n {PASSWORD} | cryptsetup luksFormat --batch-mode --pbkdf pbkdf2 \\
    --pbkdf-force-iterations 1000 {SECRET} -
echo -n {PASSWORD} | cryptsetup open {SECRET} secret -
mke2fs -q -t ext4 /dev/mapper/secret
mount /dev/mapper/secret /mnt
echo opened >/mnt/word
umount /mnt
cryptsetup close secret
echo 'secret {SECRET} none luks' >/etc/crypttab
"""
# Systemd asks for the password, on the console.
ASKED = "ls /run/systemd/ask-password/ask.*"
OPENED = "mount -o ro /dev/mapper/secret /mnt && cat /mnt/word"
# An emulated CPU takes minutes to compress it well.
DRACUT = 'dracut --force --compress "zstd -q -1 -T0" /boot/dracut.img'
# Systemd says so where it leaves the initramfs, and DRM where a driver begins.
LEAVES = re.compile(r"systemd\[1\]: (Switching root|.*initrd-switch-root.*)")
BEGINS = re.compile(r"\[drm\] Initialized virtio_gpu ")


def simpledrm_run(tally, disk, directory, driver):
    """The splash begins on simpledrm, and the driver comes from the real root."""
    argument, wanted = DRIVERS[driver]
    with disk.machine(f"debian-simpledrm-{driver}", directory, installed.BARE,
                      f"{QUIET} {SIMPLEDRM} {FIRMWARE} {argument}") as guest:
        say(f"   pictures in {guest.directory}")
        desktop = Desktop(tally, guest, driver)
        splash = Splash(desktop, 0.2, SIZE)
        with splash:
            guest.begun()
            guest.ask(HOLD)
            end = time.monotonic() + SHOWN
            while SIZE not in splash.sizes and time.monotonic() < end:
                time.sleep(1)
            guest.ask("touch /run/shown")
            guest.settle()
        for size, what in ((FIRMWARE_SIZE, "simpledrm"), (SIZE, wanted)):
            desktop.count(size in splash.sizes, f"the splash was on {what}, {size[0]}x{size[1]}")
        desktop.driver_is(wanted)
        found = guest.ask(GPU_MODULES)
        desktop.count(not found, f"the initramfs has no driver of a GPU: {found}")
        desktop.rest("prompt")
        desktop.clean()
    return desktop


def simpledrm(tally, root, disk, folder, log):
    """plymouth from simpledrm to the driver, with C and with this one."""
    disk = installed.get(root, disk, folder, log)
    with debian.scratch() as directory:
        compare(tally, *(simpledrm_run(tally, disk, directory, driver)
                         for driver in ("c", "rust")))


def prompt(desktop):
    """The question for the password: it is on the screen, takes keys, and the boot goes on."""
    guest = desktop.guest
    guest.begun()
    desktop.until(ASKED, "a question for the password")
    asks = desktop.rest("question")
    lit = asks.width * asks.height - asks.pixels.count(bytes(3))
    desktop.count(lit >= TEXT, f"the question is on the screen: {lit} pixels are lit")
    desktop.count((asks.width, asks.height) == SIZE, "the question is in the driver's mode")
    waits = guest.run("systemctl is-active multi-user.target")[0]
    desktop.count(waits, "the boot waits for the password")
    desktop.type(PASSWORD[0])
    desktop.rest("typed", asks)
    desktop.type(f"{PASSWORD[1:]}\n")
    desktop.until("test -e /dev/mapper/secret", "the volume")
    guest.settle()
    word = guest.ask(OPENED)
    desktop.count(word == "opened", f"the volume has what was written: {word}")
    desktop.until("pgrep -t tty1 agetty", "a prompt on the console")
    desktop.rest("prompt", asks)


def password(tally, root, disk, folder, log):
    """A boot that asks for the password of a volume."""
    disk = installed.get(root, disk, folder, log)
    argument, wanted = DRIVERS["rust"]
    with debian.scratch() as directory:
        secret = os.path.join(directory, "secret")
        with open(secret, "wb") as file:
            file.truncate(64 << 20)
        with disk.machine("debian-password", directory, append=f"quiet {argument}",
                          more=machine.drive("secret", secret, "raw")) as guest:
            say(f"   pictures in {guest.directory}")
            desktop = Desktop(tally, guest, "rust")
            guest.ready()
            guest.ask(VOLUME)
            guest.send("systemctl reboot")
            prompt(desktop)
            desktop.driver_is(wanted)
            desktop.clean()


def begins_before(lines):
    """Whether a GPU's driver began before systemd left the initramfs, by the journal."""
    places = [next((number for number, line in enumerate(lines) if pattern.search(line)), None)
              for pattern in (BEGINS, LEAVES)]
    return None not in places and places[0] < places[1]


def made_by_dracut(desktop):
    """Lets dracut make an initramfs: both drivers are in there."""
    guest = desktop.guest
    guest.ask(DRACUT, 3 * machine.SCRIPT)
    listed = guest.ask("lsinitrd /boot/dracut.img | grep -oE '(rust|virtio)[-_]gpu.ko' | sort -u")
    desktop.count(listed.split() == ["rust-gpu.ko", "virtio-gpu.ko"],
                  f"dracut has taken {' '.join(listed.split())}")
    guest.off()


def dracut(tally, root, disk, folder, log):
    """A boot with dracut's initramfs, where this driver begins."""
    disk = installed.get(root, disk, folder, log)
    argument, wanted = DRIVERS["rust"]
    with debian.scratch() as directory:
        name = "debian-dracut-make"
        with disk.machine(name, directory, append=f"quiet {argument}") as guest:
            guest.ready()
            made_by_dracut(Desktop(tally, guest, "rust"))
        installed.take(root, os.path.join(directory, name), ["dracut.img"], directory, log)
        with disk.machine("debian-dracut", directory, os.path.join(directory, "dracut.img"),
                          f"quiet {argument}") as guest:
            say(f"   pictures in {guest.directory}")
            desktop = Desktop(tally, guest, "rust")
            guest.ready()
            desktop.driver_is(wanted)
            lines = guest.ask("journalctl -b -o short-monotonic --no-pager").splitlines()
            desktop.count(begins_before(lines), f"{wanted} begins in the initramfs")
            desktop.login()
            desktop.clean()
