# SPDX-License-Identifier: GPL-2.0
"""What a guest's screen shows: the guest asks on its third serial port, QEMU's monitor tells.

One line is a request, and gets one line as its answer:

    ping                        done ping
    screendump NAME [HEAD]      done NAME WIDTH HEIGHT CRC
    crc NAME X Y WIDTH HEIGHT   done NAME CRC
    pixel NAME X Y              done NAME RRGGBB
    qr NAME                     done NAME found|none
    panic NAME                  done NAME
    watch                       done watch
    flushed                     done flushed X,Y,WIDTH,HEIGHT ...
    cursor [HEAD]               done cursor update|move|hide|none X Y
    order                       done order SCANOUTS EARLY
    pointer [HEAD]              done pointer WIDTH HEIGHT X Y CRC
    resize WIDTH HEIGHT [HEAD]  done resized WIDTH HEIGHT
    unplug [HEAD]               done unplugged
    key NAME ...                done key
    mouse X Y                   done mouse
    wake SECONDS                done wake, so much later
    measure on|off              done measure
    kicks                       done kicks NUMBER
    latency flush|transfer      done latency MICROSECONDS ...
    trace EVENT                 done trace

or `error` and the reason. A CRC is zlib's CRC-32 of the red, green and blue bytes of all pixels,
row by row from the top, in hexadecimal. A dump becomes NAME.png in the directory of the run; `crc`,
`pixel` and `qr` are about the last one. After `panic` the guest is expected to panic: when its
console says that it has, all heads are dumped a last time, as NAME-HEAD, and the machine is
switched off. A dump also shows what was transferred to the device and never flushed, and it shows
no cursor. So from `watch` on, `flushed` tells what was flushed since it was asked for before, in
pixels of the resource, `cursor` the last command of the cursor queue, of all heads or of one, and
`order` how often a scanout was given a resource, and one into which nothing had been transferred.
`pointer` is the image that a viewer has for a head's cursor, with its hot spot and the CRC of its
bytes. `resize` is what a user does who gives the window of the screen another size: the device
tells its driver of a wish, of which a size that it has already is none. It goes through VNC, of
which each head has a server on a socket in the directory of the run; nobody connects before that. A
head that is unplugged comes back with a size. `key` presses keys all at once, which have the names
of QEMU's QKeyCode, and `mouse` moves the mouse, if the guest has drivers for them. `wake` is for a
guest that sleeps meanwhile and wakes up of the answer.
From `measure on` to `measure off`, `kicks` tells how many doorbells rang since it was asked for
before, and `latency` how long it took from each mark since then to the first flush, or transfer,
that came after it. A mark is a write to the register INTERRUPT_LINE of the host bridge. From
`trace` on QEMU writes each event of one kind to qemu.log in the directory of the run.
"""

import datetime
import json
import os
import re
import socket
import subprocess
import threading
import time
import zlib

from . import vnc

DEVICE = "gpu0"
PATIENCE = 30
LONGEST = 1 << 20
LARGEST = 1 << 14
# What fits into the address of a Unix socket.
LONGEST_PATH = 100
LOG = "qemu.log"
CONSOLE = "console.log"
PANICKED = "---[ end Kernel panic"
# Longest that a guest may take to panic, in seconds.
PANIC_PATIENCE = 60
EVENTS = ("virtio_gpu_cmd_res_flush", "virtio_gpu_update_cursor", "virtio_gpu_cmd_set_scanout",
          "virtio_gpu_cmd_res_xfer_toh_2d")
MEASURED = ("virtio_gpu_cmd_res_flush", "virtio_gpu_cmd_res_xfer_toh_2d", "virtio_queue_notify",
            "pci_cfg_write")
KICK = re.compile(r"virtio_queue_notify vdev ")
# QEMU begins each line with the time because of -msg timestamp=on; releases differ in how.
TIMED = re.compile(r"^(?:\d+@(?P<seconds>\d+\.\d+):|(?P<date>\d{4}-\d\d-\d\dT\S+) )"
                   r"(?:(?P<mark>pci_cfg_write \S+ 00:00\.0 @0x3c <- )|"
                   r"virtio_gpu_cmd_res_(?P<kind>flush|xfer)\S* )", re.M)
KINDS = {"flush": "flush", "transfer": "xfer"}
FLUSHED = re.compile(r"virtio_gpu_cmd_res_flush res \w+, w (\d+), h (\d+), "
                     r"x (\d+), y (\d+)$", re.M)
