# SPDX-License-Identifier: GPL-2.0
"""The guest's GPU in a process of its own (selftests/device), which misbehaves on command.

`device --help` of the program lists the requests. Of those about the screen it answers `pointer`,
`resize` and `unplug` in QEMU's place, and `place`, which QEMU has not. A request `device ...` of
the guest goes to it as it is. A dump of the screen is NAME.ppm only.
"""

import contextlib
import json
import os
import re
import subprocess

from . import cache, priority
from .picture import Picture
from .qmp import Refused
from .screen import DEVICE, Service, valid
from .stage import Failure, activity, end_of
from .trace import Trace

CRATE = os.path.join(cache.REPO, "selftests/device")
PROGRAM = "rust_gpu_device"
# What the program's log says of memory that it was not told of, or that is none.
VIOLATION = re.compile(r"\bviolation: .*$", re.M)
# Longest that the program may take to end, in seconds.
PATIENCE = 5


def build(root):
    """Builds the program, and returns its path."""
    log = cache.log("device")
    # The tests of the crate are built there as well (check.py), mostly from the same objects.
    target = cache.path("cargo-target", "device")
    with cache.lock("device"), activity("device", end_of(log), "device"):
        root.run(["cargo", "build", "--locked"], log, cwd=CRATE,
                 env={"CARGO_TARGET_DIR": target})
    return os.path.join(target, "debug", PROGRAM)


class Screens(Service):
    """Answers the requests of a guest that has such a device."""

    def __init__(self, root, directory, heads, options):
        super().__init__(root, directory, heads)
        self.socket = os.path.join(directory, "gpu")
        # The program writes what it does in the form of QEMU's trace events.
        self.log = os.path.join(directory, "device.log")
        self.trace = Trace(self.log)
        self.open = contextlib.ExitStack()
        with open(self.log, "wb") as log:
            command = [build(root), f"--socket={self.socket}", f"--heads={heads}", *options]
            self.process = self.open.enter_context(
                subprocess.Popen(root.argv(command), stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=log, text=True))
        priority.run_first(self.process.pid, with_threads=True)
        try:
            self.read()
        except Refused as refused:
            self.end()
            raise Failure(f"the device does not start: {refused}", log=self.log) from refused

    def arguments(self):
        """QEMU's arguments: also the device, and memory that it can share."""
        gpu = {"driver": "vfio-user-pci", "id": DEVICE,
               "socket": {"type": "unix", "path": self.socket}}
        return [*super().arguments(), "-device", json.dumps(gpu),
                "-object", "memory-backend-memfd,id=ram,size=2G,share=on",
                "-machine", "memory-backend=ram"]

    def vnc_arguments(self):
        """QEMU has no screens."""
        return []

    def stop(self):
        """Ends after QEMU has ended."""
        super().stop()
        self.end()

    def end(self):
        """Ends the program: it ends by itself when QEMU or its input does."""
        try:
            self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.open.close()

    def problems(self):
        """What the driver told the device of and should not have, or the other way round."""
        return [f"{line} ({self.log})" for line in VIOLATION.findall(cache.read(self.log))[:5]]

    def read(self):
        """The words of the program's next answer."""
        line = self.process.stdout.readline()
        kind, _, words = line.strip().partition(" ")
        if kind != "done":
            raise Refused(words or "the device has ended")
        return words.split()

    def ask(self, *words):
        """Asks the program."""
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        return self.read()

    def answer_device(self, _monitor, *words):
        """Lets the device misbehave, or tells what it did."""
        return self.ask("device", *words)

    def answer_pointer(self, _monitor, head="0"):
        """The image that the device has for a cursor."""
        return self.ask("pointer", head)

    def answer_resize(self, _monitor, width, height, head="0"):
        """Asks the guest for another size of a head."""
        return self.ask("resize", width, height, head)

    def answer_unplug(self, _monitor, head="0"):
        """Unplugs a head."""
        return self.ask("unplug", head)

    def answer_place(self, _monitor, *numbers):
        """Tells the guest where the heads are on the user's desktop."""
        return self.ask("place", *numbers)

    def dump(self, _monitor, name, head):
        """Dumps what the device shows."""
        self.name = self.picture = None
        path = self.path(valid(name), "ppm")
        self.ask("dump", path, str(head))
        self.picture = Picture(path)
        self.name = name
