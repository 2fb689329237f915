# SPDX-License-Identifier: GPL-2.0
"""Runs Debian guests that have two GPUs, of one driver and of two, with a session on both screens.
"""

import os

from . import cache, debian, installed
from .bootpath import BUS_DRIVERS, C_DRIVER, OURS
from .desktop import DRIVERS, SAME, USER, Desktop, compare, equal_part
from .stage import say

HANDOVER = os.path.join(cache.REPO, "tools/handover")
SECOND = "gpu1"
MORE = ("-device", f"virtio-gpu-pci,id={SECOND}")
# Each virtio GPU: its address, its driver, its card.
GPUS = """
for device in /sys/bus/pci/devices/*; do
    [ "$(cat $device/vendor):$(cat $device/device)" != 0x1af4:0x1050 ] ||
        echo ${device##*/} $(basename $(readlink $device/driver)) $(basename $device/drm/card*)
done
"""
# What udev says about the nodes of the GPUs, but when it did.
UDEV = """
for node in /dev/dri/card* /dev/dri/renderD*; do
    udevadm info --query=property --name=$node | grep -v ^USEC_INITIALIZED= | sed "s|^|$node |"
done
"""
# Lists of udev that have no order.
SETS = ("TAGS", "CURRENT_TAGS")
# Weston with a picture of its own for each output, from a program in the whole screen.
SESSION = """
cat >/tmp/two.ini <<'END'
[core]
idle-time=0

[output]
name=Virtual-1
app-ids=first

[output]
name=Virtual-2
mode=800x600
app-ids=second
END
cat >/usr/local/bin/w <<'END'
#!/bin/sh
exec weston --renderer=pixman --shell=kiosk --config=/tmp/two.ini --socket=two \\
    --drm-device={} --additional-devices={} >/tmp/two.log 2>&1
END
chmod +x /usr/local/bin/w
"""
SOCKET = "/run/user/1000/two"
TERMINAL = f"""
cd /home/{USER}
runuser -u {USER} -- env HOME=/home/{USER} SHELL=/bin/bash LANG=C.UTF-8 \\
    XDG_RUNTIME_DIR=/run/user/1000 WAYLAND_DISPLAY=two foot --app-id={{0}} \\
    </dev/null >/tmp/foot-{{0}}.log 2>&1 &
"""
# The screens by their programs. The one that began last has the keys.
SCREENS = (("second", SECOND, (800, 600)), ("first", "gpu0", (1280, 800)))


class Gpus(Desktop):
    """A guest with two GPUs."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.udev = []

    def gpus(self):
        """The GPUs: address, driver, card."""
        return [tuple(line.split()) for line in self.guest.ask(GPUS).splitlines()]

    def drivers(self, *wanted):
        """Counts whether the GPUs have these drivers, and a card each; returns the cards."""
        found = self.gpus()
        names = [BUS_DRIVERS[name] for name in wanted]
        cards = [gpu[2] for gpu in found if len(gpu) == 3]
        self.count([gpu[1] for gpu in found if len(gpu) > 1] == names and len(set(cards)) == 2,
                   f"two GPUs, their drivers are {names}: {found}")
        return cards

    def both(self, name, cards):
        """Weston draws on both screens, and each takes keys."""
        before = self.look("before")
        self.guest.ask(SESSION.format(*cards))
        self.type("clear\nw\n")
        self.until(f"test -S {SOCKET}", f"Weston on {' and '.join(cards)}")
        last = None
        for screen, device, size in SCREENS:
            self.device = device
            self.guest.ask(TERMINAL.format(screen))
            self.terminal(f"{name}-{screen}", "weston", None)
            shown = self.pictures[f"{name}-{screen}-typed"]
            self.count((shown.width, shown.height) == size,
                       f"{name}: the {screen} screen has {shown.width}x{shown.height}")
            if last:
                self.device = SECOND
                part = equal_part(last, self.look(f"{name}-second-after"))
                self.count(part >= SAME,
                           f"{name}: the second screen stays while keys go to the first")
            last = shown
        self.device = SCREENS[-1][1]
        self.guest.ask(f"pkill -u {USER} -x weston")
        self.until(f"! pgrep -u {USER} -x weston", "the end of Weston")
        self.type("clear\n")
        self.rest(f"{name}-ended", before)

    def mixed(self):
        """The second GPU goes to the C driver, in the running system."""
        address = self.gpus()[1][0]
        self.guest.ask(f"cat >/tmp/handover <<'HANDOVER'\n{cache.read(HANDOVER)}HANDOVER\n"
                       f"sh /tmp/handover c {address}; udevadm settle")
        self.both("mixed", self.drivers(OURS, C_DRIVER))
        for screen in ("first", "second"):
            part = equal_part(*(self.pictures[f"{name}-{screen}-typed"]
                                for name in ("mixed", "both")))
            self.count(part >= SAME, f"mixed: {100 * part:.2f} % of the {screen} screen's pixels "
                                     "are as with one driver")


def guest_run(tally, disk, directory, driver):
    """Two GPUs with a driver; with this one, afterwards one of each."""
    argument, wanted = DRIVERS[driver]
    with disk.machine(f"debian-gpus-{driver}", directory, append=f"quiet {argument}",
                      more=MORE) as guest:
        say(f"   pictures in {guest.directory}")
        desktop = Gpus(tally, guest, driver)
        guest.ready()
        cards = desktop.drivers(wanted, wanted)
        desktop.udev = sorted(in_order(line) for line in guest.ask(UDEV).splitlines())
        desktop.login()
        desktop.part("two", desktop.both, "both", cards)
        if driver == "rust":
            desktop.part("two", desktop.mixed)
        desktop.clean()
    return desktop


def in_order(line):
    """A property, with the elements of a set in their order."""
    name, _, value = line.partition("=")
    if name.rpartition(" ")[2] in SETS:
        value = ":".join(sorted(value.split(":")))
    return f"{name}={value}"


def same_udev(tally, c_run, ours):
    """What udev says about the nodes is the same with both drivers."""
    lines = [f"{sign}{line}" for sign, more, less in (("-", c_run.udev, ours.udev),
                                                      ("+", ours.udev, c_run.udev))
             for line in sorted(set(more) - set(less))]
    names = {line.partition("=")[0].rpartition(" ")[2] for line in ours.udev}
    for line in lines:
        say(f"   udev: {line}")
    say(f"   udev: {len(ours.udev)} properties, {len(lines)} differ")
    tally.count(not lines, f"guest: udev's properties are the same: {lines}")
    tally.count({"ID_PATH", "TAGS", "DEVLINKS"} <= names, f"guest: udev knows {sorted(names)}")


def steps(tally, root, disk, folder, log):
    """Two GPUs with the C driver, and with this one."""
    disk = installed.get(root, disk, folder, log)
    with debian.scratch() as directory:
        runs = [guest_run(tally, disk, directory, driver) for driver in ("c", "rust")]
    compare(tally, *runs)
    same_udev(tally, *runs)