CURSOR = re.compile(r"virtio_gpu_update_cursor scanout (\d+), x (-?\d+), y (-?\d+), (\w+), "
                    r"res 0x(\w+)$", re.M)
FILLED_OR_SHOWN = re.compile(r"virtio_gpu_cmd_(?:res_xfer_toh_2d res (?P<filled>\w+)|"
                             r"set_scanout id \d+, res (?P<shown>\w+),)")
NO_CURSOR = "none", "0", "0"
TOLD = ("watch", "flushed", "cursor", "order", "pointer", "key", "mouse", "measure", "kicks",
        "latency", "trace")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,60}")


def seconds_of(event):
    """The time of an event."""
    if event["seconds"]:
        return float(event["seconds"])
    return datetime.datetime.fromisoformat(event["date"]).timestamp()


class Refused(Exception):
    """A request that cannot be fulfilled."""


class Lines:
    """Lines from a socket, and lines to it."""

    def __init__(self, connection):
        self.connection = connection
        self.rest = b""

    def read(self, deadline=None):
        """The next line; EOFError at the end, TimeoutError when it does not come in time."""
        while b"\n" not in self.rest:
            left = None if deadline is None else max(deadline - time.monotonic(), 0.001)
            self.connection.settimeout(left)
            data = self.connection.recv(1 << 16)
            if not data:
                raise EOFError
            self.rest = (self.rest + data)[-LONGEST:]
        line, _, self.rest = self.rest.partition(b"\n")
        return line.decode(errors="replace").strip()

    def write(self, text):
        """Sends one line."""
        self.connection.settimeout(PATIENCE)
        self.connection.sendall(text.encode() + b"\n")


class Monitor:
    """QEMU's machine protocol (QMP)."""

    def __init__(self, connection):
        self.lines = Lines(connection)
        self.number = 0
        # It did not answer once. QEMU's main loop runs it, so nothing in the guest gets on either.
        self.silent = False

    def execute(self, command, **arguments):
        """Runs one command. What is not its answer is the greeting or an event."""
        if not self.number and command != "qmp_capabilities":
            self.execute("qmp_capabilities")
        self.number += 1
        deadline = time.monotonic() + PATIENCE
        self.lines.write(json.dumps({"execute": command, "arguments": arguments,
                                     "id": self.number}))
        while True:
            try:
                answer = json.loads(self.lines.read(deadline))
            except TimeoutError:
                self.silent = True
                raise
            if answer.get("id") != self.number:
                continue
            if "error" in answer:
                raise Refused(answer["error"]["desc"])
            return answer["return"]

    def trace(self, events, enable=True):
        """Lets QEMU trace some events, or not."""
        for event in events:
            self.execute("trace-event-set-state", name=event, enable=enable)


class Picture:
    """A picture from a PPM file."""

    def __init__(self, path):
        with open(path, "rb") as file:
            kind, size, depth = (file.readline() for _ in range(3))
            self.pixels = file.read()
        self.width, self.height = map(int, size.split())
        # QEMU fills up each row to whole words, which is not in the format.
        self.pitch = (3 * self.width + 3) // 4 * 4
        if (kind, depth) != (b"P6\n", b"255\n") or \
                len(self.pixels) != self.pitch * self.height:
            raise Refused("QEMU's dump is not what it should be")

    def crc(self, x, y, width, height):
        """The CRC of a part of the picture."""
        if x < 0 or y < 0 or x + width > self.width or y + height > self.height:
            raise Refused(f"the picture is {self.width}x{self.height}")
        value = 0
        for row in range(y, y + height):
            start = row * self.pitch + 3 * x
            value = zlib.crc32(self.pixels[start:start + 3 * width], value)
        return f"{value:08x}"

    def pixel(self, x, y):
        """The colour of a pixel."""
        self.crc(x, y, 1, 1)
        return self.pixels[y * self.pitch + 3 * x:][:3].hex()


def read_qr(root, path):
    """The text of the QR code in a picture, read by zbar in the build root; empty without one."""
    argv = root.argv(["zbarimg", "--quiet", "--nodbus", "--raw", "-Sdisable", "-Sqrcode.enable",
                      path])
    result = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return result.stdout.decode(errors="replace")


