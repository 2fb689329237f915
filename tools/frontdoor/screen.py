# SPDX-License-Identifier: GPL-2.0
"""Answers a guest's requests about its screen: the guest asks on its third serial port.

A request is one line, and so is its answer:

    ping                        done ping
    screendump NAME [HEAD]      done NAME WIDTH HEIGHT CRC
    crc NAME X Y WIDTH HEIGHT   done NAME CRC
    pixel NAME X Y              done NAME RRGGBB
    mirror NAME                 done NAME
    qr NAME                     done NAME found|none
    panic|halt|poweroff NAME    done NAME
    watch                       done watch
    flushed                     done flushed X,Y,WIDTH,HEIGHT ...
    cursor [HEAD]               done cursor update|move|hide|none X Y
    order                       done order SCANOUTS EARLY
    pointer [HEAD]              done pointer WIDTH HEIGHT X Y CRC
    resize WIDTH HEIGHT [HEAD]  done resized WIDTH HEIGHT
    unplug [HEAD]               done unplugged
    key NAME ...                done key
    mouse X Y                   done mouse
    wake SECONDS                done wake
    pause stop|freeze SECONDS   done pause
    load PROCESSES SECONDS      done load
    memory                      done memory KIB
    measure on|off              done measure
    kicks                       done kicks NUMBER
    latency flush|transfer      done latency MICROSECONDS ...
    trace EVENT                 done trace
    counts EVENT ...            done counts NUMBER ...

or `error` and the reason. A CRC is zlib's CRC-32, in hexadecimal, of the red, green and blue bytes
of all pixels, row by row from the top.

`screendump` writes NAME.png to the directory of the run. `crc`, `pixel` and `qr` are about the last
one; `mirror` turns that upside down, so that a test can see its comparison fail. A dump also shows
what was transferred to the device and never flushed, and it does not show the cursor.

`panic`, `halt` and `poweroff` say that the guest is about to end in that way. When its console
shows that it did, all heads are dumped as NAME-HEAD, and QEMU is ended.

`watch` starts to follow the display's commands. After it, `flushed` tells what was flushed since
the last `flushed`, in pixels of the resource; `cursor` the last command of the cursor queue, for
all heads or for one; `order` how often a scanout was given a resource, and how often that was a
resource into which nothing had been transferred.

`pointer` is the image that a viewer has for a head's cursor: its size, its hot spot and the CRC of
its bytes.

`resize` does what a user does who resizes the window of the screen: the device tells its driver of
the size that is wanted. The size that the screen has already is no change. `unplug` is a size of
zero; a head comes back with `resize`. Both go through VNC: each head has a server on a socket in
the directory of the run, to which nobody connects before.

`key` presses keys, all at once, by the names of QEMU's QKeyCode. `mouse` moves the mouse. Both need
drivers in the guest. `wake` is for a guest that goes to sleep: the answer comes after so many
seconds and wakes it up. `pause` stops the guest for so long, by the monitor or by a signal to QEMU.
`load` keeps the host's CPUs busy, and is answered at once. `memory` is what QEMU has beside the
guest's.

`measure on` starts to measure, until `measure off`. `kicks` tells how many doorbells rang since the
last `kicks`. `latency` tells how long it took from each mark to the first flush, or transfer, after
it. A mark is a write to the register INTERRUPT_LINE of the host bridge. `trace` lets QEMU write
every event of one kind to qemu.log in the directory of the run, and `counts` tells how many there
are.
"""

import os
import re
import socket
import threading
import time
import zlib

from . import vnc
from .picture import Picture, read_qr
from .qmp import PATIENCE, Lines, Monitor, Refused
from .strain import Strain
from .trace import Trace

DEVICE = "gpu0"
LARGEST = 1 << 14
# What fits into the address of a Unix socket.
LONGEST_PATH = 100
LOG = "qemu.log"
CONSOLE = "console.log"
# What the console says when a guest has ended.
ENDED = {"panic": "---[ end Kernel panic", "halt": "reboot: System halted",
         "poweroff": "reboot: Power down"}
