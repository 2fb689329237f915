# SPDX-License-Identifier: GPL-2.0
"""QEMU draws with OpenGL into a window of an X server in memory (Xvfb), and is looked at there.

All that screen.py says holds, but: a dump is what the window shows, by the X server, and `pointer`
is the cursor of the X server (XFixes). `resize` is a user who resizes the window. QEMU can have no
VNC server beside a display with OpenGL.
"""

import os
import time
import zlib

from . import cache, glroot, x11
from .picture import Picture, write_png
from .qmp import Refused
from .screen import LARGEST, Service, valid

# Starts the X server and then what follows. With a network of its own no other X server of the host
# is reached, whose socket would be found by its number. The X server ends with QEMU.
START = os.path.join(cache.REPO, "tools/with-xvfb")
SOCKET = "/tmp/.X11-unix/X0"
# llvmpipe draws, and keeps nothing for the next run. Two of its threads are enough for a test.
ENVIRONMENT = {"DISPLAY": ":0", "SDL_VIDEODRIVER": "x11", "SDL_AUDIODRIVER": "dummy",
               "LIBGL_ALWAYS_SOFTWARE": "1", "MESA_SHADER_CACHE_DISABLE": "1"}
# QEMU's screen, and a pointer of the host that knows its place: it shows the guest's cursor, which
# it would otherwise do only while the window has taken the mouse.
DISPLAY = ["-display", "sdl,gl=on", "-machine", "i8042=off,vmport=off",
           "-device", "virtio-tablet-pci"]
# A picture is taken when it did not change for a moment, in seconds.
REST = 0.1
PATIENCE = 10


class Window:
    """The window of a running QEMU; a context."""

    def __init__(self, pid):
        # The X server is in QEMU's own mount namespace.
        self.display = x11.Display(f"/proc/{pid}/root{SOCKET}")
        try:
            self.window = self.find()
            self.place()
        except BaseException:
            self.display.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.display.close()

    def find(self):
        """The largest window on the screen."""
        windows = self.display.children()
        if not windows:
            raise Refused("QEMU has no window")
        sizes = {window: self.display.geometry(window) for window in windows}
        return max(windows, key=lambda window: sizes[window].width * sizes[window].height)

    def place(self):
        """Moves the window to where all of it is on the screen, and the pointer into it."""
        at = self.display.geometry(self.window)
        if (at.x, at.y) != (0, 0):
            self.display.configure(self.window, x11.X | x11.Y, 0, 0)
        if not self.display.has_pointer(self.window):
            self.display.warp(self.window)

    def look(self):
        """What the window shows: its size, and its pixels."""
        size = self.display.geometry(self.window)
        return size, self.display.pixels(self.window, size)

    def rest(self):
        """The same, when it does not change."""
        end = time.monotonic() + PATIENCE
        last = self.look()
        while True:
            time.sleep(REST)
            now = self.look()
            if now == last or time.monotonic() > end:
                return now
            last = now

    def resize(self, width, height):
        """Gives the window another size."""
        self.display.configure(self.window, x11.WIDTH | x11.HEIGHT, width, height)
        # Its answer comes when the server has done it.
        self.display.geometry(self.window)


def write_ppm(path, size, pixels):
    """Writes a picture in the form that picture.py reads."""
    colours = bytearray(3 * size.width * size.height)
    for place in range(3):
        colours[place::3] = pixels[2 - place::4]
    row = 3 * size.width
    padding = bytes(-row % 4)
    with open(path, "wb") as file:
        file.write(b"P6\n%d %d\n255\n" % (size.width, size.height))
        for start in range(0, len(colours), row):
            file.write(colours[start:start + row] + padding)


def dump(window, base):
    """Takes a picture of a window, as BASE.png; returns it."""
    path = f"{base}.ppm"
    write_ppm(path, *window.rest())
    picture = Picture(path)
    os.unlink(path)
    write_png(f"{base}.png", picture)
    return picture


def argv(command, environment=None):
    """The command line that runs QEMU with an X server."""
    return glroot.get().argv([START, *command], env={**ENVIRONMENT, **(environment or {})})


class Screens(Service):
    """Answers the requests of a guest whose screen is in such a window."""

    def vnc_arguments(self):
        """QEMU cannot have them."""
        return []

    def window(self):
        """The window; a context."""
        return Window(self.strain.process.pid)

    def dump(self, monitor, name, head):
        """Dumps what the window shows."""
        if head:
            raise Refused("there is one window")
        self.name = self.picture = None
        # QEMU has done what it was told before when it answers.
        monitor.execute("query-status")
        with self.window() as window:
            self.picture = dump(window, os.path.join(self.directory, valid(name)))
        self.name = name

    def answer_pointer(self, _monitor, head="0"):
        """The cursor of the X server."""
        if int(head):
            raise Refused("there is one window")
        with self.window() as window:
            cursor = window.display.cursor()
        fields = cursor.width, cursor.height, cursor.hot_x, cursor.hot_y
        return ["pointer", *map(str, fields), f"{zlib.crc32(cursor.data):08x}"]

    def answer_resize(self, _monitor, width, height, head="0"):
        """Resizes the window."""
        width, height = int(width), int(height)
        if not (0 < width <= LARGEST and 0 < height <= LARGEST) or int(head):
            raise Refused("that is no size for the screen")
        with self.window() as window:
            window.resize(width, height)
        return ["resized", str(width), str(height)]

    def answer_unplug(self, _monitor, head="0"):
        """A window is always there."""
        raise Refused(f"head {head} cannot be unplugged")