class Service:
    """Answers the requests of one guest for as long as it runs."""

    def __init__(self, root, directory, heads=1):
        self.root = root
        self.directory = directory
        self.heads = heads
        self.port, self.guests_port = socket.socketpair()
        self.monitor, self.qemus_monitor = socket.socketpair()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.name = self.picture = self.kill = None
        # The last command of the cursor queue for each head, and for all of them.
        self.seen, self.flushes, self.cursors = 0, [], {}
        # Resources with something in them; how often one was shown, and how often another one.
        self.filled, self.shown, self.early = set(), 0, 0
        self.forget_measures()
        # The name of the pictures to take after a panic; those that were taken, as paths.
        self.panic, self.pictures = None, []
        # QEMU hung, and was killed for it.
        self.hung = False

    def descriptors(self):
        """What QEMU has to inherit."""
        return self.guests_port.fileno(), self.qemus_monitor.fileno()

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

    def start(self, kill):
        """Begins to answer; QEMU has its descriptors, and `kill` ends it if it hangs."""
        self.guests_port.close()
        self.qemus_monitor.close()
        self.kill = kill
        self.thread.start()

    def stop(self):
        """Ends after QEMU has ended."""
        for connection in (self.port, self.monitor):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.thread.join(PATIENCE)
        self.port.close()
        self.monitor.close()

    def serve(self):
        """The thread."""
        lines, monitor = Lines(self.port), Monitor(self.monitor)
        try:
            while True:
                request = lines.read()
                try:
                    answer = "done " + self.answer(monitor, request.split())
                except (Refused, ValueError, TypeError, EOFError, OSError) as error:
                    answer = f"error {error or 'QEMU has gone'}"
                if monitor.silent:
                    self.hung = True
                    self.kill()
                    return
                lines.write(answer)
                if self.panic:
                    self.await_panic(monitor)
        except (EOFError, OSError):
            pass

    def answer(self, monitor, words):
        """The answer to one request."""
        kind, *arguments = words or [""]
        if words == ["ping"]:
            return "ping"
        if kind in TOLD:
            return " ".join([kind, *getattr(self, f"tell_{kind}")(monitor, *arguments)])
        if kind == "wake":
            time.sleep(min(max(float(*arguments), 0), PATIENCE))
            return "wake"
        if kind == "resize":
            return "resized " + self.resize(*map(int, arguments))
        if kind == "unplug":
            with self.viewer(*arguments) as viewer:
                viewer.resize(0, 0)
            return "unplugged"
        if kind not in ("screendump", "crc", "pixel", "qr", "panic") or not arguments:
            raise Refused("there is no such request")
        name, *numbers = arguments
        numbers = [int(number) for number in numbers]
        if not NAME.fullmatch(name):
            raise Refused("that is no name for a file")
        if kind == "panic":
            self.panic = name
            return name
        if kind == "screendump":
            self.dump(monitor, name, *numbers)
            picture = self.picture
            crc = picture.crc(0, 0, picture.width, picture.height)
            return f"{name} {picture.width} {picture.height} {crc}"
        if name != self.name:
            raise Refused(f"the last dump is {self.name}")
        if kind == "qr":
            return f"{name} " + ("found" if read_qr(self.root, self.path(name)) else "none")
        return f"{name} " + getattr(self.picture, kind)(*numbers)

    def path(self, name, kind="png"):
        """The file of a dump."""
        return os.path.join(self.directory, f"{name}.{kind}")

    def read_log(self):
        """Takes the whole lines that are new in QEMU's log."""
        with open(os.path.join(self.directory, LOG), "rb") as file:
            file.seek(self.seen)
            text = file.read()
        text = text[:text.rfind(b"\n") + 1]
        self.seen += len(text)
        text = text.decode(errors="replace")
        self.flushes += [f"{x},{y},{w},{h}" for w, h, x, y in FLUSHED.findall(text)]
        for head, x, y, kind, resource in CURSOR.findall(text):
            hides = kind == "update" and int(resource, 16) == 0
            self.cursors[head] = self.cursors[None] = "hide" if hides else kind, x, y
        for event in FILLED_OR_SHOWN.finditer(text):
            if event["filled"]:
                self.filled.add(event["filled"])
            elif int(event["shown"], 16):
                self.shown += 1
                self.early += event["shown"] not in self.filled
        self.kicks += len(KICK.findall(text))
        for event in TIMED.finditer(text):
            seconds = seconds_of(event)
            if event["mark"]:
                self.marks = dict.fromkeys(self.latencies, seconds)
            elif event["kind"] in self.marks:
                mark = self.marks.pop(event["kind"])
                self.latencies[event["kind"]].append(1e6 * (seconds - mark))

    def forget_measures(self):
        """Begins anew to count and to measure."""
        # Doorbells; the last mark for each kind that is yet to follow it; how long others took.
        self.kicks, self.marks, self.latencies = 0, {}, {kind: [] for kind in KINDS.values()}

    def tell_measure(self, monitor, switch):
        """Lets QEMU trace what is measured, or not."""
        monitor.trace(MEASURED, switch == "on")
        self.read_log()
        self.forget_measures()
        return []

    def tell_kicks(self, _monitor):
        """How many doorbells rang."""
        self.read_log()
        found, self.kicks = self.kicks, 0
        return [str(found)]

    def tell_latency(self, _monitor, kind):
        """How long it took to the flushes, or transfers."""
        self.read_log()
        if kind not in KINDS:
            raise Refused("there is no such kind")
        found = self.latencies[KINDS[kind]]
        self.latencies[KINDS[kind]] = []
        return [f"{latency:.0f}" for latency in found]

    def tell_watch(self, monitor):
        """Lets QEMU trace the commands."""
        monitor.trace(EVENTS)
        self.read_log()
        self.flushes, self.cursors, self.shown, self.early = [], {}, 0, 0
        return []

    def tell_order(self, _monitor):
        """How often something was shown, and how often before it was filled."""
        self.read_log()
        return [str(self.shown), str(self.early)]

    def tell_trace(self, monitor, event):
        """Lets QEMU trace an event."""
        monitor.trace([event])
        return []

    def tell_flushed(self, _monitor):
        """What was flushed."""
        self.read_log()
        found, self.flushes = self.flushes, []
        return found

    def tell_cursor(self, _monitor, head=None):
        """What the cursor was told."""
        self.read_log()
        return self.cursors.get(head, NO_CURSOR)

    def tell_pointer(self, _monitor, head=0):
        """What a viewer has for a cursor."""
        with self.viewer(head) as viewer:
            cursor = viewer.cursor()
        fields = cursor.width, cursor.height, cursor.x, cursor.y
        return [*map(str, fields), f"{zlib.crc32(cursor.data):08x}"]

    def tell_key(self, monitor, *names):
        """Presses keys, and lets them go."""
        monitor.execute("send-key", keys=[{"type": "qcode", "data": name} for name in names])
        return []

    def tell_mouse(self, monitor, x, y):
        """Moves the mouse."""
        events = [{"type": "rel", "data": {"axis": axis, "value": int(value)}}
                  for axis, value in (("x", x), ("y", y))]
        monitor.execute("input-send-event", events=events)
        return []

    def viewer(self, head=0):
        """A connection to the VNC server of a head."""
        if not 0 <= int(head) < self.heads:
            raise Refused("there is no such head")
        return vnc.Viewer(self.vnc_path(head))

    def resize(self, width, height, head=0):
        """Has the display ask the guest for another size."""
        if not (0 < width <= LARGEST and 0 < height <= LARGEST):
            raise Refused("that is no size for a screen")
        with self.viewer(head) as viewer:
            viewer.resize(width, height)
        return f"{width} {height}"

    def has_panicked(self):
        """Whether the guest does so within its time."""
        deadline = time.monotonic() + PANIC_PATIENCE
        while time.monotonic() < deadline:
            with open(os.path.join(self.directory, CONSOLE), errors="replace") as file:
                if PANICKED in file.read():
                    return True
            time.sleep(0.2)
        return False

    def await_panic(self, monitor):
        """Dumps the heads of a guest that has panicked, and ends it in any case."""
        try:
            for head in range(self.heads if self.has_panicked() else 0):
                self.dump(monitor, f"{self.panic}-{head}", head)
                self.pictures.append(self.path(self.name))
        finally:
            monitor.execute("quit")

    def dump(self, monitor, name, head=0):
        """Dumps the screen, as a picture for people and as one to compute with."""
        self.name = self.picture = None
        for kind in ("png", "ppm"):
            monitor.execute("screendump", filename=self.path(name, kind), format=kind,
                            device=DEVICE, head=head)
        self.picture = Picture(self.path(name, "ppm"))
        os.unlink(self.path(name, "ppm"))
        self.name = name
