# SPDX-License-Identifier: GPL-2.0
"""Runs Weston and GNOME in Debian guests whose host draws for them with OpenGL (virgl)."""

import os
import time

from . import machine, xvfb
from .desktop import BACKGROUND, DRIVERS, REST, USER, Desktop, with_both
from .stage import say

# GNOME's shell without its session: nothing that starts later changes the screen.
SESSION = """
cat >/usr/local/bin/g <<'END'
#!/bin/sh
exec dbus-run-session -- gnome-shell --wayland --display-server --no-x11 >/tmp/gnome.log 2>&1
END
chmod +x /usr/local/bin/g
"""
# The shell says so when it draws.
STARTED = "grep -q 'GNOME Shell started' /tmp/gnome.log"
CLIENT = f"""
cd /home/{USER}
runuser -u {USER} -- env HOME=/home/{USER} XDG_RUNTIME_DIR=/run/user/1000 \\
    WAYLAND_DISPLAY=wayland-0 {{}}
"""
# What Mesa draws with, for a client of the session.
RENDERERS = CLIENT.format("eglinfo -B -p wayland | grep -i renderer")
CUBE = CLIENT.format("weston-simple-egl </dev/null >/tmp/cube.log 2>&1 &")
# The files of the GPU that a program has open.
OPENED = "ls -l /proc/$(pgrep -u {} -x {})/fd | grep -o /dev/dri/.* | sort -u"
VIRGL = "virgl"


class Drawn(machine.Machine):
    """A guest with 3D. Its screen is a window of an X server in memory."""

    def display(self):
        """QEMU's arguments. The window's machine has no keyboard of a PC."""
        return [*xvfb.DISPLAY, "-device", f"virtio-vga-gl,id={machine.DEVICE}",
                "-device", "virtio-keyboard-pci"]

    def argv(self):
        """The command line that runs QEMU and the X server."""
        return xvfb.argv(self.command)

    def picture(self, name, head=0, device=machine.DEVICE):
        """Takes a picture of the window."""
        # QEMU has done what it was told before when it answers.
        self.monitor.execute("query-status")
        with xvfb.Window(self.process.pid) as window:
            return xvfb.dump(window, os.path.join(self.directory, name))


class GlDesktop(Desktop):
    """A guest with desktops that draw by virgl."""

    def draws(self, name, text):
        """Counts whether a program says that virgl draws."""
        self.count(VIRGL in text, f"{name}: virgl draws: {text.strip()}")

    def weston(self):
        """Weston, with a terminal in which somebody types."""
        self.session("weston", "weston --renderer=gl >/tmp/weston.log 2>&1", "weston", BACKGROUND)
        self.draws("weston", self.guest.run("grep 'GL renderer' /tmp/weston.log")[1])

    def gnome(self):
        """GNOME's shell, and a program of OpenGL in a window of it."""
        before = self.look("before")
        self.type("clear\ng\n")
        self.until(STARTED, "GNOME's shell")
        idle = self.rest("gnome", before)
        self.draws("gnome's clients", self.guest.ask(RENDERERS))
        opened = self.guest.run(OPENED.format(USER, "gnome-shell"))[1].split()
        self.count(any("render" in node for node in opened),
                   f"gnome: its shell has the render node open: {opened}")
        self.guest.ask(CUBE)
        self.until("pgrep -x weston-simple-e", "a program of OpenGL")
        self.count(self.moves(idle), "gnome: a program of OpenGL draws in its window")
        self.guest.ask("pkill -x weston-simple-e")
        self.guest.ask(f"pkill -u {USER} -x gnome-shell")
        self.until(f"! pgrep -u {USER} -x gnome-shell", "the end of GNOME's shell")
        time.sleep(REST)
        self.type("clear\n")
        self.rest("gnome-ended", before)

    def moves(self, before):
        """Whether the screen shows two pictures after another, none of them the one before."""
        shown = {before.pixels}
        end = time.monotonic() + 20 * REST
        while len(shown) < 3 and time.monotonic() < end:
            shown.add(self.look("gnome-cube").pixels)
        return len(shown) == 3

    def run(self):
        """All of it."""
        self.login()
        self.part("weston", self.weston)
        self.part("gnome", self.gnome)


def guest_run(tally, disk, directory, driver):
    """Weston and GNOME with a driver."""
    argument, wanted = DRIVERS[driver]
    with disk.machine(f"debian-virgl-{driver}", directory, append=f"quiet {argument}",
                      kind=Drawn) as guest:
        say(f"   pictures in {guest.directory}")
        desktop = GlDesktop(tally, guest, driver)
        guest.ready()
        desktop.driver_is(wanted)
        guest.ask(SESSION)
        desktop.run()
        desktop.clean()
    return desktop


def steps(*arguments):
    """Runs the desktops."""
    with_both(*arguments, guest_run)