# Longest that a guest may take to end, in seconds, and how much later it is looked at: a console
# that still draws has drawn then, and the power is off.
END_PATIENCE = 60
END_PAUSE = 1
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,60}")


def shut(connection):
    """Ends a connection, also for a thread that waits for it."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


class Service:
    """Answers the requests of one guest for as long as it runs: a method for each."""

    def __init__(self, root, directory, heads=1):
        self.root = root
        self.directory = directory
        self.heads = heads
        self.port, self.guests_port = socket.socketpair()
        channel, self.qemus_channel = socket.socketpair()
        self.monitor = Monitor(channel)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.trace = Trace(os.path.join(directory, LOG))
        self.strain = Strain()
        self.name = self.picture = None
        # How the guest is about to end, and the name of the pictures to take then; those that were
        # taken, as paths.
        self.awaited, self.pictures = None, []
        # QEMU hung, and was killed for it.
        self.hung = False

    def descriptors(self):
        """The descriptors that QEMU inherits."""
        return self.guests_port.fileno(), self.qemus_channel.fileno()

    def arguments(self):
        """QEMU's arguments. An interrupt of its own: the first port's cannot be shared."""
        port, monitor = self.descriptors()
        return ["-chardev", f"socket,id=screen,fd={port}",
                "-device", "isa-serial,chardev=screen,index=2,irq=5",
                "-chardev", f"socket,id=monitor,fd={monitor}",
                "-qmp", "chardev:monitor", *self.vnc_arguments()]

    def vnc_path(self, head):
        """Where QEMU's VNC server of a head listens."""
        return os.path.join(self.directory, f"vnc{head}")

    def vnc_arguments(self):
        """QEMU's VNC servers. Where the path is too long there are none."""
        return [word for head in range(self.heads) if len(self.vnc_path(head)) <= LONGEST_PATH
                for word in ("-vnc", f"unix:{self.vnc_path(head)},id=head{head},"
                                     f"display={DEVICE},head={head}")]

    def start(self, process):
        """Starts to answer. The process is QEMU, which has its descriptors by now."""
        self.guests_port.close()
        self.qemus_channel.close()
        self.strain.process = process
        self.thread.start()

    def stop(self):
        """Ends after QEMU has ended."""
        connections = self.port, self.monitor.lines.connection
        for connection in connections:
            shut(connection)
        self.thread.join(PATIENCE)
        self.strain.end()
        for connection in connections:
            connection.close()

    def problems(self):
        """What was wrong with the device."""
        return []

    def serve(self):
        """The thread."""
        lines, monitor = Lines(self.port), self.monitor
        try:
            while True:
                request = lines.read()
                try:
                    answer = "done " + " ".join(self.answer(monitor, request.split()))
                except (Refused, ValueError, TypeError, EOFError, OSError) as error:
                    answer = f"error {error or 'QEMU has gone'}"
                if monitor.silent:
                    self.hung = True
                    self.strain.process.kill()
                    return
                lines.write(answer)
                if self.awaited:
                    self.await_end(monitor, *self.awaited)
        except (EOFError, OSError):
            pass

    def answer(self, monitor, words):
        """The words that answer one request."""
        kind, *arguments = words or [""]
        method = f"answer_{kind}"
        for target in (self, self.trace, self.strain):
            if hasattr(target, method):
                return getattr(target, method)(monitor, *arguments)
        raise Refused("there is no such request")

    def answer_ping(self, _monitor):
        """Answers, so that the guest knows that it can ask."""
        return ["ping"]

    def answer_screendump(self, monitor, name, head="0"):
        """Dumps a head."""
        self.dump(monitor, name, int(head))
        picture = self.picture
        crc = picture.crc(0, 0, picture.width, picture.height)
        return [name, str(picture.width), str(picture.height), crc]

    def answer_crc(self, _monitor, name, *numbers):
        """The CRC of a part of the last dump."""
        return [name, self.last(name).crc(*map(int, numbers))]

    def answer_pixel(self, _monitor, name, x, y):
        """The colour of a pixel of the last dump."""
        return [name, self.last(name).pixel(int(x), int(y))]

    def answer_mirror(self, _monitor, name):
        """Turns the last dump upside down."""
        self.last(name).mirror()
        return [name]

    def answer_qr(self, _monitor, name):
        """Whether there is a QR code in the last dump."""
        self.last(name)
        return [name, "found" if read_qr(self.root, self.path(name)) else "none"]

    def answer_panic(self, _monitor, name):
        """Waits for a panic, after the answer."""
        self.awaited = "panic", valid(name)
        return [name]

    def answer_halt(self, _monitor, name):
        """Waits for a halt, after the answer."""
        self.awaited = "halt", valid(name)
        return [name]

    def answer_poweroff(self, monitor, name):
        """Waits for the power to go off, after the answer. QEMU stays then."""
        monitor.execute("set-action", shutdown="pause")
        self.awaited = "poweroff", valid(name)
        return [name]

    def answer_pointer(self, _monitor, head="0"):
        """The image that a viewer has for a cursor."""
        with self.viewer(head) as viewer:
            cursor = viewer.cursor()
        fields = cursor.width, cursor.height, cursor.x, cursor.y
        return ["pointer", *map(str, fields), f"{zlib.crc32(cursor.data):08x}"]

    def answer_resize(self, _monitor, width, height, head="0"):
        """Asks the guest for another size of a head."""
        width, height = int(width), int(height)
        if not (0 < width <= LARGEST and 0 < height <= LARGEST):
            raise Refused("that is no size for a screen")
        with self.viewer(head) as viewer:
            viewer.resize(width, height)
        return ["resized", str(width), str(height)]

    def answer_unplug(self, _monitor, head="0"):
        """Unplugs a head."""
        with self.viewer(head) as viewer:
            viewer.resize(0, 0)
        return ["unplugged"]

    def answer_key(self, monitor, *names):
        """Presses keys, and releases them."""
        monitor.execute("send-key", keys=[{"type": "qcode", "data": name} for name in names])
        return ["key"]

    def answer_mouse(self, monitor, x, y):
        """Moves the mouse."""
        events = [{"type": "rel", "data": {"axis": axis, "value": int(value)}}
                  for axis, value in (("x", x), ("y", y))]
        monitor.execute("input-send-event", events=events)
        return ["mouse"]

    def answer_wake(self, _monitor, seconds):
        """Answers later."""
        time.sleep(min(max(float(seconds), 0), PATIENCE))
        return ["wake"]

    def viewer(self, head):
        """A connection to the VNC server of a head."""
        if not 0 <= int(head) < self.heads:
            raise Refused("there is no such head")
        return vnc.Viewer(self.vnc_path(head))

    def last(self, name):
        """The last dump, which has to have this name."""
        if valid(name) != self.name:
            raise Refused(f"the last dump is {self.name}")
        return self.picture

    def path(self, name, kind="png"):
        """The file of a dump."""
        return os.path.join(self.directory, f"{name}.{kind}")

    def dump(self, monitor, name, head):
        """Dumps the screen, as a picture for people and as one to compute with."""
        self.name = self.picture = None
        for kind in ("png", "ppm"):
            monitor.execute("screendump", filename=self.path(valid(name), kind), format=kind,
                            device=DEVICE, head=head)
        self.picture = Picture(self.path(name, "ppm"))
        os.unlink(self.path(name, "ppm"))
        self.name = name

    def has_ended(self, end):
        """Whether the guest ends within its time."""
        deadline = time.monotonic() + END_PATIENCE
        while time.monotonic() < deadline:
            with open(os.path.join(self.directory, CONSOLE), errors="replace",
                      encoding="utf-8") as file:
                if ENDED[end] in file.read():
                    time.sleep(END_PAUSE)
                    return True
            time.sleep(0.2)
        return False

    def await_end(self, monitor, end, name):
        """Dumps the heads of a guest that has ended, and ends QEMU in any case."""
        try:
            for head in range(self.heads if self.has_ended(end) else 0):
                self.dump(monitor, f"{name}-{head}", head)
                self.pictures.append(self.path(self.name))
        finally:
            monitor.execute("quit")


def valid(name):
    """A name for a file, if it is one."""
    if not NAME.fullmatch(name):
        raise Refused("that is no name for a file")
    return name
