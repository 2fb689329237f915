# SPDX-License-Identifier: GPL-2.0
"""Lets mutter, which has a stored size for the screen, follow the size of its window."""

import json
import os
import time

from . import screen, vnc
from .desktop import DRIVERS, USER, Desktop, with_both
from .stage import Failure, say

# The size that is stored, none of the sizes of the window.
STORED = (1024, 768)
SIZES = ((800, 600), (1366, 768), (1100, 700), (1600, 900), (640, 480), (1280, 720), (1440, 900),
         (911, 677), (1920, 1080), (1280, 800))
# Seconds that mutter has to follow.
PATIENCE = 150
SESSION = """
cat >/usr/local/bin/m <<'END'
#!/bin/sh
exec dbus-run-session -- sh -c 'echo "$DBUS_SESSION_BUS_ADDRESS" >/tmp/bus
exec mutter --wayland --display-server --no-x11' >/tmp/mutter.log 2>&1
END
chmod +x /usr/local/bin/m
"""
NAME = "org.gnome.Mutter.DisplayConfig"
STATE = f"""
runuser -u {USER} -- env DBUS_SESSION_BUS_ADDRESS="$(cat /tmp/bus)" busctl --user --json=short \\
    call {NAME} /{NAME.replace(".", "/")} {NAME} GetCurrentState
"""
MONITORS = """
install -d -o {user} -g {user} /home/{user}/.config
cat >/home/{user}/.config/monitors.xml <<'END'
<monitors version="2">
  <configuration>
    <logicalmonitor>
      <x>0</x>
      <y>0</y>
      <scale>1</scale>
      <primary>yes</primary>
      <monitor>
        <monitorspec>
          <connector>{connector}</connector>
          <vendor>{vendor}</vendor>
          <product>{product}</product>
          <serial>{serial}</serial>
        </monitorspec>
        <mode>
          <width>{width}</width>
          <height>{height}</height>
          <rate>{rate:.3f}</rate>
        </mode>
      </monitor>
    </logicalmonitor>
  </configuration>
</monitors>
END
chown {user}:{user} /home/{user}/.config/monitors.xml
"""


class Mutter(Desktop):
    """A guest with mutter, and a viewer of its screen that can be resized."""

    def __init__(self, tally, guest, driver, socket):
        super().__init__(tally, guest, driver)
        self.socket = socket

    def start(self):
        """Starts mutter from the shell."""
        self.guest.ask("rm -f /tmp/bus")
        self.type("clear\nm\n")
        self.until(f"pgrep -u {USER} -x mutter && {STATE}", "mutter's state")

    def end(self):
        """Ends mutter."""
        self.guest.ask(f"pkill -u {USER} -x mutter")
        self.until(f"! pgrep -u {USER} -x mutter", "the end of mutter")

    def monitor(self):
        """The only monitor: its names, and its modes."""
        monitors = json.loads(self.guest.ask(STATE))["data"][1]
        if len(monitors) != 1:
            raise Failure(f"mutter has {len(monitors)} monitors")
        return monitors[0][:2]

    def store(self):
        """Stores a size as mutter's settings do."""
        (connector, vendor, product, serial), modes = self.monitor()
        rates = [mode[3] for mode in modes if tuple(mode[1:3]) == STORED]
        if not rates:
            raise Failure(f"mutter knows no mode of {STORED}")
        self.guest.ask(MONITORS.format(user=USER, connector=connector, vendor=vendor,
                                       product=product, serial=serial, width=STORED[0],
                                       height=STORED[1], rate=rates[0]))

    def follows(self, size):
        """Waits until the screen has a size; whether it came."""
        end = time.monotonic() + PATIENCE
        while True:
            picture = self.look(f"mutter-{size[0]}x{size[1]}")
            if (picture.width, picture.height) == size:
                return True
            if time.monotonic() > end:
                return False
            time.sleep(1)

    def session(self, *_arguments):
        """mutter with a stored size, and ten sizes of the window."""
        self.start()
        self.store()
        self.end()
        self.start()
        self.count(self.follows(STORED), f"mutter begins with the stored {STORED}")
        missed = []
        for size in SIZES:
            with vnc.Viewer(self.socket) as viewer:
                viewer.resize(*size)
            if not self.follows(size):
                missed.append(size)
                # More of them would say the same.
                break
        say(f"   {self.driver}: mutter follows the window, but for {missed}")
        if self.driver == "rust":
            self.count(not missed, f"mutter follows {len(SIZES)} sizes, but for {missed}")
            self.count(bool(self.current()), f"mutter's own mode is {self.current()}")
            self.rest("mutter")
        self.end()

    def current(self):
        """mutter's own mode, if it has the last size."""
        return [mode[0] for mode in self.monitor()[1]
                if "is-current" in mode[6] and tuple(mode[1:3]) == SIZES[-1]]


def guest_run(tally, disk, directory, driver):
    """mutter with a driver."""
    argument, wanted = DRIVERS[driver]
    socket = os.path.join(directory, f"vnc-{driver}")
    if len(socket) > screen.LONGEST_PATH:
        raise Failure(f"{socket} is too long for the address of a socket",
                      "RUST_GPU_CACHE=/a/shorter/place")
    with disk.machine(f"debian-mutter-{driver}", directory, append=f"quiet {argument}",
                      more=("-vnc", f"unix:{socket},id=head0,display=gpu0,head=0")) as guest:
        say(f"   pictures in {guest.directory}")
        desktop = Mutter(tally, guest, driver, socket)
        guest.ready()
        desktop.driver_is(wanted)
        guest.ask(SESSION)
        desktop.login()
        desktop.part("mutter", desktop.session)
        desktop.clean()
    return desktop


def steps(*arguments):
    """mutter with the C driver, and with this one, which has to follow."""
    with_both(*arguments, guest_run)
